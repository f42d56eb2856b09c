//! How a container runtime does volumes.
//!
//! A volume is a folder or file of the host that is seen inside a container, too. All there is to it are mounts:
//!
//! 1. [`setup_volume`] makes what is missing: the source on the host, and in the root file system the mount point.
//! 2. [`mount_volume`] binds the source onto the mount point, says what later mounts do (propagation), and makes it read-only if asked.
//! 3. The container gets a copy of the mount namespace and makes the root file system its root ([`isolate`]).
//! 4. [`unmount_volume`] takes the volume away again and removes the mount points that were made.
//!
//! [`setup_container_volumes`] does the first two for many volumes: all of them, or none.
//!
//! Whoever calls these functions should be in a mount namespace of its own ([`isolate::leave_the_host`]): then no volume is
//! ever seen on the host, and none can be left behind, because the kernel takes a namespace's mounts away with its last process.

pub mod isolate;
mod volume;
mod volumes;

pub use volume::{Propagation, Volume};
pub use volumes::{
    MountedVolume, PreparedVolume, WhenBusy, missing_mount_points, mount_volume, setup_container_volumes, setup_volume, unmount_volume,
};
