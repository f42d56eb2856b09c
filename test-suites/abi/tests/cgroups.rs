//! Control groups: the tree, who is in which group, delegation, cgroup namespaces. cgroups(7), cgroup_namespaces(7).

use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering::SeqCst;

use abi::cgroup::{Group, OPTIONS, ROOT, enable, in_cgroups, membership, try_write};
use abi::child::{tell, wait_until};
use abi::world::{mkdir, mount, names, open, read, umount};
use abi::{Status, assert_errno, shared_words, spawn, syscall};

/// `struct clone_args` of clone3(2), up to the group.
#[derive(Default)]
#[repr(C)]
struct CloneArguments {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

const CLONE_INTO_CGROUP: u64 = 1 << 33;

fn clone_into(directory: &impl AsRawFd) -> abi::Outcome {
    let arguments = CloneArguments {
        flags: CLONE_INTO_CGROUP,
        exit_signal: libc::SIGCHLD as u64,
        cgroup: directory.as_raw_fd() as u64,
        ..CloneArguments::default()
    };
    syscall!(SYS_clone3, &raw const arguments, size_of::<CloneArguments>())
}

#[test]
fn the_root_has_the_files_of_the_core_but_not_those_of_a_group() {
    in_cgroups(|| {
        let here = names(ROOT);
        for name in ["cgroup.procs", "cgroup.threads", "cgroup.controllers", "cgroup.subtree_control", "cgroup.stat", "cpu.stat"] {
            assert!(here.iter().any(|known| known == name), "{name}");
        }
        for name in ["cgroup.type", "cgroup.events", "cgroup.freeze", "cgroup.kill", "pids.max", "memory.max"] {
            assert!(!here.iter().any(|known| known == name), "{name}");
        }
    });
}

#[test]
fn the_filesystem_says_what_it_is() {
    in_cgroups(|| {
        let statistics = rustix::fs::statfs(ROOT).expect("statfs");
        assert_eq!(statistics.f_type as u64, 0x6367_7270, "CGROUP2_SUPER_MAGIC");
        let table = read("/proc/self/mountinfo");
        let line = table.lines().find(|line| line.contains(ROOT)).expect("its line");
        assert!(line.contains(" - cgroup2 cgroup rw,nsdelegate,"), "{line}");
        assert!(line.ends_with(",memory_recursiveprot"), "{line}");
        assert!(read("/proc/filesystems").contains("nodev\tcgroup2\n"));
        mkdir("/tmp/second");
        assert_errno!(mount("cgroup", "/tmp/second", "cgroup2", 0, "cpuset"), EINVAL);
        assert_errno!(mount("cgroup", "/tmp/second", "cgroup2", 0, "nsdelegate=1"), EINVAL);
        mount("cgroup", "/tmp/second", "cgroup2", 0, OPTIONS).expect("another mount");
        let group = Group::new("seen");
        assert!(names("/tmp/second").iter().any(|name| group.path.ends_with(name)), "one instance");
        umount("/tmp/second", 0).expect("umount");
    });
}

#[test]
fn sysfs_has_the_place_to_mount_it() {
    in_cgroups(|| {
        mkdir("/tmp/sys");
        mount("sysfs", "/tmp/sys", "sysfs", 0, "").expect("sysfs");
        mount("cgroup", "/tmp/sys/fs/cgroup", "cgroup2", 0, OPTIONS).expect("the hierarchy");
        assert!(abi::world::exists("/tmp/sys/fs/cgroup/cgroup.controllers"));
    });
}

#[test]
fn a_process_moves_to_the_group_that_its_number_is_written_to() {
    in_cgroups(|| {
        let group = Group::new("move");
        assert_eq!(group.processes(), Vec::<i32>::new());
        let child = group.sleeper();
        assert_eq!(membership(&child.pid().to_string()), group.path[ROOT.len()..]);
        assert_eq!(group.processes(), [child.pid()]);
        try_write(&format!("{ROOT}/cgroup.procs"), &format!("{}\n", child.pid())).expect("back to the root");
        assert_eq!(group.processes(), Vec::<i32>::new());
        assert_eq!(membership(&child.pid().to_string()), "/");
    });
}

#[test]
fn bad_numbers_are_refused() {
    in_cgroups(|| {
        let group = Group::new("numbers");
        assert_errno!(group.try_write("cgroup.procs", "x"), EINVAL);
        assert_errno!(group.try_write("cgroup.procs", "\n"), EINVAL);
        assert_errno!(group.try_write("cgroup.procs", "-1"), EINVAL);
        assert_errno!(group.try_write("cgroup.procs", "4194300"), ESRCH);
        assert_errno!(group.try_write("cgroup.events", "1"), EINVAL);
        assert_errno!(group.try_write("cgroup.controllers", "pids"), EINVAL);
    });
}

#[test]
fn children_begin_in_the_group_of_their_parent() {
    in_cgroups(|| {
        let group = Group::new("fork");
        group.enter();
        let words = shared_words();
        let child = spawn(|| {
            let inherited = membership("self").contains("/fork-");
            words[0].store(u32::from(inherited), SeqCst);
        });
        child.join();
        assert_eq!(words[0].load(SeqCst), 1);
        std::thread::spawn(|| assert!(membership("thread-self").contains("/fork-"))).join().expect("the thread");
    });
}

#[test]
fn groups_are_made_and_removed_as_directories() {
    in_cgroups(|| {
        let group = Group::new("tree");
        let below = group.child("below");
        assert!(abi::world::exists(&below.file("cgroup.events")));
        assert_errno!(group.try_remove(), EBUSY);
        assert_errno!(syscall!(SYS_mkdir, abi::world::c(&below.path).as_c_str(), 0o755), EEXIST);
        assert_errno!(syscall!(SYS_mkdir, abi::world::c(&group.file("a\nb")).as_c_str(), 0o755), EINVAL);
        assert_errno!(open(&group.file("new"), libc::O_CREAT | libc::O_WRONLY), EACCES);
        assert_errno!(syscall!(SYS_unlink, abi::world::c(&group.file("cgroup.procs")).as_c_str()), EPERM);
        assert_errno!(syscall!(SYS_rename, abi::world::c(&below.path).as_c_str(), abi::world::c(&group.file("other")).as_c_str()), EPERM);
        assert_eq!(group.value("cgroup.stat", "nr_descendants"), 1);
        below.try_remove().expect("rmdir");
        assert!(!abi::world::exists(&below.path));
        assert_eq!(group.value("cgroup.stat", "nr_descendants"), 0);
    });
}

#[test]
fn a_group_with_a_process_cannot_be_removed_but_one_with_a_zombie_can() {
    in_cgroups(|| {
        let group = Group::new("busy");
        let child = group.sleeper();
        assert_errno!(group.try_remove(), EBUSY);
        syscall!(SYS_kill, child.pid(), libc::SIGKILL).expect("kill");
        wait_until("the group is empty", || group.has_event("populated 0"));
        assert_eq!(abi::child::state_of(child.pid()), Some('Z'));
        group.try_remove().expect("rmdir");
        let shown = membership(&child.pid().to_string());
        assert!(shown.ends_with(" (deleted)"), "{shown}");
        assert_eq!(child.status(), Status::Killed(libc::SIGKILL));
    });
}

#[test]
fn files_of_a_removed_group_are_dead() {
    in_cgroups(|| {
        let group = Group::new("gone");
        let mut file = open(&group.file("cgroup.procs"), libc::O_RDWR).expect("open");
        group.try_remove().expect("rmdir");
        let mut text = String::new();
        assert_errno!(std::io::Read::read_to_string(&mut file, &mut text), ENODEV);
        assert_errno!(std::io::Write::write(&mut file, b"0"), ENODEV);
    });
}

#[test]
fn populated_covers_the_groups_below() {
    in_cgroups(|| {
        let group = Group::new("populated");
        let below = group.child("below");
        assert!(group.has_event("populated 0"));
        let child = below.sleeper();
        assert!(group.has_event("populated 1") && below.has_event("populated 1"));
        drop(child);
        wait_until("nobody is left", || group.has_event("populated 0") && below.has_event("populated 0"));
    });
}

#[test]
fn poll_and_inotify_tell_of_changes() {
    in_cgroups(|| {
        let group = Group::new("notify");
        let mut file = open(&group.file("cgroup.events"), libc::O_RDONLY).expect("open");
        let mut text = String::new();
        std::io::Read::read_to_string(&mut file, &mut text).expect("read");
        let poll = |timeout_ms: i32| {
            let mut entry = libc::pollfd { fd: file.as_raw_fd(), events: libc::POLLPRI, revents: 0 };
            let ready = syscall!(SYS_poll, &raw mut entry, 1, timeout_ms).expect("poll");
            (ready, entry.revents)
        };
        assert_eq!(poll(0).0, 0, "{text}");
        let watcher = syscall!(SYS_inotify_init1, libc::IN_NONBLOCK).expect("inotify") as i32;
        let path = abi::world::c(&group.file("cgroup.events"));
        syscall!(SYS_inotify_add_watch, watcher, path.as_c_str(), libc::IN_MODIFY).expect("a watch");
        let child = group.sleeper();
        let (ready, events) = poll(5000);
        assert_eq!((ready, events & libc::POLLPRI), (1, libc::POLLPRI));
        let mut event = [0u8; 256];
        wait_until("inotify tells", || syscall!(SYS_read, watcher, event.as_mut_ptr(), event.len()).is_ok());
        assert_eq!(u32::from_ne_bytes([event[4], event[5], event[6], event[7]]), libc::IN_MODIFY);
        drop(child);
    });
}

#[test]
fn kill_ends_everybody_in_the_group_and_below() {
    in_cgroups(|| {
        let group = Group::new("kill");
        let below = group.child("below");
        let children = [group.sleeper(), below.sleeper()];
        assert_errno!(group.try_write("cgroup.kill", "0"), ERANGE);
        assert_errno!(group.try_write("cgroup.kill", "x"), EINVAL);
        assert!(children.iter().all(|child| abi::child::state_of(child.pid()) == Some('S')));
        group.write("cgroup.kill", "1");
        for child in children {
            assert_eq!(child.status(), Status::Killed(libc::SIGKILL));
        }
        assert!(group.has_event("populated 0"));
    });
}

#[test]
fn depth_and_number_of_groups_can_be_limited() {
    in_cgroups(|| {
        let group = Group::new("limits");
        assert_eq!((group.read("cgroup.max.depth"), group.read("cgroup.max.descendants")), ("max\n".into(), "max\n".into()));
        group.write("cgroup.max.descendants", "1");
        let below = group.child("below");
        assert_errno!(syscall!(SYS_mkdir, abi::world::c(&group.file("second")).as_c_str(), 0o755), EAGAIN);
        group.write("cgroup.max.descendants", "max");
        group.write("cgroup.max.depth", "1");
        assert_errno!(syscall!(SYS_mkdir, abi::world::c(&below.file("deeper")).as_c_str(), 0o755), EAGAIN);
        group.child("second").try_remove().expect("rmdir");
        assert_errno!(group.try_write("cgroup.max.depth", "-1"), ERANGE);
        assert_errno!(group.try_write("cgroup.max.depth", "deep"), EINVAL);
    });
}

#[test]
fn controllers_are_handed_down_level_by_level() {
    in_cgroups(|| {
        assert!(read(&format!("{ROOT}/cgroup.controllers")).split_whitespace().any(|name| name == "pids"));
        let group = Group::with_controllers("control", "+pids");
        let below = group.child("below");
        assert!(group.read("cgroup.controllers").split_whitespace().any(|name| name == "pids"));
        assert_eq!(below.read("cgroup.controllers"), "");
        assert!(!abi::world::exists(&below.file("pids.max")));
        assert_errno!(below.try_write("cgroup.subtree_control", "+pids"), ENOENT);
        group.write("cgroup.subtree_control", "+pids");
        assert_eq!(below.read("cgroup.controllers"), "pids\n");
        assert!(abi::world::exists(&below.file("pids.max")));
        below.write("cgroup.subtree_control", "+pids");
        assert_errno!(group.try_write("cgroup.subtree_control", "-pids"), EBUSY);
        below.write("cgroup.subtree_control", "-pids");
        group.write("cgroup.subtree_control", "+pids -pids");
        assert!(!abi::world::exists(&below.file("pids.max")));
        assert_errno!(group.try_write("cgroup.subtree_control", "+nonsense"), EINVAL);
        assert_errno!(group.try_write("cgroup.subtree_control", "pids"), EINVAL);
    });
}

#[test]
fn processes_and_domain_controllers_exclude_each_other() {
    in_cgroups(|| {
        if !read(&format!("{ROOT}/cgroup.controllers")).contains("memory") {
            return tell("no memory controller: nothing to test");
        }
        let group = Group::with_controllers("internal", "+memory");
        let child = group.sleeper();
        assert_errno!(group.try_write("cgroup.subtree_control", "+memory"), EBUSY);
        drop(child);
        wait_until("it is empty", || group.has_event("populated 0"));
        group.write("cgroup.subtree_control", "+memory");
        assert_errno!(group.try_write("cgroup.procs", "0"), EBUSY);
    });
}

#[test]
fn threads_of_one_process_are_in_different_threaded_groups() {
    in_cgroups(|| {
        let domain = Group::new("domain");
        let threaded = domain.child("threaded");
        assert_eq!(domain.read("cgroup.type"), "domain\n");
        assert_errno!(threaded.try_write("cgroup.type", "domain"), EINVAL);
        threaded.write("cgroup.type", "threaded");
        assert_eq!(threaded.read("cgroup.type"), "threaded\n");
        assert_eq!(domain.read("cgroup.type"), "domain threaded\n");
        assert_errno!(std::fs::read(threaded.file("cgroup.procs")), EOPNOTSUPP);
        domain.enter();
        let (started, wait) = (shared_words(), shared_words());
        let thread = std::thread::spawn(move || {
            let id = syscall!(SYS_gettid).expect("gettid");
            started[0].store(id as u32, SeqCst);
            wait_until("the test is through", || wait[0].load(SeqCst) == 1);
        });
        wait_until("it has started", || started[0].load(SeqCst) != 0);
        let id = started[0].load(SeqCst);
        threaded.write("cgroup.threads", &id.to_string());
        assert_eq!(threaded.read("cgroup.threads"), format!("{id}\n"));
        assert!(!domain.read("cgroup.threads").lines().any(|line| line == id.to_string()));
        assert_eq!(domain.processes(), [std::process::id() as i32]);
        assert!(membership(&format!("self/task/{id}")).ends_with("/threaded"));
        assert_errno!(threaded.try_write("cgroup.kill", "1"), EOPNOTSUPP);
        let root_threads = format!("{ROOT}/cgroup.threads");
        assert_errno!(try_write(&root_threads, &id.to_string()), EOPNOTSUPP);
        wait[0].store(1, SeqCst);
        thread.join().expect("the thread");
    });
}

#[test]
fn below_a_threaded_group_a_domain_is_invalid() {
    in_cgroups(|| {
        let domain = Group::new("invalid");
        let threaded = domain.child("threaded");
        threaded.write("cgroup.type", "threaded");
        let below = threaded.child("below");
        assert_eq!(below.read("cgroup.type"), "domain invalid\n");
        assert_errno!(below.try_write("cgroup.procs", "0"), EOPNOTSUPP);
        let sibling = domain.child("sibling");
        assert_eq!(sibling.read("cgroup.type"), "domain invalid\n");
        sibling.write("cgroup.type", "threaded");
        assert_eq!(sibling.read("cgroup.type"), "threaded\n");
    });
}

#[test]
fn a_populated_group_cannot_become_threaded() {
    in_cgroups(|| {
        let domain = Group::new("late");
        let below = domain.child("below");
        let child = below.sleeper();
        assert_errno!(below.try_write("cgroup.type", "threaded"), EOPNOTSUPP);
        drop(child);
        wait_until("it is empty", || below.has_event("populated 0"));
        below.write("cgroup.type", "threaded");
    });
}

#[test]
fn clone3_makes_a_child_in_another_group() {
    in_cgroups(|| {
        let group = Group::new("clone");
        let directory = open(&group.path, libc::O_RDONLY | libc::O_DIRECTORY).expect("the directory");
        let words = shared_words();
        let child = clone_into(&directory).expect("clone3");
        if child == 0 {
            words[0].store(u32::from(membership("self").contains("/clone-")), SeqCst);
            abi::child::exit_now(0);
        }
        assert_eq!(abi::child::wait_end(child as i32), Status::Exited(0));
        assert_eq!(words[0].load(SeqCst), 1);
        assert!(!membership("self").contains("/clone-"));
        let elsewhere = open("/tmp", libc::O_RDONLY | libc::O_DIRECTORY).expect("a directory");
        assert_errno!(clone_into(&elsewhere), EBADF);
        group.try_remove().expect("rmdir");
        assert_errno!(clone_into(&directory), ENOENT);
    });
}

#[test]
fn clone3_obeys_no_internal_processes() {
    in_cgroups(|| {
        if !read(&format!("{ROOT}/cgroup.controllers")).contains("memory") {
            return tell("no memory controller: nothing to test");
        }
        let group = Group::with_controllers("clone-busy", "+memory");
        group.write("cgroup.subtree_control", "+memory");
        let directory = open(&group.path, libc::O_RDONLY | libc::O_DIRECTORY).expect("the directory");
        assert_errno!(clone_into(&directory), EBUSY);
    });
}

/// Becomes an ordinary user with no rights over files of others.
fn become_user() {
    syscall!(SYS_setgroups, 0, 0usize).expect("setgroups");
    syscall!(SYS_setresgid, 1000, 1000, 1000).expect("setresgid");
    syscall!(SYS_setresuid, 1000, 1000, 1000).expect("setresuid");
}

#[test]
fn moving_needs_the_right_to_write_the_common_ancestor() {
    in_cgroups(|| {
        let group = Group::new("delegated");
        let (one, two) = (group.child("one"), group.child("two"));
        for path in [&group.path, &one.path, &two.path] {
            for file in ["", "/cgroup.procs", "/cgroup.subtree_control"] {
                rustix::fs::chown(format!("{path}{file}"), Some(rustix::fs::Uid::from_raw(1000)), None).expect("chown");
            }
        }
        one.enter();
        spawn(|| {
            become_user();
            two.write("cgroup.procs", "0");
            assert_errno!(try_write(&format!("{ROOT}/cgroup.procs"), "0"), EACCES);
            mkdir(&group.file("three"));
            assert_eq!(std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(group.file("three/cgroup.procs")).expect("stat")), 1000);
            try_write(&group.file("three/cgroup.procs"), "0").expect("into its own group");
        })
        .join();
        // From outside of what was delegated the common ancestor is the root.
        try_write(&format!("{ROOT}/cgroup.procs"), "0").expect("back to the root");
        spawn(|| {
            become_user();
            assert_errno!(one.try_write("cgroup.procs", "0"), EACCES);
            let directory = open(&one.path, libc::O_RDONLY | libc::O_DIRECTORY).expect("the directory");
            assert_errno!(clone_into(&directory), EACCES);
        })
        .join();
    });
}

