//! Keys that the kernel keeps for programs (`keyrings(7)`).
//!
//! `key` is a key with its rights and its life, `keyring` what keyrings hold and how they are searched, `possession` which keyrings a
//! thread has and what it therefore possesses, `quota` how much a user may have, `control` the calls, `views` the files of `/proc`.
//!
//! Lock order: a keyring's links before the locks of what is in it; no lock is held while user memory is copied.

pub mod control;
mod control_links;
mod key;
mod keyring;
mod possession;
pub mod quota;
pub mod views;

pub use possession::{CredentialKeyrings, UserKeyrings};
