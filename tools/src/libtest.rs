//! What Rust's test harness prints, read back: one verdict for each test.
//!
//! On a guest's console other text may stand between a test's name and its verdict (a kernel message, the output of a
//! child process), so a verdict counts also on a later line.

use std::collections::BTreeMap;

/// How a test ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It passed.
    Passed,
    /// It failed.
    Failed,
    /// The harness left it out, or it said that it found nothing to test here.
    Ignored,
}

/// One run of one test binary, as far as it came.
#[derive(Debug, Clone, Default)]
pub struct Run {
    /// The tests that ended, by name.
    pub verdicts: BTreeMap<String, Verdict>,
    /// A test that began and has not ended.
    pub pending: Option<String>,
    /// The harness' words on the tests that failed.
    pub failures: Vec<String>,
    /// Whether the summary came: the binary ran to its end.
    pub finished: bool,
    in_failures: bool,
    /// The pending test has said that it does not run here.
    not_run: bool,
}

/// How a test says that it finds nothing to test where it runs, before it passes.
const NOT_RUN: &str = "not run: ";

impl Run {
    /// Takes the next line of output.
    pub fn line(&mut self, line: &str) {
        if let Some(rest) = line.strip_prefix("test ")
            && let Some((name, verdict)) = rest.split_once(" ... ")
        {
            self.begin(name.trim_end_matches(" - should panic"), verdict);
        } else if line.starts_with("test result: ") {
            self.finished = true;
            self.in_failures = false;
        } else if line == "failures:" {
            // It comes twice: before the tests' words, and before the list of their names.
            self.in_failures = !self.in_failures;
        } else if self.in_failures {
            self.failures.push(line.to_owned());
        } else if let Some(name) = self.pending.clone() {
            self.not_run |= line.contains(NOT_RUN);
            if let Some(verdict) = verdict_at_end(line) {
                self.end(name, verdict);
            }
        }
    }

    fn begin(&mut self, name: &str, rest: &str) {
        self.pending = Some(name.to_owned());
        self.not_run = rest.contains(NOT_RUN);
        if let Some(verdict) = verdict_of(rest.split(',').next().unwrap_or_default()).or_else(|| verdict_at_end(rest)) {
            self.end(name.to_owned(), verdict);
        }
    }

    fn end(&mut self, name: String, verdict: Verdict) {
        let verdict = if self.not_run && verdict == Verdict::Passed { Verdict::Ignored } else { verdict };
        self.verdicts.insert(name, verdict);
        self.pending = None;
    }

    /// How many tests ended with the given verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.verdicts.values().filter(|other| **other == verdict).count()
    }
}

/// A verdict that is a whole word on its own.
fn verdict_of(word: &str) -> Option<Verdict> {
    match word.trim() {
        "ok" => Some(Verdict::Passed),
        "FAILED" => Some(Verdict::Failed),
        "ignored" => Some(Verdict::Ignored),
        _ => None,
    }
}

/// A verdict that stands alone on a line, or directly after text that ended without a newline.
fn verdict_at_end(line: &str) -> Option<Verdict> {
    verdict_of(line).or_else(|| if line.ends_with("FAILED") { Some(Verdict::Failed) } else { None }).or_else(|| {
        let last_word = line.rsplit(' ').next()?;
        (last_word == "ok").then_some(Verdict::Passed)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(output: &str) -> Run {
        let mut run = Run::default();
        output.lines().for_each(|line| run.line(line));
        run
    }

    #[test]
    fn a_whole_run_is_read() {
        let run = run("\nrunning 4 tests\ntest a::one ... ok\ntest a::two ... FAILED\ntest b - should panic ... ok\n\
            test c ... ignored, needs root\n\nfailures:\n\n---- a::two stdout ----\nassertion failed: x\n\n\n\
            failures:\n    a::two\n\ntest result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out\n");
        assert_eq!(run.verdicts["a::one"], Verdict::Passed);
        assert_eq!(run.verdicts["a::two"], Verdict::Failed);
        assert_eq!(run.verdicts["b"], Verdict::Passed);
        assert_eq!(run.verdicts["c"], Verdict::Ignored);
        assert_eq!((run.count(Verdict::Passed), run.finished, run.pending.is_none()), (2, true, true));
        assert!(run.failures.iter().any(|line| line.contains("assertion failed")));
    }

    #[test]
    fn a_test_that_never_ends_stays_pending() {
        let run = run("running 2 tests\ntest first ... ok\ntest second ... ");
        assert_eq!(run.pending.as_deref(), Some("second"));
        assert!(!run.finished);
        assert_eq!(run.verdicts.len(), 1);
    }

    #[test]
    fn text_between_name_and_verdict_does_not_hide_it() {
        let run = run(
            "test one ... [  1.2] ENOSYS: rseq\nok\ntest two ... child says hello\nFAILED\ntest three ... xok\ntest four ... noise FAILED",
        );
        assert_eq!(run.verdicts["one"], Verdict::Passed);
        assert_eq!(run.verdicts["two"], Verdict::Failed);
        assert_eq!(run.verdicts.get("three"), None);
        assert_eq!(run.verdicts["four"], Verdict::Failed);
    }

    #[test]
    fn a_test_that_finds_nothing_to_test_has_not_passed() {
        let run = run("test one ... not run: no such device\nok\ntest two ... ok\ntest three ... not run: so\nFAILED");
        assert_eq!(run.verdicts["one"], Verdict::Ignored);
        assert_eq!(run.verdicts["two"], Verdict::Passed);
        assert_eq!(run.verdicts["three"], Verdict::Failed);
    }

    #[test]
    fn words_of_failures_are_no_verdicts() {
        let run =
            run("test one ... FAILED\n\nfailures:\n\n---- one stdout ----\ntest looked ok\nok\n\ntest result: FAILED. 0 passed; 1 failed");
        assert_eq!(run.verdicts.len(), 1);
        assert_eq!(run.verdicts["one"], Verdict::Failed);
    }
}
