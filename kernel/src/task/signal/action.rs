//! What a process does with each signal (`sigaction(2)`).

use super::{Signal, SignalSet};
use crate::sync::SpinLock;
use alloc::sync::Arc;
use linux_raw_sys::general as sys;

/// `SIG_DFL` and `SIG_IGN` of `signal(2)` as handler addresses.
const DEFAULT: u64 = 0;
const IGNORE: u64 = 1;

/// The flags that Linux keeps of what `sigaction` is given; unknown ones are cleared so that programs can probe.
const KNOWN_FLAGS: u64 = (sys::SA_NOCLDSTOP
    | sys::SA_NOCLDWAIT
    | sys::SA_SIGINFO
    | sys::SA_ONSTACK
    | sys::SA_RESTART
    | sys::SA_NODEFER
    | sys::SA_RESETHAND
    | sys::SA_RESTORER
    | sys::SA_EXPOSE_TAGBITS) as u64;

/// One entry, in the layout of the kernel's `struct sigaction` on x86-64.
#[derive(Clone, Copy, Default, Debug)]
#[allow(missing_docs)]
pub struct Action {
    pub handler: u64,
    pub flags: u64,
    pub restorer: u64,
    pub mask: SignalSet,
}

/// What happens when the signal is delivered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Disposition {
    Ignore,
    Terminate,
    /// Terminate, and dump core where that is enabled.
    CoreDump,
    Stop,
    Continue,
    Handler,
}

impl Action {
    /// From the four words that a program passes.
    pub fn from_words(words: [u64; 4]) -> Self {
        let [handler, flags, restorer, mask] = words;
        Self { handler, flags: flags & KNOWN_FLAGS, restorer, mask: SignalSet(mask).minus(SignalSet::UNBLOCKABLE) }
    }

    /// For the program.
    pub fn to_words(self) -> [u64; 4] {
        [self.handler, self.flags, self.restorer, self.mask.0]
    }

    /// Whether a flag of `SA_*` is set.
    pub fn has(self, flag: u32) -> bool {
        self.flags & u64::from(flag) != 0
    }

    /// Explicitly `SIG_IGN`.
    pub fn is_ignore(self) -> bool {
        self.handler == IGNORE
    }

    /// `SIG_DFL`.
    pub fn is_default(self) -> bool {
        self.handler == DEFAULT
    }

    /// What delivery of `signal` does.
    pub fn disposition(self, signal: Signal) -> Disposition {
        match self.handler {
            DEFAULT => default_disposition(signal),
            IGNORE => Disposition::Ignore,
            _ => Disposition::Handler,
        }
    }
}

/// The table of `signal(7)`, "Standard signals".
fn default_disposition(signal: Signal) -> Disposition {
    match signal {
        Signal::CHLD | Signal::URG | Signal::WINCH => Disposition::Ignore,
        Signal::CONT => Disposition::Continue,
        Signal::STOP | Signal::TSTP | Signal::TTIN | Signal::TTOU => Disposition::Stop,
        Signal::QUIT
        | Signal::ILL
        | Signal::TRAP
        | Signal::ABRT
        | Signal::BUS
        | Signal::FPE
        | Signal::SEGV
        | Signal::XCPU
        | Signal::XFSZ
        | Signal::SYS => Disposition::CoreDump,
        _ => Disposition::Terminate,
    }
}

/// The table of a process; `CLONE_SIGHAND` shares it.
pub struct SignalActions {
    entries: SpinLock<[Action; Signal::COUNT]>,
}

impl SignalActions {
    /// All at their defaults.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { entries: SpinLock::new([Action::default(); Signal::COUNT]) })
    }

    /// A copy for `fork`.
    pub fn duplicate(&self) -> Arc<Self> {
        Arc::new(Self { entries: SpinLock::new(*self.entries.lock()) })
    }

    /// The entry of `signal`.
    pub fn get(&self, signal: Signal) -> Action {
        self.entries.lock()[signal.index()]
    }

    /// Replaces an entry, giving the old one back.
    pub fn set(&self, signal: Signal, action: Action) -> Action {
        core::mem::replace(&mut self.entries.lock()[signal.index()], action)
    }

    /// `exec`: caught signals go back to their defaults, ignored ones stay ignored, flags and masks go (`execve(2)`).
    pub fn reset_handlers(&self) {
        for action in self.entries.lock().iter_mut() {
            let handler = if action.is_ignore() { IGNORE } else { DEFAULT };
            *action = Action { handler, ..Action::default() };
        }
    }

    /// `CLONE_CLEAR_SIGHAND`: like [`Self::reset_handlers`] for a copy.
    pub fn cleared(&self) -> Arc<Self> {
        let copy = self.duplicate();
        copy.reset_handlers();
        copy
    }

    /// Back to the default, unless ignored signals are kept: a fault that a program blocks or ignores must kill it.
    pub(super) fn reset(&self, signal: Signal) {
        self.entries.lock()[signal.index()].handler = DEFAULT;
    }

    /// The ignored and the caught ones (`SigIgn`, `SigCgt` of `/proc/PID/status`).
    pub fn summary(&self) -> (SignalSet, SignalSet) {
        let (mut ignored, mut caught) = (SignalSet::EMPTY, SignalSet::EMPTY);
        for (index, action) in self.entries.lock().iter().enumerate() {
            let bit = SignalSet(1 << index);
            if action.is_ignore() {
                ignored = ignored.union(bit);
            } else if !action.is_default() {
                caught = caught.union(bit);
            }
        }
        (ignored, caught)
    }
}
