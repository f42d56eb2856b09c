//! procfs: the files that programs read about processes, their formats, and the links that lead to objects.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::Ordering::SeqCst;

use abi::child::{exit_now, wait_until, wait_until_asleep};
use abi::world::{c, identity, mkdir, mkdirs, mount, names, read, touch, umount, write};
use abi::{Pages, assert_errno, in_child, in_mount_namespace, shared_words, spawn, syscall};

fn pid() -> usize {
    syscall!(SYS_getpid).expect("getpid")
}

/// The value of `key` in the caller's `/proc/self/status`.
fn status_of(process: &str, key: &str) -> String {
    let status = read(&format!("/proc/{process}/status"));
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(":\t").map(str::to_string));
    line.unwrap_or_else(|| panic!("no {key} in {status}"))
}

fn link(path: &str) -> String {
    std::fs::read_link(path).unwrap_or_else(|error| panic!("readlink {path}: {error}")).into_os_string().into_string().expect("text")
}

#[test]
fn self_and_thread_self_lead_to_the_caller() {
    in_child(|| {
        assert_eq!(link("/proc/self"), pid().to_string());
        std::thread::spawn(|| {
            let thread = syscall!(SYS_gettid).expect("gettid");
            assert_eq!(link("/proc/thread-self"), format!("{}/task/{thread}", pid()));
            assert_eq!(names("/proc/self/task").len(), 2);
            assert_eq!(read(&format!("/proc/self/task/{thread}/stat")).split(' ').next(), Some(thread.to_string().as_str()));
        })
        .join()
        .expect("a thread");
        wait_until("the thread is gone", || names("/proc/self/task") == [pid().to_string()]);
    });
}

#[test]
fn the_root_lists_processes_and_known_files() {
    in_child(|| {
        let child = spawn(|| {
            syscall!(SYS_pause).expect_err("EINTR");
        });
        let names = names("/proc");
        for expected in ["1", "self", "thread-self", "mounts", "meminfo", "stat", "uptime", "version", "cpuinfo", "filesystems", "sys"] {
            assert!(names.iter().any(|name| name == expected), "{expected}");
        }
        let child_name = child.pid().to_string();
        assert!(names.contains(&child_name));
        drop(child);
        assert_errno!(std::fs::metadata(format!("/proc/{child_name}")), ENOENT);
        assert_errno!(std::fs::metadata("/proc/0"), ENOENT);
        assert_errno!(std::fs::metadata("/proc/01"), ENOENT);
    });
}

#[test]
fn stat_has_its_52_fields() {
    in_child(|| {
        syscall!(SYS_prctl, libc::PR_SET_NAME, c"a) (b".as_ptr()).expect("prctl");
        let stat = read("/proc/self/stat");
        let (front, back) = stat.trim_end().rsplit_once(") ").expect("a name in parentheses");
        assert_eq!(front, format!("{} (a) (b", pid()));
        let fields: Vec<&str> = back.split(' ').collect();
        assert_eq!(fields.len(), 50);
        assert_eq!(fields[0], "R");
        let group = syscall!(SYS_getpgid, 0).expect("getpgid").to_string();
        let session = syscall!(SYS_getsid, 0).expect("getsid").to_string();
        let parent = syscall!(SYS_getppid).expect("getppid").to_string();
        assert_eq!(fields[1..4], [parent.as_str(), &group, &session]);
        assert_eq!(fields[17], "1", "one thread");
        assert!(fields[19].parse::<u64>().expect("start time") > 0);
        let size_bytes: u64 = fields[20].parse().expect("virtual size");
        let resident: u64 = fields[21].parse().expect("resident pages");
        assert!(size_bytes > resident * 4096 && resident > 10);
    });
}

