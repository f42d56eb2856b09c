//! User memory: checked copies, plain-data types, and the buffers that reads and writes move bytes through.

use crate::errno::{Errno, Result};
use crate::mm::{Frame, address_space};
use alloc::vec::Vec;
use core::marker::PhantomData;

/// Types that are plain bytes: any bit pattern is a value, and there is no padding that could leak kernel memory.
///
/// # Safety
/// The implementor has no invalid bit patterns, no padding and no pointers that the kernel follows.
pub unsafe trait Pod: Copy + 'static {}

macro_rules! pod {
    ($($t:ty),* $(,)?) => { $(
        // SAFETY: an integer or an array of integers.
        unsafe impl Pod for $t {}
    )* };
}
pod!(u8, u16, u32, u64, i8, i16, i32, i64, usize, isize);
// SAFETY: an array of plain data is plain data.
unsafe impl<T: Pod, const N: usize> Pod for [T; N] {}

/// An untrusted address in the calling process, to be read or written as `T`. Nothing is checked until it is used.
pub struct UserPointer<T> {
    address: u64,
    kind: PhantomData<*const T>,
}

impl<T> Clone for UserPointer<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for UserPointer<T> {}

impl<T: Pod> UserPointer<T> {
    /// A pointer as it came in a register.
    pub fn new(address: u64) -> Self {
        Self { address, kind: PhantomData }
    }

    /// The address.
    pub fn address(self) -> u64 {
        self.address
    }

    /// Whether the program passed NULL.
    pub fn is_null(self) -> bool {
        self.address == 0
    }

    /// `None` for NULL.
    pub fn non_null(self) -> Option<Self> {
        (!self.is_null()).then_some(self)
    }

    /// The `index`-th element of an array.
    pub fn at(self, index: usize) -> Self {
        Self::new(self.address.wrapping_add((index as u64).wrapping_mul(size_of::<T>() as u64)))
    }

    /// Reads one value. `EFAULT` if any byte is not readable by the program.
    pub fn read(self) -> Result<T> {
        let mut value = core::mem::MaybeUninit::<T>::zeroed();
        // SAFETY: zeroed, so the bytes are initialised.
        let bytes = unsafe { core::slice::from_raw_parts_mut(value.as_mut_ptr().cast::<u8>(), size_of::<T>()) };
        read_bytes(self.address, bytes)?;
        // SAFETY: `T` is plain data: any bytes are a value.
        Ok(unsafe { value.assume_init() })
    }

    /// Writes one value. `EFAULT` if any byte is not writable by the program.
    pub fn write(self, value: T) -> Result<()> {
        self.write_slice(&[value])
    }

    /// Reads `count` values. The caller has bounded `count`.
    pub fn read_vec(self, count: usize) -> Result<Vec<T>> {
        let mut values = Vec::<T>::new();
        values.try_reserve_exact(count).map_err(|_| Errno::NOMEM)?;
        let len_bytes = count.checked_mul(size_of::<T>()).ok_or(Errno::NOMEM)?;
        // SAFETY: the bytes lie within the reserved capacity and are written (zeroed) before they are a slice; when all are read, they
        // are `count` values of plain data.
        unsafe {
            let start = values.as_mut_ptr().cast::<u8>();
            start.write_bytes(0, len_bytes);
            read_bytes(self.address, core::slice::from_raw_parts_mut(start, len_bytes))?;
            values.set_len(count);
        }
        Ok(values)
    }

    /// Writes all values.
    pub fn write_slice(self, values: &[T]) -> Result<()> {
        // SAFETY: plain data has no padding: all bytes are initialised.
        let bytes = unsafe { core::slice::from_raw_parts(values.as_ptr().cast::<u8>(), size_of_val(values)) };
        write_bytes(self.address, bytes)
    }
}

/// Copies from the current process. All or `EFAULT` (the buffer's content is then unspecified).
pub fn read_bytes(address: u64, bytes: &mut [u8]) -> Result<()> {
    if read_bytes_partial(address, bytes) == bytes.len() { Ok(()) } else { Err(Errno::FAULT) }
}

/// Copies to the current process. `EFAULT` if a byte is not writable; what precedes it may have been written.
pub fn write_bytes(address: u64, bytes: &[u8]) -> Result<()> {
    if write_bytes_partial(address, bytes) == bytes.len() { Ok(()) } else { Err(Errno::FAULT) }
}

/// Copies as much as can be read, for calls that stop silently at an unreadable page (F2).
pub fn read_bytes_partial(address: u64, bytes: &mut [u8]) -> usize {
    let Some(space) = address_space::active() else { return 0 };
    space.read_remote(address, bytes).unwrap_or(0)
}

/// Copies as much as can be written.
pub fn write_bytes_partial(address: u64, bytes: &[u8]) -> usize {
    let Some(space) = address_space::active() else { return 0 };
    space.write_remote(address, bytes).unwrap_or(0)
}

/// A reference to the current process's page at `address`: see [`AddressSpace::lend_page`](address_space::AddressSpace::lend_page).
pub fn lend_page(address: u64) -> Result<Frame> {
    address_space::active().ok_or(Errno::FAULT)?.lend_page(address)
}

