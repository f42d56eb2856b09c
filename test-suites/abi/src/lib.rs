//! What every Linux program relies on, as guest tests. This library is the vocabulary that the files under `tests/` share;
//! each of those files is one subject.
//!
//! The suite is a static Linux program that runs under Rust's own harness: many tests at once, in threads of one process.
//! So a test that could be seen from outside runs in a process of its own: [`in_child`] forks one, and
//! [`in_mount_namespace`] gives it a private mount namespace with a fresh tmpfs on `/tmp` as its working directory.
//! A test is first right on Linux 6.12; only then it is asked of another kernel.

pub mod acl;
pub mod capability;
pub mod cgroup;
pub mod child;
pub mod elf;
pub mod fault;
pub mod file_handle;
pub mod guard;
pub mod memory;
pub mod mount_api;
pub mod mountinfo;
pub mod namespace;
pub mod network;
pub mod raw;
pub mod signal;
pub mod tty;
pub mod user;
pub mod user_namespace;
pub mod world;

pub use child::{Child, Status, in_child, spawn};
pub use memory::{Pages, shared_words};
pub use raw::{Errno, Outcome};
pub use world::in_mount_namespace;
