//! What programs see of mounts (chapter W): paths, the tables in `/proc`, statmount and listmount.
//!
//! All of it reads through `&Forest`, seen from a root directory. Lines are written one at a time, so that a kernel can fill
//! buffers of any size and let go of the lock in between.

mod bits;
mod list;
mod path;
mod record;
mod table;
mod text;

pub use bits::statfs_bits;
pub use list::ListStart;
pub use path::PathEnd;
pub use record::MountRecord;
pub use table::{Cursor, Table};
