//! `index`, `nfs_export` and `metacopy`: hard links that hold, handles that lead back, attributes that come up without content.

use abi::file_handle::{self, AT_HANDLE_FID, Handle};
use abi::world::{exists, identity, mkdir, names, open, read, touch, write};
use abi::{Outcome, assert_errno, syscall};
use overlayfs::{
    again, has_xattr, in_world, is_whiteout, left_in, mounted, mounted_read_only, overlay, rename, set_xattr, stat, unmounted, xattr,
};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

fn handle(path: &str, flags: i32) -> Outcome<Handle> {
    let (outcome, handle, _) = file_handle::handle_with(libc::AT_FDCWD, path, flags, 128);
    outcome.map(|_| handle)
}

fn open_handle(handle: &Handle, flags: i32) -> Outcome<File> {
    file_handle::open_handle(File::open("m").expect("open").as_raw_fd(), handle, flags)
}

fn linked_below() {
    write("lower/a", "x");
    fs::hard_link("lower/a", "lower/b").expect("link");
    fs::hard_link("lower/a", "lower/c").expect("link");
}

#[test]
fn an_index_keeps_hard_links_together() {
    in_world(|| {
        linked_below();
        mounted(",index=on");
        let before = identity("m/a");
        write("m/a", "changed");
        assert_eq!((read("m/b"), read("m/c")), ("changed".to_owned(), "changed".to_owned()));
        assert_eq!((identity("m/a"), identity("m/b")), (before, before));
        assert_eq!(stat("m/b").nlink(), 3);
        assert!(!exists("upper/b"));
        assert_eq!(names("work"), ["index", "work"]);
        assert_eq!(left_in("work/index").len(), 1);
        again(",index=on");
        assert_eq!(read("m/c"), "changed");
        assert_eq!(stat("m/a").nlink(), 3);
        fs::set_permissions("m/b", Permissions::from_mode(0o600)).expect("chmod");
        assert_eq!(stat("upper/a").ino(), stat("upper/b").ino());
        assert_eq!(stat("m/c").mode() & 0o777, 0o600);
    });
}

#[test]
fn an_index_counts_links_of_all_layers() {
    in_world(|| {
        linked_below();
        mounted(",index=on");
        fs::hard_link("m/a", "m/d").expect("link");
        assert_eq!(stat("m/b").nlink(), 4);
        fs::remove_file("m/b").expect("unlink");
        assert_eq!(stat("m/a").nlink(), 3);
        assert!(is_whiteout("upper/b"));
        fs::remove_file("m/a").expect("unlink");
        fs::remove_file("m/d").expect("unlink");
        assert_eq!(stat("m/c").nlink(), 1);
        assert_eq!(read("m/c"), "x");
        fs::remove_file("m/c").expect("unlink");
        assert_eq!(names("m"), [""; 0]);
        unmounted();
        assert_eq!(left_in("work/index"), [""; 0], "what nobody names is gone from the index");
    });
}

#[test]
fn an_upper_layer_with_an_index_knows_its_lower_one() {
    in_world(|| {
        mounted(",index=on");
        touch("m/file");
        unmounted();
        assert!(has_xattr("upper", "trusted.overlay.origin"));
        assert_errno!(overlay("lowerdir=lower2,upperdir=upper,workdir=work,index=on"), ESTALE);
        abi::world::mkdir("work2");
        assert_errno!(
            overlay("lowerdir=lower,upperdir=upper,workdir=work2,index=on")
                .map(|_| unmounted())
                .and(overlay("lowerdir=lower,upperdir=lower2,workdir=work,index=on")),
            ESTALE
        );
        overlay("lowerdir=lower2,upperdir=upper,workdir=work").expect("without an index nobody looks");
    });
}

#[test]
fn without_export_handles_only_identify() {
    in_world(|| {
        write("lower/file", "x");
        mounted("");
        assert_errno!(handle("m/file", 0), EOPNOTSUPP);
        let identifying = handle("m/file", AT_HANDLE_FID).expect("an identity");
        assert_errno!(open_handle(&identifying, libc::O_RDONLY), ESTALE);
        assert_eq!(handle("m/file", AT_HANDLE_FID), Ok(identifying));
    });
}

