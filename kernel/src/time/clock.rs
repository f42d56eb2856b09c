//! Clocks: monotonic, real time, CPU time.
