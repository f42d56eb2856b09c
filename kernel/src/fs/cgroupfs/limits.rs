//! The files of the controllers "cpu" and "memory".

use super::files::{put, put_limit, put_number};
use super::input;
use super::table::{File, Opener};
use crate::errno::{Errno, Result};
use crate::fs::generated::Text;
use crate::mm::frame::Purpose;
use crate::put_line;
use crate::task::cgroup::control::Controllers;
use crate::task::cgroup::cpu;
use crate::task::cgroup::memory::{Bound, Event};
use crate::task::cgroup::notice::EventFile;
use crate::task::cgroup::{Cgroup, Limit};
use alloc::sync::Arc;

const NS_PER_US: u64 = 1000;

pub(super) static CPU: &[File] = &[
    File::core("cpu.stat", read_cpu_stat),
    File::of(Controllers::CPU, "cpu.stat.local", |group, text| {
        put_line!(text, "throttled_usec {}", group.cpu.counts().throttled_ns / NS_PER_US);
        Ok(())
    }),
    File::of(Controllers::CPU, "cpu.weight", |group, text| put_number(text, group.cpu.weight()))
        .writable(|group, text, _| group.cpu.set_weight(text.parse().map_err(|_| Errno::INVAL)?)),
    File::of(Controllers::CPU, "cpu.weight.nice", |group, text| put(text, nice_of(group.cpu.weight()))).writable(write_nice),
    File::of(Controllers::CPU, "cpu.max", |group, text| {
        let (quota_ns, period_ns, _) = group.cpu.limits();
        match quota_ns {
            Some(quota_ns) => put_line!(text, "{} {}", quota_ns / NS_PER_US, period_ns / NS_PER_US),
            None => put_line!(text, "max {}", period_ns / NS_PER_US),
        }
        Ok(())
    })
    .writable(write_cpu_max),
    File::of(Controllers::CPU, "cpu.max.burst", |group, text| put_number(text, group.cpu.limits().2 / NS_PER_US)).writable(write_burst),
];

pub(super) static MEMORY: &[File] = &[
    File::of(Controllers::MEMORY, "memory.current", |group, text| put_number(text, group.memory.current_bytes())),
    File::of(Controllers::MEMORY, "memory.peak", |group, text| put_number(text, group.memory.peak_bytes())),
    File::of(Controllers::MEMORY, "memory.min", |group, text| put_limit(text, group.memory.bound(Bound::Min)))
        .writable(|group, text, _| set_bound(group, Bound::Min, text)),
    File::of(Controllers::MEMORY, "memory.low", |group, text| put_limit(text, group.memory.bound(Bound::Low)))
        .writable(|group, text, _| set_bound(group, Bound::Low, text)),
    File::of(Controllers::MEMORY, "memory.high", |group, text| put_limit(text, group.memory.bound(Bound::High)))
        .writable(|group, text, _| set_bound(group, Bound::High, text)),
    File::of(Controllers::MEMORY, "memory.max", |group, text| put_limit(text, group.memory.bound(Bound::Max))).writable(
        |group, text, _| {
            group.set_memory_max(input::bytes_limit(text)?);
            Ok(())
        },
    ),
    File::of(Controllers::MEMORY, "memory.events", |group, text| put_events(group, text, super::counts_local_memory_events()))
        .with_events(EventFile::Memory),
    File::of(Controllers::MEMORY, "memory.events.local", |group, text| put_events(group, text, true)).with_events(EventFile::MemoryLocal),
    File::of(Controllers::MEMORY, "memory.stat", read_memory_stat),
    File::of(Controllers::MEMORY, "memory.oom.group", |group, text| put_number(text, u64::from(group.memory.kills_together()))).writable(
        |group, text, _| {
            // Other numbers are invalid here, not out of range.
            group.memory.set_kills_together(input::switch(text).map_err(|_| Errno::INVAL)?);
            Ok(())
        },
    ),
    // Nothing can be reclaimed.
    File::of(Controllers::MEMORY, "memory.reclaim", |_, _| Err(Errno::INVAL))
        .writable(|_, text, _| input::bytes_limit(text).and(Err(Errno::AGAIN)))
        .write_only(),
    // There is no swap: whatever the limit, nothing is there.
    File::of(Controllers::MEMORY, "memory.swap.current", |_, text| put_number(text, 0)),
    File::of(Controllers::MEMORY, "memory.swap.peak", |_, text| put_number(text, 0)),
    File::of(Controllers::MEMORY, "memory.swap.high", |group, text| put_limit(text, group.memory.bound(Bound::SwapHigh)))
        .writable(|group, text, _| set_bound(group, Bound::SwapHigh, text)),
    File::of(Controllers::MEMORY, "memory.swap.max", |group, text| put_limit(text, group.memory.bound(Bound::SwapMax)))
        .writable(|group, text, _| set_bound(group, Bound::SwapMax, text)),
    File::of(Controllers::MEMORY, "memory.swap.events", |_, text| put(text, "high 0\nmax 0\nfail 0")),
];

