//! A random walk over mount operations: draws steps from a seed (or reads them from a script), has agents in several namespaces do
//! them, and prints each step's errno and every namespace's mount table. The same static program runs on every kernel; what it prints
//! may be compared byte by byte.
//!
//! `walk SEED STEPS`; `walk --script FILE`; `walk --draw SEED STEPS` prints the script of a seed. A walk ends with the line `walk ended`.

mod agent;
mod calls;
mod operation;
mod table;

use agent::Wires;
use operation::{AGENTS, Step};
use std::ffi::c_int;
use std::process::ExitCode;

/// Mounts that a namespace may hold during a walk: small, so that tables stay readable and ENOSPC comes up.
const MOUNT_MAX: u32 = 150;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [option, rest @ ..] = &arguments[..]
        && option == "--draw"
        && let Ok(steps) = steps_of(rest)
    {
        steps.iter().for_each(|step| println!("{step}"));
        return ExitCode::SUCCESS;
    }
    match steps_of(&arguments).and_then(|steps| walk(&steps).map_err(|error| error.to_string())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("walk: {error}");
            ExitCode::FAILURE
        }
    }
}

fn steps_of(arguments: &[String]) -> Result<Vec<Step>, String> {
    let usage = "usage: walk SEED STEPS, or walk --script FILE (one step a line: AGENT OPERATION OPERANDS…)";
    match arguments {
        [option, file] if option == "--script" => {
            let text = std::fs::read_to_string(file).map_err(|error| format!("cannot read {file}: {error}"))?;
            text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')).map(str::parse).collect()
        }
        [seed, steps] => {
            let seed = seed.parse().map_err(|_| usage)?;
            Ok(operation::draw(seed, steps.parse().map_err(|_| usage)?))
        }
        _ => Err(usage.into()),
    }
}

/// The controller: it stays in its own namespace and only looks.
struct Controller {
    wires: Wires,
    proc_fd: c_int,
    /// Process of each agent; 0 for one that is not there.
    pids: [i32; AGENTS],
    /// The tables printed last, to print only what changed.
    shown: [String; AGENTS],
}

fn walk(steps: &[Step]) -> std::io::Result<()> {
    let wires = Wires::new()?;
    let proc_fd = agent::open_proc()?;
    std::fs::write("/proc/sys/fs/mount-max", MOUNT_MAX.to_string())?;
    let mut controller = Controller { wires, proc_fd, pids: [0; AGENTS], shown: [const { String::new() }; AGENTS] };
    controller.start_first()?;
    controller.show();
    for (number, step) in steps.iter().enumerate() {
        let Some(errno) = controller.perform(step)? else { continue };
        println!("{number}: {step} = {}", errno_name(errno));
        controller.show();
    }
    controller.end();
    std::fs::write("/proc/sys/fs/mount-max", "100000")?;
    println!("walk ended");
    Ok(())
}

fn errno_name(errno: i32) -> String {
    const NAMES: [(i32, &str); 15] = [
        (0, "ok"),
        (agent::UNMOUNTED_TARGET, "EINVAL or ENOENT (X7)"),
        (libc::EPERM, "EPERM"),
        (libc::ENOENT, "ENOENT"),
        (libc::ESRCH, "ESRCH"),
        (libc::EBADF, "EBADF"),
        (libc::EAGAIN, "EAGAIN"),
        (libc::EBUSY, "EBUSY"),
        (libc::EEXIST, "EEXIST"),
        (libc::EXDEV, "EXDEV"),
        (libc::ENOTDIR, "ENOTDIR"),
        (libc::EINVAL, "EINVAL"),
        (libc::ENOSPC, "ENOSPC"),
        (libc::ENOTEMPTY, "ENOTEMPTY"),
        (libc::ELOOP, "ELOOP"),
    ];
    NAMES.iter().find(|(number, _)| *number == errno).map_or_else(|| format!("errno {errno}"), |(_, name)| (*name).to_string())
}

