//! Timers: what is to happen at a time.