#[test]
fn exported_handles_lead_back() {
    in_world(|| {
        mkdir("lower/d");
        write("lower/d/file", "x");
        mounted(",nfs_export=on");
        write("m/d/new", "n");
        let (low, new, directory) = (handle("m/d/file", 0).expect("low"), handle("m/d/new", 0).expect("new"), handle("m/d", 0).expect("d"));
        assert_eq!(low.kind, 0xf8, "the type of overlayfs");
        let file = open_handle(&low, libc::O_RDONLY).expect("open");
        assert_eq!(fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).expect("link").to_str(), Some("/tmp/m/d/file"));
        assert_eq!(file.metadata().expect("fstat").ino(), stat("m/d/file").ino());
        open_handle(&new, libc::O_RDWR).expect("open").write_all(b"changed").expect("write");
        assert_eq!(read("m/d/new"), "changed");
        let opened = open_handle(&directory, libc::O_RDONLY | libc::O_DIRECTORY).expect("open");
        assert_eq!(opened.metadata().expect("fstat").ino(), stat("m/d").ino());
        // The handle of a file holds when it comes up, moves, and is mounted again.
        write("m/d/file", "changed");
        assert_eq!(handle("m/d/file", 0), Ok(low));
        rename("m/d/file", "m/moved", 0).expect("rename");
        drop((file, opened));
        again(",nfs_export=on");
        let file = open_handle(&low, libc::O_RDONLY).expect("open");
        assert_eq!(file.metadata().expect("fstat").ino(), stat("m/moved").ino());
        fs::remove_file("m/moved").expect("unlink");
        drop(file);
        assert_errno!(open_handle(&low, libc::O_RDONLY), ESTALE);
    });
}

#[test]
fn export_indexes_everything_that_comes_up() {
    in_world(|| {
        mkdir("lower/d");
        write("lower/d/file", "x");
        mounted(",nfs_export=on");
        assert_eq!(left_in("work/index"), [""; 0]);
        write("m/d/file", "changed");
        assert_eq!(left_in("work/index").len(), 2, "the file and its directory");
        for name in left_in("work/index") {
            let path = format!("work/index/{name}");
            assert_eq!(has_xattr(&path, "trusted.overlay.upper"), stat(&path).is_dir(), "{name}");
        }
        fs::remove_file("m/d/file").expect("unlink");
        let whiteouts = left_in("work/index").into_iter().filter(|name| is_whiteout(&format!("work/index/{name}"))).count();
        assert_eq!(whiteouts, 1, "a whiteout stays for handles");
    });
}

#[test]
fn attributes_come_up_alone_with_metacopy() {
    in_world(|| {
        fs::write("lower/file", vec![b'x'; 1 << 20]).expect("write");
        mounted(",metacopy=on");
        fs::set_permissions("m/file", Permissions::from_mode(0o600)).expect("chmod");
        assert_eq!(xattr("upper/file", "trusted.overlay.metacopy"), Ok(Vec::new()));
        let up = stat("upper/file");
        assert_eq!((up.len(), up.blocks(), up.mode() & 0o777), (1 << 20, 0, 0o600));
        let seen = stat("m/file");
        assert_eq!((seen.len(), seen.blocks(), seen.mode() & 0o777), (1 << 20, 2048, 0o600));
        assert!(fs::read("m/file").expect("read").iter().all(|byte| *byte == b'x'));
        assert_eq!(overlayfs::xattrs("m/file"), [""; 0]);
        again(",metacopy=on");
        assert_eq!(fs::read("m/file").expect("read").len(), 1 << 20);
        OpenOptions::new().append(true).open("m/file").expect("open").write_all(b"y").expect("write");
        assert!(!has_xattr("upper/file", "trusted.overlay.metacopy"));
        assert_eq!(stat("upper/file").len(), (1 << 20) + 1);
        assert!(stat("upper/file").blocks() >= 2048);
        assert_eq!(stat("m/file").mode() & 0o777, 0o600);
    });
}

