//! Passthrough and overlay file systems in user space ([`libfuse_fs`]) whose roots carry bind mounts, as containers want
//! them: `--bind dev:/dev --bind etc/resolv.conf:/etc/resolv.conf:ro`.
//!
//! | room | what is in it |
//! |---|---|
//! | [`bind`] | what is asked: `target:source:options`, read and checked |
//! | [`target`] | a target below the root: found without leaving the root, made where it is missing |
//! | [`kernel_binds`] | bind mounts of the kernel: made before serving, undone in reverse order |
//! | [`journal`] | what was made, on disk, so that the next start can undo it after a kill |
//! | [`user_binds`] | binds that the FUSE server answers itself, without any mount |
//! | [`namespace`] | a user and mount namespace of one's own, for those without privilege |
//! | [`layers`] | the file systems themselves, with the arguments that `libfuse-fs` documents |
//! | [`serve`] | the life of a server: mount, wait, unmount, clean up |

pub mod bind;
pub mod journal;
pub mod kernel_binds;
pub mod layers;
pub mod namespace;
pub mod serve;
pub mod target;
pub mod user_binds;

pub use bind::{BindMount, BindOptions, Propagation};
pub use kernel_binds::KernelBinds;
pub use layers::{OverlayArgs, PassthroughArgs, cleanup_bind_mounts, mount_fs, new_passthroughfs_layer};
