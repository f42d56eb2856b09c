//! How the tests of the suites ended in one place, read from what a guest's console or the host showed.

use crate::boot::Recording;
use crate::console::after;
use crate::libtest::{Run, Verdict};
use std::collections::{BTreeMap, BTreeSet};

use super::Suite;

/// How a test ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It passed.
    Passed,
    /// It found nothing to test there.
    LeftOut,
    /// It failed or never ended; the reason.
    Failed(String),
    /// It never began.
    NotRun,
}

/// A test: its suite and its name there.
pub type TestName = (String, String);

/// How the suites' tests ended in one place.
#[derive(Debug, Clone, Default)]
pub struct SuiteReport {
    /// Every test that was asked for.
    pub outcomes: BTreeMap<TestName, Outcome>,
    /// What failed beside the tests: a guest that ran them all, and then did not end.
    pub beside: Vec<String>,
    /// Why some never began.
    pub why_not_run: String,
}

impl SuiteReport {
    /// How many tests passed.
    pub fn passed(&self) -> usize {
        self.count(|outcome| *outcome == Outcome::Passed)
    }

    /// How many tests found nothing to test.
    pub fn left_out(&self) -> usize {
        self.count(|outcome| *outcome == Outcome::LeftOut)
    }

    /// How many tests did not pass that should have.
    pub fn failures(&self) -> usize {
        self.count(|outcome| matches!(outcome, Outcome::Failed(_) | Outcome::NotRun)) + self.beside.len()
    }

    fn count(&self, counts: impl Fn(&Outcome) -> bool) -> usize {
        self.outcomes.values().filter(|outcome| counts(outcome)).count()
    }

    /// What to print of the failures: the tests that did not run in one piece, since they have one reason.
    pub fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        let mut not_run = Vec::new();
        for ((suite, name), outcome) in &self.outcomes {
            match outcome {
                Outcome::Failed(reason) => complaints.push(format!("{suite} {name}{reason}")),
                Outcome::NotRun => not_run.push(format!("{suite} {name}")),
                Outcome::Passed | Outcome::LeftOut => {}
            }
        }
        complaints.extend(self.beside.clone());
        if !not_run.is_empty() {
            complaints.push(format!("{} tests did not run: {}\n{}", not_run.len(), not_run.join(", "), self.why_not_run));
        }
        complaints
    }

    /// Fails the tests that were left out here though they passed in another place.
    pub fn hold_against(&mut self, judge: &SuiteReport) {
        for (test, outcome) in &mut self.outcomes {
            if *outcome == Outcome::LeftOut && judge.outcomes.get(test) == Some(&Outcome::Passed) {
                *outcome = Outcome::Failed(" left out, though it passes on a real Linux".to_owned());
            }
        }
    }

    fn end(&mut self, suite: &str, name: &str, outcome: Outcome) {
        self.outcomes.insert((suite.to_owned(), name.to_owned()), outcome);
    }

    pub(super) fn did_not_run(&mut self, tests: &Tests) {
        tests.names.iter().for_each(|name| self.end(&tests.suite.name, name, Outcome::NotRun));
    }

    /// Takes the tests that ended from `left`, a test that took the machine down among them.
    pub(super) fn take_results(&mut self, recording: &Recording, left: &mut Vec<Tests>) {
        for (suite, run) in runs(&recording.lines) {
            let Some(tests) = left.iter_mut().find(|tests| tests.suite.name == suite) else {
                continue;
            };
            for (name, verdict) in &run.verdicts {
                if !tests.names.remove(name) {
                    continue;
                }
                let outcome = match verdict {
                    Verdict::Passed => Outcome::Passed,
                    Verdict::Ignored => Outcome::LeftOut,
                    Verdict::Failed => Outcome::Failed(words_on(&run, name)),
                };
                self.end(&suite, name, outcome);
            }
            if let Some(name) = run.pending.filter(|name| tests.names.remove(name)) {
                let complaint = recording.complaint().unwrap_or_else(|| "the suite ended in the middle of it".to_owned());
                self.end(&suite, &name, Outcome::Failed(format!(": {complaint}; the last lines:\n{}", recording.last_lines())));
            }
        }
        left.retain(|tests| !tests.names.is_empty());
        let complaint = recording.complaint();
        if let Some(complaint) = complaint.as_ref().filter(|_| left.is_empty()) {
            self.beside.push(format!("the suites' guest: {complaint}; the console's last lines:\n{}", recording.last_lines()));
        }
        let end = complaint.unwrap_or_else(|| "the suites were gone through without them".to_owned());
        self.why_not_run = format!("    {end}; the last lines:\n{}", recording.last_lines());
    }
}

/// The tests of a suite that have not ended yet.
pub(super) struct Tests<'a> {
    pub(super) suite: &'a Suite,
    pub(super) names: BTreeSet<String>,
}

