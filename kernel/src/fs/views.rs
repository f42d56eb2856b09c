//! mounts, mountinfo, mountstats as files.
