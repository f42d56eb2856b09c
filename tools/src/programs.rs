//! Programs of this workspace for guests: built static, so that an image needs nothing beside them.

use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The target whose libraries guest programs are linked with, statically.
pub const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Builds the one program of a package, optimised.
pub fn build(workspace: &Workspace, package: &str) -> Result<PathBuf> {
    let folder = workspace.folder("guest")?;
    let mut command = Command::new("cargo");
    command.current_dir(workspace.root()).args(["build", "--quiet", "--release", "-p", package, "--target", TARGET, "--target-dir"]);
    command.arg(&folder).env("RUSTFLAGS", "-C target-feature=+crt-static").env("CARGO_PROFILE_RELEASE_STRIP", "debuginfo");
    let status = command.stdin(Stdio::null()).status().context("cannot run cargo")?;
    if !status.success() {
        bail!("{package} does not build: see the messages above");
    }
    Ok(folder.join(TARGET).join("release").join(package))
}
