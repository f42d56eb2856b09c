//! Unpacks the initramfs into rootfs.
