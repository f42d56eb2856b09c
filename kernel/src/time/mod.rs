//! Clocks and timers.

pub mod clock;
pub mod timer;
pub mod vdso;
