//! Memory: frames, the kernel heap, address spaces, copies from and to user memory.
//!
//! The kernel reaches all physical memory through a direct map and **never** touches a user address: copies walk the
//! caller's page table in software ([`user`]), so SMAP can always be on and a bad pointer is a return value, not a fault.

pub mod address_space;
pub mod frame;
pub mod heap;
pub mod page_buffer;
mod page_table;
pub mod user;

pub use address_space::AddressSpace;
pub use frame::Frame;
pub use page_buffer::PageBuffer;
pub use user::{IoBuffer, UserPointer};

/// Bytes in a page, and in a frame.
pub const PAGE_SIZE_BYTES: usize = 4096;
/// First address that no program can map (the lower canonical half less one guard page).
pub const USER_END: u64 = 0x0000_7fff_ffff_f000;
/// Where the direct map of physical memory begins.
pub const DIRECT_MAP_BASE: u64 = 0xffff_8880_0000_0000;
/// Where the kernel image is linked.
pub const KERNEL_BASE: u64 = 0xffff_ffff_8000_0000;
