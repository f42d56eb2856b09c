//! The guest suites: test binaries built as static Linux programs, run inside a guest under either kernel.
//!
//! A test that takes its kernel down, or never ends, would hide those behind it. So such a test counts as failed, and the
//! machine is booted again with the tests that are left.

use crate::boot::{Limits, Machine, Recording, Watcher, boot};
use crate::guest::{CLOSING_LINE, busybox_image, script};
use crate::image::{Compression, Image};
use crate::kernel::Kernel;
use crate::libtest::{Run, Verdict};
use crate::packages::{PackageCache, output_of};
use crate::progress::Progress;
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// For how long a machine is booted again for the tests that are left. A panic costs a second or two, a hang the whole silence.
const BOOT_AGAIN_LIMIT: Duration = Duration::from_secs(360);

/// How long a suite's boot may take.
const LIMITS: Limits = Limits { total: Duration::from_secs(600), silence: Duration::from_secs(30) };

/// The target whose libraries the suites are linked with, statically.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// A test binary.
#[derive(Debug, Clone)]
pub struct Suite {
    /// The package and the target, as in `abi-mounts`.
    pub name: String,
    /// The program on the host.
    pub program: PathBuf,
    /// All its tests.
    pub tests: Vec<String>,
}

/// How the suites' tests ended on one kernel.
#[derive(Debug, Clone, Default)]
pub struct SuiteReport {
    /// How many passed.
    pub passed: usize,
    /// How many the harness left out.
    pub ignored: usize,
    /// Those that failed or never ended, each with the reason.
    pub failed: Vec<String>,
    /// Those that never began.
    pub not_run: Vec<String>,
    /// Why they did not.
    pub why_not_run: String,
}

impl SuiteReport {
    /// How many tests did not pass that should have.
    pub fn failures(&self) -> usize {
        self.failed.len() + self.not_run.len()
    }

    /// What to print of the failures: the tests that did not run in one piece, since they have one reason.
    pub fn complaints(&self) -> Vec<String> {
        let mut complaints = self.failed.clone();
        if !self.not_run.is_empty() {
            complaints.push(format!("{} tests did not run: {}\n{}", self.not_run.len(), self.not_run.join(", "), self.why_not_run));
        }
        complaints
    }
}

/// Builds the test binaries of every package below `test-suites/`.
pub fn build(workspace: &Workspace) -> Result<Vec<Suite>> {
    let packages = suite_packages(workspace)?;
    let mut command = Command::new("cargo");
    command.current_dir(workspace.root()).args(["test", "--no-run", "--message-format=json-render-diagnostics"]);
    command.args(["--target", TARGET, "--target-dir"]).arg(workspace.folder("guest")?);
    packages.iter().for_each(|package| {
        command.args(["-p", package]);
    });
    // A folder of its own, because other flags would build everything anew; no debug information, because images are copied into guests.
    command.env("RUSTFLAGS", "-C target-feature=+crt-static").env("CARGO_PROFILE_DEV_DEBUG", "0");
    command.env("CARGO_PROFILE_DEV_STRIP", "debuginfo").env("CARGO_PROFILE_TEST_OPT_LEVEL", "1");
    let output = command.stderr(Stdio::inherit()).output().context("cannot run cargo")?;
    if !output.status.success() {
        bail!("the guest suites do not build: see the messages above");
    }
    let mut suites = Vec::new();
    for (name, program) in test_programs(&String::from_utf8_lossy(&output.stdout)) {
        let listed = output_of(Command::new(&program).args(["--list", "--format", "terse"]))
            .with_context(|| format!("{} does not list its tests", program.display()))?;
        let tests: Vec<String> = listed.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect();
        if !tests.is_empty() {
            suites.push(Suite { name, program, tests });
        }
    }
    Ok(suites)
}

/// The packages of the workspace that lie below `test-suites/`.
fn suite_packages(workspace: &Workspace) -> Result<Vec<String>> {
    let folder = workspace.source("test-suites");
    Ok(workspace_packages(workspace)?.into_iter().filter(|(_, manifest)| manifest.starts_with(&folder)).map(|(name, _)| name).collect())
}

