//! One request on its way: made by who asks, read by the server, answered or ended.

use super::protocol::{GROUPS_EXTENSION, Message, Opcode, REQUEST_HEADER_BYTES};
use crate::errno::Result;
use crate::sync::SpinLock;
use crate::task::WaitQueue;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::AtomicBool;

/// What somebody wants to ask a server.
pub struct Question {
    /// What.
    pub opcode: Opcode,
    /// About which node.
    pub node: u64,
    /// With what.
    pub body: Message,
    /// How many bytes the answer has at least.
    pub min_answer_bytes: usize,
    /// And at most.
    pub max_answer_bytes: usize,
    /// Neither waits for INIT nor gives up when its caller is killed: what must be said.
    pub forced: bool,
    /// Nobody is named as the one who asks.
    pub anonymous: bool,
    /// Bytes at the end of the body that extend it: a multiple of 8.
    extension_bytes: u16,
    receiver: Option<Receiver>,
}

impl Question {
    /// A question whose answer has no body.
    pub fn new(opcode: Opcode, node: u64, body: Message) -> Self {
        Self {
            opcode,
            node,
            body,
            min_answer_bytes: 0,
            max_answer_bytes: 0,
            forced: false,
            anonymous: false,
            extension_bytes: 0,
            receiver: None,
        }
    }

    /// With an answer of exactly this length.
    pub fn answer(self, len_bytes: usize) -> Self {
        self.answer_between(len_bytes, len_bytes)
    }

    /// With an answer of at most this length.
    pub fn answer_up_to(self, len_bytes: usize) -> Self {
        self.answer_between(0, len_bytes)
    }

    /// With an answer of such a length.
    pub fn answer_between(self, min_answer_bytes: usize, max_answer_bytes: usize) -> Self {
        Self { min_answer_bytes, max_answer_bytes, ..self }
    }

    /// See [`Self::forced`].
    pub fn forced(self) -> Self {
        Self { forced: true, ..self }
    }

    /// With somebody who takes the answer, whenever it comes: [`Connection::post`](super::connection::Connection::post).
    pub fn answered_to(self, receiver: Receiver) -> Self {
        Self { receiver: Some(receiver), ..self }
    }

    /// With a group of the caller's besides his own (CREATE_SUPP_GROUP).
    pub fn with_group(mut self, group: u32) -> Self {
        const BYTES: u32 = 16;
        self.body = self.body.u32(BYTES).u32(GROUPS_EXTENSION).u32(1).u32(group);
        Self { extension_bytes: BYTES as u16, ..self }
    }

    /// See [`Self::anonymous`].
    pub fn anonymous(self) -> Self {
        Self { anonymous: true, ..self }
    }
}

/// Where a request is.
pub enum Status {
    /// Not read by the server.
    Waiting,
    /// Read through the device with this number.
    Sent(u64),
    /// Answered, or ended: the answer's body.
    Done(Result<Vec<u8>>),
}

/// What happens to the answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Its caller waits.
    Call,
    /// Nobody waits: RELEASE.
    Background,
    /// The connection begins with it.
    Init,
    /// There is none: what the server asked to be told.
    Tell,
}

/// A request with its number.
pub struct Request {
    /// Even; grows by two.
    pub unique: u64,
    /// See [`Question`].
    pub opcode: Opcode,
    node: u64,
    /// uid, gid and pid of who asks.
    asker: [u32; 3],
    body: Vec<u8>,
    extension_bytes: u16,
    /// Lengths that an answer's body may have.
    pub answer_bytes: core::ops::RangeInclusive<usize>,
    /// See [`Purpose`].
    pub purpose: Purpose,
    /// Where it is.
    pub status: SpinLock<Status>,
    /// Told when it is done.
    pub done: WaitQueue,
    /// A signal came for its caller: the server is to be told.
    pub interrupted: AtomicBool,
    /// Takes the answer where nobody waits for it.
    receiver: SpinLock<Option<Receiver>>,
}

/// What is done with an answer that nobody waits for. Must not block.
pub type Receiver = Box<dyn FnOnce(Result<Vec<u8>>) + Send>;

impl Request {
    /// With its number and who asks.
    pub fn new(mut question: Question, unique: u64, asker: [u32; 3], purpose: Purpose) -> Arc<Self> {
        Arc::new(Self {
            unique,
            opcode: question.opcode,
            node: question.node,
            asker,
            body: question.body.0,
            extension_bytes: question.extension_bytes,
            answer_bytes: question.min_answer_bytes..=question.max_answer_bytes,
            purpose,
            status: SpinLock::new(Status::Waiting),
            done: WaitQueue::new(),
            interrupted: AtomicBool::new(false),
            receiver: SpinLock::new(question.receiver.take()),
        })
    }

    /// Its length on the wire.
    pub fn len_bytes(&self) -> usize {
        REQUEST_HEADER_BYTES + self.body.len()
    }

    /// Its header; the body follows.
    pub fn header(&self) -> Vec<u8> {
        let header = plain_header(self.len_bytes(), self.opcode, self.unique, self.node, self.asker);
        header.u32(u32::from(self.extension_bytes / 8)).0
    }

    /// What follows the header.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Ends it, unless it has ended.
    pub fn finish(&self, result: Result<Vec<u8>>) {
        let receiver = self.receiver.lock().take();
        let result = match receiver {
            Some(receive) => {
                receive(result);
                Ok(Vec::new())
            }
            None => result,
        };
        let old = {
            let mut status = self.status.lock();
            if matches!(*status, Status::Done(_)) {
                return;
            }
            core::mem::replace(&mut *status, Status::Done(result))
        };
        drop(old);
        self.done.wake_all();
    }

    /// The result, once it is there; the second time an empty one.
    pub fn take_result(&self) -> Option<Result<Vec<u8>>> {
        match &mut *self.status.lock() {
            Status::Done(result) => Some(core::mem::replace(result, Ok(Vec::new()))),
            _ => None,
        }
    }

    /// Whether the server has it.
    pub fn is_sent(&self) -> bool {
        matches!(*self.status.lock(), Status::Sent(_))
    }
}

/// A request's header, of one that is not extended.
pub fn header(len_bytes: usize, opcode: Opcode, unique: u64, node: u64, asker: [u32; 3]) -> Message {
    plain_header(len_bytes, opcode, unique, node, asker).u32(0)
}

fn plain_header(len_bytes: usize, opcode: Opcode, unique: u64, node: u64, asker: [u32; 3]) -> Message {
    let [uid, gid, pid] = asker;
    Message::default().u32(len_bytes as u32).u32(opcode as u32).u64(unique).u64(node).u32(uid).u32(gid).u32(pid)
}