impl Controller {
    /// The first agent: in a private namespace whose root is a tmpfs of its own, so that nothing of the machine shows.
    fn start_first(&mut self) -> std::io::Result<()> {
        // SAFETY: this process has one thread.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            let ready = prepare_world();
            agent::write_all(&self.wires.answers[0].1, &format!("{} 0\n", ready.err().unwrap_or(0)));
            agent::run(0, &self.wires, self.proc_fd);
        }
        self.pids[0] = pid;
        match agent::read_line(&self.wires.answers[0].0).as_deref() {
            Some("0 0") => Ok(()),
            other => Err(std::io::Error::other(format!("the walk's world cannot be made (is this root?): {other:?}"))),
        }
    }

    /// Has an agent do a step; its errno, or `None` for a step that names no agent that is there (or would start one that is).
    fn perform(&mut self, step: &Step) -> std::io::Result<Option<i32>> {
        if self.pids[step.agent] == 0 {
            return Ok(None);
        }
        let words: Vec<&str> = step.words.iter().map(String::as_str).collect();
        if let ["fork", child, _] = words[..] {
            let child: usize = child.parse().unwrap_or(0);
            if self.pids[child] != 0 {
                return Ok(None);
            }
            let (errno, pid) = self.ask(step)?;
            if errno == 0 {
                self.pids[child] = pid;
            } else {
                reap(pid);
            }
            return Ok(Some(errno));
        }
        if words == ["exit"] {
            // The last agent stays: a walk without one could do nothing.
            if self.pids.iter().filter(|&&pid| pid != 0).count() == 1 {
                return Ok(None);
            }
            self.dismiss(step.agent);
            return Ok(Some(0));
        }
        Ok(Some(self.ask(step)?.0))
    }

    fn ask(&self, step: &Step) -> std::io::Result<(i32, i32)> {
        let pids = self.pids.map(|pid| pid.to_string()).join(" ");
        agent::write_all(&self.wires.steps[step.agent].1, &format!("{pids}|{step}\n"));
        let line = agent::read_line(&self.wires.answers[step.agent].0).unwrap_or_default();
        let mut numbers = line.split(' ').map(str::parse);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(errno)), Some(Ok(value))) => Ok((errno, value)),
            _ => Err(std::io::Error::other(format!("agent {} gave no answer to {step}: {line:?}", step.agent))),
        }
    }

    fn dismiss(&mut self, agent: usize) {
        agent::write_all(&self.wires.steps[agent].1, &format!("|{agent} exit\n"));
        reap(self.pids[agent]);
        self.pids[agent] = 0;
        self.shown[agent].clear();
    }

    fn end(&mut self) {
        for agent in 0..AGENTS {
            if self.pids[agent] != 0 {
                self.dismiss(agent);
            }
        }
    }

    /// Prints the tables that changed.
    fn show(&mut self) {
        let mut numbers = table::Numbers::default();
        for agent in 0..AGENTS {
            if self.pids[agent] == 0 {
                continue;
            }
            let table = match agent::proc_file(self.proc_fd, &format!("{}/mountinfo", self.pids[agent])) {
                Ok(mountinfo) => table::normalise(&mountinfo, &mut numbers),
                Err(error) => format!("  unreadable: {error}\n"),
            };
            if table != self.shown[agent] {
                print!(" [{agent}]\n{table}");
                self.shown[agent] = table;
            }
        }
    }
}

fn reap(pid: i32) {
    if pid <= 0 {
        return;
    }
    let mut status = 0;
    // SAFETY: `status` outlives the call.
    unsafe { libc::waitpid(pid, &mut status, 0) };
}

/// A namespace of its own with a tmpfs called `base` as its root, and the directories `/x` and `/y`.
fn prepare_world() -> Result<(), i32> {
    calls::unshare(libc::CLONE_NEWNS)?;
    calls::mount(None, "/", None, libc::MS_REC | libc::MS_PRIVATE)?;
    calls::mount(Some("base"), "/tmp", Some("tmpfs"), 0)?;
    calls::change_directory("/tmp")?;
    for directory in operation::DIRECTORIES.iter().chain(&["x/t/s/k"]) {
        calls::make_directory(directory)?;
    }
    calls::mount(Some("."), "/", None, libc::MS_MOVE)?;
    calls::change_root(".")?;
    calls::change_directory("/")?;
    Ok(())
}
