//! The demonstration of `make run`: its image, its boot with a person or without one, and the two kernels side by side.

use crate::boot::{Limits, Machine, Recording, Watcher, boot};
use crate::compare::{Normaliser, is_kernel_message};
use crate::fuse_programs;
use crate::guest::{CLOSING_LINE, host_image, script};
use crate::image::Compression;
use crate::kernel::Kernel;
use crate::packages::PackageCache;
use crate::workspace::Workspace;
use anyhow::Result;
use std::path::PathBuf;
use std::time::Duration;

/// How long the demonstration may take.
const LIMITS: Limits = Limits { total: Duration::from_secs(180), silence: Duration::from_secs(45) };

/// What the session prints after the demonstration, before its status.
const ENDED: &str = "graft-tools: demonstration ended with ";

/// Writes the image, and gives its file.
pub fn image(workspace: &Workspace, progress: &dyn Fn(&str)) -> Result<PathBuf> {
    let packages = PackageCache::open(workspace)?;
    let mut image = host_image(&packages, &["busybox-static", "runc"], progress)?;
    let scripts = [
        ("init", "tools/guest/demo-init.sh"),
        ("sbin/host-mounts", "tools/guest/host-mounts.sh"),
        ("sbin/demo-session", "tools/guest/demo-session.sh"),
        ("sbin/demo-shell", "tools/guest/demo-shell.sh"),
        ("bin/demo", "user/demo/demo.sh"),
    ];
    for (path, source) in scripts {
        image.file(path, 0o755, script(workspace, source)?);
    }
    image.file("etc/inittab", 0o644, script(workspace, "tools/guest/demo-inittab")?);
    image.folder("demo", 0o755);
    progress("building the FUSE programs");
    fuse_programs::add_ours(workspace, &mut image)?;
    progress("writing the image");
    let file = workspace.product("images/demo.cpio.gz")?;
    image.write(&file, Compression::Gzip)?;
    Ok(file)
}

/// The machine that shows it. Without `shell` it ends after the demonstration.
pub fn machine(workspace: &Workspace, kernel: Kernel, shell: bool, progress: &dyn Fn(&str)) -> Result<Machine> {
    let mut machine = Machine::new(kernel.file(workspace, progress)?, Some(image(workspace, progress)?));
    machine.arguments = if shell { "quiet" } else { "quiet DEMO_ONLY=1" }.to_owned();
    Ok(machine)
}

/// Boots it with nobody at the console.
pub fn show(machine: &Machine, watcher: &mut dyn Watcher) -> Result<Recording> {
    boot(machine, LIMITS, &|line| line.ends_with(CLOSING_LINE), watcher)
}

/// What was wrong with a boot of the demonstration, if anything was.
pub fn complaint(recording: &Recording) -> Option<String> {
    let status = recording.lines.iter().find_map(|line| line.split_once(ENDED).map(|(_, status)| status));
    match (recording.complaint(), status) {
        (Some(complaint), _) => Some(complaint),
        (None, None) => Some("the demonstration did not come to its end".to_owned()),
        (None, Some("0")) => None,
        (None, Some(_)) => Some("the demonstration found something wrong".to_owned()),
    }
}

/// What the demonstration printed, with the numbers of mounts and peer groups replaced by their order of appearance.
pub fn output(recording: &Recording) -> Vec<String> {
    let first = recording.lines.iter().position(|line| line.contains("A mount namespace is")).unwrap_or(0);
    let shown = recording.lines[first..].iter().take_while(|line| !line.contains(ENDED));
    let mut normaliser = Normaliser::default();
    shown.filter(|line| !is_kernel_message(line)).map(|line| normaliser.line(line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::End;

    fn recording(console: &str) -> Recording {
        let lines: Vec<String> = console.lines().map(str::to_owned).collect();
        Recording { closed: lines.iter().any(|line| line.ends_with(CLOSING_LINE)), lines, end: End::PoweredOff, wall: Duration::ZERO }
    }

    #[test]
    fn the_status_of_the_demonstration_decides() {
        let well = recording("graft-tools: demonstration ended with 0\ngraft-tools: done");
        assert_eq!(complaint(&well), None);
        let wrong = recording("graft-tools: demonstration ended with 1\ngraft-tools: done");
        assert!(complaint(&wrong).unwrap().contains("wrong"));
        assert!(complaint(&recording("graft-tools: done")).is_some());
        assert!(complaint(&recording("graft-tools: demonstration ended with 0")).is_some());
    }

    #[test]
    fn the_output_is_what_stands_between_and_kernel_messages_go() {
        let console =
            "firmware\nA mount namespace is x\n  #77 #3 /\n[    2.5] clocksource: tsc\n[x] stays\ngraft-tools: demonstration ended with 0";
        assert_eq!(output(&recording(console)), ["A mount namespace is x", " #m1 #m2 /", "[x] stays"]);
    }
}
