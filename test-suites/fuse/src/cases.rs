//! What many tests begin with.

use std::fs::{File, OpenOptions};

use crate::{Fs, Setup};

/// Bytes of a page.
pub const PAGE: usize = 4096;

/// The errno of a call that must fail.
#[track_caller]
pub fn errno<T: std::fmt::Debug>(result: std::io::Result<T>) -> i32 {
    result.expect_err("an error").raw_os_error().expect("an errno")
}

/// Long lifetimes, these OPEN flags and features, one file `a`.
pub fn cached(open_flags: u32, features: u32, content: &[u8]) -> Fs {
    let fs = Setup::default()
        .tree(|tree| {
            (tree.entry_valid, tree.attr_valid, tree.open_flags) = (1000, 1000, open_flags);
            tree.features |= features;
            tree.file("a", content);
        })
        .serve();
    fs.ready();
    fs
}

/// Opens for reading and writing.
#[track_caller]
pub fn edit(path: &str) -> File {
    OpenOptions::new().read(true).write(true).open(path).expect("open")
}

/// Bytes that show where they belong.
pub fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index * 7 + index / 251) as u8).collect()
}