#[test]
fn statm_and_status_agree_about_memory() {
    in_child(|| {
        let before: Vec<u64> = read("/proc/self/statm").split_whitespace().map(|field| field.parse().expect("pages")).collect();
        assert_eq!(before.len(), 7);
        let pages = Pages::private(500);
        (0..500).for_each(|page| pages.set(page * 4096, 1));
        let after: Vec<u64> = read("/proc/self/statm").split_whitespace().map(|field| field.parse().expect("pages")).collect();
        assert!(after[0] >= before[0] + 500 && after[1] >= before[1] + 400, "{before:?} {after:?}");
        let kilobytes: u64 = status_of("self", "VmSize").trim().strip_suffix(" kB").expect("kB").parse().expect("a number");
        assert!(kilobytes >= after[0] * 4);
    });
}

#[test]
fn status_tells_names_ids_signals_and_threads() {
    in_child(|| {
        assert_eq!(status_of("self", "Pid"), pid().to_string());
        assert_eq!(status_of("self", "Tgid"), pid().to_string());
        assert_eq!(status_of("self", "PPid"), syscall!(SYS_getppid).expect("getppid").to_string());
        assert_eq!(status_of("self", "Threads"), "1");
        assert_eq!(status_of("self", "State"), "R (running)");
        assert_eq!(status_of("self", "Umask"), "0022");
        abi::signal::ignore(libc::SIGUSR2);
        abi::signal::set_mask(&[libc::SIGUSR1]);
        abi::signal::raise(libc::SIGUSR1);
        let set = |signals: &[i32]| format!("{:016x}", abi::signal::bits(signals));
        assert_eq!(status_of("self", "SigBlk"), set(&[libc::SIGUSR1]));
        assert_eq!(status_of("self", "SigPnd"), set(&[libc::SIGUSR1]));
        assert_eq!(status_of("self", "SigIgn"), set(&[libc::SIGUSR2]));
        syscall!(SYS_setgroups, 2, [7u32, 8].as_ptr()).expect("setgroups");
        syscall!(SYS_setresuid, 1, 2, 3).expect("setresuid");
        assert_eq!(status_of("self", "Uid"), "1\t2\t3\t2");
        assert_eq!(status_of("self", "Groups").trim(), "7 8");
        assert_eq!(status_of("self", "CapEff"), "0000000000000000");
    });
}

#[test]
fn the_state_letter_follows_the_process() {
    in_child(|| {
        let child = spawn(|| {
            syscall!(SYS_pause).expect_err("EINTR");
        });
        let id = child.pid();
        wait_until_asleep(id);
        assert_eq!(status_of(&id.to_string(), "State"), "S (sleeping)");
        abi::signal::send(id, libc::SIGSTOP);
        wait_until("it stopped", || abi::child::state_of(id) == Some('T'));
        abi::signal::send(id, libc::SIGKILL);
        wait_until("it is a zombie", || abi::child::state_of(id) == Some('Z'));
        assert_eq!(read(&format!("/proc/{id}/cmdline")), "");
        assert_errno!(std::fs::read_link(format!("/proc/{id}/exe")), ENOENT);
        assert_errno!(File::open(format!("/proc/{id}/mountinfo")), EINVAL); // Rule W1
        drop(child);
    });
}

#[test]
fn the_fd_directory_lists_links_to_open_files() {
    in_mount_namespace(|| {
        touch("file");
        let file = File::open("file").expect("open");
        let (reader, writer) = std::io::pipe().expect("pipe");
        let fd = file.as_raw_fd();
        assert_eq!(link(&format!("/proc/self/fd/{fd}")), "/tmp/file");
        let pipe = link(&format!("/proc/self/fd/{}", reader.as_raw_fd()));
        assert!(pipe.starts_with("pipe:[") && pipe.ends_with(']'), "{pipe}");
        assert_eq!(pipe, link(&format!("/proc/self/fd/{}", writer.as_raw_fd())));
        let inode = identity(&format!("/proc/self/fd/{}", reader.as_raw_fd())).1;
        assert_eq!(pipe, format!("pipe:[{inode}]"));
        let event = syscall!(SYS_eventfd2, 0, 0).expect("eventfd");
        assert_eq!(link(&format!("/proc/self/fd/{event}")), "anon_inode:[eventfd]");
        let (socket, _other) = std::os::unix::net::UnixStream::pair().expect("socketpair");
        assert!(link(&format!("/proc/self/fd/{}", socket.as_raw_fd())).starts_with("socket:["));
        assert!(names("/proc/self/fd").contains(&fd.to_string()));
        drop(file);
        assert_errno!(std::fs::read_link(format!("/proc/self/fd/{fd}")), ENOENT);
        assert_errno!(std::fs::metadata("/proc/self/fd/-1"), ENOENT);
    });
}

