//! Scenarios of shared subtrees that a container host really makes, each as a test below `tests/`. This library is their
//! vocabulary: a host whose whole tree is shared as systemd makes it, containers in namespaces of their own, and mount tables
//! as text in which group numbers are letters.

use std::sync::atomic::Ordering::SeqCst;

use abi::child::{spawn, wait_until};
use abi::mountinfo::table;
use abi::world::make;
use abi::{in_mount_namespace, shared_words, syscall};
use libc::{MS_REC, MS_SHARED};

/// Runs `body` on a host whose every mount is shared, with a fresh tmpfs on `/tmp` as working directory.
pub fn on_host(body: impl FnOnce()) {
    in_mount_namespace(|| {
        make("/", MS_SHARED | MS_REC).expect("rshared");
        body();
    });
}

/// A process in a mount namespace of its own whose tree is made `kind` throughout (0: left as copied). It runs `first`; then the
/// host runs `meanwhile`; then the process runs `last` and ends.
pub fn container(kind: u64, first: impl FnOnce(), meanwhile: impl FnOnce(), last: impl FnOnce()) {
    let words = shared_words();
    let process = spawn(|| {
        unshare(kind);
        first();
        words[0].store(1, SeqCst);
        wait_until("the host is through", || words[1].load(SeqCst) == 1);
        last();
    });
    wait_until("the container is up", || words[0].load(SeqCst) == 1);
    meanwhile();
    words[1].store(1, SeqCst);
    process.join();
}

/// What `unshare --mount --propagation` does: a new mount namespace, its tree of type `kind` (0: unchanged).
pub fn unshare(kind: u64) {
    syscall!(SYS_unshare, libc::CLONE_NEWNS).expect("unshare");
    if kind != 0 {
        make("/", kind | MS_REC).expect("the propagation type of the new namespace");
    }
}

/// The mounts below `place`, in the order of their paths, each as `path source tags`; a group is a letter, in the order of
/// appearance.
pub fn view(place: &str) -> Vec<String> {
    let below = format!("{place}/");
    let mut mounts: Vec<_> = table().into_iter().filter(|mount| mount.mount_point.starts_with(&below)).collect();
    mounts.sort_by(|one, other| one.mount_point.cmp(&other.mount_point));
    let mut groups: Vec<u32> = Vec::new();
    let mut letter = |group: u32| {
        let place = groups.iter().position(|known| *known == group).unwrap_or_else(|| {
            groups.push(group);
            groups.len() - 1
        });
        char::from(b'A' + place as u8)
    };
    let mut lines = Vec::new();
    for mount in mounts {
        let mut line = format!("{} {}", mount.mount_point.trim_start_matches("/tmp/"), mount.source);
        if let Some(group) = mount.shared {
            line.push_str(&format!(" shared:{}", letter(group)));
        }
        if let Some(group) = mount.master {
            line.push_str(&format!(" master:{}", letter(group)));
        }
        if mount.unbindable {
            line.push_str(" unbindable");
        }
        lines.push(line);
    }
    lines
}
