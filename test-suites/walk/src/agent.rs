//! An agent: a process of its own with its root, working directory, descriptors and mount namespace, that does one step at a time.

use crate::calls::{self, Answer, MountAttributes};
use crate::operation::{AGENTS, DIRECTORIES, Step};
use std::ffi::{c_int, c_long};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};

/// The pipes between the controller and each agent. Every process holds all of them, so that an agent forked later finds its own.
pub(crate) struct Wires {
    /// Steps, from the controller.
    pub steps: Vec<(OwnedFd, OwnedFd)>,
    /// Answers, to the controller.
    pub answers: Vec<(OwnedFd, OwnedFd)>,
}

impl Wires {
    pub(crate) fn new() -> std::io::Result<Self> {
        let pipes = || (0..AGENTS).map(|_| pipe()).collect::<std::io::Result<Vec<_>>>();
        Ok(Self { steps: pipes()?, answers: pipes()? })
    }
}

fn pipe() -> std::io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = std::io::pipe()?;
    Ok((reader.into(), writer.into()))
}

/// The answer for a mount onto something unmounted, which is EINVAL in Linux 6.6 and ENOENT in 6.12 (rule X7).
pub(crate) const UNMOUNTED_TARGET: i32 = 9007;

/// What an agent has beside its process's own state.
struct Agent<'a> {
    number: usize,
    wires: &'a Wires,
    /// `/proc` as it was at the start, for finding other agents whatever the root is now.
    proc_fd: c_int,
    held: Vec<c_int>,
    trees: Vec<c_int>,
    /// A child that could not enter its namespace and has ended: the controller, whose child it is, reaps it.
    failed_child: c_long,
}

/// Runs agent `number` until it is told to exit. Does not return.
pub(crate) fn run(number: usize, wires: &Wires, proc_fd: c_int) -> ! {
    let mut agent = Agent { number, wires, proc_fd, held: Vec::new(), trees: Vec::new(), failed_child: 0 };
    loop {
        // A reader of its own for each line: after a fork both sides must see the pipe empty.
        let Some(line) = read_line(&wires.steps[agent.number].0) else { std::process::exit(1) };
        let (pids, line) = line.split_once('|').unwrap_or(("", &line));
        let pids: Vec<i32> = pids.split(' ').filter_map(|pid| pid.parse().ok()).collect();
        let step: Step = match line.parse() {
            Ok(step) => step,
            Err(error) => {
                eprintln!("{error}");
                std::process::exit(1)
            }
        };
        if step.words.first().is_some_and(|word| word == "exit") {
            std::process::exit(0);
        }
        let answer = match agent.perform(&step, &pids) {
            Ok(value) => format!("0 {value}\n"),
            Err(libc::EINVAL | libc::ENOENT) if agent.mounts_on_an_unmounted_place(&step) => format!("{UNMOUNTED_TARGET} 0\n"),
            Err(errno) => format!("{errno} {}\n", std::mem::take(&mut agent.failed_child)),
        };
        write_all(&wires.answers[agent.number].1, &answer);
    }
}

/// One line of a pipe, byte by byte; `None` at its end.
pub(crate) fn read_line(fd: &OwnedFd) -> Option<String> {
    let mut reader = BufReader::with_capacity(1, File::from(fd.try_clone().ok()?));
    let mut line = String::new();
    (reader.read_line(&mut line).ok()? > 0).then(|| line.trim_end().to_string())
}

pub(crate) fn write_all(fd: &OwnedFd, text: &str) {
    if let Ok(fd) = fd.try_clone() {
        let _ = File::from(fd).write_all(text.as_bytes());
    }
}

/// `MS_*` of the four flags that a walk sets: read-only, nosuid, nodev, noexec.
fn mount_flags(text: &str) -> u64 {
    let bits: u64 = text.parse().unwrap_or(0);
    let flags = [libc::MS_RDONLY, libc::MS_NOSUID, libc::MS_NODEV, libc::MS_NOEXEC];
    flags.iter().enumerate().filter(|(bit, _)| bits & (1 << bit) != 0).fold(0, |all, (_, flag)| all | flag)
}

