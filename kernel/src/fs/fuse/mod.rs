//! FUSE: file systems that a program serves (`fuse(4)`).
//!
//! From the device to the files: `device` is what the server holds, `connection` what it is asked through and `terms` on what terms, `request` one question and
//! its answer, `protocol` the words; `options` and `mount` make a mount of a connection; `node` is an inode, `names` what its
//! directories do, `file` and `directory` are open files, `cache` the pages that are kept, `pages` how they come and go; `acl` asks for access lists; `notify` is what the server says unasked,
//! `poll`, `ioctl` and `locks` hand on what their names say, `control` is the type `fusectl`.

mod acl;
mod cache;
mod connection;
mod control;
mod device;
mod directory;
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

pub use cache::drop_clean_pages;
pub use control::CONTROL_TYPE;
pub use device::open as open_device;
pub use mount::{TYPE, sync_all};
