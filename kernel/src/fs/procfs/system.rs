//! The system's files at the top of procfs: version, uptime, loadavg, stat, cpuinfo, devices…

use super::{ProcSuper, processor};
use crate::arch::interrupts;
use crate::dev::{ramdisk, registry};
use crate::errno::{Errno, Result};
use crate::fs::generated::{Entry, Text};
use crate::fs::{OpenFile, lock};
use crate::task::accounting::TICK_NS;
use crate::task::accounting::Usage;
use crate::task::cgroup::Cgroup;
use crate::task::cgroup::control::Controllers;
use crate::task::load;
use crate::task::pid::PidNamespace;
use crate::task::time_namespace::{self, OffsetClock};
use crate::task::uts::{OS_RELEASE, OS_VERSION};
use crate::task::{scheduler, views};
use crate::time::clock;
use crate::{put, put_line};
use core::sync::atomic::Ordering;

const NANOSECONDS_PER_SECOND: u64 = 1_000_000_000;

/// `tty`.
pub(super) static TTY_ENTRIES: &[Entry] = &[
    Entry::directory("driver", &[]),
    Entry::file("drivers", tty_drivers),
    Entry::directory("ldisc", &[]),
    Entry::file("ldiscs", tty_disciplines),
];

/// A file without content: what it would list is not there.
pub(super) fn nothing(_file: &OpenFile, _text: &mut Text) -> Result<()> {
    Ok(())
}

pub(super) fn version(_file: &OpenFile, text: &mut Text) -> Result<()> {
    put_line!(text, "Linux version {OS_RELEASE} (graft@graft) (rustc) {OS_VERSION}");
    Ok(())
}

pub(super) fn cmdline(_file: &OpenFile, text: &mut Text) -> Result<()> {
    text.bytes(crate::arch::command_line::text());
    put_line!(text, "");
    Ok(())
}

pub(super) fn uptime(_file: &OpenFile, text: &mut Text) -> Result<()> {
    let hundredths = |ns: u64| (ns / NANOSECONDS_PER_SECOND, ns % NANOSECONDS_PER_SECOND / TICK_NS);
    let (up, up_rest) = hundredths(time_namespace::shown_ns(OffsetClock::BootTime, clock::monotonic_ns()));
    let (idle, idle_rest) = hundredths(scheduler::idle_ns());
    put_line!(text, "{up}.{up_rest:02} {idle}.{idle_rest:02}");
    Ok(())
}

/// Load averages, runnable and all threads, the newest process number.
pub(super) fn loadavg(file: &OpenFile, text: &mut Text) -> Result<()> {
    let namespace = &ProcSuper::of(&file.inode.superblock)?.pid_namespace;
    for average in load::averages_hundredths() {
        put!(text, "{}.{:02} ", average / 100, average % 100);
    }
    let threads: usize = PidNamespace::initial().processes().iter().map(|process| process.threads().len()).sum();
    put_line!(text, "{}/{threads} {}", scheduler::runnable_threads(), namespace.last_number());
    Ok(())
}

pub(super) fn stat(_file: &OpenFile, text: &mut Text) -> Result<()> {
    let total = total_usage();
    let ticks = |ns: u64| ns / TICK_NS;
    let fields = (ticks(total.user_ns), ticks(total.system_ns), ticks(scheduler::idle_ns()));
    for name in ["cpu ", "cpu0"] {
        put_line!(text, "{name} {} 0 {} {} 0 0 0 0 0 0", fields.0, fields.1, fields.2);
    }
    let (serial, timer) = (interrupts::count(interrupts::SERIAL_VECTOR), interrupts::count(interrupts::TIMER_VECTOR));
    put_line!(text, "intr {} 0 0 0 0 {serial}", serial + timer);
    put_line!(text, "ctxt {}", scheduler::switches());
    let boot_ns = clock::realtime_ns() - i128::from(time_namespace::shown_ns(OffsetClock::BootTime, clock::monotonic_ns()));
    put_line!(text, "btime {}", boot_ns / i128::from(NANOSECONDS_PER_SECOND));
    put_line!(text, "processes {}", views::forks());
    put_line!(text, "procs_running {}\nprocs_blocked 0", scheduler::runnable_threads());
    put_line!(text, "softirq 0 0 0 0 0 0 0 0 0 0 0");
    Ok(())
}

/// What all processes that are still known have used, those that were reaped included through their parents.
fn total_usage() -> Usage {
    let mut total = Usage::default();
    for process in PidNamespace::initial().processes() {
        total.add(&process.usage());
        total.add(&process.children_usage());
    }
    total
}

pub(super) fn cpuinfo(_file: &OpenFile, text: &mut Text) -> Result<()> {
    let processor = processor::describe();
    put_line!(text, "processor\t: 0");
    put_line!(text, "vendor_id\t: {}", processor.vendor);
    put_line!(text, "cpu family\t: {}", processor.family);
    put_line!(text, "model\t\t: {}", processor.model);
    put_line!(text, "model name\t: {}", processor.name);
    put_line!(text, "stepping\t: {}", processor.stepping);
    put_line!(text, "physical id\t: 0\nsiblings\t: 1\ncore id\t\t: 0\ncpu cores\t: 1\napicid\t\t: 0\ninitial apicid\t: 0");
    put_line!(text, "fpu\t\t: yes\nfpu_exception\t: yes\ncpuid level\t: {}\nwp\t\t: yes", processor.maximum_leaf);
    put_line!(text, "flags\t\t: {}", processor.flags);
    put_line!(text, "bugs\t\t:\nclflush size\t: 64\ncache_alignment\t: 64");
    put_line!(text, "address sizes\t: {} bits physical, {} bits virtual", processor.physical_bits, processor.virtual_bits);
    put_line!(text, "power management:\n");
    Ok(())
}

