//! `make test`: everything that must hold, part after part, each with its count of what passed and what failed.

use crate::bad_input;
use crate::boot::{Recording, Unwatched};
use crate::boot_checks;
use crate::compare::difference;
use crate::containers;
use crate::demo;
use crate::foreign::Foreign;
use crate::kernel::{Kernel, Place};
use crate::libtest::{Run, Verdict};
use crate::mutations;
use crate::progress::Progress;
use crate::rules;
use crate::suites::{self, is_for_guests, table, workspace_packages};
use crate::walk;
use crate::workspace::Workspace;
use anyhow::{Context, Result};
use std::ops::RangeInclusive;
use std::process::{Command, Output};
use std::time::Instant;

/// How many lines of a failed command are shown.
const SHOWN_LINES: usize = 60;

/// The walk on both kernels: seconds beside the two boots.
const WALK_SEEDS: RangeInclusive<u64> = 1..=4;
const WALK_STEPS: usize = 150;

/// The walk on graft and the model.
const MODEL_WALKS: u32 = 40_000;
const MODEL_WALK_BUILD: [(&str, &str); 2] =
    [("CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS", "true"), ("CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS", "true")];

/// Passed and failed, over all parts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many tests passed.
    pub passed: usize,
    /// How many failed, those that could not run among them.
    pub failed: usize,
}

/// Runs every part. Nothing ends it early: what cannot run has failed.
pub fn run(workspace: &Workspace, console: bool) -> Tally {
    let progress = Progress::new(console);
    let mut parts = Parts { workspace, progress: &progress, tally: Tally::default(), part: Vec::new() };
    parts.run("format", Parts::format);
    parts.run("lints", Parts::lints);
    parts.run("rules", Parts::rules);
    parts.run("host tests", Parts::host_tests);
    parts.run("kernel", Parts::kernel);
    parts.run("boot", Parts::boot_checks);
    parts.run("guest suites", Parts::guest_suites);
    parts.run("mutations", Parts::mutations);
    parts.run("model walk", Parts::model_walk);
    parts.run("walk", Parts::walk);
    parts.run("demonstration", Parts::demonstration);
    parts.run("foreign programs", Parts::foreign);
    parts.run("containers", Parts::containers);
    parts.run("bad input", Parts::bad_input);
    parts.tally
}

struct Parts<'a> {
    workspace: &'a Workspace,
    progress: &'a Progress,
    tally: Tally,
    /// The failures of the part that runs.
    part: Vec<String>,
}

