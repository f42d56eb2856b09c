//! Message queues of System V (`msgget(2)`, `msgop(2)`, `msgctl(2)`).

use super::table::{Access, Change, Header, Object, Request};
use super::{IpcNamespace, Setting, now_s};
use crate::errno::{Errno, Result};
use crate::sync::SpinLock;
use crate::task::pid::Pid;
use crate::task::wait_queue::WaitMode;
use crate::task::{Capabilities, WaitQueue, current};
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// A message.
#[derive(Clone)]
pub struct Message {
    /// Greater than 0.
    pub kind: i64,
    /// What was sent.
    pub bytes: Vec<u8>,
}

/// Which message a receiver wants (`msgop(2)`).
#[derive(Clone, Copy)]
pub enum Wanted {
    /// The first.
    First,
    /// The first of this type.
    Kind(i64),
    /// The first of another type.
    OtherThan(i64),
    /// The first of the lowest type up to this.
    LowestUpTo(i64),
    /// A copy of the one at this place, which stays.
    CopyAt(usize),
}

struct State {
    messages: VecDeque<Message>,
    bytes: u64,
    most_bytes: u64,
    sent_s: i64,
    received_s: i64,
    last_sender: Option<Arc<Pid>>,
    last_receiver: Option<Arc<Pid>>,
    removed: bool,
}

/// A queue.
pub struct MessageQueue {
    header: SpinLock<Header>,
    state: SpinLock<State>,
    receivers: WaitQueue,
    senders: WaitQueue,
}

impl Object for MessageQueue {
    fn header(&self) -> &SpinLock<Header> {
        &self.header
    }
}

/// What `IPC_STAT` and `/proc/sysvipc/msg` tell.
#[allow(missing_docs)]
pub struct Status {
    pub header: Header,
    pub messages: u64,
    pub bytes: u64,
    pub most_bytes: u64,
    pub sent_s: i64,
    pub received_s: i64,
    pub last_sender: u32,
    pub last_receiver: u32,
}

impl State {
    fn position(&self, wanted: Wanted) -> Option<usize> {
        let mut kinds = self.messages.iter().map(|message| message.kind);
        match wanted {
            Wanted::First => kinds.next().map(|_| 0),
            Wanted::Kind(kind) => kinds.position(|other| other == kind),
            Wanted::OtherThan(kind) => kinds.position(|other| other != kind),
            Wanted::CopyAt(place) => (place < self.messages.len()).then_some(place),
            // Of the same type the first.
            Wanted::LowestUpTo(most) => {
                kinds.enumerate().filter(|(_, kind)| *kind <= most).min_by_key(|(_, kind)| *kind).map(|(place, _)| place)
            }
        }
    }
}

impl MessageQueue {
    /// All there is to know.
    pub fn status(&self) -> Status {
        let header = self.header.lock().clone();
        let pids = current().pid().namespace().clone();
        let number = |pid: &Option<Arc<Pid>>| pid.as_ref().map_or(0, |pid| pid.number_in(&pids));
        let state = self.state.lock();
        Status {
            header,
            messages: state.messages.len() as u64,
            bytes: state.bytes,
            most_bytes: state.most_bytes,
            sent_s: state.sent_s,
            received_s: state.received_s,
            last_sender: number(&state.last_sender),
            last_receiver: number(&state.last_receiver),
        }
    }

    /// Puts the message in if there is room; gives it back if not.
    fn try_send(&self, message: &mut Option<Message>) -> Option<Result<()>> {
        let mut state = self.state.lock();
        if state.removed {
            return Some(Err(Errno::IDRM));
        }
        let len_bytes = message.as_ref().map_or(0, |message| message.bytes.len() as u64);
        let has_room = state.bytes + len_bytes <= state.most_bytes && (state.messages.len() as u64) < state.most_bytes;
        if !has_room {
            return None;
        }
        state.bytes += len_bytes;
        state.messages.extend(message.take());
        state.sent_s = now_s();
        state.last_sender = Some(current().process.id.clone());
        drop(state);
        self.receivers.wake_all();
        Some(Ok(()))
    }

