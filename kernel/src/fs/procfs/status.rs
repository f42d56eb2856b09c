//! The small files of a task: stat, status, limits, comm, cgroup, the OOM values, id maps…

use super::access;
use super::process::{Scope, View};
use crate::errno::{Errno, Result};
use crate::fs::generated::Text;
use crate::task::accounting::{TICK_NS, Usage};
use crate::task::time_namespace::{self, OffsetClock};
use crate::task::{Capabilities, Credentials, current, oom, scheduler};
use crate::{put, put_line};
use alloc::{format, string::String, sync::Arc, vec::Vec};
use core::sync::atomic::Ordering;
use linux_raw_sys::general::*;

/// `PF_RANDOMIZE` of Linux, the only one of its task flags that every program here has: its address space is laid out at random.
const RANDOMIZED: u32 = 0x40_0000;
const NANOSECONDS_PER_MICROSECOND: u64 = 1000;

/// What the state letters of `/proc/PID/stat` stand for in `status`.
fn state_name(letter: char) -> &'static str {
    match letter {
        'R' => "running",
        'S' => "sleeping",
        'D' => "disk sleep",
        'T' => "stopped",
        't' => "tracing stop",
        'Z' => "zombie",
        _ => "dead",
    }
}

fn usage(view: &View<'_>) -> Usage {
    if view.scope == Scope::Process { view.process().usage() } else { view.thread.usage() }
}

/// `stat`: one line of 52 fields.
pub(super) fn stat(view: &View<'_>, text: &mut Text) -> Result<()> {
    let (thread, process, namespace) = (&view.thread, view.process(), view.namespace);
    let usage = usage(view);
    let children = if view.scope == Scope::Process { process.children_usage() } else { Usage::default() };
    let terminal = process.terminal();
    let foreground = terminal.as_ref().and_then(|terminal| terminal.foreground_group());
    put!(text, "{} (", thread.pid().number_in(namespace));
    put_name(&thread.name(), text);
    put!(text, ") {} {}", scheduler::state_letter(thread), process.parent_number(namespace));
    put!(text, " {} {}", process.group().number_in(namespace), process.session().number_in(namespace));
    put!(text, " {}", terminal.as_ref().map_or(0, |terminal| terminal.device()));
    put!(text, " {}", foreground.map_or(-1, |group| i64::from(group.number_in(namespace))));
    // No major faults: nothing is paged in from a device.
    put!(text, " {RANDOMIZED} {} {} 0 0", usage.minor_faults, children.minor_faults);
    put!(text, " {} {}", usage.user_ns / TICK_NS, usage.system_ns / TICK_NS);
    put!(text, " {} {}", children.user_ns / TICK_NS, children.system_ns / TICK_NS);
    let nice = i64::from(thread.nice());
    let priority = thread.real_time_priority();
    let shown_priority = if priority > 0 { -1 - i64::from(priority) } else { 20 + nice };
    put!(text, " {shown_priority} {nice} {} 0", process.threads().len());
    let start_ns = if view.scope == Scope::Process { process.start_ns } else { thread.start_ns };
    put!(text, " {}", time_namespace::shown_ns(OffsetClock::BootTime, start_ns) / TICK_NS);
    put_memory_fields(view, text);
    let (blocked, pending) = thread.signal_sets();
    let (ignored, caught) = process.signal_actions().summary();
    // Only the first 31 signals fit these old fields.
    let low = |set: u64| set & 0x7fff_ffff;
    put!(text, " {} {} {} {}", low(pending.0), low(blocked.0), low(ignored.0), low(caught.0));
    put!(text, " {} 0 0", u8::from(scheduler::state_letter(thread) == 'S'));
    put!(text, " {} 0 {priority} {}", process.shown_exit_signal(), thread.policy_number());
    put!(text, " 0 0 0");
    put_image_fields(view, text);
    put_line!(text, " {}", if may_see_addresses(view) { process.wait_status() } else { 0 });
    Ok(())
}

