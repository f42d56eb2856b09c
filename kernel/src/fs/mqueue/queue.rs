//! One POSIX message queue (`mq_overview(7)`): its messages by priority, who waits for them, and who is to be told of the next.
//!
//! A sender hands its message to a receiver that waits already, and a receiver that takes a message lets the first waiting sender put
//! its own in: nobody can come in between. Somebody who wants to be notified hears only of a message that nobody waited for.

use crate::errno::{Errno, Result};
use crate::net::netlink::NetlinkSocket;
use crate::sync::SpinLock;
use crate::task::signal::{Detail, Signal, SignalInfo, send_to_process};
use crate::task::wait_queue::WaitMode;
use crate::task::{Deadline, Process, WaitQueue, current};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// `SI_MESGQ` (`sigaction(2)`).
const SI_MESGQ: i32 = -3;
/// Bytes of the cookie that `SIGEV_THREAD` sends to a netlink socket, and what its last byte says (`include/linux/mqueue.h`).
pub const COOKIE_BYTES: usize = 32;
const NOTIFY_WOKENUP: u8 = 1;
const NOTIFY_REMOVED: u8 = 2;

/// How large a queue is, fixed when it is made.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Messages.
    pub max_messages: usize,
    /// Bytes of a message.
    pub max_message_bytes: usize,
}

/// A message with its priority.
pub struct Message {
    /// 0 is the lowest.
    pub priority: u32,
    /// What was sent.
    pub bytes: Vec<u8>,
}

/// How somebody is told of a message in an empty queue.
pub enum Notice {
    /// Not at all; but nobody else can ask for it.
    Nothing,
    /// By a signal with a value.
    Signal(Signal, u64),
    /// By a datagram to a socket, for which a library starts a thread.
    Socket(Arc<NetlinkSocket>, [u8; COOKIE_BYTES]),
}

struct Notification {
    process: Arc<Process>,
    notice: Notice,
}

/// Somebody who waits: a receiver without a message, a sender with one. The other side fills or empties it.
type Slot = SpinLock<Option<Message>>;

#[derive(Default)]
struct State {
    by_priority: BTreeMap<u32, VecDeque<Vec<u8>>>,
    count: usize,
    bytes: usize,
    receivers: VecDeque<Arc<Slot>>,
    senders: VecDeque<Arc<Slot>>,
    notification: Option<Notification>,
}

impl State {
    fn push(&mut self, message: Message) {
        self.count += 1;
        self.bytes += message.bytes.len();
        self.by_priority.entry(message.priority).or_default().push_back(message.bytes);
    }

    /// The oldest message of the highest priority.
    fn pop(&mut self) -> Option<Message> {
        let mut entry = self.by_priority.last_entry()?;
        let priority = *entry.key();
        let bytes = entry.get_mut().pop_front()?;
        if entry.get().is_empty() {
            entry.remove();
        }
        self.count -= 1;
        self.bytes -= bytes.len();
        Some(Message { priority, bytes })
    }
}

/// A queue.
pub struct Queue {
    /// Its size.
    pub size: Size,
    state: SpinLock<State>,
    /// Who waits for messages, pollers among them.
    pub readable: Arc<WaitQueue>,
    /// Who waits for room.
    pub writable: Arc<WaitQueue>,
}

impl Queue {
    /// An empty one.
    pub fn new(size: Size) -> Self {
        Self { size, state: SpinLock::new(State::default()), readable: Arc::default(), writable: Arc::default() }
    }

    /// How many messages there are.
    pub fn messages(&self) -> usize {
        self.state.lock().count
    }

    /// Puts a message in. `EAGAIN` if it is full and `nonblocking`, `ETIMEDOUT` when the time is over.
    pub fn send(&self, message: Message, nonblocking: bool, deadline: Option<Deadline>) -> Result<()> {
        let slot = {
            let mut state = self.state.lock();
            if state.count < self.size.max_messages {
                let told = self.deliver(&mut state, message);
                drop(state);
                self.readable.wake_all();
                told.into_iter().for_each(tell);
                return Ok(());
            }
            if nonblocking {
                return Err(Errno::AGAIN);
            }
            let slot = Arc::new(Slot::new(Some(message)));
            state.senders.push_back(slot.clone());
            slot
        };
        let taken = || slot.lock().is_none().then_some(());
        let ended = self.writable.wait_until(WaitMode::INTERRUPTIBLE.until(deadline), taken);
        // One that is not in the list any more was taken at the last moment.
        ended.or_else(|end| if withdraw(&mut self.state.lock().senders, &slot) { Err(end) } else { Ok(()) })
    }

