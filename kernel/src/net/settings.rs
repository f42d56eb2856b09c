//! The values below `/proc/sys/net` of a namespace (`ip(7)`, `tcp(7)`, and Linux's `networking/ip-sysctl`).
//!
//! A table says what there is. Those that the kernel acts on are read with [`Settings::number`]; the others say how packets of other
//! devices would be treated, of which there are none, so that remembering them is all there is to do.

use super::NetworkNamespace;
use crate::errno::{Errno, Result};
use crate::sync::SpinLock;
use crate::task::current;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::{string::String, vec::Vec};

/// What a file holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// So many numbers within bounds, both included.
    Numbers(i64, i64),
    /// A range of groups, in ids of the reader's user namespace.
    Groups,
    /// Text that nobody can change.
    Fixed,
}

/// A file below `/proc/sys/net`.
pub struct Setting {
    /// Its path below `net`.
    pub path: &'static str,
    form: Form,
    /// Its text at birth.
    default: &'static str,
    /// Only the namespace of the boot shows it.
    initial_only: bool,
}

const fn number(path: &'static str, default: &'static str, minimum: i64, maximum: i64) -> Setting {
    Setting { path, form: Form::Numbers(minimum, maximum), default, initial_only: false }
}

const fn any(path: &'static str, default: &'static str) -> Setting {
    number(path, default, i32::MIN as i64, i32::MAX as i64)
}

const fn fixed(path: &'static str, default: &'static str) -> Setting {
    Setting { path, form: Form::Fixed, default, initial_only: false }
}

const fn switch(path: &'static str, default: &'static str) -> Setting {
    number(path, default, 0, 1)
}

const fn initial(path: &'static str, default: &'static str) -> Setting {
    Setting { path, form: Form::Fixed, default, initial_only: true }
}