fn propagation_flag(name: &str) -> u64 {
    match name.trim_start_matches("rec-") {
        "shared" => libc::MS_SHARED,
        "slave" => libc::MS_SLAVE,
        "private" => libc::MS_PRIVATE,
        "unbindable" => libc::MS_UNBINDABLE,
        _ => 0,
    }
}

impl Agent<'_> {
    /// Whether the step mounts something on a mount that is not in the namespace (any more), as far as mountinfo tells.
    fn mounts_on_an_unmounted_place(&self, step: &Step) -> bool {
        let words: Vec<&str> = step.words.iter().map(String::as_str).collect();
        let (["mount", target, _] | ["bind" | "rbind" | "move" | "beneath" | "attach" | "pivot", _, target]) = words[..] else {
            return false;
        };
        let Ok(mount) = calls::mount_number(target) else { return false };
        let Ok(mountinfo) = proc_file(self.proc_fd, "self/mountinfo") else { return false };
        !mountinfo.lines().any(|line| line.split(' ').next() == Some(&mount.to_string()))
    }

    fn perform(&mut self, step: &Step, pids: &[i32]) -> Result<c_long, Answer> {
        let words: Vec<&str> = step.words.iter().map(String::as_str).collect();
        match words[..] {
            ["mount", target, source] => self.mount_tmpfs(target, source),
            ["bind", source, target] => calls::mount(Some(source), target, None, libc::MS_BIND),
            ["rbind", source, target] => calls::mount(Some(source), target, None, libc::MS_BIND | libc::MS_REC),
            ["move", source, target] => calls::mount(Some(source), target, None, libc::MS_MOVE),
            ["beneath", source, target] => calls::move_mount(libc::AT_FDCWD, source, target, libc::MOVE_MOUNT_BENEATH),
            ["set-group", from, to] => calls::move_mount(libc::AT_FDCWD, from, to, libc::MOVE_MOUNT_SET_GROUP),
            ["type", target, kind] => change_type(target, kind),
            ["umount", target, how] => calls::umount(target, umount_flags(how)),
            ["mkdir", path] => calls::make_directory(path),
            ["rmdir", path] => calls::remove_directory(path),
            ["rename", from, to] => calls::rename(from, to),
            ["pivot", new_root, put_old] => calls::pivot_root(new_root, put_old),
            ["chdir", path] => calls::change_directory(path),
            ["chroot", path] => calls::change_root(path),
            ["hold", path] => {
                self.held.push(calls::open_path(path)? as c_int);
                Ok(0)
            }
            ["drop", index] => close_one(&mut self.held, index),
            ["open-tree", path] => self.open_tree(path, 0),
            ["open-tree-rec", path] => self.open_tree(path, libc::AT_RECURSIVE as u32),
            ["attach", index, target] => self.attach(index, target),
            ["remount", target, flags] => calls::mount(None, target, None, libc::MS_REMOUNT | mount_flags(flags)),
            ["bind-remount", target, flags] => calls::mount(None, target, None, libc::MS_REMOUNT | libc::MS_BIND | mount_flags(flags)),
            ["setattr", path, set, clear, propagation, recursive] => {
                let attributes = MountAttributes {
                    set: mount_flags(set),
                    clear: mount_flags(clear),
                    propagation: propagation_flag(propagation),
                    user_namespace_fd: 0,
                };
                calls::mount_setattr(path, if recursive == "rec" { libc::AT_RECURSIVE } else { 0 }, &attributes)
            }
            ["fork", child, how] => self.fork(child, how),
            ["setns", other] => self.set_namespace(other, pids),
            _ => {
                eprintln!("no such step: {step}");
                std::process::exit(1)
            }
        }
    }

    /// A tmpfs with the walk's directories on it. Made through the new mount, not by path: the place may be covered.
    fn mount_tmpfs(&mut self, target: &str, source: &str) -> Result<c_long, Answer> {
        calls::mount(Some(source), target, Some("tmpfs"), 0)?;
        for directory in DIRECTORIES {
            // Fails where a propagated copy or a lock shows something else at the place; the same on every kernel.
            let _ = calls::make_directory(&format!("{target}/{directory}"));
        }
        Ok(0)
    }

    fn open_tree(&mut self, path: &str, flags: u32) -> Result<c_long, Answer> {
        let tree = calls::open_tree(path, libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | flags)?;
        self.trees.push(tree as c_int);
        Ok(0)
    }

    /// Attaches a detached tree and closes its descriptor, attached or not.
    fn attach(&mut self, index: &str, target: &str) -> Result<c_long, Answer> {
        let index: usize = index.parse().unwrap_or(0);
        if index >= self.trees.len() {
            return Err(libc::EBADF);
        }
        let tree = self.trees.remove(index);
        let attached = calls::move_mount(tree, "", target, libc::MOVE_MOUNT_F_EMPTY_PATH);
        calls::close(tree)?;
        attached
    }

    /// Starts another agent beside this one; its pid.
    fn fork(&mut self, child: &str, how: &str) -> Result<c_long, Answer> {
        let (told, tell) = pipe().map_err(|error| error.raw_os_error().unwrap_or(libc::EIO))?;
        let pid = calls::fork_sibling()?;
        if pid != 0 {
            // The child tells how it went before the controller hears of it.
            drop(tell);
            let answer = read_line(&told);
            return match answer.and_then(|answer| answer.parse().ok()) {
                Some(0) => Ok(pid),
                Some(errno) => {
                    self.failed_child = pid;
                    Err(errno)
                }
                None => Err(libc::EIO),
            };
        }
        for fd in self.held.drain(..).chain(self.trees.drain(..)) {
            let _ = calls::close(fd);
        }
        let started = match how {
            "mnt" => calls::unshare(libc::CLONE_NEWNS),
            "user" => calls::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS),
            _ => Ok(0),
        };
        write_all(&tell, &format!("{}\n", started.err().unwrap_or(0)));
        if started.is_err() {
            std::process::exit(0);
        }
        drop((told, tell));
        let number = child.parse().unwrap_or(AGENTS - 1);
        run(number, self.wires, self.proc_fd)
    }

    /// Enters another agent's mount namespace.
    fn set_namespace(&mut self, other: &str, pids: &[i32]) -> Result<c_long, Answer> {
        let pid = other.parse().ok().and_then(|other: usize| pids.get(other).copied()).filter(|&pid| pid > 0);
        let file = calls::open_at(self.proc_fd, &format!("{}/ns/mnt", pid.ok_or(libc::ESRCH)?))?;
        let entered = calls::set_namespace(file as c_int, libc::CLONE_NEWNS);
        calls::close(file as c_int)?;
        entered
    }
}

