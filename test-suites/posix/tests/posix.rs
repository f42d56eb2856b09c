//! Every case of `cases/` on every file system: the same files four times, and each asks its own name which one it is about.

#![expect(clippy::duplicate_mod, reason = "that is what this file is for")]

#[path = "../cases/mod.rs"]
mod tmpfs;

#[path = "../cases/mod.rs"]
mod overlayfs;

#[path = "../cases/mod.rs"]
mod passthrough;

#[path = "../cases/mod.rs"]
mod fuse_overlayfs;
