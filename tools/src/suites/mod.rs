//! The guest suites: test binaries built as static Linux programs, run inside a guest under either kernel, and those that test mounts
//! in a private mount namespace of the host too.
//!
//! A test that takes its kernel down, or never ends, would hide those behind it. So such a test counts as failed, and the
//! machine is booted again with the tests that are left.

mod report;
mod stage;
pub mod table;

pub use report::{Outcome, SuiteReport, TestName};
pub use stage::Stage;

use crate::boot::{Limits, Watcher};
use crate::kernel::Place;
use crate::packages::output_of;
use crate::programs::with_suite_flags;
use crate::progress::Progress;
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};
use report::{Tests, count};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long a run of suites may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// One boot.
    pub boot: Limits,
    /// For how long a machine is booted again for the tests that are left. A panic costs a second or two, a hang the whole silence.
    pub boot_again: Duration,
}

/// The patience with kernels that should work.
const PATIENCE: Patience =
    Patience { boot: Limits { total: Duration::from_secs(600), silence: Duration::from_secs(30) }, boot_again: Duration::from_secs(360) };

/// A test binary.
#[derive(Debug, Clone)]
pub struct Suite {
    /// The package and the target, as in `abi-mounts`.
    pub name: String,
    /// The package, as in `abi`.
    pub package: String,
    /// The program on the host.
    pub program: PathBuf,
    /// All its tests.
    pub tests: Vec<String>,
    /// The programs of its package, which its tests run. In a guest they lie where they lie on the host: that path was compiled in.
    pub programs: Vec<PathBuf>,
}

impl Suite {
    /// Whether it is all about mounts. The others act on what a whole machine has but once (console, memory, clocks, limits), so that
    /// they run in guests only.
    fn is_about_mounts(&self) -> bool {
        self.package != "abi" || ["abi-mount", "abi-pivot_root"].iter().any(|subject| self.name.starts_with(subject))
    }
}

/// Builds the test binaries of every package for guests.
pub fn build(workspace: &Workspace) -> Result<Vec<Suite>> {
    let packages = suite_packages(workspace)?;
    let mut command = Command::new("cargo");
    command.current_dir(workspace.root()).args(["test", "--no-run", "--message-format=json-render-diagnostics"]);
    packages.iter().for_each(|package| {
        command.args(["-p", package]);
    });
    with_suite_flags(workspace, &mut command)?;
    let output = command.stderr(Stdio::inherit()).output().context("cannot run cargo")?;
    if !output.status.success() {
        bail!("the guest suites do not build: see the messages above");
    }
    let mut suites = Vec::new();
    for Built { package, name, program, programs } in test_programs(&String::from_utf8_lossy(&output.stdout)) {
        let listed = output_of(Command::new(&program).args(["--list", "--format", "terse"]))
            .with_context(|| format!("{} does not list its tests", program.display()))?;
        let tests: Vec<String> = listed.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect();
        if !tests.is_empty() {
            suites.push(Suite { name, package, program, tests, programs });
        }
    }
    Ok(suites)
}

/// Whether a package, told by its manifest, is for guests: those below `test-suites/` and `user/` are.
pub fn is_for_guests(workspace: &Workspace, manifest: &Path) -> bool {
    ["test-suites", "user"].iter().any(|folder| manifest.starts_with(workspace.source(folder)))
}

/// The packages of the workspace that are for guests.
fn suite_packages(workspace: &Workspace) -> Result<Vec<String>> {
    let packages = workspace_packages(workspace)?.into_iter();
    Ok(packages.filter(|(_, manifest)| is_for_guests(workspace, manifest)).map(|(name, _)| name).collect())
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

/// A test program, and the programs of its package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Built {
    package: String,
    name: String,
    program: PathBuf,
    programs: Vec<PathBuf>,
}

