//! The parts of `graft-tools`, the host's program: images for guests, boots of either kernel, and what is made of their
//! consoles. `main.rs` holds the command line; each module here answers one question.
//!
//! | question | module |
//! |---|---|
//! | where do things lie on the host? | [`workspace`] |
//! | where do the guest's programs come from? | [`packages`] |
//! | what is in an image, and how is it written? | [`image`], [`guest`] |
//! | which kernel? | [`kernel`] |
//! | how does a boot run and end? | [`boot`], [`console`], [`backtrace`] |
//! | what does `make run` show? | [`demo`] |
//! | what do others' programs print? | [`foreign`] |
//! | do the programs that make containers work? | [`containers`] |
//! | where do two kernels differ? | [`compare`] |
//! | what does a kernel owe to init? | [`boot_checks`] |
//! | what becomes of damaged images? | [`bad_input`] |
//! | do random operations come out alike on both kernels? | [`walk`] |
//! | what do operations on mounts cost? | [`mod@bench`] |
//! | where do our own guest programs come from? | [`programs`], [`fuse_programs`] |
//! | how long until init runs? | [`boot_time`] |
//! | which rules have neither code nor test? | [`rules`] |
//! | do the tests see a broken kernel? | [`mutations`] |
//! | what did the tests say? | [`libtest`], [`suites`] |
//! | does everything hold? | [`testing`] |
//! | what does a person who waits see? | [`progress`] |

pub mod backtrace;
pub mod bad_input;
pub mod bench;
pub mod boot;
pub mod boot_checks;
pub mod boot_time;
pub mod compare;
pub mod console;
pub mod containers;
pub mod demo;
pub mod foreign;
pub mod fuse_programs;
pub mod guest;
pub mod image;
pub mod kernel;
pub mod libtest;
pub mod mutations;
pub mod packages;
pub mod programs;
pub mod progress;
pub mod rules;
pub mod suites;
pub mod testing;
pub mod walk;
pub mod workspace;