/// The name in files of lines and fields: a newline and a backslash in it are escaped.
fn put_name(name: &[u8], text: &mut Text) {
    for byte in name {
        match byte {
            b'\n' => text.bytes(b"\\n"),
            b'\\' => text.bytes(b"\\\\"),
            _ => text.bytes(core::slice::from_ref(byte)),
        }
    }
}

fn may_see_addresses(view: &View<'_>) -> bool {
    access::may_read(&view.thread).is_ok()
}

/// Fields 23 to 30: sizes, the limit, code and stack.
fn put_memory_fields(view: &View<'_>, text: &mut Text) {
    let process = view.process();
    let Some(space) = process.address_space() else {
        put!(text, " 0 0 {} 0 0 0 0 0", process.limit(RLIMIT_RSS));
        return;
    };
    let (anonymous, file) = space.resident_pages();
    put!(text, " {} {} {}", space.mapped_bytes(), anonymous + file, process.limit(RLIMIT_RSS));
    if may_see_addresses(view) {
        let layout = super::memory::layout(process, &space);
        put!(text, " {} {} {} 0 0", layout.code.0, layout.code.1, process.image().stack_start);
    } else {
        put!(text, " 1 1 0 0 0");
    }
}

/// Fields 45 to 51: where data, heap, arguments and environment lie.
fn put_image_fields(view: &View<'_>, text: &mut Text) {
    let process = view.process();
    match process.address_space() {
        Some(space) if may_see_addresses(view) => {
            let layout = super::memory::layout(process, &space);
            let image = process.image();
            put!(text, " {} {} {}", layout.data.0, layout.data.1, layout.break_start);
            put!(text, " {} {} {} {}", image.arguments.0, image.arguments.1, image.environment.0, image.environment.1);
        }
        _ => put!(text, " 0 0 0 0 0 0 0"),
    }
}

/// `status`: the same for people, and more.
pub(super) fn status(view: &View<'_>, text: &mut Text) -> Result<()> {
    let (thread, process, namespace) = (&view.thread, view.process(), view.namespace);
    let letter = scheduler::state_letter(thread);
    put!(text, "Name:\t");
    put_name(&thread.name(), text);
    put_line!(text, "");
    if let Some(fs) = thread.try_fs() {
        put_line!(text, "Umask:\t{:04o}", fs.umask());
    }
    put_line!(text, "State:\t{letter} ({})", state_name(letter));
    put_line!(text, "Tgid:\t{}", process.id.number_in(namespace));
    put_line!(text, "Ngid:\t0");
    put_line!(text, "Pid:\t{}", thread.pid().number_in(namespace));
    put_line!(text, "PPid:\t{}", process.parent_number(namespace));
    put_line!(text, "TracerPid:\t0");
    put_ids(view, text);
    put_line!(text, "FDSize:\t{}", descriptor_slots(view));
    let credentials = thread.credentials();
    let groups: Vec<String> = credentials.groups.iter().map(|group| format!("{}", view.reader.user_namespace.shown_gid(*group))).collect();
    put_line!(text, "Groups:\t{} ", groups.join(" "));
    for (name, id) in [("NStgid", process.id.clone()), ("NSpid", thread.pid()), ("NSpgid", process.group()), ("NSsid", process.session())] {
        put!(text, "{name}:");
        for number in id.numbers_from(namespace) {
            put!(text, "\t{number}");
        }
        put_line!(text, "");
    }
    super::memory::put_status_sizes(process, text);
    put_signals(view, text);
    put_capabilities(&credentials, text);
    let usage = thread.usage();
    put_line!(text, "Seccomp:\t{}\nSeccomp_filters:\t{}", thread.seccomp.mode(), thread.seccomp.filter_count());
    put_line!(text, "Speculation_Store_Bypass:\tvulnerable\nSpeculationIndirectBranch:\talways enabled");
    put_line!(text, "Cpus_allowed:\t1\nCpus_allowed_list:\t0\nMems_allowed:\t00000000,00000001\nMems_allowed_list:\t0");
    put_line!(text, "voluntary_ctxt_switches:\t{}", usage.voluntary_switches);
    put_line!(text, "nonvoluntary_ctxt_switches:\t{}", usage.involuntary_switches);
    put_line!(text, "x86_Thread_features:\t\nx86_Thread_features_locked:\t");
    Ok(())
}

