//! Initramfs images that were not made for our kernel: programs of Debian driven by long scripts, booted under both kernels.
//! What they print must be equal, and on Linux it is the same every time.

use crate::boot::{Limits, Machine, Recording, Watcher, boot};
use crate::guest::{CLOSING_LINE, busybox_image, package_image, script};
use crate::image::{Compression, Image};
use crate::kernel::Kernel;
use crate::packages::PackageCache;
use crate::workspace::Workspace;
use anyhow::Result;
use clap::ValueEnum;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// How long one may take.
const LIMITS: Limits = Limits { total: Duration::from_secs(300), silence: Duration::from_secs(60) };

/// What the image of GNU's programs is made of.
const GNU_PACKAGES: [&str; 13] =
    ["acl", "bash", "busybox-static", "coreutils", "dash", "diffutils", "findutils", "gawk", "grep", "gzip", "mount", "procps", "sed"];

/// One of the images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Foreign {
    /// bash, coreutils, acl, findutils, grep, sed, gawk, tar, gzip and procps.
    Gnu,
    /// busybox and nothing else.
    Busybox,
}

impl fmt::Display for Foreign {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl Foreign {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Gnu, Self::Busybox];

    fn name(self) -> &'static str {
        match self {
            Self::Gnu => "gnu",
            Self::Busybox => "busybox",
        }
    }

    /// Writes the image, and gives its file.
    pub fn image(self, workspace: &Workspace, progress: &dyn Fn(&str)) -> Result<PathBuf> {
        let packages = PackageCache::open(workspace)?;
        let mut image: Image = match self {
            Self::Gnu => {
                let names: Vec<&str> = GNU_PACKAGES.into_iter().chain(["tar"]).collect();
                package_image(&packages, &names, progress)?
            }
            Self::Busybox => busybox_image(&packages, progress)?,
        };
        let source = |part: &str| format!("test-suites/foreign/{}-{part}.sh", self.name());
        image.file("init", 0o755, script(workspace, &source("init"))?);
        image.file("commands.sh", 0o644, script(workspace, &source("commands"))?);
        progress("writing the image");
        let file = workspace.product(&format!("images/{}.cpio", self.name()))?;
        image.write(&file, Compression::None)?;
        Ok(file)
    }

    /// Boots it under a kernel.
    pub fn run(self, workspace: &Workspace, kernel: Kernel, progress: &dyn Fn(&str), watcher: &mut dyn Watcher) -> Result<Recording> {
        let mut machine = Machine::new(kernel.file(workspace, progress)?, Some(self.image(workspace, progress)?));
        machine.arguments = "quiet loglevel=1".to_owned();
        let recording = boot(&machine, LIMITS, &|line| line.ends_with(CLOSING_LINE), watcher)?;
        workspace.keep_log(&format!("{self}-{kernel}"), &recording.lines)?;
        Ok(recording)
    }

    /// What its script printed.
    pub fn output(self, recording: &Recording) -> Vec<String> {
        let begin = format!("foreign: begin {self}");
        let from = recording.lines.iter().position(|line| line.ends_with(&begin)).map_or(recording.lines.len(), |at| at + 1);
        recording.lines[from..].iter().take_while(|line| !line.ends_with(CLOSING_LINE)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::End;

    #[test]
    fn the_output_stands_between_the_markers_with_its_status() {
        let console = "firmware..foreign: begin gnu\none\ntwo\nforeign: end gnu 0\ngraft-tools: done\npower down";
        let lines: Vec<String> = console.lines().map(str::to_owned).collect();
        let recording = Recording { lines, end: End::PoweredOff, closed: true, wall: Duration::ZERO };
        assert_eq!(Foreign::Gnu.output(&recording), ["one", "two", "foreign: end gnu 0"]);
        assert!(Foreign::Busybox.output(&recording).is_empty());
    }
}
