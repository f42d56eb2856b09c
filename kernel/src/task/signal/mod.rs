//! Signals (`signal(7)`): numbers, sets, what is pending, who gets it, delivery to handlers.

pub mod action;
pub mod calls;
pub mod deliver;
pub mod frame;
pub mod info;
pub mod pending;
pub mod permission;
pub mod send;
pub mod stop;
pub mod wait;

pub use action::{Action, Disposition, SignalActions};
pub use info::{Detail, SignalInfo};
pub use pending::PendingSignals;
pub use send::{send_to_current, send_to_group, send_to_process, send_to_thread};
pub use wait::{pending_of_current, take_pending};

use crate::errno::{Errno, Result};
use crate::task::Thread;
use linux_raw_sys::general as sys;

/// A signal's number, 1 to 64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Signal(u8);

#[allow(missing_docs, reason = "signal(7) describes each")]
impl Signal {
    pub const HUP: Self = Self(sys::SIGHUP as u8);
    pub const INT: Self = Self(sys::SIGINT as u8);
    pub const QUIT: Self = Self(sys::SIGQUIT as u8);
    pub const ILL: Self = Self(sys::SIGILL as u8);
    pub const TRAP: Self = Self(sys::SIGTRAP as u8);
    pub const ABRT: Self = Self(sys::SIGABRT as u8);
    pub const BUS: Self = Self(sys::SIGBUS as u8);
    pub const FPE: Self = Self(sys::SIGFPE as u8);
    pub const KILL: Self = Self(sys::SIGKILL as u8);
    pub const SEGV: Self = Self(sys::SIGSEGV as u8);
    pub const PIPE: Self = Self(sys::SIGPIPE as u8);
    pub const ALRM: Self = Self(sys::SIGALRM as u8);
    pub const CHLD: Self = Self(sys::SIGCHLD as u8);
    pub const CONT: Self = Self(sys::SIGCONT as u8);
    pub const STOP: Self = Self(sys::SIGSTOP as u8);
    pub const TSTP: Self = Self(sys::SIGTSTP as u8);
    pub const TTIN: Self = Self(sys::SIGTTIN as u8);
    pub const TTOU: Self = Self(sys::SIGTTOU as u8);
    pub const URG: Self = Self(sys::SIGURG as u8);
    pub const XCPU: Self = Self(sys::SIGXCPU as u8);
    pub const XFSZ: Self = Self(sys::SIGXFSZ as u8);
    pub const VTALRM: Self = Self(sys::SIGVTALRM as u8);
    pub const PROF: Self = Self(sys::SIGPROF as u8);
    pub const WINCH: Self = Self(sys::SIGWINCH as u8);
    pub const SYS: Self = Self(sys::SIGSYS as u8);
    /// The first real-time signal: from here on signals queue.
    pub const RT_MIN: Self = Self(sys::SIGRTMIN as u8);
}

impl Signal {
    /// How many there are.
    pub const COUNT: usize = 64;

    /// From a system call's argument. `EINVAL` for what is no signal, 0 included.
    pub fn new(number: u32) -> Result<Self> {
        if (1..=Self::COUNT as u32).contains(&number) { Ok(Self(number as u8)) } else { Err(Errno::INVAL) }
    }

    /// Like [`Self::new`], but 0 is "no signal" (`kill(2)`: check only).
    pub fn or_none(number: u32) -> Result<Option<Self>> {
        if number == 0 { Ok(None) } else { Self::new(number).map(Some) }
    }

    /// The number.
    pub const fn number(self) -> u32 {
        self.0 as u32
    }

    /// Place in tables of 64.
    pub const fn index(self) -> usize {
        self.0 as usize - 1
    }

    /// Whether several of it queue.
    pub fn is_real_time(self) -> bool {
        self >= Self::RT_MIN
    }
}

/// A set of signals, as `sigset_t` of the kernel: bit n − 1 stands for signal n.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct SignalSet(pub u64);

impl SignalSet {
    /// No signal.
    pub const EMPTY: Self = Self(0);
    /// Those that cannot be caught, blocked or ignored.
    pub const UNBLOCKABLE: Self = Self::of(&[Signal::KILL, Signal::STOP]);
    /// Those whose default is to stop the process.
    pub const STOPPING: Self = Self::of(&[Signal::STOP, Signal::TSTP, Signal::TTIN, Signal::TTOU]);
    /// Delivered before all others.
    pub const SYNCHRONOUS: Self = Self::of(&[Signal::SEGV, Signal::BUS, Signal::ILL, Signal::TRAP, Signal::FPE, Signal::SYS]);

    /// The set of the signals given.
    pub const fn of(signals: &[Signal]) -> Self {
        let mut bits = 0;
        let mut index = 0;
        while index < signals.len() {
            bits |= 1 << signals[index].index();
            index += 1;
        }
        Self(bits)
    }

    /// Whether `signal` is in it.
    pub const fn contains(self, signal: Signal) -> bool {
        self.0 & (1 << signal.index()) != 0
    }

    /// With `signal`.
    pub const fn with(self, signal: Signal) -> Self {
        Self(self.0 | 1 << signal.index())
    }

    /// Without `signal`.
    pub const fn without(self, signal: Signal) -> Self {
        Self(self.0 & !(1 << signal.index()))
    }

    /// What is in either.
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in both.
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What is in this one only.
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether there is none in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The one with the lowest number.
    pub fn first(self) -> Option<Signal> {
        (self.0 != 0).then(|| Signal(self.0.trailing_zeros() as u8 + 1))
    }
}

/// What the processor told about a fault: shown in the handler's frame.
#[derive(Clone, Copy, Default)]
pub(in crate::task) struct FaultRecord {
    pub vector: u64,
    pub error: u64,
    pub address: u64,
}

/// Changes the current thread's mask for the time of one system call (`ppoll`, `pselect`, `epoll_pwait`, `sigsuspend`). The old one comes
/// back when the call ends, after the handler has run if a signal ended it.
pub fn set_temporary_mask(mask: SignalSet) {
    let thread = super::current();
    let mut signals = thread.signals.lock();
    if signals.saved_mask.is_none() {
        signals.saved_mask = Some(signals.mask);
    }
    signals.mask = mask.minus(SignalSet::UNBLOCKABLE);
}

/// Ends [`set_temporary_mask`].
pub(in crate::task) fn restore_mask(thread: &Thread) {
    let mut signals = thread.signals.lock();
    if let Some(mask) = signals.saved_mask.take() {
        signals.mask = mask;
    }
}
