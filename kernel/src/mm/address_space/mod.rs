//! A program's memory: areas, demand paging, copy on write.
//!
//! [`area`] keeps what is mapped where, [`fault`] makes pages present, the other files hold one group of calls each. Everything happens
//! under one sleeping lock, since filling a page may wait for a filesystem.

mod advise;
mod area;
mod brk;
mod fault;
mod fork;
mod identity;
mod map;
mod mappings;
mod protect;
mod remap;
mod remote;
mod shared;
mod view;

use crate::arch::paging::{self, PRESENT};
use crate::errno::Result;
use crate::mm::page_table::{self, PageTable};
use crate::mm::{Frame, PAGE_SIZE_BYTES};
use crate::sync::SpinLock;
use crate::task::SleepMutex;
use alloc::sync::{Arc, Weak};
use area::{Area, AreaBacking, Areas};
use bitflags::bitflags;
use core::any::Any;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

pub use identity::PageIdentity;
pub use mappings::Mappings;
pub use shared::SharedMemory;
pub use view::AreaView;

/// Areas that one program may have (`vm.max_map_count` of Linux).
const MAX_AREAS: usize = 65530;
/// Free addresses kept below a stack (`stack_guard_gap`: 256 pages).
const STACK_GUARD_BYTES: u64 = 256 * PAGE_SIZE_BYTES as u64;
/// Where the search for free addresses starts, downwards: below what a stack of half a GiB needs.
const MAP_TOP: u64 = 0x7fff_d000_0000;
/// `vm.mmap_min_addr`: nothing is put below without `MAP_FIXED`.
const MAP_BOTTOM: u64 = 0x1_0000;
/// First address behind what 32-bit pointers reach (`MAP_32BIT` searches below 2 GiB).
const LOW_TOP: u64 = 0x8000_0000;
/// More pages than this are forgotten all at once.
const MAX_SINGLE_INVALIDATIONS: u64 = 64;

bitflags! {
    /// `PROT_*` of `mmap(2)`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Protection: u32 {
        #[allow(missing_docs)]
        const READ = 1;
        #[allow(missing_docs)]
        const WRITE = 2;
        #[allow(missing_docs)]
        const EXEC = 4;
    }
}

/// What a program tried to do when a page was not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// A load.
    Read,
    /// A store.
    Write,
    /// An instruction fetch.
    Execute,
}

/// Why a fault cannot be served: becomes a signal with this `si_code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultError {
    /// SIGSEGV, SEGV_MAPERR: nothing is mapped there.
    NotMapped,
    /// SIGSEGV, SEGV_ACCERR: the mapping does not allow it.
    NotAllowed,
    /// SIGBUS, BUS_ADRERR: past the end of the file, or the filesystem is full or failed.
    Bus,
    /// No memory: the out-of-memory killer decides.
    OutOfMemory,
    /// The page has to be fetched first ([`PageSource::fetch`]). Never leaves the address space.
    Absent,
}

/// The pages of a file as mappings see them. Implemented by each filesystem's inodes that can be mapped
/// (`InodeOps::pages`).
pub trait PageSource: Send + Sync {
    /// The page at `index` (in pages from the file's start), shared with everybody who reads or writes the file.
    ///
    /// `for_write` tells that the page will be dirtied through a shared mapping: tmpfs allocates holes then (a read of a hole
    /// charges a page too). Called with the address space locked: it may wait for locks and memory, but not for programs, which may
    /// need the same address space. [`FaultError::Bus`] past the end of the file or when the filesystem is full, [`FaultError::Absent`]
    /// if [`Self::fetch`] must get it first.
    fn page(&self, index: u64, for_write: bool) -> core::result::Result<Frame, FaultError>;

    /// Gets the page at `index` from where the file is kept, so that [`Self::page`] finds it. Called without locks; may wait for
    /// whatever it takes.
    fn fetch(&self, index: u64) -> core::result::Result<(), FaultError> {
        let _ = index;
        Err(FaultError::Bus)
    }

    /// Writes back what was stored through shared mappings (`msync(2)`).
    fn write_back(&self) -> Result<()> {
        Ok(())
    }

    /// A shared mapping goes (`munmap(2)`, which tells of no error).
    fn unmapped(&self) {}

    /// Length of the file in bytes, now.
    fn len_bytes(&self) -> u64;
}

/// An open file as an area holds it: it keeps the mount busy (U7) and is named in `/proc/PID/maps` (`fs` implements it; the views
/// downcast it).
pub trait MappedFile: Any + Send + Sync {
    /// The file's pages.
    fn pages(&self) -> &Arc<dyn PageSource>;

