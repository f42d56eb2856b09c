//! Layers that change behind the overlay's back, marks that lie, and many hands at once: errors are allowed, nothing else is.

use abi::assert_errno;
use abi::world::{mkdir, mkdirs, names, read, touch, umount, write};
use overlayfs::{again, in_world, left_in, mounted, mounted_on_two, rename, set_xattr, stat, unmounted};
use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

#[test]
fn redirects_that_make_no_sense_are_refused() {
    in_world(|| {
        mkdirs(&["lower/a", "lower/a/b"]);
        let refused: [(&[u8], i32); 6] = [
            (b"//", libc::EINVAL),
            (b"/a//b", libc::EINVAL),
            (b"/a/", libc::EINVAL),
            (b"a/b", libc::EINVAL),
            (b"/a/..", libc::EACCES),
            (b"..", libc::EACCES),
        ];
        for (number, (redirect, _)) in refused.iter().enumerate() {
            mkdir(&format!("upper/{number}"));
            set_xattr(&format!("upper/{number}"), "trusted.overlay.redirect", redirect).expect("redirect");
        }
        mkdir("upper/nowhere");
        set_xattr("upper/nowhere", "trusted.overlay.redirect", b"/none/at/all").expect("redirect");
        mounted("");
        for (number, (redirect, errno)) in refused.iter().enumerate() {
            let error = fs::metadata(format!("m/{number}")).expect_err("a redirect that makes no sense");
            assert_eq!(error.raw_os_error(), Some(*errno), "{}", redirect.escape_ascii());
        }
        assert_eq!(names("m/nowhere"), [""; 0]);
    });
}

#[test]
fn a_redirect_into_a_file_or_a_whiteout_finds_nothing() {
    in_world(|| {
        mkdirs(&["lower/a", "lower2/a", "lower2/a/in", "upper/x", "upper/y"]);
        touch("lower2/a/in/deep");
        overlayfs::whiteout("lower/a/in");
        write("lower/file", "x");
        set_xattr("upper/x", "trusted.overlay.redirect", b"/a/in").expect("redirect");
        set_xattr("upper/y", "trusted.overlay.redirect", b"/file/in").expect("redirect");
        mounted_on_two("");
        assert_eq!(names("m/x"), [""; 0]);
        assert_eq!(names("m/y"), [""; 0]);
    });
}

#[test]
fn marks_that_nobody_can_read_are_ignored() {
    in_world(|| {
        write("upper/file", "x");
        write("lower/both", "low");
        write("upper/both", "up");
        for value in [&b""[..], b"x", &[0, 0xfb, 21, 0, 1], &[0xff; 64], &[0, 0xfb, 255, 0, 1, 2, 3]] {
            set_xattr("upper/file", "trusted.overlay.origin", value).expect("origin");
            set_xattr("upper/both", "trusted.overlay.nlink", value).expect("nlink");
            mounted(",index=on");
            assert_eq!((read("m/file"), read("m/both")), ("x".to_owned(), "up".to_owned()));
            assert_eq!(stat("m/both").nlink(), 1);
            fs::hard_link("m/file", "m/other").expect("link");
            fs::remove_file("m/other").expect("unlink");
            unmounted();
        }
    });
}

#[test]
fn a_metacopy_without_content_is_an_error() {
    in_world(|| {
        write("upper/file", "");
        set_xattr("upper/file", "trusted.overlay.metacopy", b"").expect("metacopy");
        mkdir("lower/dir");
        write("upper/dir", "");
        set_xattr("upper/dir", "trusted.overlay.metacopy", b"").expect("metacopy");
        mounted(",metacopy=on");
        assert_errno!(fs::read("m/file"), EIO);
        assert_errno!(fs::read("m/dir"), EIO);
        assert_eq!(names("m").len(), 2);
    });
}

#[test]
fn lower_files_that_go_leave_the_overlay_standing() {
    in_world(|| {
        mkdirs(&["lower/d", "lower/e"]);
        for number in 0..8 {
            write(&format!("lower/d/{number}"), "content");
        }
        mounted("");
        let open = fs::File::open("m/d/0").expect("open");
        assert_eq!(names("m/d").len(), 8);
        fs::remove_dir_all("lower/d").expect("behind its back");
        rename("lower/e", "lower/d", 0).expect("behind its back");
        for number in 0..8 {
            let path = format!("m/d/{number}");
            // Whatever happens to be remembered: no more than an error.
            _ = fs::read(&path);
            _ = fs::set_permissions(&path, Permissions::from_mode(0o600));
            _ = fs::write(&path, "new");
            _ = fs::rename(&path, format!("m/{number}"));
            _ = fs::remove_file(&path);
        }
        let mut text = String::new();
        std::io::Read::read_to_string(&mut &open, &mut text).expect("who has it open reads it");
        drop(open);
        _ = fs::remove_dir_all("m/d");
        write("m/after", "x");
        assert_eq!(read("m/after"), "x");
        again("");
        assert_eq!(read("m/after"), "x");
    });
}

