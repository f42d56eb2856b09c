//! Limits that follow from the size of memory.

/// `threads-max`: so many that stacks of Linux's size take at most an eighth of the memory (its `fork_init`).
pub(crate) fn threads_max() -> i64 {
    const STACK_BYTES: u64 = 16 << 10;
    let memory_bytes = crate::mm::frame::statistics().total_pages * crate::mm::PAGE_SIZE_BYTES as u64;
    (memory_bytes / (8 * STACK_BYTES)).clamp(20, 0x3fff_ffff) as i64
}
