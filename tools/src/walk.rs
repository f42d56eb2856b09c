//! The random walk: the same steps on both kernels, their answers and mount tables held side by side. A difference is shrunk to a
//! short script that both kernels can replay.

use crate::boot::{Limits, Machine, Unwatched, boot};
use crate::compare::difference;
use crate::guest::{CLOSING_LINE, busybox_image, script};
use crate::image::{Compression, Image};
use crate::kernel::Kernel;
use crate::packages::{PackageCache, output_of};
use crate::progress::Progress;
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// How long a boot may take. A single walk takes seconds, on a loaded machine minutes.
const LIMITS: Limits = Limits { total: Duration::from_secs(7200), silence: Duration::from_secs(600) };

/// Scripts in one boot: enough that booting does not count, few enough that a crash costs little.
const SCRIPTS_IN_A_BOOT: usize = 50;

/// What a guest said of one script: a digest of all that the walk printed, or how it failed.
type Digest = String;

/// A walk that the two kernels do not take alike.
#[derive(Debug)]
pub struct Difference {
    /// The seed that it was drawn from.
    pub seed: u64,
    /// The steps that are left of it.
    pub script: String,
    /// Linux's output against ours.
    pub shown: String,
}

/// Walks each seed on both kernels; the first difference, shrunk.
pub fn run(workspace: &Workspace, seeds: RangeInclusive<u64>, steps: usize, progress: &Progress) -> Result<Option<Difference>> {
    let walker = Walker::new(workspace, progress)?;
    let seeds: Vec<u64> = seeds.collect();
    for batch in seeds.chunks(SCRIPTS_IN_A_BOOT) {
        let scripts = batch.iter().map(|&seed| walker.draw(seed, steps)).collect::<Result<Vec<_>>>()?;
        progress.say(&format!("walking seeds {} to {} on both kernels", batch[0], batch[batch.len() - 1]));
        if let Some(index) = walker.differing(&scripts)?.into_iter().next() {
            let script = walker.shrink(&scripts[index])?;
            let shown = walker.difference(&script)?.context("the shrunk walk no longer differs: it depends on chance")?;
            return Ok(Some(Difference { seed: batch[index], script, shown }));
        }
    }
    Ok(None)
}

/// The seeds whose walks the kernels do not take alike. Nothing is shrunk.
pub fn differing(workspace: &Workspace, seeds: RangeInclusive<u64>, steps: usize, progress: &Progress) -> Result<Vec<u64>> {
    let walker = Walker::new(workspace, progress)?;
    let seeds: Vec<u64> = seeds.collect();
    let scripts = seeds.iter().map(|&seed| walker.draw(seed, steps)).collect::<Result<Vec<_>>>()?;
    Ok(walker.differing(&scripts)?.into_iter().map(|index| seeds[index]).collect())
}

/// Replays a script on both kernels: what differs, if anything does.
pub fn replay(workspace: &Workspace, script: &str, progress: &Progress) -> Result<Option<String>> {
    Walker::new(workspace, progress)?.difference(script)
}

struct Walker<'a> {
    workspace: &'a Workspace,
    progress: &'a Progress,
    program: PathBuf,
    base: Image,
}

impl<'a> Walker<'a> {
    fn new(workspace: &'a Workspace, progress: &'a Progress) -> Result<Self> {
        let program = crate::programs::build(workspace, "walk", "walk")?;
        let packages = PackageCache::open(workspace)?;
        let mut base = busybox_image(&packages, &|text| progress.say(text))?;
        base.file("init", 0o755, script(workspace, "tools/guest/walk-init.sh")?);
        base.program("bin/walk", &program);
        Ok(Self { workspace, progress, program, base })
    }

    fn draw(&self, seed: u64, steps: usize) -> Result<String> {
        output_of(Command::new(&self.program).args(["--draw", &seed.to_string(), &steps.to_string()]))
    }