#[test]
fn opening_a_descriptor_link_makes_a_new_open_file() {
    in_mount_namespace(|| {
        write("file", "abc");
        let file = File::open("file").expect("open");
        syscall!(SYS_lseek, &file, 2, libc::SEEK_SET).expect("lseek");
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        assert_eq!(read(&path), "abc", "an offset of its own");
        write(&path, "written"); // read-only descriptor, but the file may be written
        assert_eq!(read("file"), "written");
        let (_reader, writer) = std::io::pipe().expect("pipe");
        let reopened = File::open(format!("/proc/self/fd/{}", writer.as_raw_fd())).expect("the pipe's other end");
        std::io::Write::write_all(&mut &writer, b"x").expect("write");
        let mut byte = [0];
        std::io::Read::read_exact(&mut &reopened, &mut byte).expect("read");
        assert_eq!(byte, *b"x");
        let (socket, _other) = std::os::unix::net::UnixStream::pair().expect("socketpair");
        assert_errno!(File::open(format!("/proc/self/fd/{}", socket.as_raw_fd())), ENXIO);
    });
}

#[test]
fn fdinfo_tells_position_flags_and_mount() {
    in_mount_namespace(|| {
        write("file", "abcdef");
        let file = File::options().append(true).open("file").expect("open");
        syscall!(SYS_lseek, &file, 4, libc::SEEK_SET).expect("lseek");
        let info = read(&format!("/proc/self/fdinfo/{}", file.as_raw_fd()));
        let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_string());
        assert_eq!(field("pos:"), Some("4".to_string()));
        let flags = libc::O_WRONLY | libc::O_APPEND | libc::O_CLOEXEC | 0o100_000;
        assert_eq!(field("flags:"), Some(format!("0{flags:o}")));
        assert_eq!(field("mnt_id:"), Some(abi::mountinfo::top_at("/tmp").id.to_string())); // Rule W13
        assert_eq!(field("ino:"), Some(std::fs::metadata("file").expect("stat").ino().to_string()));
    });
}

#[test]
fn root_cwd_and_exe_of_another_process_lead_there() {
    in_mount_namespace(|| {
        mkdirs(&["root", "root/inner"]);
        touch("root/inner/file");
        let words = shared_words();
        let child = spawn(|| {
            syscall!(SYS_chroot, c"/tmp/root").expect("chroot");
            std::env::set_current_dir("/inner").expect("chdir");
            words[0].store(1, SeqCst);
            syscall!(SYS_pause).expect_err("EINTR");
        });
        wait_until("it is there", || words[0].load(SeqCst) == 1);
        let of_child = |name: &str| format!("/proc/{}/{name}", child.pid());
        assert_eq!((link(&of_child("root")), link(&of_child("cwd"))), ("/tmp/root".to_string(), "/tmp/root/inner".to_string()));
        assert_eq!(names(&of_child("root")), ["inner"]);
        assert_eq!(names(&of_child("cwd")), ["file"]);
        assert_eq!(identity(&of_child("exe")), identity("/proc/self/exe"));
        assert_eq!(identity(&of_child("cwd/..")), identity("/tmp/root"));
    });
}

#[test]
fn namespace_links_name_type_and_inode() {
    in_mount_namespace(|| {
        for (file, flag) in [("mnt", libc::CLONE_NEWNS), ("uts", libc::CLONE_NEWUTS), ("pid", 0), ("user", 0), ("ipc", 0), ("net", 0)] {
            let path = format!("/proc/self/ns/{file}");
            let text = link(&path);
            assert_eq!(text, format!("{file}:[{}]", identity(&path).1));
            if flag != 0 {
                let child = spawn(|| {
                    syscall!(SYS_unshare, flag).expect("unshare");
                    assert_ne!(link(&path), text);
                });
                child.join();
            }
            spawn(|| assert_eq!(link(&path), text)).join();
        }
    });
}

