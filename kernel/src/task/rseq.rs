//! Restartable sequences (`rseq(2)`): a thread tells where the number of its processor is to be kept, and which stretch of its code must
//! not be resumed in the middle once another thread has run or a handler was called.

use crate::errno::{Errno, Result};
use crate::mm::USER_END;
use crate::mm::user::UserPointer;
use crate::task::signal::{self, Signal, SignalInfo};
use crate::task::{Thread, current};

/// Bytes of the area in its first version, which is also its alignment.
const AREA_LEN_BYTES: u32 = 32;
/// `RSEQ_FLAG_UNREGISTER`.
const UNREGISTER: u32 = 1;
/// Bytes of the area that the kernel knows of (`AT_RSEQ_FEATURE_SIZE`), and the alignment (`AT_RSEQ_ALIGN`).
pub const FEATURE_LEN_BYTES: u64 = 28;
/// See [`FEATURE_LEN_BYTES`].
pub const ALIGNMENT_BYTES: u64 = 32;
/// `cpu_id` of an area that is not registered.
const UNINITIALISED: u32 = u32::MAX;
/// Where the pointer to the current critical section is in the area.
const SECTION_OFFSET: u64 = 8;
/// Where the node and the concurrency id are.
const NODE_OFFSET: u64 = 20;

/// What a thread has registered.
#[derive(Clone, Copy)]
pub(in crate::task) struct Registration {
    address: u64,
    len_bytes: u32,
    signature: u32,
}

/// `rseq(2)`.
pub fn register(address: u64, len_bytes: u32, flags: u32, signature: u32) -> Result<()> {
    let thread = current();
    let old = *thread.restartable.lock();
    let matches = |old: &Registration| {
        if old.address != address || old.len_bytes != len_bytes {
            return Err(Errno::INVAL);
        }
        if old.signature != signature { Err(Errno::PERM) } else { Ok(()) }
    };
    if flags == UNREGISTER {
        let old = old.ok_or(Errno::INVAL)?;
        matches(&old)?;
        write_identity(address, UNINITIALISED)?;
        *thread.restartable.lock() = None;
        return Ok(());
    }
    if flags != 0 {
        return Err(Errno::INVAL);
    }
    if let Some(old) = old {
        matches(&old)?;
        return Err(Errno::BUSY);
    }
    if len_bytes < AREA_LEN_BYTES || !address.is_multiple_of(u64::from(AREA_LEN_BYTES)) {
        return Err(Errno::INVAL);
    }
    if address.checked_add(u64::from(len_bytes)).is_none_or(|end| end > USER_END) {
        return Err(Errno::FAULT);
    }
    write_identity(address, 0)?;
    *thread.restartable.lock() = Some(Registration { address, len_bytes, signature });
    Ok(())
}

/// The processor (there is one), the node and the concurrency id.
fn write_identity(address: u64, processor: u32) -> Result<()> {
    UserPointer::<[u32; 2]>::new(address).write([0, processor])?;
    UserPointer::<[u32; 2]>::new(address + NODE_OFFSET).write([0, 0])
}

/// The thread was interrupted by another one or by a signal: if that was in a critical section, it goes on where the section says.
/// An area or section that makes no sense is SIGSEGV.
pub(in crate::task) fn interrupted(thread: &Thread) {
    let Some(registration) = *thread.restartable.lock() else { return };
    if abort_section(thread, registration).is_err() {
        *thread.restartable.lock() = None;
        signal::send::force(SignalInfo::from_kernel(Signal::SEGV));
    }
}

fn abort_section(thread: &Thread, registration: Registration) -> Result<()> {
    let pointer = UserPointer::<u64>::new(registration.address + SECTION_OFFSET);
    let section = pointer.read()?;
    if section == 0 {
        return Ok(());
    }
    // `struct rseq_cs`: version and flags, start, length, where to go on.
    let [version_and_flags, start, len_bytes, abort] = UserPointer::<[u64; 4]>::new(section).read()?;
    let sound = version_and_flags as u32 == 0 && abort < USER_END && start.checked_add(len_bytes).is_some_and(|end| end <= USER_END);
    // The code to go on at must not lie in the section, and is marked by the signature in front of it.
    if !sound || abort.wrapping_sub(start) < len_bytes {
        return Err(Errno::INVAL);
    }
    if UserPointer::<u32>::new(abort.wrapping_sub(4)).read()? != registration.signature {
        return Err(Errno::INVAL);
    }
    let inside = thread.with_user_context(|context| context.rip.wrapping_sub(start) < len_bytes);
    pointer.write(0)?;
    if inside {
        thread.with_user_context(|context| context.rip = abort);
    }
    Ok(())
}