    /// Boots a kernel with scripts; all console lines. With `show` the guest prints what the walks print, else only digests.
    fn boot(&self, kernel: Kernel, scripts: &[String], show: bool) -> Result<Vec<String>> {
        let mut image = self.base.clone();
        for (index, script) in scripts.iter().enumerate() {
            image.file(&format!("scripts/{index:04}"), 0o644, script.as_str());
        }
        let file = self.workspace.product(&format!("images/walk-{kernel}.cpio"))?;
        image.write(&file, Compression::None)?;
        let mut machine = Machine::new(kernel.file(self.workspace, &|text| self.progress.say(text))?, Some(file));
        machine.arguments = if show { "quiet loglevel=1 WALK_SHOW=1" } else { "quiet loglevel=1" }.to_owned();
        let recording = boot(&machine, LIMITS, &|line| line.ends_with(CLOSING_LINE), &mut Unwatched)?;
        if let Some(complaint) = recording.complaint()
            && kernel == Kernel::Linux
        {
            bail!("the walk on Linux: {complaint}\n{}", recording.last_lines());
        }
        Ok(recording.lines)
    }

    /// Which scripts the kernels do not take alike. A script that takes our kernel down has no digest, which differs too.
    fn differing(&self, scripts: &[String]) -> Result<Vec<usize>> {
        let linux = digests(&self.boot(Kernel::Linux, scripts, false)?);
        let graft = digests(&self.boot(Kernel::Graft, scripts, false)?);
        Ok((0..scripts.len()).filter(|index| linux.get(index) != graft.get(index)).collect())
    }

    /// Takes out steps as long as the kernels still differ.
    fn shrink(&self, script: &str) -> Result<String> {
        let mut steps: Vec<&str> = script.lines().collect();
        let mut chunk = steps.len().div_ceil(2);
        while chunk > 0 {
            self.progress.say(&format!("shrinking: {} steps are left", steps.len()));
            let candidates: Vec<Vec<&str>> = (0..steps.len()).step_by(chunk).map(|from| without(&steps, from, chunk)).collect();
            let mut smaller = None;
            for batch in candidates.chunks(SCRIPTS_IN_A_BOOT) {
                let scripts: Vec<String> = batch.iter().map(|steps| steps.join("\n") + "\n").collect();
                smaller = self.differing(&scripts)?.first().map(|&index| batch[index].clone());
                if smaller.is_some() {
                    break;
                }
            }
            match smaller {
                Some(fewer) => steps = fewer,
                None => chunk /= 2,
            }
            chunk = chunk.min(steps.len());
        }
        Ok(steps.join("\n") + "\n")
    }

    fn difference(&self, script: &str) -> Result<Option<String>> {
        let scripts = [script.to_owned()];
        let linux = shown(&self.boot(Kernel::Linux, &scripts, true)?);
        let graft = shown(&self.boot(Kernel::Graft, &scripts, true)?);
        Ok(difference(&linux, &graft))
    }
}

fn without<'s>(steps: &[&'s str], from: usize, count: usize) -> Vec<&'s str> {
    let to = (from + count).min(steps.len());
    [&steps[..from], &steps[to..]].concat()
}

/// The lines `walk: digest INDEX WORDS` of a console.
fn digests(lines: &[String]) -> BTreeMap<usize, Digest> {
    let parse = |line: &String| {
        let (index, digest) = line.split_once("walk: digest ")?.1.split_once(' ')?;
        Some((index.parse().ok()?, digest.trim().to_owned()))
    };
    lines.iter().filter_map(parse).collect()
}

/// What a walk printed: all between the markers.
fn shown(lines: &[String]) -> Vec<String> {
    let from = lines.iter().position(|line| line.ends_with("walk: begin")).map_or(lines.len(), |at| at + 1);
    lines[from..].iter().take_while(|line| !line.ends_with(CLOSING_LINE)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_read_by_index_and_a_missing_one_differs() {
        let lines = ["boot..walk: digest 0000 abc 0".to_owned(), "walk: digest 0002 def 1".to_owned()];
        let found = digests(&lines);
        assert_eq!(found.get(&0).map(String::as_str), Some("abc 0"));
        assert_eq!(found.get(&2).map(String::as_str), Some("def 1"));
        assert_eq!(found.get(&1), None);
    }

    #[test]
    fn chunks_are_taken_out() {
        assert_eq!(without(&["a", "b", "c"], 0, 2), ["c"]);
        assert_eq!(without(&["a", "b", "c"], 2, 2), ["a", "b"]);
    }

    #[test]
    fn a_walks_output_stands_between_the_markers() {
        let lines: Vec<String> = ["x", "walk: begin", "0: a = ok", "graft-tools: done"].map(str::to_owned).into();
        assert_eq!(shown(&lines), ["0: a = ok"]);
    }
}
