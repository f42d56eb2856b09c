//! One boot of a kernel under QEMU: the console is followed live, and the boot's end is told apart from a hang and a panic.

use crate::backtrace;
use crate::console::Console;
use anyhow::{Context, Result};
use regex::Regex;
use std::fmt;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::LazyLock;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Where guests find the debug exit device: a byte written there ends QEMU with a status of its own.
const DEBUG_EXIT_DEVICE: &str = "isa-debug-exit,iobase=0xf4,iosize=4";

/// How many lines a failure shows.
const LAST_LINES: usize = 40;

/// How long a guest may take from its closing line to the end of QEMU.
const POWER_OFF_LIMIT: Duration = Duration::from_secs(20);

/// Linux checks early that its timer ticks, and panics in these words where the host gave the emulator no time meanwhile. That says
/// nothing about the guest: it is booted again, so many times at the most.
const STARVED: &str = "IO-APIC + timer doesn't work";
const STARVED_BOOTS: usize = 3;

/// A virtual machine that is to be booted.
#[derive(Debug, Clone)]
pub struct Machine {
    /// The QEMU program.
    pub qemu: PathBuf,
    /// The kernel: an ELF with a PVH note, or Linux's bzImage.
    pub kernel: PathBuf,
    /// The initramfs; a machine without one shows how a kernel complains.
    pub initramfs: Option<PathBuf>,
    /// The kernel's command line after the part that every boot has.
    pub arguments: String,
    /// Guest memory.
    pub memory_mib: u32,
    /// Further arguments for QEMU.
    pub qemu_arguments: Vec<String>,
}

impl Machine {
    /// A machine as everything here uses it: 512 MiB, the initramfs' `/init`, a reboot instead of standing still after a panic.
    pub fn new(kernel: PathBuf, initramfs: Option<PathBuf>) -> Self {
        let qemu = std::env::var_os("GRAFT_QEMU").map_or_else(|| PathBuf::from("qemu-system-x86_64"), PathBuf::from);
        Self { qemu, kernel, initramfs, arguments: String::new(), memory_mib: 512, qemu_arguments: Vec::new() }
    }

    /// The command that starts it, console on standard input and output.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.qemu);
        command.args(["-accel", "tcg", "-cpu", "max", "-nographic", "-no-reboot", "-nic", "none"]);
        command.args(["-m", &format!("{}M", self.memory_mib)]);
        command.args(["-device", DEBUG_EXIT_DEVICE, "-device", "pvpanic"]);
        command.arg("-kernel").arg(&self.kernel);
        if let Some(initramfs) = &self.initramfs {
            command.arg("-initrd").arg(initramfs);
        }
        let line = format!("console=ttyS0 panic=-1 rdinit=/init {}", self.arguments);
        command.arg("-append").arg(line.trim_end());
        command.args(&self.qemu_arguments);
        command
    }
}

/// How long a boot may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// From start to end.
    pub total: Duration,
    /// Without a byte on the console.
    pub silence: Duration,
}

/// How a boot ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The guest powered the machine off or restarted it.
    PoweredOff,
    /// The kernel panicked; the line that says so.
    Panic(String),
    /// QEMU ended with a status that stands for an error.
    Failed(ExitStatus),
    /// Nothing came for too long, or the whole took too long.
    Hang(&'static str),
}

impl fmt::Display for End {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::PoweredOff => write!(formatter, "powered off"),
            Self::Panic(line) => write!(formatter, "kernel panic: {line}"),
            Self::Failed(status) => write!(formatter, "QEMU ended with {status}"),
            Self::Hang(why) => write!(formatter, "hang: {why}"),
        }
    }
}

/// All that a boot showed, and how it ended.
#[derive(Debug, Clone)]
pub struct Recording {
    /// The console's lines, control sequences taken away.
    pub lines: Vec<String>,
    /// How it ended.
    pub end: End,
    /// Whether the closing line was seen.
    pub closed: bool,
    /// Time on the host's clock.
    pub wall: Duration,
}

impl Recording {
    /// The end of the console, for a message about a failure.
    pub fn last_lines(&self) -> String {
        let from = self.lines.len().saturating_sub(LAST_LINES);
        self.lines[from..].iter().map(|line| format!("    | {line}\n")).collect()
    }

    /// What went wrong with the boot itself, if anything did: it must reach its closing line and power off.
    pub fn complaint(&self) -> Option<String> {
        match (&self.end, self.closed) {
            (End::PoweredOff, true) => None,
            (End::PoweredOff, false) => Some("the guest ended before its closing line".to_owned()),
            (end, _) => Some(end.to_string()),
        }
    }
}

