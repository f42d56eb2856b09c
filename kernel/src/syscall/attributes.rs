//! System calls: chmod, chown, times, access. (`stat` and its kin are in `stat`.)

use super::file_io::file;
use super::{Arguments, Entry};
use crate::errno::{Errno, Result};
use crate::fs::attributes::{self, NewTime};
use crate::fs::walk::{self, LookupFlags};
use crate::fs::{Path, permission};
use crate::mm::UserPointer;
use crate::mm::user::read_path;
use crate::task::current;
use linux_raw_sys::general as sys;

pub(super) const TABLE: &[Entry] = &[
    Entry(sys::__NR_chmod, "chmod", chmod),
    Entry(sys::__NR_fchmod, "fchmod", fchmod),
    Entry(sys::__NR_fchmodat, "fchmodat", fchmodat),
    Entry(sys::__NR_fchmodat2, "fchmodat2", fchmodat2),
    Entry(sys::__NR_chown, "chown", chown),
    Entry(sys::__NR_lchown, "lchown", lchown),
    Entry(sys::__NR_fchown, "fchown", fchown),
    Entry(sys::__NR_fchownat, "fchownat", fchownat),
    Entry(sys::__NR_utime, "utime", utime),
    Entry(sys::__NR_utimes, "utimes", utimes),
    Entry(sys::__NR_futimesat, "futimesat", futimesat),
    Entry(sys::__NR_utimensat, "utimensat", utimensat),
    Entry(sys::__NR_access, "access", access),
    Entry(sys::__NR_faccessat, "faccessat", faccessat),
    Entry(sys::__NR_faccessat2, "faccessat2", faccessat2),
];

const NS_PER_S: i128 = 1_000_000_000;
const US_PER_S: i64 = 1_000_000;

/// The place that a name and `AT_SYMLINK_NOFOLLOW`, `AT_EMPTY_PATH` lead to. `EINVAL` for other flags.
pub(super) fn look_up(directory_fd: u64, name: u64, flags: u32, ignored: u32) -> Result<Path> {
    if flags & !(sys::AT_SYMLINK_NOFOLLOW | sys::AT_EMPTY_PATH | ignored) != 0 {
        return Err(Errno::INVAL);
    }
    let mut lookup = LookupFlags::empty();
    lookup.set(LookupFlags::FOLLOW, flags & sys::AT_SYMLINK_NOFOLLOW == 0);
    lookup.set(LookupFlags::EMPTY_PATH, flags & sys::AT_EMPTY_PATH != 0);
    walk::lookup(directory_fd as i32, &read_path(name)?, lookup)
}

/// `AT_FDCWD` as an argument register holds it.
const CURRENT_DIRECTORY: u64 = sys::AT_FDCWD as u64;

fn chmod(arguments: &Arguments) -> Result<u64> {
    attributes::change_mode(&look_up(CURRENT_DIRECTORY, arguments[0], 0, 0)?, arguments[1] as u32).map(|()| 0)
}

fn fchmod(arguments: &Arguments) -> Result<u64> {
    attributes::change_mode(&file(arguments[0])?.path, arguments[1] as u32).map(|()| 0)
}

fn fchmodat(arguments: &Arguments) -> Result<u64> {
    attributes::change_mode(&look_up(arguments[0], arguments[1], 0, 0)?, arguments[2] as u32).map(|()| 0)
}

fn fchmodat2(arguments: &Arguments) -> Result<u64> {
    attributes::change_mode(&look_up(arguments[0], arguments[1], arguments[3] as u32, 0)?, arguments[2] as u32).map(|()| 0)
}

/// Ids of the caller's user namespace; -1 leaves one alone, `EINVAL` for one without a meaning outside.
fn change_owner(place: &Path, uid: u64, gid: u64) -> Result<u64> {
    let namespace = current().credentials().user_namespace.clone();
    let given = |id: u64| Some(id as u32).filter(|&id| id != u32::MAX);
    let uid = given(uid).map(|uid| namespace.uid_to_global(uid).ok_or(Errno::INVAL)).transpose()?;
    let gid = given(gid).map(|gid| namespace.gid_to_global(gid).ok_or(Errno::INVAL)).transpose()?;
    attributes::change_owner(place, uid, gid).map(|()| 0)
}

fn chown(arguments: &Arguments) -> Result<u64> {
    change_owner(&look_up(CURRENT_DIRECTORY, arguments[0], 0, 0)?, arguments[1], arguments[2])
}

fn lchown(arguments: &Arguments) -> Result<u64> {
    change_owner(&look_up(CURRENT_DIRECTORY, arguments[0], sys::AT_SYMLINK_NOFOLLOW, 0)?, arguments[1], arguments[2])
}

fn fchown(arguments: &Arguments) -> Result<u64> {
    change_owner(&file(arguments[0])?.path, arguments[1], arguments[2])
}

fn fchownat(arguments: &Arguments) -> Result<u64> {
    change_owner(&look_up(arguments[0], arguments[1], arguments[4] as u32, 0)?, arguments[2], arguments[3])
}