/// The packages of the workspace: name and manifest.
pub fn workspace_packages(workspace: &Workspace) -> Result<Vec<(String, PathBuf)>> {
    let printed = output_of(Command::new("cargo").current_dir(workspace.root()).args(["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: Value = serde_json::from_str(&printed).context("cargo metadata printed no JSON")?;
    let packages = metadata["packages"].as_array().context("cargo metadata names no packages")?;
    Ok(packages
        .iter()
        .filter_map(|package| Some((package["name"].as_str()?.to_owned(), package["manifest_path"].as_str()?.into())))
        .collect())
}

/// The test programs in cargo's messages: name and file.
fn test_programs(messages: &str) -> Vec<(String, PathBuf)> {
    let mut programs: Vec<(String, PathBuf)> = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["reason"] == "compiler-artifact" && message["profile"]["test"] == true)
        .filter_map(|message| {
            let package = PathBuf::from(message["manifest_path"].as_str()?);
            let package = package.parent()?.file_name()?.to_str()?.to_owned();
            let target = message["target"]["name"].as_str()?;
            let name = if target == package { package } else { format!("{package}-{target}") };
            Some((name, PathBuf::from(message["executable"].as_str()?)))
        })
        .collect();
    programs.sort();
    programs
}

/// Runs suites on a kernel. `filter` leaves only the tests whose names contain it, or whole suites whose names begin with it.
pub fn run(workspace: &Workspace, kernel: Kernel, suites: &[Suite], filter: Option<&str>, progress: &Progress) -> Result<SuiteReport> {
    let packages = PackageCache::open(workspace)?;
    let kernel_file = kernel.file(workspace, &|text| progress.say(text))?;
    let mut base = busybox_image(&packages, &|text| progress.say(text))?;
    base.file("init", 0o755, script(workspace, "tools/guest/suites-init.sh")?);
    if kernel == Kernel::Linux {
        // Debian's kernel has overlayfs as a module only; init loads what lies here.
        let module = packages.linux_module("fs/overlayfs/overlay.ko", &|text| progress.say(text))?;
        base.file("modules/overlay.ko", 0o644, module);
    }
    let mut left: Vec<Tests> = suites.iter().map(|suite| Tests::of(suite, filter)).filter(|tests| !tests.names.is_empty()).collect();
    let total = left.iter().map(|tests| tests.names.len()).sum();
    let mut report = SuiteReport::default();
    let started = Instant::now();
    for attempt in 0.. {
        if left.is_empty() || started.elapsed() > BOOT_AGAIN_LIMIT {
            break;
        }
        let image = suite_image(&base, &left, filter.is_none() && attempt == 0);
        let file = workspace.product(&format!("images/suites-{kernel}.cpio"))?;
        image.write(&file, Compression::None)?;
        let mut machine = Machine::new(kernel_file.clone(), Some(file));
        machine.arguments = "quiet".to_owned();
        progress.say(&format!("booting {kernel} with the suites"));
        let mut watcher = SuiteWatcher { progress, kernel, total, done: total - count(&left), failed: report.failed.len() };
        let recording = boot(&machine, LIMITS, &|line| line.ends_with(CLOSING_LINE), &mut watcher)?;
        workspace.keep_log(&format!("suites-{kernel}-{attempt}"), &recording.lines)?;
        let before = count(&left);
        take_results(&recording, &mut left, &mut report, kernel);
        let end = recording.complaint().unwrap_or_else(|| "the guest went through its suites without them".to_owned());
        report.why_not_run = format!("    {kernel}: {end}; the console's last lines:\n{}", recording.last_lines());
        if count(&left) == before {
            break;
        }
    }
    for tests in &left {
        report.not_run.extend(tests.names.iter().map(|name| format!("{} {name}", tests.suite.name)));
    }
    Ok(report)
}

/// The tests of a suite that have not ended yet.
struct Tests<'a> {
    suite: &'a Suite,
    names: BTreeSet<String>,
}

impl<'a> Tests<'a> {
    fn of(suite: &'a Suite, filter: Option<&str>) -> Self {
        let names = suite
            .tests
            .iter()
            .filter(|name| filter.is_none_or(|filter| name.contains(filter) || filter.contains('-') && suite.name.starts_with(filter)));
        Self { suite, names: names.cloned().collect() }
    }
}

fn count(left: &[Tests]) -> usize {
    left.iter().map(|tests| tests.names.len()).sum()
}

/// The base with the suites in it, and beside each its arguments; `all` leaves the choice of tests to the harness.
fn suite_image(base: &Image, left: &[Tests], all: bool) -> Image {
    let mut image = base.clone();
    for Tests { suite, names } in left {
        image.program(&format!("suites/{}", suite.name), &suite.program);
        // One at a time: the console then tells which test was running when a machine stopped.
        let mut arguments = "--test-threads=1\n".to_owned();
        if !all {
            arguments.push_str("--exact\n");
            names.iter().for_each(|name| arguments.extend([name.as_str(), "\n"]));
        }
        image.file(&format!("suites/{}.arguments", suite.name), 0o644, arguments);
    }
    image
}

/// Moves the tests that ended from `left` to the report, a test that took the machine down among them.
fn take_results(recording: &Recording, left: &mut Vec<Tests>, report: &mut SuiteReport, kernel: Kernel) {
    for (suite, run) in runs(&recording.lines) {
        let Some(tests) = left.iter_mut().find(|tests| tests.suite.name == suite) else {
            continue;
        };
        for (name, verdict) in &run.verdicts {
            if !tests.names.remove(name) {
                continue;
            }
            match verdict {
                Verdict::Passed => report.passed += 1,
                Verdict::Ignored => report.ignored += 1,
                Verdict::Failed => report.failed.push(format!("{suite} {name} on {kernel}{}", words_on(&run, name))),
            }
        }
        if let Some(name) = run.pending.filter(|name| tests.names.remove(name)) {
            let complaint = recording.complaint().unwrap_or_else(|| "the suite ended in the middle of it".to_owned());
            report.failed.push(format!("{suite} {name} on {kernel}: {complaint}; the console's last lines:\n{}", recording.last_lines()));
        }
    }
    left.retain(|tests| !tests.names.is_empty());
    if let Some(complaint) = recording.complaint().filter(|_| left.is_empty()) {
        report.failed.push(format!("the suites' guest on {kernel}: {complaint}; the console's last lines:\n{}", recording.last_lines()));
    }
}

/// What the harness said about a failed test, indented below its name.
fn words_on(run: &Run, name: &str) -> String {
    let header = format!("---- {name} stdout ----");
    let words = run.failures.iter().skip_while(|line| **line != header).skip(1);
    let words = words.take_while(|line| !line.starts_with("---- ") && *line != "failures:");
    words.filter(|line| !line.is_empty()).take(30).map(|line| format!("\n    | {line}")).collect()
}

/// The runs on a console, each between the lines that init prints around it.
fn runs(lines: &[String]) -> Vec<(String, Run)> {
    let mut runs: Vec<(String, Run)> = Vec::new();
    let mut running = false;
    for line in lines {
        if let Some(name) = after(line, "graft-tools: begin ") {
            runs.push((name.to_owned(), Run::default()));
            running = true;
        } else if after(line, "graft-tools: end ").is_some() {
            running = false;
        } else if running && let Some((_, run)) = runs.last_mut() {
            run.line(line);
        }
    }
    runs
}

/// What follows `words` on a line. Firmware and kernels may have left text before them.
fn after<'a>(line: &'a str, words: &str) -> Option<&'a str> {
    line.split_once(words).map(|(_, rest)| rest)
}

