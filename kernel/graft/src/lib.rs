//! Linux 6.6 mount semantics as a library.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod arena;
mod caller;
pub mod flags;
mod forest;
mod group;
mod ids;
mod lookup;
mod mount;
mod namespace;
mod numbers;
mod pins;
mod refusal;
mod released;
pub mod seam;
mod seam_draft;
mod tree;

pub use caller::{Caller, NewMount, Place};
pub use forest::Forest;
pub use ids::{GroupId, MountId, NamespaceId};
pub use lookup::Situation;
pub use refusal::{Errno, Refusal, Rule};
pub use released::Released;
pub use seam::Vfs;
pub use seam_draft::*;
