//! A copy of the sources below `target/`, in which the kernel is broken and built. The sources that people work on stay untouched.

use super::list::Mutation;
use crate::packages::output_of;
use crate::testing::count_host_tests;
use crate::workspace::{Workspace, create_folder};
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How long graft's own tests may take, in seconds; a broken graft may never end.
const HOST_TESTS_LIMIT: &str = "400";

/// So that little of the kernel is built anew after each change: it runs slower, which nobody minds here.
const QUICK_BUILD: [(&str, &str); 3] =
    [("CARGO_PROFILE_KERNEL_OPT_LEVEL", "1"), ("CARGO_PROFILE_KERNEL_CODEGEN_UNITS", "256"), ("CARGO_PROFILE_KERNEL_DEBUG", "0")];

/// The copy.
pub(super) struct Scratch {
    root: PathBuf,
}

/// A mutation in the copy; dropping it takes it out again.
pub(super) struct Broken {
    file: PathBuf,
    whole: String,
}

impl Drop for Broken {
    fn drop(&mut self) {
        if let Err(error) = std::fs::write(&self.file, &self.whole) {
            eprintln!("cannot mend {}: {error}", self.file.display());
        }
    }
}

impl Scratch {
    /// Makes the copy, or brings it up to date: only what differs is written, so that little is built anew.
    pub(super) fn fill(workspace: &Workspace) -> Result<Self> {
        let root = workspace.folder("mutations/tree")?;
        // What git knows, and what is new and not ignored.
        let list = ["ls-files", "--cached", "--others", "--exclude-standard"];
        let wanted = output_of(Command::new("git").current_dir(workspace.root()).args(list))?;
        let wanted: BTreeSet<&str> = wanted.lines().collect();
        for &name in &wanted {
            let (from, to) = (workspace.source(name), root.join(name));
            // A file that was removed and not committed yet is still listed.
            if from.is_file() {
                copy_if_different(&from, &to)?;
            }
        }
        let is_wanted = |file: &Path| file.strip_prefix(&root).is_ok_and(|name| name.to_str().is_some_and(|name| wanted.contains(name)));
        for folder in ["kernel", "test-suites", "tools", "user"] {
            remove_unwanted(&root.join(folder), &is_wanted)?;
        }
        Ok(Self { root })
    }

    /// Breaks the copy.
    pub(super) fn apply(&self, mutation: &Mutation) -> Result<Broken> {
        let file = self.root.join(&mutation.file);
        let whole = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        std::fs::write(&file, mutation.applied_to(&whole)?).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(Broken { file, whole })
    }

    /// Builds the kernel; none if it does not build.
    pub(super) fn build_kernel(&self) -> Result<Option<PathBuf>> {
        let mut command = Command::new("make");
        command.current_dir(&self.root).args(["--no-print-directory", "kernel"]).envs(QUICK_BUILD);
        let output = command.output().context("cannot run make")?;
        if !output.status.success() {
            eprintln!("{}", String::from_utf8_lossy(&output.stderr));
            return Ok(None);
        }
        Ok(Some(self.root.join("target/graft-kernel")))
    }

    /// Runs graft's own tests on the host; those that failed.
    pub(super) fn failing_host_tests(&self) -> Result<Vec<String>> {
        let mut command = Command::new("timeout");
        command.args([HOST_TESTS_LIMIT, "cargo", "test", "--package", "graft", "--no-fail-fast"]).current_dir(&self.root);
        let output = command.output().context("cannot run cargo")?;
        let (_, mut failed) = count_host_tests(&String::from_utf8_lossy(&output.stdout));
        if failed.is_empty() && !output.status.success() {
            failed.push(format!("(cargo test: {})", output.status));
        }
        Ok(failed)
    }
}

fn copy_if_different(from: &Path, to: &Path) -> Result<()> {
    let content = std::fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    if std::fs::read(to).is_ok_and(|there| there == content) {
        return Ok(());
    }
    create_folder(to.parent().context("a file lies in a folder")?)?;
    // With its mode: make runs a script.
    std::fs::copy(from, to).map(drop).with_context(|| format!("cannot write {}", to.display()))
}

fn remove_unwanted(folder: &Path, is_wanted: &dyn Fn(&Path) -> bool) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read the folder {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            remove_unwanted(&path, is_wanted)?;
        } else if !is_wanted(&path) {
            std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}
