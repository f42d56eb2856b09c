//! Changing names: mkdir, mknod, link, unlink, rename, symlink.