fn put_ids(view: &View<'_>, text: &mut Text) {
    let credentials = view.thread.credentials();
    let reader = &view.reader.user_namespace;
    let users = [credentials.uid, credentials.effective_uid, credentials.saved_uid, credentials.filesystem_uid];
    let groups = [credentials.gid, credentials.effective_gid, credentials.saved_gid, credentials.filesystem_gid];
    let [real, effective, saved, filesystem] = users.map(|uid| reader.shown_uid(uid));
    put_line!(text, "Uid:\t{real}\t{effective}\t{saved}\t{filesystem}");
    let [real, effective, saved, filesystem] = groups.map(|gid| reader.shown_gid(gid));
    put_line!(text, "Gid:\t{real}\t{effective}\t{saved}\t{filesystem}");
}

/// Slots of the descriptor table, which Linux grows by powers of two from 64.
fn descriptor_slots(view: &View<'_>) -> usize {
    let Some(files) = view.thread.try_files() else { return 0 };
    let used = files.open_numbers().last().map_or(0, |last| *last as usize + 1);
    used.max(64).next_power_of_two()
}

fn put_signals(view: &View<'_>, text: &mut Text) {
    let process = view.process();
    let (blocked, pending) = view.thread.signal_sets();
    let (shared_pending, queued) = process.pending_signals();
    let (ignored, caught) = process.signal_actions().summary();
    put_line!(text, "Threads:\t{}", process.threads().len());
    put_line!(text, "SigQ:\t{queued}/{}", process.limit(RLIMIT_SIGPENDING));
    for (name, set) in [("SigPnd", pending), ("ShdPnd", shared_pending), ("SigBlk", blocked), ("SigIgn", ignored), ("SigCgt", caught)] {
        put_line!(text, "{name}:\t{:016x}", set.0);
    }
}

fn put_capabilities(credentials: &Credentials, text: &mut Text) {
    let sets = [
        ("CapInh", credentials.inheritable),
        ("CapPrm", credentials.permitted),
        ("CapEff", credentials.effective),
        ("CapBnd", credentials.bounding),
        ("CapAmb", credentials.ambient),
    ];
    for (name, set) in sets {
        put_line!(text, "{name}:\t{:016x}", set.bits());
    }
    put_line!(text, "NoNewPrivs:\t{}", u8::from(credentials.no_new_privileges));
}

/// `limits`: a table of `getrlimit(2)`.
pub(super) fn limits(view: &View<'_>, text: &mut Text) -> Result<()> {
    const ROWS: [(u32, &str, &str); 16] = [
        (RLIMIT_CPU, "Max cpu time", "seconds"),
        (RLIMIT_FSIZE, "Max file size", "bytes"),
        (RLIMIT_DATA, "Max data size", "bytes"),
        (RLIMIT_STACK, "Max stack size", "bytes"),
        (RLIMIT_CORE, "Max core file size", "bytes"),
        (RLIMIT_RSS, "Max resident set", "bytes"),
        (RLIMIT_NPROC, "Max processes", "processes"),
        (RLIMIT_NOFILE, "Max open files", "files"),
        (RLIMIT_MEMLOCK, "Max locked memory", "bytes"),
        (RLIMIT_AS, "Max address space", "bytes"),
        (RLIMIT_LOCKS, "Max file locks", "locks"),
        (RLIMIT_SIGPENDING, "Max pending signals", "signals"),
        (RLIMIT_MSGQUEUE, "Max msgqueue size", "bytes"),
        (RLIMIT_NICE, "Max nice priority", ""),
        (RLIMIT_RTPRIO, "Max realtime priority", ""),
        (RLIMIT_RTTIME, "Max realtime timeout", "us"),
    ];
    put_line!(text, "{:<25} {:<20} {:<20} {:<10}", "Limit", "Soft Limit", "Hard Limit", "Units");
    let limits = view.process().limits.lock();
    for (kind, name, unit) in ROWS {
        let limit = limits.get(kind);
        put!(text, "{name:<25} ");
        for value in [limit.soft, limit.hard] {
            if value == u64::MAX {
                put!(text, "{:<20} ", "unlimited");
            } else {
                put!(text, "{value:<20} ");
            }
        }
        if unit.is_empty() {
            put_line!(text, "");
        } else {
            put_line!(text, "{unit:<10}");
        }
    }
    Ok(())
}