#[test]
fn maps_lists_mappings_with_their_files() {
    in_mount_namespace(|| {
        write("a file", vec![0; 8192]);
        let file = File::options().read(true).write(true).open("a file").expect("open");
        let pages = Pages::map(1, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), 4096).expect("mmap");
        let maps = read("/proc/self/maps");
        let start = format!("{:08x}-{:08x} ", pages.address(), pages.address() + 4096);
        let line = maps.lines().find(|line| line.starts_with(&start)).expect("its line");
        let fields: Vec<&str> = line[start.len()..].split_whitespace().collect();
        assert_eq!(fields[..2], ["r--s", "00001000"]);
        let data = file.metadata().expect("fstat");
        assert_eq!(fields[3], data.ino().to_string());
        assert!(line.ends_with("/tmp/a file"));
        assert!(maps.contains("[stack]") && maps.contains("[heap]"));
        std::fs::remove_file("a file").expect("unlink");
        assert!(read("/proc/self/maps").contains("/tmp/a file (deleted)"));
    });
}

#[test]
fn comm_can_be_written_and_oom_score_adj_is_bounded() {
    in_child(|| {
        write("/proc/self/comm", "new name that is long");
        assert_eq!(read("/proc/self/comm"), "new name that i\n");
        assert_eq!(read("/proc/self/oom_score_adj"), "0\n");
        write("/proc/self/oom_score_adj", "500");
        spawn(|| assert_eq!(read("/proc/self/oom_score_adj"), "500\n")).join();
        assert_errno!(std::fs::write("/proc/self/oom_score_adj", "1001"), EINVAL);
    });
}

#[test]
fn uid_map_and_setgroups_describe_the_initial_user_namespace() {
    let map = read("/proc/self/uid_map");
    assert_eq!(map.split_whitespace().collect::<Vec<_>>(), ["0", "0", "4294967295"]);
    assert_eq!(read("/proc/self/gid_map").split_whitespace().count(), 3);
    assert_eq!(read("/proc/self/setgroups"), "allow\n");
}

#[test]
fn meminfo_and_cpuinfo_and_stat_have_what_programs_parse() {
    let meminfo = read("/proc/meminfo");
    let kilobytes = |name: &str| -> u64 {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or_else(|| panic!("{name}"));
        line.trim().strip_suffix(" kB").expect("kB").parse().expect("a number")
    };
    assert!(kilobytes("MemFree") <= kilobytes("MemTotal") && kilobytes("MemAvailable") <= kilobytes("MemTotal"));
    assert!(kilobytes("MemTotal") > 100_000);
    assert!(kilobytes("Buffers") + kilobytes("Cached") <= kilobytes("MemTotal") && kilobytes("SwapFree") <= kilobytes("SwapTotal"));
    let cpuinfo = read("/proc/cpuinfo");
    assert!(cpuinfo.starts_with("processor\t: 0\n") && cpuinfo.contains("\nflags\t\t: fpu "));
    let stat = read("/proc/stat");
    assert!(stat.starts_with("cpu  ") && stat.contains("\ncpu0 ") && stat.contains("\nbtime ") && stat.contains("\nprocesses "));
    let loads = read("/proc/loadavg");
    assert_eq!(loads.split_whitespace().count(), 5);
    assert!(loads.split_whitespace().nth(3).is_some_and(|field| field.contains('/')));
    assert!(read("/proc/version").starts_with("Linux version 6."));
}

#[test]
fn filesystems_lists_the_types_that_can_be_mounted() {
    let filesystems = read("/proc/filesystems");
    for kind in ["tmpfs", "proc", "devpts", "sysfs", "devtmpfs"] {
        assert!(filesystems.lines().any(|line| line == format!("nodev\t{kind}")), "{kind}");
    }
}