/// All there are, sorted by path.
pub static SETTINGS: &[Setting] = &[
    initial("core/netdev_max_backlog", "1000"),
    fixed("core/optmem_max", "20480"),
    fixed("core/rmem_default", "212992"),
    fixed("core/rmem_max", "212992"),
    number("core/somaxconn", "4096", 0, i32::MAX as i64),
    fixed("core/wmem_default", "212992"),
    fixed("core/wmem_max", "212992"),
    any("ipv4/conf/all/accept_local", "0"),
    any("ipv4/conf/all/accept_redirects", "1"),
    any("ipv4/conf/all/accept_source_route", "0"),
    any("ipv4/conf/all/arp_announce", "0"),
    any("ipv4/conf/all/arp_filter", "0"),
    any("ipv4/conf/all/arp_ignore", "0"),
    any("ipv4/conf/all/arp_notify", "0"),
    any("ipv4/conf/all/forwarding", "0"),
    any("ipv4/conf/all/log_martians", "0"),
    any("ipv4/conf/all/promote_secondaries", "0"),
    any("ipv4/conf/all/proxy_arp", "0"),
    any("ipv4/conf/all/route_localnet", "0"),
    any("ipv4/conf/all/rp_filter", "0"),
    any("ipv4/conf/all/secure_redirects", "1"),
    any("ipv4/conf/all/send_redirects", "1"),
    any("ipv4/conf/default/accept_local", "0"),
    any("ipv4/conf/default/accept_redirects", "1"),
    any("ipv4/conf/default/accept_source_route", "1"),
    any("ipv4/conf/default/arp_announce", "0"),
    any("ipv4/conf/default/arp_filter", "0"),
    any("ipv4/conf/default/arp_ignore", "0"),
    any("ipv4/conf/default/arp_notify", "0"),
    any("ipv4/conf/default/forwarding", "0"),
    any("ipv4/conf/default/log_martians", "0"),
    any("ipv4/conf/default/promote_secondaries", "0"),
    any("ipv4/conf/default/proxy_arp", "0"),
    any("ipv4/conf/default/route_localnet", "0"),
    any("ipv4/conf/default/rp_filter", "0"),
    any("ipv4/conf/default/secure_redirects", "1"),
    any("ipv4/conf/default/send_redirects", "1"),
    any("ipv4/conf/lo/accept_local", "0"),
    any("ipv4/conf/lo/accept_redirects", "1"),
    any("ipv4/conf/lo/accept_source_route", "1"),
    any("ipv4/conf/lo/arp_announce", "0"),
    any("ipv4/conf/lo/arp_filter", "0"),
    any("ipv4/conf/lo/arp_ignore", "0"),
    any("ipv4/conf/lo/arp_notify", "0"),
    any("ipv4/conf/lo/forwarding", "0"),
    any("ipv4/conf/lo/log_martians", "0"),
    any("ipv4/conf/lo/promote_secondaries", "0"),
    any("ipv4/conf/lo/proxy_arp", "0"),
    any("ipv4/conf/lo/route_localnet", "0"),
    any("ipv4/conf/lo/rp_filter", "0"),
    any("ipv4/conf/lo/secure_redirects", "1"),
    any("ipv4/conf/lo/send_redirects", "1"),
    switch("ipv4/icmp_echo_ignore_all", "0"),
    switch("ipv4/icmp_echo_ignore_broadcasts", "1"),
    number("ipv4/ip_default_ttl", "64", 1, 255),
    any("ipv4/ip_forward", "0"),
    number("ipv4/ip_local_port_range", "32768\t60999", 1, 65535),
    number("ipv4/ip_no_pmtu_disc", "0", 0, 3),
    switch("ipv4/ip_nonlocal_bind", "0"),
    number("ipv4/ip_unprivileged_port_start", "1024", 0, 65535),
    Setting { path: "ipv4/ping_group_range", form: Form::Groups, default: "1\t0", initial_only: false },
    fixed("ipv4/tcp_allowed_congestion_control", "reno cubic"),
    fixed("ipv4/tcp_available_congestion_control", "reno cubic"),
    fixed("ipv4/tcp_congestion_control", "cubic"),
    number("ipv4/tcp_ecn", "2", 0, 5),
    any("ipv4/tcp_fin_timeout", "60"),
    any("ipv4/tcp_keepalive_intvl", "75"),
    number("ipv4/tcp_keepalive_probes", "9", 0, 255),
    any("ipv4/tcp_keepalive_time", "7200"),
    any("ipv4/tcp_max_syn_backlog", "128"),
    any("ipv4/tcp_max_tw_buckets", "2048"),
    switch("ipv4/tcp_moderate_rcvbuf", "1"),
    number("ipv4/tcp_retries1", "3", 0, 255),
    number("ipv4/tcp_retries2", "15", 0, 255),
    fixed("ipv4/tcp_rmem", "4096\t131072\t6291456"),
    number("ipv4/tcp_sack", "1", 0, 255),
    number("ipv4/tcp_slow_start_after_idle", "1", 0, 255),
    number("ipv4/tcp_syn_retries", "6", 1, 127),
    number("ipv4/tcp_synack_retries", "5", 0, 255),
    number("ipv4/tcp_syncookies", "1", 0, 2),
    number("ipv4/tcp_timestamps", "1", 0, 2),
    number("ipv4/tcp_tw_reuse", "2", 0, 2),
    number("ipv4/tcp_window_scaling", "1", 0, 255),
    fixed("ipv4/tcp_wmem", "4096\t16384\t4194304"),
    switch("ipv6/bindv6only", "0"),
    any("ipv6/conf/all/accept_dad", "0"),
    any("ipv6/conf/all/accept_ra", "1"),
    any("ipv6/conf/all/accept_redirects", "1"),
    any("ipv6/conf/all/accept_source_route", "0"),
    any("ipv6/conf/all/autoconf", "1"),
    any("ipv6/conf/all/disable_ipv6", "0"),
    any("ipv6/conf/all/forwarding", "0"),
    any("ipv6/conf/all/hop_limit", "64"),
    any("ipv6/conf/all/proxy_ndp", "0"),
    any("ipv6/conf/all/use_tempaddr", "0"),
    any("ipv6/conf/default/accept_dad", "1"),
    any("ipv6/conf/default/accept_ra", "1"),
    any("ipv6/conf/default/accept_redirects", "1"),
    any("ipv6/conf/default/accept_source_route", "0"),
    any("ipv6/conf/default/autoconf", "1"),
    any("ipv6/conf/default/disable_ipv6", "0"),
    any("ipv6/conf/default/forwarding", "0"),
    any("ipv6/conf/default/hop_limit", "64"),
    any("ipv6/conf/default/proxy_ndp", "0"),
    any("ipv6/conf/default/use_tempaddr", "0"),
    any("ipv6/conf/lo/accept_dad", "-1"),
    any("ipv6/conf/lo/accept_ra", "1"),
    any("ipv6/conf/lo/accept_redirects", "1"),
    any("ipv6/conf/lo/accept_source_route", "0"),
    any("ipv6/conf/lo/autoconf", "1"),
    any("ipv6/conf/lo/disable_ipv6", "0"),
    any("ipv6/conf/lo/forwarding", "0"),
    any("ipv6/conf/lo/hop_limit", "64"),
    any("ipv6/conf/lo/proxy_ndp", "0"),
    any("ipv6/conf/lo/use_tempaddr", "-1"),
    switch("ipv6/icmp/echo_ignore_all", "0"),
    switch("ipv6/ip_nonlocal_bind", "0"),
    any("unix/max_dgram_qlen", "10"),
];

impl Setting {
    /// Whether a namespace shows it.
    pub fn is_in(&self, namespace: &NetworkNamespace) -> bool {
        namespace.is_initial || !self.initial_only
    }

    /// Permission bits of the file.
    pub fn mode(&self) -> u32 {
        if self.form == Form::Fixed { 0o444 } else { 0o644 }
    }
}

/// The values of a namespace: those that differ from the table.
#[derive(Default)]
pub struct Settings {
    changed: SpinLock<BTreeMap<&'static str, Vec<i64>>>,
}