impl Parts<'_> {
    /// Runs a part and prints what became of it.
    fn run(&mut self, name: &str, part: impl FnOnce(&mut Self) -> Result<()>) {
        let (before, started) = (self.tally, Instant::now());
        self.progress.say(name);
        if let Err(error) = part(self) {
            self.fail(format!("{error:#}"));
        }
        for failure in std::mem::take(&mut self.part) {
            self.progress.print(&format!("FAILED {name}: {}", failure.trim_end()));
        }
        let (passed, failed) = (self.tally.passed - before.passed, self.tally.failed - before.failed);
        let word = if failed == 0 { "ok    " } else { "FAILED" };
        let seconds = started.elapsed().as_secs();
        self.progress.print(&format!("{word} {name}: {passed} of {} ({seconds} s)", passed + failed));
    }

    fn pass(&mut self) {
        self.tally.passed += 1;
    }

    fn fail(&mut self, failure: impl Into<String>) {
        self.tally.failed += 1;
        self.part.push(failure.into());
    }

    /// One test that passes if nothing is wrong.
    fn verdict(&mut self, name: &str, wrong: Option<String>) {
        match wrong {
            None => self.pass(),
            Some(wrong) => self.fail(format!("{name}: {wrong}")),
        }
    }

    /// One test that passes if a command does.
    fn command(&mut self, program: &str, arguments: &[&str]) -> Result<()> {
        let line = format!("{program} {}", arguments.join(" "));
        self.progress.say(&line);
        let output = Command::new(program).current_dir(self.workspace.root()).args(arguments).output();
        let output = output.with_context(|| format!("cannot run {program}"))?;
        self.verdict(&line, (!output.status.success()).then(|| last_lines(&output)));
        Ok(())
    }

    fn format(&mut self) -> Result<()> {
        self.command("cargo", &["fmt", "--all", "--check"])
    }

    fn lints(&mut self) -> Result<()> {
        self.command("cargo", &["clippy", "--workspace", "--exclude", "kernel", "--all-targets", "--", "-D", "warnings"])?;
        self.command("make", &["kernel-lints"])
    }

    /// Every rule of `semantics.md` is cited by code and by a test, and nothing else is cited.
    fn rules(&mut self) -> Result<()> {
        let findings = rules::check(self.workspace)?;
        let parts = [
            ("cited by code", findings.without_code),
            ("cited by tests", findings.without_test),
            ("no citation of no rule", findings.unknown),
        ];
        for (name, wrong) in parts {
            self.verdict(name, (!wrong.is_empty()).then(|| format!("not so for {}", wrong.join(" "))));
        }
        Ok(())
    }

    /// The tests of every package that runs on the host: all but the kernel and what runs inside a guest.
    fn host_tests(&mut self) -> Result<()> {
        let mut arguments = vec!["test".to_owned(), "--no-fail-fast".to_owned()];
        for (name, manifest) in workspace_packages(self.workspace)? {
            if name != "kernel" && !is_for_guests(self.workspace, &manifest) {
                arguments.extend(["--package".to_owned(), name]);
            }
        }
        self.progress.say("host tests");
        let output = Command::new("cargo").current_dir(self.workspace.root()).args(&arguments).output().context("cannot run cargo")?;
        let (passed, failed) = count_host_tests(&String::from_utf8_lossy(&output.stdout));
        self.tally.passed += passed;
        self.tally.failed += failed.len();
        self.part.extend(failed);
        if !output.status.success() {
            // Without a failed test it did not build, or a test program died.
            if self.part.is_empty() {
                self.tally.failed += 1;
            }
            self.part.push(last_lines(&output));
        }
        Ok(())
    }

    /// The kernel is built anew, so that nothing is tested that the sources do not say.
    fn kernel(&mut self) -> Result<()> {
        self.progress.say("building the kernel");
        let output = Command::new("make").current_dir(self.workspace.root()).arg("kernel").output().context("cannot run make")?;
        if !output.status.success() {
            // An older kernel must not stand in for the one that does not build.
            let old = self.workspace.product("graft-kernel")?;
            if old.is_file() {
                std::fs::remove_file(&old).with_context(|| format!("cannot remove {}", old.display()))?;
            }
        }
        self.verdict("make kernel", (!output.status.success()).then(|| last_lines(&output)));
        Ok(())
    }

    fn guest_suites(&mut self) -> Result<()> {
        self.progress.say("building the guest suites");
        let suites = suites::build(self.workspace)?;
        let missing = table::missing_cases(&suites, &table::gvisor_cases(self.workspace)?);
        self.verdict("a test for each of gVisor's cases", (!missing.is_empty()).then(|| format!("none for {}", missing.join(", "))));
        match suites::run(self.workspace, Place::Guest(Kernel::Graft), &suites, None, self.progress) {
            Ok(report) => {
                self.tally.passed += report.passed();
                self.tally.failed += report.failures();
                self.part.extend(report.complaints());
            }
            Err(error) => {
                // None of them could run.
                self.tally.failed += suites.iter().map(|suite| suite.tests.len()).sum::<usize>();
                self.part.push(format!("{error:#}"));
            }
        }
        Ok(())
    }

    /// Every mutation still applies to one place, and names tests that are there. Running them takes `graft-tools mutations`.
    fn mutations(&mut self) -> Result<()> {
        let list = mutations::list::read(self.workspace)?;
        let complaints = mutations::list::complaints(self.workspace, &list, &suites::build(self.workspace)?);
        self.verdict("the list of mutations", (!complaints.is_empty()).then(|| complaints.join("\n")));
        Ok(())
    }

    /// A minute's worth of random operations on graft and on the reference model, optimised but with all assertions.
    fn model_walk(&mut self) -> Result<()> {
        self.progress.say("building the model walk");
        let arguments = ["test", "--quiet", "--release", "--package", "graft", "--test", "walk"];
        let mut command = Command::new("cargo");
        command.current_dir(self.workspace.root()).args(arguments).env("PROPTEST_CASES", MODEL_WALKS.to_string());
        command.envs(MODEL_WALK_BUILD);
        let output = command.output().context("cannot run cargo")?;
        self.verdict("graft and the model agree", (!output.status.success()).then(|| last_lines(&output)));
        Ok(())
    }

    /// Random operations on both kernels side by side.
    fn walk(&mut self) -> Result<()> {
        if let Err(error) = Kernel::Linux.file(self.workspace, &|text| self.progress.say(text)) {
            self.progress.print(&format!("walk: left out, there is no Linux to walk beside: {error:#}"));
            return Ok(());
        }
        self.progress.say("walking on both kernels");
        let differing = walk::differing(self.workspace, WALK_SEEDS, WALK_STEPS, self.progress)?;
        for seed in WALK_SEEDS {
            let wrong = format!("the kernels differ: `make walk SEEDS={seed}..{seed} STEPS={WALK_STEPS}` shows where");
            self.verdict(&format!("seed {seed}"), differing.contains(&seed).then_some(wrong));
        }
        Ok(())
    }

    /// The demonstration on either kernel, and the two side by side.
    fn demonstration(&mut self) -> Result<()> {
        let mut outputs = Vec::new();
        for kernel in [Kernel::Linux, Kernel::Graft] {
            let shown = self.show_demonstration(kernel);
            match shown {
                Ok(recording) => {
                    let wrong = demo::complaint(&recording).map(|wrong| with_console(&wrong, &recording));
                    self.verdict(&format!("on {kernel}"), wrong);
                    outputs.push(demo::output(&recording));
                }
                Err(error) => self.fail(format!("on {kernel}: {error:#}")),
            }
        }
        self.side_by_side("the same on both kernels", &outputs);
        Ok(())
    }

    fn show_demonstration(&self, kernel: Kernel) -> Result<Recording> {
        self.progress.say(&format!("demonstration on {kernel}"));
        let machine = demo::machine(self.workspace, kernel, false, &|text| self.progress.say(text))?;
        let recording = demo::show(&machine, &mut Unwatched)?;
        self.workspace.keep_log(&format!("demonstration-{kernel}"), &recording.lines)?;
        Ok(recording)
    }

    /// The images that were not made for our kernel: each runs to its end on both, and prints the same.
    fn foreign(&mut self) -> Result<()> {
        for image in Foreign::ALL {
            let mut outputs = Vec::new();
            for kernel in [Kernel::Linux, Kernel::Graft] {
                self.progress.say(&format!("{image} on {kernel}"));
                let name = format!("{image} on {kernel}");
                match image.run(self.workspace, kernel, &|text| self.progress.say(text), &mut Unwatched) {
                    Ok(recording) => {
                        self.verdict(&name, recording.complaint().map(|wrong| with_console(&wrong, &recording)));
                        outputs.push(image.output(&recording));
                    }
                    Err(error) => self.fail(format!("{name}: {error:#}")),
                }
            }
            self.side_by_side(&format!("{image}, the same on both kernels"), &outputs);
        }
        Ok(())
    }

    /// The scenarios of util-linux, bubblewrap, crun and runc.
    fn containers(&mut self) -> Result<()> {
        let scenarios = containers::for_test(containers::list(self.workspace, None)?);
        let outcomes = containers::run(self.workspace, Kernel::Graft, &scenarios, self.progress)?;
        let complaints = containers::complaints(&scenarios, &outcomes, Kernel::Graft);
        self.tally.passed += scenarios.len() - complaints.len();
        complaints.into_iter().for_each(|complaint| self.fail(complaint));
        Ok(())
    }

    fn side_by_side(&mut self, name: &str, outputs: &[Vec<String>]) {
        let wrong = match outputs {
            [linux, graft] if !linux.is_empty() => difference(linux, graft).map(|difference| format!("they differ:\n{difference}")),
            _ => Some("there are no two outputs to compare".to_owned()),
        };
        self.verdict(name, wrong);
    }

    fn boot_checks(&mut self) -> Result<()> {
        for (name, wrong) in boot_checks::run(self.workspace, Kernel::Graft, &|text| self.progress.say(text))? {
            self.verdict(&name, wrong);
        }
        Ok(())
    }

    fn bad_input(&mut self) -> Result<()> {
        for (name, wrong) in bad_input::run(self.workspace, Kernel::Graft, &|text| self.progress.say(text))? {
            self.verdict(&name, wrong);
        }
        Ok(())
    }
}

