//! The FUSE programs of guests that are not Debian's: our own, and the examples of `libfuse-fs` as it is published.

use crate::image::Image;
use crate::packages::output_of;
use crate::programs::{TARGET, run_cargo, with_suite_flags};
use crate::workspace::Workspace;
use anyhow::{Context, Result};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;

/// Our packages, and their programs.
const OURS: [(&str, &[&str]); 2] = [("hellofs", &["hellofs"]), ("fuse-volumes", &["passthrough", "overlayfs_example"])];

/// The examples of `libfuse-fs`.
const EXAMPLES: [&str; 2] = ["passthrough", "overlayfs_example"];

/// What the examples use beside `libfuse-fs` itself.
const CRATES_OF_EXAMPLES: [&str; 7] = ["asyncfuse", "clap", "libc", "libfuse-fs", "tokio", "tracing", "tracing-subscriber"];

/// Where those examples lie in a guest, out of the way of our programs of the same names.
const FOLDER_OF_EXAMPLES: &str = "usr/lib/libfuse-fs";

/// Builds our programs, and puts them into `/usr/bin` of an image.
pub fn add_ours(workspace: &Workspace, image: &mut Image) -> Result<()> {
    let mut command = Command::new("cargo");
    command.current_dir(workspace.root()).args(["build", "--quiet", "--profile", "test", "--bins"]);
    OURS.iter().for_each(|(package, _)| {
        command.args(["--package", package]);
    });
    run_cargo(with_suite_flags(workspace, &mut command)?, "the FUSE programs")?;
    for program in OURS.iter().flat_map(|(_, programs)| *programs) {
        image.program(&format!("usr/bin/{program}"), &built(workspace, program)?);
    }
    Ok(())
}

/// Builds the examples of `libfuse-fs` from the registry's source, and puts them into an image.
///
/// Cargo builds the examples of a dependency for nobody. So a package is made below `target/`, whose programs are the crate's files
/// as they are, with the versions that this workspace has.
pub fn add_examples(workspace: &Workspace, image: &mut Image) -> Result<()> {
    let metadata = output_of(Command::new("cargo").current_dir(workspace.root()).args(["metadata", "--format-version", "1"]))?;
    let metadata: Value = serde_json::from_str(&metadata).context("cargo metadata printed no JSON")?;
    let package = |name: &str| {
        let packages = metadata["packages"].as_array()?;
        packages.iter().find(|package| package["name"] == name)
    };
    let source = package("libfuse-fs").and_then(|package| package["manifest_path"].as_str()).context("cargo knows no libfuse-fs")?;
    let examples = PathBuf::from(source).with_file_name("examples");

    let mut manifest = String::from("[package]\nname = \"libfuse-fs-examples\"\nedition = \"2024\"\n\n[workspace]\n");
    for example in EXAMPLES {
        let path = examples.join(format!("{example}.rs"));
        manifest.push_str(&format!("\n[[bin]]\nname = \"libfuse-fs-{example}\"\npath = {path:?}\n"));
    }
    manifest.push_str("\n[dependencies]\n");
    for name in CRATES_OF_EXAMPLES {
        let version = package(name).and_then(|package| package["version"].as_str()).with_context(|| format!("cargo knows no {name}"))?;
        manifest.push_str(&format!("{name} = {}\n", dependency(name, version)));
    }
    let stand_in = workspace.source("user/fuse-volumes/no-reqwest");
    manifest.push_str(&format!("\n[patch.crates-io]\nreqwest = {{ path = {stand_in:?} }}\n\n[profile.dev]\npanic = \"abort\"\n"));

    let folder = workspace.folder("libfuse-fs-examples")?;
    std::fs::write(folder.join("Cargo.toml"), manifest).context("cannot write the manifest of libfuse-fs's examples")?;
    std::fs::copy(workspace.source("Cargo.lock"), folder.join("Cargo.lock")).context("cannot copy Cargo.lock")?;
    let mut command = Command::new("cargo");
    command.current_dir(&folder).args(["build", "--quiet", "--profile", "test", "--bins"]);
    run_cargo(with_suite_flags(workspace, &mut command)?, "libfuse-fs's examples")?;
    for example in EXAMPLES {
        image.program(&format!("{FOLDER_OF_EXAMPLES}/{example}"), &built(workspace, &format!("libfuse-fs-{example}"))?);
    }
    Ok(())
}

/// How the manifest of `libfuse-fs` asks for those crates.
fn dependency(name: &str, version: &str) -> String {
    let features: &[&str] = match name {
        "asyncfuse" => &["tokio-runtime", "unprivileged", "file-lock"],
        "clap" => &["derive"],
        "tokio" => &["full"],
        "tracing-subscriber" => &["json", "env-filter"],
        _ => &[],
    };
    format!("{{ version = \"={version}\", features = {features:?} }}")
}

fn built(workspace: &Workspace, program: &str) -> Result<PathBuf> {
    Ok(workspace.folder("guest")?.join(TARGET).join("debug").join(program))
}
