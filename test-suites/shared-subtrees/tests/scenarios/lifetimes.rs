//! What outlives what: storage drivers that mount in one namespace for others, containers that die while others hold their
//! mounts, and open files in mounts that are gone.

use std::fs::File;
use std::io::Read;
use std::sync::atomic::Ordering::SeqCst;

use abi::child::wait_until;
use abi::mountinfo::{at, is_mounted};
use abi::world::{bind, exists, make, mkdir, mkdirs, new_tmpfs, read, tmpfs, touch, umount, write};
use abi::{Child, assert_errno, shared_words, spawn, syscall};
use libc::{MNT_DETACH, MNT_EXPIRE, MS_PRIVATE, MS_SHARED, MS_SLAVE};
use shared_subtrees::{container, on_host, unshare, view};

/// The directory in which a storage driver publishes its volumes.
fn make_plugins() {
    new_tmpfs("/tmp/plugins");
    mkdirs(&["/tmp/plugins/one", "/tmp/plugins/two"]);
}

/// A storage driver in a namespace that listens to the host in all but the directory that it publishes in.
fn driver(work: impl FnOnce()) {
    spawn(|| {
        unshare(0);
        make("/", MS_SLAVE).expect("slave");
        make("/tmp", MS_SLAVE).expect("slave");
        work();
    })
    .join();
}

#[test]
fn a_driver_publishes_a_volume_to_the_host_and_dies() {
    on_host(|| {
        make_plugins();
        driver(|| {
            tmpfs("volume", "/tmp/plugins/one");
            write("/tmp/plugins/one/data", "kept");
        });
        assert_eq!(view("/tmp"), ["plugins plugins shared:A", "plugins/one volume shared:B"]);
        assert_eq!(read("/tmp/plugins/one/data"), "kept");
    });
}

#[test]
fn a_drivers_own_mounts_stay_its_own() {
    on_host(|| {
        make_plugins();
        mkdir("scratch");
        driver(|| {
            tmpfs("scratch", "/tmp/scratch");
            tmpfs("volume", "/tmp/plugins/one");
        });
        assert_eq!(view("/tmp"), ["plugins plugins shared:A", "plugins/one volume shared:B"]);
    });
}

#[test]
fn a_restarted_driver_takes_its_old_volume_away_from_all() {
    on_host(|| {
        make_plugins();
        driver(|| tmpfs("volume", "/tmp/plugins/one"));
        let last = || assert_eq!(view("/tmp"), ["plugins plugins master:A"]);
        let first = || assert!(is_mounted("/tmp/plugins/one"));
        container(MS_SLAVE, first, || driver(|| assert_eq!(umount("/tmp/plugins/one", 0), Ok(0))), last);
        assert_eq!(view("/tmp"), ["plugins plugins shared:A"]);
    });
}

#[test]
fn a_driver_binds_a_staged_volume_to_where_containers_look() {
    on_host(|| {
        make_plugins();
        new_tmpfs("/tmp/pods");
        mkdir("pods/volume");
        let publish = || {
            driver(|| {
                tmpfs("volume", "/tmp/plugins/one");
                touch("/tmp/plugins/one/file");
                bind("/tmp/plugins/one", "/tmp/pods/volume").expect("bind");
            })
        };
        let last = || {
            assert!(exists("/tmp/pods/volume/file"));
            let published =
                ["plugins plugins master:A", "plugins/one volume master:B", "pods pods master:C", "pods/volume volume master:B"];
            assert_eq!(view("/tmp"), published);
        };
        container(MS_SLAVE, || {}, publish, last);
    });
}

#[test]
fn staging_may_end_while_the_published_bind_lives() {
    on_host(|| {
        make_plugins();
        driver(|| {
            tmpfs("volume", "/tmp/plugins/one");
            touch("/tmp/plugins/one/file");
            bind("/tmp/plugins/one", "/tmp/plugins/two").expect("bind");
            umount("/tmp/plugins/one", 0).expect("umount");
        });
        assert_eq!(view("/tmp"), ["plugins plugins shared:A", "plugins/two volume shared:B"]);
        assert!(exists("/tmp/plugins/two/file"));
    });
}

