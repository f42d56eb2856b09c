//! Listeners (`seccomp_unotify(2)`): a descriptor through which another process decides about calls that a filter hands to it.

use super::filters::Chain;
use super::{CALL_DATA_BYTES, CallData, Decision};
use crate::errno::{Errno, Result};
use crate::fs::internal::{anonymous_file, file_of};
use crate::fs::{FileOps, OpenFile, OpenFlags, PollEvents, PollTable};
use crate::mm::user::{self, UserPointer};
use crate::sync::SpinLock;
use crate::task::wait_queue::WaitMode;
use crate::task::{Thread, WaitQueue, current};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use linux_raw_sys::ptrace as abi;

/// Bytes of `struct seccomp_notif` and `struct seccomp_notif_resp`.
const NOTIFICATION_BYTES: usize = 80;
const RESPONSE_BYTES: usize = 24;
/// Bytes of `struct seccomp_notif_addfd`.
const ADD_DESCRIPTOR_BYTES: usize = 24;
/// `struct seccomp_notif_sizes`.
pub const SIZES_BYTES: [u16; 3] = [NOTIFICATION_BYTES as u16, RESPONSE_BYTES as u16, CALL_DATA_BYTES as u16];

// `_IOWR('!', 0, …)`, `_IOWR('!', 1, …)`, `_IOW('!', 2, __u64)`, `_IOW('!', 3, …)`, `_IOW('!', 4, __u64)`.
const RECV: u32 = 0xc050_2100;
const SEND: u32 = 0xc018_2101;
const ID_VALID: u32 = 0x4008_2102;
const ADDFD: u32 = 0x4018_2103;
const SET_FLAGS: u32 = 0x4008_2104;
/// An old number of [`ID_VALID`], which had the direction wrong.
const ID_VALID_WRONG_DIRECTION: u32 = 0x8008_2102;

/// Where a call stands that a listener is to decide about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nobody has read of it.
    Fresh,
    /// A listener has.
    Sent,
    /// It was answered.
    Answered(Answer),
}

/// What a listener said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Continue,
    Value(i64, i32),
}

struct Notification {
    id: u64,
    caller: Weak<Thread>,
    data: [u8; CALL_DATA_BYTES],
    phase: Phase,
}

