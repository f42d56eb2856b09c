//! System calls: mmap, munmap, mprotect, mremap, madvise, msync, brk, mlock, mincore, membarrier, process_vm_readv, process_vm_writev.

use super::{Arguments, Entry};
use crate::errno::{Errno, Result};
use crate::fs::procfs::access;
use crate::fs::{OpenFile, file::FileMapping, io, mount, seals};
use crate::mm::address_space::{Backing, MapRequest, Protection};
use crate::mm::{AddressSpace, IoBuffer, PAGE_SIZE_BYTES, USER_END, UserPointer};
use crate::task::{self, Capabilities};
use alloc::sync::Arc;
use alloc::vec::Vec;
use linux_raw_sys::general as sys;

pub(super) const TABLE: &[Entry] = &[
    Entry(sys::__NR_mmap, "mmap", mmap),
    Entry(sys::__NR_munmap, "munmap", munmap),
    Entry(sys::__NR_mprotect, "mprotect", mprotect),
    Entry(sys::__NR_mremap, "mremap", mremap),
    Entry(sys::__NR_madvise, "madvise", madvise),
    Entry(sys::__NR_msync, "msync", msync),
    Entry(sys::__NR_brk, "brk", brk),
    Entry(sys::__NR_mlock, "mlock", mlock),
    Entry(sys::__NR_mlock2, "mlock2", mlock2),
    Entry(sys::__NR_munlock, "munlock", munlock),
    Entry(sys::__NR_mlockall, "mlockall", mlockall),
    Entry(sys::__NR_munlockall, "munlockall", munlockall),
    Entry(sys::__NR_mincore, "mincore", mincore),
    Entry(sys::__NR_membarrier, "membarrier", membarrier),
    Entry(sys::__NR_process_vm_readv, "process_vm_readv", process_vm_readv),
    Entry(sys::__NR_process_vm_writev, "process_vm_writev", process_vm_writev),
];

/// The flags of `mmap` that are checked against a file's (`LEGACY_MAP_MASK` of Linux).
const LEGACY_MAP_MASK: u32 = sys::MAP_SHARED
    | sys::MAP_PRIVATE
    | sys::MAP_FIXED
    | sys::MAP_ANONYMOUS
    | sys::MAP_DENYWRITE
    | sys::MAP_EXECUTABLE
    | sys::MAP_UNINITIALIZED
    | sys::MAP_GROWSDOWN
    | sys::MAP_LOCKED
    | sys::MAP_NORESERVE
    | sys::MAP_POPULATE
    | sys::MAP_NONBLOCK
    | sys::MAP_STACK
    | sys::MAP_HUGETLB
    | sys::MAP_32BIT
    | sys::MAP_HUGE_2MB
    | sys::MAP_HUGE_1GB;
const PAGE: u64 = PAGE_SIZE_BYTES as u64;

fn space() -> Result<Arc<AddressSpace>> {
    task::current().process.address_space().ok_or(Errno::NOMEM)
}

/// `mmap(2)`.
fn mmap(arguments: &Arguments) -> Result<u64> {
    let &[address, len_bytes, protection, flags, fd, offset_bytes] = arguments;
    let flags = flags as u32;
    if offset_bytes % PAGE != 0 {
        return Err(Errno::INVAL);
    }
    let anonymous = flags & sys::MAP_ANONYMOUS != 0;
    let file = if anonymous { None } else { Some(task::current().files().get(fd as i32)?) };
    if file.as_ref().is_some_and(|file| file.is_path_only()) {
        return Err(Errno::BADF);
    }
    if flags & sys::MAP_HUGETLB != 0 {
        // No huge pages are set aside, and no file here is made of them.
        return Err(if anonymous { Errno::NOMEM } else { Errno::INVAL });
    }
    if len_bytes == 0 {
        return Err(Errno::INVAL);
    }
    let pages = len_bytes.checked_next_multiple_of(PAGE).ok_or(Errno::NOMEM)? / PAGE;
    if !anonymous && (offset_bytes / PAGE + pages) << 12 >> 12 != offset_bytes / PAGE + pages {
        return Err(Errno::OVERFLOW);
    }
    if pages * PAGE > USER_END {
        return Err(Errno::NOMEM);
    }
    let protection = Protection::from_bits_truncate(protection as u32);
    let (backing, max_protection) = match file {
        None => (anonymous_backing(flags)?, Protection::all()),
        Some(file) => file_backing(&file, flags, protection, offset_bytes)?,
    };
    let locked = flags & sys::MAP_LOCKED != 0;
    if locked {
        check_lock_limit(pages * PAGE)?;
    }
    let is_private = matches!(backing, Backing::Anonymous | Backing::File { shared: false, .. });
    if is_private && protection.contains(Protection::WRITE) && flags & sys::MAP_NORESERVE == 0 {
        check_commitment(pages)?;
    }
    let fixed = flags & (sys::MAP_FIXED | sys::MAP_FIXED_NOREPLACE) != 0;
    let request = MapRequest {
        address,
        len_bytes,
        protection,
        max_protection,
        fixed,
        no_replace: flags & sys::MAP_FIXED_NOREPLACE != 0,
        grows_down: flags & sys::MAP_GROWSDOWN != 0,
        populate: locked || flags & (sys::MAP_POPULATE | sys::MAP_NONBLOCK) == sys::MAP_POPULATE,
        low: flags & sys::MAP_32BIT != 0 && !fixed,
        backing,
    };
    let space = space()?;
    let start = space.map(request, address_space_limit())?;
    if locked {
        space.set_locked(start, len_bytes, true, true)?;
    }
    Ok(start)
}

