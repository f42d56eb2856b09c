//! `/dev/console` and the kernel log on the serial line.
