//! The kernel log: ring buffer, levels, /dev/kmsg.
