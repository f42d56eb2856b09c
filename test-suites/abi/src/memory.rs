//! Anonymous memory by the page, and words that forked processes share.

use std::os::fd::AsRawFd;
use std::sync::atomic::AtomicU32;

/// Bytes in a page.
pub const PAGE: usize = 4096;

/// A mapping made by `mmap`, unmapped when dropped.
#[derive(Debug)]
pub struct Pages {
    address: usize,
    len_bytes: usize,
}

impl Pages {
    /// Maps `count` private anonymous pages, readable and writable.
    pub fn private(count: usize) -> Self {
        Self::map(count, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0).expect("memory")
    }

    /// Maps `count` shared anonymous pages, readable and writable.
    pub fn shared(count: usize) -> Self {
        Self::map(count, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1, 0).expect("memory")
    }

    /// Maps `count` pages of `file` from its start, shared.
    pub fn of_file(file: impl std::os::fd::AsFd, count: usize) -> Self {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        Self::map(count, protection, libc::MAP_SHARED, file.as_fd().as_raw_fd(), 0).expect("a file that can be mapped")
    }

    /// `mmap` at an address of the kernel's choice.
    pub fn map(count: usize, protection: i32, flags: i32, file: i32, offset: u64) -> crate::Outcome<Self> {
        let len_bytes = count * PAGE;
        let address = crate::syscall!(SYS_mmap, 0usize, len_bytes, protection, flags, file, offset)?;
        Ok(Self { address, len_bytes })
    }

    /// The address of page `index`.
    pub fn page(&self, index: usize) -> usize {
        self.address + index * PAGE
    }

    /// The address of the first byte.
    pub fn address(&self) -> usize {
        self.address
    }

    /// Length in bytes.
    pub fn len_bytes(&self) -> usize {
        self.len_bytes
    }

    /// Reads the byte at `offset`.
    pub fn get(&self, offset: usize) -> u8 {
        assert!(offset < self.len_bytes);
        // SAFETY: inside the mapping; volatile because other processes and the kernel change it.
        unsafe { std::ptr::read_volatile((self.address + offset) as *const u8) }
    }

    /// Writes the byte at `offset`.
    pub fn set(&self, offset: usize, byte: u8) {
        assert!(offset < self.len_bytes);
        // SAFETY: inside the mapping, which no Rust reference points into.
        unsafe { std::ptr::write_volatile((self.address + offset) as *mut u8, byte) }
    }

    /// Gives up the mapping without unmapping it, for tests that move or replace it.
    pub fn leak(self) -> usize {
        let address = self.address;
        std::mem::forget(self);
        address
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        let _ = crate::syscall!(SYS_munmap, self.address, self.len_bytes);
    }
}

/// 1024 zeroed words that this process shares with those it forks; never unmapped.
pub fn shared_words() -> &'static [AtomicU32] {
    let address = Pages::shared(1).leak();
    // SAFETY: a fresh page of zeroes, never unmapped, and atomics may be shared between processes.
    unsafe { std::slice::from_raw_parts(address as *const AtomicU32, 1024) }
}