fn anonymous_backing(flags: u32) -> Result<Backing> {
    match flags & sys::MAP_TYPE {
        sys::MAP_SHARED if flags & sys::MAP_GROWSDOWN != 0 => Err(Errno::INVAL),
        sys::MAP_SHARED => Ok(Backing::SharedAnonymous),
        sys::MAP_PRIVATE => Ok(Backing::Anonymous),
        _ => Err(Errno::INVAL),
    }
}

/// The checks of a file mapping in Linux's order (`do_mmap`), and what `mprotect` may ever allow.
fn file_backing(file: &Arc<OpenFile>, flags: u32, protection: Protection, offset_bytes: u64) -> Result<(Backing, Protection)> {
    let access = file.flags();
    let mut most = Protection::all();
    let shared = match flags & sys::MAP_TYPE {
        sys::MAP_SHARED => true,
        sys::MAP_SHARED_VALIDATE if flags & !(LEGACY_MAP_MASK | sys::MAP_SHARED_VALIDATE) != 0 => return Err(Errno::OPNOTSUPP),
        sys::MAP_SHARED_VALIDATE => true,
        sys::MAP_PRIVATE => false,
        _ => return Err(Errno::INVAL),
    };
    if shared {
        if protection.contains(Protection::WRITE) && !access.writable() {
            return Err(Errno::ACCES);
        }
        if !access.writable() {
            most.remove(Protection::WRITE);
        }
    }
    if !access.readable() {
        return Err(Errno::ACCES);
    }
    if mount::flags(file.path.mount()).contains(graft::flags::MountFlags::NOEXEC) {
        if protection.contains(Protection::EXEC) {
            return Err(Errno::PERM);
        }
        most.remove(Protection::EXEC);
    }
    if let Some(FileMapping::Anonymous) = file.ops.mapping(file) {
        return Ok((if shared { Backing::SharedAnonymous } else { Backing::Anonymous }, most));
    }
    file.ops.check_mapping(shared)?;
    let mapped = file.mapped()?;
    if flags & sys::MAP_GROWSDOWN != 0 {
        return Err(Errno::INVAL);
    }
    if shared {
        check_seals(file, protection, &mut most)?;
    }
    Ok((Backing::File { file: mapped, offset_bytes, shared }, most))
}

/// File seals (`fcntl(2)`): what is sealed against writing has no shared mapping that could ever be written.
fn check_seals(file: &OpenFile, protection: Protection, most: &mut Protection) -> Result<()> {
    let seals = seals::get(file).unwrap_or(0);
    // Linux 6.6 refuses a mapping of a write-sealed file as soon as it could be made writable.
    if seals & sys::F_SEAL_WRITE != 0 && most.contains(Protection::WRITE) {
        return Err(Errno::PERM);
    }
    if seals & sys::F_SEAL_FUTURE_WRITE != 0 {
        if protection.contains(Protection::WRITE) {
            return Err(Errno::PERM);
        }
        most.remove(Protection::WRITE);
    }
    Ok(())
}

/// `RLIMIT_AS`.
pub(super) fn address_space_limit() -> u64 {
    task::current().process.limit(sys::RLIMIT_AS)
}

/// More than there is memory in all is refused at once (`vm.overcommit_memory` 0, `proc(5)`), and everything while memory is out.
fn check_commitment(pages: u64) -> Result<()> {
    if pages > crate::mm::frame::statistics().total_pages { Err(Errno::NOMEM) } else { Ok(()) }
}

/// `RLIMIT_MEMLOCK`: `EPERM` if nothing may be locked at all, `EAGAIN` for too much at `mmap` (`mlock(2)` says `ENOMEM`).
fn check_lock_limit(len_bytes: u64) -> Result<()> {
    let current = task::current();
    let limit = current.process.limit(sys::RLIMIT_MEMLOCK);
    if current.credentials().capable(Capabilities::IPC_LOCK) {
        return Ok(());
    }
    if limit == 0 {
        return Err(Errno::PERM);
    }
    let locked = space()?.locked_bytes();
    if locked.saturating_add(len_bytes) > limit { Err(Errno::AGAIN) } else { Ok(()) }
}

