//! Filesystems that programs cannot mount: pipes, sockets, anonymous inodes, memfd.