/// `personality`.
pub(super) fn personality(view: &View<'_>, text: &mut Text) -> Result<()> {
    put_line!(text, "{:08x}", view.process().personality.load(Ordering::Relaxed));
    Ok(())
}

/// `sched`: the first lines, which tell the name and the number of threads.
pub(super) fn sched(view: &View<'_>, text: &mut Text) -> Result<()> {
    let thread = &view.thread;
    text.bytes(&thread.name());
    put_line!(text, " ({}, #threads: {})", thread.pid().number_in(view.namespace), view.process().threads().len());
    put_line!(text, "{}", "-".repeat(67));
    let usage = thread.usage();
    let run_time = usage.total_ns();
    let switches = usage.voluntary_switches + usage.involuntary_switches;
    put_line!(text, "{:<45}:{:>14}.{:06}", "se.sum_exec_runtime", run_time / 1_000_000, run_time % 1_000_000);
    put_line!(text, "{:<45}:{switches:>21}", "nr_switches");
    put_line!(text, "{:<45}:{:>21}", "nr_voluntary_switches", usage.voluntary_switches);
    put_line!(text, "{:<45}:{:>21}", "nr_involuntary_switches", usage.involuntary_switches);
    put_line!(text, "{:<45}:{:>21}", "policy", thread.policy_number());
    put_line!(text, "{:<45}:{:>21}", "prio", 120 + i64::from(thread.nice()));
    Ok(())
}

/// `schedstat`: time run, time waited (not kept: 0), turns on the processor.
pub(super) fn schedstat(view: &View<'_>, text: &mut Text) -> Result<()> {
    let usage = view.thread.usage();
    put_line!(text, "{} 0 {}", usage.total_ns(), usage.voluntary_switches + usage.involuntary_switches);
    Ok(())
}

/// `autogroup`: empty, as Linux shows it for what is in no group.
pub(super) fn autogroup(_view: &View<'_>, _text: &mut Text) -> Result<()> {
    Ok(())
}

/// `comm`.
pub(super) fn comm(view: &View<'_>, text: &mut Text) -> Result<()> {
    text.bytes(&view.thread.name());
    put_line!(text, "");
    Ok(())
}

/// A write to `comm`: threads of the same process only.
pub(super) fn set_comm(view: &View<'_>, bytes: &[u8]) -> Result<()> {
    if !Arc::ptr_eq(view.process(), &current().process) {
        return Err(Errno::INVAL);
    }
    // As on Linux, the newline of `echo` becomes part of the name.
    view.thread.set_name(bytes);
    Ok(())
}

/// `syscall`: what the thread does in the kernel. The reader itself runs; of others only the state is told.
pub(super) fn syscall(view: &View<'_>, text: &mut Text) -> Result<()> {
    if scheduler::state_letter(&view.thread) == 'R' {
        put_line!(text, "running");
    } else {
        put_line!(text, "-1 0x0 0x0");
    }
    Ok(())
}

