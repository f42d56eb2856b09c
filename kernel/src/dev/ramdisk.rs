//! RAM disks (`ram0`…): block devices whose blocks are frames, there only where something was written.
//!
//! `brd.rd_size=` (KiB) and `brd.rd_nr=` on the command line give size and number, by default one disk of 16 MiB.

use crate::errno::{Errno, Result};
use crate::fs::file::FileMapping;
use crate::fs::{FileOps, OpenFile, OpenFlags, Path};
use crate::mm::address_space::{FaultError, PageSource};
use crate::mm::{Frame, IoBuffer, PAGE_SIZE_BYTES, UserPointer};
use crate::sync::{Lazy, SpinLock};
use crate::task::{Capabilities, SleepMutex, current};
use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use linux_raw_sys::general::{SEEK_CUR, SEEK_DATA, SEEK_END, SEEK_HOLE, SEEK_SET};
use linux_raw_sys::ioctl::*;

/// Bytes of a sector as `BLKSSZGET` and `/sys/block` count them.
pub const SECTOR_SIZE_BYTES: u64 = 512;

const DEFAULT_SIZE_KIB: u64 = 16384;
/// Linux would make 16; programs ask for the first.
const DEFAULT_COUNT: u64 = 1;
/// Minors of the major number: more disks have no device number.
const MAX_COUNT: u64 = 256;
/// Read-ahead in sectors, the default of Linux (128 KiB).
const READ_AHEAD_SECTORS: u64 = 256;

static DISKS: Lazy<Vec<Arc<Ramdisk>>> = Lazy::new(|| {
    let size_kib = number_option("brd.rd_size").unwrap_or(DEFAULT_SIZE_KIB);
    let size_bytes = size_kib.min(u64::MAX / 2048) * 1024 / PAGE_SIZE_BYTES as u64 * PAGE_SIZE_BYTES as u64;
    let count = number_option("brd.rd_nr").map_or(DEFAULT_COUNT, |count| count.min(MAX_COUNT));
    (0..count).map(|_| Arc::new(Ramdisk::new(size_bytes))).collect()
});

fn number_option(key: &str) -> Option<u64> {
    crate::arch::command_line::option(key)?.parse().ok()
}

/// How many disks there are.
pub fn count() -> u32 {
    DISKS.len() as u32
}

/// The disk `ram<index>`.
pub fn get(index: u32) -> Option<&'static Arc<Ramdisk>> {
    DISKS.get(index as usize)
}

/// Opens a disk by device number.
pub fn open(device: u64, _path: &Path, flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
    let disk = get(crate::dev::registry::minor(device)).ok_or(Errno::NXIO)?;
    if flags.writable() && disk.is_read_only() {
        return Err(Errno::ACCES);
    }
    Ok(Arc::new(RamdiskFile { disk: disk.clone() }))
}

/// One disk.
pub struct Ramdisk {
    /// Bytes, a multiple of the page size.
    pub size_bytes: u64,
    pages: SpinLock<BTreeMap<u64, Frame>>,
    /// Serialises the filling of holes, which may block for memory.
    allocation: SleepMutex<()>,
    read_only: AtomicBool,
    /// Bytes read and written so far, for `/proc/diskstats`.
    pub traffic: Traffic,
}

/// What has been moved, as `/proc/diskstats` counts it.
#[derive(Default)]
#[allow(missing_docs)]
pub struct Traffic {
    pub reads: AtomicU64,
    pub sectors_read: AtomicU64,
    pub writes: AtomicU64,
    pub sectors_written: AtomicU64,
}

impl Ramdisk {
    fn new(size_bytes: u64) -> Self {
        Self {
            size_bytes,
            pages: SpinLock::new(BTreeMap::new()),
            allocation: SleepMutex::new(()),
            read_only: AtomicBool::new(false),
            traffic: Traffic::default(),
        }
    }

    /// Whether `BLKROSET` made it read-only.
    pub fn is_read_only(&self) -> bool {
        self.read_only.load(Ordering::Relaxed)
    }

    fn existing_page(&self, index: u64) -> Option<Frame> {
        self.pages.lock().get(&index).cloned()
    }

    fn page_for_write(&self, index: u64) -> Result<Frame> {
        let _guard = self.allocation.lock();
        if let Some(frame) = self.existing_page(index) {
            return Ok(frame);
        }
        let frame = Frame::alloc_zeroed()?;
        self.pages.lock().insert(index, frame.clone());
        Ok(frame)
    }

