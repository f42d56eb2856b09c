//! The file systems: passthrough and overlay of `libfuse-fs`, with binds.
//!
//! The names and arguments are those that `libfuse-fs` documents for its bind mounts; `bind_mounts` are pairs of target and
//! source, where the published crate has none. [`crate::serve`] builds on these and has options for each bind.

use crate::bind::{BindMount, BindOptions};
use crate::journal::Journal;
use crate::kernel_binds::KernelBinds;
use crate::user_binds::Volumes;
use anyhow::{Context, Result};
use asyncfuse::MountOptions;
use asyncfuse::raw::{Filesystem, MountHandle, Session};
use libfuse_fs::overlayfs::OverlayFs;
use libfuse_fs::passthrough::PassthroughFs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What [`new_passthroughfs_layer`] takes.
#[derive(Debug, Clone)]
pub struct PassthroughArgs {
    /// The directory to show.
    pub root_dir: PathBuf,
    /// How user and group ids are mapped: `uidmapping=H:T:N,gidmapping=H:T:N`.
    pub mapping: Option<String>,
    /// Binds in the root: target relative to it, source absolute on the host.
    pub bind_mounts: Vec<(PathBuf, PathBuf)>,
}

/// What [`mount_fs`] takes.
#[derive(Debug, Clone)]
pub struct OverlayArgs {
    /// Where to mount: an empty directory.
    pub mountpoint: PathBuf,
    /// The layer that takes the changes.
    pub upperdir: PathBuf,
    /// The layers below, topmost first.
    pub lowerdir: Vec<PathBuf>,
    /// Mount by mount(2); otherwise by fusermount3(1).
    pub privileged: bool,
    /// As [`PassthroughArgs::mapping`].
    pub mapping: Option<String>,
    /// The source that mountinfo shows.
    pub name: Option<String>,
    /// Let other users in.
    pub allow_other: bool,
    /// Binds in the upper layer.
    pub bind_mounts: Vec<(PathBuf, PathBuf)>,
}

/// How a file system is mounted.
#[derive(Debug, Clone, Default)]
pub struct Mounting {
    /// By mount(2); otherwise by fusermount3(1).
    pub privileged: bool,
    /// Let other users in.
    pub allow_other: bool,
    /// The source that mountinfo shows.
    pub name: Option<String>,
}

/// Makes the binds in the root directory, and a file system that shows that directory with them. The binds stay until
/// [`cleanup_bind_mounts`], or until they are dropped.
///
/// # Errors
/// When a bind cannot be made (then none is), or the root cannot be opened.
pub async fn new_passthroughfs_layer(args: PassthroughArgs) -> Result<(PassthroughFs, KernelBinds)> {
    let binds = KernelBinds::make(&args.root_dir, &[], &plain_binds(&args.bind_mounts)?, Journal::in_memory())?;
    Ok((passthrough(&args.root_dir, args.mapping.as_deref()).await?, binds))
}

/// Makes the binds in the upper layer, and mounts an overlay with them.
///
/// # Errors
/// When a bind cannot be made (then none is), a layer cannot be opened, or the mount is refused.
pub async fn mount_fs(args: OverlayArgs) -> Result<(MountHandle, KernelBinds)> {
    let binds = plain_binds(&args.bind_mounts)?;
    let made = KernelBinds::make(&args.upperdir, &args.lowerdir, &binds, Journal::in_memory())?;
    let base = overlay(&args.mountpoint, &args.upperdir, &args.lowerdir, args.mapping.as_deref()).await?;
    let file_system = Volumes::over_kernel_binds(base, &args.upperdir, &binds, args.mapping.as_deref()).await?;
    let mounting = Mounting { privileged: args.privileged, allow_other: args.allow_other, name: args.name };
    Ok((mount(file_system, &args.mountpoint, &mounting).await?, made))
}

/// Takes binds away, last made first, and what was made for them.
///
/// # Errors
/// When one cannot be taken away; the others are tried all the same.
pub fn cleanup_bind_mounts(binds: KernelBinds) -> Result<()> {
    binds.undo()
}

fn plain_binds(pairs: &[(PathBuf, PathBuf)]) -> Result<Vec<BindMount>> {
    pairs.iter().map(|(target, source)| BindMount::new(target, source, BindOptions::default())).collect()
}

/// A passthrough file system over a directory.
///
/// # Errors
/// When the directory cannot be opened, or the mapping is none.
pub async fn passthrough(root: &Path, mapping: Option<&str>) -> Result<PassthroughFs> {
    let arguments = libfuse_fs::passthrough::PassthroughArgs { root_dir: root, mapping };
    libfuse_fs::passthrough::new_passthroughfs_layer(arguments).await.with_context(|| format!("a layer over {}", root.display()))
}

/// An overlay file system, not mounted yet.
///
/// # Errors
/// When a layer cannot be opened.
pub async fn overlay(mountpoint: &Path, upper: &Path, lowers: &[PathBuf], mapping: Option<&str>) -> Result<OverlayFs> {
    let upper = Arc::new(passthrough(upper, mapping).await?);
    let mut layers = Vec::new();
    for lower in lowers {
        layers.push(Arc::new(passthrough(lower, mapping).await?) as _);
    }
    let config = libfuse_fs::overlayfs::config::Config { mountpoint: mountpoint.to_owned(), do_import: true, ..Default::default() };
    OverlayFs::new(Some(upper), layers, config, 1).context("an overlay of the layers")
}

/// Mounts a file system and starts to serve it.
///
/// # Errors
/// When the mountpoint is not empty or the mount is refused.
pub async fn mount(file_system: impl Filesystem + Sync + 'static, mountpoint: &Path, mounting: &Mounting) -> Result<MountHandle> {
    let mut options = MountOptions::default();
    options.uid(rustix::process::getuid().as_raw()).gid(rustix::process::getgid().as_raw());
    // The kernel checks who may do what: libfuse-fs itself lets anybody change a mode.
    options.allow_other(mounting.allow_other).default_permissions(true).force_readdir_plus(true);
    if let Some(name) = &mounting.name {
        options.fs_name(name);
    }
    let session = Session::new(options);
    let mounted = if mounting.privileged {
        session.mount(file_system, mountpoint).await
    } else {
        session.mount_with_unprivileged(file_system, mountpoint).await
    };
    mounted.with_context(|| format!("mounting on {}", mountpoint.display()))
}