/// The test programs in cargo's messages.
fn test_programs(messages: &str) -> Vec<Built> {
    let artifacts: Vec<Value> = messages
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter(|message: &Value| message["reason"] == "compiler-artifact" && message["executable"].is_string())
        .collect();
    let programs_of = |manifest: &Value| {
        let others = artifacts.iter().filter(|other| other["profile"]["test"] == false && other["manifest_path"] == *manifest);
        others.filter_map(|other| other["executable"].as_str().map(PathBuf::from)).collect()
    };
    let mut built: Vec<Built> = artifacts
        .iter()
        .filter(|message| message["profile"]["test"] == true)
        .filter_map(|message| {
            let package = PathBuf::from(message["manifest_path"].as_str()?);
            let package = package.parent()?.file_name()?.to_str()?.to_owned();
            let name = match message["target"]["name"].as_str()? {
                target if target != package => format!("{package}-{target}"),
                // A package's library and its program may have the same name.
                _ if message["target"]["kind"][0] == "bin" => format!("{package}-program"),
                _ => package.clone(),
            };
            let programs = programs_of(&message["manifest_path"]);
            Some(Built { package, name, program: message["executable"].as_str()?.into(), programs })
        })
        .collect();
    built.sort();
    built
}

/// Runs suites in a place. `filter` leaves only the tests whose names, or whose suites' names, contain it.
pub fn run(workspace: &Workspace, place: Place, suites: &[Suite], filter: Option<&str>, progress: &Progress) -> Result<SuiteReport> {
    let stage = match place {
        Place::Host => Stage::host(workspace)?,
        Place::Guest(kernel) => {
            let file = kernel.file(workspace, &|text| progress.say(text))?;
            Stage::guest(workspace, &kernel.to_string(), kernel, file, progress)?
        }
    };
    let wanted: Vec<Suite> = suites.iter().filter(|suite| place != Place::Host || suite.is_about_mounts()).cloned().collect();
    run_on(&stage, &wanted, filter, PATIENCE, progress)
}

/// Runs suites on a stage that is there already.
pub fn run_on(stage: &Stage, suites: &[Suite], filter: Option<&str>, patience: Patience, progress: &Progress) -> Result<SuiteReport> {
    let mut left: Vec<Tests> = suites.iter().map(|suite| Tests::of(suite, filter)).filter(|tests| !tests.names.is_empty()).collect();
    let total = count(&left);
    let mut report = SuiteReport::default();
    let started = Instant::now();
    for attempt in 0.. {
        if left.is_empty() || started.elapsed() > patience.boot_again {
            break;
        }
        let (done, failed) = (total - count(&left), report.failures());
        let mut watcher = SuiteWatcher { progress, place: stage.name(), total, done, failed };
        let recording = stage.run(&left, filter.is_none() && attempt == 0, attempt, patience.boot, &mut watcher)?;
        report.take_results(&recording, &mut left);
        if total - count(&left) == done {
            break;
        }
    }
    for tests in &left {
        report.did_not_run(tests);
    }
    Ok(report)
}

/// Shows which test is running.
struct SuiteWatcher<'a> {
    progress: &'a Progress,
    place: &'a str,
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
            let Self { place, total, done, failed, .. } = self;
            self.progress.say(&format!("suites on {place}: {done} of {total}, {failed} failed, {name}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_programs_are_found_in_cargos_messages() {
        let messages = r#"{"reason":"compiler-artifact","manifest_path":"/w/test-suites/abi/Cargo.toml","target":{"name":"mounts"},"profile":{"test":true},"executable":"/t/mounts-1"}
{"reason":"compiler-artifact","manifest_path":"/w/test-suites/abi/Cargo.toml","target":{"name":"abi"},"profile":{"test":false},"executable":null}
{"reason":"compiler-artifact","manifest_path":"/w/test-suites/abi/Cargo.toml","target":{"name":"tool","kind":["bin"]},"profile":{"test":false},"executable":"/t/tool"}
{"reason":"compiler-artifact","manifest_path":"/w/other/Cargo.toml","target":{"name":"other","kind":["bin"]},"profile":{"test":false},"executable":"/t/other"}
{"reason":"build-finished","success":true}"#;
        let (package, name) = ("abi".to_owned(), "abi-mounts".to_owned());
        let programs = vec![PathBuf::from("/t/tool")];
        assert_eq!(test_programs(messages), [Built { package, name, program: "/t/mounts-1".into(), programs }]);
    }
}