    /// Takes a message out if there is one; `E2BIG` if it is longer than `most_bytes` and may not be cut.
    fn try_receive(&self, wanted: Wanted, most_bytes: usize, may_cut: bool) -> Option<Result<Message>> {
        let mut state = self.state.lock();
        if state.removed {
            return Some(Err(Errno::IDRM));
        }
        let place = state.position(wanted)?;
        if state.messages[place].bytes.len() > most_bytes && !may_cut {
            return Some(Err(Errno::TOOBIG));
        }
        if matches!(wanted, Wanted::CopyAt(_)) {
            return Some(Ok(state.messages[place].clone()));
        }
        let message = state.messages.remove(place)?;
        state.bytes -= message.bytes.len() as u64;
        state.received_s = now_s();
        state.last_receiver = Some(current().process.id.clone());
        drop(state);
        self.senders.wake_all();
        Some(Ok(message))
    }
}

fn namespace() -> Arc<IpcNamespace> {
    current().namespaces().ipc.clone()
}

/// `msgget(2)`.
pub fn get(key: i32, flags: u32) -> Result<i32> {
    let namespace = namespace();
    let request = Request { key, flags, most: namespace.setting(Setting::Msgmni) };
    let most_bytes = namespace.setting(Setting::Msgmnb);
    let mut table = namespace.messages.lock();
    table.get(
        &namespace,
        request,
        |_| Ok(()),
        |_, header| {
            let state = State {
                messages: VecDeque::new(),
                bytes: 0,
                most_bytes,
                sent_s: 0,
                received_s: 0,
                last_sender: None,
                last_receiver: None,
                removed: false,
            };
            let (receivers, senders) = (WaitQueue::new(), WaitQueue::new());
            Ok(MessageQueue { header: SpinLock::new(header), state: SpinLock::new(state), receivers, senders })
        },
    )
}

fn find(id: i32, access: Access) -> Result<Arc<MessageQueue>> {
    let namespace = namespace();
    let queue = namespace.messages.lock().find(id)?;
    queue.header.lock().check(&namespace, access)?;
    Ok(queue)
}

/// The longest message that may be sent.
pub fn longest_message_bytes() -> u64 {
    namespace().setting(Setting::Msgmax)
}

/// `msgsnd(2)`. `EAGAIN` with `nonblocking` while there is no room.
pub fn send(id: i32, message: Message, nonblocking: bool) -> Result<()> {
    let queue = find(id, Access::Write)?;
    let mut message = Some(message);
    if let Some(ended) = queue.try_send(&mut message) {
        return ended;
    }
    if nonblocking {
        return Err(Errno::AGAIN);
    }
    queue.senders.wait_until(WaitMode::INTERRUPTIBLE, || queue.try_send(&mut message)).map_err(super::not_restarted)?
}

/// `msgrcv(2)`. `ENOMSG` with `nonblocking` while there is none.
pub fn receive(id: i32, wanted: Wanted, most_bytes: usize, may_cut: bool, nonblocking: bool) -> Result<Message> {
    let queue = find(id, Access::Read)?;
    if let Some(ended) = queue.try_receive(wanted, most_bytes, may_cut) {
        return ended;
    }
    if nonblocking {
        return Err(Errno::NOMSG);
    }
    let attempt = || queue.try_receive(wanted, most_bytes, may_cut);
    queue.receivers.wait_until(WaitMode::INTERRUPTIBLE, attempt).map_err(super::not_restarted)?
}

/// `IPC_STAT`, and `MSG_STAT`: the id, and what there is to know. `MSG_STAT_ANY` asks nobody (`unasked`).
pub fn status(number: i32, by_place: bool, unasked: bool) -> Result<(i32, Status)> {
    let namespace = namespace();
    let found = namespace.messages.lock().look_at(&namespace, number, by_place, unasked);
    found.map(|(id, queue)| (id, queue.status()))
}

/// `IPC_RMID`: who waits hears of it.
pub fn remove(id: i32) -> Result<()> {
    let namespace = namespace();
    let queue = namespace.messages.lock().take(&namespace, id)?;
    queue.state.lock().removed = true;
    queue.receivers.wake_all();
    queue.senders.wake_all();
    Ok(())
}

/// `IPC_SET`: the longest that the queue may become, too.
pub fn set(id: i32, change: Change, most_bytes: u64) -> Result<()> {
    let namespace = namespace();
    let privileged = current().credentials().capable_in(Capabilities::SYS_RESOURCE, &namespace.owner);
    let table = namespace.messages.lock();
    table.find(id)?.header.lock().check_owner(&namespace)?;
    if most_bytes > namespace.setting(Setting::Msgmnb) && !privileged {
        return Err(Errno::PERM);
    }
    let queue = table.change(&namespace, id, change)?;
    drop(table);
    queue.state.lock().most_bytes = most_bytes;
    queue.senders.wake_all();
    Ok(())
}
