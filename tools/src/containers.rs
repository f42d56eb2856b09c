//! The container scenarios: Debian's unmodified util-linux, bubblewrap, crun and runc, and FUSE programs, in a guest that looks like a host, each
//! scenario one shell function of `test-suites/containers`, run one after the other, with a limit and a line of result each.
//!
//! A scenario that takes its kernel down, or never ends, would hide those behind it. So it counts as failed, and the machine is
//! booted again with the scenarios that are left.

use crate::boot::{Limits, Machine, Recording, Watcher, boot};
use crate::console::after;
use crate::fuse_programs;
use crate::guest::{CLOSING_LINE, host_image, script};
use crate::image::{Compression, Image};
use crate::kernel::Kernel;
use crate::packages::PackageCache;
use crate::progress::Progress;
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Where the scenarios are.
const FOLDER: &str = "test-suites/containers";

/// The file of the scenarios for the published examples of `libfuse-fs`.
const EXAMPLES_FILE: &str = "fuse/libfuse-fs.sh";

/// The folder of the scenarios that both runtimes go through.
const RUNTIMES: &str = "runtimes";

/// What the guest has beside busybox, bash and jq, which the scenarios are written with.
const PACKAGES: [&str; 11] =
    ["bash", "bsdutils", "bubblewrap", "busybox-static", "crun", "jq", "mount", "procps", "runc", "util-linux", "util-linux-extra"];

/// What it has beside for the scenarios of FUSE programs, and for no others: it is much.
const FUSE_PACKAGES: [&str; 5] = ["bindfs", "fuse-overlayfs", "fuse3", "squashfs-tools", "squashfuse"];

/// The folder of those scenarios.
const FUSE: &str = "fuse";

/// How long one scenario may take in the guest, unless it says otherwise: an emulated runc needs seconds for each command.
const SCENARIO_LIMIT_SECONDS: u64 = 90;

/// How long a boot may take. A scenario prints nothing until it ends, so silence is longer than the longest limit.
const LIMITS: Limits = Limits { total: Duration::from_secs(3000), silence: Duration::from_secs(330) };

/// For how long a machine is booted again for the scenarios that are left.
const BOOT_AGAIN_LIMIT: Duration = Duration::from_secs(1200);

/// One scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scenario {
    /// The program and the function: `runc/exit_status_is_passed_on`.
    pub name: String,
    /// The program that it is about.
    program: String,
    /// The file below `scenarios/`.
    file: String,
    /// In the guest.
    limit_seconds: u64,
}

/// How a scenario ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It passed, in so many seconds.
    Passed(f64),
    /// It failed after so many seconds, and printed this.
    Failed(f64, Vec<String>),
    /// It took the machine with it, or the machine never came to it.
    Lost(String),
}

impl Outcome {
    fn cell(&self) -> String {
        match self {
            Self::Passed(seconds) => format!("ok {seconds:.1} s"),
            Self::Failed(seconds, _) => format!("FAILED {seconds:.1} s"),
            Self::Lost(_) => "FAILED".to_owned(),
        }
    }
}

/// The outcomes on one kernel, by the scenarios' names.
pub type Outcomes = BTreeMap<String, Outcome>;

/// The scenarios in the order in which they run; `filter` leaves those whose names contain it.
pub fn list(workspace: &Workspace, filter: Option<&str>) -> Result<Vec<Scenario>> {
    let mut scenarios = Vec::new();
    for program in ["util-linux", "bubblewrap", RUNTIMES, "crun", "runc", FUSE] {
        let folder = workspace.source(&format!("{FOLDER}/scenarios/{program}"));
        for file in files_of(&folder)? {
            let name = file.file_name().and_then(|name| name.to_str()).context("a file name that is not UTF-8")?;
            let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
            scenarios.extend(scenarios_in(&text, program, name));
        }
    }
    // Those of one program together, in the order of the files.
    scenarios.sort_by_key(|scenario| ["util-linux", "bubblewrap", "crun", "runc", FUSE].iter().position(|name| *name == scenario.program));
    scenarios.retain(|scenario| filter.is_none_or(|filter| scenario.name.contains(filter)));
    if scenarios.is_empty() {
        bail!("no scenario's name contains {:?}", filter.unwrap_or_default());
    }
    Ok(scenarios)
}

