//! Directory listings: each name once, with its type and number, whatever layers it comes from.

use abi::world::{mkdir, mkdirs, names, touch, write};
use overlayfs::{in_world, mounted, mounted_on_two, set_xattr, stat, whiteout};
use rustix::fs::{FileType, SeekFrom};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;

/// Name, type and number of each entry.
#[track_caller]
fn entries(path: &str) -> Vec<(String, FileType, u64)> {
    let directory = fs::File::open(path).expect("open");
    let list = rustix::fs::Dir::read_from(&directory).expect("a directory");
    list.map(|entry| {
        let entry = entry.expect("an entry");
        (entry.file_name().to_str().expect("text").to_owned(), entry.file_type(), entry.ino())
    })
    .collect()
}

#[test]
fn each_name_is_listed_once_with_its_type() {
    in_world(|| {
        mkdirs(&["lower/d", "lower2/d", "upper/d", "lower/a", "lower2/over"]);
        touch("lower2/file");
        touch("upper/file");
        touch("lower/over");
        std::os::unix::fs::symlink("x", "lower2/link").expect("symlink");
        abi::world::mknod("upper/fifo", libc::S_IFIFO, 0).expect("mkfifo");
        mounted_on_two("");
        let mut found = entries("m");
        found.sort_by(|one, other| one.0.cmp(&other.0));
        let found: Vec<(&str, FileType)> = found.iter().map(|(name, kind, _)| (name.as_str(), *kind)).collect();
        use FileType::{Directory, Fifo, RegularFile, Symlink};
        let expected = [
            (".", Directory),
            ("..", Directory),
            ("a", Directory),
            ("d", Directory),
            ("fifo", Fifo),
            ("file", RegularFile),
            ("link", Symlink),
            ("over", RegularFile),
        ];
        assert_eq!(found, expected);
    });
}

#[test]
fn listed_numbers_are_those_of_stat() {
    in_world(|| {
        mkdirs(&["lower/d", "upper/d", "lower/d/in"]);
        ["lower/d/low", "upper/d/up", "lower/d/coming"].iter().for_each(|path| write(path, "x"));
        mounted("");
        write("m/d/coming", "changed");
        touch("m/d/new");
        for directory in ["m", "m/d"] {
            for (name, _, number) in entries(directory) {
                if name != ".." || directory != "m" {
                    assert_eq!(number, stat(&format!("{directory}/{name}")).ino(), "{name} in {directory}");
                }
            }
        }
    });
}

#[test]
fn an_impure_directory_lists_the_numbers_of_origins() {
    in_world(|| {
        mkdir("lower/d");
        write("lower/d/file", "x");
        mounted("");
        mkdir("m/new");
        fs::rename("m/d/file", "m/new/file").expect("rename");
        let before = stat("m/new/file").ino();
        overlayfs::again("");
        let listed = entries("m/new").into_iter().find(|(name, ..)| name == "file").expect("the file").2;
        assert_eq!((listed, stat("m/new/file").ino()), (before, before));
    });
}

#[test]
fn whiteouts_are_not_listed() {
    in_world(|| {
        for number in 0..20 {
            touch(&format!("lower/{number}"));
        }
        mounted("");
        (0..20).step_by(2).for_each(|number| fs::remove_file(format!("m/{number}")).expect("unlink"));
        let odd: BTreeSet<String> = (1..20).step_by(2).map(|number| number.to_string()).collect();
        assert_eq!(BTreeSet::from_iter(names("m")), odd);
        assert_eq!(names("upper").len(), 10);
        whiteout("upper/1");
        overlayfs::again("");
        assert_eq!(names("m").len(), 9);
    });
}

#[test]
fn many_entries_are_listed_in_pieces() {
    in_world(|| {
        for number in 0..700 {
            touch(&format!("lower/low-{number}"));
            touch(&format!("upper/up-{number}"));
            touch(&format!("{}/both-{number}", if number % 2 == 0 { "lower" } else { "upper" }));
        }
        mounted("");
        let listed = names("m");
        assert_eq!(listed.len(), 2100);
        assert_eq!(BTreeSet::from_iter(&listed).len(), 2100);
    });
}

#[test]
fn removing_while_listing_misses_nothing() {
    in_world(|| {
        for number in 0..300 {
            touch(&format!("lower/{number}"));
            touch(&format!("upper/up{number}"));
        }
        mounted("");
        for entry in fs::read_dir("m").expect("a listing") {
            fs::remove_file(entry.expect("an entry").path()).expect("unlink");
        }
        assert_eq!(names("m"), [""; 0]);
        assert_eq!(names("upper").len(), 300, "a whiteout for each lower file, nothing for the others");
    });
}

#[test]
fn a_rewound_listing_shows_what_changed() {
    in_world(|| {
        touch("lower/low");
        mounted("");
        let directory = fs::File::open("m").expect("open");
        let list = |text: &str| {
            let mut list = rustix::fs::Dir::read_from(&directory).expect(text);
            let mut names: Vec<String> =
                list.by_ref().map(|entry| entry.expect("an entry").file_name().to_str().expect("text").to_owned()).collect();
            names.sort();
            names
        };
        rustix::fs::seek(&directory, SeekFrom::Start(0)).expect("seek");
        assert_eq!(list("first"), [".", "..", "low"]);
        touch("m/new");
        rustix::fs::seek(&directory, SeekFrom::Start(0)).expect("seek");
        assert_eq!(list("second"), [".", "..", "low", "new"]);
        fs::remove_file("m/low").expect("unlink");
        rustix::fs::seek(&directory, SeekFrom::Start(0)).expect("seek");
        assert_eq!(list("third"), [".", "..", "new"]);
    });
}

#[test]
fn a_directory_opened_before_its_copy_up_shows_the_upper_one() {
    in_world(|| {
        mkdir("lower/d");
        touch("lower/d/low");
        mounted("");
        let directory = fs::File::open("m/d").expect("open");
        touch("m/d/new");
        let list = rustix::fs::Dir::read_from(&directory).expect("a listing");
        let names: BTreeSet<String> = list.map(|entry| entry.expect("an entry").file_name().to_str().expect("text").to_owned()).collect();
        assert_eq!(names, [".", "..", "low", "new"].map(str::to_owned).into());
    });
}

#[test]
fn opaque_directories_list_only_themselves() {
    in_world(|| {
        mkdirs(&["lower/d", "upper/d"]);
        touch("lower/d/low");
        set_xattr("upper/d", "trusted.overlay.opaque", b"y").expect("opaque");
        mounted("");
        assert_eq!(names("m/d"), [""; 0]);
        fs::remove_dir("m/d").expect("empty as far as anybody sees");
        mkdir("m/d");
        assert_eq!(names("m/d"), [""; 0]);
    });
}
