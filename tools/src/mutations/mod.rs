//! Mutations: the kernel is broken on purpose, in one place at a time, and the suites of its subject must see it. A mutation that its
//! tests do not see shows that they assert too little; so does a case that nothing ever breaks.

pub mod list;
mod scratch;
mod table;

pub use table::Seen;

use crate::boot::Limits;
use crate::kernel::Kernel;
use crate::progress::Progress;
use crate::suites::{self, Outcome, Patience, Stage, Suite, SuiteReport, table::gvisor_cases};
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};
use list::Mutation;
use scratch::Scratch;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The patience with kernels that are broken: those that work take seconds.
const PATIENCE: Patience =
    Patience { boot: Limits { total: Duration::from_secs(240), silence: Duration::from_secs(25) }, boot_again: Duration::from_secs(90) };

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// Only the mutations whose names or subjects contain this. The others keep the results of their last run.
    pub filter: Option<String>,
    /// Only those that have no result yet, or were not seen by the tests that should.
    pub resume: bool,
    /// Also run graft's own tests on the host.
    pub host_tests: bool,
}

/// Runs the mutations, and writes the table of all results to `target/mutations.md`. Returns the file, and what is wrong.
pub fn run(workspace: &Workspace, wish: &Wish, progress: &Progress) -> Result<(PathBuf, Vec<String>)> {
    let list = list::read(workspace)?;
    let suites = suites::build(workspace)?;
    let mut complaints = list::complaints(workspace, &list, &suites);
    if !complaints.is_empty() {
        bail!("the list of mutations is wrong:\n{}", complaints.join("\n"));
    }
    let scratch = Scratch::fill(workspace)?;
    if wish.filter.is_none() && !wish.resume {
        table::forget_all(workspace)?;
    }
    let matches = |mutation: &Mutation| wish.filter.as_ref().is_none_or(|filter| mutation.matches(filter));
    let is_settled =
        |mutation: &Mutation, result: &Option<Seen>| result.as_ref().is_some_and(|result| result.unseen_by(mutation).is_empty());
    let kept = table::kept(workspace, &list)?;
    let wanted = kept.iter().filter(|(mutation, result)| matches(mutation) && !(wish.resume && is_settled(mutation, result)));
    let wanted: Vec<&Mutation> = wanted.map(|(mutation, _)| *mutation).collect();
    let file = workspace.product("mutations.md")?;
    let packages: Vec<String> = wanted.iter().flat_map(|mutation| mutation.packages.clone()).collect();
    expect_unbroken(workspace, &scratch, &of_packages(&suites, &packages), progress)?;
    for mutation in wanted {
        progress.say(&format!("mutation: {}", mutation.name));
        let result = try_one(workspace, &scratch, mutation, &suites, wish, progress)?;
        progress.print(&result.line(mutation));
        table::keep(workspace, mutation, &result)?;
        // After each, so that an hour's work is there whenever it is ended.
        write_table(workspace, &list, &file)?;
    }
    let results = table::kept(workspace, &list)?;
    for (mutation, result) in &results {
        let unseen = result.as_ref().map_or(vec!["(never run)".to_owned()], |result| result.unseen_by(mutation));
        if !unseen.is_empty() {
            complaints.push(format!("{:?} is not seen by {}", mutation.name, unseen.join(", ")));
        }
    }
    Ok((file, complaints))
}

fn write_table(workspace: &Workspace, list: &[Mutation], file: &Path) -> Result<()> {
    let text = table::markdown(&table::kept(workspace, list)?, &gvisor_cases(workspace)?);
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

/// The suites of packages.
fn of_packages(suites: &[Suite], packages: &[String]) -> Vec<Suite> {
    suites.iter().filter(|suite| packages.contains(&suite.package)).cloned().collect()
}

/// The kernel as it is must pass, or nothing could be said of broken ones.
fn expect_unbroken(workspace: &Workspace, scratch: &Scratch, suites: &[Suite], progress: &Progress) -> Result<()> {
    progress.say("the kernel as it is");
    let Some(kernel) = scratch.build_kernel()? else {
        bail!("the kernel does not build even without a mutation");
    };
    let report = run_suites(workspace, kernel, suites, progress)?;
    if report.failures() > 0 {
        bail!("tests fail without any mutation:\n{}", report.complaints().join("\n"));
    }
    Ok(())
}

fn try_one(
    workspace: &Workspace,
    scratch: &Scratch,
    mutation: &Mutation,
    suites: &[Suite],
    wish: &Wish,
    progress: &Progress,
) -> Result<Seen> {
    let broken = scratch.apply(mutation)?;
    let Some(kernel) = scratch.build_kernel()? else {
        return Ok(Seen { builds: false, ..Seen::default() });
    };
    let report = run_suites(workspace, kernel, &of_packages(suites, &mutation.packages), progress)?;
    let host_tests = if wish.host_tests && mutation.file.starts_with("kernel/graft/") { Some(scratch.failing_host_tests()?) } else { None };
    drop(broken);
    let tests_that = |counts: &dyn Fn(&Outcome) -> bool| {
        let found = report.outcomes.iter().filter(|(_, outcome)| counts(outcome));
        found.map(|((_, test), _)| suites::table::last_name(test).to_owned()).collect::<Vec<_>>()
    };
    Ok(Seen {
        builds: true,
        failed: tests_that(&|outcome| matches!(outcome, Outcome::Failed(_))),
        not_run: tests_that(&|outcome| *outcome == Outcome::NotRun).len(),
        host_tests,
    })
}

fn run_suites(workspace: &Workspace, kernel: PathBuf, suites: &[Suite], progress: &Progress) -> Result<SuiteReport> {
    let stage = Stage::guest(workspace, "mutant", Kernel::Graft, kernel, progress)?;
    suites::run_on(&stage, suites, None, PATIENCE, progress)
}
