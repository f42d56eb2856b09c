//! The two steps away from the host: the runtime's own mount namespace, and the container's namespaces and root.

use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind_recursive, mount_change, unmount};
use rustix::process::{chdir, fchdir, pivot_root};
use rustix::system::sethostname;
use rustix::thread::{UnshareFlags, unshare_unsafe};
use std::path::Path;
use support::{MountTable, Outcome, Said};

/// Takes this process to a mount namespace of its own, where `rootfs` is a mount that nothing is propagated from.
///
/// The mounts of the host stay peers of ours, so that a volume can be shared with them. Only the mount that holds `rootfs` becomes a
/// slave: otherwise the volumes, being mounted below it, would appear on the host too. (pivot_root(2) asks for that as well.)
pub fn leave_the_host(rootfs: &Path) -> Outcome {
    unshare(UnshareFlags::NEWNS, "CLONE_NEWNS")?;
    let table = MountTable::own()?;
    if let Some(holding) = table.holding(rootfs) {
        mount_change(&holding.point, MountPropagationFlags::DOWNSTREAM).said("mount", &holding.point)?;
    }
    // pivot_root wants a mount, and the root file system may be a folder.
    mount_bind_recursive(rootfs, rootfs).said("mount", rootfs)?;
    mount_change(rootfs, MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).said("mount", rootfs)
}

/// Has the processes that this one starts from now on in pid, host name and message namespaces of their own.
pub fn separate_children() -> Outcome {
    unshare(UnshareFlags::NEWPID | UnshareFlags::NEWUTS | UnshareFlags::NEWIPC, "CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC")?;
    sethostname(b"container").said("sethostname", Path::new("container"))
}

/// Makes `rootfs` the root of this process, in a copy of the mount namespace, so that the runtime keeps its own. Mounts `/proc` of
/// the pid namespace where there is a folder for it.
pub fn enter(rootfs: &Path) -> Outcome {
    unshare(UnshareFlags::NEWNS, "CLONE_NEWNS")?;
    let proc = rootfs.join("proc");
    if proc.is_dir() {
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        mount("proc", &proc, "proc", flags, None).said("mount", &proc)?;
    }
    let old_root = rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).said("open", Path::new("/"))?;
    chdir(rootfs).said("chdir", rootfs)?;
    // With `.` twice the old root comes to lie on top of the new one, and no folder is needed for it (pivot_root(2), NOTES).
    pivot_root(".", ".").said("pivot_root", rootfs)?;
    fchdir(&old_root).said("fchdir", Path::new("/"))?;
    // Its mounts are peers of the host's: unmounted like that they would go there, too.
    mount_change(".", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC).said("mount", Path::new("/"))?;
    unmount(".", UnmountFlags::DETACH).said("umount2", Path::new("/"))?;
    chdir("/").said("chdir", Path::new("/"))
}

fn unshare(flags: UnshareFlags, names: &str) -> Outcome {
    // SAFETY: only `UnshareFlags::FILES` can make descriptors invalid, and no caller passes it.
    unsafe { unshare_unsafe(flags) }.said("unshare", Path::new(names))
}
