//! What the programs in `user/` share: [`Failure`], an error that says what to do, and [`MountTable`], the mounts of a process.

mod failure;
mod mount_table;

pub use failure::{Failure, Outcome, Said};
pub use mount_table::{Mount, MountTable};
