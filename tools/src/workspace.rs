//! Where things lie on the host: the sources, the build products and the caches of this workspace.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

/// The workspace that this program was built from, and its well-known places.
#[derive(Debug, Clone)]
pub struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// Finds the workspace: the parent of this package's folder, where `Cargo.toml` names its members.
    pub fn find() -> Result<Self> {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = package.parent().context("the tools folder has no parent folder")?;
        if !root.join("Cargo.toml").is_file() {
            bail!("{} holds no Cargo.toml any more: build graft-tools again where the sources are now", root.display());
        }
        Ok(Self { root: root.to_path_buf() })
    }

    /// The top folder of the sources.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A path below the top folder of the sources.
    pub fn source(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// A path below `target/`, whose folder is created.
    pub fn product(&self, path: &str) -> Result<PathBuf> {
        let product = self.root.join("target").join(path);
        let folder = product.parent().context("a product lies below target/")?;
        create_folder(folder)?;
        Ok(product)
    }

    /// Keeps the lines of a console in `target/logs`, for whoever looks for the reason of a failure.
    pub fn keep_log(&self, name: &str, lines: &[String]) -> Result<()> {
        let file = self.product(&format!("logs/{name}.log"))?;
        std::fs::write(&file, lines.join("\n") + "\n").with_context(|| format!("cannot write {}", file.display()))
    }

    /// A folder below `target/`, created if it is not there.
    pub fn folder(&self, path: &str) -> Result<PathBuf> {
        let folder = self.root.join("target").join(path);
        create_folder(&folder)?;
        Ok(folder)
    }
}

/// Creates a folder and those above it.
pub fn create_folder(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create the folder {}", folder.display()))
}
