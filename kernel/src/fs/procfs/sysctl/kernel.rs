//! `/proc/sys/kernel`.

use super::{Fixed, Number, first_line};
use crate::dev::{kmsg, random};
use crate::errno::{Errno, Result};
use crate::fs::OpenFile;
use crate::fs::devpts;
use crate::fs::generated::{Entry, Text, Variable};
use crate::fs::procfs::status::parse_number;
use crate::fs::procfs::user_limits;
use crate::ipc::{Setting, SettingFile, SettingsFile};
use crate::keys::quota;
use crate::put_line;
use crate::sync::Once;
use crate::task::namespaces::UtsNames;
use crate::task::uts::{OS_RELEASE, OS_TYPE, OS_VERSION};
use crate::task::{Capabilities, current, pid};
use alloc::{string::String, vec::Vec};

pub(super) static ENTRIES: &[Entry] = &[
    Entry::file("cap_last_cap", |_, text| put_number(text, 40)),
    Entry::variable("core_pattern", &Fixed("core")),
    Entry::variable("core_pipe_limit", &Fixed("0")),
    Entry::variable("core_uses_pid", &Fixed("0")),
    Entry::variable("ctrl-alt-del", &Fixed("0")),
    Entry::variable("dmesg_restrict", &DMESG_RESTRICT),
    Entry::writable("domainname", show_domain, set_domain),
    Entry::writable("hostname", show_host, set_host),
    Entry::directory("keys", KEYS),
    Entry::variable("kptr_restrict", &Fixed("0")),
    Entry::variable("modprobe", &Fixed("")),
    Entry::variable("modules_disabled", &Fixed("1")),
    Entry::variable("msgmax", &SettingFile(Setting::Msgmax)),
    Entry::variable("msgmnb", &SettingFile(Setting::Msgmnb)),
    Entry::variable("msgmni", &SettingFile(Setting::Msgmni)),
    Entry::file("ngroups_max", |_, text| put_number(text, 65536)),
    Entry::variable("nmi_watchdog", &Fixed("0")),
    Entry::writable("ns_last_pid", show_last_pid, set_last_pid).with_mode(0o666),
    Entry::file("osrelease", |_, text| put_text(text, OS_RELEASE)),
    Entry::file("ostype", |_, text| put_text(text, OS_TYPE)),
    Entry::variable("overflowgid", &Fixed("65534")),
    Entry::variable("overflowuid", &Fixed("65534")),
    Entry::writable("panic", show_panic, |_, bytes| same_number(bytes, panic_seconds())),
    Entry::variable("panic_on_oops", &Fixed("1")),
    Entry::variable("perf_event_paranoid", &Fixed("2")),
    Entry::variable("pid_max", &PidMax),
    Entry::variable("print-fatal-signals", &Fixed("0")),
    Entry::writable("printk", show_printk, set_printk),
    Entry::variable("printk_delay", &Fixed("0")),
    Entry::variable("printk_ratelimit", &Fixed("5")),
    Entry::variable("printk_ratelimit_burst", &Fixed("10")),
    Entry::directory("pty", PTY),
    Entry::directory("random", RANDOM),
    Entry::variable("randomize_va_space", &Fixed("2")),
    Entry::variable("sched_child_runs_first", &Fixed("0")),
    Entry::variable("sched_rr_timeslice_ms", &Fixed("100")),
    Entry::variable("sched_rt_period_us", &Fixed("1000000")),
    Entry::variable("sched_rt_runtime_us", &Fixed("950000")),
    Entry::directory("seccomp", SECCOMP),
    Entry::variable("sem", &SettingsFile(&[Setting::Semmsl, Setting::Semmns, Setting::Semopm, Setting::Semmni])),
    Entry::variable("shm_rmid_forced", &Fixed("0")),
    Entry::variable("shmall", &SettingFile(Setting::Shmall)),
    Entry::variable("shmmax", &SettingFile(Setting::Shmmax)),
    Entry::variable("shmmni", &SettingFile(Setting::Shmmni)),
    Entry::variable("sysrq", &Fixed("1")),
    Entry::variable("tainted", &Fixed("0")),
    Entry::writable("threads-max", show_threads_max, |_, bytes| same_number(bytes, user_limits::threads_max())),
    Entry::variable("unprivileged_bpf_disabled", &UNPRIVILEGED_BPF_DISABLED),
    Entry::file("version", |_, text| put_text(text, OS_VERSION)),
    Entry::variable("watchdog", &Fixed("0")),
];

static KEYS: &[Entry] = &[
    Entry::variable("gc_delay", &Fixed("300")),
    Entry::variable("maxbytes", &quota::MAX_BYTES),
    Entry::variable("maxkeys", &quota::MAX_KEYS),
    Entry::variable("root_maxbytes", &quota::ROOT_MAX_BYTES),
    Entry::variable("root_maxkeys", &quota::ROOT_MAX_KEYS),
];

static SECCOMP: &[Entry] =
    &[Entry::file("actions_avail", |_, text| put_text(text, "kill_process kill_thread trap errno user_notif trace log allow"))];

static PTY: &[Entry] = &[
    Entry::variable("max", &devpts::MAX_TERMINALS),
    Entry::file("nr", |_, text| put_number(text, devpts::terminals() as i64)),
    Entry::variable("reserve", &devpts::RESERVED_TERMINALS),
];

static RANDOM: &[Entry] = &[
    Entry::file("boot_id", show_boot_id),
    Entry::file("entropy_avail", |_, text| put_number(text, i64::from(random::POOL_BITS))),
    Entry::file("poolsize", |_, text| put_number(text, i64::from(random::POOL_BITS))),
    Entry::variable("urandom_min_reseed_secs", &Fixed("60")),
    Entry::file("uuid", |_, text| put_text(text, &random::uuid())),
    Entry::variable("write_wakeup_threshold", &Fixed("256")),
];

