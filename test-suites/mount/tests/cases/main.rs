//! The cases, in a module for each subject.

mod access;
mod limits;
mod moves_and_binds;
mod namespaces;
mod overlay;
mod propagation;
mod refusals;
mod slaves;
mod tmpfs;
mod umount;
mod views;