#[test]
fn the_right_to_move_is_that_of_who_opened_the_file() {
    in_cgroups(|| {
        let group = Group::new("opener");
        let by_root = open(&group.file("cgroup.procs"), libc::O_WRONLY).expect("open");
        spawn(|| {
            become_user();
            syscall!(SYS_write, &by_root, b"0".as_ptr(), 1).expect("write");
            assert!(membership("self").contains("/opener-"));
        })
        .join();
    });
}

#[test]
fn a_cgroup_namespace_has_its_group_as_the_root() {
    in_cgroups(|| {
        let group = Group::new("namespace");
        let (inside, sibling) = (group.child("inside"), group.child("sibling"));
        let other = sibling.sleeper();
        let name = group.path[ROOT.len()..].to_owned();
        inside.spawn(|| in_namespace_of(&name, other.pid())).join();
    });
}

/// The part of the test above that runs in the namespace, in the group `inside` below `name`; `other` is in `sibling` beside it.
fn in_namespace_of(name: &str, other: i32) {
    assert_eq!(membership("self"), format!("{name}/inside"));
    let before = std::fs::read_link("/proc/self/ns/cgroup").expect("readlink");
    syscall!(SYS_unshare, libc::CLONE_NEWCGROUP).expect("unshare");
    assert_ne!(std::fs::read_link("/proc/self/ns/cgroup").expect("readlink"), before);
    assert_eq!(membership("self"), "/");
    assert_eq!(membership(&syscall!(SYS_getppid).expect("getppid").to_string()), "/../..");
    assert_eq!(membership(&other.to_string()), "/../sibling");
    let table = read("/proc/self/mountinfo");
    let line = table.lines().find(|line| line.contains(&format!(" {ROOT} "))).expect("its line");
    assert!(line.contains(&format!(" /../.. {ROOT} ")), "{line}");
    mkdir("/tmp/own");
    mount("cgroup", "/tmp/own", "cgroup2", 0, "").expect("a mount of the namespace");
    assert!(abi::world::exists("/tmp/own/cgroup.freeze"), "it shows the group, not the root");
    let table = read("/proc/self/mountinfo");
    let line = table.lines().find(|line| line.contains(" /tmp/own ")).expect("its line");
    assert!(line.contains(" / /tmp/own "), "{line}");
}

