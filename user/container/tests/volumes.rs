//! The library: each test in a process with a mount namespace of its own, where `/tmp` is a fresh tmpfs and the working directory.

use abi::in_mount_namespace;
use container::{Volume, WhenBusy, mount_volume, setup_container_volumes, setup_volume, unmount_volume};
use rustix::io::Errno;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const ROOT: &str = "/tmp/root";

/// A root file system that is a folder, and nothing else in it.
fn rootfs() -> PathBuf {
    fs::create_dir(ROOT).unwrap();
    PathBuf::from(ROOT)
}

fn volume(text: &str) -> Volume {
    text.parse().unwrap()
}

/// The mounts below the root file system: path and options.
fn mounts() -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let rows = table.lines().map(|row| row.split(' ').collect::<Vec<_>>()).filter(|fields| fields[4].starts_with(ROOT));
    rows.map(|fields| format!("{} {}", fields[4], fields[5])).collect()
}

fn mode(path: &str) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn setup_makes_source_and_target_with_0755() {
    in_mount_namespace(|| {
        let root = rootfs();
        rustix::process::umask(rustix::fs::Mode::empty());
        let prepared = setup_volume(&root, &volume("/tmp/deep/source:/deep/target")).unwrap();
        assert_eq!(prepared.point, Path::new("/tmp/root/deep/target"));
        assert_eq!((mode("/tmp/deep"), mode("/tmp/deep/source")), (0o755, 0o755));
        assert_eq!((mode("/tmp/root/deep"), mode("/tmp/root/deep/target")), (0o755, 0o755));
    });
}

#[test]
fn data_goes_both_ways_at_once() {
    in_mount_namespace(|| {
        let mounted = setup_container_volumes(&rootfs(), &[volume("/tmp/source:/data")]).unwrap();
        fs::write("/tmp/source/host", "from the host").unwrap();
        assert_eq!(fs::read_to_string("/tmp/root/data/host").unwrap(), "from the host");
        fs::write("/tmp/root/data/inside", "from inside").unwrap();
        assert_eq!(fs::read_to_string("/tmp/source/inside").unwrap(), "from inside");
        unmount_volume(&mounted[0], WhenBusy::Tell).unwrap();
        assert!(Path::new("/tmp/source/inside").exists() && !Path::new("/tmp/root/data").exists());
        assert_eq!(mounts(), Vec::<String>::new());
    });
}

#[test]
fn a_file_is_bound_onto_a_file() {
    in_mount_namespace(|| {
        fs::write("/tmp/file", "text").unwrap();
        let mounted = setup_container_volumes(&rootfs(), &[volume("/tmp/file:/etc/settings")]).unwrap();
        assert_eq!(fs::read_to_string("/tmp/root/etc/settings").unwrap(), "text");
        unmount_volume(&mounted[0], WhenBusy::Tell).unwrap();
        assert!(!Path::new("/tmp/root/etc").exists());
    });
}

#[test]
fn read_only_is_refused_to_the_bottom_and_keeps_other_options() {
    in_mount_namespace(|| {
        fs::create_dir_all("/tmp/source").unwrap();
        abi::world::mount("t", "/tmp/source", "tmpfs", libc::MS_NOSUID | libc::MS_NOEXEC, "").unwrap();
        fs::create_dir("/tmp/source/sub").unwrap();
        abi::world::tmpfs("t", "/tmp/source/sub");
        let mounted = setup_container_volumes(&rootfs(), &[volume("/tmp/source:/data:ro")]).unwrap();
        for path in ["/tmp/root/data/file", "/tmp/root/data/sub/file"] {
            assert_eq!(fs::write(path, "x").unwrap_err().raw_os_error(), Some(libc::EROFS), "{path}");
        }
        assert_eq!(mounts(), ["/tmp/root/data ro,nosuid,noexec,relatime", "/tmp/root/data/sub ro,relatime"]);
        fs::write("/tmp/source/sub/file", "the host still may").unwrap();
        unmount_volume(&mounted[0], WhenBusy::Tell).unwrap();
    });
}

#[test]
fn submounts_come_along_and_go_without_the_host_s() {
    in_mount_namespace(|| {
        abi::world::new_tmpfs("/tmp/source");
        abi::world::make("/tmp/source", libc::MS_SHARED).unwrap();
        abi::world::new_tmpfs("/tmp/source/sub");
        fs::write("/tmp/source/sub/file", "deep").unwrap();
        let mounted = setup_container_volumes(&rootfs(), &[volume("/tmp/source:/data:rshared")]).unwrap();
        assert_eq!(fs::read_to_string("/tmp/root/data/sub/file").unwrap(), "deep");
        // And one that comes later.
        abi::world::new_tmpfs("/tmp/source/later");
        assert_eq!(mounts().len(), 3);
        unmount_volume(&mounted[0], WhenBusy::Tell).unwrap();
        assert_eq!(mounts(), Vec::<String>::new());
        // Unmounting did not propagate.
        assert_eq!(fs::read_to_string("/tmp/source/sub/file").unwrap(), "deep");
    });
}

#[test]
fn propagation_that_cannot_be_is_told() {
    in_mount_namespace(|| {
        abi::world::new_tmpfs("/tmp/source");
        let failure = setup_container_volumes(&rootfs(), &[volume("/tmp/source:/data:rshared")]).unwrap_err();
        assert_eq!((failure.call, failure.errno), ("mount", Errno::INVAL));
        assert!(failure.to_string().contains("mount --make-rshared"), "{failure}");
        assert!(!Path::new("/tmp/root/data").exists());
    });
}