pub(super) fn filesystems(_file: &OpenFile, text: &mut Text) -> Result<()> {
    // A text takes everything.
    let _ = crate::fs::registry::list(text);
    Ok(())
}

pub(super) fn misc(_file: &OpenFile, text: &mut Text) -> Result<()> {
    // `Text` takes everything.
    let _ = registry::list_misc(text);
    Ok(())
}

pub(super) fn devices(_file: &OpenFile, text: &mut Text) -> Result<()> {
    // A text takes everything.
    let _ = registry::list_devices(text);
    Ok(())
}

pub(super) fn partitions(_file: &OpenFile, text: &mut Text) -> Result<()> {
    put_line!(text, "major minor  #blocks  name\n");
    for index in 0..ramdisk::count() {
        let kib = ramdisk::get(index).map_or(0, |disk| disk.size_bytes / 1024);
        put_line!(text, "{:4}  {index:7} {kib:10} ram{index}", registry::RAMDISK_MAJOR);
    }
    Ok(())
}

pub(super) fn diskstats(_file: &OpenFile, text: &mut Text) -> Result<()> {
    for index in 0..ramdisk::count() {
        let Some(disk) = ramdisk::get(index) else { continue };
        let traffic = &disk.traffic;
        let [reads, read, writes, written] =
            [&traffic.reads, &traffic.sectors_read, &traffic.writes, &traffic.sectors_written].map(|count| count.load(Ordering::Relaxed));
        put_line!(text, "{:4} {index:7} ram{index} {reads} 0 {read} 0 {writes} 0 {written} 0 0 0 0 0 0 0 0 0 0", registry::RAMDISK_MAJOR);
    }
    Ok(())
}

pub(super) fn interrupts(_file: &OpenFile, text: &mut Text) -> Result<()> {
    put_line!(text, "           CPU0       ");
    put_line!(text, "{:>3}: {:>10}   IO-APIC   4-edge      ttyS0", 4, interrupts::count(interrupts::SERIAL_VECTOR));
    put_line!(text, "{:>3}: {:>10}   Local timer interrupts", "LOC", interrupts::count(interrupts::TIMER_VECTOR));
    put_line!(text, "{:>3}: {:>10}", "ERR", 0);
    put_line!(text, "{:>3}: {:>10}", "MIS", 0);
    Ok(())
}

pub(super) fn softirqs(_file: &OpenFile, text: &mut Text) -> Result<()> {
    put_line!(text, "                    CPU0       ");
    for name in ["HI", "TIMER", "NET_TX", "NET_RX", "BLOCK", "IRQ_POLL", "TASKLET", "SCHED", "HRTIMER", "RCU"] {
        put_line!(text, "{name:>12}: {:>10}", 0);
    }
    Ok(())
}

pub(super) fn locks(_file: &OpenFile, text: &mut Text) -> Result<()> {
    // A text takes everything.
    let _ = lock::list(text);
    Ok(())
}

/// Controllers of cgroups: all in the hierarchy of version 2, whose number is 0.
pub(super) fn cgroups(_file: &OpenFile, text: &mut Text) -> Result<()> {
    put_line!(text, "#subsys_name\thierarchy\tnum_cgroups\tenabled");
    let groups = Cgroup::root().descendants() + 1;
    for name in Controllers::all().names() {
        put_line!(text, "{name}\t0\t{groups}\t1");
    }
    Ok(())
}

pub(super) fn consoles(_file: &OpenFile, text: &mut Text) -> Result<()> {
    put_line!(text, "ttyS0                -W- (EC p a)    4:64");
    Ok(())
}

pub(super) fn execdomains(_file: &OpenFile, text: &mut Text) -> Result<()> {
    put_line!(text, "0-0\tLinux           \t[kernel]");
    Ok(())
}

fn tty_drivers(_file: &OpenFile, text: &mut Text) -> Result<()> {
    put_line!(text, "/dev/tty             /dev/tty        5       0 system:/dev/tty");
    put_line!(text, "/dev/console         /dev/console    5       1 system:console");
    put_line!(text, "/dev/ptmx            /dev/ptmx       5       2 system");
    put_line!(text, "serial               /dev/ttyS       4      64 serial");
    put_line!(text, "pty_slave            /dev/pts      136 0-1048575 pty:slave");
    put_line!(text, "pty_master           /dev/ptm      128 0-1048575 pty:master");
    Ok(())
}

fn tty_disciplines(_file: &OpenFile, text: &mut Text) -> Result<()> {
    put_line!(text, "n_tty       0");
    Ok(())
}

/// A write to `sysrq-trigger`: what programs use it for; other letters do nothing, as on Linux.
pub(super) fn sysrq_trigger(_file: &OpenFile, bytes: &[u8]) -> Result<()> {
    match bytes.first() {
        Some(b'b') => crate::arch::power::restart(),
        Some(b'o') => crate::arch::power::power_off(),
        Some(b'c') => panic!("sysrq triggered crash"),
        Some(_) => Ok(()),
        None => Err(Errno::INVAL),
    }
}