#[test]
fn setns_enters_a_cgroup_namespace_without_moving() {
    in_cgroups(|| {
        let group = Group::new("setns");
        let words = shared_words();
        let child = group.spawn(|| {
            syscall!(SYS_unshare, libc::CLONE_NEWCGROUP).expect("unshare");
            words[0].store(1, SeqCst);
            wait_until("the test is through", || words[1].load(SeqCst) == 1);
        });
        wait_until("the namespace is there", || words[0].load(SeqCst) == 1);
        let file = open(&format!("/proc/{}/ns/cgroup", child.pid()), libc::O_RDONLY).expect("open");
        assert_errno!(syscall!(SYS_setns, &file, libc::CLONE_NEWUTS), EINVAL);
        syscall!(SYS_setns, &file, libc::CLONE_NEWCGROUP).expect("setns");
        assert_eq!(membership("self"), "/..");
        assert_eq!(membership(&child.pid().to_string()), "/");
        words[1].store(1, SeqCst);
        child.join();
    });
}

#[test]
fn nsdelegate_makes_a_namespace_a_boundary() {
    in_cgroups(|| {
        let group = Group::new("boundary");
        let (inside, outside) = (group.child("inside"), group.child("outside"));
        let child = outside.sleeper();
        let in_namespace = || {
            syscall!(SYS_unshare, libc::CLONE_NEWCGROUP).expect("unshare");
            assert_errno!(inside.try_write("cgroup.max.depth", "3"), EPERM);
            assert_errno!(inside.try_write("cgroup.freeze", "0"), EPERM);
            assert_errno!(outside.try_write("cgroup.procs", "0"), ENOENT);
            assert_errno!(inside.try_write("cgroup.procs", &child.pid().to_string()), ENOENT);
            mkdir(&inside.file("below"));
            inside.write("below/cgroup.procs", "0");
            assert_eq!(membership("self"), "/below");
            inside.write("below/cgroup.max.depth", "3");
        };
        inside.spawn(in_namespace).join();
    });
}

