//! Hard and symbolic links, and files that lose their last name.

use super::{kind, on};
use abi::world::{exists, identity, mkdir, read, touch, write};
use posix::{GIVEN, fails, open, stat};
use rustix::fs::{AtFlags, CWD, OFlags};
use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};

#[test]
fn hard_links_are_one_file() {
    on(|| {
        touch("file");
        fs::hard_link("file", "second").expect("link");
        assert_eq!(identity("file"), identity("second"));
        assert_eq!((stat("file").nlink(), stat("second").nlink()), (2, 2));
        write("second", "text");
        assert_eq!(read("file"), "text");
        posix::chmod("file", 0o600).expect("chmod");
        assert_eq!(posix::mode("second"), 0o600);
        fs::remove_file("file").expect("unlink");
        assert_eq!((stat("second").nlink(), read("second").as_str()), (1, "text"));
    });
}

#[test]
fn a_given_file_can_be_linked() {
    on(|| {
        fs::hard_link(GIVEN, "given-dir/second").expect("link");
        assert_eq!(identity(GIVEN), identity("given-dir/second"));
        write("given-dir/second", "changed");
        assert_eq!((read(GIVEN).as_str(), stat(GIVEN).nlink()), ("changed", 2));
    });
}

#[test]
fn link_has_the_errors_of_its_manual() {
    on(|| {
        touch("file");
        mkdir("dir");
        fails(fs::hard_link("dir", "second"), libc::EPERM);
        fails(fs::hard_link("file", GIVEN), libc::EEXIST);
        fails(fs::hard_link("missing", "second"), libc::ENOENT);
        fails(fs::hard_link("file", "missing/second"), libc::ENOENT);
        fails(fs::hard_link("file", "file/second"), libc::ENOTDIR);
        fails(fs::hard_link("file", "/tmp/second"), libc::EXDEV);
        symlink("missing", "dangling").expect("symlink");
        fails(fs::hard_link("file", "dangling"), libc::EEXIST);
    });
}

#[test]
fn a_symlink_can_have_a_second_name() {
    on(|| {
        rustix::fs::linkat(CWD, "given-link", CWD, "second", AtFlags::empty()).expect("linkat");
        assert_eq!(fs::read_link("second").expect("readlink").as_os_str(), GIVEN);
        rustix::fs::linkat(CWD, "given-link", CWD, "followed", AtFlags::SYMLINK_FOLLOW).expect("linkat");
        assert!(stat("followed").is_file());
    });
}

#[test]
fn a_file_without_a_name_lives_until_it_is_closed() {
    on(|| {
        let mut file = open("file", OFlags::CREATE | OFlags::RDWR).expect("open");
        file.write_all(b"first ").expect("write");
        fs::remove_file("file").expect("unlink");
        assert!(!exists("file"));
        file.write_all(b"second").expect("write");
        file.seek(SeekFrom::Start(0)).expect("seek");
        let mut text = String::new();
        file.read_to_string(&mut text).expect("read");
        assert_eq!(text, "first second");
        rustix::fs::ftruncate(&file, 5).expect("ftruncate");
        let metadata = file.metadata().expect("fstat");
        assert_eq!(metadata.len(), 5);
        if !kind().is_fuse() {
            assert_eq!(metadata.nlink(), 0);
        }
        touch("file");
        assert_eq!(read("file"), "", "a new file of the name is another one");
    });
}

#[test]
fn a_given_file_that_is_removed_is_read_to_its_end() {
    on(|| {
        let mut file = open(GIVEN, OFlags::RDONLY).expect("open");
        fs::remove_file(GIVEN).expect("unlink");
        assert!(!exists(GIVEN));
        fails(fs::read("given-link"), libc::ENOENT);
        let mut text = String::new();
        file.read_to_string(&mut text).expect("read");
        assert_eq!(text, "given\n");
        write(GIVEN, "new");
        assert_eq!(read("given-link"), "new");
    });
}

#[test]
fn a_symlink_holds_any_text() {
    on(|| {
        let longest = "x".repeat(4095);
        for (index, text) in ["a", "/", "../..", "no//such/../file", "with space\nand line", longest.as_str()].into_iter().enumerate() {
            let name = format!("link{index}");
            symlink(text, &name).expect("symlink");
            assert_eq!(fs::read_link(&name).expect("readlink").as_os_str().as_bytes(), text.as_bytes());
            assert_eq!(stat(&name).len(), text.len() as u64);
        }
        fails(symlink("x".repeat(4096), "longer"), libc::ENAMETOOLONG);
        fails(symlink("", "empty"), libc::ENOENT);
        fails(symlink("x", "link0"), libc::EEXIST);
    });
}