    /// Gives a message to the first receiver that waits, or puts it in. Who is to be notified, if it was the first and nobody waited.
    fn deliver(&self, state: &mut State, message: Message) -> Option<Notification> {
        if let Some(receiver) = state.receivers.pop_front() {
            *receiver.lock() = Some(message);
            return None;
        }
        state.push(message);
        if state.count == 1 { state.notification.take() } else { None }
    }

    /// Takes a message out; the ends as in [`Self::send`].
    pub fn receive(&self, nonblocking: bool, deadline: Option<Deadline>) -> Result<Message> {
        let slot = {
            let mut state = self.state.lock();
            if let Some(message) = state.pop() {
                // A message that comes in so is not the news that somebody asked for.
                if let Some(sender) = state.senders.pop_front()
                    && let Some(waiting) = sender.lock().take()
                {
                    state.push(waiting);
                }
                drop(state);
                self.writable.wake_all();
                return Ok(message);
            }
            if nonblocking {
                return Err(Errno::AGAIN);
            }
            let slot = Arc::new(Slot::new(None));
            state.receivers.push_back(slot.clone());
            slot
        };
        let ended = self.readable.wait_until(WaitMode::INTERRUPTIBLE.until(deadline), || slot.lock().take());
        ended.or_else(|end| {
            withdraw(&mut self.state.lock().receivers, &slot);
            slot.lock().take().ok_or(end)
        })
    }

    /// The calling process is to be told of the next message in the empty queue. `EBUSY` if somebody asked already.
    pub fn notify(&self, notice: Notice) -> Result<()> {
        let mut state = self.state.lock();
        if state.notification.is_some() {
            return Err(Errno::BUSY);
        }
        state.notification = Some(Notification { process: current().process.clone(), notice });
        Ok(())
    }

    /// The calling process is not to be told any more, if it is the one that asked.
    pub fn forget_notification(&self) {
        let process = &current().process;
        let removed = {
            let mut state = self.state.lock();
            let own = state.notification.as_ref().is_some_and(|notification| Arc::ptr_eq(&notification.process, process));
            if own { state.notification.take() } else { None }
        };
        if let Some(Notification { notice: Notice::Socket(socket, cookie), .. }) = removed {
            send_cookie(&socket, cookie, NOTIFY_REMOVED);
        }
    }

    /// What reading the queue's file gives.
    pub fn status(&self) -> Vec<u8> {
        let state = self.state.lock();
        let (kind, signal, process) = match &state.notification {
            None => (0, 0, 0),
            Some(Notification { process, notice }) => {
                let (kind, signal) = match notice {
                    Notice::Signal(signal, _) => (linux_raw_sys::general::SIGEV_SIGNAL, signal.number()),
                    Notice::Nothing => (linux_raw_sys::general::SIGEV_NONE, 0),
                    Notice::Socket(..) => (linux_raw_sys::general::SIGEV_THREAD, 0),
                };
                (kind, signal, process.id.number_in(current().pid().namespace()))
            }
        };
        alloc::format!("QSIZE:{:<10} NOTIFY:{kind:<5} SIGNO:{signal:<5} NOTIFY_PID:{process:<6}\n", state.bytes).into_bytes()
    }
}

/// Takes somebody out of a list, if it is still there.
fn withdraw(list: &mut VecDeque<Arc<Slot>>, slot: &Arc<Slot>) -> bool {
    let before = list.len();
    list.retain(|other| !Arc::ptr_eq(other, slot));
    list.len() < before
}

/// Tells who asked, and that once.
fn tell(Notification { process, notice }: Notification) {
    match notice {
        Notice::Nothing => {}
        Notice::Signal(signal, value) => {
            let mut info = SignalInfo::from_current(signal, SI_MESGQ, &process);
            if let Detail::Sender { pid, uid } = info.detail {
                info.detail = Detail::Value { pid, uid, value };
            }
            // Where no more signals can be queued it is lost, as on Linux.
            let _ = send_to_process(&process, info);
        }
        Notice::Socket(socket, cookie) => send_cookie(&socket, cookie, NOTIFY_WOKENUP),
    }
}

fn send_cookie(socket: &NetlinkSocket, mut cookie: [u8; COOKIE_BYTES], what: u8) {
    cookie[COOKIE_BYTES - 1] = what;
    socket.receive_from_kernel(cookie.to_vec(), 0);
}