/// `wchan`: "0", as Linux shows it for who may not see kernel symbols.
pub(super) fn wchan(_view: &View<'_>, text: &mut Text) -> Result<()> {
    put!(text, "0");
    Ok(())
}

/// `stack`: the kernel keeps no frame pointers to walk; only the administrator may ask.
pub(super) fn stack(view: &View<'_>, _text: &mut Text) -> Result<()> {
    if view.reader.capable(Capabilities::SYS_ADMIN) { Ok(()) } else { Err(Errno::ACCES) }
}

/// `cpuset`.
pub(super) fn cpuset(_view: &View<'_>, text: &mut Text) -> Result<()> {
    put_line!(text, "/");
    Ok(())
}

/// `cgroup`: where the task is in the one hierarchy, as seen from the reader's cgroup namespace.
pub(super) fn cgroup(view: &View<'_>, text: &mut Text) -> Result<()> {
    let group = view.thread.cgroup();
    put!(text, "0::");
    text.bytes(&group.path_from(&crate::task::current().namespaces().cgroup.root));
    put_line!(text, "{}", if group.is_dead() { " (deleted)" } else { "" });
    Ok(())
}

/// `oom_score`: 0 to 2000; what the out-of-memory killer would weigh, per mille of the memory.
pub(super) fn oom_score(view: &View<'_>, text: &mut Text) -> Result<()> {
    let total_pages = (crate::mm::frame::statistics().total_pages as i64).max(1);
    let badness = oom::badness(view.process(), total_pages);
    let score = badness.map_or(0, |badness| (1000 + badness * 1000 / total_pages) * 2 / 3);
    put_line!(text, "{}", score.max(0));
    Ok(())
}

/// `oom_score_adj`.
pub(super) fn oom_score_adj(view: &View<'_>, text: &mut Text) -> Result<()> {
    put_line!(text, "{}", view.process().oom_score_adjustment.load(Ordering::Relaxed));
    Ok(())
}

/// A write to `oom_score_adj`: -1000 to 1000; lowering it needs `CAP_SYS_RESOURCE`.
pub(super) fn set_oom_score_adj(view: &View<'_>, bytes: &[u8]) -> Result<()> {
    let value = parse_number(bytes)?;
    if !(-1000..=1000).contains(&value) {
        return Err(Errno::INVAL);
    }
    set_oom_value(view, value)
}

/// `oom_adj`: the old scale of -17 to 15.
pub(super) fn oom_adj(view: &View<'_>, text: &mut Text) -> Result<()> {
    let value = view.process().oom_score_adjustment.load(Ordering::Relaxed);
    put_line!(text, "{}", if value == 1000 { 15 } else { value * 17 / 1000 });
    Ok(())
}

/// A write to `oom_adj`.
pub(super) fn set_oom_adj(view: &View<'_>, bytes: &[u8]) -> Result<()> {
    let value = parse_number(bytes)?;
    if !(-17..=15).contains(&value) {
        return Err(Errno::INVAL);
    }
    set_oom_value(view, if value == 15 { 1000 } else { value * 1000 / 17 })
}

fn set_oom_value(view: &View<'_>, value: i64) -> Result<()> {
    let adjustment = &view.process().oom_score_adjustment;
    let lowers = value < i64::from(adjustment.load(Ordering::Relaxed));
    if lowers && !current().credentials().capable(Capabilities::SYS_RESOURCE) {
        return Err(Errno::ACCES);
    }
    adjustment.store(value as i32, Ordering::Relaxed);
    Ok(())
}

/// `loginuid`: unset, since nothing audits.
pub(super) fn loginuid(_view: &View<'_>, text: &mut Text) -> Result<()> {
    put!(text, "{}", u32::MAX);
    Ok(())
}

/// A write to `loginuid`: only -1, which is there already, can be kept.
pub(super) fn set_loginuid(_view: &View<'_>, bytes: &[u8]) -> Result<()> {
    match parse_number(bytes)? {
        -1 | 0xffff_ffff => Ok(()),
        _ => Err(Errno::PERM),
    }
}