#[test]
fn upper_files_that_go_leave_the_overlay_standing() {
    in_world(|| {
        mkdir("lower/d");
        for number in 0..8 {
            write(&format!("lower/d/{number}"), "content");
        }
        mounted("");
        for number in 0..8 {
            write(&format!("m/d/{number}"), "changed");
        }
        fs::remove_dir_all("upper/d").expect("behind its back");
        for number in 0..8 {
            let path = format!("m/d/{number}");
            _ = fs::read(&path);
            _ = fs::write(&path, "new");
            _ = fs::hard_link(&path, format!("m/link{number}"));
            _ = fs::rename(&path, format!("m/d/moved{number}"));
            _ = fs::remove_file(&path);
            _ = fs::create_dir(&path);
        }
        _ = names("m/d");
        again("");
        assert!(names("m/d").len() >= 8);
        write("m/d/0", "again");
        assert_eq!(read("m/d/0"), "again");
    });
}

#[test]
fn the_directory_for_work_may_go() {
    in_world(|| {
        write("lower/file", "x");
        touch("lower/gone");
        mounted("");
        fs::remove_dir("work/work").expect("behind its back");
        _ = fs::write("m/file", "changed");
        _ = fs::remove_file("m/gone");
        write("m/new", "needs no work");
        assert_eq!(read("m/new"), "needs no work");
        umount("m", 0).expect("umount");
    });
}

#[test]
fn an_index_with_garbage_does_no_harm() {
    in_world(|| {
        write("lower/a", "x");
        fs::hard_link("lower/a", "lower/b").expect("link");
        mounted(",index=on");
        unmounted();
        touch("work/index/garbage");
        mkdir("work/index/00fb");
        // Linux refuses what it cannot clean up, or leaves it.
        if overlayfs::overlay("lowerdir=lower,upperdir=upper,workdir=work,index=on").is_ok() {
            write("m/a", "changed");
            assert_eq!(read("m/b"), "changed");
        }
    });
}

#[test]
fn many_hands_leave_whole_files() {
    in_world(|| {
        const FILES: u32 = 12;
        mkdirs(&["lower/d", "lower/e"]);
        for number in 0..FILES {
            fs::write(format!("lower/d/{number}"), vec![b'a' + number as u8; 5000]).expect("write");
        }
        mounted(",index=on,redirect_dir=on");
        let turns = Arc::new(AtomicU32::new(0));
        let hands: Vec<_> = (0..4u32)
            .map(|hand| {
                let turns = turns.clone();
                std::thread::spawn(move || {
                    for turn in 0..60u32 {
                        let number = (turn * 7 + hand * 5) % FILES;
                        let (here, there) = (format!("m/d/{number}"), format!("m/e/{number}"));
                        _ = match (turn + hand) % 6 {
                            0 => fs::rename(&here, &there),
                            1 => fs::rename(&there, &here),
                            2 => fs::hard_link(&here, format!("m/e/{number}-{hand}")),
                            3 => fs::set_permissions(&here, Permissions::from_mode(0o600 + turn % 8)),
                            4 => fs::remove_file(format!("m/e/{number}-{hand}")),
                            _ => OpenOptions::new().append(true).open(&there).map(drop),
                        };
                        turns.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        hands.into_iter().for_each(|hand| hand.join().expect("a hand"));
        assert_eq!(turns.load(Ordering::Relaxed), 240);
        let check = || {
            for directory in ["m/d", "m/e"] {
                for name in names(directory) {
                    let number: u32 = name.split('-').next().expect("a name").parse().expect("a number");
                    let content = fs::read(format!("{directory}/{name}")).expect("read");
                    assert!(content.len() == 5000 && content.iter().all(|byte| *byte == b'a' + number as u8), "{directory}/{name}");
                }
            }
            names("m/d").len() + names("m/e").len()
        };
        let count = check();
        assert!(count >= FILES as usize, "{count}");
        assert_eq!(left_in("work/work"), [""; 0]);
        again(",index=on,redirect_dir=on");
        assert_eq!(check(), count);
    });
}