    /// Reads at most to the end of the disk.
    fn read_at(&self, buffer: &mut IoBuffer<'_>, mut offset: u64) -> Result<usize> {
        let before = buffer.done();
        let mut block = [0u8; 1024];
        while buffer.remaining() > 0 && offset < self.size_bytes {
            let part = part_of_page(offset, buffer.remaining().min(block.len()));
            match self.existing_page(offset / PAGE_SIZE_BYTES as u64) {
                Some(frame) => frame.read(within_page(offset), &mut block[..part]),
                None => block[..part].fill(0),
            }
            match buffer.put(&block[..part]) {
                Ok(stored) if stored == part => offset += part as u64,
                Ok(_) => break,
                Err(error) if buffer.done() == before => return Err(error),
                Err(_) => break,
            }
        }
        let moved = buffer.done() - before;
        self.traffic.reads.fetch_add(1, Ordering::Relaxed);
        self.traffic.sectors_read.fetch_add((moved as u64).div_ceil(SECTOR_SIZE_BYTES), Ordering::Relaxed);
        Ok(moved)
    }

    /// Writes at most to the end of the disk; `ENOSPC` if it begins there.
    fn write_at(&self, buffer: &mut IoBuffer<'_>, mut offset: u64) -> Result<usize> {
        if self.read_only.load(Ordering::Relaxed) {
            return Err(Errno::PERM);
        }
        if buffer.remaining() > 0 && offset >= self.size_bytes {
            return Err(Errno::NOSPC);
        }
        let before = buffer.done();
        let mut block = [0u8; 1024];
        while buffer.remaining() > 0 && offset < self.size_bytes {
            let part = part_of_page(offset, buffer.remaining().min(block.len()));
            let moved = match buffer.take(&mut block[..part]) {
                Ok(0) => break,
                Ok(taken) => match self.page_for_write(offset / PAGE_SIZE_BYTES as u64) {
                    Ok(frame) => {
                        frame.write(within_page(offset), &block[..taken]);
                        Ok(taken)
                    }
                    Err(error) => {
                        buffer.rewind(taken);
                        Err(error)
                    }
                },
                Err(error) => Err(error),
            };
            match moved {
                Ok(moved) => offset += moved as u64,
                Err(error) if buffer.done() == before => return Err(error),
                Err(_) => break,
            }
        }
        let moved = buffer.done() - before;
        self.traffic.writes.fetch_add(1, Ordering::Relaxed);
        self.traffic.sectors_written.fetch_add((moved as u64).div_ceil(SECTOR_SIZE_BYTES), Ordering::Relaxed);
        Ok(moved)
    }

    /// Gives the pages of a range back; parts of pages are cleared.
    fn clear(&self, start: u64, end: u64) {
        let page = PAGE_SIZE_BYTES as u64;
        let mut freed = Vec::new();
        let mut pages = self.pages.lock();
        let touched: Vec<u64> = pages.range(start / page..end.div_ceil(page)).map(|(index, _)| *index).collect();
        for index in touched {
            let (first, last) = (start.max(index * page), end.min((index + 1) * page));
            if last - first == page {
                freed.extend(pages.remove(&index));
            } else if let Some(frame) = pages.get(&index) {
                frame.zero(within_page(first), (last - first) as usize);
            }
        }
        drop(pages);
    }
}

/// How much of `len_bytes` from `offset` on lies in one page.
fn part_of_page(offset: u64, len_bytes: usize) -> usize {
    len_bytes.min(PAGE_SIZE_BYTES - within_page(offset))
}

fn within_page(offset: u64) -> usize {
    (offset % PAGE_SIZE_BYTES as u64) as usize
}

impl PageSource for Ramdisk {
    fn page(&self, index: u64, _for_write: bool) -> core::result::Result<Frame, FaultError> {
        if index >= self.size_bytes / PAGE_SIZE_BYTES as u64 {
            return Err(FaultError::Bus);
        }
        self.page_for_write(index).map_err(|_| FaultError::OutOfMemory)
    }

    fn len_bytes(&self) -> u64 {
        self.size_bytes
    }
}

struct RamdiskFile {
    disk: Arc<Ramdisk>,
}

impl FileOps for RamdiskFile {
    fn read(&self, _file: &OpenFile, buffer: &mut IoBuffer<'_>, offset: u64) -> Result<usize> {
        self.disk.read_at(buffer, offset)
    }

    fn write(&self, _file: &OpenFile, buffer: &mut IoBuffer<'_>, offset: &mut u64) -> Result<usize> {
        self.disk.write_at(buffer, *offset)
    }

