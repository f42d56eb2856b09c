//! Mounts that a test answers for: what one leaves mounted is unmounted when it goes out of scope, and that must succeed.

use crate::world::{make, mkdir, mount, umount};

/// A mount that is taken away again when dropped; the test fails if that fails.
#[derive(Debug)]
#[must_use = "dropping it unmounts at once"]
pub struct Mounted {
    path: String,
    umount_flags: i32,
}

impl Mounted {
    /// Answers for what is mounted on `path`, with these flags for `umount2`.
    pub fn at(path: &str, umount_flags: i32) -> Self {
        Self { path: path.to_owned(), umount_flags }
    }

    /// Takes it away now.
    pub fn umount(self) {}

    /// Leaves it to somebody else.
    pub fn forget(self) {
        std::mem::forget(self);
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // A test that failed already has more to say than this.
        if !std::thread::panicking() {
            umount(&self.path, self.umount_flags).unwrap_or_else(|error| panic!("umount of {}: {error:?}", self.path));
        }
    }
}

/// Makes the directory if it is missing and mounts a tmpfs with an empty source on it; a plain `umount2` must end it.
#[track_caller]
pub fn tmpfs_with(path: &str, flags: u64, data: &str) -> Mounted {
    make_directory(path);
    mount("", path, "tmpfs", flags, data).unwrap_or_else(|error| panic!("a tmpfs on {path}: {error:?}"));
    Mounted::at(path, 0)
}

/// [`tmpfs_with`] neither flags nor options.
#[track_caller]
pub fn tmpfs_on(path: &str) -> Mounted {
    tmpfs_with(path, 0, "")
}

/// Makes `target` if it is missing and binds `source` there; detached at the end.
#[track_caller]
pub fn bind_on(source: &str, target: &str) -> Mounted {
    make_directory(target);
    crate::world::bind(source, target).unwrap_or_else(|error| panic!("bind {source} {target}: {error:?}"));
    Mounted::at(target, libc::MNT_DETACH)
}

/// A tmpfs on `path` whose propagation type is `kind`; detached at the end.
#[track_caller]
pub fn tmpfs_of_type(path: &str, kind: u64) -> Mounted {
    tmpfs_on(path).forget();
    make(path, kind).unwrap_or_else(|error| panic!("the type of {path}: {error:?}"));
    Mounted::at(path, libc::MNT_DETACH)
}

/// A bind of `source` on `target` whose types are then changed to `kinds`, one after the other; detached at the end.
#[track_caller]
pub fn bind_of_types(source: &str, target: &str, kinds: &[u64]) -> Mounted {
    let mounted = bind_on(source, target);
    for &kind in kinds {
        make(target, kind).unwrap_or_else(|error| panic!("the type of {target}: {error:?}"));
    }
    mounted
}

#[track_caller]
fn make_directory(path: &str) {
    if !crate::world::exists(path) {
        mkdir(path);
    }
}
