//! Segments of shared memory (`shmget(2)`, `shmop(2)`, `shmctl(2)`): files without a name that are found by key.
//!
//! An attachment is an area of memory that maps such a file, through an open file of its own; when the last area of it goes, the
//! open file is released, and so the segment hears of it. A segment that is removed goes with its last attachment.

use super::table::{Access, Change, Header, Object, Request};
use super::{IpcNamespace, Setting, now_s};
use crate::errno::{Errno, Result};
use crate::fs::file::open_file_behind;
use crate::fs::inode::AttributeChange;
use crate::fs::{FileOps, Inode, OpenFile, OpenFlags, Path, memfd};
use crate::mm::address_space::{Backing, MapRequest, MappedFile, Protection};
use crate::mm::{AddressSpace, PAGE_SIZE_BYTES};
use crate::sync::SpinLock;
use crate::task::pid::Pid;
use crate::task::{Capabilities, current};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use linux_raw_sys::general as sys;

const PAGE: u64 = PAGE_SIZE_BYTES as u64;
/// `SHM_*` of `shmat` (`<sys/shm.h>`).
const SHM_RDONLY: u32 = 0o10000;
const SHM_RND: u32 = 0o20000;
const SHM_REMAP: u32 = 0o40000;
const SHM_EXEC: u32 = 0o100000;
/// `SHM_HUGETLB` of `shmget`.
const SHM_HUGETLB: u32 = 0o4000;
/// Flags in a segment's mode: it goes with its last attachment; it is locked.
const SHM_DEST: u32 = 0o1000;
const SHM_LOCKED: u32 = 0o2000;

/// A segment.
pub struct Segment {
    header: SpinLock<Header>,
    /// As asked for.
    pub size_bytes: u64,
    inode: Arc<Inode>,
    place: Path,
    namespace: Weak<IpcNamespace>,
    state: SpinLock<State>,
}

struct State {
    /// Each `shmat`; its areas count.
    attachments: Vec<Weak<dyn MappedFile>>,
    attached_s: i64,
    detached_s: i64,
    maker: Arc<Pid>,
    last: Option<Arc<Pid>>,
}

impl Object for Segment {
    fn header(&self) -> &SpinLock<Header> {
        &self.header
    }
}

/// What `IPC_STAT` and `/proc/sysvipc/shm` tell.
#[allow(missing_docs)]
pub struct Status {
    pub header: Header,
    pub size_bytes: u64,
    pub attachments: u64,
    pub attached_s: i64,
    pub detached_s: i64,
    pub maker: u32,
    pub last: u32,
    pub resident_bytes: u64,
}

impl Segment {
    /// How many areas map it.
    fn attachments(&self) -> u64 {
        self.state.lock().attachments.iter().map(|attachment| attachment.strong_count() as u64).sum()
    }

    /// All there is to know.
    pub fn status(&self) -> Status {
        let attachments = self.attachments();
        let header = self.header.lock().clone();
        let resident_bytes = self.inode.ops.attributes(&self.inode).map_or(0, |attributes| attributes.blocks * 512);
        let state = self.state.lock();
        let pids = current().pid().namespace().clone();
        Status {
            header,
            size_bytes: self.size_bytes,
            attachments,
            attached_s: state.attached_s,
            detached_s: state.detached_s,
            maker: state.maker.number_in(&pids),
            last: state.last.as_ref().map_or(0, |pid| pid.number_in(&pids)),
            resident_bytes,
        }
    }

    /// An area of it is gone by the calling process' doing.
    fn detached(&self) {
        let gone = {
            let mut state = self.state.lock();
            state.detached_s = now_s();
            state.last = Some(current().process.id.clone());
            state.attachments.retain(|attachment| attachment.strong_count() > 0);
            state.attachments.is_empty() && self.header.lock().mode & SHM_DEST != 0
        };
        if let (true, Some(namespace)) = (gone, self.namespace.upgrade()) {
            let id = self.header.lock().id;
            let removed = namespace.shared_memory.lock().remove(id);
            drop(removed);
        }
    }
}

/// The file behind the areas of one `shmat`.
struct Attachment {
    segment: Arc<Segment>,
}

impl FileOps for Attachment {
    fn release(&self, _file: &OpenFile) {
        self.segment.detached();
    }
}

fn namespace() -> Arc<IpcNamespace> {
    current().namespaces().ipc.clone()
}

fn pages(size_bytes: u64) -> u64 {
    size_bytes.div_ceil(PAGE)
}

/// `shmget(2)`.
pub fn get(key: i32, size_bytes: u64, flags: u32) -> Result<i32> {
    let namespace = namespace();
    let request = Request { key, flags, most: namespace.setting(Setting::Shmmni) };
    let fits = |segment: &Segment| if segment.size_bytes < size_bytes { Err(Errno::INVAL) } else { Ok(()) };
    let mut table = namespace.shared_memory.lock();
    table.get(&namespace, request, fits, |table, header| {
        let used: u64 = table.all().map(|segment| pages(segment.size_bytes)).sum();
        // No huge pages are set aside.
        if size_bytes == 0 || size_bytes > namespace.setting(Setting::Shmmax) || flags & SHM_HUGETLB != 0 {
            return Err(Errno::INVAL);
        }
        if used.saturating_add(pages(size_bytes)) > namespace.setting(Setting::Shmall) {
            return Err(Errno::NOSPC);
        }
        let (inode, place) = memfd::make_unnamed(alloc::format!("SYSV{key:08x}").as_bytes(), flags & 0o777, sys::F_SEAL_SEAL)?;
        inode.ops.set_attributes(&inode, &AttributeChange { size_bytes: Some(size_bytes), ..AttributeChange::default() })?;
        let state = State { attachments: Vec::new(), attached_s: 0, detached_s: 0, maker: current().process.id.clone(), last: None };
        let namespace = Arc::downgrade(&namespace);
        Ok(Segment { header: SpinLock::new(header), size_bytes, inode, place, namespace, state: SpinLock::new(state) })
    })
}

