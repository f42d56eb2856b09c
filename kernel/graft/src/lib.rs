//! Linux 6.6 mount semantics as a library.
#![no_std]
#![forbid(unsafe_code)]