/// A NUL-terminated string without its NUL. `too_long` if there is no NUL in `max_bytes` bytes (the NUL included), `EFAULT` if unreadable.
pub fn read_c_string(address: u64, max_bytes: usize, too_long: Errno) -> Result<Vec<u8>> {
    let space = address_space::active().ok_or(Errno::FAULT)?;
    space.read_string(address, max_bytes)?.ok_or(too_long)
}

/// A path argument: at most 4095 bytes, else `ENAMETOOLONG`.
pub fn read_path(address: u64) -> Result<Vec<u8>> {
    read_c_string(address, 4096, Errno::NAMETOOLONG)
}

/// Where the bytes of a read go or the bytes of a write come from: user segments (`iovec`) or a kernel buffer.
///
/// File operations consume it front to back. Copies may fault pages in, so no spinning lock may be held (see `sync`).
pub struct IoBuffer<'a> {
    segments: Segments<'a>,
    done_bytes: usize,
    len_bytes: usize,
}

enum Segments<'a> {
    User(&'a [(u64, usize)]),
    Kernel(&'a mut [u8]),
    KernelSource(&'a [u8]),
}

impl<'a> IoBuffer<'a> {
    /// User memory, as (address, length) pairs; lengths are validated to sum up to at most `MAX_RW_COUNT`.
    pub fn user(segments: &'a [(u64, usize)]) -> Self {
        let len_bytes = segments.iter().map(|s| s.1).sum();
        Self { segments: Segments::User(segments), done_bytes: 0, len_bytes }
    }

    /// A kernel buffer to be filled (reads).
    pub fn kernel(bytes: &'a mut [u8]) -> Self {
        let len_bytes = bytes.len();
        Self { segments: Segments::Kernel(bytes), done_bytes: 0, len_bytes }
    }

    /// A kernel buffer to be taken from (writes).
    pub fn kernel_source(bytes: &'a [u8]) -> Self {
        let len_bytes = bytes.len();
        Self { segments: Segments::KernelSource(bytes), done_bytes: 0, len_bytes }
    }

    /// Bytes not yet moved.
    pub fn remaining(&self) -> usize {
        self.len_bytes - self.done_bytes
    }

    /// Bytes moved so far.
    pub fn done(&self) -> usize {
        self.done_bytes
    }

    /// Puts bytes into the buffer (a read): returns how many fitted. `EFAULT` only if not a single byte could be stored.
    pub fn put(&mut self, bytes: &[u8]) -> Result<usize> {
        let wanted = bytes.len().min(self.remaining());
        let done = match &mut self.segments {
            Segments::Kernel(buffer) => {
                buffer[self.done_bytes..self.done_bytes + wanted].copy_from_slice(&bytes[..wanted]);
                wanted
            }
            Segments::User(segments) => {
                for_each_segment(segments, self.done_bytes, wanted, |address, from, to| write_bytes_partial(address, &bytes[from..to]))
            }
            // Not meant to be filled: a kernel bug that must not become a program's.
            Segments::KernelSource(_) => return Err(Errno::INVAL),
        };
        self.moved(wanted, done)
    }

    /// Takes bytes out of the buffer (a write): returns how many. `EFAULT` only if not a single byte could be fetched.
    pub fn take(&mut self, bytes: &mut [u8]) -> Result<usize> {
        let wanted = bytes.len().min(self.remaining());
        let source: &[u8] = match &self.segments {
            Segments::KernelSource(source) => source,
            Segments::Kernel(source) => source,
            Segments::User(segments) => {
                let done = for_each_segment(segments, self.done_bytes, wanted, |address, from, to| {
                    read_bytes_partial(address, &mut bytes[from..to])
                });
                return self.moved(wanted, done);
            }
        };
        bytes[..wanted].copy_from_slice(&source[self.done_bytes..self.done_bytes + wanted]);
        self.moved(wanted, wanted)
    }

    fn moved(&mut self, wanted: usize, done: usize) -> Result<usize> {
        self.done_bytes += done;
        if done == 0 && wanted > 0 { Err(Errno::FAULT) } else { Ok(done) }
    }

    /// Steps back over the last `bytes` moved bytes (a copy that could only be used in part).
    pub fn rewind(&mut self, bytes: usize) {
        self.done_bytes -= bytes.min(self.done_bytes);
    }
}

/// Calls `copy(address, from, to)` for each stretch of the segments behind the first `skip_bytes`, `wanted` bytes in all, until one comes
/// short. Gives the bytes copied.
fn for_each_segment(
    segments: &[(u64, usize)],
    mut skip_bytes: usize,
    wanted: usize,
    mut copy: impl FnMut(u64, usize, usize) -> usize,
) -> usize {
    let mut done = 0;
    for &(address, len_bytes) in segments {
        if done == wanted {
            break;
        }
        if skip_bytes >= len_bytes {
            skip_bytes -= len_bytes;
            continue;
        }
        let count = (len_bytes - skip_bytes).min(wanted - done);
        let copied = copy(address.wrapping_add(skip_bytes as u64), done, done + count);
        done += copied;
        if copied < count {
            break;
        }
        skip_bytes = 0;
    }
    done
}