/// Those of `make test`, which has six minutes for them. The two runtimes ask the kernel for much the same, so that one of them goes
/// through all, and crun through what it does in an order of its own: propagation, and users. The published examples of `libfuse-fs`
/// take minutes to build, and our own programs on the same crate do what they do. `make containers` leaves nothing out.
pub fn for_test(mut scenarios: Vec<Scenario>) -> Vec<Scenario> {
    let own = ["runtimes/propagation.sh", "runtimes/users.sh"];
    scenarios.retain(|scenario| {
        let file = scenario.file.as_str();
        file != EXAMPLES_FILE && (scenario.program != "crun" || own.contains(&file))
    });
    scenarios
}

/// The files of a folder by name; none where there is no folder.
fn files_of(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read the folder {}", folder.display()))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<PathBuf>>>()?;
    files.sort();
    Ok(files)
}

/// The scenarios in the text of a file: its functions called `scenario_…`. A comment `# Limit: N s` before one sets its limit.
fn scenarios_in(text: &str, folder: &str, file: &str) -> Vec<Scenario> {
    let programs = if folder == RUNTIMES { vec!["crun", "runc"] } else { vec![folder] };
    let mut found = Vec::new();
    let mut limit_seconds = SCENARIO_LIMIT_SECONDS;
    for line in text.lines() {
        if let Some(function) = line.strip_prefix("scenario_").and_then(|rest| rest.split_once("()")) {
            found.extend(programs.iter().map(|program| Scenario {
                name: format!("{program}/{}", function.0),
                program: (*program).to_owned(),
                file: format!("{folder}/{file}"),
                limit_seconds,
            }));
        }
        let limit = line.strip_prefix("# Limit: ").and_then(|rest| rest.strip_suffix(" s")).and_then(|number| number.parse().ok());
        if !line.starts_with('#') || limit.is_some() {
            limit_seconds = limit.unwrap_or(SCENARIO_LIMIT_SECONDS);
        }
    }
    found
}