    /// The registry on the file's inode that tells truncation which address spaces map it.
    fn mappings(&self) -> &Mappings;

    /// The same number for the same open file: neighbouring areas of it are one.
    fn identity(&self) -> usize;

    /// What `/proc/PID/maps` calls it if it is no open file.
    fn label(&self) -> &'static str {
        ""
    }

    /// Frees a part of the file, which reads as zeros afterwards (`MADV_REMOVE`). Called without the address space's lock, since it
    /// takes pages out of programs.
    fn punch_hole(&self, offset_bytes: u64, len_bytes: u64) -> Result<()>;
}

/// What `mmap` puts behind an area.
pub enum Backing {
    /// Zero-filled private memory.
    Anonymous,
    /// Zero-filled memory shared over fork.
    SharedAnonymous,
    /// A file, from this byte offset (a multiple of the page size). The open file keeps the mount busy (U7) and is named in `/proc/PID/maps`.
    File {
        /// The file as opened.
        file: Arc<dyn MappedFile>,
        /// Where the area begins in the file, in bytes.
        offset_bytes: u64,
        /// `MAP_SHARED`: stores reach the file.
        shared: bool,
    },
}

/// What `mmap` is asked for, decoded.
pub struct MapRequest {
    /// Address: a hint, or the place itself with `fixed`.
    pub address: u64,
    /// Bytes; rounded up to pages.
    pub len_bytes: u64,
    /// Access allowed.
    pub protection: Protection,
    /// Access that `mprotect` may ever allow (a file opened read-only, or on a noexec mount, limits it).
    pub max_protection: Protection,
    /// `MAP_FIXED`: replaces what is there. With `no_replace` (`MAP_FIXED_NOREPLACE`) `EEXIST` instead.
    pub fixed: bool,
    /// See `fixed`.
    pub no_replace: bool,
    /// `MAP_GROWSDOWN`, and the stack.
    pub grows_down: bool,
    /// `MAP_POPULATE`.
    pub populate: bool,
    /// `MAP_32BIT`: only addresses below 2 GiB.
    pub low: bool,
    /// What stands behind it.
    pub backing: Backing,
}

bitflags! {
    /// What an area remembers besides rights and content.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) struct AreaFlags: u32 {
        /// A stack: grows towards lower addresses.
        const GROWS_DOWN = 1;
        /// `MADV_DONTFORK`.
        const DONT_FORK = 1 << 1;
        /// `MADV_WIPEONFORK`.
        const WIPE_ON_FORK = 1 << 2;
        /// `mlock(2)`.
        const LOCKED = 1 << 3;
        /// `MADV_DONTDUMP`.
        const DONT_DUMP = 1 << 4;
        /// `MADV_HUGEPAGE`, remembered only.
        const HUGE_PAGE = 1 << 5;
        /// `MADV_NOHUGEPAGE`, remembered only.
        const NO_HUGE_PAGE = 1 << 6;
        /// `MADV_MERGEABLE`, remembered only.
        const MERGEABLE = 1 << 7;
    }
}

/// One program's memory map and page table. Shared by threads and by `vfork`. All methods take the map's sleeping lock.
pub struct AddressSpace {
    map: SleepMutex<Map>,
    /// Physical address of the page table's root, for [`Self::activate`] without the lock.
    root: u64,
    /// Itself, for the registries of files.
    me: Weak<Self>,
    /// The stack limit of the last fault, for faults that user copies cause.
    stack_limit_bytes: AtomicU64,
    /// `MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED` was called.
    membarrier_registered: AtomicBool,
}

/// What the lock protects.
struct Map {
    areas: Areas,
    table: PageTable,
    /// Where the break started, and where it is.
    break_start: u64,
    break_end: u64,
    mapped_bytes: u64,
    locked_bytes: u64,
    anonymous_pages: u64,
    file_pages: u64,
    /// Areas mapped from now on are locked (`mlockall(MCL_FUTURE)`).
    lock_future: bool,
}

/// The address space that the processor uses.
static ACTIVE: SpinLock<Weak<AddressSpace>> = SpinLock::new(Weak::new());
/// Its root table; 0 for none.
static ACTIVE_ROOT: AtomicU64 = AtomicU64::new(0);

/// The address space that the processor uses now: the running thread's. `None` in kernel threads that never had one.
pub(in crate::mm) fn active() -> Option<Arc<AddressSpace>> {
    let active = ACTIVE.lock();
    active.upgrade()
}

