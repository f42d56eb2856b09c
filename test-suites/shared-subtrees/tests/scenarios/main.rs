//! The scenarios, in a module for each subject.

mod containers;
mod hosts;
mod lifetimes;