fn space() -> Result<Arc<AddressSpace>> {
    current().process.address_space().ok_or(Errno::NOMEM)
}

/// `shmat(2)`: where it is.
pub fn attach(id: i32, address: u64, flags: u32, limit_bytes: u64) -> Result<u64> {
    let namespace = namespace();
    let remap = flags & SHM_REMAP != 0;
    let address = match address % PAGE {
        _ if address == 0 && remap => return Err(Errno::INVAL),
        0 => address,
        _ if flags & SHM_RND == 0 => return Err(Errno::INVAL),
        // Rounded to 0 it would replace what is at the beginning.
        _ if address < PAGE && remap => return Err(Errno::INVAL),
        rest => address - rest,
    };
    let (access, open_flags, mut protection) = match flags & SHM_RDONLY != 0 {
        true => (Access::Read, OpenFlags::empty(), Protection::READ),
        false => (Access::ReadWrite, OpenFlags::RDWR, Protection::READ | Protection::WRITE),
    };
    let segment = namespace.shared_memory.lock().find(id)?;
    segment.header.lock().check(&namespace, access)?;
    let mut most = Protection::all();
    most.set(Protection::WRITE, protection.contains(Protection::WRITE));
    protection.set(Protection::EXEC, flags & SHM_EXEC != 0);
    let file = OpenFile::new(
        segment.place.clone(),
        segment.inode.clone(),
        open_flags,
        current().credentials(),
        Arc::new(Attachment { segment: segment.clone() }),
    );
    let mapped = file.mapped()?;
    let noted = Arc::downgrade(&mapped);
    drop(file);
    let request = MapRequest {
        address,
        len_bytes: segment.size_bytes,
        protection,
        max_protection: most,
        fixed: address != 0,
        no_replace: address != 0 && !remap,
        grows_down: false,
        populate: false,
        low: false,
        backing: Backing::File { file: mapped, offset_bytes: 0, shared: true },
    };
    {
        let mut state = segment.state.lock();
        state.attached_s = now_s();
        state.last = Some(current().process.id.clone());
        state.attachments.push(noted);
    }
    // What is in the way is EINVAL here.
    space()?.map(request, limit_bytes).map_err(|error| if error == Errno::EXIST { Errno::INVAL } else { error })
}

/// `shmdt(2)`: takes the segment away that is attached at `address`, or what is left of it.
pub fn detach(address: u64) -> Result<()> {
    if !address.is_multiple_of(PAGE) {
        return Err(Errno::INVAL);
    }
    let space = space()?;
    let mut found: Option<Arc<OpenFile>> = None;
    let mut ranges = Vec::new();
    space.for_each_area(&mut |area| {
        let Some(file) = area.file.and_then(open_file_behind) else { return };
        let begins_there = area.start.checked_sub(area.offset_bytes) == Some(address);
        let same = found.as_ref().is_none_or(|found| Arc::ptr_eq(found, file));
        if begins_there && same && file.downcast::<Attachment>().is_some() {
            found = Some(file.clone());
            ranges.push((area.start, area.end - area.start));
        }
    });
    let file = found.ok_or(Errno::INVAL)?;
    for (start, len_bytes) in ranges {
        space.unmap(start, len_bytes)?;
    }
    // Others may still have it, so that the file lives on; the segment hears of this one all the same.
    if let Some(attachment) = file.downcast::<Attachment>() {
        attachment.segment.detached();
    }
    Ok(())
}

/// `IPC_STAT`, and `SHM_STAT`: the id, and what there is to know. `SHM_STAT_ANY` asks nobody (`unasked`).
pub fn status(number: i32, by_place: bool, unasked: bool) -> Result<(i32, Status)> {
    let namespace = namespace();
    let found = namespace.shared_memory.lock().look_at(&namespace, number, by_place, unasked);
    found.map(|(id, segment)| (id, segment.status()))
}

/// `IPC_RMID`: now, or with the last attachment.
pub fn remove(id: i32) -> Result<()> {
    let namespace = namespace();
    let mut table = namespace.shared_memory.lock();
    let segment = table.find(id)?;
    segment.header.lock().check_owner(&namespace)?;
    if segment.attachments() == 0 {
        let removed = table.remove(id);
        drop(table);
        drop((removed, segment));
    } else {
        let mut header = segment.header.lock();
        header.mode |= SHM_DEST;
        header.key = super::table::IPC_PRIVATE;
    }
    Ok(())
}

/// `IPC_SET`.
pub fn set(id: i32, change: Change) -> Result<()> {
    let namespace = namespace();
    namespace.shared_memory.lock().change(&namespace, id, change).map(drop)
}

/// `SHM_LOCK` and `SHM_UNLOCK`. Nothing is ever swapped out here, so that the mark is all there is to it.
pub fn set_locked(id: i32, locked: bool) -> Result<()> {
    let namespace = namespace();
    let segment = namespace.shared_memory.lock().find(id)?;
    let mut header = segment.header.lock();
    let credentials = current().credentials();
    if !credentials.capable_in(Capabilities::IPC_LOCK, &namespace.owner) {
        header.check_owner(&namespace)?;
        if locked && current().process.limit(sys::RLIMIT_MEMLOCK) == 0 {
            return Err(Errno::PERM);
        }
    }
    header.mode = if locked { header.mode | SHM_LOCKED } else { header.mode & !SHM_LOCKED };
    Ok(())
}
