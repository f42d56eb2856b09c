//! RAM disks: ram0.
