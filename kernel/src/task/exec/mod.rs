//! execve: ELF and scripts, the new stack.