#[test]
fn a_renamed_metacopy_knows_where_its_content_is() {
    in_world(|| {
        mkdir("lower/d");
        write("lower/d/file", "content");
        mounted(",metacopy=on");
        fs::set_permissions("m/d/file", Permissions::from_mode(0o600)).expect("chmod");
        rename("m/d/file", "m/moved", 0).expect("rename");
        assert_eq!(xattr("upper/moved", "trusted.overlay.redirect"), Ok(b"/d/file".to_vec()));
        assert_eq!(read("m/moved"), "content");
        again(",metacopy=on");
        assert_eq!(read("m/moved"), "content");
        assert_eq!(names("m/d"), [""; 0]);
        fs::hard_link("m/moved", "m/second").expect("link");
        assert_eq!(read("m/second"), "content");
        write("m/second", "changed");
        assert_eq!(read("m/moved"), "changed");
        unmounted();
        mounted("");
        assert_eq!(read("m/moved"), "changed");
    });
}

#[test]
fn a_metacopy_is_an_error_where_it_is_not_wanted() {
    in_world(|| {
        write("lower/file", "content");
        mounted(",metacopy=on");
        fs::set_permissions("m/file", Permissions::from_mode(0o600)).expect("chmod");
        again(",metacopy=off,redirect_dir=off");
        // Not even its attributes are shown: the lookup itself is refused.
        assert_eq!(fs::metadata("m/file").expect_err("a refusal").raw_os_error(), Some(libc::EPERM));
        assert_eq!(fs::read("m/file").expect_err("a refusal").raw_os_error(), Some(libc::EPERM));
    });
}

#[test]
fn truncation_brings_the_content_up() {
    in_world(|| {
        write("lower/file", "content");
        mounted(",metacopy=on");
        fs::set_permissions("m/file", Permissions::from_mode(0o600)).expect("chmod");
        syscall!(SYS_truncate, c"m/file", 4).expect("truncate");
        assert_eq!(read("m/file"), "cont");
        assert!(!has_xattr("upper/file", "trusted.overlay.metacopy"));
        write("m/file", "other");
        assert_eq!(read("upper/file"), "other");
    });
}

#[test]
fn layers_for_data_are_reached_by_redirects_only() {
    in_world(|| {
        mkdir("lower2/blobs");
        write("lower2/blobs/1", "the content");
        touch("lower/file");
        let size = OpenOptions::new().write(true).open("lower/file").expect("open");
        size.set_len(11).expect("truncate");
        set_xattr("lower/file", "trusted.overlay.metacopy", b"").expect("metacopy");
        set_xattr("lower/file", "trusted.overlay.redirect", b"/blobs/1").expect("redirect");
        overlay("lowerdir=lower::lower2,upperdir=upper,workdir=work,metacopy=on").expect("mount");
        assert_eq!(names("m"), ["file"], "names of the layer for data are not seen");
        assert_eq!(read("m/file"), "the content");
        OpenOptions::new().append(true).open("m/file").expect("open").write_all(b"!").expect("write");
        assert_eq!(read("upper/file"), "the content!");
    });
}

#[test]
fn a_read_only_export_opens_lower_files() {
    in_world(|| {
        mkdir("lower2/d");
        write("lower2/d/file", "x");
        mounted_read_only(",nfs_export=on,redirect_dir=nofollow");
        let handle = handle("m/d/file", 0).expect("a handle");
        let file = open_handle(&handle, libc::O_RDONLY).expect("open");
        assert_eq!(file.metadata().expect("fstat").ino(), stat("m/d/file").ino());
        assert_errno!(open_handle(&handle, libc::O_RDWR), EROFS);
    });
}

#[test]
fn verity_without_digests() {
    in_world(|| {
        write("lower/file", "content");
        mounted(",verity=on");
        assert!(overlayfs::shown_options().contains(",redirect_dir=on,"));
        assert!(overlayfs::shown_options().ends_with(",metacopy=on,verity=on"), "{}", overlayfs::shown_options());
        fs::set_permissions("m/file", Permissions::from_mode(0o600)).expect("chmod");
        assert_eq!(read("m/file"), "content");
        _ = open("m/file", libc::O_RDWR).expect("open");
    });
}