impl<'a> Tests<'a> {
    pub(super) fn of(suite: &'a Suite, filter: Option<&str>) -> Self {
        let wanted = |name: &&String| filter.is_none_or(|filter| suite.name.contains(filter) || name.contains(filter));
        let names = suite.tests.iter().filter(wanted);
        Self { suite, names: names.cloned().collect() }
    }

    /// The arguments for the harness; `all` leaves the choice of tests to it.
    pub(super) fn arguments(&self, all: bool) -> String {
        // One at a time: what is printed then tells which test was running when a machine stopped.
        let mut arguments = "--test-threads=1\n".to_owned();
        if !all {
            arguments.push_str("--exact\n");
            self.names.iter().for_each(|name| arguments.extend([name.as_str(), "\n"]));
        }
        arguments
    }
}

/// How many tests have not ended yet.
pub(super) fn count(left: &[Tests]) -> usize {
    left.iter().map(|tests| tests.names.len()).sum()
}

/// What the harness said about a failed test, indented below its name.
fn words_on(run: &Run, name: &str) -> String {
    let header = format!("---- {name} stdout ----");
    let words = run.failures.iter().skip_while(|line| **line != header).skip(1);
    let words = words.take_while(|line| !line.starts_with("---- ") && *line != "failures:");
    words.filter(|line| !line.is_empty()).take(30).map(|line| format!("\n    | {line}")).collect()
}

/// The runs that were shown, each between the lines that are printed around it.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::End;
    use crate::guest::CLOSING_LINE;
    use std::time::Duration;

    fn recording(console: &str, end: End) -> Recording {
        let lines: Vec<String> = console.lines().map(str::to_owned).collect();
        let closed = lines.iter().any(|line| line.ends_with(CLOSING_LINE));
        Recording { lines, end, closed, wall: Duration::ZERO }
    }

    fn suite(tests: &[&str]) -> Suite {
        let tests = tests.iter().map(|&name| name.to_owned()).collect();
        Suite { name: "abi".to_owned(), package: "abi".to_owned(), program: "abi".into(), tests, programs: Vec::new() }
    }

    fn outcome<'a>(report: &'a SuiteReport, name: &str) -> &'a Outcome {
        &report.outcomes[&("abi".to_owned(), name.to_owned())]
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
        report.take_results(&panicked, &mut left);
        assert_eq!((report.passed(), report.failures(), count(&left)), (1, 1, 1));
        assert!(report.complaints()[0].starts_with("abi b: kernel panic"), "{:?}", report.complaints());
        assert!(left[0].names.contains("c"));
        let rest = recording("graft-tools: begin abi\ntest c ... ok\ngraft-tools: end abi 0\ngraft-tools: done", End::PoweredOff);
        report.take_results(&rest, &mut left);
        assert_eq!((report.passed(), report.failures(), left.len()), (2, 1, 0));
    }

    #[test]
    fn a_guest_that_does_not_end_well_fails_even_if_all_tests_passed() {
        let suite = suite(&["a"]);
        let mut left = vec![Tests::of(&suite, None)];
        let mut report = SuiteReport::default();
        let hang = recording("graft-tools: begin abi\ntest a ... ok\ngraft-tools: end abi 0\ngraft-tools: done", End::Hang("no end"));
        report.take_results(&hang, &mut left);
        assert_eq!((report.passed(), report.failures()), (1, 1));
    }

    #[test]
    fn tests_that_did_not_run_are_failures_with_one_reason() {
        let mut report = SuiteReport { why_not_run: "    hang".to_owned(), ..SuiteReport::default() };
        report.end("abi", "a", Outcome::Failed(": wrong".to_owned()));
        report.end("abi", "b", Outcome::NotRun);
        report.end("abi", "c", Outcome::NotRun);
        report.end("abi", "d", Outcome::Passed);
        assert_eq!(report.failures(), 3);
        assert_eq!(report.complaints(), ["abi a: wrong", "2 tests did not run: abi b, abi c\n    hang"]);
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
        report.take_results(&failed, &mut left);
        assert_eq!(report.complaints(), ["abi a\n    | left: 1"]);
    }

    #[test]
    fn what_is_left_out_fails_where_the_judge_passes() {
        let mut ours = SuiteReport::default();
        let mut judge = SuiteReport::default();
        ours.end("abi", "a", Outcome::LeftOut);
        judge.end("abi", "a", Outcome::Passed);
        ours.end("abi", "b", Outcome::LeftOut);
        judge.end("abi", "b", Outcome::LeftOut);
        ours.hold_against(&judge);
        assert!(matches!(outcome(&ours, "a"), Outcome::Failed(_)));
        assert_eq!(*outcome(&ours, "b"), Outcome::LeftOut);
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
        assert_eq!(Tests::of(&suite, None).names.len(), 2);
    }
}
