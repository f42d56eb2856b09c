//! A program's memory: areas, demand paging, copy on write.

use crate::errno::{Errno, Result};
use crate::mm::Frame;
use alloc::sync::Arc;
use bitflags::bitflags;
use core::any::Any;

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
}

/// The pages of a file as mappings see them. Implemented by each filesystem's inodes that can be mapped
/// (`InodeOps::pages`).
pub trait PageSource: Send + Sync {
    /// The page at `index` (in pages from the file's start), shared with everybody who reads or writes the file.
    ///
    /// `for_write` tells that the page will be dirtied through a shared mapping: tmpfs allocates holes then (a read of a hole
    /// charges a page too). May block. [`FaultError::Bus`] past the end of the file or when the filesystem is full.
    fn page(&self, index: u64, for_write: bool) -> core::result::Result<Frame, FaultError>;

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
    /// What stands behind it.
    pub backing: Backing,
}

/// One program's memory map and page table. Shared by threads and by `vfork`. All methods take the map's sleeping lock.
pub struct AddressSpace {}

#[allow(missing_docs, unused_variables)]
impl AddressSpace {
    /// An empty one with the kernel's half in place.
    pub fn new() -> Result<Arc<Self>> {
        Err(Errno::NOMEM)
    }
    /// The copy for `fork`: private pages are shared copy-on-write, `MADV_DONTFORK`/`WIPEONFORK` honoured.
    pub fn fork(&self) -> Result<Arc<Self>> {
        todo!()
    }
    /// Loads the page table into the processor (the scheduler calls it at a switch).
    pub fn activate(&self) {
        todo!()
    }
    /// `mmap(2)`: the address chosen. Checks `RLIMIT_AS`/`RLIMIT_DATA` passed in by the caller through `limit_bytes`.
    pub fn map(&self, request: MapRequest, limit_bytes: u64) -> Result<u64> {
        todo!()
    }
    pub fn unmap(&self, address: u64, len_bytes: u64) -> Result<()> {
        todo!()
    }
    pub fn protect(&self, address: u64, len_bytes: u64, protection: Protection) -> Result<()> {
        todo!()
    }
    pub fn remap(&self, old_address: u64, old_len_bytes: u64, new_len_bytes: u64, flags: u32, new_address: u64) -> Result<u64> {
        todo!()
    }
    pub fn advise(&self, address: u64, len_bytes: u64, advice: u32) -> Result<()> {
        todo!()
    }
    pub fn sync(&self, address: u64, len_bytes: u64, flags: u32) -> Result<()> {
        todo!()
    }
    /// `brk(2)`: the new (or unchanged) break.
    pub fn set_break(&self, address: u64, limit_bytes: u64) -> u64 {
        todo!()
    }
    /// Where exec put the break's start.
    pub fn init_break(&self, address: u64) {
        todo!()
    }
    /// Makes the page at `address` present for `access`, or says which signal the program gets. Copy on write, stack growth,
    /// demand paging. `stack_limit_bytes` bounds growth.
    pub fn fault(&self, address: u64, access: Access, stack_limit_bytes: u64) -> core::result::Result<(), FaultError> {
        todo!()
    }
    /// Reads or writes another process's memory (`/proc/PID/mem`, `process_vm_readv`, ptrace-like needs, exec's argument copies).
    pub fn read_remote(&self, address: u64, bytes: &mut [u8]) -> Result<usize> {
        todo!()
    }
    pub fn write_remote(&self, address: u64, bytes: &[u8]) -> Result<usize> {
        todo!()
    }
    /// One call for each area, in address order, for `/proc/PID/maps`, `smaps`, and the totals of `statm`.
    pub fn for_each_area(&self, each: &mut dyn FnMut(&AreaView<'_>)) {
        todo!()
    }
    /// Pages mapped in (RSS): anonymous and shared/file.
    pub fn resident_pages(&self) -> (u64, u64) {
        todo!()
    }
    /// Bytes mapped (VmSize).
    pub fn mapped_bytes(&self) -> u64 {
        todo!()
    }
}

/// An area as `/proc/PID/maps` shows it.
pub struct AreaView<'a> {
    pub start: u64,
    pub end: u64,
    pub protection: Protection,
    pub shared: bool,
    pub offset_bytes: u64,
    pub file: Option<&'a Arc<dyn MappedFile>>,
    /// `[heap]`, `[stack]`, … or empty.
    pub label: &'static str,
    pub resident_pages: u64,
}

/// Which address spaces map pages of an inode (each inode has one).
#[derive(Default)]
pub struct Mappings {}

#[allow(unused_variables)]
impl Mappings {
    /// Takes the pages from `first_page` on out of every program that maps them (truncation, hole punching): the next touch faults
    /// anew. `private_too` also drops private copies (truncation does, hole punching does not).
    pub fn forget(&self, first_page: u64, pages: u64, private_too: bool) {
        todo!()
    }
}