/// Runs scenarios on a kernel: on as many machines at a time as the host has processors, each with its share of them.
pub fn run(workspace: &Workspace, kernel: Kernel, scenarios: &[Scenario], progress: &Progress) -> Result<Outcomes> {
    let say = |text: &str| progress.say(text);
    let base = base_image(workspace, kernel, scenarios, &say)?;
    let kernel_file = kernel.file(workspace, &say)?;
    let shares = shares(scenarios, std::thread::available_parallelism().map_or(1, NonZeroUsize::get));
    let watcher = ScenarioWatcher { progress, kernel, total: scenarios.len(), begun: &AtomicUsize::new(0) };
    say(&format!("booting {kernel} with the containers' image"));
    std::thread::scope(|scope| {
        let run_share = |(number, share)| {
            let lane = Lane { workspace, kernel, kernel_file: &kernel_file, base: &base, number, watcher };
            scope.spawn(move || lane.run(share))
        };
        let lanes: Vec<_> = shares.into_iter().enumerate().map(run_share).collect();
        let mut outcomes = Outcomes::new();
        for lane in lanes {
            outcomes.extend(lane.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        Ok(outcomes)
    })
}

/// Deals scenarios out like cards, so that each share has its part of every program.
fn shares(scenarios: &[Scenario], count: usize) -> Vec<Vec<Scenario>> {
    let dealt = (0..count).map(|first| scenarios.iter().skip(first).step_by(count).cloned().collect());
    dealt.filter(|share: &Vec<Scenario>| !share.is_empty()).collect()
}

/// One machine, and what it is made of.
struct Lane<'a> {
    workspace: &'a Workspace,
    kernel: Kernel,
    kernel_file: &'a Path,
    base: &'a Image,
    number: usize,
    watcher: ScenarioWatcher<'a>,
}

impl Lane<'_> {
    /// Boots the machine, and again for those that are left when one takes it down.
    fn run(mut self, mut left: Vec<Scenario>) -> Result<Outcomes> {
        let started = Instant::now();
        let mut outcomes = Outcomes::new();
        for attempt in 0.. {
            if left.is_empty() || (attempt > 0 && started.elapsed() > BOOT_AGAIN_LIMIT) {
                break;
            }
            let recording = self.boot(&left)?;
            let log = format!("containers-{}-{}-{attempt}", self.kernel, self.number);
            self.workspace.keep_log(&log, &recording.lines)?;
            let before = left.len();
            take_outcomes(&recording, &mut left, &mut outcomes);
            if left.len() == before {
                break;
            }
        }
        for scenario in left {
            outcomes.insert(scenario.name, Outcome::Lost("the machine never came to it".to_owned()));
        }
        Ok(outcomes)
    }

    fn boot(&mut self, scenarios: &[Scenario]) -> Result<Recording> {
        let mut image = self.base.clone();
        image.file("containers/list", 0o644, list_file(scenarios));
        let file = self.workspace.product(&format!("images/containers-{}-{}.cpio", self.kernel, self.number))?;
        image.write(&file, Compression::None)?;
        let mut machine = Machine::new(self.kernel_file.to_owned(), Some(file));
        machine.arguments = "quiet".to_owned();
        machine.memory_mib = 1024;
        boot(&machine, LIMITS, &|line| line.ends_with(CLOSING_LINE), &mut self.watcher)
    }
}

/// The image without the list of what to run.
fn base_image(workspace: &Workspace, kernel: Kernel, scenarios: &[Scenario], progress: &dyn Fn(&str)) -> Result<Image> {
    let packages = PackageCache::open(workspace)?;
    let with_fuse = scenarios.iter().any(|scenario| scenario.program == FUSE);
    let names = [&PACKAGES[..], if with_fuse { &FUSE_PACKAGES } else { &[] }].concat();
    let mut image = host_image(&packages, &names, progress)?;
    if with_fuse {
        progress("building the FUSE programs");
        fuse_programs::add_ours(workspace, &mut image)?;
        if scenarios.iter().any(|scenario| scenario.file == EXAMPLES_FILE) {
            fuse_programs::add_examples(workspace, &mut image)?;
        }
        image.link("etc/mtab", "../proc/self/mounts");
    }
    if kernel == Kernel::Linux {
        image.file("modules/overlay.ko", 0o644, packages.linux_module("fs/overlayfs/overlay.ko", progress)?);
    }
    let scripts = [
        ("init", "tools/guest/containers-init.sh"),
        ("sbin/containers-session", "tools/guest/containers-session.sh"),
        ("sbin/host-mounts", "tools/guest/host-mounts.sh"),
    ];
    for (path, source) in scripts {
        image.file(path, 0o755, script(workspace, source)?);
    }
    image.file("etc/inittab", 0o644, script(workspace, "tools/guest/containers-inittab")?);
    image.tree_at("containers", &workspace.source(FOLDER), &|_| true)?;
    Ok(image)
}

/// What the guest is to run: name, program, file and limit, a line each.
fn list_file(scenarios: &[Scenario]) -> String {
    let line = |scenario: &Scenario| format!("{} {} {} {}\n", scenario.name, scenario.program, scenario.file, scenario.limit_seconds);
    scenarios.iter().map(line).collect()
}

