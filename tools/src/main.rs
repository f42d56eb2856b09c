//! `graft-tools`: what people run on the host. It builds guest images from Debian's packages, boots our kernel or a real
//! Linux with them, runs the guest suites and holds the two kernels side by side.

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use graft_tools::backtrace;
use graft_tools::bad_input;
use graft_tools::bench;
use graft_tools::boot::{self, Limits, Machine, Unwatched, Watcher};
use graft_tools::boot_checks;
use graft_tools::boot_time;
use graft_tools::compare::{difference, guest_output};
use graft_tools::containers;
use graft_tools::demo;
use graft_tools::foreign::Foreign;
use graft_tools::kernel::{Kernel, Kernels, Place, Places};
use graft_tools::mutations::{self, Wish};
use graft_tools::progress::Progress;
use graft_tools::rules;
use graft_tools::suites::{
    self,
    table::{self, Column},
};
use graft_tools::testing;
use graft_tools::walk;
use graft_tools::workspace::Workspace;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Builds guest images, boots kernels with them and compares what they do.
#[derive(Debug, Parser)]
#[command(name = "graft-tools", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Boot a kernel with an initramfs of your own and show its console.
    Boot {
        /// Which kernel.
        #[arg(long, default_value = "graft")]
        kernel: Kernel,
        /// The initramfs: a newc cpio archive, plain or gzipped.
        initramfs: PathBuf,
        /// Words for the kernel's command line, after `console=ttyS0 panic=-1 rdinit=/init`.
        #[arg(long, default_value = "")]
        append: String,
        /// Guest memory in MiB.
        #[arg(long, default_value_t = 512)]
        memory: u32,
        /// Let the terminal be the guest's console, without a limit.
        #[arg(long)]
        interactive: bool,
        /// End with a failure after so many seconds.
        #[arg(long, default_value_t = 300)]
        limit: u64,
        /// A line of the console that contains this says that the guest has done all it should.
        #[arg(long)]
        until: Option<String>,
    },
    /// Boot a kernel with the demonstration, and leave a shell on this terminal.
    Run {
        /// Which kernel.
        #[arg(long, default_value = "graft")]
        kernel: Kernel,
        /// Halt before the first instruction and wait for a debugger.
        #[arg(long)]
        debug: bool,
        /// End after the demonstration, as where standard input is no terminal.
        #[arg(long)]
        no_shell: bool,
    },
    /// Run everything that must hold; the last line counts what passed and what failed.
    Test {
        /// Show the consoles of the guests that run suites.
        #[arg(long)]
        console: bool,
    },
    /// Boot both kernels with an initramfs of your own, and show where the outputs of its programs differ.
    Compare {
        /// The initramfs: a newc cpio archive, plain or gzipped. Its init must end the machine.
        initramfs: PathBuf,
        /// Words for the kernels' command line.
        #[arg(long, default_value = "quiet")]
        append: String,
        /// End with a failure after so many seconds.
        #[arg(long, default_value_t = 300)]
        limit: u64,
    },
    /// Build the guest suites and run them: in a guest of either kernel, and on the host's own those that test mounts.
    Suites {
        /// On which kernels.
        #[arg(long, default_value = "graft")]
        kernel: Places,
        /// Only tests whose names contain this.
        #[arg(long)]
        filter: Option<String>,
        /// Show the guest's console.
        #[arg(long)]
        console: bool,
    },
    /// Run the container scenarios: util-linux, bubblewrap, crun and runc, as Debian has them.
    Containers {
        /// Which kernels.
        #[arg(long, default_value = "graft")]
        kernel: Kernels,
        /// Only scenarios whose names (`runc/…`) contain this.
        #[arg(long)]
        filter: Option<String>,
        /// Show the guest's console.
        #[arg(long)]
        console: bool,
    },
    /// Boot an image of Debian's programs, driven by a long script, and print what it printed; under both kernels: the difference.
    Foreign {
        /// Which image.
        image: Foreign,
        /// Which kernels.
        #[arg(long, default_value = "both")]
        kernel: Kernels,
    },
    /// Check the command line, the console, the memory and the ends of a boot.
    BootChecks {
        /// Which kernel.
        #[arg(long, default_value = "graft")]
        kernel: Kernel,
    },
    /// Boot images that are cut short, damaged or hostile.
    BadInput {
        /// Which kernel.
        #[arg(long, default_value = "graft")]
        kernel: Kernel,
    },
    /// Measure how long both kernels take until init runs.
    BootTime {
        /// Which kernels.
        #[arg(long, default_value = "both")]
        kernel: Kernels,
    },
    /// Hold the rules of semantics.md against the code and the tests that cite them.
    Rules,
    /// Break the kernel on purpose, in one place at a time, and see which of the subject's tests notice.
    Mutations {
        /// Only the mutations whose names or subjects (`fuse`, `overlayfs`, …) contain this.
        #[arg(long)]
        filter: Option<String>,
        /// Only those that have no result yet, or were not seen by the tests that should.
        #[arg(long)]
        resume: bool,
        /// Run graft's own tests on the host too.
        #[arg(long)]
        host_tests: bool,
    },
    /// Walk at random over mount operations on both kernels, and hold every step's answer and mount tables side by side.
    Walk {
        /// The seeds: `FIRST..LAST`, both included.
        #[arg(long, default_value = "1..20")]
        seeds: String,
        /// Steps of each walk.
        #[arg(long, default_value_t = 200)]
        steps: usize,
        /// Replay a script (as a difference leaves it) instead.
        #[arg(long)]
        script: Option<PathBuf>,
    },
    /// Measure operations on mounts on both kernels, in instructions, and print the table.
    Bench {
        /// The largest number of mounts, peers or slaves on both kernels.
        #[arg(long, default_value_t = 1000)]
        largest: usize,
        /// The same for ours alone.
        #[arg(long)]
        largest_graft: Option<usize>,
        /// Only the rows that have this in their names.
        #[arg(long)]
        rows: Option<String>,
    },
    /// Print the file of a kernel, fetching Linux if need be.
    KernelFile {
        /// Which kernel.
        kernel: Kernel,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments.command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("graft-tools: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Does a task; whether it came out right.
fn run(task: Task) -> Result<bool> {
    let workspace = Workspace::find()?;
    match task {
        Task::Boot { kernel, initramfs, append, memory, interactive, limit, until } => {
            let file = kernel.file(&workspace, &|text| eprintln!("{text}"))?;
            let mut machine = Machine::new(file, Some(initramfs));
            machine.arguments = append;
            machine.memory_mib = memory;
            if interactive { boot_interactively(&machine) } else { boot_and_show(&machine, limit, until) }
        }
        Task::Run { kernel, debug, no_shell } => {
            let shell = !no_shell && std::io::stdin().is_terminal();
            run_demonstration(&workspace, kernel, debug, shell)
        }
        Task::Test { console } => {
            let tally = testing::run(&workspace, console);
            println!("{} passed, {} failed", tally.passed, tally.failed);
            Ok(tally.failed == 0)
        }
        Task::Compare { initramfs, append, limit } => compare(&workspace, &initramfs, &append, limit),
        Task::Suites { kernel, filter, console } => run_suites(&workspace, kernel, filter.as_deref(), console),
        Task::Containers { kernel, filter, console } => run_containers(&workspace, kernel, filter.as_deref(), console),
        Task::Foreign { image, kernel } => run_foreign(&workspace, image, kernel),
        Task::BootChecks { kernel } => show_verdicts(|progress| boot_checks::run(&workspace, kernel, progress)),
        Task::BadInput { kernel } => show_verdicts(|progress| bad_input::run(&workspace, kernel, progress)),
        Task::BootTime { kernel } => show_boot_times(&workspace, kernel),
        Task::Rules => check_rules(&workspace),
        Task::Mutations { filter, resume, host_tests } => run_mutations(&workspace, &Wish { filter, resume, host_tests }),
        Task::Walk { seeds, steps, script } => run_walk(&workspace, &seeds, steps, script),
        Task::Bench { largest, largest_graft, rows } => run_bench(&workspace, largest, largest_graft.unwrap_or(largest), rows.as_deref()),
        Task::KernelFile { kernel } => {
            println!("{}", kernel.file(&workspace, &|text| eprintln!("{text}"))?.display());
            Ok(true)
        }
    }
}

/// Gives the terminal to the guest until QEMU ends.
fn boot_interactively(machine: &Machine) -> Result<bool> {
    let status = machine.command().status().context("cannot run QEMU: run `tools/setup.sh`, which installs it")?;
    Ok(status.success())
}

/// Passes the console's bytes on as they come.
struct Stream;

impl Watcher for Stream {
    fn bytes(&mut self, bytes: &[u8]) {
        let mut output = std::io::stdout();
        // Whoever closed our output wants no more of it.
        let _ = output.write_all(bytes).and_then(|()| output.flush());
    }
}

fn boot_and_show(machine: &Machine, limit_seconds: u64, until: Option<String>) -> Result<bool> {
    let total = Duration::from_secs(limit_seconds);
    let closes = |line: &str| until.as_deref().is_some_and(|text| line.contains(text));
    let recording = boot::boot(machine, Limits { total, silence: total }, &closes, &mut Stream)?;
    let well = recording.end == boot::End::PoweredOff && (until.is_none() || recording.closed);
    if let boot::End::Panic(_) = recording.end {
        // The console was shown as it came, without the names of the backtrace's functions.
        backtrace::named(&machine.kernel, &recording.lines).iter().for_each(|line| eprintln!("    {line}"));
    }
    eprintln!("graft-tools: {} after {:.1} s", recording.end, recording.wall.as_secs_f64());
    Ok(well)
}

fn compare(workspace: &Workspace, initramfs: &Path, append: &str, limit_seconds: u64) -> Result<bool> {
    let progress = Progress::new(false);
    let total = Duration::from_secs(limit_seconds);
    let mut outputs = Vec::new();
    for &kernel in Kernels::Both.list() {
        progress.say(&format!("booting {kernel}"));
        let mut machine = Machine::new(kernel.file(workspace, &|text| progress.say(text))?, Some(initramfs.to_path_buf()));
        machine.arguments = append.to_owned();
        let recording = boot::boot(&machine, Limits { total, silence: total }, &|_| false, &mut Unwatched)?;
        if recording.end != boot::End::PoweredOff {
            progress.print(&format!("{kernel}: {}; the console's last lines:\n{}", recording.end, recording.last_lines()));
            return Ok(false);
        }
        outputs.push(guest_output(&recording.lines));
    }
    let found = difference(&outputs[0], &outputs[1]);
    progress.print(found.as_deref().unwrap_or("the same on both kernels"));
    Ok(found.is_none())
}

fn run_demonstration(workspace: &Workspace, kernel: Kernel, debug: bool, shell: bool) -> Result<bool> {
    let progress = Progress::new(false);
    let mut machine = demo::machine(workspace, kernel, shell, &|text| progress.say(text))?;
    drop(progress);
    if debug {
        // -s: a GDB stub on port 1234. -S: the processor waits for the debugger's `continue`.
        machine.qemu_arguments.extend(["-s", "-S"].map(str::to_owned));
        eprintln!("QEMU waits for a debugger on port 1234. In another terminal:");
        eprintln!("    gdb {} -ex 'target remote :1234'", machine.kernel.display());
        eprintln!("then `hbreak` (a breakpoint in memory would be overwritten by the boot) and `continue`.");
        eprintln!("To end QEMU: Ctrl-A, then x.");
        return boot_interactively(&machine);
    }
    if shell {
        return boot_interactively(&machine);
    }
    let recording = demo::show(&machine, &mut Stream)?;
    match demo::complaint(&recording) {
        None => Ok(true),
        Some(complaint) => {
            eprintln!("graft-tools: {complaint}");
            Ok(false)
        }
    }
}

fn run_mutations(workspace: &Workspace, wish: &Wish) -> Result<bool> {
    let progress = Progress::new(false);
    let (file, complaints) = mutations::run(workspace, wish, &progress)?;
    complaints.iter().for_each(|complaint| progress.print(&format!("FAILED {complaint}")));
    progress.print(&format!("the table: {}", file.display()));
    Ok(complaints.is_empty())
}

fn run_walk(workspace: &Workspace, seeds: &str, steps: usize, script: Option<PathBuf>) -> Result<bool> {
    let progress = Progress::new(false);
    if let Some(file) = script {
        let script = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let difference = walk::replay(workspace, &script, &progress)?;
        progress.print(difference.as_deref().unwrap_or("the script gives no difference"));
        return Ok(difference.is_none());
    }
    let (first, last) = seeds.split_once("..").unwrap_or((seeds, seeds));
    let number = |text: &str| text.parse::<u64>().with_context(|| format!("seeds are FIRST..LAST, not {seeds:?}"));
    let (first, last) = (number(first)?, number(last)?);
    let Some(found) = walk::run(workspace, first..=last, steps, &progress)? else {
        progress.print(&format!("seeds {first} to {last}, {steps} steps each: no difference"));
        return Ok(true);
    };
    let file = workspace.product(&format!("walks/seed-{}.script", found.seed))?;
    std::fs::write(&file, &found.script).with_context(|| format!("cannot write {}", file.display()))?;
    let replay = format!("graft-tools walk --script {}", file.display());
    progress.print(&format!("seed {} differs; shrunk to {} (`{replay}`):\n{}\n{}", found.seed, file.display(), found.script, found.shown));
    Ok(false)
}

fn run_bench(workspace: &Workspace, largest: usize, largest_graft: usize, rows: Option<&str>) -> Result<bool> {
    let progress = Progress::new(false);
    let linux = bench::measure(workspace, Kernel::Linux, largest, rows, &progress)?;
    let graft = bench::measure(workspace, Kernel::Graft, largest_graft, rows, &progress)?;
    progress.print(&bench::table(workspace, &graft, &linux)?);
    Ok(true)
}

fn run_foreign(workspace: &Workspace, image: Foreign, kernels: Kernels) -> Result<bool> {
    let progress = Progress::new(false);
    let mut outputs = Vec::new();
    let mut well = true;
    for &kernel in kernels.list() {
        progress.say(&format!("{image} on {kernel}"));
        let recording = image.run(workspace, kernel, &|text| progress.say(text), &mut Unwatched)?;
        if let Some(complaint) = recording.complaint() {
            progress.print(&format!("{image} on {kernel}: {complaint}\n{}", recording.last_lines()));
            well = false;
        }
        outputs.push(image.output(&recording));
    }
    match outputs.as_slice() {
        [linux, graft] => match difference(linux, graft) {
            Some(difference) => {
                progress.print(&difference);
                well = false;
            }
            None => progress.print(&format!("{image}: {} lines, the same on both kernels", linux.len())),
        },
        only => only.iter().flatten().for_each(|line| progress.print(line)),
    }
    Ok(well)
}

/// Names and what was wrong with each, if anything was.
type Verdicts = Vec<(String, Option<String>)>;

fn show_verdicts(run: impl FnOnce(&dyn Fn(&str)) -> Result<Verdicts>) -> Result<bool> {
    let progress = Progress::new(false);
    let results = run(&|text| progress.say(text))?;
    for (name, wrong) in &results {
        match wrong {
            None => progress.print(&format!("ok      {name}")),
            Some(wrong) => progress.print(&format!("FAILED  {name}: {wrong}")),
        }
    }
    Ok(results.iter().all(|(_, wrong)| wrong.is_none()))
}

fn show_boot_times(workspace: &Workspace, kernels: Kernels) -> Result<bool> {
    let progress = Progress::new(false);
    progress.print("kernel  guest seconds until init  wall seconds with firmware");
    for &kernel in kernels.list() {
        let time = boot_time::measure(workspace, kernel, &|text| progress.say(text))?;
        let wall_seconds = time.wall.as_secs_f64();
        progress.print(&format!("{:<6}  {:>24.2}  {wall_seconds:>26.2}", kernel.to_string(), time.guest_seconds));
    }
    Ok(true)
}

fn check_rules(workspace: &Workspace) -> Result<bool> {
    let findings = rules::check(workspace)?;
    println!("{} rules", findings.rules);
    println!("cited by no code ({}): {}", findings.without_code.len(), findings.without_code.join(" "));
    println!("cited by no test ({}): {}", findings.without_test.len(), findings.without_test.join(" "));
    println!("citations of no rule ({}):", findings.unknown.len());
    findings.unknown.iter().for_each(|place| println!("    {place}"));
    Ok(findings.is_clean())
}

fn run_suites(workspace: &Workspace, places: Places, filter: Option<&str>, console: bool) -> Result<bool> {
    let suites = suites::build(workspace)?;
    let mut columns: Vec<Column> = Vec::new();
    for &place in places.list() {
        let progress = Progress::new(console);
        let mut report = suites::run(workspace, place, &suites, filter, &progress)?;
        if place == Place::Guest(Kernel::Graft) {
            columns.iter().for_each(|judge| report.hold_against(&judge.report));
        }
        report.complaints().iter().for_each(|failure| progress.print(&format!("FAILED on {place}: {failure}")));
        columns.push(Column { place: table::title_of(workspace, place)?, report });
    }
    let cases = table::gvisor_cases(workspace)?;
    let missing = if filter.is_none() { table::missing_cases(&suites, &cases) } else { Vec::new() };
    missing.iter().for_each(|case| println!("MISSING {case}"));
    let file = workspace.product("suites.md")?;
    std::fs::write(&file, table::full(&suites, &columns, &cases)).with_context(|| format!("cannot write {}", file.display()))?;
    print!("{}", table::summary(&suites, &columns));
    println!("every test: {}", file.display());
    let well = |column: &Column| column.report.failures() == 0 && column.report.passed() > 0;
    Ok(missing.is_empty() && columns.iter().all(well))
}

fn run_containers(workspace: &Workspace, kernels: Kernels, filter: Option<&str>, console: bool) -> Result<bool> {
    let scenarios = containers::list(workspace, filter)?;
    let mut columns = Vec::new();
    let mut well = true;
    for &kernel in kernels.list() {
        let progress = Progress::new(console);
        let outcomes = containers::run(workspace, kernel, &scenarios, &progress)?;
        let complaints = containers::complaints(&scenarios, &outcomes, kernel);
        complaints.iter().for_each(|failure| progress.print(&format!("FAILED {failure}")));
        well &= complaints.is_empty();
        columns.push((kernel, outcomes));
    }
    let table = containers::table(&scenarios, &columns);
    print!("{table}");
    if filter.is_none() {
        let file = workspace.product("containers.md")?;
        std::fs::write(&file, table).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(well)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_boot_takes_a_kernel_and_an_image() {
        let arguments = Arguments::try_parse_from(["graft-tools", "boot", "--kernel", "linux", "x.cpio", "--append", "quiet"]);
        match arguments.unwrap().command {
            Task::Boot { kernel, initramfs, append, interactive, .. } => {
                assert_eq!((kernel, initramfs, append.as_str(), interactive), (Kernel::Linux, "x.cpio".into(), "quiet", false));
            }
            other => panic!("{other:?}"),
        }
        assert!(Arguments::try_parse_from(["graft-tools", "boot", "--kernel", "bsd", "x"]).is_err());
        assert!(Arguments::try_parse_from(["graft-tools", "boot"]).is_err());
    }
}
