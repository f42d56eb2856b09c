//! Both programs from start to end, with each way of making binds: what is seen through them, and that nothing is left.

use abi::child::{exit_now, wait_until};
use abi::mountinfo;
use abi::world::{in_mount_namespace, mkdirs, names, read, tmpfs, umount, write};
use abi::{Child, Status, signal, spawn};
use fuse_volumes::BindMount;
use fuse_volumes::serve::{BindMode, Content, Settings, run};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Where everything is: a root to show, layers, sources on the "host", and a mountpoint.
fn in_world(body: impl FnOnce()) {
    in_mount_namespace(|| {
        mkdirs(&["/tmp/root", "/tmp/upper", "/tmp/lower", "/tmp/lower2", "/tmp/host", "/tmp/host/data", "/tmp/m"]);
        tmpfs("journals", "/run");
        write("/tmp/root/own", "own");
        write("/tmp/upper/upper-file", "upper");
        write("/tmp/lower/lower-file", "lower");
        write("/tmp/lower/both", "from the first");
        write("/tmp/lower2/both", "from the second");
        write("/tmp/host/data/one", "1");
        write("/tmp/host/resolv.conf", "nameserver 10.0.0.1");
        body();
    });
}

fn passthrough(mode: BindMode, binds: &[&str]) -> Settings {
    Settings {
        content: Content::Passthrough { root: "/tmp/root".into() },
        mountpoint: "/tmp/m".into(),
        binds: binds.iter().map(|bind| bind.parse().expect("a good bind")).collect(),
        mode: Some(mode),
        privileged: true,
        allow_other: false,
        mapping: None,
        name: None,
    }
}

fn overlay(mode: BindMode, binds: &[&str]) -> Settings {
    let lowers = vec!["/tmp/lower".into(), "/tmp/lower2".into()];
    Settings { content: Content::Overlay { upper: "/tmp/upper".into(), lowers }, ..passthrough(mode, binds) }
}

/// Both kinds of content with both ways that need no namespace.
fn each(binds: &[&str], check: impl Fn(&Settings)) {
    for mode in [BindMode::Kernel, BindMode::User] {
        for settings in [passthrough(mode, binds), overlay(mode, binds)] {
            check(&settings);
        }
    }
}

/// Starts a server and waits until it answers.
fn server(settings: &Settings) -> Child {
    let settings = settings.clone();
    let point = settings.mountpoint.clone();
    let child = spawn(move || exit_now(outcome(settings)));
    let shown = point.to_str().expect("a plain name").to_owned();
    wait_until("the file system answers", || mountinfo::is_mounted(&shown) && fs::metadata(&point).is_ok());
    child
}

/// Runs to the end in this process: 0, or 1 with the complaint in a file.
fn outcome(settings: Settings) -> i32 {
    match run(settings) {
        Ok(()) => 0,
        Err(error) => {
            write("/tmp/complaint", format!("{error:#}"));
            1
        }
    }
}

/// The complaint of a server that must not start.
fn refused(settings: Settings) -> String {
    let before = mounts();
    let child = spawn(move || exit_now(outcome(settings)));
    assert_eq!(child.status(), Status::Exited(1));
    assert_eq!(mounts(), before, "nothing is left of it");
    read("/tmp/complaint")
}

fn mounts() -> Vec<PathBuf> {
    mountinfo::table().into_iter().map(|mount| PathBuf::from(mount.mount_point)).collect()
}

/// Ends a server by a signal and sees that it left nothing.
fn end(child: Child, by: i32, before: &[PathBuf]) {
    signal::send(child.pid(), by);
    assert_eq!(child.status(), Status::Exited(0), "{}", fs::read_to_string("/tmp/complaint").unwrap_or_default());
    assert_eq!(mounts(), before, "no mount is left behind");
    assert!(fs::read_dir("/run/fuse-volumes").expect("its folder").next().is_none(), "no journal is left behind");
}

/// Serves, looks, ends.
fn with_server(settings: &Settings, look: impl FnOnce()) {
    let before = mounts();
    let child = server(settings);
    look();
    end(child, libc::SIGTERM, &before);
}

