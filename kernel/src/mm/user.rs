//! User memory: checked copies, plain-data types, and the buffers that reads and writes move bytes through.

use crate::errno::{Errno, Result};
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
        todo!()
    }

    /// Writes one value. `EFAULT` if any byte is not writable by the program.
    pub fn write(self, _value: T) -> Result<()> {
        todo!()
    }

    /// Reads `count` values. The caller has bounded `count`.
    pub fn read_vec(self, _count: usize) -> Result<Vec<T>> {
        todo!()
    }

    /// Writes all values.
    pub fn write_slice(self, _values: &[T]) -> Result<()> {
        todo!()
    }
}

/// Copies from the current process. All or `EFAULT` (the buffer's content is then unspecified).
pub fn read_bytes(_address: u64, _bytes: &mut [u8]) -> Result<()> {
    todo!()
}

/// Copies to the current process. `EFAULT` if a byte is not writable; what precedes it may have been written.
pub fn write_bytes(_address: u64, _bytes: &[u8]) -> Result<()> {
    todo!()
}

/// Copies as much as can be read, for calls that stop silently at an unreadable page (F2).
pub fn read_bytes_partial(_address: u64, _bytes: &mut [u8]) -> usize {
    todo!()
}

/// A NUL-terminated string without its NUL. `too_long` if there is no NUL in `max_bytes` bytes (the NUL included), `EFAULT` if unreadable.
pub fn read_c_string(_address: u64, _max_bytes: usize, too_long: Errno) -> Result<Vec<u8>> {
    Err(too_long)
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
    pub fn put(&mut self, _bytes: &[u8]) -> Result<usize> {
        todo!()
    }

    /// Takes bytes out of the buffer (a write): returns how many. `EFAULT` only if not a single byte could be fetched.
    pub fn take(&mut self, _bytes: &mut [u8]) -> Result<usize> {
        todo!()
    }

    /// Steps back over the last `bytes` moved bytes (a copy that could only be used in part).
    pub fn rewind(&mut self, bytes: usize) {
        self.done_bytes -= bytes.min(self.done_bytes);
    }
}
