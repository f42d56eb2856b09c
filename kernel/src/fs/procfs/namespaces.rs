//! The files of a task that are about its namespaces: id maps of the user namespace, offsets of the time namespace.

use super::process::View;
use crate::errno::{Errno, Result};
use crate::fs::generated::Text;
use crate::task::time_namespace::OffsetClock;
use crate::task::user_namespace::MapKind;
use crate::task::{Capabilities, current};
use crate::time::clock::NS_PER_SECOND;
use crate::{put, put_line};
use alloc::vec::Vec;

/// `uid_map`.
pub(super) fn uid_map(view: &View<'_>, text: &mut Text) -> Result<()> {
    show_map(view, MapKind::Users, text)
}

/// `gid_map`.
pub(super) fn gid_map(view: &View<'_>, text: &mut Text) -> Result<()> {
    show_map(view, MapKind::Groups, text)
}

fn show_map(view: &View<'_>, kind: MapKind, text: &mut Text) -> Result<()> {
    let namespace = view.thread.credentials().user_namespace.clone();
    put!(text, "{}", namespace.show_map(kind, &view.reader.user_namespace));
    Ok(())
}

/// A write to `uid_map`.
pub(super) fn set_uid_map(view: &View<'_>, bytes: &[u8]) -> Result<()> {
    let namespace = view.thread.credentials().user_namespace.clone();
    namespace.write_map(MapKind::Users, bytes, view.reader, &current().credentials())
}

/// A write to `gid_map`.
pub(super) fn set_gid_map(view: &View<'_>, bytes: &[u8]) -> Result<()> {
    let namespace = view.thread.credentials().user_namespace.clone();
    namespace.write_map(MapKind::Groups, bytes, view.reader, &current().credentials())
}

/// `projid_map`.
pub(super) fn projid_map(view: &View<'_>, text: &mut Text) -> Result<()> {
    show_map(view, MapKind::Projects, text)
}

/// A write to `projid_map`.
pub(super) fn set_projid_map(view: &View<'_>, bytes: &[u8]) -> Result<()> {
    let namespace = view.thread.credentials().user_namespace.clone();
    namespace.write_map(MapKind::Projects, bytes, view.reader, &current().credentials())
}

/// `setgroups`.
pub(super) fn setgroups(view: &View<'_>, text: &mut Text) -> Result<()> {
    put!(text, "{}", view.thread.credentials().user_namespace.setgroups_text());
    Ok(())
}

/// A write to `setgroups`.
pub(super) fn set_setgroups(view: &View<'_>, bytes: &[u8]) -> Result<()> {
    let namespace = view.thread.credentials().user_namespace.clone();
    namespace.write_setgroups(bytes, &current().credentials())
}

/// `timens_offsets`: what the clocks of children will show beside the machine's.
pub(super) fn time_offsets(view: &View<'_>, text: &mut Text) -> Result<()> {
    let offsets = view.thread.try_namespaces().ok_or(Errno::SRCH)?.time_for_children.offsets();
    for (name, offset_ns) in [("monotonic", offsets.monotonic_ns), ("boottime", offsets.boot_time_ns)] {
        let second = NS_PER_SECOND as i64;
        put_line!(text, "{name:<10} {:>10} {:>9}", offset_ns.div_euclid(second), offset_ns.rem_euclid(second));
    }
    Ok(())
}

/// A write to `timens_offsets`: a line for each clock, its name or number, seconds, nanoseconds.
pub(super) fn set_time_offsets(view: &View<'_>, bytes: &[u8]) -> Result<()> {
    let namespace = view.thread.try_namespaces().ok_or(Errno::SRCH)?.time_for_children.clone();
    let text = core::str::from_utf8(bytes).map_err(|_| Errno::INVAL)?;
    let mut wanted = Vec::new();
    for line in text.lines().take(2) {
        wanted.push(parse_offset(line)?);
    }
    if wanted.is_empty() {
        return Err(Errno::INVAL);
    }
    if !view.reader.capable_in(Capabilities::SYS_TIME, &namespace.owner) {
        return Err(Errno::PERM);
    }
    namespace.set_offsets(&wanted)
}

fn parse_offset(line: &str) -> Result<(OffsetClock, i64, i64)> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let [clock, seconds, nanoseconds] = words[..] else { return Err(Errno::INVAL) };
    let clock = match clock {
        "monotonic" | "1" => OffsetClock::Monotonic,
        "boottime" | "7" => OffsetClock::BootTime,
        _ => return Err(Errno::INVAL),
    };
    let seconds: i64 = seconds.parse().map_err(|_| Errno::INVAL)?;
    let nanoseconds: i64 = nanoseconds.parse().map_err(|_| Errno::INVAL)?;
    if !(0..NS_PER_SECOND as i64).contains(&nanoseconds) {
        return Err(Errno::INVAL);
    }
    Ok((clock, seconds, nanoseconds))
}