/// Whether `syslog(2)` and `/dev/kmsg` are for `CAP_SYSLOG` only.
pub static DMESG_RESTRICT: Number = Number::new(0, 0, 1);

/// Whether `bpf(2)` is for `CAP_BPF` only: 0 no, 2 yes, 1 yes for good.
pub static UNPRIVILEGED_BPF_DISABLED: UnprivilegedBpf = UnprivilegedBpf(Number::new(2, 0, 2));

/// See [`UNPRIVILEGED_BPF_DISABLED`].
pub struct UnprivilegedBpf(Number);

impl UnprivilegedBpf {
    /// The value now.
    pub fn get(&self) -> i64 {
        self.0.get()
    }
}

impl Variable for UnprivilegedBpf {
    fn show(&self, text: &mut Text) {
        self.0.show(text);
    }

    fn store(&self, bytes: &[u8]) -> Result<()> {
        if self.get() == 1 && parse_number(bytes)? != 1 {
            return Err(Errno::PERM);
        }
        self.0.store(bytes)
    }
}

/// `pid_max`.
struct PidMax;

impl Variable for PidMax {
    fn show(&self, text: &mut Text) {
        put_line!(text, "{}", pid::pid_max());
    }

    fn store(&self, bytes: &[u8]) -> Result<()> {
        let value = u32::try_from(parse_number(bytes)?).map_err(|_| Errno::INVAL)?;
        if !pid::PID_MAX_BOUNDS.contains(&value) {
            return Err(Errno::INVAL);
        }
        pid::set_pid_max(value);
        Ok(())
    }
}

fn put_number(text: &mut Text, value: i64) -> Result<()> {
    put_line!(text, "{value}");
    Ok(())
}

fn put_text(text: &mut Text, value: &str) -> Result<()> {
    put_line!(text, "{value}");
    Ok(())
}

/// Accepts only what is there.
fn same_number(bytes: &[u8], value: i64) -> Result<()> {
    if parse_number(bytes)? == value { Ok(()) } else { Err(Errno::INVAL) }
}

fn show_threads_max(_file: &OpenFile, text: &mut Text) -> Result<()> {
    put_number(text, user_limits::threads_max())
}

fn panic_seconds() -> i64 {
    i64::from(crate::arch::command_line::command_line().panic_seconds)
}

fn show_panic(_file: &OpenFile, text: &mut Text) -> Result<()> {
    put_number(text, panic_seconds())
}

fn show_last_pid(_file: &OpenFile, text: &mut Text) -> Result<()> {
    put_number(text, i64::from(current().pid().namespace().last_number()))
}

/// For those who restore processes under their old numbers.
fn set_last_pid(_file: &OpenFile, bytes: &[u8]) -> Result<()> {
    let (thread, credentials) = (current().pid(), current().credentials());
    let namespace = thread.namespace();
    let may = |capability| credentials.capable_in(capability, &namespace.owner);
    if !may(Capabilities::SYS_ADMIN) && !may(Capabilities::CHECKPOINT_RESTORE) {
        return Err(Errno::PERM);
    }
    let number = u32::try_from(parse_number(bytes)?).ok().filter(|number| *number <= pid::pid_max()).ok_or(Errno::INVAL)?;
    namespace.set_last_number(number);
    Ok(())
}

fn show_boot_id(_file: &OpenFile, text: &mut Text) -> Result<()> {
    static BOOT_ID: Once<String> = Once::new();
    put_text(text, BOOT_ID.call_once(random::uuid))
}

/// Longest host and domain name (`__NEW_UTS_LEN`).
const NAME_LIMIT_BYTES: usize = 64;

fn show_name(text: &mut Text, name: fn(&UtsNames) -> &Vec<u8>) -> Result<()> {
    let namespaces = current().namespaces();
    text.bytes(name(&namespaces.uts.names.lock()));
    text.bytes(b"\n");
    Ok(())
}

/// Longer names are cut, as Linux cuts strings written to a sysctl.
fn set_name(bytes: &[u8], name: fn(&mut UtsNames) -> &mut Vec<u8>) -> Result<()> {
    let line = first_line(bytes);
    let value = line[..line.len().min(NAME_LIMIT_BYTES)].to_vec();
    let namespaces = current().namespaces();
    *name(&mut namespaces.uts.names.lock()) = value;
    Ok(())
}

fn show_host(_file: &OpenFile, text: &mut Text) -> Result<()> {
    show_name(text, |names| &names.host)
}

fn set_host(_file: &OpenFile, bytes: &[u8]) -> Result<()> {
    set_name(bytes, |names| &mut names.host)
}

fn show_domain(_file: &OpenFile, text: &mut Text) -> Result<()> {
    show_name(text, |names| &names.domain)
}

fn set_domain(_file: &OpenFile, bytes: &[u8]) -> Result<()> {
    set_name(bytes, |names| &mut names.domain)
}

/// Console level, default level of messages, lowest and default console level.
fn show_printk(_file: &OpenFile, text: &mut Text) -> Result<()> {
    put_line!(text, "{}\t4\t1\t7", kmsg::console_level());
    Ok(())
}

/// The first number sets the console's level; the others are fixed.
fn set_printk(_file: &OpenFile, bytes: &[u8]) -> Result<()> {
    let first = bytes.split(u8::is_ascii_whitespace).find(|word| !word.is_empty()).ok_or(Errno::INVAL)?;
    let level = u8::try_from(parse_number(first)?).map_err(|_| Errno::INVAL)?;
    kmsg::set_console_level(level.clamp(1, 15));
    Ok(())
}