/// `sessionid`: unset.
pub(super) fn sessionid(_view: &View<'_>, text: &mut Text) -> Result<()> {
    put!(text, "{}", u32::MAX);
    Ok(())
}

/// `coredump_filter`: Linux's default; there are no core dumps to filter.
pub(super) fn coredump_filter(_view: &View<'_>, text: &mut Text) -> Result<()> {
    put_line!(text, "00000033");
    Ok(())
}

/// A write to `coredump_filter`: checked, without effect while there are no core dumps.
pub(super) fn set_coredump_filter(_view: &View<'_>, bytes: &[u8]) -> Result<()> {
    parse_number(bytes).map(drop)
}

/// `io`: bytes moved are not counted per process.
pub(super) fn io(_view: &View<'_>, text: &mut Text) -> Result<()> {
    for name in ["rchar", "wchar", "syscr", "syscw", "read_bytes", "write_bytes", "cancelled_write_bytes"] {
        put_line!(text, "{name}: 0");
    }
    Ok(())
}

/// `timers`: POSIX timers are not listed while nobody checkpoints.
pub(super) fn timers(_view: &View<'_>, _text: &mut Text) -> Result<()> {
    Ok(())
}

/// `timerslack_ns`.
pub(super) fn timer_slack(view: &View<'_>, text: &mut Text) -> Result<()> {
    require_nice(view)?;
    put_line!(text, "{}", view.thread.timer_slack_ns());
    Ok(())
}

/// A write to `timerslack_ns`: 0 goes back to the default.
pub(super) fn set_timer_slack(view: &View<'_>, bytes: &[u8]) -> Result<()> {
    require_nice(view)?;
    let value = u64::try_from(parse_number(bytes)?).map_err(|_| Errno::INVAL)?;
    let default_ns = 50 * NANOSECONDS_PER_MICROSECOND;
    view.thread.set_timer_slack_ns(if value == 0 { default_ns } else { value });
    Ok(())
}

/// Others' timer slack is for `CAP_SYS_NICE`.
fn require_nice(view: &View<'_>) -> Result<()> {
    let own = Arc::ptr_eq(&view.thread, &current());
    if own || current().credentials().capable(Capabilities::SYS_NICE) { Ok(()) } else { Err(Errno::PERM) }
}

/// `children` of a thread: the processes that it made. Kept per process: shown by the first thread.
pub(super) fn children(view: &View<'_>, text: &mut Text) -> Result<()> {
    if !view.thread.is_leader() {
        return Ok(());
    }
    let mut numbers: Vec<u32> = view.process().children().iter().map(|child| child.id.number_in(view.namespace)).collect();
    numbers.sort_unstable();
    for number in numbers.into_iter().filter(|number| *number != 0) {
        put!(text, "{number} ");
    }
    Ok(())
}

/// The read side of a file that can only be written.
pub(super) fn write_only(_view: &View<'_>, _text: &mut Text) -> Result<()> {
    Err(Errno::INVAL)
}

/// A number as `strtol` of the kernel takes it: blanks around it, a sign, 0x for hexadecimal, 0 for octal.
pub(in crate::fs) fn parse_number(bytes: &[u8]) -> Result<i64> {
    let text = core::str::from_utf8(bytes.trim_ascii()).map_err(|_| Errno::INVAL)?;
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let parsed = match digits {
        hexadecimal if hexadecimal.starts_with("0x") || hexadecimal.starts_with("0X") => i64::from_str_radix(&hexadecimal[2..], 16),
        octal if octal.len() > 1 && octal.starts_with('0') => i64::from_str_radix(&octal[1..], 8),
        decimal => decimal.parse(),
    };
    match parsed {
        Ok(value) if !digits.starts_with(['-', '+']) => Ok(if negative { -value } else { value }),
        _ => Err(Errno::INVAL),
    }
}
