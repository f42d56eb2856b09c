//! x86-64: boot, traps, system call entry, context switch, page tables. All assembly is here.