/// Moves the scenarios that ended from `left` to `outcomes`, one that took the machine down among them.
fn take_outcomes(recording: &Recording, left: &mut Vec<Scenario>, outcomes: &mut Outcomes) {
    let mut running: Option<String> = None;
    let mut output: Vec<String> = Vec::new();
    for line in &recording.lines {
        if let Some(name) = after(line, "scenario: begin ") {
            running = Some(name.to_owned());
            output.clear();
        } else if let Some(result) = after(line, "scenario: end ") {
            if let Some((name, outcome)) = outcome_of(result, &output) {
                outcomes.insert(name, outcome);
            }
            running = None;
        } else if running.is_some() {
            output.push(line.clone());
        }
    }
    if let Some(name) = running {
        let complaint = recording.complaint().unwrap_or_else(|| "the guest ended in the middle of it".to_owned());
        outcomes.insert(name, Outcome::Lost(format!("{complaint}; the console's last lines:\n{}", recording.last_lines())));
    }
    left.retain(|scenario| !outcomes.contains_key(&scenario.name));
}

/// Reads `ok NAME SECONDS` or `FAILED NAME SECONDS`.
fn outcome_of(result: &str, output: &[String]) -> Option<(String, Outcome)> {
    let mut words = result.split_whitespace();
    let (verdict, name, seconds) = (words.next()?, words.next()?, words.next()?.parse().ok()?);
    let outcome = if verdict == "ok" { Outcome::Passed(seconds) } else { Outcome::Failed(seconds, output.to_vec()) };
    Some((name.to_owned(), outcome))
}

/// The failures among the outcomes, each with what it printed.
pub fn complaints(scenarios: &[Scenario], outcomes: &Outcomes, kernel: Kernel) -> Vec<String> {
    let mut complaints = Vec::new();
    for scenario in scenarios {
        let words = match outcomes.get(&scenario.name) {
            Some(Outcome::Passed(_)) => continue,
            Some(Outcome::Failed(_, output)) => output.iter().map(|line| format!("\n    {line}")).collect(),
            Some(Outcome::Lost(why)) => format!(": {why}"),
            None => ": it did not run".to_owned(),
        };
        complaints.push(format!("{} on {kernel}{words}", scenario.name));
    }
    complaints
}

/// The table of scenarios: a row each, a column for each kernel, and the sums.
pub fn table(scenarios: &[Scenario], columns: &[(Kernel, Outcomes)]) -> String {
    let mut table = format!("| scenario |{}\n", columns.iter().map(|(kernel, _)| format!(" {kernel} |")).collect::<String>());
    table.push_str(&format!("|---|{}\n", "---|".repeat(columns.len())));
    for scenario in scenarios {
        let cell = |outcomes: &Outcomes| outcomes.get(&scenario.name).map_or_else(|| "not run".to_owned(), Outcome::cell);
        let cells: String = columns.iter().map(|(_, outcomes)| format!(" {} |", cell(outcomes))).collect();
        table.push_str(&format!("| {} |{cells}\n", scenario.name));
    }
    let sum = |outcomes: &Outcomes| {
        let passed: Vec<f64> =
            outcomes.values().filter_map(|outcome| if let Outcome::Passed(time) = outcome { Some(*time) } else { None }).collect();
        format!(" {} of {} in {:.0} s |", passed.len(), scenarios.len(), passed.iter().fold(0.0, |sum, time| sum + time))
    };
    table.push_str(&format!("| passed |{}\n", columns.iter().map(|(_, outcomes)| sum(outcomes)).collect::<String>()));
    table
}

/// Shows which scenario began last, on whichever machine.
#[derive(Clone, Copy)]
struct ScenarioWatcher<'a> {
    progress: &'a Progress,
    kernel: Kernel,
    total: usize,
    begun: &'a AtomicUsize,
}