/// What watches a boot while it runs.
pub trait Watcher {
    /// Bytes came from the console.
    fn bytes(&mut self, _bytes: &[u8]) {}
    /// A line was finished.
    fn line(&mut self, _line: &str) {}
}

/// Watches nothing.
#[derive(Debug)]
pub struct Unwatched;
impl Watcher for Unwatched {}

/// Boots the machine and follows its console until it ends, closes and powers off, panics or hangs.
///
/// `closing` tells the line with which the guest says that it has done all it should.
pub fn boot(machine: &Machine, limits: Limits, closing: &dyn Fn(&str) -> bool, watcher: &mut dyn Watcher) -> Result<Recording> {
    let missing = || format!("cannot run {}: run `tools/setup.sh`, which installs it", machine.qemu.display());
    let mut recording = watch(&mut machine.command(), limits, closing, watcher).with_context(missing)?;
    for _ in 0..STARVED_BOOTS {
        if !matches!(&recording.end, End::Panic(line) if line.contains(STARVED)) {
            break;
        }
        recording = watch(&mut machine.command(), limits, closing, watcher).with_context(missing)?;
    }
    if matches!(recording.end, End::Panic(_)) {
        let named = backtrace::named(&machine.kernel, &recording.lines);
        recording.lines.extend(named);
    }
    Ok(recording)
}

/// Runs a command and follows what it prints as [`boot`] does a machine's console.
pub fn watch(command: &mut Command, limits: Limits, closing: &dyn Fn(&str) -> bool, watcher: &mut dyn Watcher) -> Result<Recording> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let chunks = chunks_of(&mut child)?;
    let recording = follow(&chunks, limits, closing, watcher);
    // Harmless where it has ended by itself.
    let _ = child.kill();
    let status = child.wait().context("cannot wait for a command")?;
    Ok(recording.finish(status))
}

/// A thread for each of QEMU's outputs sends what it prints, in the pieces in which it comes.
fn chunks_of(child: &mut Child) -> Result<Receiver<Vec<u8>>> {
    let (sender, receiver) = channel();
    let stdout = child.stdout.take().context("QEMU has no standard output")?;
    let stderr = child.stderr.take().context("QEMU has no standard error")?;
    let outputs: [Box<dyn Read + Send>; 2] = [Box::new(stdout), Box::new(stderr)];
    for mut output in outputs {
        let sender = sender.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(len_bytes) = output.read(&mut buffer)
                && len_bytes > 0
                && sender.send(buffer[..len_bytes].to_vec()).is_ok()
            {}
        });
    }
    Ok(receiver)
}

/// A boot that is being followed.
struct Followed {
    lines: Vec<String>,
    panic: Option<String>,
    closed: bool,
    hang: Option<&'static str>,
    started: Instant,
}

impl Followed {
    fn finish(self, status: ExitStatus) -> Recording {
        let end = match (self.panic, self.hang) {
            (Some(line), _) => End::Panic(line),
            (None, Some(why)) => End::Hang(why),
            (None, None) if status.success() => End::PoweredOff,
            (None, None) => End::Failed(status),
        };
        Recording { lines: self.lines, end, closed: self.closed, wall: self.started.elapsed() }
    }
}

fn follow(chunks: &Receiver<Vec<u8>>, limits: Limits, closing: &dyn Fn(&str) -> bool, watcher: &mut dyn Watcher) -> Followed {
    let started = Instant::now();
    let mut console = Console::default();
    let mut followed = Followed { lines: Vec::new(), panic: None, closed: false, hang: None, started };
    let mut deadline = started + limits.total;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match chunks.recv_timeout(left.min(limits.silence)) {
            Ok(bytes) => {
                watcher.bytes(&bytes);
                for line in console.feed(&bytes) {
                    watcher.line(&line);
                    if followed.panic.is_none() && is_panic(&line) {
                        followed.panic = Some(line.trim().to_owned());
                        deadline = deadline.min(Instant::now() + POWER_OFF_LIMIT);
                    }
                    if !followed.closed && closing(&line) {
                        followed.closed = true;
                        deadline = deadline.min(Instant::now() + POWER_OFF_LIMIT);
                    }
                    followed.lines.push(line);
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                followed.hang = Some(match (followed.closed, Instant::now() < deadline) {
                    (true, _) => "the machine did not end after the closing line",
                    (false, true) => "the console stayed silent for too long",
                    (false, false) => "the boot took too long",
                });
                break;
            }
        }
    }
    if !console.unfinished().is_empty() {
        followed.lines.push(console.unfinished().to_owned());
    }
    followed
}

