//! FUSE: file systems that a program serves (`fuse(4)`).
//!
//! From the device to the files: `device` is what the server holds, `connection` what it is asked through and `terms` on what terms, `request` one question and
//! its answer, `protocol` the words; `options` and `mount` make a mount of a connection; `node` is an inode, `attributes` what stat(2)
//! shows of it and `acl` its access lists, `names` what its directories do, `file` and `directory` are open files, `cache` the pages that
//! are kept, `pages` how they come and `writeback` how they go; `notify` is what the server says unasked, `export` finds files again by
//! their handles, `poll`, `ioctl` and `locks` hand on what their names say, `control` is the type `fusectl`.

mod acl;
mod attributes;
mod cache;
mod connection;
mod control;
mod device;
mod directory;
mod export;
mod file;
mod handle;
mod ioctl;
mod locks;
mod mount;
mod names;
mod node;
mod notify;
mod options;
mod pages;
mod poll;
mod protocol;
mod request;
mod terms;
mod writeback;

pub use cache::{dirty_pages, drop_clean_pages};
pub use control::CONTROL_TYPE;
pub use device::open as open_device;
pub use mount::TYPE;
pub use writeback::{INTERVAL_CENTISECS, interval_changed, sync_all};
