//! `/dev/kmsg`: the kernel log as records, one for each read (Linux's `Documentation/ABI/testing/dev-kmsg`); programs write to it, too.

use crate::dev::kmsg;
use crate::errno::{Errno, Result};
use crate::fs::procfs::sysctl::kernel::DMESG_RESTRICT;
use crate::fs::{FileOps, OpenFile, OpenFlags, Path, PollEvents, PollTable};
use crate::mm::IoBuffer;
use crate::sync::SpinLock;
use crate::task::wait_queue::WaitMode;
use crate::task::{Capabilities, current};
use alloc::{format, string::String, sync::Arc, vec};
use linux_raw_sys::general::{SEEK_DATA, SEEK_END, SEEK_SET};

/// Longest message that a program may write.
const MESSAGE_LIMIT_BYTES: usize = 992;
/// Facility and level of a message that names none: user, warning.
const DEFAULT_FACILITY: u8 = 1;
const DEFAULT_LEVEL: u8 = 4;

/// Opens `/dev/kmsg`. Reading may be kept for `CAP_SYSLOG` (`dmesg_restrict`).
pub fn open(_device: u64, _path: &Path, flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
    if flags.readable() && DMESG_RESTRICT.get() != 0 && !current().credentials().capable(Capabilities::SYSLOG) {
        return Err(Errno::PERM);
    }
    Ok(Arc::new(LogFile { next: SpinLock::new(kmsg::sequences().0) }))
}

struct LogFile {
    /// The record to read next.
    next: SpinLock<u64>,
}

impl FileOps for LogFile {
    /// One record. `EPIPE` once for records that were pushed out of the log, `EINVAL` for a buffer that is too small.
    fn read(&self, file: &OpenFile, buffer: &mut IoBuffer<'_>, _offset: u64) -> Result<usize> {
        let nonblocking = file.is_nonblocking();
        let wanted = *self.next.lock();
        let attempt = || match kmsg::record_from(wanted) {
            None => nonblocking.then_some(Err(Errno::AGAIN)),
            Some(record) => Some(Ok(record)),
        };
        let record = kmsg::readers().wait_until(WaitMode::INTERRUPTIBLE, attempt)??;
        if record.sequence != wanted {
            *self.next.lock() = record.sequence;
            return Err(Errno::PIPE);
        }
        let priority = u32::from(record.facility) << 3 | u32::from(record.level);
        let mut line = format!("{priority},{},{},-;", record.sequence, record.time_ns / 1000);
        for character in record.text.chars() {
            // Only a newline would be taken for the record's end.
            if character == '\n' { line.push_str("\\x0a") } else { line.push(character) }
        }
        line.push('\n');
        if line.len() > buffer.remaining() {
            return Err(Errno::INVAL);
        }
        let stored = buffer.put(line.as_bytes())?;
        *self.next.lock() = wanted + 1;
        Ok(stored)
    }

    /// A message, with its facility and level before it as `<N>` if it likes.
    fn write(&self, _file: &OpenFile, buffer: &mut IoBuffer<'_>, _offset: &mut u64) -> Result<usize> {
        let len_bytes = buffer.remaining();
        if len_bytes > MESSAGE_LIMIT_BYTES {
            return Err(Errno::INVAL);
        }
        let mut bytes = vec![0; len_bytes];
        let taken = buffer.take(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes[..taken]);
        let (priority, message) = split_priority(&text);
        let facility = (priority >> 3) as u8;
        // Programs cannot speak for the kernel.
        let facility = if facility == 0 { DEFAULT_FACILITY } else { facility };
        kmsg::write_message(facility, (priority & 7) as u8, format_args!("{}", message.trim_end_matches('\n')));
        Ok(taken)
    }

    fn seek(&self, _file: &OpenFile, _position: u64, offset: i64, whence: u32) -> Option<Result<u64>> {
        if offset != 0 {
            return Some(Err(Errno::SPIPE));
        }
        let target = match whence {
            SEEK_SET => kmsg::sequences().0,
            SEEK_DATA => kmsg::clear_sequence(),
            SEEK_END => kmsg::sequences().1,
            _ => return Some(Err(Errno::INVAL)),
        };
        *self.next.lock() = target;
        Some(Ok(0))
    }

    fn poll(&self, _file: &OpenFile, table: &mut PollTable<'_>) -> PollEvents {
        table.watch(kmsg::readers());
        let next = *self.next.lock();
        let (oldest, end) = kmsg::sequences();
        match () {
            () if next < oldest => PollEvents::READABLE | PollEvents::ERR | PollEvents::PRI,
            () if next < end => PollEvents::READABLE,
            () => PollEvents::empty(),
        }
    }

    fn pollable(&self) -> bool {
        true
    }
}

fn split_priority(text: &str) -> (u32, &str) {
    let default = u32::from(DEFAULT_FACILITY) << 3 | u32::from(DEFAULT_LEVEL);
    let parsed = text.strip_prefix('<').and_then(|rest| rest.split_once('>'));
    match parsed.and_then(|(number, message)| Some((number.parse::<u32>().ok()?, message))) {
        Some((priority, message)) if priority < 256 << 3 => (priority, message),
        _ => (default, text),
    }
}

/// Opens `/proc/kmsg`: the log as text, each record read by one reader of the system only (`syslog(2)`, `SYSLOG_ACTION_READ`).
pub fn open_text(_flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
    if current().credentials().capable(Capabilities::SYSLOG) { Ok(Arc::new(TextFile)) } else { Err(Errno::PERM) }
}

struct TextFile;

impl FileOps for TextFile {
    fn read(&self, file: &OpenFile, buffer: &mut IoBuffer<'_>, _offset: u64) -> Result<usize> {
        let nonblocking = file.is_nonblocking();
        let attempt = || match kmsg::record_from(kmsg::read_sequence(None)) {
            None => nonblocking.then_some(Err(Errno::AGAIN)),
            Some(record) => Some(Ok(record)),
        };
        let mut record = kmsg::readers().wait_until(WaitMode::INTERRUPTIBLE, attempt)??;
        let before = buffer.done();
        loop {
            let (seconds, microseconds) = (record.time_ns / 1_000_000_000, record.time_ns / 1000 % 1_000_000);
            let priority = u32::from(record.facility) << 3 | u32::from(record.level);
            let line = format!("<{priority}>[{seconds:5}.{microseconds:06}] {}\n", record.text);
            if line.len() > buffer.remaining() && buffer.done() > before {
                break;
            }
            // A record that is longer than the whole buffer is cut.
            buffer.put(&line.as_bytes()[..line.len().min(buffer.remaining())])?;
            kmsg::read_sequence(Some(record.sequence + 1));
            match kmsg::record_from(record.sequence + 1) {
                Some(next) => record = next,
                None => break,
            }
        }
        Ok(buffer.done() - before)
    }

    fn poll(&self, _file: &OpenFile, table: &mut PollTable<'_>) -> PollEvents {
        table.watch(kmsg::readers());
        let unread = kmsg::record_from(kmsg::read_sequence(None)).is_some();
        if unread { PollEvents::READABLE } else { PollEvents::empty() }
    }

    fn pollable(&self) -> bool {
        true
    }
}