#[test]
fn a_user_namespace_mounts_the_hierarchy_only_with_a_cgroup_namespace_of_its_own() {
    in_cgroups(|| {
        mkdir("/tmp/own");
        spawn(|| {
            syscall!(SYS_unshare, libc::CLONE_NEWUSER | libc::CLONE_NEWNS).expect("unshare");
            assert_errno!(mount("cgroup", "/tmp/own", "cgroup2", 0, ""), EPERM);
            syscall!(SYS_unshare, libc::CLONE_NEWCGROUP).expect("unshare");
            mount("cgroup", "/tmp/own", "cgroup2", 0, "").expect("a mount");
        })
        .join();
    });
}

#[test]
fn proc_lists_the_controllers() {
    in_cgroups(|| {
        let text = read("/proc/cgroups");
        assert!(text.starts_with("#subsys_name\thierarchy\tnum_cgroups\tenabled\n"), "{text}");
        let fields: Vec<&str> = text.lines().find(|line| line.starts_with("pids\t")).expect("pids").split('\t').collect();
        assert_eq!((fields[1], fields[3]), ("0", "1"));
    });
}

#[test]
fn enabling_twice_changes_nothing() {
    in_cgroups(|| {
        enable(ROOT, "+pids");
        let group = Group::new("twice");
        group.write("pids.max", "17");
        enable(ROOT, "+pids");
        assert_eq!(group.read("pids.max"), "17\n");
    });
}
