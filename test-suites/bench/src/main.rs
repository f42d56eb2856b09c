//! What operations on mounts cost. Run in a guest that counts instructions as time (`-icount shift=0,sleep=off`), once on each kernel;
//! each row is printed as `row NAME SIZE NANOSECONDS-PER-OPERATION`, and the host program makes the table of ratios.
//!
//! `mount-bench LARGEST-SIZE`: sizes are 10, 100, … up to it.

mod calls;

use calls::{NamespaceHolder, now_ns};
use std::ffi::CString;
use std::io::{Read, Result};
use std::process::ExitCode;

/// The directory that everything happens below: a tmpfs of its own.
const TOP: &str = "/tmp/bench";

fn main() -> ExitCode {
    let largest = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1000);
    match run(largest) {
        Ok(()) => {
            println!("bench ended");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("mount-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(largest: usize) -> Result<()> {
    calls::unshare_mounts()?;
    calls::mount("none", "/", "", libc::MS_REC | libc::MS_PRIVATE)?;
    std::fs::create_dir_all(TOP)?;
    calls::mount("bench", TOP, "tmpfs", 0)?;
    std::fs::write("/proc/sys/fs/mount-max", "1000000")?;
    single_operations()?;
    for size in std::iter::successors(Some(10), |size| Some(size * 10)).take_while(|&size| size <= largest) {
        Tree::new(size)?.measure()?;
        receivers("peers", size, libc::MS_SHARED)?;
        receivers("slaves", size, libc::MS_SLAVE)?;
        if size <= 1000 {
            namespaces(size)?;
        }
    }
    std::fs::write("/proc/sys/fs/mount-max", "100000")?;
    calls::umount(TOP, libc::MNT_DETACH)
}

/// Prints a row: the time of `count` operations, each.
fn row(name: &str, size: usize, count: usize, operations: impl FnOnce() -> Result<()>) -> Result<()> {
    let begin = now_ns();
    operations().map_err(|error| std::io::Error::new(error.kind(), format!("{name} at {size}: {error}")))?;
    println!("row {name} {size} {}", (now_ns() - begin) / count as u64);
    Ok(())
}

fn repeat(count: usize, mut operation: impl FnMut() -> Result<()>) -> impl FnOnce() -> Result<()> {
    move || (0..count).try_for_each(|_| operation())
}

fn directory(name: &str) -> Result<String> {
    let path = format!("{TOP}/{name}");
    std::fs::create_dir_all(&path)?;
    Ok(path)
}

fn single_operations() -> Result<()> {
    let (source, target) = (directory("source")?, directory("target")?);
    let path = |text: &str| CString::new(text).unwrap_or_default();
    row("system-call", 1, 10_000, || {
        (0..10_000).for_each(|_| calls::null_call());
        Ok(())
    })?;
    row("tmpfs-mount-umount", 1, 200, repeat(200, || calls::mount("t", &target, "tmpfs", 0).and_then(|()| calls::umount(&target, 0))))?;
    row("bind-umount", 1, 200, repeat(200, || calls::mount(&source, &target, "", libc::MS_BIND).and_then(|()| calls::umount(&target, 0))))?;
    calls::mount("t", &target, "tmpfs", 0)?;
    let mounted = path(&target);
    row("stat-across-a-mount", 1, 2000, repeat(2000, || calls::stat(&mounted)))?;
    for _ in 1..64 {
        calls::mount("t", &target, "tmpfs", 0)?;
    }
    row("stat-through-64-mounts", 64, 2000, repeat(2000, || calls::stat(&mounted)))?;
    for _ in 0..64 {
        calls::umount(&target, 0)?;
    }
    Ok(())
}

/// A tmpfs with `size` mounts directly below it.
struct Tree {
    size: usize,
    top: String,
    copy: String,
}

impl Tree {
    fn new(size: usize) -> Result<Self> {
        let (top, copy) = (directory(&format!("tree{size}"))?, directory(&format!("copy{size}"))?);
        calls::mount("tree", &top, "tmpfs", 0)?;
        for number in 0..size {
            std::fs::create_dir(format!("{top}/{number}"))?;
        }
        std::fs::create_dir(format!("{top}/free"))?;
        Ok(Self { size, top, copy })
    }

    fn measure(&self) -> Result<()> {
        let Self { size, ref top, ref copy } = *self;
        let names: Vec<String> = (0..size).map(|number| format!("{top}/{number}")).collect();
        let source = directory("source")?;
        row("build-tree-by-bind", size, size, || names.iter().try_for_each(|name| calls::mount(&source, name, "", libc::MS_BIND)))?;
        let free = format!("{top}/free");
        row(
            "bind-umount-in-tree",
            size,
            50,
            repeat(50, || {
                calls::mount(&source, &free, "", libc::MS_BIND)?;
                calls::umount(&free, 0)
            }),
        )?;
        row("recursive-type-change", size, size * 2, || {
            calls::mount("", top, "", libc::MS_REC | libc::MS_SHARED)?;
            calls::mount("", top, "", libc::MS_REC | libc::MS_PRIVATE)
        })?;
        row("rbind", size, size, || calls::mount(top, copy, "", libc::MS_BIND | libc::MS_REC))?;
        row("lazy-umount", size, size, || calls::umount(copy, libc::MNT_DETACH))?;
        row("new-namespace-and-end", size, size, || NamespaceHolder::new().map(drop))?;
        row("read-mountinfo", size, size, || {
            let mut text = Vec::new();
            std::fs::File::open("/proc/self/mountinfo")?.read_to_end(&mut text)?;
            let lines = text.iter().filter(|&&byte| byte == b'\n').count();
            if lines < size { Err(std::io::Error::other(format!("{lines} lines only"))) } else { Ok(()) }
        })?;
        self.measure_queries()?;
        calls::umount(top, libc::MNT_DETACH)
    }

    /// statmount and listmount; no row on a kernel without them.
    fn measure_queries(&self) -> Result<()> {
        /// The caller's namespace root (`LSMT_ROOT`).
        const ROOT: u64 = u64::MAX;
        /// `STATMOUNT_MNT_BASIC`.
        const BASIC: u64 = 2;
        let mut ids = vec![0; self.size + 1000];
        let Ok(count) = calls::listmount(ROOT, &mut ids) else { return Ok(()) };
        row("listmount", self.size, self.size, || calls::listmount(ROOT, &mut ids).map(drop))?;
        let some = &ids[..count.min(100)];
        let mut buffer = [0; 512];
        row("statmount", self.size, some.len(), || some.iter().try_for_each(|&id| calls::statmount(id, BASIC, &mut buffer)))
    }
}

/// Mounts and unmounts where `size` mounts receive what happens on one.
fn receivers(name: &str, size: usize, kind: u64) -> Result<()> {
    let (origin, receivers) = (directory(&format!("{name}{size}"))?, directory(&format!("{name}-of{size}"))?);
    calls::mount("origin", &origin, "tmpfs", 0)?;
    calls::mount("receivers", &receivers, "tmpfs", 0)?;
    let place = format!("{origin}/place");
    std::fs::create_dir(&place)?;
    calls::mount("", &origin, "", libc::MS_SHARED)?;
    for number in 0..size {
        let target = format!("{receivers}/{number}");
        std::fs::create_dir(&target)?;
        calls::mount(&origin, &target, "", libc::MS_BIND)?;
        if kind == libc::MS_SLAVE {
            calls::mount("", &target, "", libc::MS_SLAVE)?;
        }
    }
    row(&format!("mount-into-{name}"), size, size, || calls::mount("t", &place, "tmpfs", 0))?;
    row(&format!("umount-from-{name}"), size, size, || calls::umount(&place, 0))?;
    calls::umount(&receivers, libc::MNT_DETACH)?;
    calls::umount(&origin, libc::MNT_DETACH)
}

/// The same with a copy of the receiving mount in each of `size` namespaces.
fn namespaces(size: usize) -> Result<()> {
    let origin = directory(&format!("namespaces{size}"))?;
    calls::mount("origin", &origin, "tmpfs", 0)?;
    let place = format!("{origin}/place");
    std::fs::create_dir(&place)?;
    calls::mount("", &origin, "", libc::MS_SHARED)?;
    let holders: Vec<_> = (0..size).map(|_| NamespaceHolder::new()).collect::<Result<_>>()?;
    row("mount-into-namespaces", size, size, || calls::mount("t", &place, "tmpfs", 0))?;
    row("umount-from-namespaces", size, size, || calls::umount(&place, 0))?;
    drop(holders);
    calls::umount(&origin, libc::MNT_DETACH)
}
