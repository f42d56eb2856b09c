//! Kernel stacks: 64 KiB each, mapped in the kernel area with nothing mapped below, so that running over the end faults (and, the fault
//! having no stack either, becomes a double fault, which has one).

use super::paging::{self, KERNEL_AREA_BASE};
use crate::errno::{Errno, Result};
use crate::mm::{PAGE_SIZE_BYTES, frame};
use crate::sync::SpinLock;
use alloc::vec::Vec;

/// Bytes of a kernel stack.
pub const STACK_BYTES: u64 = 64 * 1024;
/// Distance of two stacks; what lies between is the guard.
const SLOT_BYTES: u64 = 128 * 1024;
const STACKS_BASE: u64 = KERNEL_AREA_BASE + (256 << 30);
/// More than `pid_max` slots: the limit on threads comes first.
const MAX_SLOTS: u64 = 1 << 20;
/// Stacks of ended threads that stay mapped for the next ones.
const KEPT: usize = 32;

struct Slots {
    next: u64,
    /// Unused slots without memory.
    free: Vec<u64>,
    /// Unused slots with memory.
    mapped: Vec<u64>,
}

static SLOTS: SpinLock<Slots> = SpinLock::new(Slots { next: 0, free: Vec::new(), mapped: Vec::new() });

/// A kernel stack, freed when dropped (not while running on it).
#[derive(Debug)]
pub struct KernelStack {
    slot: u64,
}

impl KernelStack {
    /// A stack; `ENOMEM` when memory is out.
    pub fn new() -> Result<Self> {
        let slot = {
            let mut slots = SLOTS.lock();
            if let Some(slot) = slots.mapped.pop() {
                return Ok(Self { slot });
            }
            match slots.free.pop() {
                Some(slot) => slot,
                None if slots.next < MAX_SLOTS => {
                    slots.next += 1;
                    slots.next - 1
                }
                None => return Err(Errno::NOMEM),
            }
        };
        if let Err(error) = map_slot(slot) {
            unmap_slot(slot);
            SLOTS.lock().free.push(slot);
            return Err(error);
        }
        Ok(Self { slot })
    }

    /// The end of the stack: where its first push goes below.
    pub fn top(&self) -> u64 {
        bottom(self.slot) + STACK_BYTES
    }
}

impl Drop for KernelStack {
    fn drop(&mut self) {
        let mut slots = SLOTS.lock();
        if slots.mapped.len() < KEPT {
            slots.mapped.push(self.slot);
            return;
        }
        drop(slots);
        unmap_slot(self.slot);
        SLOTS.lock().free.push(self.slot);
    }
}

fn bottom(slot: u64) -> u64 {
    STACKS_BASE + slot * SLOT_BYTES + (SLOT_BYTES - STACK_BYTES)
}

fn pages(slot: u64) -> impl Iterator<Item = u64> {
    (bottom(slot)..bottom(slot) + STACK_BYTES).step_by(PAGE_SIZE_BYTES)
}

fn map_slot(slot: u64) -> Result<()> {
    for address in pages(slot) {
        let number = frame::take().ok_or(Errno::NOMEM)?;
        paging::map_kernel_page(address, number)?;
    }
    Ok(())
}

fn unmap_slot(slot: u64) {
    pages(slot).for_each(paging::unmap_kernel_page);
}

/// Whether an address lies in the gap below a kernel stack.
pub(super) fn is_guard(address: u64) -> bool {
    address.checked_sub(STACKS_BASE).is_some_and(|offset| offset < MAX_SLOTS * SLOT_BYTES && offset % SLOT_BYTES < SLOT_BYTES - STACK_BYTES)
}

/// Whether `address` lies on the stack that `rsp` is on, at or above it. Boot and interrupt stacks count up to the next 4 KiB boundary
/// (they are not mapped apart).
pub(super) fn same_stack(rsp: u64, address: u64) -> bool {
    let end = match rsp.checked_sub(STACKS_BASE) {
        Some(offset) if offset < MAX_SLOTS * SLOT_BYTES => STACKS_BASE + (offset / SLOT_BYTES + 1) * SLOT_BYTES,
        _ => (rsp | 0xfff) + 1,
    };
    (rsp..end).contains(&address)
}
