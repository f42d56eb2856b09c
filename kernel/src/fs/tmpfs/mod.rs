//! tmpfs and rootfs.
