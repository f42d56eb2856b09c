//! System calls: stat, statx, statfs and their kin.

use super::attributes::look_up;
use super::{Arguments, Entry};
use crate::errno::{Errno, Result};
use crate::fs::stat::{Freshness, Known, Stat, StatRequest};
use crate::fs::superblock::split_device;
use crate::fs::{Attributes, Inode, Path, SuperBlock, mount};
use crate::mm::UserPointer;
use crate::task::current;
use alloc::sync::Arc;
use linux_raw_sys::general as sys;

pub(super) const TABLE: &[Entry] = &[
    Entry(sys::__NR_stat, "stat", stat),
    Entry(sys::__NR_lstat, "lstat", lstat),
    Entry(sys::__NR_fstat, "fstat", fstat),
    Entry(sys::__NR_newfstatat, "newfstatat", newfstatat),
    Entry(sys::__NR_statx, "statx", statx),
    Entry(sys::__NR_statfs, "statfs", statfs),
    Entry(sys::__NR_fstatfs, "fstatfs", fstatfs),
    Entry(sys::__NR_ustat, "ustat", |_| Err(Errno::INVAL)),
];

/// Words of `struct stat` on x86-64 (`asm/stat.h`): mode and uid, gid and padding share a word each.
const STAT_WORDS: usize = 18;
/// Words of `struct statfs` (`asm/statfs.h`).
const STATFS_WORDS: usize = 15;
const NS_PER_S: i128 = 1_000_000_000;
/// `ST_VALID`: f_flags mean something (`include/linux/statfs.h`).
const ST_VALID: u64 = 0x20;

fn seconds_and_nanoseconds(time: i128) -> (i64, u32) {
    match i64::try_from(time) {
        // Until the year 2262: a division in one instruction.
        Ok(time) => (time.div_euclid(NS_PER_S as i64), time.rem_euclid(NS_PER_S as i64) as u32),
        Err(_) => (time.div_euclid(NS_PER_S) as i64, time.rem_euclid(NS_PER_S) as u32),
    }
}

/// The full mode of a file, type and permissions.
fn full_mode(inode: &Inode, attributes: &Attributes) -> u32 {
    inode.file_type.mode_bits() | attributes.mode
}

fn block_size(inode: &Inode, attributes: &Attributes) -> u32 {
    if attributes.block_size_bytes != 0 { attributes.block_size_bytes } else { inode.superblock.ops.block_size_bytes() }
}

fn write_stat(inode: &Arc<Inode>, freshness: Freshness, address: u64) -> Result<u64> {
    inode.ops.refresh(inode, StatRequest { birth_time: false, freshness })?;
    let attributes = inode.ops.attributes(inode)?;
    let credentials = current().credentials();
    let namespace = &credentials.user_namespace;
    let pair = |low: u32, high: u32| u64::from(low) | (u64::from(high) << 32);
    let time = |time: i128| {
        let (seconds, nanoseconds) = seconds_and_nanoseconds(time);
        [seconds as u64, u64::from(nanoseconds)]
    };
    let mut words = [0u64; STAT_WORDS];
    (words[0], words[1]) = inode.ops.shown_identity(inode);
    words[2] = u64::from(attributes.links);
    words[3] = pair(full_mode(inode, &attributes), namespace.shown_uid(attributes.uid));
    words[4] = u64::from(namespace.shown_gid(attributes.gid));
    words[5] = inode.device;
    words[6] = attributes.size_bytes;
    words[7] = u64::from(block_size(inode, &attributes));
    words[8] = attributes.blocks;
    words[9..11].copy_from_slice(&time(attributes.accessed));
    words[11..13].copy_from_slice(&time(attributes.modified));
    words[13..15].copy_from_slice(&time(attributes.changed));
    UserPointer::<[u64; STAT_WORDS]>::new(address).write(words).map(|()| 0)
}

fn stat_place(place: &Path, freshness: Freshness, address: u64) -> Result<u64> {
    write_stat(&place.inode().ok_or(Errno::NOENT)?, freshness, address)
}

/// `AT_STATX_SYNC_TYPE`.
fn freshness_of(flags: u32) -> Freshness {
    match flags & sys::AT_STATX_SYNC_TYPE {
        sys::AT_STATX_FORCE_SYNC => Freshness::Asked,
        sys::AT_STATX_DONT_SYNC => Freshness::Known,
        _ => Freshness::AsStat,
    }
}

const CURRENT_DIRECTORY: u64 = sys::AT_FDCWD as u64;

fn stat(arguments: &Arguments) -> Result<u64> {
    stat_place(&look_up(CURRENT_DIRECTORY, arguments[0], 0, 0)?, Freshness::AsStat, arguments[1])
}

fn lstat(arguments: &Arguments) -> Result<u64> {
    stat_place(&look_up(CURRENT_DIRECTORY, arguments[0], sys::AT_SYMLINK_NOFOLLOW, 0)?, Freshness::AsStat, arguments[1])
}

fn fstat(arguments: &Arguments) -> Result<u64> {
    write_stat(&current().files().get(arguments[0] as i32)?.inode, Freshness::AsStat, arguments[1])
}

