//! Programs of this workspace for guests: built static, so that an image needs nothing beside them.

use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The target whose libraries guest programs are linked with, statically.
pub const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Builds a program of a package, optimised.
pub fn build(workspace: &Workspace, package: &str, program: &str) -> Result<PathBuf> {
    let folder = workspace.folder("guest")?;
    let mut command = Command::new("cargo");
    command.current_dir(workspace.root()).args(["build", "--quiet", "--release", "-p", package, "--bin", program]);
    command.args(["--target", TARGET, "--target-dir"]).arg(&folder);
    command.env("RUSTFLAGS", "-C target-feature=+crt-static").env("CARGO_PROFILE_RELEASE_STRIP", "debuginfo");
    run_cargo(&mut command, package)?;
    Ok(folder.join(TARGET).join("release").join(program))
}

/// Runs cargo to build something, whose messages everybody sees.
pub fn run_cargo(command: &mut Command, what: &str) -> Result<()> {
    let status = command.stdin(Stdio::null()).status().context("cannot run cargo")?;
    if !status.success() {
        bail!("{what} cannot be built: see the messages above");
    }
    Ok(())
}

/// The flags with which the suites are built, so that what they have built already is not built again.
pub fn with_suite_flags<'a>(workspace: &Workspace, command: &'a mut Command) -> Result<&'a mut Command> {
    command.args(["--target", TARGET, "--target-dir"]).arg(workspace.folder("guest")?);
    // A folder of its own, because other flags would build everything anew; no debug information, because images are copied into guests.
    command.env("RUSTFLAGS", "-C target-feature=+crt-static").env("CARGO_PROFILE_DEV_DEBUG", "0");
    Ok(command.env("CARGO_PROFILE_DEV_STRIP", "debuginfo").env("CARGO_PROFILE_TEST_OPT_LEVEL", "1"))
}
