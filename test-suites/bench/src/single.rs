//! Operations whose cost has nothing to do with how many mounts there are.

use crate::calls;
use crate::meter::Meter;
use crate::{directory, nothing, repeat};
use std::ffi::CString;
use std::io::Result;

pub(crate) fn measure(meter: &Meter) -> Result<()> {
    let (source, target) = (directory("source")?, directory("target")?);
    let mounted = CString::new(target.as_str())?;
    let null_calls = repeat(10_000, || {
        calls::null_call();
        Ok(())
    });
    meter.row("system-call", 1, 10_000, null_calls, nothing)?;
    let stat_source = CString::new(source.as_str())?;
    meter.row("stat", 1, 2000, repeat(2000, || calls::stat(&stat_source)), nothing)?;
    let tmpfs = repeat(200, || calls::mount("t", &target, "tmpfs", 0).and_then(|()| calls::umount(&target, 0)));
    meter.row("tmpfs-mount-umount", 1, 200, tmpfs, nothing)?;
    let bind = repeat(200, || calls::mount(&source, &target, "", libc::MS_BIND).and_then(|()| calls::umount(&target, 0)));
    meter.row("bind-umount", 1, 200, bind, nothing)?;
    calls::mount("t", &target, "tmpfs", 0)?;
    meter.row("stat-across-a-mount", 1, 2000, repeat(2000, || calls::stat(&mounted)), nothing)?;
    for _ in 1..64 {
        calls::mount("t", &target, "tmpfs", 0)?;
    }
    meter.row("stat-through-64-mounts", 64, 2000, repeat(2000, || calls::stat(&mounted)), nothing)?;
    for _ in 0..64 {
        calls::umount(&target, 0)?;
    }
    Ok(())
}
