//! The chain of filters of a thread: it only gets longer, and children and threads share what they inherit.

use super::notify::Listener;
use super::program::Program;
use super::{CALL_DATA_BYTES, CallData};
use alloc::sync::Arc;
use linux_raw_sys::ptrace as abi;

/// What one filter adds to the instructions of a chain, besides its own.
const OVERHEAD_INSTRUCTIONS: usize = 4;
/// Most instructions of a chain, as Linux counts them.
pub const MAX_CHAIN_INSTRUCTIONS: usize = (1 << 18) / super::program::INSTRUCTION_BYTES;

/// One filter and those that were there before.
pub struct Chain {
    older: Option<Arc<Chain>>,
    program: Program,
    /// What it forbids is logged (`SECCOMP_FILTER_FLAG_LOG`).
    pub logs: bool,
    /// Who decides about what it does not decide itself (`SECCOMP_FILTER_FLAG_NEW_LISTENER`).
    pub listener: Option<Arc<Listener>>,
}

impl Chain {
    /// `program` in front of `older`.
    pub fn new(older: Option<Arc<Chain>>, program: Program, logs: bool, listener: Option<Arc<Listener>>) -> Arc<Self> {
        Arc::new(Self { older, program, logs, listener })
    }

    fn iter(&self) -> impl Iterator<Item = &Self> {
        core::iter::successors(Some(self), |filter| filter.older.as_deref())
    }

    /// How many filters there are.
    pub fn count(&self) -> usize {
        self.iter().count()
    }

    /// Their instructions, as the limit counts them.
    pub fn cost(&self) -> usize {
        self.iter().map(|filter| filter.program.cost() + OVERHEAD_INSTRUCTIONS).sum()
    }

    /// Whether one of them has a listener: there can be one.
    pub fn has_listener(&self) -> bool {
        self.iter().any(|filter| filter.listener.is_some())
    }

    /// Whether it is `other`, or the filters of `other` are its newest ones.
    pub fn is_within(self: &Arc<Self>, other: &Arc<Self>) -> bool {
        core::iter::successors(Some(other), |filter| filter.older.as_ref()).any(|filter| Arc::ptr_eq(filter, self))
    }

    /// Asks all filters, the newest first. The verdict is the one that forbids most, and of equal ones the first, with the filter that gave
    /// it. Lower numbers forbid more; as signed numbers, so that killing the process is lowest of all.
    pub fn run(&self, call: &CallData) -> (u32, &Self) {
        let data: [u8; CALL_DATA_BYTES] = call.encode();
        let rank = |verdict: u32| (verdict & abi::SECCOMP_RET_ACTION_FULL) as i32;
        let mut best = (abi::SECCOMP_RET_ALLOW, self);
        for filter in self.iter() {
            let verdict = filter.program.run(&data);
            if rank(verdict) < rank(best.0) {
                best = (verdict, filter);
            }
        }
        best
    }
}

impl Drop for Chain {
    /// A long chain ends one link after the other, not one inside the other.
    fn drop(&mut self) {
        let mut next = self.older.take();
        while let Some(link) = next {
            next = Arc::into_inner(link).and_then(|mut last| last.older.take());
        }
    }
}
