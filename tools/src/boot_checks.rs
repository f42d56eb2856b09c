//! What a kernel owes to init and to whoever boots it: the command line, the console, the memory, and clean ends.

use crate::boot::{End, Limits, Machine, Recording, Unwatched, boot};
use crate::guest::{CLOSING_LINE, busybox_image, script};
use crate::image::Compression;
use crate::kernel::Kernel;
use crate::packages::PackageCache;
use crate::workspace::Workspace;
use anyhow::Result;
use std::time::Duration;

/// How long a boot may take.
const LIMITS: Limits = Limits { total: Duration::from_secs(60), silence: Duration::from_secs(30) };

/// How a boot must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    /// QEMU ends without an error.
    CleanEnd,
    /// A panic with a message.
    Panic,
}

/// A boot and what must come of it.
struct Check {
    name: &'static str,
    /// Words after `console=ttyS0 panic=-1 rdinit=/init`.
    arguments: &'static str,
    memory_mib: u32,
    due: Due,
    /// Lines that must come, the words `boot check: ` left out.
    lines: &'static [&'static str],
}

const CHECKS: [Check; 9] = [
    Check {
        name: "unknown words and variables go to init",
        arguments: "quiet CHECK=poweroff one COLOUR=red dotted.word=x two -- three",
        memory_mib: 512,
        due: Due::CleanEnd,
        lines: &["/init got: one two three", "variable: poweroff red"],
    },
    Check {
        name: "init begins on the console, with the initramfs for its root",
        arguments: "quiet CHECK=poweroff",
        memory_mib: 512,
        due: Due::CleanEnd,
        lines: &["files: /dev/console /dev/console /dev/console", "the root is its own parent"],
    },
    Check {
        name: "the last rdinit= counts",
        arguments: "quiet CHECK=poweroff rdinit=/other",
        memory_mib: 512,
        due: Due::CleanEnd,
        lines: &["/other got: "],
    },
    Check { name: "a restart ends QEMU", arguments: "quiet CHECK=reboot", memory_mib: 512, due: Due::CleanEnd, lines: &[] },
    Check { name: "1 GiB of memory is used", arguments: "quiet CHECK=poweroff", memory_mib: 1024, due: Due::CleanEnd, lines: &[] },
    Check { name: "4 GiB of memory are used", arguments: "quiet CHECK=poweroff", memory_mib: 4096, due: Due::CleanEnd, lines: &[] },
    Check { name: "the end of init is a panic", arguments: "quiet CHECK=exit", memory_mib: 512, due: Due::Panic, lines: &[] },
    Check {
        name: "after an init that is no program comes /sbin/init",
        arguments: "quiet CHECK=poweroff rdinit=/broken",
        memory_mib: 512,
        due: Due::CleanEnd,
        lines: &["/sbin/init got: "],
    },
    Check {
        name: "after an init without its interpreter comes /sbin/init",
        arguments: "quiet CHECK=poweroff rdinit=/lost",
        memory_mib: 512,
        due: Due::CleanEnd,
        lines: &["/sbin/init got: "],
    },
];

/// Linux stands still when it is halted; ours ends QEMU, as the machine has nothing else to do.
const HALT: Check = Check { name: "a halt ends QEMU", arguments: "quiet CHECK=halt", memory_mib: 512, due: Due::CleanEnd, lines: &[] };