/// A line on which a kernel gives up. Linux writes `Kernel panic - not syncing: …`, and so does ours, after an optional time, and
/// after the firmware's last words, which no newline ends. A program's own words inside a line are not taken for it.
static PANIC: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)^(Booting from ROM\.*)?\s*(\[ *\d+\.\d+\] )?kernel panic")
        .unwrap_or_else(|error| unreachable!("the pattern is fixed: {error}"))
});

fn is_panic(line: &str) -> bool {
    PANIC.is_match(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const QUICK: Limits = Limits { total: Duration::from_secs(20), silence: Duration::from_millis(700) };

    /// Boots a shell script in QEMU's place.
    fn boot_script(script: &str, limits: Limits) -> Recording {
        let folder = tempfile::tempdir().unwrap();
        let qemu = folder.path().join("qemu");
        std::fs::write(&qemu, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&qemu, std::fs::Permissions::from_mode(0o755)).unwrap();
        let machine = Machine { qemu, ..Machine::new("kernel".into(), None) };
        boot(&machine, limits, &|line| line == "closing line", &mut Unwatched).unwrap()
    }

    #[test]
    fn a_guest_that_closes_and_powers_off_is_well() {
        let recording = boot_script("echo hello; echo closing line", QUICK);
        assert_eq!(recording.lines, ["hello", "closing line"]);
        assert_eq!((recording.end.clone(), recording.complaint()), (End::PoweredOff, None));
    }

    #[test]
    fn silence_is_a_hang_and_shows_the_last_lines() {
        let recording = boot_script("for i in $(seq 60); do echo line $i; done; printf 'half a line'; exec sleep 30", QUICK);
        assert!(matches!(recording.end, End::Hang(_)));
        let last = recording.last_lines();
        assert_eq!(last.lines().count(), 40);
        assert!(last.contains("line 60\n") && last.ends_with("half a line\n"));
        assert!(recording.wall < Duration::from_secs(10));
    }

    #[test]
    fn chatter_without_an_end_is_a_hang_too() {
        let limits = Limits { total: Duration::from_secs(1), silence: Duration::from_secs(20) };
        let recording = boot_script("while sleep 0.1; do echo again; done", limits);
        assert_eq!(recording.end, End::Hang("the boot took too long"));
    }

    #[test]
    fn a_panic_is_seen_in_both_kernels_words() {
        let linux = boot_script("echo '[    1.5] Kernel panic - not syncing: No working init found.'", QUICK);
        assert!(matches!(&linux.end, End::Panic(line) if line.contains("No working init")));
        let graft = boot_script("echo 'kernel panic: init ended'; exit 3", QUICK);
        assert!(matches!(graft.end, End::Panic(_)));
        let early = boot_script("echo 'Booting from ROM..[    0.1] Kernel panic - not syncing: no memory'", QUICK);
        assert!(matches!(early.end, End::Panic(_)));
        let program = boot_script("echo 'test survives_a_kernel_panic ... ok'; echo closing line", QUICK);
        assert_eq!(program.end, End::PoweredOff);
    }

    #[test]
    fn a_guest_whose_timer_was_starved_is_booted_again() {
        let folder = tempfile::tempdir().unwrap();
        let second = folder.path().join("second");
        let script = format!(
            "if [ -e {0} ]; then echo closing line; else touch {0}; echo \"Kernel panic - not syncing: IO-APIC + timer doesn't work!\"; fi",
            second.display()
        );
        assert_eq!(boot_script(&script, QUICK).complaint(), None);
        let always = boot_script("echo \"Kernel panic - not syncing: IO-APIC + timer doesn't work!\"", QUICK);
        assert!(matches!(always.end, End::Panic(_)));
    }

    #[test]
    fn a_status_of_qemu_and_a_missing_closing_line_are_failures() {
        assert!(matches!(boot_script("echo closing line; exit 1", QUICK).end, End::Failed(_)));
        let early = boot_script("echo hello", QUICK);
        assert_eq!(early.complaint().unwrap(), "the guest ended before its closing line");
    }

    #[test]
    fn the_command_line_is_the_documented_one() {
        let mut machine = Machine::new("k".into(), Some("i".into()));
        machine.arguments = "quiet".to_owned();
        let words: Vec<String> = machine.command().get_args().map(|word| word.to_string_lossy().into_owned()).collect();
        let line = words.join(" ");
        assert!(line.starts_with("-accel tcg -cpu max -nographic -no-reboot -nic none -m 512M"), "{line}");
        assert!(line.ends_with("-kernel k -initrd i -append console=ttyS0 panic=-1 rdinit=/init quiet"), "{line}");
    }
}
