//! sysfs, as far as programs look.
