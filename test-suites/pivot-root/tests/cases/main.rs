//! The cases, in a module for each subject.

mod changes;
mod refusals;
