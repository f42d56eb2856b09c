//! Linux 6.6 mount semantics as a library.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod arena;
mod attach;
mod bind;
mod caller;
mod change_type;
mod clone_tree;
mod copy_namespace;
mod detached;
pub mod flags;
mod forest;
mod group;
mod ids;
mod invariants;
mod lookup;
pub mod memory_vfs;
mod mount;
mod move_mount;
mod namespace;
mod new_mount;
mod numbers;
mod pins;
mod pivot_root;
mod receivers;
mod refusal;
mod released;
mod remount;
pub mod seam;
mod set_group;
mod setattr;
mod tree;
mod umount;
pub mod views;

pub use caller::{Caller, NewMount, Place};
pub use copy_namespace::NamespaceCopy;
pub use detached::DetachedTree;
pub use forest::Forest;
pub use ids::{GroupId, MountId, NamespaceId};
pub use lookup::Situation;
pub use pivot_root::Pivot;
pub use refusal::{Errno, Refusal, Rule};
pub use released::Released;
pub use remount::RemountFlags;
pub use seam::Vfs;
pub use setattr::{AttributeChange, AttributeWords};
pub use umount::UmountOutcome;
