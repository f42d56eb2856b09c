//! `statmount(2)` and `listmount(2)`: mounts told one by one instead of in a table. 6.6 has
//! neither (rules A23 and X16); here they answer as in Linux 6.12.

use super::{Forest, as_caller, current_namespace, forest, place, refused};
use crate::errno::{Errno, Result};
use crate::task::current;
use alloc::{vec, vec::Vec};
use graft::MountId;
use graft::flags::MountFlags;
use graft::views::{ListStart, MountRecord};
use linux_raw_sys::general as sys;

/// Bytes of `struct statmount` (`linux/mount.h`) before its strings.
pub const HEADER_BYTES: usize = 512;
/// Room for the strings of most mounts.
const USUAL_STRINGS_BYTES: usize = 128;
/// Most ids that one `listmount(2)` gives.
const MAX_LISTED: usize = 1_000_000;
const STRINGS: u64 = (sys::STATMOUNT_MNT_ROOT | sys::STATMOUNT_MNT_POINT | sys::STATMOUNT_FS_TYPE | sys::STATMOUNT_MNT_OPTS) as u64;

/// What a mount is asked for by.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Unique id of the mount, or `LSMT_ROOT`.
    pub mount: u64,
    /// `STATMOUNT_*`, or the id after which listing goes on.
    pub parameter: u64,
    /// Sequence number of the namespace; 0 means the caller's.
    pub namespace: u64,
}

/// The namespace that a request is about. `ENOENT` for one that is not the caller's own.
fn namespace_of(request: &Request) -> Result<graft::NamespaceId> {
    let own = current_namespace();
    let sequence = forest().read().sequence(own).unwrap_or(0);
    if request.namespace == 0 || request.namespace == sequence { Ok(own) } else { Err(Errno::NOENT) }
}

/// Collects the answer: fixed fields at their offsets in the structure, strings behind it.
struct Answer {
    bytes: Vec<u8>,
    mask: u64,
}

impl Answer {
    fn new() -> Self {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + USUAL_STRINGS_BYTES);
        bytes.resize(HEADER_BYTES, 0);
        Self { bytes, mask: 0 }
    }

    fn word(&mut self, offset: usize, value: u32) {
        self.bytes[offset..offset + 4].copy_from_slice(&value.to_ne_bytes());
    }

    fn long(&mut self, offset: usize, value: u64) {
        self.bytes[offset..offset + 8].copy_from_slice(&value.to_ne_bytes());
    }

    /// A string: the field at `offset` tells where it begins.
    fn string(&mut self, offset: usize, text: &[u8]) {
        self.word(offset, (self.bytes.len() - HEADER_BYTES) as u32);
        self.bytes.extend_from_slice(text);
        self.bytes.push(0);
    }
}

/// `statmount(2)`: the structure with its strings behind it.
pub fn describe(request: &Request) -> Result<Vec<u8>> {
    let namespace = namespace_of(request)?;
    let root_path = current().fs().root();
    let root = place(&root_path);
    let credentials = current().credentials();
    let forest = forest().read();
    let mount = forest.visible_mount(&credentials, namespace, &root, request.mount).map_err(refused("statmount"))?;
    let record = forest.record(mount, &root).ok_or(Errno::NOENT)?;
    let mut answer = Answer::new();
    fill_numbers(&mut answer, &record, request.parameter);
    if request.parameter & u64::from(sys::STATMOUNT_MNT_NS_ID) != 0 {
        answer.mask |= u64::from(sys::STATMOUNT_MNT_NS_ID);
        answer.long(112, forest.sequence(namespace).unwrap_or(0));
    }
    fill_strings(&mut answer, &forest, mount, &record, &root, request.parameter)?;
    let mask = answer.mask;
    answer.word(0, answer.bytes.len() as u32);
    answer.long(8, mask);
    Ok(answer.bytes)
}

