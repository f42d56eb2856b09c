//! File locks: POSIX, open file description, flock.