impl Watcher for ScenarioWatcher<'_> {
    fn line(&mut self, line: &str) {
        self.progress.console(line);
        if let Some(name) = after(line, "scenario: begin ") {
            let begun = self.begun.fetch_add(1, Ordering::Relaxed) + 1;
            let Self { kernel, total, .. } = self;
            self.progress.say(&format!("scenarios on {kernel}: {begun} of {total}, {name}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::End;

    fn scenario(name: &str) -> Scenario {
        Scenario { name: name.to_owned(), program: "runc".to_owned(), file: "runc/a.sh".to_owned(), limit_seconds: 9 }
    }

    #[test]
    fn functions_are_scenarios_and_comments_set_limits() {
        let text = "# About.\nhelper() {\n}\n\n# One.\n# Limit: 200 s\nscenario_one() {\n}\n\n# Two.\nscenario_two() {\n}\n";
        let found = scenarios_in(text, "runtimes", "a.sh");
        let shown: Vec<(&str, u64)> = found.iter().map(|scenario| (scenario.name.as_str(), scenario.limit_seconds)).collect();
        let usual = SCENARIO_LIMIT_SECONDS;
        assert_eq!(shown, [("crun/one", 200), ("runc/one", 200), ("crun/two", usual), ("runc/two", usual)]);
        assert_eq!(found[1].file, "runtimes/a.sh");
        assert_eq!(list_file(&found[1..2]), "runc/one runc runtimes/a.sh 200\n");
    }

    #[test]
    fn scenarios_are_dealt_out_and_none_is_forgotten() {
        let all = ["runc/a", "runc/b", "runc/c"].map(scenario);
        let names =
            |count| shares(&all, count).iter().map(|share| share.iter().map(|one| one.name.clone()).collect()).collect::<Vec<Vec<_>>>();
        assert_eq!(names(1), [["runc/a", "runc/b", "runc/c"]]);
        assert_eq!(names(2), [vec!["runc/a", "runc/c"], vec!["runc/b"]]);
        assert_eq!(names(5), [["runc/a"], ["runc/b"], ["runc/c"]]);
    }

    #[test]
    fn a_test_run_leaves_out_of_crun_what_runc_does_alike() {
        let of = |file: &str| scenarios_in("scenario_one() {\n", "runtimes", file);
        let names = |scenarios: Vec<Scenario>| scenarios.into_iter().map(|scenario| scenario.name).collect::<Vec<_>>();
        assert_eq!(names(for_test(of("mounts.sh"))), ["runc/one"]);
        assert_eq!(names(for_test(of("users.sh"))), ["crun/one", "runc/one"]);
    }

    #[test]
    fn outcomes_are_read_and_a_lost_machine_fails_the_one_that_ran() {
        let console = "scenario: begin runc/a\nscenario: end ok runc/a 1.25\nscenario: begin runc/b\n| words\nscenario: end FAILED runc/b 2.0\n\
            scenario: begin runc/c\nkernel panic: oops";
        let lines = console.lines().map(str::to_owned).collect();
        let end = End::Panic("kernel panic: oops".to_owned());
        let recording = Recording { lines, end, closed: false, wall: Duration::ZERO };
        let all = ["runc/a", "runc/b", "runc/c", "runc/d"].map(scenario);
        let (mut left, mut outcomes) = (all.to_vec(), Outcomes::new());
        take_outcomes(&recording, &mut left, &mut outcomes);
        assert_eq!(outcomes["runc/a"], Outcome::Passed(1.25));
        assert_eq!(outcomes["runc/b"], Outcome::Failed(2.0, vec!["| words".to_owned()]));
        assert!(matches!(&outcomes["runc/c"], Outcome::Lost(why) if why.contains("oops")));
        assert_eq!(left, [scenario("runc/d")]);
        let complaints = complaints(&all, &outcomes, Kernel::Graft);
        assert_eq!(complaints.len(), 3);
        assert_eq!(complaints[0], "runc/b on Graft\n    | words");
        let table = table(&all[..2], &[(Kernel::Linux, outcomes)]);
        assert_eq!(
            table,
            "| scenario | Linux |\n|---|---|\n| runc/a | ok 1.2 s |\n| runc/b | FAILED 2.0 s |\n| passed | 1 of 2 in 1 s |\n"
        );
    }
}