/// The queue between the threads that a filter governs and who listens.
pub struct Listener {
    queue: SpinLock<Vec<Notification>>,
    /// Woken when a call comes, or when one is answered.
    calls: Arc<WaitQueue>,
    answers: WaitQueue,
    open: core::sync::atomic::AtomicBool,
    wait_killable: bool,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl Listener {
    /// An empty one; `wait_killable` as `SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV` says.
    pub fn new(wait_killable: bool) -> Arc<Self> {
        Arc::new(Self {
            queue: SpinLock::new(Vec::new()),
            calls: Arc::default(),
            answers: WaitQueue::new(),
            open: core::sync::atomic::AtomicBool::new(true),
            wait_killable,
        })
    }

    fn phase(&self, id: u64) -> Option<Phase> {
        self.queue.lock().iter().find(|call| call.id == id).map(|call| call.phase)
    }

    fn forget(&self, id: u64) {
        let gone = {
            let mut queue = self.queue.lock();
            queue.iter().position(|call| call.id == id).map(|index| queue.remove(index))
        };
        drop(gone);
        self.calls.wake_all();
    }

    /// Moves a call on. `ENOENT` if it is not there, `EINPROGRESS` if it is not in the phase that it must be in.
    fn advance(&self, id: u64, from: Phase, to: Phase) -> Result<()> {
        let mut queue = self.queue.lock();
        let call = queue.iter_mut().find(|call| call.id == id).ok_or(Errno::NOENT)?;
        if call.phase != from {
            return Err(Errno::INPROGRESS);
        }
        call.phase = to;
        Ok(())
    }
}

/// The current thread waits for its filter's listener to decide. Without one the call is `ENOSYS`; a signal ends the wait.
pub(super) fn ask(thread: &Arc<Thread>, filter: &Chain, call: &CallData) -> Decision {
    let Some(listener) = filter.listener.as_ref().filter(|listener| listener.open.load(Ordering::Acquire)) else {
        return Decision::Answer(Err(Errno::NOSYS));
    };
    let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
    let call = Notification { id, caller: Arc::downgrade(thread), data: call.encode(), phase: Phase::Fresh };
    listener.queue.lock().push(call);
    listener.calls.wake_all();
    let outcome = wait_for_answer(listener, id);
    listener.forget(id);
    match outcome {
        Ok(Some(Answer::Continue)) => Decision::Make,
        Ok(Some(Answer::Value(_, error))) if error != 0 => Decision::Answer(Err(Errno::from_code(error.saturating_neg()))),
        Ok(Some(Answer::Value(value, _))) => Decision::Answer(Ok(value as u64)),
        Ok(None) => Decision::Answer(Err(Errno::NOSYS)),
        Err(error) => Decision::Answer(Err(error)),
    }
}

/// The answer; `None` if nobody listens any more.
fn wait_for_answer(listener: &Listener, id: u64) -> Result<Option<Answer>> {
    let ended = || match listener.phase(id) {
        Some(Phase::Answered(answer)) => Some(Some(answer)),
        _ if !listener.open.load(Ordering::Acquire) => Some(None),
        _ => None,
    };
    // Once a listener has read of the call, only the end of the thread interrupts it where that was asked for.
    let seen = || listener.wait_killable && listener.phase(id) == Some(Phase::Sent);
    listener.answers.wait_until(WaitMode::INTERRUPTIBLE, || (ended().is_some() || seen()).then_some(()))?;
    match ended() {
        Some(answer) => Ok(answer),
        None => listener.answers.wait_until(WaitMode::KILLABLE, ended),
    }
}

/// What the descriptor refers to.
pub struct ListenerFile(Arc<Listener>);

/// An open file of a listener.
pub fn open(listener: Arc<Listener>) -> Result<Arc<OpenFile>> {
    anonymous_file("seccomp notify", Arc::new(ListenerFile(listener)), OpenFlags::RDWR)
}

impl ListenerFile {
    /// The next call that nobody has read of: marked as read.
    fn take_fresh(&self) -> Option<(u64, Weak<Thread>, [u8; CALL_DATA_BYTES])> {
        let mut queue = self.0.queue.lock();
        let call = queue.iter_mut().find(|call| call.phase == Phase::Fresh)?;
        call.phase = Phase::Sent;
        Some((call.id, call.caller.clone(), call.data))
    }

    /// `SECCOMP_IOCTL_NOTIF_RECV`: waits for a call and tells it. `EINVAL` if the buffer is not zero.
    fn receive(&self, address: u64) -> Result<()> {
        let mut bytes = [0; NOTIFICATION_BYTES];
        user::read_bytes(address, &mut bytes)?;
        if bytes != [0; NOTIFICATION_BYTES] {
            return Err(Errno::INVAL);
        }
        let (id, caller, data) = self.0.calls.wait_until(WaitMode::INTERRUPTIBLE, || self.take_fresh())?;
        self.0.answers.wake_all();
        let caller = caller.upgrade().ok_or(Errno::NOENT)?;
        let number = caller.pid().number_in(current().pid().namespace());
        bytes[..8].copy_from_slice(&id.to_ne_bytes());
        bytes[8..12].copy_from_slice(&number.to_ne_bytes());
        bytes[16..].copy_from_slice(&data);
        user::write_bytes(address, &bytes).inspect_err(|_| {
            // Nobody has seen it after all.
            let _ = self.0.advance(id, Phase::Sent, Phase::Fresh);
        })
    }

    /// `SECCOMP_IOCTL_NOTIF_SEND`. `EINVAL` for flags that do not go with the values.
    fn send(&self, address: u64) -> Result<()> {
        let [id, value, rest] = UserPointer::<[u64; 3]>::new(address).read()?;
        let (error, flags) = (rest as i32, (rest >> 32) as u32);
        let continues = flags == abi::SECCOMP_USER_NOTIF_FLAG_CONTINUE;
        if (flags != 0 && !continues) || (continues && (error != 0 || value != 0)) {
            return Err(Errno::INVAL);
        }
        let answer = if continues { Answer::Continue } else { Answer::Value(value as i64, error) };
        self.0.advance(id, Phase::Sent, Phase::Answered(answer))?;
        self.0.answers.wake_all();
        Ok(())
    }

