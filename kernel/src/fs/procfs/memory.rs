//! What a process has in memory: maps, mem, statm, cmdline, environ, auxv.

use super::access;
use super::links::path_text;
use super::process::View;
use crate::errno::{Errno, Result};
use crate::fs::file::open_file_behind;
use crate::fs::generated::Text;
use crate::fs::{FileOps, OpenFile, OpenFlags};
use crate::mm::address_space::{AreaView, Protection};
use crate::mm::{AddressSpace, IoBuffer, PAGE_SIZE_BYTES};
use crate::task::{Process, Thread};
use crate::{put, put_line};
use alloc::{sync::Arc, vec::Vec};

/// KiB in a page.
pub(super) const PAGE_KIB: u64 = PAGE_SIZE_BYTES as u64 / 1024;
/// Where the name begins in a line of `maps` (Linux: behind 24 bytes and six words, and a blank).
pub(super) const NAME_COLUMN: usize = 73;
/// Bytes of arguments and environment that are read at most: `execve` allows no more.
const STRINGS_LIMIT_BYTES: u64 = 8 << 20;

/// Where the parts of a program lie.
#[derive(Default)]
pub(super) struct Layout {
    /// First and last address of the program's code.
    pub code: (u64, u64),
    /// Of its data.
    pub data: (u64, u64),
    /// Where the heap begins.
    pub break_start: u64,
}

/// Finds the parts of the program's own file, and the heap.
pub(super) fn layout(process: &Process, space: &AddressSpace) -> Layout {
    let mut layout = Layout::default();
    let executable = process.executable();
    space.for_each_area(&mut |area| {
        if area.label == "[heap]" && layout.break_start == 0 {
            layout.break_start = area.start;
        }
        let own = match (&executable, area.file.and_then(open_file_behind)) {
            (Some(executable), Some(file)) => Arc::ptr_eq(&executable.inode, &file.inode),
            _ => false,
        };
        if own && area.protection.contains(Protection::EXEC) && layout.code.0 == 0 {
            layout.code = (area.start, area.end);
        } else if own && area.protection.contains(Protection::WRITE) && layout.data.0 == 0 {
            layout.data = (area.start, area.end);
        }
    });
    layout
}

/// Sizes of the kinds of areas, in KiB.
#[derive(Default)]
struct Sizes {
    data: u64,
    stack: u64,
    code: u64,
    libraries: u64,
}

fn sizes(process: &Process, space: &AddressSpace) -> Sizes {
    let mut sizes = Sizes::default();
    let executable = process.executable();
    space.for_each_area(&mut |area| {
        let kib = (area.end - area.start) / 1024;
        let own = match (&executable, area.file.and_then(open_file_behind)) {
            (Some(executable), Some(file)) => Arc::ptr_eq(&executable.inode, &file.inode),
            _ => false,
        };
        if area.label == "[stack]" {
            sizes.stack += kib;
        } else if area.protection.contains(Protection::EXEC) {
            *(if own { &mut sizes.code } else { &mut sizes.libraries }) += kib;
        } else if area.protection.contains(Protection::WRITE) && !area.shared {
            sizes.data += kib;
        }
    });
    sizes
}

/// The `Vm…` lines of `status`. A process without memory has none.
pub(super) fn put_status_sizes(process: &Process, text: &mut Text) {
    let Some(space) = process.address_space() else { return };
    let (anonymous, file) = space.resident_pages();
    let resident_kib = (anonymous + file) * PAGE_KIB;
    let mapped_kib = space.mapped_bytes() / 1024;
    let sizes = sizes(process, &space);
    let peak_kib = (process.usage().peak_resident_pages * PAGE_KIB).max(resident_kib);
    let rows = [
        ("VmPeak", mapped_kib),
        ("VmSize", mapped_kib),
        ("VmLck", 0),
        ("VmPin", 0),
        ("VmHWM", peak_kib),
        ("VmRSS", resident_kib),
        ("RssAnon", anonymous * PAGE_KIB),
        ("RssFile", file * PAGE_KIB),
        ("RssShmem", 0),
        ("VmData", sizes.data),
        ("VmStk", sizes.stack),
        ("VmExe", sizes.code),
        ("VmLib", sizes.libraries),
        // One page-table page maps 2 MiB; three levels above it.
        ("VmPTE", (mapped_kib.div_ceil(2048) + 3) * PAGE_KIB),
        ("VmSwap", 0),
        ("HugetlbPages", 0),
    ];
    for (name, kib) in rows {
        put_line!(text, "{name}:\t{kib:8} kB");
    }
    put_line!(text, "CoreDumping:\t0\nTHP_enabled:\t0\nuntag_mask:\t0xffffffffffffffff");
}

/// `statm`: size, resident, shared, text, (0), data, (0), in pages.
pub(super) fn statm(view: &View<'_>, text: &mut Text) -> Result<()> {
    let process = view.process();
    let Some(space) = process.address_space() else {
        put_line!(text, "0 0 0 0 0 0 0");
        return Ok(());
    };
    let (anonymous, file) = space.resident_pages();
    let sizes = sizes(process, &space);
    let size_pages = space.mapped_bytes() / PAGE_SIZE_BYTES as u64;
    let data_pages = (sizes.data + sizes.stack) / PAGE_KIB;
    put_line!(text, "{size_pages} {} {file} {} 0 {data_pages} 0", anonymous + file, sizes.code / PAGE_KIB);
    Ok(())
}

/// `maps`: a line for each area.
pub(super) fn maps(view: &View<'_>, text: &mut Text) -> Result<()> {
    for_each_area(view, &mut |area| put_area(area, text));
    Ok(())
}

