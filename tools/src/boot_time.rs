//! How long a kernel takes until init runs: by the guest's own clock, and by the host's.

use crate::boot::{Limits, Machine, Watcher, boot};
use crate::guest::{CLOSING_LINE, busybox_image, script};
use crate::image::Compression;
use crate::kernel::Kernel;
use crate::packages::PackageCache;
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};
use std::time::{Duration, Instant};

/// How long a boot may take.
const LIMITS: Limits = Limits { total: Duration::from_secs(120), silence: Duration::from_secs(60) };

/// What init prints before the guest's seconds.
const WORDS: &str = "boot time: ";

/// One boot.
#[derive(Debug, Clone, Copy)]
pub struct BootTime {
    /// Seconds on the guest's clock when init began.
    pub guest_seconds: f64,
    /// From the start of QEMU, firmware included, until init's line came.
    pub wall: Duration,
}

/// Boots a kernel with an init that tells the time.
pub fn measure(workspace: &Workspace, kernel: Kernel, progress: &dyn Fn(&str)) -> Result<BootTime> {
    let mut image = busybox_image(&PackageCache::open(workspace)?, progress)?;
    image.file("init", 0o755, script(workspace, "tools/guest/boot-time-init.sh")?);
    let file = workspace.product("images/boot-time.cpio")?;
    image.write(&file, Compression::None)?;
    let mut machine = Machine::new(kernel.file(workspace, progress)?, Some(file));
    machine.arguments = "quiet".to_owned();
    progress(&format!("booting {kernel}"));
    let mut stopwatch = Stopwatch { started: Instant::now(), found: None };
    let recording = boot(&machine, LIMITS, &|line| line.ends_with(CLOSING_LINE), &mut stopwatch)?;
    match stopwatch.found {
        Some((seconds, wall)) => {
            let guest_seconds = seconds.parse().with_context(|| format!("{kernel} says it is up since `{seconds}` seconds"))?;
            Ok(BootTime { guest_seconds, wall })
        }
        None => bail!("{kernel} did not reach init ({}); the console's last lines:\n{}", recording.end, recording.last_lines()),
    }
}

/// Notes when init's line comes.
struct Stopwatch {
    started: Instant,
    found: Option<(String, Duration)>,
}

impl Watcher for Stopwatch {
    fn line(&mut self, line: &str) {
        if let Some((_, rest)) = line.split_once(WORDS) {
            let seconds = rest.trim_end_matches(" seconds").to_owned();
            self.found = Some((seconds, self.started.elapsed()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_init_is_read() {
        let mut stopwatch = Stopwatch { started: Instant::now(), found: None };
        stopwatch.line("Booting from ROM..");
        assert!(stopwatch.found.is_none());
        stopwatch.line("boot time: 2.56 seconds");
        assert_eq!(stopwatch.found.unwrap().0, "2.56");
    }
}
