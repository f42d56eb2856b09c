//! A connection: what is asked of one server, from mount(2) to the end. The queues between callers and the device, the life of a request
//! (`guest-fuse.md` section 4), and what was agreed upon in INIT.
//!
//! Nothing here trusts the server. A request that it never answers keeps its caller waiting, and nobody else; what it answers is
//! measured before it is believed.

use super::poll::PollPoints;
use super::protocol::{Features, Fields, INTERRUPT_BIT, MAJOR, MIN_READ_BYTES, Opcode, REQUEST_HEADER_BYTES, WRITE_FIELDS_BYTES};
use super::request::{Purpose, Question, Request, Status, header};
use super::terms::{self, Agreement, DEFAULT_CONGESTION_THRESHOLD, DEFAULT_MAX_BACKGROUND, Settings, Terms};
use crate::errno::{Errno, Result};
use crate::sync::SpinLock;
use crate::task::wait_queue::WaitMode;
use crate::task::{WaitQueue, current};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// Where a connection stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// INIT is not answered.
    Starting,
    Serving,
    /// INIT was answered with something else.
    Refused,
    /// The mount or the server is gone.
    Ended,
}

struct Queues {
    phase: Phase,
    settings: Settings,
    waiting: VecDeque<Arc<Request>>,
    /// What nobody waits for, as long as the server has `max_background` of the kind.
    held_back: VecDeque<Arc<Request>>,
    /// What nobody waits for and the server is to answer now.
    active_background: u32,
    interrupts: VecDeque<Arc<Request>>,
    forgets: VecDeque<(u64, u64)>,
    /// Forgets that were read since the last request, so that neither waits for ever.
    forgets_in_a_row: u32,
    /// What servers have read and not answered.
    sent: BTreeMap<u64, Arc<Request>>,
}

/// See the top of the file.
pub struct Connection {
    /// What it was mounted with.
    pub terms: Terms,
    queues: SpinLock<Queues>,
    /// Told when there is something to read.
    pub readable: Arc<WaitQueue>,
    /// Told when INIT is answered.
    started: WaitQueue,
    next_unique: AtomicU64,
    /// Those of the settings.
    features: AtomicU64,
    /// Operations that were answered with ENOSYS, a bit each.
    missing: AtomicU64,
    /// Calls under way (`waiting` of fusectl).
    calls: AtomicU32,
    /// Open devices.
    devices: AtomicU32,
    next_device: AtomicU64,
    /// `max_background` and `congestion_threshold` of fusectl.
    pub max_background: AtomicU32,
    /// See above.
    pub congestion_threshold: AtomicU32,
    no_interrupts: AtomicBool,
    aborted_by_user: AtomicBool,
    /// Files that somebody polls.
    pub polls: PollPoints,
}

impl Connection {
    /// A connection whose INIT waits to be read.
    pub fn new(terms: Terms) -> Arc<Self> {
        let connection = Arc::new(Self {
            terms,
            queues: SpinLock::new(Queues {
                phase: Phase::Starting,
                settings: Settings::NONE,
                waiting: VecDeque::new(),
                held_back: VecDeque::new(),
                active_background: 0,
                interrupts: VecDeque::new(),
                forgets: VecDeque::new(),
                forgets_in_a_row: 0,
                sent: BTreeMap::new(),
            }),
            readable: Arc::new(WaitQueue::new()),
            started: WaitQueue::new(),
            next_unique: AtomicU64::new(2),
            features: AtomicU64::new(0),
            missing: AtomicU64::new(0),
            calls: AtomicU32::new(0),
            devices: AtomicU32::new(0),
            next_device: AtomicU64::new(1),
            max_background: AtomicU32::new(DEFAULT_MAX_BACKGROUND),
            congestion_threshold: AtomicU32::new(DEFAULT_CONGESTION_THRESHOLD),
            no_interrupts: AtomicBool::new(false),
            aborted_by_user: AtomicBool::new(false),
            polls: PollPoints::default(),
        });
        let init = Question::new(Opcode::Init, 0, terms::offer()).answer_up_to(64).anonymous().forced();
        // Nothing can be in its way: the connection is new.
        let _ = connection.enqueue(init, Purpose::Init);
        connection
    }

    /// What was agreed upon.
    pub fn settings(&self) -> Settings {
        self.queues.lock().settings
    }