/// The groups that may have ping sockets when the range is empty, as the kernel keeps it.
const NO_GROUPS: [i64; 2] = [1, 0];

impl Settings {
    /// The numbers of a setting.
    pub fn numbers(&self, path: &str) -> Vec<i64> {
        if let Some(values) = self.changed.lock().get(path) {
            return values.clone();
        }
        let setting = SETTINGS.iter().find(|setting| setting.path == path);
        numbers_in(setting.map_or("0", |setting| setting.default).as_bytes()).unwrap_or_default()
    }

    /// The first number of a setting.
    pub fn number(&self, path: &str) -> i64 {
        self.numbers(path).first().copied().unwrap_or(0)
    }

    /// Whether IPv6 is off for `lo`.
    pub fn is_v6_disabled(&self) -> bool {
        self.number("ipv6/conf/lo/disable_ipv6") != 0
    }

    /// The text of the file, as the current thread sees it.
    pub fn show(&self, setting: &Setting) -> String {
        let mut values = match setting.form {
            Form::Fixed => return format!("{}\n", setting.default),
            Form::Numbers(..) | Form::Groups => self.numbers(setting.path),
        };
        if setting.form == Form::Groups && values != NO_GROUPS {
            let namespace = current().credentials().user_namespace.clone();
            values.iter_mut().for_each(|gid| *gid = i64::from(namespace.shown_gid(*gid as u32)));
        }
        let words: Vec<String> = values.iter().map(|value| format!("{value}")).collect();
        words.join("\t") + "\n"
    }

    fn set(&self, path: &'static str, values: Vec<i64>) {
        self.changed.lock().insert(path, values);
    }
}

/// The numbers in a text. `EINVAL` for anything else.
fn numbers_in(text: &[u8]) -> Result<Vec<i64>> {
    let words = text.split(|byte| byte.is_ascii_whitespace() || *byte == 0).filter(|word| !word.is_empty());
    words.map(|word| core::str::from_utf8(word).ok().and_then(|word| word.parse().ok()).ok_or(Errno::INVAL)).collect()
}

/// Takes what was written to a file. `EINVAL` for what it cannot hold.
pub fn store(namespace: &NetworkNamespace, setting: &'static Setting, text: &[u8]) -> Result<()> {
    let settings = &namespace.settings;
    let new = numbers_in(text)?;
    let mut values = settings.numbers(setting.path);
    if new.len() > values.len() {
        return Err(Errno::INVAL);
    }
    values[..new.len()].copy_from_slice(&new);
    match setting.form {
        Form::Fixed => return Err(Errno::PERM),
        Form::Numbers(minimum, maximum) => {
            let is_range = values.len() == 2;
            if new.iter().any(|value| !(minimum..=maximum).contains(value)) || is_range && values[0] > values[1] {
                return Err(Errno::INVAL);
            }
        }
        Form::Groups => values = groups_from(&values)?,
    }
    settings.set(setting.path, values);
    follow(namespace, setting.path);
    Ok(())
}

/// The range as ids of the initial user namespace. An empty one excludes everybody.
fn groups_from(values: &[i64]) -> Result<Vec<i64>> {
    let user_namespace = current().credentials().user_namespace.clone();
    let global = |value: i64| -> Result<i64> {
        let gid = u32::try_from(value).map_err(|_| Errno::INVAL)?;
        user_namespace.gid_to_global(gid).map(i64::from).ok_or(Errno::INVAL)
    };
    let [low, high] = [global(values[0])?, global(values[1])?];
    Ok(if low > high { NO_GROUPS.to_vec() } else { alloc::vec![low, high] })
}

/// What a change brings along.
fn follow(namespace: &NetworkNamespace, path: &'static str) {
    let settings = &namespace.settings;
    let copy_to = |targets: &[&'static str]| targets.iter().for_each(|target| settings.set(target, settings.numbers(path)));
    match path {
        "ipv4/ip_forward" => copy_to(&["ipv4/conf/all/forwarding", "ipv4/conf/default/forwarding", "ipv4/conf/lo/forwarding"]),
        "ipv4/conf/all/forwarding" => copy_to(&["ipv4/ip_forward", "ipv4/conf/default/forwarding", "ipv4/conf/lo/forwarding"]),
        "ipv6/conf/all/forwarding" => copy_to(&["ipv6/conf/default/forwarding", "ipv6/conf/lo/forwarding"]),
        "ipv6/conf/all/disable_ipv6" => copy_to(&["ipv6/conf/default/disable_ipv6", "ipv6/conf/lo/disable_ipv6"]),
        _ => {}
    }
    if path.ends_with("/disable_ipv6") {
        let disabled = settings.is_v6_disabled();
        let _: Result<()> = namespace.change(|loopback, events| {
            if disabled {
                loopback.remove_v6(events)
            } else {
                loopback.add_v6_loopback(events)
            }
            Ok(())
        });
    }
}
