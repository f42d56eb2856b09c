//! Servers for tests of FUSE: they speak the protocol as it goes over `/dev/fuse`, so that errors, odd sizes and lies can be produced.
//!
//! [`wire`] has the protocol's words, [`tree`] a file system in memory that answers every request as a good server would, [`server`]
//! mounts it, serves it in threads, notes every request, and lets a test answer some of them itself; [`cases`] has what many tests begin with.

pub mod cases;
pub mod server;
pub mod tree;
pub mod wire;

pub use server::{Fs, Setup, in_world};
pub use wire::{Answer, Request, op};
