//! Operations on a tree of many mounts: a tmpfs with all of them directly below it.

use crate::calls::{self, Namespace};
use crate::meter::Meter;
use crate::{directory, nothing, repeat};
use std::io::{Error, Read, Result};

pub(crate) fn measure(meter: &Meter, size: usize) -> Result<()> {
    let (base, top, copy) = (directory(&format!("base{size}"))?, directory(&format!("tree{size}"))?, directory(&format!("copy{size}"))?);
    calls::mount("tree", &base, "tmpfs", 0)?;
    for number in 0..size {
        std::fs::create_dir(format!("{base}/{number}"))?;
    }
    std::fs::create_dir(format!("{base}/free"))?;
    let source = directory("source")?;
    let names: Vec<String> = (0..size).map(|number| format!("{top}/{number}")).collect();
    let begin = || calls::mount(&base, &top, "", libc::MS_BIND);
    let build = || names.iter().try_for_each(|name| calls::mount(&source, name, "", libc::MS_BIND));
    let detach = |path: &str| calls::umount(path, libc::MNT_DETACH);

    begin()?;
    meter.row("build-tree-by-bind", size, size, build, || detach(&top).and_then(|()| begin()))?;
    build()?;
    let free = format!("{top}/free");
    let one_more = repeat(50, || calls::mount(&source, &free, "", libc::MS_BIND).and_then(|()| calls::umount(&free, 0)));
    meter.row("bind-umount-in-tree", size, 50, one_more, nothing)?;
    let change_type = || {
        calls::mount("", &top, "", libc::MS_REC | libc::MS_SHARED)?;
        calls::mount("", &top, "", libc::MS_REC | libc::MS_PRIVATE)
    };
    meter.row("recursive-type-change", size, size * 2, change_type, nothing)?;
    let rbind = || calls::mount(&top, &copy, "", libc::MS_BIND | libc::MS_REC);
    meter.row("rbind", size, size, rbind, || detach(&copy))?;
    rbind()?;
    meter.row("lazy-umount", size, size, || detach(&copy), rbind)?;
    detach(&copy)?;
    let home = Namespace::current()?;
    meter.row("new-namespace-and-end", size, size, || calls::unshare_mounts().and_then(|()| home.enter()), nothing)?;
    meter.row("read-mountinfo", size, size, || read_mountinfo(size), nothing)?;
    measure_queries(meter, size)?;
    detach(&top)?;
    detach(&base)
}

fn read_mountinfo(size: usize) -> Result<()> {
    let mut file = std::fs::File::open("/proc/self/mountinfo")?;
    let mut buffer = vec![0; 65536];
    let mut lines = 0;
    loop {
        let len_bytes = file.read(&mut buffer)?;
        if len_bytes == 0 {
            break;
        }
        lines += count_lines(&buffer[..len_bytes]);
    }
    if lines < size { Err(Error::other(format!("{lines} lines only"))) } else { Ok(()) }
}

/// Without a branch for each byte, so that what is counted is the kernel's work.
fn count_lines(text: &[u8]) -> usize {
    text.chunks(255).map(|chunk| usize::from(chunk.iter().map(|&byte| u8::from(byte == b'\n')).sum::<u8>())).sum()
}

/// statmount and listmount; no row on a kernel without them.
fn measure_queries(meter: &Meter, size: usize) -> Result<()> {
    /// The caller's namespace root (`LSMT_ROOT`).
    const ROOT: u64 = u64::MAX;
    /// `STATMOUNT_MNT_BASIC`.
    const BASIC: u64 = 2;
    let mut ids = vec![0; size + 1000];
    let Ok(count) = calls::listmount(ROOT, &mut ids) else { return Ok(()) };
    let some = ids[..count.min(100)].to_vec();
    meter.row("listmount", size, size, || calls::listmount(ROOT, &mut ids).map(drop), nothing)?;
    let mut buffer = [0; 512];
    let statmounts = || some.iter().try_for_each(|&id| calls::statmount(id, BASIC, &mut buffer));
    meter.row("statmount", size, some.len(), statmounts, nothing)
}
