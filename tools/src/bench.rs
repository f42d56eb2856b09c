//! What operations on mounts cost on our kernel and on Linux, in instructions of the guest: `-icount shift=0` makes each instruction
//! one step of the guest's time-stamp counter, so that the numbers do not depend on the host.

use crate::boot::{Limits, Machine, Unwatched, boot};
use crate::guest::{CLOSING_LINE, busybox_image, script};
use crate::image::Compression;
use crate::kernel::Kernel;
use crate::packages::PackageCache;
use crate::programs;
use crate::progress::Progress;
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

/// How long the benchmark may take on one kernel.
const LIMITS: Limits = Limits { total: Duration::from_secs(1500), silence: Duration::from_secs(400) };

/// What is to be reached: at most this part of Linux's instructions.
const TARGET: f64 = 0.5;
/// The same where a server in user space does most of the work, the same on both kernels.
const SERVED_TARGET: f64 = 1.0;
/// Names of such rows begin with it.
const SERVED: &str = "fuse-";
/// What counts as growing: so many times the cost of a unit at the smallest size of the row.
const GROWTH: f64 = 1.25;

/// Operation and size, in the order of the program.
type Row = (String, usize);

/// Instructions for one operation (or one unit of it), by row.
pub type Costs = BTreeMap<Row, u64>;

/// Runs the benchmark on a kernel up to a size; with `rows` only those that have it in their names.
pub fn measure(workspace: &Workspace, kernel: Kernel, largest: usize, rows: Option<&str>, progress: &Progress) -> Result<Costs> {
    let program = programs::build(workspace, "mount-bench", "mount-bench")?;
    let server = programs::build(workspace, "fuse-volumes", "passthrough")?;
    let packages = PackageCache::open(workspace)?;
    let mut image = busybox_image(&packages, &|text| progress.say(text))?;
    image.program("bin/mount-bench", &program);
    // It serves what the rows about FUSE measure.
    image.program("bin/passthrough", &server);
    image.file("init", 0o755, script(workspace, "tools/guest/bench-init.sh")?);
    let file = workspace.product(&format!("images/bench-{kernel}.cpio"))?;
    image.write(&file, Compression::None)?;
    let mut machine = Machine::new(kernel.file(workspace, &|text| progress.say(text))?, Some(file));
    machine.memory_mib = 2048;
    machine.arguments = format!("quiet loglevel=1 BENCH_LARGEST={largest} BENCH_ROWS={}", rows.unwrap_or_default());
    machine.qemu_arguments = ["-icount", "shift=0,sleep=off"].map(str::to_owned).to_vec();
    progress.say(&format!("the benchmark on {kernel}, sizes up to {largest}"));
    let recording = boot(&machine, LIMITS, &|line| line.ends_with(CLOSING_LINE), &mut Unwatched)?;
    let ended = recording.lines.iter().any(|line| line == "bench ended");
    if let Some(complaint) = recording.complaint().or((!ended).then(|| "the benchmark did not come to its end".to_owned())) {
        bail!("the benchmark on {kernel}: {complaint}\n{}", recording.last_lines());
    }
    Ok(recording.lines.iter().filter_map(|line| parse(line)).collect())
}

/// `row NAME SIZE COST`.
fn parse(line: &str) -> Option<(Row, u64)> {
    let words: Vec<&str> = line.split_once("row ")?.1.split_whitespace().collect();
    let [name, size, cost] = words[..] else { return None };
    Some(((name.to_owned(), size.parse().ok()?), cost.parse().ok()?))
}

/// The table of both kernels, as Markdown, and written to `target/bench.md`. The last column says where a target is missed.
pub fn table(workspace: &Workspace, graft: &Costs, linux: &Costs) -> Result<String> {
    let text = render(graft, linux);
    let file = workspace.product("bench.md")?;
    std::fs::write(&file, &text).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(text)
}

fn render(graft: &Costs, linux: &Costs) -> String {
    let mut text = String::from("| operation | size | Graft | Linux | ratio | |\n|---|---:|---:|---:|---:|---|\n");
    let mut smallest: Option<(&str, u64)> = None;
    for ((name, size), &cost) in graft {
        let first = *smallest.filter(|(first, _)| first == name).get_or_insert((name, cost));
        smallest = Some(first);
        let mut marks = Vec::new();
        if cost as f64 > first.1 as f64 * GROWTH {
            marks.push("grows");
        }
        let (theirs, ratio) = match linux.get(&(name.clone(), *size)) {
            Some(&linux) => {
                let ratio = cost as f64 / linux.max(1) as f64;
                if name.starts_with(SERVED) {
                    marks.extend((ratio > SERVED_TARGET).then_some("over Linux's"));
                } else if ratio > TARGET {
                    marks.push("over half");
                }
                (linux.to_string(), format!("{ratio:.2}"))
            }
            None => (String::from("-"), String::from("-")),
        };
        let _ = writeln!(text, "| {name} | {size} | {cost} | {theirs} | {ratio} | {} |", marks.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_and_other_lines_passed_over() {
        assert_eq!(parse("row rbind 1000 523"), Some((("rbind".to_owned(), 1000), 523)));
        assert_eq!(parse("bench ended"), None);
        assert_eq!(parse("row broken"), None);
    }

    #[test]
    fn rows_that_miss_a_target_are_marked() {
        let costs =
            |costs: &[(&str, usize, u64)]| costs.iter().map(|&(name, size, cost)| ((name.to_owned(), size), cost)).collect::<Costs>();
        let graft = costs(&[("a", 10, 40), ("a", 100, 60), ("b", 10, 90), ("c", 10, 1), ("fuse-d", 1, 99), ("fuse-e", 1, 101)]);
        let text = render(&graft, &costs(&[("a", 10, 100), ("b", 10, 100), ("fuse-d", 1, 100), ("fuse-e", 1, 100)]));
        let rows: Vec<&str> = text.lines().skip(2).collect();
        let expected = [
            "| a | 10 | 40 | 100 | 0.40 |  |",
            "| a | 100 | 60 | - | - | grows |",
            "| b | 10 | 90 | 100 | 0.90 | over half |",
            "| c | 10 | 1 | - | - |  |",
            "| fuse-d | 1 | 99 | 100 | 0.99 |  |",
            "| fuse-e | 1 | 101 | 100 | 1.01 | over Linux's |",
        ];
        assert_eq!(rows, expected);
    }
}
