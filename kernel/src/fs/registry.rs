//! The filesystem types that the kernel knows (`/proc/filesystems`).