/// Makes every check on a kernel. For each its name, and what was wrong if anything was.
pub fn run(workspace: &Workspace, kernel: Kernel, progress: &dyn Fn(&str)) -> Result<Vec<(String, Option<String>)>> {
    let kernel_file = kernel.file(workspace, progress)?;
    let mut image = busybox_image(&PackageCache::open(workspace)?, progress)?;
    for path in ["init", "other", "sbin/init"] {
        image.file(path, 0o755, script(workspace, "tools/guest/boot-checks-init.sh")?);
    }
    image.file("broken", 0o755, *b"\x7fELF and then nothing that makes sense");
    image.file("lost", 0o755, "#!/no/such/interpreter\n");
    let file = workspace.product("images/boot-checks.cpio")?;
    image.write(&file, Compression::None)?;

    let mut results = Vec::new();
    for check in CHECKS.iter().chain((kernel == Kernel::Graft).then_some(&HALT)) {
        progress(&format!("boot checks on {kernel}: {}", check.name));
        let mut machine = Machine::new(kernel_file.clone(), Some(file.clone()));
        machine.arguments = check.arguments.to_owned();
        machine.memory_mib = check.memory_mib;
        let recording = boot(&machine, LIMITS, &|line| line.ends_with(CLOSING_LINE), &mut Unwatched)?;
        workspace.keep_log(&format!("boot-checks-{kernel}-{}", check.name.replace(' ', "-")), &recording.lines)?;
        let wrong = wrong_with(check, &recording);
        let wrong = wrong.map(|wrong| format!("{wrong}; the console's last lines:\n{}", recording.last_lines()));
        results.push((check.name.to_owned(), wrong));
    }
    Ok(results)
}

fn wrong_with(check: &Check, recording: &Recording) -> Option<String> {
    match (check.due, &recording.end) {
        (Due::Panic, End::Panic(_)) => return None,
        (Due::Panic, end) => return Some(format!("a panic with a message was due, but: {end}")),
        (Due::CleanEnd, _) => {}
    }
    if let Some(complaint) = recording.complaint() {
        return Some(complaint);
    }
    let said: Vec<&str> = recording.lines.iter().filter_map(|line| line.split_once("boot check: ").map(|(_, said)| said)).collect();
    if let Some(missing) = check.lines.iter().find(|line| !said.contains(*line)) {
        return Some(format!("init did not say `{missing}`"));
    }
    let total_kib: Option<u64> = said.iter().find_map(|said| said.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse().ok());
    let given_kib = u64::from(check.memory_mib) * 1024;
    match total_kib {
        None => Some("init found no MemTotal in /proc/meminfo".to_owned()),
        // A kernel keeps some for itself, less than a fifth.
        Some(total_kib) if total_kib <= given_kib && total_kib >= given_kib / 5 * 4 => None,
        Some(total_kib) => Some(format!("MemTotal is {total_kib} kB in a machine with {given_kib} kB")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHECK: Check = Check { name: "x", arguments: "", memory_mib: 512, due: Due::CleanEnd, lines: &["root is well"] };

    fn wrong(check: &Check, console: &str, end: End) -> Option<String> {
        let lines: Vec<String> = console.lines().map(str::to_owned).collect();
        let closed = lines.iter().any(|line| line == CLOSING_LINE);
        wrong_with(check, &Recording { lines, end, closed, wall: Duration::ZERO })
    }

    #[test]
    fn all_that_is_due_must_come() {
        let well = "firmware..boot check: root is well\nboot check: MemTotal:     470000 kB\ngraft-tools: done";
        assert_eq!(wrong(&CHECK, well, End::PoweredOff), None);
        assert!(wrong(&CHECK, &well.replace("well", "ill"), End::PoweredOff).unwrap().contains("did not say"));
        assert!(wrong(&CHECK, &well.replace("470000", "47000"), End::PoweredOff).unwrap().contains("MemTotal"));
        assert!(wrong(&CHECK, &well.replace("470000", "570000"), End::PoweredOff).is_some());
        assert!(wrong(&CHECK, well, End::Hang("silent")).is_some());
        assert!(wrong(&CHECK, well, End::Panic("kernel panic".to_owned())).is_some());
    }

    #[test]
    fn a_panic_that_is_due_must_come() {
        let check = Check { due: Due::Panic, ..CHECK };
        assert_eq!(wrong(&check, "", End::Panic("kernel panic: init ended".to_owned())), None);
        assert!(wrong(&check, "graft-tools: done", End::PoweredOff).is_some());
    }
}