/// `munmap(2)`.
fn munmap(arguments: &Arguments) -> Result<u64> {
    space()?.unmap(arguments[0], arguments[1])?;
    Ok(0)
}

/// `mprotect(2)`.
fn mprotect(arguments: &Arguments) -> Result<u64> {
    let &[address, len_bytes, protection, ..] = arguments;
    let grows = sys::PROT_GROWSDOWN | sys::PROT_GROWSUP;
    let direction = protection as u32 & grows;
    let protection = protection & !u64::from(grows);
    if direction == grows || address % PAGE != 0 {
        return Err(Errno::INVAL);
    }
    if len_bytes == 0 {
        return Ok(0);
    }
    let known = u64::from(sys::PROT_READ | sys::PROT_WRITE | sys::PROT_EXEC | sys::PROT_SEM);
    let end = len_bytes.checked_next_multiple_of(PAGE).and_then(|len| address.checked_add(len));
    if end.is_none_or(|end| end <= address) {
        return Err(Errno::NOMEM);
    }
    if protection & !known != 0 {
        return Err(Errno::INVAL);
    }
    let protection = Protection::from_bits_truncate(protection as u32);
    space()?.protect(address, len_bytes, protection, direction == sys::PROT_GROWSDOWN)?;
    Ok(0)
}

/// `mremap(2)`.
fn mremap(arguments: &Arguments) -> Result<u64> {
    let &[old_address, old_len_bytes, new_len_bytes, flags, new_address, _] = arguments;
    let flags = u32::try_from(flags).map_err(|_| Errno::INVAL)?;
    space()?.remap(old_address, old_len_bytes, new_len_bytes, flags, new_address, address_space_limit())
}

/// `madvise(2)`.
fn madvise(arguments: &Arguments) -> Result<u64> {
    space()?.advise(arguments[0], arguments[1], arguments[2] as u32)?;
    Ok(0)
}

/// `msync(2)`.
fn msync(arguments: &Arguments) -> Result<u64> {
    space()?.sync(arguments[0], arguments[1], arguments[2] as u32)?;
    Ok(0)
}

/// `brk(2)`.
fn brk(arguments: &Arguments) -> Result<u64> {
    let space = space()?;
    let (start, end) = space.break_range();
    let others = space.mapped_bytes().saturating_sub(end - start);
    let limit = address_space_limit().saturating_sub(others).min(task::current().process.limit(sys::RLIMIT_DATA));
    Ok(space.set_break(arguments[0], limit))
}

fn lock_range(address: u64, len_bytes: u64, populate: bool) -> Result<u64> {
    let bytes = (len_bytes.saturating_add(address % PAGE)).checked_next_multiple_of(PAGE).ok_or(Errno::INVAL)?;
    check_lock_limit(bytes).map_err(|error| if error == Errno::AGAIN { Errno::NOMEM } else { error })?;
    space()?.set_locked(address, len_bytes, true, populate)?;
    Ok(0)
}

/// `mlock(2)`.
fn mlock(arguments: &Arguments) -> Result<u64> {
    lock_range(arguments[0], arguments[1], true)
}

/// `mlock2(2)`.
fn mlock2(arguments: &Arguments) -> Result<u64> {
    let flags = arguments[2] as u32;
    if flags & !sys::MLOCK_ONFAULT != 0 {
        return Err(Errno::INVAL);
    }
    lock_range(arguments[0], arguments[1], flags & sys::MLOCK_ONFAULT == 0)
}

/// `munlock(2)`.
fn munlock(arguments: &Arguments) -> Result<u64> {
    space()?.set_locked(arguments[0], arguments[1], false, false)?;
    Ok(0)
}

/// `mlockall(2)`.
fn mlockall(arguments: &Arguments) -> Result<u64> {
    let flags = arguments[0] as u32;
    if flags == 0 || flags & !(sys::MCL_CURRENT | sys::MCL_FUTURE | sys::MCL_ONFAULT) != 0 || flags == sys::MCL_ONFAULT {
        return Err(Errno::INVAL);
    }
    let space = space()?;
    let current = flags & sys::MCL_CURRENT != 0;
    check_lock_limit(if current { space.mapped_bytes() } else { 0 })
        .map_err(|error| if error == Errno::AGAIN { Errno::NOMEM } else { error })?;
    space.set_all_locked(current.then_some(true), flags & sys::MCL_FUTURE != 0, flags & sys::MCL_ONFAULT == 0);
    Ok(0)
}