fn fill_numbers(answer: &mut Answer, record: &MountRecord<'_, super::KernelVfs>, wanted: u64) {
    let superblock = record.superblock.superblock();
    if wanted & u64::from(sys::STATMOUNT_SB_BASIC) != 0 {
        answer.mask |= u64::from(sys::STATMOUNT_SB_BASIC);
        let (major, minor) = crate::fs::superblock::split_device(superblock.device);
        answer.word(16, major);
        answer.word(20, minor);
        answer.long(24, superblock.ops.statistics(superblock).magic);
        let shown = sys::MS_RDONLY | sys::MS_SYNCHRONOUS | sys::MS_DIRSYNC | sys::MS_LAZYTIME;
        answer.word(32, superblock.flags.load(core::sync::atomic::Ordering::Relaxed) & shown);
    }
    if wanted & u64::from(sys::STATMOUNT_MNT_BASIC) != 0 {
        answer.mask |= u64::from(sys::STATMOUNT_MNT_BASIC);
        answer.long(40, record.unique_id);
        answer.long(48, record.parent_unique_id);
        answer.word(56, record.number);
        answer.word(60, record.parent_number);
        answer.long(64, attributes(record.flags));
        answer.long(72, propagation(record));
        answer.long(80, record.shared.unwrap_or(0).into());
        answer.long(88, record.master.unwrap_or(0).into());
    }
    if wanted & u64::from(sys::STATMOUNT_PROPAGATE_FROM) != 0 {
        answer.mask |= u64::from(sys::STATMOUNT_PROPAGATE_FROM);
        answer.long(96, record.propagate_from.or(record.master).unwrap_or(0).into());
    }
}

fn fill_strings(
    answer: &mut Answer,
    forest: &Forest,
    mount: MountId,
    record: &MountRecord<'_, super::KernelVfs>,
    root: &graft::Place<super::KernelVfs>,
    wanted: u64,
) -> Result<()> {
    use graft::Vfs;
    let no_memory = |_| Errno::NOMEM;
    let mut text = Vec::new();
    answer.mask |= wanted & STRINGS;
    if wanted & u64::from(sys::STATMOUNT_FS_TYPE) != 0 {
        answer.string(36, record.superblock.superblock().file_system.name().as_bytes());
    }
    if wanted & u64::from(sys::STATMOUNT_MNT_ROOT) != 0 {
        forest.write_root(record.root, &mut text).map_err(no_memory)?;
        answer.string(104, &text);
    }
    if wanted & u64::from(sys::STATMOUNT_MNT_POINT) != 0 {
        text.clear();
        let at = graft::Place::new(mount, record.root.clone());
        forest.append_path(&at, root, &mut text).map_err(no_memory)?;
        answer.string(108, &text);
    }
    if wanted & u64::from(sys::STATMOUNT_MNT_OPTS) != 0 {
        text.clear();
        forest.vfs().write_options(record.superblock, record.root, &mut text).map_err(no_memory)?;
        answer.string(4, text.strip_prefix(b",").unwrap_or(&text));
    }
    Ok(())
}

/// `MOUNT_ATTR_*`: relatime is the absence of the others.
fn attributes(flags: MountFlags) -> u64 {
    let mut shown = u64::from((flags - MountFlags::RELATIME).bits());
    if !flags.intersects(MountFlags::RELATIME | MountFlags::NOATIME) {
        shown |= u64::from(sys::MOUNT_ATTR_STRICTATIME);
    }
    shown
}

/// `MS_SHARED` and so on, as they are set.
fn propagation(record: &MountRecord<'_, super::KernelVfs>) -> u64 {
    let mut shown = 0;
    for (is_set, bit) in
        [(record.shared.is_some(), sys::MS_SHARED), (record.master.is_some(), sys::MS_SLAVE), (record.is_unbindable, sys::MS_UNBINDABLE)]
    {
        if is_set {
            shown |= bit;
        }
    }
    u64::from(if shown == 0 { sys::MS_PRIVATE } else { shown })
}

/// `listmount(2)`: at most `count` unique ids, ascending or, with `reverse`, descending.
pub fn list(request: &Request, count: usize, reverse: bool) -> Result<Vec<u64>> {
    if count > MAX_LISTED {
        return Err(Errno::OVERFLOW);
    }
    let namespace = namespace_of(request)?;
    let root_path = current().fs().root();
    let root = place(&root_path);
    let start = if request.mount == sys::LSMT_ROOT as i64 as u64 { ListStart::Root } else { ListStart::Mount(request.mount) };
    as_caller(|caller| {
        let forest = forest().read();
        let all = forest.mount_count(namespace).unwrap_or(0) as usize;
        let (room, after) = if reverse { (all, 0) } else { (count.min(all), request.parameter) };
        let mut ids = vec![0; room];
        let found = forest.list_mounts(caller, namespace, &root, start, after, &mut ids).map_err(refused("listmount"))?;
        ids.truncate(found);
        if reverse {
            ids.retain(|&id| request.parameter == 0 || id < request.parameter);
            ids.reverse();
            ids.truncate(count);
        }
        Ok(ids)
    })
}
