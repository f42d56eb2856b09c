//! Linux 6.6 mount semantics for any kernel: mount namespaces, propagation, binds, moves, `pivot_root`, locked mounts, the
//! fd-based mount API, and the views in `/proc`.
//!
//! # The model
//!
//! A [`Forest`] holds every mount, peer group and namespace of a kernel, as plain data. A mount shows a dentry of a filesystem
//! as its root, and is attached at a *(parent mount, mountpoint dentry)* pair:
//!
//! ```text
//!    namespace 1                              namespace 2 (a copy)
//!   ┌───────────────────────────┐            ┌───────────────────────────┐
//!   │ rootfs /                  │            │ rootfs /                  │
//!   │   └─ tmpfs on /mnt ───────┼── group 1 ─┼─ tmpfs on /mnt            │   shared: two peers
//!   │        └─ ext4 on /mnt/a ─┼── group 2 ─┼─     └─ ext4 on /mnt/a    │   a mount on one peer appeared on the other
//!   │                           │            │                           │
//!   │   └─ proc on /srv         │            │   └─ bind of /mnt on /srv │   slave of group 1: receives, does not send
//!   └───────────────────────────┘            └───────────────────────────┘
//! ```
//!
//! *Shared* (a peer group), *slave* (a master that it receives from) and *unbindable* are three separate facts of a mount. Whatever is
//! attached on a shared mount is copied to its *receivers*: its peers, their slaves, the slaves of those that are shared too. Whatever
//! is unmounted from it is taken away there as well, as far as nothing else stands in the way.
//!
//! All of it is written down, rule by rule, in `semantics.md` beside this crate's sources. Docs, comments and refusals cite
//! its numbers: `R1`, `U10`. The worked examples there, E01 to E69, are tests of the crate.
//!
//! # The seam
//!
//! What graft must know of filesystems, users and memory it asks through one trait, [`Vfs`]. A kernel implements it over its
//! dentries; [`memory_vfs`] implements it over a tree in memory. [`tracer`] and [`fault`] are adapters that go in between.
//! Identity is a (mount, dentry) pair, a [`Place`], never a path: walking paths is the kernel's part, with
//! [`cross`](Forest::cross) and [`follow_up`](Forest::follow_up) at its mounts.
//!
//! # The lock
//!
//! A kernel keeps its forest in one read-write lock. What reads takes `&Forest`, what changes takes `&mut Forest`. Each
//! operation becomes visible at once when its lock is released (O16). [Pins](Forest::pin) and [write
//! access](Forest::get_write_access) are atomic counters: they need the read lock only. What an operation gives up comes back in
//! a [`Released`], to be dropped after the lock is released, since dropping the last handle of a superblock shuts a filesystem
//! down.
//!
//! # Plan, then commit
//!
//! Every operation checks, then reserves all the memory that it will need, then links; the last step cannot fail. A [`Refusal`]
//! carries the errno that Linux gives and the rule behind it, and leaves the forest exactly as it was.
//!
//! # Costs
//!
//! With *n* mounts in the tree that is copied, moved or removed, and *r* receivers:
//!
//! | operation | cost |
//! |---|---|
//! | crossing a mount, going up, pinning | one table lookup or none |
//! | new mount, unmount of one | O(r) |
//! | recursive bind, move, lazy unmount | O(n · (r + 1)) |
//! | new namespace, its end, recursive type change | O(n), and the slaves of what leaves a group |
//! | `pivot_root`, remount | O(depth) |
//! | one line of a table in `/proc` | O(depth); for a slave the peers of its master until one is seen |
//!
//! A mount takes at most 256 bytes, with its group and its share of every table. Walks mark what they met on the mounts themselves.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod adapter;
mod arena;
mod attach;
mod bind;
mod caller;
mod change_type;
mod clone_tree;
mod copy_namespace;
mod detached;
pub mod fault;
pub mod flags;
mod forest;
mod group;
mod ids;
mod invariants;
mod lookup;
pub mod memory_vfs;
mod mount;
mod mount_call;
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
pub mod tracer;
mod tree;
mod umount;
pub mod views;

pub use caller::{Caller, NewMount, Place};
pub use copy_namespace::NamespaceCopy;
pub use detached::DetachedTree;
pub use forest::Forest;
pub use ids::{GroupId, MountId, NamespaceId};
pub use lookup::Situation;
pub use mount_call::MountCall;
pub use pivot_root::Pivot;
pub use refusal::{Errno, Refusal, Rule};
pub use released::Released;
pub use remount::RemountFlags;
pub use seam::Vfs;
pub use setattr::{AttributeChange, AttributeWords};
pub use umount::UmountOutcome;