fn change_type(target: &str, kind: &str) -> Result<c_long, Answer> {
    let (name, recursive) = match kind.strip_prefix('r') {
        Some(name) => (name, libc::MS_REC),
        None => (kind, 0),
    };
    calls::mount(None, target, None, propagation_flag(name) | recursive)
}

fn umount_flags(how: &str) -> c_int {
    match how {
        "lazy" => libc::MNT_DETACH,
        "expire" => libc::MNT_EXPIRE,
        "nofollow" => libc::UMOUNT_NOFOLLOW,
        _ => 0,
    }
}

fn close_one(descriptors: &mut Vec<c_int>, index: &str) -> Result<c_long, Answer> {
    let index: usize = index.parse().unwrap_or(0);
    if index >= descriptors.len() {
        return Err(libc::EBADF);
    }
    calls::close(descriptors.remove(index))
}

/// `/proc` as a descriptor that survives every change of root.
pub(crate) fn open_proc() -> std::io::Result<c_int> {
    Ok(OwnedFd::from(File::open("/proc")?).into_raw_fd())
}

/// Borrowed for the lifetime of the process.
pub(crate) fn proc_file(proc_fd: c_int, path: &str) -> std::io::Result<String> {
    let fd = calls::open_at(proc_fd, path).map_err(std::io::Error::from_raw_os_error)?;
    // SAFETY: the descriptor was just opened and belongs to nobody else.
    let file = unsafe { OwnedFd::from_raw_fd(fd as c_int) };
    debug_assert!(file.as_raw_fd() >= 0);
    std::io::read_to_string(File::from(file))
}
