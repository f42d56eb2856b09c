//! One table of how the tests ended, with a column for each place that they ran in.
//!
//! The cases that `test-suites/gvisor-cases.txt` names must all be among them.

use super::{Outcome, Suite, SuiteReport, TestName};
use crate::kernel::{Kernel, Place};
use crate::packages::PackageCache;
use crate::workspace::Workspace;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fmt::Write;

/// The list of gVisor's cases: package and test, a line each.
const CASES: &str = "test-suites/gvisor-cases.txt";

/// What stands where a package has no tests.
const NOTHING: &str = "-";

/// A place, and how the tests ended there.
pub struct Column {
    /// Its name for people.
    pub place: String,
    /// How the tests ended.
    pub report: SuiteReport,
}

/// A case that gVisor's tests have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// The package that has it.
    pub package: String,
    /// The name of its test, without modules.
    pub name: String,
}

/// A place's name and which kernel runs there.
pub fn title_of(workspace: &Workspace, place: Place) -> Result<String> {
    Ok(match place {
        Place::Guest(Kernel::Graft) => place.to_string(),
        Place::Guest(Kernel::Linux) => format!("Linux {}", PackageCache::open(workspace)?.linux_kernel(&|_| {})?.1),
        Place::Host => {
            let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").context("cannot read the host's kernel release")?;
            format!("host, Linux {}", release.trim())
        }
    })
}

/// The cases of the list.
pub fn gvisor_cases(workspace: &Workspace) -> Result<Vec<Case>> {
    let file = workspace.source(CASES);
    let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (package, name) = line.split_once(' ').with_context(|| format!("{CASES} has a line without a test: {line:?}"))?;
            Ok(Case { package: package.to_owned(), name: name.to_owned() })
        })
        .collect()
}

/// The cases that no test bears the name of.
pub fn missing_cases(suites: &[Suite], cases: &[Case]) -> Vec<String> {
    let is_there = |case: &Case| {
        let of_package = suites.iter().filter(|suite| suite.package == case.package);
        of_package.flat_map(|suite| &suite.tests).any(|test| last_name(test) == case.name)
    };
    cases.iter().filter(|case| !is_there(case)).map(|case| format!("{} {}", case.package, case.name)).collect()
}

/// A test's name without its modules.
pub fn last_name(test: &str) -> &str {
    test.rsplit("::").next().unwrap_or(test)
}

/// How many tests of each package passed, as aligned text.
pub fn summary(suites: &[Suite], columns: &[Column]) -> String {
    let packages = packages_of(suites);
    let mut lines = vec![["suite".to_owned()].into_iter().chain(columns.iter().map(|column| column.place.clone())).collect::<Vec<_>>()];
    let mut names: Vec<&String> = packages.values().copied().collect();
    names.sort();
    names.dedup();
    for package in names {
        let cells = columns.iter().map(|column| {
            let of_package = column.report.outcomes.iter().filter(|((suite, _), _)| packages.get(suite) == Some(&package));
            summarised(of_package.map(|(_, outcome)| outcome))
        });
        let line: Vec<String> = [package.clone()].into_iter().chain(cells).collect();
        if line[1..].iter().any(|cell| cell != NOTHING) {
            lines.push(line);
        }
    }
    aligned(&lines)
}

/// The passed of all, and what else there was.
fn summarised<'a>(outcomes: impl Iterator<Item = &'a Outcome>) -> String {
    let outcomes: Vec<&Outcome> = outcomes.collect();
    if outcomes.is_empty() {
        return NOTHING.to_owned();
    }
    let passed = outcomes.iter().filter(|outcome| ***outcome == Outcome::Passed).count();
    let left_out = outcomes.iter().filter(|outcome| ***outcome == Outcome::LeftOut).count();
    let failed = outcomes.len() - passed - left_out;
    let mut cell = format!("{passed} of {}", outcomes.len());
    if left_out > 0 {
        let _ = write!(cell, ", {left_out} left out");
    }
    if failed > 0 {
        let _ = write!(cell, ", {failed} FAILED");
    }
    cell
}

fn aligned(lines: &[Vec<String>]) -> String {
    let width = |index: usize| lines.iter().filter_map(|line| line.get(index)).map(String::len).max().unwrap_or(0);
    let mut text = String::new();
    for line in lines {
        let cells: Vec<String> = line.iter().enumerate().map(|(index, cell)| format!("{cell:<width$}", width = width(index))).collect();
        let _ = writeln!(text, "{}", cells.join("  ").trim_end());
    }
    text
}