impl AddressSpace {
    /// An empty one with the kernel's half in place.
    pub fn new() -> Result<Arc<Self>> {
        let table = PageTable::new()?;
        let map = Map {
            areas: Areas::new(),
            table,
            break_start: 0,
            break_end: 0,
            mapped_bytes: 0,
            locked_bytes: 0,
            anonymous_pages: 0,
            file_pages: 0,
            lock_future: false,
        };
        Ok(Self::with_map(map))
    }

    fn with_map(map: Map) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            root: map.table.root(),
            map: SleepMutex::new(map),
            me: me.clone(),
            stack_limit_bytes: AtomicU64::new(8 << 20),
            membarrier_registered: AtomicBool::new(false),
        })
    }

    /// Loads the page table into the processor (the scheduler calls it at a switch).
    pub fn activate(&self) {
        if ACTIVE_ROOT.swap(self.root, Ordering::AcqRel) != self.root {
            let old = core::mem::replace(&mut *ACTIVE.lock(), self.me.clone());
            paging::load_root(self.root);
            drop(old);
        }
    }

    fn is_active(&self) -> bool {
        ACTIVE_ROOT.load(Ordering::Acquire) == self.root
    }

    /// Whether the program has told that it will use private `membarrier(2)`.
    pub fn membarrier_registered(&self) -> bool {
        self.membarrier_registered.load(Ordering::Relaxed)
    }

    /// See [`Self::membarrier_registered`].
    pub fn set_membarrier_registered(&self) {
        self.membarrier_registered.store(true, Ordering::Relaxed);
    }

    /// Pages mapped in (RSS): anonymous and shared/file.
    pub fn resident_pages(&self) -> (u64, u64) {
        let map = self.map.lock();
        (map.anonymous_pages, map.file_pages)
    }

    /// Bytes mapped (VmSize).
    pub fn mapped_bytes(&self) -> u64 {
        self.map.lock().mapped_bytes
    }

    /// Bytes locked (VmLck).
    pub fn locked_bytes(&self) -> u64 {
        self.map.lock().locked_bytes
    }
}

impl Drop for AddressSpace {
    fn drop(&mut self) {
        if self.is_active() {
            ACTIVE_ROOT.store(0, Ordering::Release);
            paging::load_root(paging::kernel_root());
        }
        let me = core::ptr::from_ref(self);
        let map = self.map.get_mut();
        for area in map.areas.clear().into_values() {
            map.forget_pages(area.start, area.end);
            if let Some(file) = area.file() {
                file.mappings().remove(me, area.pages());
            }
        }
    }
}

impl Map {
    /// Takes the pages between `start` and `end` out of the table; translations in the processor stay (see [`Self::invalidate`]).
    fn forget_pages(&mut self, start: u64, end: u64) {
        let (mut anonymous, mut file) = (0, 0);
        self.table.for_each(start, end, &mut |_, entry| {
            let old = core::mem::take(entry);
            count(old, &mut anonymous, &mut file);
            drop(page_table::take_frame(old));
        });
        self.anonymous_pages -= anonymous;
        self.file_pages -= file;
    }

    /// Makes the processor forget translations between `start` and `end`, if this is the map that it uses.
    fn invalidate(&self, start: u64, end: u64) {
        if ACTIVE_ROOT.load(Ordering::Acquire) != self.table.root() {
            return;
        }
        if (end - start) / PAGE_SIZE_BYTES as u64 > MAX_SINGLE_INVALIDATIONS {
            paging::invalidate_all();
            return;
        }
        for address in (start..end).step_by(PAGE_SIZE_BYTES) {
            paging::invalidate_page(address);
        }
    }

    /// Puts a frame into an entry, counting it as resident and what was there not.
    fn install(&mut self, address: u64, value: u64) -> Result<()> {
        let entry = self.table.find_or_create(address)?;
        let old = core::mem::replace(entry, value | PRESENT);
        let (mut added, mut added_file, mut removed, mut removed_file) = (0, 0, 0, 0);
        count(value | PRESENT, &mut added, &mut added_file);
        if old & PRESENT != 0 {
            count(old, &mut removed, &mut removed_file);
            drop(page_table::take_frame(old));
        }
        self.anonymous_pages = self.anonymous_pages + added - removed;
        self.file_pages = self.file_pages + added_file - removed_file;
        self.invalidate(address, address + PAGE_SIZE_BYTES as u64);
        Ok(())
    }
}

/// Counts a present entry as the kind of resident page that it is.
fn count(entry: u64, anonymous: &mut u64, file: &mut u64) {
    if entry & page_table::ZERO_PAGE != 0 {
        return;
    }
    if entry & page_table::ANONYMOUS != 0 {
        *anonymous += 1;
    } else {
        *file += 1;
    }
}