/// `munlockall(2)`.
fn munlockall(_: &Arguments) -> Result<u64> {
    space()?.set_all_locked(Some(false), false, false);
    Ok(0)
}

/// `mincore(2)`, in pieces of a page of answers.
fn mincore(arguments: &Arguments) -> Result<u64> {
    let &[address, len_bytes, vector, ..] = arguments;
    if address % PAGE != 0 {
        return Err(Errno::INVAL);
    }
    if len_bytes > USER_END || address > USER_END - len_bytes {
        return Err(Errno::NOMEM);
    }
    let pages = len_bytes.div_ceil(PAGE);
    let space = space()?;
    let mut done = 0;
    while done < pages {
        let piece = (pages - done).min(PAGE);
        let bytes = space.residency(address + done * PAGE, piece as usize)?;
        UserPointer::<u8>::new(vector.wrapping_add(done)).write_slice(&bytes)?;
        done += piece;
    }
    Ok(0)
}

/// `membarrier(2)`: with one processor that switches threads only at a trap, every access before a call is ordered already.
fn membarrier(arguments: &Arguments) -> Result<u64> {
    use sys::membarrier_cmd as command;
    let supported = command::MEMBARRIER_CMD_GLOBAL as u64
        | command::MEMBARRIER_CMD_GLOBAL_EXPEDITED as u64
        | command::MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED as u64
        | command::MEMBARRIER_CMD_PRIVATE_EXPEDITED as u64
        | command::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED as u64;
    let wanted = u64::from(arguments[0] as u32);
    if arguments[1] as u32 != 0 {
        return Err(Errno::INVAL);
    }
    let registration = command::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED as u64;
    let space = space()?;
    match wanted {
        0 => Ok(supported),
        wanted if wanted & supported == 0 || !wanted.is_power_of_two() => Err(Errno::INVAL),
        wanted if wanted == registration => {
            space.set_membarrier_registered();
            Ok(0)
        }
        wanted if wanted == command::MEMBARRIER_CMD_PRIVATE_EXPEDITED as u64 && !space.membarrier_registered() => Err(Errno::PERM),
        _ => Ok(0),
    }
}

/// `process_vm_readv(2)`.
fn process_vm_readv(arguments: &Arguments) -> Result<u64> {
    transfer_remote(arguments, |space, address, page, local| {
        let read = space.read_remote(address, page)?;
        local.put(&page[..read])
    })
}

/// `process_vm_writev(2)`.
fn process_vm_writev(arguments: &Arguments) -> Result<u64> {
    transfer_remote(arguments, |space, address, page, local| {
        let taken = local.take(page)?;
        space.write_remote(address, &page[..taken])
    })
}

/// Moves bytes between the caller's segments and another process's, a page at most at a time, through `step`, which says how many it has
/// moved. What was moved before an error counts.
fn transfer_remote(arguments: &Arguments, step: impl Fn(&AddressSpace, u64, &mut [u8], &mut IoBuffer<'_>) -> Result<usize>) -> Result<u64> {
    let &[pid, local, local_count, remote, remote_count, flags] = arguments;
    if flags != 0 {
        return Err(Errno::INVAL);
    }
    let local = io::bounded_segments(read_vectors(local, local_count)?)?;
    let mut local = IoBuffer::user(&local);
    let remote = read_vectors(remote, remote_count)?;
    if remote.iter().any(|[_, len_bytes]| *len_bytes > i64::MAX as u64) {
        return Err(Errno::INVAL);
    }
    if local.remaining() == 0 {
        return Ok(0);
    }
    let thread = task::pid::find_thread(pid as u32)?;
    access::may_attach(&thread)?;
    let space = thread.process.address_space().ok_or(Errno::SRCH)?;
    let mut page = [0; PAGE_SIZE_BYTES];
    let mut moved = 0;
    for [address, len_bytes] in remote {
        let mut done = 0;
        while done < len_bytes && local.remaining() > 0 {
            let at = address.wrapping_add(done);
            let room = (len_bytes - done).min(PAGE - at % PAGE).min(local.remaining() as u64) as usize;
            match step(&space, at, &mut page[..room], &mut local) {
                Ok(count) => {
                    moved += count as u64;
                    done += count as u64;
                    if count < room {
                        return Ok(moved);
                    }
                }
                Err(error) => return if moved > 0 { Ok(moved) } else { Err(error) },
            }
        }
    }
    Ok(moved)
}

/// An array of `struct iovec`.
fn read_vectors(address: u64, count: u64) -> Result<Vec<[u64; 2]>> {
    let count = usize::try_from(count).ok().filter(|&count| count <= sys::UIO_MAXIOV as usize).ok_or(Errno::INVAL)?;
    UserPointer::<[u64; 2]>::new(address).read_vec(count)
}
