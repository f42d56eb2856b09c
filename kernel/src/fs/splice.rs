//! Moving bytes between files in the kernel: splice, tee, sendfile, copy_file_range.
