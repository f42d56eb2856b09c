//! The life of a thread: into user mode, out with a trap, signals, and back.
