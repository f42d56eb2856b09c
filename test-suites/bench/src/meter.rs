//! Counting instructions, fairly to any kernel.
//!
//! Under `-icount shift=0` the time-stamp counter counts the instructions that the guest executes, and jumps ahead while it idles.
//! A kernel may put work off (RCU callbacks, kernel threads) or wait for such work while it idles. So that all work counts, and waiting
//! does not, each measurement lasts until the kernel has had time to do what it put off, and a process of the lowest priority spins
//! whenever nothing else runs: what it spun is taken away, and so is what an empty measurement of the same length costs (clock ticks).
//! The least of several repeats counts: what happens by chance only ever adds.

use std::io::{Error, Result};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How often each operation is measured.
const REPEATS: usize = 4;
/// How long a kernel gets for what it put off: several ticks of a slow clock, in which a grace period of RCU ends.
const SETTLE: Duration = Duration::from_millis(24);
/// A kernel that does less in an empty measurement has ended its boot: Linux has work of its own for some time after `init` began.
const QUIET: u64 = 1_000_000;
/// How many empty measurements that may take.
const QUIET_TRIES: usize = 50;
/// Two readings of the counter in the spinner's loop that lie further apart had something else in between.
const UNDISTURBED: u64 = 100;

fn counter() -> u64 {
    // SAFETY: every x86-64 processor has the counter.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// A child that spins while nothing else runs, and says for how long. Dropping ends it.
struct Spinner {
    pid: libc::pid_t,
    spun: &'static AtomicU64,
}

impl Spinner {
    fn new() -> Result<Self> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let page = unsafe { libc::mmap(std::ptr::null_mut(), 4096, access, libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1, 0) };
        if page == libc::MAP_FAILED {
            return Err(Error::last_os_error());
        }
        // SAFETY: the mapping is zeros, aligned, and never unmapped.
        let spun: &'static AtomicU64 = unsafe { &*page.cast() };
        // SAFETY: the process has one thread; the child only makes system calls.
        let pid = unsafe { libc::fork() };
        match pid {
            -1 => Err(Error::last_os_error()),
            0 => Self::spin(spun),
            _ => Ok(Self { pid, spun }),
        }
    }

    fn spin(spun: &AtomicU64) -> ! {
        let lowest = libc::sched_param { sched_priority: 0 };
        // SAFETY: the structure outlives the call; the second call has no pointers. Without them the numbers are as right.
        unsafe {
            libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const lowest);
            libc::setpriority(libc::PRIO_PROCESS, 0, 19);
        }
        let mut last = counter();
        loop {
            let now = counter();
            if now - last < UNDISTURBED {
                spun.fetch_add(now - last, Ordering::Relaxed);
            }
            last = now;
        }
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        // SAFETY: the pid is a child of ours that has not been waited for.
        unsafe {
            libc::kill(self.pid, libc::SIGKILL);
            libc::waitpid(self.pid, std::ptr::null_mut(), 0);
        }
    }
}

/// Measures operations and prints rows.
pub(crate) struct Meter {
    spinner: Spinner,
    empty: u64,
    wanted: Option<String>,
}

impl Meter {
    /// Finds out what an empty measurement costs. `wanted`: only rows with this in their names are measured.
    pub(crate) fn new(wanted: Option<String>) -> Result<Self> {
        let mut meter = Self { spinner: Spinner::new()?, empty: 0, wanted };
        for _ in 0..QUIET_TRIES {
            meter.empty = meter.least(&mut || Ok(()), &mut || Ok(()))?;
            if meter.empty < QUIET {
                return Ok(meter);
            }
        }
        Err(Error::other("the machine does not become quiet"))
    }

    /// Whether a row is to be measured.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.wanted.as_ref().is_none_or(|wanted| name.contains(wanted.as_str()))
    }

    /// Measures and prints a row: `row NAME SIZE INSTRUCTIONS`, instructions for each of `units`, of which one `operation` does all.
    /// `undo` makes things as they were before, and is not measured. A row that is not wanted costs nothing: neither is called.
    pub(crate) fn row(
        &self,
        name: &str,
        size: usize,
        units: usize,
        mut operation: impl FnMut() -> Result<()>,
        mut undo: impl FnMut() -> Result<()>,
    ) -> Result<()> {
        if !self.wants(name) {
            return Ok(());
        }
        let measured = self.least(&mut operation, &mut undo);
        let instructions = measured.map_err(|error| Error::new(error.kind(), format!("{name} at {size}: {error}")))?;
        // A little less than what an empty measurement costs is chance.
        println!("row {name} {size} {}", instructions.saturating_sub(self.empty) / units as u64);
        Ok(())
    }

    fn least(&self, operation: &mut dyn FnMut() -> Result<()>, undo: &mut dyn FnMut() -> Result<()>) -> Result<u64> {
        let mut least = u64::MAX;
        for _ in 0..REPEATS {
            let begin = self.busy();
            operation()?;
            std::thread::sleep(SETTLE);
            least = least.min(self.busy() - begin);
            undo()?;
            std::thread::sleep(SETTLE);
        }
        Ok(least)
    }

    /// Instructions so far, but for those that only passed the time.
    fn busy(&self) -> u64 {
        counter() - self.spinner.spun.load(Ordering::Relaxed)
    }
}
