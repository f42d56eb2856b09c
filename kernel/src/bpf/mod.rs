//! Programs of BPF (`bpf(2)`), as far as container runtimes need them: loading, checking and running programs that decide about devices
//! of control groups.
//!
//! `instruction` decodes, `verifier` admits only programs that cannot go wrong, `interpreter` runs them, `program` is what a descriptor
//! refers to, `device` attaches them to groups and asks them.
//!
//! The interpreter is our own. The crate `rbpf` (0.4.1) builds without `std`, but compares with the immediates of unsigned 64-bit jumps
//! zero-extended where Linux extends the sign, counts instructions in 16 bits, and allocates at each run; a policy must mean the same here
//! as where it was written for.

pub mod device;
pub mod instruction;
pub mod interpreter;
pub mod program;
pub mod verifier;

pub use program::Program;