fn read_cpu_stat(group: &Arc<Cgroup>, text: &mut Text) -> Result<()> {
    let times = group.cpu_times();
    let (user, system) = (times.user_ns / NS_PER_US, times.system_ns / NS_PER_US);
    put_line!(text, "usage_usec {}\nuser_usec {user}\nsystem_usec {system}", user + system);
    if group.controllers().contains(Controllers::CPU) {
        let counts = group.cpu.counts();
        put_line!(text, "nr_periods {}\nnr_throttled {}", counts.periods, counts.throttled_periods);
        put_line!(text, "throttled_usec {}", counts.throttled_ns / NS_PER_US);
        put_line!(text, "nr_bursts {}\nburst_usec {}", counts.bursts, counts.burst_ns / NS_PER_US);
    }
    Ok(())
}

/// The weight of each nice value from -20 on, a factor of about 1.25 a step, 1024 for nice 0 (`sched(7)`, "The nice value").
const NICE_WEIGHTS: [u64; 40] = [
    88761, 71755, 56483, 46273, 36291, 29154, 23254, 18705, 14949, 11916, 9548, 7620, 6100, 4904, 3906, 3121, 2501, 1991, 1586, 1277, 1024,
    820, 655, 526, 423, 335, 272, 215, 172, 137, 110, 87, 70, 56, 45, 36, 29, 23, 18, 15,
];
const NICES: [&str; 40] = [
    "-20", "-19", "-18", "-17", "-16", "-15", "-14", "-13", "-12", "-11", "-10", "-9", "-8", "-7", "-6", "-5", "-4", "-3", "-2", "-1", "0",
    "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16", "17", "18", "19",
];

fn weight_of(nice_weight: u64) -> u64 {
    ((nice_weight * cpu::DEFAULT_WEIGHT + 512) / 1024).clamp(*cpu::WEIGHTS.start(), *cpu::WEIGHTS.end())
}

/// The nice value whose weight is nearest.
fn nice_of(weight: u64) -> &'static str {
    let distance = |index: &usize| weight_of(NICE_WEIGHTS[*index]).abs_diff(weight);
    (0..NICES.len()).min_by_key(distance).map_or("0", |index| NICES[index])
}

fn write_nice(group: &Arc<Cgroup>, text: &str, _: &Opener<'_>) -> Result<()> {
    let nice = input::integer(text)?;
    let index = usize::try_from(nice + 20).ok().filter(|index| *index < NICE_WEIGHTS.len()).ok_or(Errno::RANGE)?;
    group.cpu.set_weight(weight_of(NICE_WEIGHTS[index]))
}

/// A quota or "max", and perhaps a period, in microseconds.
fn write_cpu_max(group: &Arc<Cgroup>, text: &str, _: &Opener<'_>) -> Result<()> {
    let mut words = text.split_ascii_whitespace();
    let microseconds = |word: &str| word.parse::<u64>().ok().and_then(|us| us.checked_mul(NS_PER_US)).ok_or(Errno::INVAL);
    let (_, old_period_ns, burst_ns) = group.cpu.limits();
    let quota_ns: Limit = match words.next().ok_or(Errno::INVAL)? {
        "max" => None,
        word => Some(microseconds(word)?),
    };
    let period_ns = words.next().map_or(Ok(old_period_ns), microseconds)?;
    group.set_cpu_limits(quota_ns, period_ns, burst_ns)
}

fn write_burst(group: &Arc<Cgroup>, text: &str, _: &Opener<'_>) -> Result<()> {
    let burst_ns = text.parse::<u64>().ok().and_then(|us| us.checked_mul(NS_PER_US)).ok_or(Errno::INVAL)?;
    let (quota_ns, period_ns, _) = group.cpu.limits();
    group.set_cpu_limits(quota_ns, period_ns, burst_ns)
}

fn set_bound(group: &Arc<Cgroup>, bound: Bound, text: &str) -> Result<()> {
    group.memory.set_bound(bound, input::bytes_limit(text)?);
    Ok(())
}

fn put_events(group: &Arc<Cgroup>, text: &mut Text, local: bool) -> Result<()> {
    for (event, name) in Event::ALL {
        put_line!(text, "{name} {}", group.memory.count(event, local));
    }
    Ok(())
}

fn read_memory_stat(group: &Arc<Cgroup>, text: &mut Text) -> Result<()> {
    let [anonymous, shared, tables, other] =
        [Purpose::Anonymous, Purpose::Shared, Purpose::PageTable, Purpose::Kernel].map(|purpose| group.memory.bytes_for(purpose));
    put_line!(text, "anon {anonymous}\nfile {shared}\nkernel {}\npagetables {tables}\nshmem {shared}", tables + other);
    Ok(())
}
