//! Listing directories, also while they change.

use super::on;
use abi::world::{mkdir, mknod, names, touch};
use posix::fails;
use rustix::fs::{Dir, FileType, Mode, OFlags};
use std::collections::BTreeMap;
use std::fs;

fn open_dir(path: &str) -> Dir {
    let descriptor = rustix::fs::open(path, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).expect("open");
    Dir::new(descriptor).expect("a directory")
}

/// How often each name comes until the end, `.` and `..` left out.
fn rest_of(dir: &mut Dir) -> BTreeMap<String, usize> {
    let mut seen = BTreeMap::new();
    while let Some(entry) = dir.read() {
        let name = entry.expect("an entry").file_name().to_str().expect("text").to_owned();
        *seen.entry(name).or_insert(0) += usize::from(true);
    }
    seen.retain(|name, _| name != "." && name != "..");
    seen
}

fn many(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("name-{number:04}")).collect()
}

fn fill(dir: &str, count: usize) {
    mkdir(dir);
    many(count).iter().for_each(|name| touch(&format!("{dir}/{name}")));
}

#[test]
fn a_listing_has_every_name_once() {
    on(|| {
        fill("d", 300);
        assert_eq!(names("d"), many(300));
        assert_eq!(names("."), ["d", "given", "given-dir", "given-link"]);
        assert_eq!(names("given-dir"), ["given"]);
    });
}

#[test]
fn a_listing_begins_with_dot_and_dot_dot() {
    on(|| {
        mkdir("d");
        let mut dir = open_dir("d");
        let mut seen = Vec::new();
        while let Some(entry) = dir.read() {
            let entry = entry.expect("an entry");
            assert_eq!(entry.file_type(), FileType::Directory);
            seen.push(entry.file_name().to_str().expect("text").to_owned());
        }
        assert_eq!(seen, [".", ".."]);
    });
}

#[test]
fn the_kinds_of_files_are_told() {
    on(|| {
        mkdir("d");
        touch("d/file");
        mkdir("d/dir");
        std::os::unix::fs::symlink("x", "d/link").expect("symlink");
        mknod("d/fifo", libc::S_IFIFO | 0o644, 0).expect("mknod");
        drop(std::os::unix::net::UnixListener::bind("d/socket").expect("bind"));
        mknod("d/device", libc::S_IFCHR | 0o644, libc::makedev(1, 3)).expect("mknod");
        let expected = [
            ("device", FileType::CharacterDevice),
            ("dir", FileType::Directory),
            ("fifo", FileType::Fifo),
            ("file", FileType::RegularFile),
            ("link", FileType::Symlink),
            ("socket", FileType::Socket),
        ];
        let mut dir = open_dir("d");
        let mut found = BTreeMap::new();
        while let Some(entry) = dir.read() {
            let entry = entry.expect("an entry");
            found.insert(entry.file_name().to_str().expect("text").to_owned(), entry.file_type());
        }
        for (name, file_type) in expected {
            assert_eq!(found.get(name), Some(&file_type), "{name}");
            let mode = std::os::unix::fs::MetadataExt::mode(&posix::stat(&format!("d/{name}")));
            assert_eq!(FileType::from_raw_mode(mode), file_type, "{name}");
        }
        assert_eq!(std::os::unix::fs::MetadataExt::rdev(&posix::stat("d/device")), libc::makedev(1, 3));
    });
}

#[test]
fn a_listing_starts_again_where_it_is_told_to() {
    on(|| {
        fill("d", 50);
        let mut dir = open_dir("d");
        assert_eq!(rest_of(&mut dir).len(), 50);
        touch("d/later");
        dir.rewind();
        let seen = rest_of(&mut dir);
        assert_eq!((seen.len(), seen.get("later")), (51, Some(&1)));
    });
}

#[test]
fn removing_while_listing_leaves_nothing_over() {
    on(|| {
        fill("d", 300);
        let mut dir = open_dir("d");
        let mut seen = 0;
        while let Some(entry) = dir.read() {
            let entry = entry.expect("an entry");
            let name = entry.file_name().to_str().expect("text");
            if name != "." && name != ".." {
                fs::remove_file(format!("d/{name}")).expect("each comes once");
                seen += 1;
            }
        }
        assert_eq!(seen, 300);
        drop(dir);
        fs::remove_dir("d").expect("it is empty");
    });
}

#[test]
fn adding_while_listing_neither_hides_nor_doubles_what_was_there() {
    on(|| {
        fill("d", 200);
        let mut dir = open_dir("d");
        let mut seen = BTreeMap::new();
        for number in 0..40 {
            if let Some(entry) = dir.read() {
                *seen.entry(entry.expect("an entry").file_name().to_str().expect("text").to_owned()).or_insert(0) += 1;
            }
            touch(&format!("d/added-{number}"));
        }
        for (name, count) in rest_of(&mut dir) {
            *seen.entry(name).or_insert(0) += count;
        }
        for name in many(200) {
            assert_eq!(seen.get(&name), Some(&1), "{name}");
        }
        assert!(seen.values().all(|&count| count == 1));
    });
}

#[test]
fn a_removed_directory_is_empty_and_takes_nothing() {
    on(|| {
        mkdir("d");
        let mut dir = open_dir("d");
        std::env::set_current_dir("d").expect("chdir");
        fs::remove_dir("/tmp/fs/d").expect("rmdir");
        fails(fs::File::create("file"), libc::ENOENT);
        fails(fs::create_dir("dir"), libc::ENOENT);
        fails(std::env::current_dir(), libc::ENOENT);
        // A server may not find the directory any more (ENOENT, ESTALE); what is never seen is a name.
        while let Some(entry) = dir.read() {
            match entry {
                Ok(entry) => assert!([c".", c".."].contains(&entry.file_name())),
                Err(_) => break,
            }
        }
        std::env::set_current_dir("/tmp/fs").expect("chdir");
    });
}

#[test]
fn a_deep_tree_is_made_and_removed() {
    on(|| {
        let deep = format!("d{}", "/d".repeat(40));
        fs::create_dir_all(&deep).expect("mkdir");
        abi::world::write(&format!("{deep}/file"), "deep");
        assert_eq!(abi::world::read(&format!("{deep}/file")), "deep");
        fs::remove_dir_all("d").expect("all of it");
        fails(fs::metadata("d"), libc::ENOENT);
        fs::remove_dir_all("given-dir").expect("that of a lower layer, too");
        mkdir("given-dir");
        assert!(names("given-dir").is_empty());
    });
}
