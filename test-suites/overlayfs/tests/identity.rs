//! `st_dev`, `st_ino` and `st_nlink`: constant while a file comes to the upper layer, unique, and the same after another mount.

use abi::world::{identity, mkdir, mkdirs, new_tmpfs, touch, write};
use overlayfs::{again, in_world, mounted, mounted_on_two, overlay, stat, unmounted};
use std::fs;
use std::os::unix::fs::MetadataExt;

#[test]
fn on_one_file_system_numbers_are_the_layers() {
    in_world(|| {
        mkdirs(&["lower/d", "upper/e"]);
        write("lower/d/file", "x");
        touch("upper/e/up");
        mounted("");
        let device = stat("m").dev();
        assert_ne!(device, stat("lower").dev());
        for (path, layer) in [("d", "lower/d"), ("d/file", "lower/d/file"), ("e", "upper/e"), ("e/up", "upper/e/up")] {
            let seen = identity(&format!("m/{path}"));
            assert_eq!(seen, (device, stat(layer).ino()), "{path}");
        }
    });
}

#[test]
fn a_file_keeps_its_number_when_it_comes_up() {
    in_world(|| {
        mkdir("lower/d");
        write("lower/d/file", "x");
        mounted("");
        let before = (identity("m/d"), identity("m/d/file"));
        write("m/d/file", "changed");
        assert_eq!((identity("m/d"), identity("m/d/file")), before);
        fs::rename("m/d/file", "m/moved").expect("rename");
        assert_eq!(identity("m/moved"), before.1);
        let numbers = (before.0.1, before.1.1);
        again("");
        assert_eq!((stat("m/d").ino(), stat("m/moved").ino()), numbers, "the origin is remembered in the upper layer");
    });
}

#[test]
fn on_several_file_systems_files_have_devices_of_their_own() {
    in_world(|| {
        new_tmpfs("other");
        mkdir("other/d");
        write("other/d/file", "x");
        touch("upper/up");
        overlay("lowerdir=other,upperdir=upper,workdir=work").expect("mount");
        let device = stat("m").dev();
        let (file, up) = (identity("m/d/file"), identity("m/up"));
        assert_eq!(stat("m/d").dev(), device, "directories have the overlay's device");
        assert_ne!(file.0, device);
        assert_ne!(up.0, device);
        assert_ne!(file.0, up.0);
        assert_ne!(file.0, stat("other/d/file").dev());
        assert_eq!(file.1, stat("other/d/file").ino());
        let directory = identity("m/d");
        write("m/d/file", "changed");
        assert_eq!(identity("m/d/file"), file);
        assert_eq!(identity("m/d"), directory);
    });
}

#[test]
fn xino_puts_all_files_on_one_device() {
    in_world(|| {
        new_tmpfs("other");
        write("other/file", "x");
        touch("upper/up");
        mkdir("other/d");
        overlay("lowerdir=other,upperdir=upper,workdir=work,xino=on").expect("mount");
        let device = stat("m").dev();
        let all = ["m/file", "m/up", "m/d"].map(identity);
        assert!(all.iter().all(|(on, _)| *on == device), "{all:?}");
        assert_eq!(all[1].1, stat("upper/up").ino(), "the upper file system is the first");
        assert_ne!(all[0].1, stat("other/file").ino());
        assert_eq!(all[0].1 & 0xffff_ffff, stat("other/file").ino());
        let before = all[0].1;
        write("m/file", "changed");
        unmounted();
        overlay("lowerdir=other,upperdir=upper,workdir=work,xino=on").expect("mount");
        assert_eq!(stat("m/file").ino(), before);
    });
}

#[test]
fn merged_directories_have_one_link() {
    in_world(|| {
        mkdirs(&["lower/low", "lower/low/1", "lower/low/2", "lower/both", "upper/both", "upper/up", "upper/up/1"]);
        mounted("");
        let links = |path: &str| stat(&format!("m/{path}")).nlink();
        assert_eq!(links(""), 1);
        assert_eq!(links("both"), 1);
        assert_eq!(links("up"), 3);
        assert_eq!(links("low"), 4, "one layer alone counts its own");
        touch("m/low/new");
        assert_eq!(links("low"), 1);
        mkdir("m/fresh");
        mkdir("m/fresh/in");
        assert_eq!(links("fresh"), 3);
    });
}

#[test]
fn directories_in_two_lower_layers_are_merged() {
    in_world(|| {
        mkdirs(&["lower/d", "lower2/d", "lower2/d/in", "lower2/e", "lower2/e/in"]);
        mounted_on_two("");
        assert_eq!(stat("m/d").nlink(), 1);
        assert_eq!(stat("m/e").nlink(), 3);
        assert_eq!(stat("m/d").ino(), stat("lower/d").ino());
    });
}

#[test]
fn a_hard_link_that_is_broken_gets_a_number_of_its_own() {
    in_world(|| {
        write("lower/a", "x");
        fs::hard_link("lower/a", "lower/b").expect("link");
        mounted("");
        assert_eq!(identity("m/a"), identity("m/b"));
        assert_eq!(stat("m/a").nlink(), 2);
        write("m/a", "changed");
        assert_ne!(identity("m/a"), identity("m/b"));
        assert_eq!((stat("m/a").nlink(), stat("m/b").nlink()), (1, 2));
        assert_eq!(fs::read("m/b").expect("read"), b"x");
    });
}

#[test]
fn fstat_and_stat_agree() {
    in_world(|| {
        write("lower/file", "x");
        mounted("");
        let file = fs::File::open("m/file").expect("open");
        let before = file.metadata().expect("fstat");
        write("m/file", "longer than before");
        let after = file.metadata().expect("fstat");
        assert_eq!((before.dev(), before.ino()), (after.dev(), after.ino()));
        assert_eq!((after.dev(), after.ino()), identity("m/file"));
        assert_eq!((before.len(), after.len()), (1, 18));
    });
}
