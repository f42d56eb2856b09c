//! The cases, one subject a file. What is the same everywhere is asserted as it is; where a file system differs by its nature, the
//! case says how, and Linux is the judge of that too.

mod acl;
mod data;
mod directories;
mod links;
mod modes;
mod names;
mod renames;
mod times;

use posix::Kind;

/// The file system that this copy of the cases is about.
fn kind() -> Kind {
    Kind::named(module_path!().rsplit("::").next().unwrap_or_default())
}

/// Runs a case in a fresh file system: its root is the working directory.
fn on(case: impl FnOnce()) {
    posix::in_file_system(kind(), case);
}