/// A process that copies the host's namespace as a private one, and keeps it until it is told to end.
fn holder(words: &'static [std::sync::atomic::AtomicU32], last: impl FnOnce()) -> Child {
    let process = spawn(|| {
        unshare(MS_PRIVATE);
        words[0].store(1, SeqCst);
        wait_until("the host is through", || words[1].load(SeqCst) == 1);
        last();
    });
    wait_until("the holder is up", || words[0].load(SeqCst) == 1);
    process
}

#[test]
fn a_private_copy_of_a_namespace_holds_what_the_host_unmounts() {
    on_host(|| {
        new_tmpfs("/tmp/disk");
        write("disk/file", "held");
        let words = shared_words();
        let holding = holder(words, || assert_eq!(read("/tmp/disk/file"), "held"));
        umount("/tmp/disk", 0).expect("another namespace does not make it busy");
        assert!(view("/tmp").is_empty());
        words[1].store(1, SeqCst);
        holding.join();
    });
}

#[test]
fn a_killed_container_leaves_the_hosts_mounts_alone() {
    on_host(|| {
        new_tmpfs("/tmp/disk");
        let words = shared_words();
        let holding = holder(words, || {});
        syscall!(SYS_kill, holding.pid(), libc::SIGKILL).expect("kill");
        holding.status();
        assert_eq!(view("/tmp"), ["disk disk shared:A"]);
        umount("/tmp/disk", 0).expect("nothing holds it");
    });
}

#[test]
fn an_open_namespace_outlives_its_container() {
    on_host(|| {
        new_tmpfs("/tmp/disk");
        write("disk/file", "held");
        let words = shared_words();
        let holding = holder(words, || {});
        let namespace = File::open(format!("/proc/{}/ns/mnt", holding.pid())).expect("open");
        umount("/tmp/disk", 0).expect("umount");
        words[1].store(1, SeqCst);
        holding.join();
        spawn(|| {
            syscall!(SYS_setns, &namespace, libc::CLONE_NEWNS).expect("setns");
            assert_eq!(view("/tmp"), ["disk disk"]);
            assert_eq!(read("/tmp/disk/file"), "held");
        })
        .join();
        assert!(!exists("/tmp/disk/file"));
    });
}

#[test]
fn an_open_file_keeps_a_detached_volume_alive() {
    on_host(|| {
        make_plugins();
        driver(|| {
            tmpfs("volume", "/tmp/plugins/one");
            write("/tmp/plugins/one/data", "kept");
        });
        let mut open = File::open("/tmp/plugins/one/data").expect("open");
        assert_errno!(umount("/tmp/plugins/one", 0), EBUSY);
        driver(|| assert_eq!(umount("/tmp/plugins/one", MNT_DETACH), Ok(0)));
        assert_eq!(view("/tmp"), ["plugins plugins shared:A"]);
        let mut content = String::new();
        open.read_to_string(&mut content).expect("read");
        assert_eq!(content, "kept");
    });
}

#[test]
fn the_last_peer_that_dies_lets_its_slaves_go() {
    on_host(|| {
        new_tmpfs("/tmp/run");
        make("/tmp/run", MS_PRIVATE).expect("private");
        let words = shared_words();
        let master = spawn(|| {
            unshare(0);
            // Or the unmount itself would travel.
            make("/tmp", MS_PRIVATE).expect("private");
            make("/tmp/run", MS_SHARED).expect("shared");
            let slave = spawn(|| {
                unshare(MS_SLAVE);
                assert!(at("/tmp/run").master.is_some());
                words[0].store(1, SeqCst);
                wait_until("its master is gone", || at("/tmp/run").master.is_none());
                words[1].store(1, SeqCst);
            });
            wait_until("the slave is up", || words[0].load(SeqCst) == 1);
            umount("/tmp/run", MNT_DETACH).expect("detach");
            slave.join();
        });
        master.join();
        assert_eq!(words[1].load(SeqCst), 1);
    });
}

#[test]
fn an_expired_mount_goes_at_the_second_asking_only() {
    on_host(|| {
        new_tmpfs("/tmp/disk");
        assert_errno!(umount("/tmp/disk", MNT_EXPIRE), EAGAIN);
        touch("/tmp/disk/used");
        assert_errno!(umount("/tmp/disk", MNT_EXPIRE), EAGAIN);
        umount("/tmp/disk", MNT_EXPIRE).expect("not used since");
        assert!(view("/tmp").is_empty());
    });
}