/// How many tests passed in the output of `cargo test`, over all its programs, and the names of those that failed.
pub(crate) fn count_host_tests(output: &str) -> (usize, Vec<String>) {
    let mut passed = 0;
    let mut failed = Vec::new();
    let mut run = Run::default();
    for line in output.lines() {
        run.line(line);
        if run.finished {
            passed += run.count(Verdict::Passed);
            failed.extend(run.verdicts.into_iter().filter(|(_, verdict)| *verdict == Verdict::Failed).map(|(name, _)| name));
            run = Run::default();
        }
    }
    (passed, failed)
}

fn with_console(wrong: &str, recording: &Recording) -> String {
    format!("{wrong}; the console's last lines:\n{}", recording.last_lines())
}

/// The end of what a command printed.
fn last_lines(output: &Output) -> String {
    let text = [String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)].concat();
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(SHOWN_LINES);
    let shown: String = lines[from..].iter().map(|line| format!("    | {line}\n")).collect();
    format!("{}\n{shown}", output.status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_tests_are_counted_over_all_programs() {
        let output = "running 2 tests\ntest a ... ok\ntest b ... FAILED\n\nfailures:\n\n---- b stdout ----\nwords\n\nfailures:\n    b\n\n\
            test result: FAILED. 1 passed; 1 failed\n\nrunning 1 test\ntest a ... ok\n\ntest result: ok. 1 passed; 0 failed\n";
        assert_eq!(count_host_tests(output), (2, vec!["b".to_owned()]));
    }

    #[test]
    fn a_command_that_failed_shows_its_last_lines() {
        let output = Command::new("sh").args(["-c", "seq 100; echo problem >&2; exit 3"]).output().unwrap();
        let shown = last_lines(&output);
        assert!(shown.contains("exit status: 3") && shown.ends_with("    | problem\n"), "{shown}");
        assert_eq!(shown.lines().count(), SHOWN_LINES + 1);
    }

    #[test]
    fn a_part_that_cannot_run_has_failed() {
        let workspace = Workspace::find().unwrap();
        let progress = Progress::new(false);
        let mut parts = Parts { workspace: &workspace, progress: &progress, tally: Tally::default(), part: Vec::new() };
        parts.run("a part", |_| anyhow::bail!("no way"));
        parts.run("another", |parts| {
            parts.pass();
            parts.side_by_side("outputs", &[vec!["only one".to_owned()]]);
            Ok(())
        });
        assert_eq!(parts.tally, Tally { passed: 1, failed: 2 });
    }
}