fn errno(result: std::io::Result<impl Sized>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

#[test]
fn a_root_is_shown_as_it_is() {
    in_world(|| {
        with_server(&passthrough(BindMode::Kernel, &[]), || {
            assert_eq!(read("/tmp/m/own"), "own");
            write("/tmp/m/new", "new");
            assert_eq!(read("/tmp/root/new"), "new");
        });
    });
}

#[test]
fn layers_are_one_tree() {
    in_world(|| {
        with_server(&overlay(BindMode::Kernel, &[]), || {
            assert_eq!(names("/tmp/m"), ["both", "lower-file", "upper-file"]);
            assert_eq!(read("/tmp/m/both"), "from the first");
            write("/tmp/m/lower-file", "changed");
            assert_eq!((read("/tmp/upper/lower-file"), read("/tmp/lower/lower-file")), ("changed".into(), "lower".into()));
        });
    });
}

#[test]
fn a_large_directory_is_listed_name_by_name_as_it_is_then() {
    const FILES: usize = 2000;
    in_world(|| {
        mkdirs(&["/tmp/root/many", "/tmp/lower/many"]);
        let name = |number: usize| format!("file-{number:04}");
        for number in 0..FILES {
            write(&format!("/tmp/root/many/{}", name(number)), "old");
            write(&format!("/tmp/lower/many/{}", name(number)), "old");
        }
        for settings in [passthrough(BindMode::Kernel, &[]), overlay(BindMode::Kernel, &[])] {
            with_server(&settings, || {
                let all: Vec<String> = (0..FILES).map(name).collect();
                assert_eq!(names("/tmp/m/many"), all);
                let mut listing = fs::read_dir("/tmp/m/many").expect("a directory");
                let mut seen = vec![listing.next().expect("one").expect("a name").file_name()];
                // What is handed out later tells what is true by then, or the kernel would believe the old length.
                for number in (0..FILES).step_by(100) {
                    write(&format!("/tmp/m/many/{}", name(number)), "longer");
                }
                seen.extend(listing.map(|entry| entry.expect("a name").file_name()));
                seen.sort();
                assert_eq!(seen, all.iter().map(std::ffi::OsString::from).collect::<Vec<_>>());
                for number in (0..FILES).step_by(100) {
                    assert_eq!(fs::metadata(format!("/tmp/m/many/{}", name(number))).expect("stat").len(), 6);
                }
                fs::remove_file(format!("/tmp/m/many/{}", name(7))).expect("unlink");
                assert_eq!(names("/tmp/m/many").len(), FILES - 1);
            });
        }
    });
}

#[test]
fn a_directory_is_bound_to_a_target_that_is_made() {
    in_world(|| {
        each(&["a/b:/tmp/host/data"], |settings| {
            with_server(settings, || {
                assert_eq!(read("/tmp/m/a/b/one"), "1");
                write("/tmp/m/a/b/two", "2");
                assert_eq!(read("/tmp/host/data/two"), "2");
                write("/tmp/host/data/three", "3");
                assert_eq!(read("/tmp/m/a/b/three"), "3");
                assert_eq!(names("/tmp/m/a"), ["b"]);
                assert_eq!(names("/tmp/m/a/b"), ["one", "three", "two"]);
            });
            fs::remove_file("/tmp/host/data/two").expect("unlink");
            fs::remove_file("/tmp/host/data/three").expect("unlink");
            assert!(!Path::new("/tmp/root/a").exists() && !Path::new("/tmp/upper/a").exists(), "what was made for the bind is gone");
        });
    });
}

#[test]
fn a_file_is_bound_onto_a_file() {
    in_world(|| {
        each(&["etc/resolv.conf:/tmp/host/resolv.conf"], |settings| {
            with_server(settings, || {
                assert_eq!(read("/tmp/m/etc/resolv.conf"), "nameserver 10.0.0.1");
                assert_eq!(names("/tmp/m/etc"), ["resolv.conf"]);
                write("/tmp/m/etc/resolv.conf", "nameserver 10.0.0.2");
                assert_eq!(read("/tmp/host/resolv.conf"), "nameserver 10.0.0.2");
                write("/tmp/host/resolv.conf", "nameserver 10.0.0.1");
            });
        });
    });
}

#[test]
fn several_binds_stand_side_by_side_and_in_each_other() {
    in_world(|| {
        mkdirs(&["/tmp/host/dev", "/tmp/host/dev/pts", "/tmp/host/pts"]);
        write("/tmp/host/dev/null", "null");
        write("/tmp/host/pts/0", "0");
        each(&["dev:/tmp/host/dev", "dev/pts:/tmp/host/pts", "data:/tmp/host/data", "etc/hosts:/tmp/host/resolv.conf"], |settings| {
            with_server(settings, || {
                assert_eq!(read("/tmp/m/dev/null"), "null");
                assert_eq!(read("/tmp/m/dev/pts/0"), "0");
                assert_eq!(names("/tmp/m/dev"), ["null", "pts"]);
                assert_eq!(read("/tmp/m/data/one"), "1");
                assert_eq!(read("/tmp/m/etc/hosts"), "nameserver 10.0.0.1");
            });
            assert_eq!(names("/tmp/host/dev"), ["null", "pts"], "the sources are as before");
        });
    });
}

#[test]
fn a_bind_hides_what_the_layers_have() {
    in_world(|| {
        mkdirs(&["/tmp/lower/data", "/tmp/upper/data", "/tmp/root/data"]);
        for layer in ["lower", "upper", "root"] {
            write(&format!("/tmp/{layer}/data/hidden"), "");
        }
        each(&["data:/tmp/host/data"], |settings| {
            with_server(settings, || assert_eq!(names("/tmp/m/data"), ["one"]));
            assert!(Path::new("/tmp/root/data/hidden").exists() && Path::new("/tmp/upper/data/hidden").exists());
        });
    });
}

#[test]
fn the_layers_of_an_overlay_stay_right_beside_a_bind() {
    in_world(|| {
        for mode in [BindMode::Kernel, BindMode::User] {
            with_server(&overlay(mode, &["data:/tmp/host/data"]), || {
                fs::remove_file("/tmp/m/both").expect("unlink");
                assert!(!Path::new("/tmp/m/both").exists());
                assert_eq!(read("/tmp/lower/both"), "from the first");
                write("/tmp/m/both", "new");
                assert_eq!(read("/tmp/upper/both"), "new");
            });
            fs::remove_file("/tmp/upper/both").expect("unlink");
        }
    });
}

#[test]
fn a_read_only_bind_is_read_only() {
    in_world(|| {
        each(&["data:/tmp/host/data:ro", "conf:/tmp/host/resolv.conf:ro"], |settings| {
            with_server(settings, || {
                assert_eq!(read("/tmp/m/data/one"), "1");
                assert_eq!(errno(fs::write("/tmp/m/data/one", "2")), Some(libc::EROFS));
                assert_eq!(errno(fs::write("/tmp/m/data/two", "2")), Some(libc::EROFS));
                assert_eq!(errno(fs::create_dir("/tmp/m/data/d")), Some(libc::EROFS));
                assert_eq!(errno(fs::remove_file("/tmp/m/data/one")), Some(libc::EROFS));
                assert_eq!(errno(fs::write("/tmp/m/conf", "2")), Some(libc::EROFS));
                write("/tmp/m/beside", "the rest can be written");
                fs::remove_file("/tmp/m/beside").expect("unlink");
            });
            assert_eq!(read("/tmp/host/data/one"), "1");
        });
    });
}

#[test]
fn a_mount_below_the_source_comes_only_with_rec() {
    in_world(|| {
        mkdirs(&["/tmp/host/data/sub"]);
        tmpfs("sub", "/tmp/host/data/sub");
        write("/tmp/host/data/sub/file", "inside");
        with_server(&passthrough(BindMode::Kernel, &["data:/tmp/host/data"]), || assert!(names("/tmp/m/data/sub").is_empty()));
        with_server(&passthrough(BindMode::Kernel, &["data:/tmp/host/data:rec"]), || {
            assert_eq!(read("/tmp/m/data/sub/file"), "inside");
        });
        with_server(&passthrough(BindMode::Kernel, &["data:/tmp/host/data:rec,ro"]), || {
            assert_eq!(errno(fs::write("/tmp/m/data/sub/file", "2")), Some(libc::EROFS));
        });
        assert_eq!(read("/tmp/host/data/sub/file"), "inside");
        umount("/tmp/host/data/sub", 0).expect("nothing holds it");
    });
}

#[test]
fn propagation_is_as_asked() {
    in_world(|| {
        abi::world::bind("/tmp/host", "/tmp/host").expect("bind");
        abi::world::make("/tmp/host", libc::MS_SHARED).expect("shared");
        mkdirs(&["/tmp/host/data/later"]);
        for (options, arrives) in [("", true), (":slave", true), (":rshared", true), (":private", false)] {
            with_server(&passthrough(BindMode::Kernel, &[&format!("data:/tmp/host/data{options}")]), || {
                tmpfs("later", "/tmp/host/data/later");
                write("/tmp/host/data/later/file", "");
                assert_eq!(!names("/tmp/root/data/later").is_empty(), arrives, "{options}");
                assert_eq!(!names("/tmp/m/data/later").is_empty(), arrives, "{options}");
                // Not a plain umount: the copy that arrived is held by the server, which has seen it, and a umount that cannot take
                // away all copies that are its own to take is refused (umount(2), EBUSY).
                umount("/tmp/host/data/later", libc::MNT_DETACH).expect("detach");
            });
        }
    });
}

#[test]
fn a_bind_cannot_be_removed_or_renamed_through_the_file_system() {
    in_world(|| {
        with_server(&passthrough(BindMode::User, &["a/data:/tmp/host/data"]), || {
            assert_eq!(errno(fs::remove_dir("/tmp/m/a/data")), Some(libc::EBUSY));
            assert_eq!(errno(fs::rename("/tmp/m/a/data", "/tmp/m/b")), Some(libc::EBUSY));
            assert_eq!(errno(fs::rename("/tmp/m/a", "/tmp/m/b")), Some(libc::EBUSY));
            assert_eq!(errno(fs::rename("/tmp/m/own", "/tmp/m/a/data/own")), Some(libc::EXDEV));
            assert_eq!(errno(fs::hard_link("/tmp/m/own", "/tmp/m/a/data/own")), Some(libc::EXDEV));
        });
    });
}

#[test]
fn both_signals_and_umount_end_it() {
    in_world(|| {
        each(&["data:/tmp/host/data"], |settings| {
            let before = mounts();
            for by in [libc::SIGINT, libc::SIGTERM] {
                end(server(settings), by, &before);
            }
            let child = server(settings);
            umount("/tmp/m", 0).expect("it is not busy");
            assert_eq!(child.status(), Status::Exited(0));
            assert_eq!(mounts(), before);
        });
    });
}

#[test]
fn a_busy_file_system_is_detached_and_serves_its_last_user() {
    in_world(|| {
        each(&["data:/tmp/host/data"], |settings| {
            let before = mounts();
            let child = server(settings);
            let directory = fs::File::open("/tmp/m/data").expect("open");
            signal::send(child.pid(), libc::SIGTERM);
            wait_until("it is detached", || !mountinfo::is_mounted("/tmp/m"));
            let inside = format!("/proc/self/fd/{}/one", std::os::fd::AsRawFd::as_raw_fd(&directory));
            assert_eq!(read(&inside), "1", "it goes on serving");
            drop(directory);
            assert_eq!(child.status(), Status::Exited(0));
            assert_eq!(mounts(), before);
        });
    });
}

#[test]
fn the_next_start_cleans_up_after_a_kill() {
    in_world(|| {
        each(&["x/data:/tmp/host/data:ro", "conf:/tmp/host/resolv.conf"], |settings| {
            let before = mounts();
            let child = server(settings);
            signal::send(child.pid(), libc::SIGKILL);
            child.status();
            assert_eq!(errno(fs::metadata("/tmp/m/own")), Some(libc::ENOTCONN), "a dead mount is left");
            with_server_from(settings, &before, || assert_eq!(read("/tmp/m/x/data/one"), "1"));
            assert!(!Path::new("/tmp/root/x").exists() && !Path::new("/tmp/upper/x").exists());
        });
    });
}

/// As [`with_server`], where the mounts before were not those that are to be left.
fn with_server_from(settings: &Settings, before: &[PathBuf], look: impl FnOnce()) {
    let child = spawn({
        let settings = settings.clone();
        move || exit_now(outcome(settings))
    });
    // By a file's content: the dead one's attributes may be remembered, and between the two the directory is just empty.
    wait_until("the file system answers", || fs::read("/tmp/m/x/data/one").is_ok());
    look();
    end(child, libc::SIGTERM, before);
}

#[test]
fn two_servers_on_one_mountpoint_are_refused() {
    in_world(|| {
        with_server(&passthrough(BindMode::Kernel, &["data:/tmp/host/data"]), || {
            let told = refused(passthrough(BindMode::Kernel, &[]));
            assert!(told.contains("/tmp/m is in use"), "{told}");
            assert_eq!(read("/tmp/m/data/one"), "1", "the first goes on");
        });
    });
}

#[test]
fn a_missing_source_is_refused_before_anything_is_mounted() {
    in_world(|| {
        each(&["first:/tmp/host/data", "second:/tmp/host/missing"], |settings| {
            let told = refused(settings.clone());
            assert!(told.contains("`second`") && told.contains("/tmp/host/missing"), "{told}");
            assert!(!Path::new("/tmp/root/first").exists() && !Path::new("/tmp/upper/first").exists());
        });
    });
}

#[test]
fn a_target_that_leaves_the_root_by_a_symlink_is_refused() {
    in_world(|| {
        for (link, to) in [("absolute", "/tmp/host"), ("relative", "../host")] {
            symlink(to, format!("/tmp/root/{link}")).expect("symlink");
            symlink(to, format!("/tmp/upper/{link}")).expect("symlink");
            each(&[&format!("{link}/data:/tmp/host/data")], |settings| {
                let told = refused(settings.clone());
                assert!(told.contains("leaves the root"), "{told}");
            });
        }
        assert!("../host:/tmp/host/data".parse::<BindMount>().is_err());
        assert_eq!(names("/tmp/host/data"), ["one"]);
    });
}

#[test]
fn a_symlink_within_the_root_is_followed() {
    in_world(|| {
        mkdirs(&["/tmp/root/real"]);
        symlink("real", "/tmp/root/link").expect("symlink");
        with_server(&passthrough(BindMode::Kernel, &["link/data:/tmp/host/data"]), || {
            assert_eq!(read("/tmp/m/real/data/one"), "1");
        });
        assert!(names("/tmp/root/real").is_empty());
    });
}

#[test]
fn the_same_target_twice_is_refused() {
    in_world(|| {
        each(&["data:/tmp/host/data", "./data/:/tmp/host"], |settings| {
            let told = refused(settings.clone());
            assert!(told.contains("`data` is given twice"), "{told}");
        });
    });
}

#[test]
fn a_file_onto_a_directory_is_refused() {
    in_world(|| {
        mkdirs(&["/tmp/root/dir", "/tmp/lower/dir"]);
        each(&["dir:/tmp/host/resolv.conf"], |settings| {
            let told = refused(settings.clone());
            assert!(told.contains("both must be of one kind"), "{told}");
        });
    });
}

#[test]
fn a_mountpoint_in_use_is_refused() {
    in_world(|| {
        write("/tmp/m/file", "");
        let told = refused(passthrough(BindMode::Kernel, &["data:/tmp/host/data"]));
        assert!(told.contains("not empty"), "{told}");
        assert!(!Path::new("/tmp/root/data").exists(), "the bind was undone");
        fs::remove_file("/tmp/m/file").expect("unlink");
        tmpfs("other", "/tmp/m");
        let told = refused(passthrough(BindMode::Kernel, &[]));
        assert!(told.contains("something is mounted there"), "{told}");
        umount("/tmp/m", 0).expect("umount");
        fs::remove_dir("/tmp/m").expect("rmdir");
        let told = refused(passthrough(BindMode::Kernel, &[]));
        assert!(told.contains("make the directory first"), "{told}");
    });
}

#[test]
fn flags_of_a_mount_need_a_mount() {
    in_world(|| {
        let told = refused(passthrough(BindMode::User, &["data:/tmp/host/data:noexec"]));
        assert!(told.contains("flags of a mount"), "{told}");
    });
}

/// Becomes user and group 1000, without any privilege.
fn become_user() {
    abi::syscall!(SYS_setresgid, 1000, 1000, 1000).expect("another group");
    abi::syscall!(SYS_setresuid, 1000, 1000, 1000).expect("another user");
    // A program started by the user would be: without it /proc/self belongs to root (proc(5)).
    abi::syscall!(SYS_prctl, libc::PR_SET_DUMPABLE, 1).expect("dumpable");
}

#[test]
fn without_privilege_a_namespace_is_made() {
    in_world(|| {
        abi::syscall!(SYS_chmod, c"/dev/fuse", 0o666).expect("the usual mode");
        for folder in ["", "/root", "/upper", "/m", "/host/data"] {
            std::os::unix::fs::chown(format!("/tmp{folder}"), Some(1000), Some(1000)).expect("chown");
        }
        for settings in
            [passthrough(BindMode::Namespace, &["data:/tmp/host/data:ro"]), overlay(BindMode::Namespace, &["data:/tmp/host/data:ro"])]
        {
            let before = mounts();
            let child = spawn({
                let settings = settings.clone();
                move || {
                    become_user();
                    exit_now(outcome(settings))
                }
            });
            let inside = |path: &str| PathBuf::from(format!("/proc/{}/root/tmp/m/{path}", child.pid()));
            wait_until("it serves inside", || {
                fs::read_to_string(format!("/proc/{}/mountinfo", child.pid())).is_ok_and(|table| table.contains(" /tmp/m "))
            });
            assert_eq!(mounts(), before, "nothing is seen outside");
            // Nobody but the user is let in, root neither.
            assert_eq!(errno(fs::read(inside("data/one"))), Some(libc::EACCES));
            let (read_only, readable) = (inside("data/new"), inside("data/one"));
            spawn(move || {
                become_user();
                assert_eq!(errno(fs::write(read_only, "")), Some(libc::EROFS));
                assert_eq!(fs::read_to_string(readable).expect("the user's own"), "1");
            })
            .join();
            signal::send(child.pid(), libc::SIGTERM);
            assert_eq!(child.status(), Status::Exited(0), "{}", fs::read_to_string("/tmp/complaint").unwrap_or_default());
            assert!(names("/tmp/fuse-volumes-1000").is_empty(), "no journal is left behind");
            assert!(!Path::new("/tmp/root/data").exists() && !Path::new("/tmp/upper/data").exists());
        }
    });
}

#[test]
fn the_library_makes_and_cleans_up() {
    in_world(|| {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let before = mounts();
        let pairs = vec![(PathBuf::from("data"), PathBuf::from("/tmp/host/data"))];
        let arguments = fuse_volumes::PassthroughArgs { root_dir: "/tmp/root".into(), mapping: None, bind_mounts: pairs.clone() };
        let (_layer, binds) = runtime.block_on(fuse_volumes::new_passthroughfs_layer(arguments)).expect("a layer");
        assert_eq!(read("/tmp/root/data/one"), "1");
        fuse_volumes::cleanup_bind_mounts(binds).expect("clean up");
        assert_eq!(mounts(), before);
        let arguments = fuse_volumes::OverlayArgs {
            mountpoint: "/tmp/m".into(),
            upperdir: "/tmp/upper".into(),
            lowerdir: vec!["/tmp/lower".into()],
            privileged: true,
            mapping: None,
            name: Some("layers".into()),
            allow_other: false,
            bind_mounts: pairs,
        };
        let (handle, binds) = runtime.block_on(fuse_volumes::mount_fs(arguments)).expect("a mount");
        assert_eq!(read("/tmp/m/data/one"), "1");
        assert_eq!(mountinfo::at("/tmp/m").source, "layers");
        runtime.block_on(handle.unmount()).expect("unmount");
        fuse_volumes::cleanup_bind_mounts(binds).expect("clean up");
        assert_eq!(mounts(), before);
        assert!(!Path::new("/tmp/upper/data").exists());
    });
}
