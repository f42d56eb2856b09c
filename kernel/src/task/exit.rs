//! Ends of threads and processes.