/// Calls `each` for the areas of the process; none after its end.
pub(super) fn for_each_area(view: &View<'_>, each: &mut dyn FnMut(&AreaView<'_>)) {
    if let Some(space) = view.process().address_space() {
        space.for_each_area(each);
    }
}

/// A line of `maps`.
pub(super) fn put_area(area: &AreaView<'_>, text: &mut Text) {
    let flag = |protection, letter| if area.protection.contains(protection) { letter } else { '-' };
    let file = area.file.and_then(open_file_behind);
    let begin = text.len();
    put!(text, "{:08x}-{:08x} ", area.start, area.end);
    put!(text, "{}{}{}", flag(Protection::READ, 'r'), flag(Protection::WRITE, 'w'), flag(Protection::EXEC, 'x'));
    put!(text, "{} ", if area.shared { 's' } else { 'p' });
    let (device, number) = file.map_or((0, 0), |file| (file.inode.superblock.device, file.inode.number));
    let (major, minor) = (crate::dev::registry::major(device), crate::dev::registry::minor(device));
    put!(text, "{:08x} {major:02x}:{minor:02x} {number} ", area.offset_bytes);
    let name = match file {
        Some(file) => path_text(&file.path).unwrap_or_default(),
        None => area.label.as_bytes().to_vec(),
    };
    if !name.is_empty() {
        text.pad_to(begin + NAME_COLUMN);
        for byte in name {
            // Only the newline would break the format.
            text.bytes(if byte == b'\n' { b"\\012" } else { core::slice::from_ref(&byte) });
        }
    }
    text.bytes(b"\n");
}

fn read_strings(process: &Process, range: (u64, u64)) -> Result<Vec<u8>> {
    let Some(space) = process.address_space() else { return Ok(Vec::new()) };
    let len_bytes = range.1.saturating_sub(range.0).min(STRINGS_LIMIT_BYTES) as usize;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len_bytes).map_err(|_| Errno::NOMEM)?;
    bytes.resize(len_bytes, 0);
    // What the program has unmapped since is missing.
    let read = space.read_remote(range.0, &mut bytes).unwrap_or(0);
    bytes.truncate(read);
    Ok(bytes)
}

/// `cmdline`: argv, each with its NUL. A program that overwrote the last NUL (setproctitle) goes on into its environment.
pub(super) fn cmdline(view: &View<'_>, text: &mut Text) -> Result<()> {
    let process = view.process();
    let image = process.image();
    let mut bytes = read_strings(process, image.arguments)?;
    if bytes.last().is_some_and(|last| *last != 0) {
        let more = read_strings(process, (image.arguments.1, image.environment.1.max(image.arguments.1)))?;
        bytes.extend(more);
        if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
            bytes.truncate(end);
        }
    }
    text.bytes(&bytes);
    Ok(())
}

/// `environ`.
pub(super) fn environ(view: &View<'_>, text: &mut Text) -> Result<()> {
    text.bytes(&read_strings(view.process(), view.process().image().environment)?);
    Ok(())
}

/// `auxv`: pairs of words, as exec put them on the stack.
pub(super) fn auxv(view: &View<'_>, text: &mut Text) -> Result<()> {
    if view.process().address_space().is_some() {
        for word in view.process().image().auxiliary_vector {
            text.bytes(&word.to_ne_bytes());
        }
    }
    Ok(())
}

/// Opens `mem`: the memory as it is now, even after an exec.
pub(super) fn open_memory(thread: &Arc<Thread>, _flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
    access::require_read(thread)?;
    Ok(Arc::new(MemoryFile(thread.process.address_space())))
}

struct MemoryFile(Option<Arc<AddressSpace>>);

impl FileOps for MemoryFile {
    fn read(&self, _file: &OpenFile, buffer: &mut IoBuffer<'_>, offset: u64) -> Result<usize> {
        let Some(space) = &self.0 else { return Ok(0) };
        let before = buffer.done();
        let mut block = [0u8; 1024];
        while buffer.remaining() > 0 {
            let address = offset.wrapping_add((buffer.done() - before) as u64);
            let wanted = buffer.remaining().min(block.len());
            match space.read_remote(address, &mut block[..wanted]) {
                Ok(read) if read > 0 => {
                    buffer.put(&block[..read])?;
                }
                _ if buffer.done() > before => break,
                _ => return Err(Errno::IO),
            }
        }
        Ok(buffer.done() - before)
    }

    fn write(&self, _file: &OpenFile, buffer: &mut IoBuffer<'_>, offset: &mut u64) -> Result<usize> {
        let Some(space) = &self.0 else { return Ok(0) };
        let before = buffer.done();
        let mut block = [0u8; 1024];
        while buffer.remaining() > 0 {
            let taken = buffer.take(&mut block)?;
            match space.write_remote(*offset, &block[..taken]) {
                Ok(written) if written > 0 => {
                    buffer.rewind(taken - written);
                    *offset = offset.wrapping_add(written as u64);
                }
                _ => {
                    buffer.rewind(taken);
                    return if buffer.done() > before { Ok(buffer.done() - before) } else { Err(Errno::IO) };
                }
            }
        }
        Ok(buffer.done() - before)
    }

    /// Any address is a position, also those that are negative as signed numbers.
    fn seek(&self, _file: &OpenFile, position: u64, offset: i64, whence: u32) -> Option<Result<u64>> {
        use linux_raw_sys::general::{SEEK_CUR, SEEK_SET};
        Some(match whence {
            SEEK_SET => Ok(offset as u64),
            SEEK_CUR => Ok(position.wrapping_add_signed(offset)),
            _ => Err(Errno::INVAL),
        })
    }
}
