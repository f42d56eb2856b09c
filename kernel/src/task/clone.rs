//! fork, vfork, clone, clone3.