    fn is_waiting(&self, id: u64) -> Result<()> {
        if self.0.phase(id) == Some(Phase::Sent) { Ok(()) } else { Err(Errno::NOENT) }
    }

    /// `SECCOMP_IOCTL_NOTIF_ADDFD`: gives the caller a descriptor of one of the listener's files; with `SEND` that is the answer as well.
    fn add_descriptor(&self, address: u64) -> Result<usize> {
        let mut bytes = [0; ADD_DESCRIPTOR_BYTES];
        user::read_bytes(address, &mut bytes)?;
        let [id, second, third] = UserPointer::<[u64; 3]>::new(address).read()?;
        let (flags, source) = (second as u32, (second >> 32) as i32);
        let (wanted, new_flags) = (third as u32 as i32, (third >> 32) as u32);
        let known = abi::SECCOMP_ADDFD_FLAG_SETFD | abi::SECCOMP_ADDFD_FLAG_SEND;
        let sets = flags & abi::SECCOMP_ADDFD_FLAG_SETFD != 0;
        if flags & !known != 0 || new_flags & !OpenFlags::CLOEXEC.bits() != 0 || (wanted != 0 && !sets) {
            return Err(Errno::INVAL);
        }
        let file = file_of(source)?;
        let caller = {
            let queue = self.0.queue.lock();
            let call = queue.iter().find(|call| call.id == id).ok_or(Errno::NOENT)?;
            if call.phase != Phase::Sent {
                return Err(Errno::INPROGRESS);
            }
            call.caller.upgrade()
        };
        let caller = caller.ok_or(Errno::NOENT)?;
        let files = caller.try_files().ok_or(Errno::SRCH)?;
        let limit = caller.process.descriptor_limit();
        let close_on_exec = new_flags != 0;
        let number = if sets {
            drop(files.replace(wanted, file, close_on_exec, limit)?);
            wanted
        } else {
            files.insert(file, close_on_exec, 0, limit)?
        };
        if flags & abi::SECCOMP_ADDFD_FLAG_SEND != 0 {
            self.0.advance(id, Phase::Sent, Phase::Answered(Answer::Value(i64::from(number), 0)))?;
            self.0.answers.wake_all();
        }
        Ok(number as usize)
    }
}

impl FileOps for ListenerFile {
    fn seekable(&self) -> bool {
        false
    }

    fn pollable(&self) -> bool {
        true
    }

    fn poll(&self, _file: &OpenFile, table: &mut PollTable<'_>) -> PollEvents {
        table.watch(&self.0.calls);
        let mut events = PollEvents::empty();
        for call in self.0.queue.lock().iter() {
            match call.phase {
                Phase::Fresh => events |= PollEvents::READABLE,
                Phase::Sent => events |= PollEvents::WRITABLE,
                Phase::Answered(_) => {}
            }
        }
        // Nobody is left whom the filter governs: this file and the descriptor's own are the last to know the listener.
        if Arc::strong_count(&self.0) == 1 {
            events |= PollEvents::HUP;
        }
        events
    }

    fn ioctl(&self, _file: &OpenFile, request: u32, argument: u64) -> Result<usize> {
        match request {
            RECV => self.receive(argument).map(|()| 0),
            SEND => self.send(argument).map(|()| 0),
            ID_VALID | ID_VALID_WRONG_DIRECTION => self.is_waiting(UserPointer::<u64>::new(argument).read()?).map(|()| 0),
            ADDFD => self.add_descriptor(argument),
            // Waking on the same processor is all that there is.
            SET_FLAGS if argument & !u64::from(abi::SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP) == 0 => Ok(0),
            _ => Err(Errno::INVAL),
        }
    }

    fn release(&self, _file: &OpenFile) {
        self.0.open.store(false, Ordering::Release);
        self.0.answers.wake_all();
    }
}