fn newfstatat(arguments: &Arguments) -> Result<u64> {
    let flags = arguments[3] as u32;
    let ignored = sys::AT_NO_AUTOMOUNT | sys::AT_STATX_SYNC_TYPE;
    stat_place(&look_up(arguments[0], arguments[1], flags, ignored)?, freshness_of(flags), arguments[2])
}

fn statx(arguments: &Arguments) -> Result<u64> {
    let (flags, mask) = (arguments[2] as u32, arguments[3] as u32);
    if mask & sys::STATX__RESERVED != 0 || flags & sys::AT_STATX_SYNC_TYPE == sys::AT_STATX_SYNC_TYPE {
        return Err(Errno::INVAL);
    }
    let place = look_up(arguments[0], arguments[1], flags, sys::AT_NO_AUTOMOUNT | sys::AT_STATX_SYNC_TYPE)?;
    // Who wants nothing that may be old asks for nothing.
    let asks = mask & (sys::STATX_BASIC_STATS | sys::STATX_BTIME) != 0;
    let words = statx_words(&place, mask, if asks { freshness_of(flags) } else { Freshness::Known })?;
    UserPointer::<[u64; STATX_WORDS]>::new(arguments[4]).write(words).map(|()| 0)
}

/// Words of `struct statx` (`linux/stat.h`).
const STATX_WORDS: usize = 32;

fn statx_words(place: &Path, wanted: u32, freshness: Freshness) -> Result<[u64; STATX_WORDS]> {
    let inode = place.inode().ok_or(Errno::NOENT)?;
    let request = StatRequest { birth_time: wanted & sys::STATX_BTIME != 0, freshness };
    let Stat { attributes, known } = inode.ops.stat(&inode, request)?;
    let namespace = current().credentials().user_namespace.clone();
    let pair = |low: u32, high: u32| u64::from(low) | (u64::from(high) << 32);
    let time = |time: i128| {
        let (seconds, nanoseconds) = seconds_and_nanoseconds(time);
        [seconds as u64, u64::from(nanoseconds)]
    };
    let mut mask = sys::STATX_MNT_ID | known.bits();
    let mut mount_id = u64::from(mount::number(place.mount()));
    if wanted & sys::STATX_MNT_ID_UNIQUE != 0 {
        mask = (mask & !sys::STATX_MNT_ID) | sys::STATX_MNT_ID_UNIQUE;
        mount_id = mount::unique_id(place.mount());
    }
    let root = if mount::is_mount_root(place) { u64::from(sys::STATX_ATTR_MOUNT_ROOT) } else { 0 };
    let device = |number: u64| {
        let (major, minor) = split_device(number);
        pair(major, minor)
    };
    let mut words = [0u64; STATX_WORDS];
    words[0] = pair(mask, block_size(&inode, &attributes));
    words[1] = root;
    words[2] = pair(attributes.links, namespace.shown_uid(attributes.uid));
    words[3] = pair(namespace.shown_gid(attributes.gid), full_mode(&inode, &attributes));
    let (shown_device, shown_number) = inode.ops.shown_identity(&inode);
    words[4] = shown_number;
    words[5] = attributes.size_bytes;
    words[6] = attributes.blocks;
    words[7] = u64::from(sys::STATX_ATTR_MOUNT_ROOT | sys::STATX_ATTR_AUTOMOUNT | sys::STATX_ATTR_DAX);
    words[8..10].copy_from_slice(&time(attributes.accessed));
    if let Some(created) = attributes.created.filter(|_| known.contains(Known::BIRTH_TIME)) {
        words[10..12].copy_from_slice(&time(created));
    }
    words[12..14].copy_from_slice(&time(attributes.changed));
    words[14..16].copy_from_slice(&time(attributes.modified));
    words[16] = device(inode.device);
    words[17] = device(shown_device);
    words[18] = mount_id;
    Ok(words)
}

fn write_statfs(superblock: &SuperBlock, place: &Path, address: u64) -> Result<u64> {
    let statistics = superblock.ops.statistics_at(superblock, place.dentry())?;
    let words: [u64; STATFS_WORDS] = [
        statistics.magic,
        statistics.block_size_bytes,
        statistics.blocks,
        statistics.blocks_free,
        statistics.blocks_available,
        statistics.files,
        statistics.files_free,
        superblock.device,
        statistics.name_max_bytes,
        statistics.fragment_size_bytes.unwrap_or(statistics.block_size_bytes),
        ST_VALID | mount::statistics_flags(place),
        0,
        0,
        0,
        0,
    ];
    UserPointer::<[u64; STATFS_WORDS]>::new(address).write(words).map(|()| 0)
}

fn statfs(arguments: &Arguments) -> Result<u64> {
    let place = look_up(CURRENT_DIRECTORY, arguments[0], 0, 0)?;
    let superblock = mount::superblock(place.mount()).ok_or(Errno::NOENT)?;
    write_statfs(&superblock, &place, arguments[1])
}

fn fstatfs(arguments: &Arguments) -> Result<u64> {
    let place = current().files().get(arguments[0] as i32)?.path.clone();
    let superblock = mount::superblock(place.mount()).ok_or(Errno::NOENT)?;
    write_statfs(&superblock, &place, arguments[1])
}