    fn seek(&self, _file: &OpenFile, position: u64, offset: i64, whence: u32) -> Option<Result<u64>> {
        let size_bytes = self.disk.size_bytes;
        let base = match whence {
            SEEK_SET => 0,
            SEEK_CUR => position,
            SEEK_END => size_bytes,
            SEEK_DATA | SEEK_HOLE => {
                let position = u64::try_from(offset).ok().filter(|offset| *offset < size_bytes).ok_or(Errno::NXIO);
                return Some(position.map(|position| if whence == SEEK_DATA { position } else { size_bytes }));
            }
            _ => return Some(Err(Errno::INVAL)),
        };
        // A block device cannot be positioned past its end.
        Some(base.checked_add_signed(offset).filter(|target| *target <= size_bytes).ok_or(Errno::INVAL))
    }

    fn mapping(&self, _file: &OpenFile) -> Option<FileMapping> {
        Some(FileMapping::Pages(self.disk.clone()))
    }

    fn sync(&self, _file: &OpenFile, _data_only: bool) -> Result<()> {
        Ok(())
    }

    fn ioctl(&self, file: &OpenFile, request: u32, argument: u64) -> Result<usize> {
        let disk = &self.disk;
        match request {
            BLKGETSIZE64 => UserPointer::<u64>::new(argument).write(disk.size_bytes)?,
            BLKGETSIZE => UserPointer::<u64>::new(argument).write(disk.size_bytes / SECTOR_SIZE_BYTES)?,
            BLKSSZGET => UserPointer::<u32>::new(argument).write(SECTOR_SIZE_BYTES as u32)?,
            BLKPBSZGET | BLKBSZGET | BLKIOMIN => UserPointer::<u32>::new(argument).write(PAGE_SIZE_BYTES as u32)?,
            BLKIOOPT | BLKALIGNOFF | BLKDISCARDZEROES => UserPointer::<u32>::new(argument).write(0)?,
            BLKROTATIONAL => UserPointer::<u16>::new(argument).write(0)?,
            BLKSECTGET => UserPointer::<u16>::new(argument).write(READ_AHEAD_SECTORS as u16)?,
            BLKRAGET | BLKFRAGET => UserPointer::<u64>::new(argument).write(READ_AHEAD_SECTORS)?,
            BLKROGET => UserPointer::<u32>::new(argument).write(disk.read_only.load(Ordering::Relaxed).into())?,
            BLKROSET => {
                require_admin()?;
                let value = UserPointer::<u32>::new(argument).read()?;
                disk.read_only.store(value != 0, Ordering::Relaxed);
            }
            BLKBSZSET => check_block_size(UserPointer::<u32>::new(argument).read()?)?,
            // Nothing is cached beside the disk itself: there is nothing to write back, nothing to read again.
            BLKFLSBUF | BLKRRPART => require_admin()?,
            BLKDISCARD | BLKSECDISCARD | BLKZEROOUT => self.clear_range(file, argument)?,
            _ => return Err(Errno::NOTTY),
        }
        Ok(0)
    }
}

impl RamdiskFile {
    /// `BLKDISCARD` and its kin: two 64-bit numbers, start and length in bytes.
    fn clear_range(&self, file: &OpenFile, argument: u64) -> Result<()> {
        let flags = OpenFlags::from_bits_retain(file.flags.load(Ordering::Relaxed));
        if !flags.writable() {
            return Err(Errno::BADF);
        }
        let range = UserPointer::<u64>::new(argument);
        let (start, len_bytes) = (range.read()?, range.at(1).read()?);
        if start % SECTOR_SIZE_BYTES != 0 || len_bytes % SECTOR_SIZE_BYTES != 0 {
            return Err(Errno::INVAL);
        }
        let end = start.checked_add(len_bytes).filter(|end| *end <= self.disk.size_bytes).ok_or(Errno::INVAL)?;
        self.disk.clear(start, end);
        Ok(())
    }
}

fn check_block_size(size_bytes: u32) -> Result<()> {
    require_admin()?;
    let fits = size_bytes.is_power_of_two() && (SECTOR_SIZE_BYTES as u32..=PAGE_SIZE_BYTES as u32).contains(&size_bytes);
    if fits { Ok(()) } else { Err(Errno::INVAL) }
}

fn require_admin() -> Result<()> {
    if current().credentials().capable(Capabilities::SYS_ADMIN) { Ok(()) } else { Err(Errno::ACCES) }
}
