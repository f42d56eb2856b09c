//! Files: inodes, dentries, mounts as the kernel embeds them, the path walk, open files, and the filesystems.
//!
//! `inode`, `dentry`, `superblock` are what a filesystem fills in; `path` pairs a dentry with a mount of [`graft`]; `walk` turns names
//! into paths; `file` and `fd_table` are what programs hold.

pub mod acl;
pub mod attributes;
pub mod cgroupfs;
pub mod dentry;
pub mod devpts;
pub mod devtmpfs;
pub mod epoll;
pub mod eventfd;
pub mod fd_table;
pub mod file;
pub mod file_capabilities;
pub mod fuse;
pub mod generated;
pub mod handle;
pub mod initramfs;
pub mod inode;
pub mod inotify;
pub mod internal;
pub mod io;
pub mod lock;
pub mod memfd;
pub mod mount;
pub mod mount_context;
pub mod mqueue;
pub mod names;
pub mod nsfs;
pub mod open;
pub mod options;
pub mod overlayfs;
pub mod owner;
pub mod path;
pub mod permission;
pub mod pipe;
pub mod poll;
pub mod procfs;
pub mod registry;
pub mod seals;
pub mod select;
pub mod signalfd;
pub mod socket;
pub mod splice;
pub mod stat;
pub mod superblock;
pub mod sysfs;
mod sysfs_network;
pub mod timerfd;
pub mod tmpfs;
pub mod views;
pub mod walk;
mod walk_cached;
pub mod xattr;

pub use dentry::Dentry;
pub use fd_table::FdTable;
pub use file::{FileOps, OpenFile, OpenFlags};
pub use inode::{Attributes, FileType, Inode, InodeOps};
pub use path::{FsContext, Path};
pub use poll::{PollEvents, PollTable};
pub use superblock::SuperBlock;

/// Makes the filesystem types known.
pub fn init() {
    let types: [&'static dyn superblock::FileSystemType; 11] = [
        &sysfs::TYPE,
        &tmpfs::Tmpfs,
        &procfs::TYPE,
        &cgroupfs::TYPE,
        &devtmpfs::TYPE,
        &devpts::TYPE,
        &mqueue::TYPE,
        &tmpfs::Ramfs,
        &overlayfs::TYPE,
        &fuse::TYPE,
        &fuse::CONTROL_TYPE,
    ];
    types.into_iter().for_each(registry::register);
}