#[test]
fn readlink_cuts_what_does_not_fit_and_refuses_what_is_no_link() {
    on(|| {
        let mut buffer = [0_u8; 3];
        let len = abi::syscall!(SYS_readlink, c"given-link", buffer.as_mut_ptr(), buffer.len()).expect("readlink");
        assert_eq!((len, &buffer), (3, b"giv"));
        fails(fs::read_link(GIVEN), libc::EINVAL);
        fails(fs::read_link("."), libc::EINVAL);
        fails(fs::read_link("given-dir"), libc::EINVAL);
        fails(fs::read_link("missing"), libc::ENOENT);
        fails(abi::syscall!(SYS_readlink, c"given-link", buffer.as_mut_ptr(), 0), libc::EINVAL);
    });
}

#[test]
fn forty_symlinks_are_followed_and_no_more() {
    on(|| {
        symlink(GIVEN, "link1").expect("symlink");
        for number in 2..=41 {
            symlink(format!("link{}", number - 1), format!("link{number}")).expect("symlink");
        }
        assert_eq!(read("link40"), "given\n");
        fails(fs::read("link41"), libc::ELOOP);
        symlink("loop", "loop").expect("symlink");
        fails(fs::metadata("loop"), libc::ELOOP);
        assert!(stat("loop").is_symlink());
    });
}

#[test]
fn a_symlink_is_followed_or_not_as_asked() {
    on(|| {
        fails(open("given-link", OFlags::RDONLY | OFlags::NOFOLLOW), libc::ELOOP);
        symlink("made", "dangling").expect("symlink");
        fails(open("dangling", OFlags::RDONLY), libc::ENOENT);
        fails(open("dangling", OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY), libc::EEXIST);
        drop(open("dangling", OFlags::CREATE | OFlags::WRONLY).expect("it makes what the link names"));
        assert!(stat("made").is_file());
        fs::remove_file("dangling").expect("unlink takes the link");
        assert!(exists("made") && !exists("dangling"));
        fails(fs::create_dir("given-link"), libc::EEXIST);
        fails(fs::remove_dir("given-link"), libc::ENOTDIR);
    });
}

#[test]
fn a_symlink_to_a_directory_is_a_directory_behind_a_slash() {
    on(|| {
        symlink("given-dir", "link").expect("symlink");
        assert!(stat("link").is_symlink() && stat("link/").is_dir());
        assert_eq!(read("link/given"), "inside\n");
        assert_eq!(read("link/../given"), "given\n");
        fails(fs::metadata("given-link/"), libc::ENOTDIR);
        fails(fs::remove_dir("link/"), libc::ENOTDIR);
    });
}

#[test]
fn unlink_and_rmdir_have_the_errors_of_their_manuals() {
    on(|| {
        mkdir("dir");
        touch("dir/file");
        fails(abi::syscall!(SYS_unlink, c"dir"), libc::EISDIR);
        fails(fs::remove_file("missing"), libc::ENOENT);
        fails(abi::syscall!(SYS_unlink, c"given/"), libc::ENOTDIR);
        fails(abi::syscall!(SYS_unlink, c"given/x"), libc::ENOTDIR);
        fails(fs::remove_dir("dir"), libc::ENOTEMPTY);
        fails(fs::remove_dir(GIVEN), libc::ENOTDIR);
        fails(fs::remove_dir("missing"), libc::ENOENT);
        fails(fs::remove_dir("dir/."), libc::EINVAL);
        fails(fs::remove_dir("dir/.."), libc::ENOTEMPTY);
        fs::remove_file("dir/file").expect("unlink");
        fs::remove_dir("dir/").expect("rmdir");
        assert!(!exists("dir"));
    });
}

#[test]
fn a_directory_counts_its_subdirectories() {
    on(|| {
        mkdir("d");
        let alone = stat("d").nlink();
        mkdir("d/one");
        mkdir("d/two");
        touch("d/file");
        let with_two = stat("d").nlink();
        fs::remove_dir("d/one").expect("rmdir");
        let with_one = stat("d").nlink();
        assert_eq!((alone, with_two, with_one), (2, 4, 3));
    });
}