/// A row for each test and each of gVisor's cases, as Markdown.
pub fn full(suites: &[Suite], columns: &[Column], cases: &[Case]) -> String {
    let packages = packages_of(suites);
    let mut rows: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for case in cases {
        rows.insert((case.package.clone(), case.name.clone()), vec!["missing".to_owned(); columns.len()]);
    }
    for (index, column) in columns.iter().enumerate() {
        for (test, outcome) in &column.report.outcomes {
            let row = rows.entry(row_of(test, &packages, cases)).or_insert_with(|| vec![String::new(); columns.len()]);
            row[index] = word(outcome).to_owned();
        }
    }
    let places: Vec<&str> = columns.iter().map(|column| column.place.as_str()).collect();
    let mut text = format!("| suite | test | {} |\n|---|---|{}\n", places.join(" | "), "---|".repeat(columns.len()));
    for ((suite, test), cells) in rows {
        let _ = writeln!(text, "| {suite} | {test} | {} |", cells.join(" | "));
    }
    text
}

/// Where a test stands: gVisor's cases under their package and bare name, others under their suite.
fn row_of((suite, test): &TestName, packages: &BTreeMap<String, &String>, cases: &[Case]) -> (String, String) {
    let name = last_name(test);
    let case = cases.iter().find(|case| packages.get(suite) == Some(&&case.package) && case.name == name);
    case.map_or_else(|| (suite.clone(), test.clone()), |case| (case.package.clone(), name.to_owned()))
}

fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "ok",
        Outcome::LeftOut => "left out",
        Outcome::Failed(_) => "FAILED",
        Outcome::NotRun => "not run",
    }
}

/// The package of each suite.
fn packages_of(suites: &[Suite]) -> BTreeMap<String, &String> {
    suites.iter().map(|suite| (suite.name.clone(), &suite.package)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suites() -> Vec<Suite> {
        let suite = |package: &str, name: &str, tests: &[&str]| Suite {
            name: name.to_owned(),
            package: package.to_owned(),
            program: name.into(),
            tests: tests.iter().map(|&test| test.to_owned()).collect(),
            programs: Vec::new(),
        };
        vec![suite("abi", "abi-pipes", &["one"]), suite("mount", "mount-cases", &["access::a", "b"])]
    }

    fn columns() -> Vec<Column> {
        let report = |outcomes: &[(&str, &str, Outcome)]| SuiteReport {
            outcomes: outcomes.iter().map(|(suite, test, outcome)| (((*suite).to_owned(), (*test).to_owned()), outcome.clone())).collect(),
            ..SuiteReport::default()
        };
        let failed = Outcome::Failed(String::new());
        let host = report(&[("mount-cases", "access::a", Outcome::Passed), ("mount-cases", "b", Outcome::LeftOut)]);
        let graft =
            report(&[("abi-pipes", "one", Outcome::Passed), ("mount-cases", "access::a", failed), ("mount-cases", "b", Outcome::Passed)]);
        vec![Column { place: "host".to_owned(), report: host }, Column { place: "Graft".to_owned(), report: graft }]
    }

    #[test]
    fn the_summary_has_a_line_for_each_package() {
        let expected = "suite  host                Graft\nabi    -                   1 of 1\nmount  1 of 2, 1 left out  1 of 2, 1 FAILED\n";
        assert_eq!(summary(&suites(), &columns()), expected);
    }

    #[test]
    fn the_full_table_has_a_row_for_each_test_and_each_missing_case() {
        let case = |name: &str| Case { package: "mount".to_owned(), name: name.to_owned() };
        let expected = "| suite | test | host | Graft |\n|---|---|---|---|\n| abi-pipes | one |  | ok |\n| mount | a | ok | FAILED |\n\
            | mount | c | missing | missing |\n| mount-cases | b | left out | ok |\n";
        assert_eq!(full(&suites(), &columns(), &[case("a"), case("c")]), expected);
        assert_eq!(missing_cases(&suites(), &[case("a"), case("c")]), ["mount c"]);
    }

    #[test]
    fn the_list_has_all_cases_once() {
        let cases = gvisor_cases(&Workspace::find().unwrap()).unwrap();
        let of = |package: &str| cases.iter().filter(|case| case.package == package).count();
        assert_eq!((of("mount"), of("pivot-root"), cases.len()), (105, 19, 124));
        assert!(cases.iter().enumerate().all(|(index, case)| !cases[..index].contains(case)));
    }
}