#[test]
fn sysctls_that_programs_read_are_there() {
    for path in [
        "kernel/ostype",
        "kernel/osrelease",
        "kernel/hostname",
        "kernel/pid_max",
        "fs/mount-max",
        "kernel/cap_last_cap",
        "vm/overcommit_memory",
    ] {
        assert!(read(&format!("/proc/sys/{path}")).ends_with('\n'), "{path}");
    }
    assert_eq!(read("/proc/sys/kernel/ostype"), "Linux\n");
    assert_eq!(read("/proc/sys/kernel/osrelease").trim().as_bytes(), rustix::system::uname().release().to_bytes());
    assert!(read("/proc/sys/fs/mount-max").trim().parse::<u64>().expect("a number") > 0); // Rule O15
    let id = read("/proc/sys/kernel/random/boot_id");
    assert_eq!((id.len(), id.matches('-').count()), (37, 4));
}

#[test]
fn proc_can_be_mounted_again_and_again() {
    in_mount_namespace(|| {
        mkdirs(&["p", "q"]);
        mount("proc", "/tmp/p", "proc", 0, "").expect("mount");
        mount("another", "/tmp/q", "proc", libc::MS_RDONLY, "").expect("mount");
        assert_eq!(link("/tmp/p/self"), pid().to_string());
        assert_eq!(read("/tmp/q/self/comm"), read("/proc/self/comm"));
        // SAFETY: statfs is plain data.
        let mut space: libc::statfs = unsafe { std::mem::zeroed() };
        syscall!(SYS_statfs, c"/tmp/p", &raw mut space).expect("statfs");
        assert_eq!(space.f_type, libc::PROC_SUPER_MAGIC);
        assert_ne!(abi::mountinfo::at("/tmp/p").device, abi::mountinfo::at("/tmp/q").device);
        assert_errno!(std::fs::write("/tmp/q/self/comm", "x"), EROFS);
        assert_errno!(std::fs::create_dir("/tmp/p/x"), ENOENT);
        assert_errno!(std::fs::remove_file("/tmp/p/uptime"), EPERM);
        umount("q", 0).expect("umount");
        umount("p", 0).expect("umount");
    });
}

#[test]
fn a_null_source_shows_as_none() {
    in_mount_namespace(|| {
        mkdir("p");
        syscall!(SYS_mount, 0usize, c"/tmp/p", c"proc", 0, 0usize).expect("mount");
        let shown = abi::mountinfo::at("/tmp/p");
        assert_eq!((shown.source.as_str(), shown.kind.as_str()), ("none", "proc")); // Rule F10
    });
}

#[test]
fn whatever_a_process_directory_lists_can_be_looked_at() {
    in_child(|| {
        // Whatever is listed can at least be looked at: what ps and lsof rely on.
        for name in names("/proc/self") {
            let path = c(&format!("/proc/self/{name}"));
            // SAFETY: stat is plain data.
            let mut data: libc::stat = unsafe { std::mem::zeroed() };
            assert_eq!(syscall!(SYS_lstat, path.as_c_str(), &raw mut data), Ok(0), "{name}");
        }
        let readable = "auxv cgroup cmdline comm environ limits maps mountinfo mounts mountstats oom_score stat statm status";
        for name in readable.split(' ') {
            assert!(std::fs::read(format!("/proc/self/{name}")).is_ok(), "{name}");
        }
    });
}

#[test]
fn files_of_a_process_that_ended_read_as_esrch() {
    in_child(|| {
        let child = spawn(|| {
            syscall!(SYS_pause).expect_err("EINTR");
            exit_now(0);
        });
        let directory = File::open(format!("/proc/{}", child.pid())).expect("open");
        let stat = File::open(format!("/proc/{}/stat", child.pid())).expect("open");
        drop(child);
        let mut byte = [0u8];
        assert_errno!(syscall!(SYS_read, &stat, byte.as_mut_ptr(), 1), ESRCH);
        assert_errno!(syscall!(SYS_openat, &directory, c"stat", libc::O_RDONLY), ESRCH);
    });
}