#[test]
fn existing_mounts_are_seen_before_mounting() {
    in_mount_namespace(|| {
        let root = rootfs();
        abi::world::new_tmpfs("/tmp/root/data");
        let failure = setup_container_volumes(&root, &[volume("/tmp/source:/data")]).unwrap_err();
        assert_eq!((failure.errno, failure.path.as_path()), (Errno::BUSY, Path::new("/tmp/root/data")));
        assert!(failure.advice.contains("tmpfs"), "{failure}");
        assert_eq!(mounts().len(), 1);
    });
}

#[test]
fn a_missing_source_is_told() {
    in_mount_namespace(|| {
        let root = rootfs();
        let prepared = setup_volume(&root, &volume("/tmp/source:/data")).unwrap();
        fs::remove_dir("/tmp/source").unwrap();
        let failure = mount_volume(prepared).unwrap_err();
        assert_eq!((failure.call, failure.path.as_path(), failure.errno), ("mount", Path::new("/tmp/source"), Errno::NOENT));
        assert!(failure.to_string().contains("make it first"), "{failure}");
        assert!(!Path::new("/tmp/root/data").exists());
        // One that cannot be made is told, too.
        fs::write("/tmp/file", "").unwrap();
        let failure = setup_volume(&root, &volume("/tmp/file/source:/data")).unwrap_err();
        assert_eq!((failure.call, failure.errno), ("mkdir", Errno::NOTDIR));
    });
}

#[test]
fn busy_is_told_with_a_name_and_detached_when_asked() {
    in_mount_namespace(|| {
        let mounted = setup_container_volumes(&rootfs(), &[volume("/tmp/source:/data")]).unwrap();
        let mut holder = Command::new("/bin/busybox").args(["sleep", "1000"]).current_dir("/tmp/root/data").spawn().unwrap();
        let failure = unmount_volume(&mounted[0], WhenBusy::Tell).unwrap_err();
        let name = format!("process {} (", holder.id());
        assert_eq!(failure.errno, Errno::BUSY);
        assert!(failure.advice.contains(&name) && failure.advice.contains("works in /tmp/root/data"), "{failure}");
        assert_eq!(mounts().len(), 1, "it stays mounted");
        unmount_volume(&mounted[0], WhenBusy::Detach).unwrap();
        assert_eq!(mounts(), Vec::<String>::new());
        assert!(!Path::new("/tmp/root/data").exists());
        holder.kill().unwrap();
        holder.wait().unwrap();
    });
}

#[test]
fn ten_volumes_come_and_go() {
    in_mount_namespace(|| {
        let volumes: Vec<Volume> = (0..10).map(|number| volume(&format!("/tmp/source{number}:/data/{number}"))).collect();
        let mounted = setup_container_volumes(&rootfs(), &volumes).unwrap();
        assert_eq!(mounts().len(), 10);
        for number in 0..10 {
            fs::write(format!("/tmp/root/data/{number}/file"), number.to_string()).unwrap();
            assert_eq!(fs::read_to_string(format!("/tmp/source{number}/file")).unwrap(), number.to_string());
        }
        for one in mounted.iter().rev() {
            unmount_volume(one, WhenBusy::Tell).unwrap();
        }
        assert_eq!(mounts(), Vec::<String>::new());
        assert!(!Path::new("/tmp/root/data").exists());
    });
}

/// Each way in which the third of three volumes can fail: nothing of the first two, or of itself, is left.
#[test]
fn a_failure_at_each_step_leaves_nothing() {
    let failures = [
        // Its source cannot be made.
        ("/tmp/file/x:/three", "mkdir"),
        // Its mount point cannot be made.
        ("/tmp/three:/file/x", "openat2"),
        // A folder cannot be bound onto a file.
        ("/tmp/three:/file", "mount"),
        // Something is mounted there.
        ("/tmp/three:/mounted", "mount"),
        // Its propagation cannot be.
        ("/tmp/three:/three:rslave", "mount"),
    ];
    for (third, call) in failures {
        in_mount_namespace(|| {
            let root = rootfs();
            fs::write("/tmp/file", "").unwrap();
            fs::write("/tmp/root/file", "").unwrap();
            abi::world::new_tmpfs("/tmp/root/mounted");
            let volumes = [volume("/tmp/one:/one"), volume("/tmp/two:/deep/two:ro"), volume(third)];
            let failure = setup_container_volumes(&root, &volumes).unwrap_err();
            assert_eq!(failure.call, call, "{third}: {failure}");
            assert_eq!(mounts(), ["/tmp/root/mounted rw,relatime"], "{third}");
            let mut left: Vec<_> = fs::read_dir(ROOT).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            left.sort();
            assert_eq!(left, ["file", "mounted"], "{third}");
        });
    }
}

#[test]
fn a_link_in_the_root_file_system_does_not_lead_out_of_it() {
    in_mount_namespace(|| {
        let root = rootfs();
        std::os::unix::fs::symlink("/tmp", "/tmp/root/link").unwrap();
        fs::create_dir("/tmp/root/tmp").unwrap();
        let prepared = setup_volume(&root, &volume("/tmp/source:/link/data")).unwrap();
        assert_eq!(prepared.point, Path::new("/tmp/root/tmp/data"));
        assert!(!Path::new("/tmp/data").exists());
    });
}
