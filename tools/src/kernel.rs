//! The kernels: the two that a guest image is booted with, and the host's own, which can run the suites too.

use crate::packages::PackageCache;
use crate::workspace::Workspace;
use anyhow::{Result, bail};
use clap::ValueEnum;
use std::fmt;
use std::path::PathBuf;

/// A kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kernel {
    /// Ours, as `make kernel` leaves it.
    Graft,
    /// A real Linux 6.12, from Debian.
    Linux,
}

impl fmt::Display for Kernel {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(match self {
            Self::Graft => "Graft",
            Self::Linux => "Linux",
        })
    }
}

impl Kernel {
    /// The file that QEMU boots.
    pub fn file(self, workspace: &Workspace, progress: &dyn Fn(&str)) -> Result<PathBuf> {
        match self {
            Self::Linux => Ok(PackageCache::open(workspace)?.linux_kernel(progress)?.0),
            Self::Graft => {
                let file = workspace.product("graft-kernel")?;
                if !file.is_file() {
                    bail!("{} is not there: run `make kernel`, which builds it", file.display());
                }
                Ok(file)
            }
        }
    }
}

/// Which kernels to boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kernels {
    /// Only ours.
    Graft,
    /// Only a real Linux.
    Linux,
    /// One after the other.
    Both,
}

impl Kernels {
    /// The kernels that are meant.
    pub fn list(self) -> &'static [Kernel] {
        match self {
            Self::Graft => &[Kernel::Graft],
            Self::Linux => &[Kernel::Linux],
            Self::Both => &[Kernel::Linux, Kernel::Graft],
        }
    }
}

/// Where a suite can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In a guest of this kernel.
    Guest(Kernel),
    /// In a private mount namespace of the host.
    Host,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Guest(kernel) => kernel.fmt(formatter),
            Self::Host => formatter.write_str("host"),
        }
    }
}

/// Where to run suites.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Places {
    /// On ours.
    Graft,
    /// On a real Linux in a guest.
    Linux,
    /// On the host's own kernel, in a private mount namespace.
    Host,
    /// On a real Linux in a guest, then on ours.
    Both,
    /// On all three.
    All,
}

impl Places {
    /// The places that are meant, ours last: whoever is first is the judge.
    pub fn list(self) -> &'static [Place] {
        const GRAFT: Place = Place::Guest(Kernel::Graft);
        const LINUX: Place = Place::Guest(Kernel::Linux);
        match self {
            Self::Graft => &[GRAFT],
            Self::Linux => &[LINUX],
            Self::Host => &[Place::Host],
            Self::Both => &[LINUX, GRAFT],
            Self::All => &[Place::Host, LINUX, GRAFT],
        }
    }
}
