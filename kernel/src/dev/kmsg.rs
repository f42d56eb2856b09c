//! The kernel log: a ring of messages that `/dev/kmsg` and `syslog(2)` read, fed by the `log` crate. `dev::console` shows it.

use crate::dev::console;
use crate::sync::{Lazy, SpinLock};
use crate::task::wait_queue::WaitQueue;
use crate::time::clock;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::sync::Arc;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};

/// Bytes of text that are kept (`log_buf_len` of Linux is 128 KiB here as there).
pub const RING_BYTES: usize = 128 * 1024;
/// Bytes of one message (`LOG_LINE_MAX` of Linux is about as much).
const MAX_MESSAGE_BYTES: usize = 1000;

/// One message.
#[derive(Clone, Debug)]
pub struct Record {
    /// Counts up from 0.
    pub sequence: u64,
    /// When, in nanoseconds of the monotonic clock.
    pub time_ns: u64,
    /// Severity, 0 to 7 (`syslog(2)`).
    pub level: u8,
    /// Facility: 0 is the kernel, 1 a program that wrote to `/dev/kmsg`.
    pub facility: u8,
    /// Without a newline.
    pub text: Arc<str>,
}

struct Ring {
    records: VecDeque<Record>,
    text_bytes: usize,
    next_sequence: u64,
    /// `SYSLOG_ACTION_CLEAR`: the next `READ_ALL` starts here.
    clear_sequence: u64,
    /// How far `SYSLOG_ACTION_READ` has come.
    read_sequence: u64,
}

static RING: SpinLock<Ring> =
    SpinLock::new(Ring { records: VecDeque::new(), text_bytes: 0, next_sequence: 0, clear_sequence: 0, read_sequence: 0 });
/// Messages with a number below this reach the console.
static CONSOLE_LEVEL: AtomicU8 = AtomicU8::new(7);
static PANICKING: AtomicBool = AtomicBool::new(false);
static READERS: Lazy<Arc<WaitQueue>> = Lazy::new(|| Arc::new(WaitQueue::new()));

struct Logger;

impl log::Log for Logger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let level = match record.level() {
            _ if PANICKING.load(Ordering::Relaxed) => 0,
            log::Level::Error => 3,
            log::Level::Warn => 4,
            log::Level::Info => 6,
            log::Level::Debug | log::Level::Trace => 7,
        };
        write_message(0, level, *record.args());
    }

    fn flush(&self) {}
}

static LOGGER: Logger = Logger;

/// Makes `log`'s macros write here.
pub fn init() {
    // A second call would leave the first logger in place: the same one.
    let _ = log::set_logger(&LOGGER);
    // Debug messages tell which rule a mount call broke. They are for dmesg: the console's usual level leaves them out.
    log::set_max_level(log::LevelFilter::Debug);
}

/// From now on only the serial line counts: a panic must not wait for a lock, nor allocate.
pub fn enter_panic() {
    PANICKING.store(true, Ordering::Relaxed);
    // SAFETY: nothing else will run any more, so whoever held the port's lock never comes back to it.
    unsafe { crate::dev::serial::force_unlock() };
}

/// The console's level (`SYSLOG_ACTION_CONSOLE_LEVEL`, `/proc/sys/kernel/printk`).
pub fn console_level() -> u8 {
    CONSOLE_LEVEL.load(Ordering::Relaxed)
}

/// See [`console_level`].
pub fn set_console_level(level: u8) {
    CONSOLE_LEVEL.store(level, Ordering::Relaxed);
}

/// Puts a message into the log and, by its level, on the console.
pub fn write_message(facility: u8, level: u8, message: fmt::Arguments<'_>) {
    let time_ns = clock::monotonic_ns();
    if PANICKING.load(Ordering::Relaxed) {
        console::show(time_ns, message);
        return;
    }
    let mut text = Bounded(String::new());
    // A message that does not fit is cut.
    let _ = text.write_fmt(message);
    let text: Arc<str> = text.0.trim_end_matches('\n').into();
    let sequence = {
        let mut ring = RING.lock();
        let sequence = ring.next_sequence;
        ring.next_sequence += 1;
        ring.text_bytes += text.len();
        ring.records.push_back(Record { sequence, time_ns, level, facility, text: text.clone() });
        while ring.text_bytes > RING_BYTES {
            let Some(oldest) = ring.records.pop_front() else { break };
            ring.text_bytes -= oldest.text.len();
        }
        sequence
    };
    if level < console_level() {
        console::show(time_ns, format_args!("{text}"));
    }
    if sequence > 0 {
        READERS.wake_all();
    }
}

struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = MAX_MESSAGE_BYTES - self.0.len();
        let end = (0..=text.len().min(room)).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
        self.0.push_str(&text[..end]);
        if end == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

/// The first record from `sequence` on that is still kept. A reader sees by the number whether some were lost.
pub fn record_from(sequence: u64) -> Option<Record> {
    let ring = RING.lock();
    let first = ring.records.front()?.sequence;
    let index = usize::try_from(sequence.saturating_sub(first)).ok()?;
    ring.records.get(index).cloned()
}

/// The number of the oldest record, and the number that the next one will get.
pub fn sequences() -> (u64, u64) {
    let ring = RING.lock();
    (ring.records.front().map_or(ring.next_sequence, |record| record.sequence), ring.next_sequence)
}

/// Where `SYSLOG_ACTION_READ_ALL` starts.
pub fn clear_sequence() -> u64 {
    RING.lock().clear_sequence
}

/// `SYSLOG_ACTION_CLEAR`.
pub fn clear() {
    let mut ring = RING.lock();
    ring.clear_sequence = ring.next_sequence;
}

/// How far `SYSLOG_ACTION_READ` has come; with a value, sets it.
pub fn read_sequence(advance_to: Option<u64>) -> u64 {
    let mut ring = RING.lock();
    if let Some(sequence) = advance_to {
        ring.read_sequence = sequence;
    }
    ring.read_sequence
}

/// Woken at each message.
pub fn readers() -> &'static Arc<WaitQueue> {
    &READERS
}