/// Shows which test is running.
struct SuiteWatcher<'a> {
    progress: &'a Progress,
    kernel: Kernel,
    total: usize,
    done: usize,
    failed: usize,
}

impl Watcher for SuiteWatcher<'_> {
    fn line(&mut self, line: &str) {
        self.progress.console(line);
        if let Some(rest) = line.strip_prefix("test ")
            && let Some((name, verdict)) = rest.split_once(" ... ")
        {
            self.done += 1;
            self.failed += usize::from(verdict.ends_with("FAILED"));
            let Self { kernel, total, done, failed, .. } = self;
            self.progress.say(&format!("suites on {kernel}: {done} of {total}, {failed} failed, {name}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::End;

    fn recording(console: &str, end: End) -> Recording {
        let lines: Vec<String> = console.lines().map(str::to_owned).collect();
        let closed = lines.iter().any(|line| line.ends_with(CLOSING_LINE));
        Recording { lines, end, closed, wall: Duration::ZERO }
    }

    fn suite(tests: &[&str]) -> Suite {
        Suite { name: "abi".to_owned(), program: "abi".into(), tests: tests.iter().map(|&name| name.to_owned()).collect() }
    }

    #[test]
    fn a_panic_fails_its_test_and_leaves_the_rest() {
        let suite = suite(&["a", "b", "c"]);
        let mut left = vec![Tests::of(&suite, None)];
        let mut report = SuiteReport::default();
        let panicked = recording(
            "graft-tools: begin abi\nrunning 3 tests\ntest a ... ok\ntest b ... \nkernel panic: page fault",
            End::Panic("kernel panic: page fault".to_owned()),
        );
        take_results(&panicked, &mut left, &mut report, Kernel::Graft);
        assert_eq!((report.passed, report.failed.len(), count(&left)), (1, 1, 1));
        assert!(report.failed[0].starts_with("abi b on Graft: kernel panic"), "{}", report.failed[0]);
        assert!(left[0].names.contains("c"));
        let rest = recording("graft-tools: begin abi\ntest c ... ok\ngraft-tools: end abi 0\ngraft-tools: done", End::PoweredOff);
        take_results(&rest, &mut left, &mut report, Kernel::Graft);
        assert_eq!((report.passed, report.failed.len(), left.len()), (2, 1, 0));
    }

    #[test]
    fn a_guest_that_does_not_end_well_fails_even_if_all_tests_passed() {
        let suite = suite(&["a"]);
        let mut left = vec![Tests::of(&suite, None)];
        let mut report = SuiteReport::default();
        let hang = recording("graft-tools: begin abi\ntest a ... ok\ngraft-tools: end abi 0\ngraft-tools: done", End::Hang("no end"));
        take_results(&hang, &mut left, &mut report, Kernel::Graft);
        assert_eq!((report.passed, report.failed.len()), (1, 1));
    }

    #[test]
    fn tests_that_did_not_run_are_failures_with_one_reason() {
        let report = SuiteReport {
            passed: 1,
            failed: vec!["abi a on Graft".to_owned()],
            not_run: vec!["abi b".to_owned(), "abi c".to_owned()],
            why_not_run: "    Graft: hang".to_owned(),
            ..SuiteReport::default()
        };
        assert_eq!(report.failures(), 3);
        assert_eq!(report.complaints(), ["abi a on Graft", "2 tests did not run: abi b, abi c\n    Graft: hang"]);
    }

    #[test]
    fn failed_tests_come_with_the_words_of_the_harness() {
        let suite = suite(&["a"]);
        let mut left = vec![Tests::of(&suite, None)];
        let mut report = SuiteReport::default();
        let failed = recording(
            "graft-tools: begin abi\ntest a ... FAILED\n\nfailures:\n\n---- a stdout ----\nleft: 1\n\nfailures:\n    a\n\n\
             test result: FAILED. 0 passed; 1 failed\ngraft-tools: end abi 101\ngraft-tools: done",
            End::PoweredOff,
        );
        take_results(&failed, &mut left, &mut report, Kernel::Linux);
        assert_eq!(report.failed, ["abi a on Linux\n    | left: 1"]);
    }

    #[test]
    fn text_of_the_firmware_before_a_marker_is_passed_over() {
        let lines = ["Booting from ROM..graft-tools: begin abi".to_owned(), "test a ... ok".to_owned()];
        assert_eq!(runs(&lines)[0].1.count(Verdict::Passed), 1);
    }

    #[test]
    fn a_filter_leaves_the_tests_that_contain_it() {
        let suite = suite(&["mounts::bind", "signals::mask"]);
        assert_eq!(Tests::of(&suite, Some("mount")).names.len(), 1);
        assert_eq!(Tests::of(&suite, Some(&suite.name)).names.len(), 2);
        assert_eq!(Tests::of(&suite, None).names.len(), 2);
    }

    #[test]
    fn test_programs_are_found_in_cargos_messages() {
        let messages = r#"{"reason":"compiler-artifact","manifest_path":"/w/test-suites/abi/Cargo.toml","target":{"name":"mounts"},"profile":{"test":true},"executable":"/t/mounts-1"}
{"reason":"compiler-artifact","manifest_path":"/w/test-suites/abi/Cargo.toml","target":{"name":"abi"},"profile":{"test":false},"executable":null}
{"reason":"build-finished","success":true}"#;
        assert_eq!(test_programs(messages), [("abi-mounts".to_owned(), PathBuf::from("/t/mounts-1"))]);
    }
}