    /// Whether a feature was agreed upon. Asked all the time, so it takes no lock.
    pub fn has(&self, feature: Features) -> bool {
        Features::from_bits_retain(self.features.load(Ordering::Relaxed)).contains(feature)
    }

    /// Whether the kernel checks modes: the mount says so, or the server does by taking POSIX_ACL.
    pub fn checks_modes(&self) -> bool {
        self.terms.default_permissions || self.has(Features::POSIX_ACL)
    }

    /// Whether the server has answered this with `ENOSYS`.
    pub fn lacks(&self, opcode: Opcode) -> bool {
        self.missing.load(Ordering::Relaxed) & (1 << opcode as u32) != 0
    }

    /// Remembers that it has.
    pub fn note_missing(&self, opcode: Opcode) {
        self.missing.fetch_or(1 << opcode as u32, Ordering::Relaxed);
    }

    /// Calls under way.
    pub fn calls(&self) -> u32 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.queues.lock().phase == Phase::Ended
    }

    /// Asks, and waits for the answer's body.
    pub fn call(&self, question: Question) -> Result<Vec<u8>> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let result = self.call_counted(question);
        self.calls.fetch_sub(1, Ordering::Relaxed);
        result
    }

    /// As [`Self::call`], for an operation that the server may lack: `None` if it does, which is asked only once.
    pub fn call_optional(&self, question: Question) -> Result<Option<Vec<u8>>> {
        let opcode = question.opcode;
        if self.lacks(opcode) {
            return Ok(None);
        }
        match self.call(question) {
            Err(Errno::NOSYS) => {
                self.note_missing(opcode);
                Ok(None)
            }
            result => result.map(Some),
        }
    }

    fn call_counted(&self, question: Question) -> Result<Vec<u8>> {
        let forced = question.forced;
        if !forced {
            self.wait_for_start()?;
        }
        let request = self.enqueue(question, Purpose::Call)?;
        self.wait(&request, forced)
    }

    /// Asks without waiting for an answer. `ENOTCONN` after the end: then no answer comes.
    pub fn post(&self, question: Question) -> Result<()> {
        self.enqueue(question.forced(), Purpose::Background).map(drop)
    }

    /// Whether the server has much to do that nobody waits for (`congestion_threshold` of fusectl).
    pub fn is_congested(&self) -> bool {
        let queues = self.queues.lock();
        let background = queues.active_background as usize + queues.held_back.len();
        background >= self.congestion_threshold.load(Ordering::Relaxed) as usize
    }

    /// Tells the server what it wanted to know, under the number that it gave; it does not answer.
    pub fn tell(&self, unique: u64, question: Question) -> Result<()> {
        {
            let mut queues = self.queues.lock();
            if queues.phase == Phase::Ended {
                return Err(Errno::NOTCONN);
            }
            queues.waiting.push_back(Request::new(question, unique, [0; 3], Purpose::Tell));
        }
        self.readable.wake_one();
        Ok(())
    }

    /// The kernel drops a node that the server was asked about so many times.
    pub fn forget(&self, node: u64, lookups: u64) {
        {
            let mut queues = self.queues.lock();
            if queues.phase == Phase::Ended {
                return;
            }
            queues.forgets.push_back((node, lookups));
        }
        self.readable.wake_one();
    }

    /// Calls wait until INIT is answered. `EINTR` at a fatal signal, `ENOTCONN` after the end, `ECONNREFUSED` if INIT failed.
    fn wait_for_start(&self) -> Result<()> {
        let phase = || {
            let phase = self.queues.lock().phase;
            (phase != Phase::Starting).then_some(phase)
        };
        match self.started.wait_until(WaitMode::KILLABLE, phase).map_err(|_| Errno::INTR)? {
            Phase::Ended => Err(Errno::NOTCONN),
            Phase::Refused => Err(Errno::CONNREFUSED),
            Phase::Starting | Phase::Serving => Ok(()),
        }
    }

    fn asker(&self, anonymous: bool) -> Result<[u32; 3]> {
        if anonymous {
            return Ok([0; 3]);
        }
        let thread = current();
        let credentials = thread.credentials();
        let namespace = &self.terms.user_namespace;
        let uid = namespace.uid_from_global(credentials.filesystem_uid).ok_or(Errno::OVERFLOW)?;
        let gid = namespace.gid_from_global(credentials.filesystem_gid).ok_or(Errno::OVERFLOW)?;
        Ok([uid, gid, thread.pid().number_in(&self.terms.pid_namespace)])
    }

    fn enqueue(&self, question: Question, purpose: Purpose) -> Result<Arc<Request>> {
        let asker = match self.asker(question.anonymous) {
            // What must be said is said by nobody in particular.
            Err(_) if question.forced => [0; 3],
            asker => asker?,
        };
        let request = {
            let mut queues = self.queues.lock();
            if queues.phase == Phase::Ended {
                return Err(Errno::NOTCONN);
            }
            let unique = self.next_unique.fetch_add(2, Ordering::Relaxed);
            let request = Request::new(question, unique, asker, purpose);
            if purpose == Purpose::Background {
                if queues.active_background >= self.max_background.load(Ordering::Relaxed) {
                    queues.held_back.push_back(request.clone());
                    return Ok(request);
                }
                queues.active_background += 1;
            }
            queues.waiting.push_back(request.clone());
            request
        };
        self.readable.wake_one();
        Ok(request)
    }

    /// Ends a request that is in no queue any more; what was held back may take its place.
    fn retire(&self, request: &Request, result: Result<Vec<u8>>) {
        request.finish(result);
        if request.purpose == Purpose::Background {
            {
                let mut queues = self.queues.lock();
                queues.active_background = queues.active_background.saturating_sub(1);
            }
            self.send_held_back();
        }
    }

    /// Hands on what was held back, as far as the limit goes (which may have been raised).
    pub fn send_held_back(&self) {
        loop {
            {
                let mut queues = self.queues.lock();
                if queues.active_background >= self.max_background.load(Ordering::Relaxed) {
                    return;
                }
                let Some(request) = queues.held_back.pop_front() else { return };
                queues.active_background += 1;
                queues.waiting.push_back(request);
            }
            self.readable.wake_one();
        }
    }

    /// Waits for the answer: first for any signal, of which the server is told; then, as long as the server has not read the request, for
    /// a fatal one, which withdraws it; then for the answer alone.
    fn wait(&self, request: &Arc<Request>, forced: bool) -> Result<Vec<u8>> {
        let answered = || request.take_result();
        if !self.no_interrupts.load(Ordering::Relaxed) {
            if let Ok(result) = request.done.wait_until(WaitMode::INTERRUPTIBLE, answered) {
                return result;
            }
            request.interrupted.store(true, Ordering::Relaxed);
            self.tell_of_interrupt(request);
        }
        if !forced {
            if let Ok(result) = request.done.wait_until(WaitMode::KILLABLE, answered) {
                return result;
            }
            if self.withdraw(request) {
                return Err(Errno::INTR);
            }
        }
        request.done.wait_until(WaitMode::UNINTERRUPTIBLE, answered)?
    }

    /// Queues an INTERRUPT for a request that the server has, once.
    fn tell_of_interrupt(&self, request: &Arc<Request>) {
        if !request.is_sent() || self.no_interrupts.load(Ordering::Relaxed) {
            return;
        }
        {
            let mut queues = self.queues.lock();
            if queues.interrupts.iter().all(|queued| !Arc::ptr_eq(queued, request)) {
                queues.interrupts.push_back(request.clone());
            }
        }
        self.readable.wake_one();
    }

    /// Takes a request back that the server has not read.
    fn withdraw(&self, request: &Arc<Request>) -> bool {
        let mut queues = self.queues.lock();
        let Some(index) = queues.waiting.iter().position(|queued| Arc::ptr_eq(queued, request)) else { return false };
        queues.waiting.remove(index);
        true
    }

    /// A new device on the connection: its number.
    pub fn attach_device(&self) -> u64 {
        self.devices.fetch_add(1, Ordering::Relaxed);
        self.next_device.fetch_add(1, Ordering::Relaxed)
    }

    /// A device is closed. With the last the connection ends; what only this one could have answered ends now.
    pub fn detach_device(&self, device: u64) {
        let orphans: Vec<Arc<Request>> = {
            let mut queues = self.queues.lock();
            let is_own = |request: &Request| matches!(*request.status.lock(), Status::Sent(reader) if reader == device);
            let numbers: Vec<u64> = queues.sent.iter().filter(|(_, request)| is_own(request)).map(|(unique, _)| *unique).collect();
            numbers.iter().filter_map(|unique| queues.sent.remove(unique)).collect()
        };
        for request in orphans {
            self.retire(&request, Err(Errno::CONNABORTED));
        }
        if self.devices.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.end();
        }
    }

    /// `abort` of fusectl.
    pub fn abort(&self) {
        if self.has(Features::ABORT_ERROR) {
            self.aborted_by_user.store(true, Ordering::Relaxed);
        }
        self.end();
    }

    /// Ends the connection: who waits gets `ECONNABORTED`, who comes later `ENOTCONN`, the server `ENODEV`.
    pub fn end(&self) {
        let (ended, dropped) = {
            let mut queues = self.queues.lock();
            if queues.phase == Phase::Ended {
                return;
            }
            queues.phase = Phase::Ended;
            let mut ended: Vec<Arc<Request>> = queues.waiting.drain(..).collect();
            ended.extend(core::mem::take(&mut queues.held_back));
            ended.extend(core::mem::take(&mut queues.sent).into_values());
            (ended, (core::mem::take(&mut queues.interrupts), core::mem::take(&mut queues.forgets)))
        };
        for request in &ended {
            request.finish(Err(Errno::CONNABORTED));
        }
        drop((ended, dropped));
        self.started.wake_all();
        self.readable.wake_all();
    }

    /// Whether a read would return at once, and whether with something.
    pub fn readiness(&self) -> Readiness {
        let queues = self.queues.lock();
        if queues.phase == Phase::Ended {
            Readiness::Ended
        } else if queues.waiting.is_empty() && queues.interrupts.is_empty() && queues.forgets.is_empty() {
            Readiness::Idle
        } else {
            Readiness::Waiting
        }
    }

    /// What a server must offer to read into.
    pub fn min_read_bytes(&self) -> usize {
        MIN_READ_BYTES.max(REQUEST_HEADER_BYTES + WRITE_FIELDS_BYTES + self.settings().max_write_bytes)
    }

    /// The next thing that the server of `device` is to read, at most `room_bytes` of it. Blocks unless `nonblocking`. `ENODEV` after the
    /// end (`ECONNABORTED` if it was aborted and the server wanted to know).
    pub fn next_for_server(&self, device: u64, room_bytes: usize, nonblocking: bool) -> Result<Delivery> {
        if room_bytes < self.min_read_bytes() {
            return Err(Errno::INVAL);
        }
        loop {
            let ready = || (self.readiness() != Readiness::Idle).then_some(());
            match (ready(), nonblocking) {
                (None, true) => return Err(Errno::AGAIN),
                (None, false) => self.readable.wait_until(WaitMode::INTERRUPTIBLE, ready)?,
                (Some(()), _) => {}
            }
            if self.has_ended() {
                let aborted = self.aborted_by_user.load(Ordering::Relaxed);
                return Err(if aborted { Errno::CONNABORTED } else { Errno::NODEV });
            }
            if let Some(delivery) = self.take_next(device, room_bytes) {
                return Ok(delivery);
            }
        }
    }

    /// INTERRUPTs come first; forgets and requests take turns, up to eight forgets before sixteen requests.
    fn take_next(&self, device: u64, room_bytes: usize) -> Option<Delivery> {
        let mut queues = self.queues.lock();
        while let Some(request) = queues.interrupts.pop_front() {
            if !request.is_sent() {
                continue;
            }
            let len_bytes = REQUEST_HEADER_BYTES + 8;
            let message = header(len_bytes, Opcode::Interrupt, request.unique | INTERRUPT_BIT, 0, [0; 3]).u64(request.unique);
            return Some(Delivery::Notice(message.0));
        }
        let forgets_first = !queues.forgets.is_empty() && (queues.waiting.is_empty() || queues.forgets_in_a_row < 8);
        if forgets_first {
            queues.forgets_in_a_row += 1;
            return Some(Delivery::Notice(self.take_forgets(&mut queues, room_bytes)));
        }
        let request = queues.waiting.pop_front()?;
        queues.forgets_in_a_row = 0;
        if request.len_bytes() > room_bytes {
            drop(queues);
            // Only an extended attribute can be too long for what the server says it can take.
            self.retire(&request, Err(if request.opcode == Opcode::SetXattr { Errno::TOOBIG } else { Errno::IO }));
            return None;
        }
        if request.purpose == Purpose::Tell {
            return Some(Delivery::Told(request));
        }
        *request.status.lock() = Status::Sent(device);
        queues.sent.insert(request.unique, request.clone());
        drop(queues);
        if request.interrupted.load(Ordering::Relaxed) {
            self.tell_of_interrupt(&request);
        }
        Some(Delivery::Request(request))
    }

    /// One FORGET, or a BATCH_FORGET of all that fit.
    fn take_forgets(&self, queues: &mut Queues, room_bytes: usize) -> Vec<u8> {
        let unique = self.next_unique.fetch_add(2, Ordering::Relaxed);
        let most = (room_bytes - REQUEST_HEADER_BYTES - 8) / 16;
        let count = if queues.settings.minor < 16 { 1 } else { queues.forgets.len().min(most) };
        let taken: Vec<(u64, u64)> = queues.forgets.drain(..count).collect();
        match taken.as_slice() {
            [(node, lookups)] => header(REQUEST_HEADER_BYTES + 8, Opcode::Forget, unique, *node, [0; 3]).u64(*lookups).0,
            many => {
                let len_bytes = REQUEST_HEADER_BYTES + 8 + 16 * many.len();
                let mut message = header(len_bytes, Opcode::BatchForget, unique, 0, [0; 3]).u32(many.len() as u32).u32(0);
                for (node, lookups) in many {
                    message = message.u64(*node).u64(*lookups);
                }
                message.0
            }
        }
    }

    /// The request that the server answers through `device`. `ENOENT` if there is none.
    pub fn find_sent(&self, device: u64, unique: u64) -> Result<Arc<Request>> {
        let request = self.queues.lock().sent.get(&(unique & !INTERRUPT_BIT)).cloned().ok_or(Errno::NOENT)?;
        let is_own = matches!(*request.status.lock(), Status::Sent(reader) if reader == device);
        if is_own { Ok(request) } else { Err(Errno::NOENT) }
    }

    /// The server answered an INTERRUPT: it cannot do them, or wants it again.
    pub fn interrupt_answered(&self, request: &Arc<Request>, error: i32) {
        match error {
            _ if error == -Errno::NOSYS.code() => self.no_interrupts.store(true, Ordering::Relaxed),
            _ if error == -Errno::AGAIN.code() => self.tell_of_interrupt(request),
            _ => {}
        }
    }

    /// Ends a request that the server has.
    pub fn answer(&self, request: &Arc<Request>, result: Result<Vec<u8>>) {
        let removed = self.queues.lock().sent.remove(&request.unique);
        drop(removed);
        if request.purpose == Purpose::Init {
            self.start(result.as_deref().unwrap_or_default());
        }
        self.retire(request, result);
    }

    /// INIT is answered: takes the server's terms as far as they go with ours.
    fn start(&self, body: &[u8]) {
        let mut fields = Fields(body);
        let (major, minor) = (fields.u32(), fields.u32());
        let agreed = major == MAJOR && body.len() >= 8;
        if agreed {
            let agreement = Agreement::new(&self.terms, minor, &mut fields);
            if let Some(max_background) = agreement.max_background {
                self.max_background.store(max_background, Ordering::Relaxed);
            }
            if let Some(threshold) = agreement.congestion_threshold {
                self.congestion_threshold.store(threshold, Ordering::Relaxed);
            }
            let settings = agreement.settings;
            self.features.store(settings.features.bits(), Ordering::Relaxed);
            let mut queues = self.queues.lock();
            queues.settings = settings;
            if queues.phase == Phase::Starting {
                queues.phase = Phase::Serving;
            }
        } else {
            log::warn!("fuse: INIT was answered with version {major}.{minor}: nothing can be asked");
            let mut queues = self.queues.lock();
            if queues.phase == Phase::Starting {
                queues.phase = Phase::Refused;
            }
        }
        self.started.wake_all();
    }
}

/// What a server's read would do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// Wait.
    Idle,
    /// Return something.
    Waiting,
    /// Say that the connection has ended.
    Ended,
}

/// What a server reads.
pub enum Delivery {
    /// FORGET or INTERRUPT: nobody waits for an answer.
    Notice(Vec<u8>),
    /// A request, which it is to answer.
    Request(Arc<Request>),
    /// A request that has no answer.
    Told(Arc<Request>),
}
