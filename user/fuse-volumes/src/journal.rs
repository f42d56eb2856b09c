//! What a server made outside of its own memory, a line each, in a file: the next start on the same mountpoint undoes what a
//! killed one left.
//!
//! The file is locked (flock(2)) by its server for as long as that lives, so that a lock that can be taken means a server
//! that is gone, however it went. A line is written *before* the deed: undoing what was never done does no harm.

use anyhow::{Context, Result, bail};
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

/// One deed. Paths are relative to the root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Deed {
    /// The root of what follows, absolute.
    Root(PathBuf),
    /// A directory or an empty file was made.
    MadeFile(PathBuf),
    /// A bind mount was put there and has this id (`stx_mnt_id` of statx(2)).
    Mounted(PathBuf, u64),
    /// The FUSE file system was mounted, absolute.
    Served(PathBuf),
}

/// The file, open and locked.
#[derive(Debug)]
pub struct Journal {
    file: Option<File>,
    path: PathBuf,
    deeds: Vec<Deed>,
}

impl Journal {
    /// One that is kept in memory only: for callers of the library who clean up themselves.
    pub fn in_memory() -> Self {
        Self { file: None, path: PathBuf::new(), deeds: Vec::new() }
    }

    /// Opens the journal of `mountpoint` (absolute) in `/run/fuse-volumes`, or without privilege below `$XDG_RUNTIME_DIR`.
    /// [`Self::deeds`] are those of a server that was killed.
    ///
    /// # Errors
    /// When a living server has it, or it cannot be made.
    pub fn open(mountpoint: &Path) -> Result<Self> {
        let folder = if rustix::process::geteuid().is_root() {
            PathBuf::from("/run/fuse-volumes")
        } else {
            let runtime = std::env::var_os("XDG_RUNTIME_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
            runtime.join(format!("fuse-volumes-{}", rustix::process::getuid().as_raw()))
        };
        Self::open_in(&folder, mountpoint)
    }

    /// As [`Self::open`], in a folder of one's choice.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_in(folder: &Path, mountpoint: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("making {} for the journal", folder.display()))?;
        let mut hasher = DefaultHasher::new();
        mountpoint.hash(&mut hasher);
        let path = folder.join(format!("{:016x}.journal", hasher.finish()));
        let opened = OpenOptions::new().read(true).append(true).create(true).open(&path);
        let file = opened.with_context(|| format!("opening the journal {}", path.display()))?;
        if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            bail!("a server is running on {} already: end it first, for example with `umount {0}`", mountpoint.display());
        }
        // A line that was cut off by the kill names nothing that was done.
        let deeds = BufReader::new(&file).lines().map_while(Result::ok).filter_map(|line| serde_json::from_str(&line).ok()).collect();
        Ok(Self { file: Some(file), path, deeds })
    }

    /// All deeds, in order.
    pub fn deeds(&self) -> &[Deed] {
        &self.deeds
    }

    /// Enters a deed.
    ///
    /// # Errors
    /// When the file cannot be written: then the deed must not be done.
    pub fn enter(&mut self, deed: Deed) -> Result<()> {
        if let Some(file) = &mut self.file {
            let mut line = serde_json::to_string(&deed).context("a deed as text")?;
            line.push('\n');
            file.write_all(line.as_bytes()).with_context(|| format!("writing the journal {}", self.path.display()))?;
        }
        self.deeds.push(deed);
        Ok(())
    }

    /// Enters a file or directory that is about to be made.
    ///
    /// # Errors
    /// As [`Self::enter`].
    pub fn made_file(&mut self, path: &Path) -> Result<()> {
        self.enter(Deed::MadeFile(path.to_owned()))
    }

    /// Forgets everything: all is undone.
    ///
    /// # Errors
    /// When the file cannot be emptied.
    pub fn clear(&mut self) -> Result<()> {
        self.deeds.clear();
        match &self.file {
            Some(file) => file.set_len(0).with_context(|| format!("emptying the journal {}", self.path.display())),
            None => Ok(()),
        }
    }

    /// Ends it: the file goes, if there is one.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn close(mut self) -> Result<()> {
        match self.file.take() {
            Some(_) => std::fs::remove_file(&self.path).with_context(|| format!("removing the journal {}", self.path.display())),
            None => Ok(()),
        }
    }
}