fn utime(arguments: &Arguments) -> Result<u64> {
    let times = UserPointer::<[i64; 2]>::new(arguments[1]).non_null().map(|times| times.read()).transpose()?;
    let [accessed, modified] = times.map_or([NewTime::Now; 2], |times| times.map(|seconds| NewTime::At(i128::from(seconds) * NS_PER_S)));
    attributes::change_times(&look_up(CURRENT_DIRECTORY, arguments[0], 0, 0)?, accessed, modified).map(|()| 0)
}

/// Two `struct timeval`, or NULL for now.
fn read_microseconds(address: u64) -> Result<[NewTime; 2]> {
    let Some(times) = UserPointer::<[i64; 4]>::new(address).non_null() else { return Ok([NewTime::Now; 2]) };
    let [accessed_s, accessed_us, modified_s, modified_us] = times.read()?;
    let time = |seconds: i64, microseconds: i64| {
        if !(0..US_PER_S).contains(&microseconds) {
            return Err(Errno::INVAL);
        }
        Ok(NewTime::At(i128::from(seconds) * NS_PER_S + i128::from(microseconds) * 1000))
    };
    Ok([time(accessed_s, accessed_us)?, time(modified_s, modified_us)?])
}

fn utimes(arguments: &Arguments) -> Result<u64> {
    let [accessed, modified] = read_microseconds(arguments[1])?;
    attributes::change_times(&look_up(CURRENT_DIRECTORY, arguments[0], 0, 0)?, accessed, modified).map(|()| 0)
}

fn futimesat(arguments: &Arguments) -> Result<u64> {
    let [accessed, modified] = read_microseconds(arguments[2])?;
    let place = times_place(arguments[0], arguments[1], 0)?;
    attributes::change_times(&place, accessed, modified).map(|()| 0)
}

/// Where times are set: a NULL name means the descriptor itself.
fn times_place(directory_fd: u64, name: u64, flags: u32) -> Result<Path> {
    if name != 0 || directory_fd as i32 == sys::AT_FDCWD {
        return look_up(directory_fd, name, flags, 0);
    }
    if flags != 0 {
        return Err(Errno::INVAL);
    }
    Ok(file(directory_fd)?.path.clone())
}

/// Two `struct timespec` with their special values, or NULL for now.
fn read_times(address: u64) -> Result<[NewTime; 2]> {
    let Some(times) = UserPointer::<[i64; 4]>::new(address).non_null() else { return Ok([NewTime::Now; 2]) };
    let [accessed_s, accessed_ns, modified_s, modified_ns] = times.read()?;
    let time = |seconds: i64, nanoseconds: i64| {
        if nanoseconds == i64::from(sys::UTIME_NOW) {
            return Ok(NewTime::Now);
        }
        if nanoseconds == i64::from(sys::UTIME_OMIT) {
            return Ok(NewTime::Omit);
        }
        if !(0..NS_PER_S as i64).contains(&nanoseconds) {
            return Err(Errno::INVAL);
        }
        Ok(NewTime::At(i128::from(seconds) * NS_PER_S + i128::from(nanoseconds)))
    };
    Ok([time(accessed_s, accessed_ns)?, time(modified_s, modified_ns)?])
}

fn utimensat(arguments: &Arguments) -> Result<u64> {
    let [accessed, modified] = read_times(arguments[2])?;
    if accessed == NewTime::Omit && modified == NewTime::Omit {
        return Ok(0);
    }
    let place = times_place(arguments[0], arguments[1], arguments[3] as u32)?;
    attributes::change_times(&place, accessed, modified).map(|()| 0)
}

fn access(arguments: &Arguments) -> Result<u64> {
    check_access(sys::AT_FDCWD, arguments[0], arguments[1], 0)
}

fn faccessat(arguments: &Arguments) -> Result<u64> {
    check_access(arguments[0] as i32, arguments[1], arguments[2], 0)
}

fn faccessat2(arguments: &Arguments) -> Result<u64> {
    check_access(arguments[0] as i32, arguments[1], arguments[2], arguments[3] as u32)
}

fn check_access(directory_fd: i32, name: u64, mode: u64, flags: u32) -> Result<u64> {
    let mode = mode as u32;
    let known = sys::AT_EACCESS | sys::AT_SYMLINK_NOFOLLOW | sys::AT_EMPTY_PATH;
    if mode & !0o7 != 0 || flags & !known != 0 {
        return Err(Errno::INVAL);
    }
    let mut lookup = LookupFlags::empty();
    lookup.set(LookupFlags::FOLLOW, flags & sys::AT_SYMLINK_NOFOLLOW == 0);
    lookup.set(LookupFlags::EMPTY_PATH, flags & sys::AT_EMPTY_PATH != 0);
    let access = permission::Access::from_bits_truncate(mode);
    permission::check_access(directory_fd, &read_path(name)?, lookup, access, flags & sys::AT_EACCESS != 0).map(|()| 0)
}
