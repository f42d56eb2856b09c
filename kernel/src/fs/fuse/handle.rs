//! A file that the server has opened: its number there, given back with RELEASE when the last user is gone.

use super::mount::Instance;
use super::names;
use super::node::Node;
use super::protocol::{Fields, Message, OPEN_KILL_SUIDGID, Opcode, OpenedFlags, RELEASE_FLOCK_UNLOCK};
use super::request::Question;
use crate::errno::{Errno, Result};
use crate::fs::{FdTable, OpenFlags};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

/// See the top of the file.
pub struct Handle {
    instance: Arc<Instance>,
    node: u64,
    is_directory: bool,
    /// The server's number.
    pub number: u64,
    /// What it said when it opened.
    pub flags: OpenedFlags,
    /// `O_*` that it was opened with.
    pub open_flags: OpenFlags,
    /// The server knows nothing of it: neither OPEN nor RELEASE.
    is_silent: bool,
    /// Who holds a `flock` lock through it at the server; 0 for nobody.
    pub flock_owner: AtomicU64,
}

/// Flags that are not for the server.
const KEPT_BACK: OpenFlags = OpenFlags::CREAT.union(OpenFlags::EXCL).union(OpenFlags::NOCTTY).union(OpenFlags::CLOEXEC);

impl Handle {
    /// A handle from the answer to OPEN, OPENDIR, CREATE or TMPFILE.
    pub fn from_answer(node: &Node, is_directory: bool, fields: &mut Fields<'_>, open_flags: OpenFlags) -> Arc<Self> {
        let number = fields.u64();
        let flags = OpenedFlags::from_bits_truncate(fields.u32());
        Self::make(node, is_directory, number, flags, open_flags, false)
    }

    fn make(node: &Node, is_directory: bool, number: u64, flags: OpenedFlags, open_flags: OpenFlags, is_silent: bool) -> Arc<Self> {
        Arc::new(Self {
            instance: node.instance.clone(),
            node: node.number,
            is_directory,
            number,
            flags,
            open_flags,
            is_silent,
            flock_owner: AtomicU64::new(0),
        })
    }

    /// Opens at the server. One that answers `ENOSYS` need not be asked again, and has nothing to be told at the end.
    pub fn open(node: &Node, is_directory: bool, open_flags: OpenFlags) -> Result<Arc<Self>> {
        use super::protocol::Features;
        let settings = node.connection().settings();
        let (opcode, silent) =
            if is_directory { (Opcode::OpenDirectory, Features::NO_OPENDIR_SUPPORT) } else { (Opcode::Open, Features::NO_OPEN_SUPPORT) };
        let mut sent = open_flags - KEPT_BACK;
        if !settings.has(Features::ATOMIC_O_TRUNC) {
            sent.remove(OpenFlags::TRUNC);
        }
        let strips = !is_directory && sent.contains(OpenFlags::TRUNC) && names::tells_to_strip(node);
        let body = Message::default().u32(sent.bits()).u32(if strips { OPEN_KILL_SUIDGID } else { 0 });
        let question = Question::new(opcode, node.number, body).answer(16);
        let answer =
            if settings.has(silent) { node.connection().call_optional(question)? } else { Some(node.connection().call(question)?) };
        Ok(match answer {
            Some(answer) => Self::from_answer(node, is_directory, &mut Fields(&answer), open_flags),
            None => {
                let flags = if is_directory { OpenedFlags::CACHE_DIR } else { OpenedFlags::KEEP_CACHE };
                Self::make(node, is_directory, 0, flags, open_flags, true)
            }
        })
    }

    /// Whether opening has emptied the file.
    pub fn was_truncated(&self) -> bool {
        use super::protocol::Features;
        let atomic = self.instance.connection.has(Features::ATOMIC_O_TRUNC);
        !self.is_silent && atomic && self.open_flags.contains(OpenFlags::TRUNC)
    }

    /// `FSYNC`, `FSYNCDIR`. What the server lacks is done.
    pub fn sync(&self, data_only: bool) -> Result<()> {
        let opcode = if self.is_directory { Opcode::SyncDirectory } else { Opcode::Sync };
        let flags = if data_only { super::protocol::SYNC_DATA_ONLY } else { 0 };
        let body = Message::default().u64(self.number).u32(flags).u32(0);
        self.instance.connection.call_optional(Question::new(opcode, self.node, body)).map(drop)
    }

    /// `FLUSH`, for a descriptor that is closed in the table of `owner`.
    pub fn flush(&self, owner: u64) -> Result<()> {
        let body = Message::default().u64(self.number).u32(0).u32(0).u64(owner);
        self.instance.connection.call_optional(Question::new(Opcode::Flush, self.node, body).forced()).map(drop)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.is_silent {
            return;
        }
        let opcode = if self.is_directory { Opcode::ReleaseDirectory } else { Opcode::Release };
        let owner = *self.flock_owner.get_mut();
        let release_flags = if owner == 0 { 0 } else { RELEASE_FLOCK_UNLOCK };
        let flags = (self.open_flags - KEPT_BACK).bits();
        let body = Message::default().u64(self.number).u32(flags).u32(release_flags).u64(owner);
        // A server that has ended need not be told.
        let _ = self.instance.connection.post(Question::new(opcode, self.node, body).anonymous());
    }
}

/// How the server tells lock owners apart: a number that stands for an address without being one.
pub fn owner_number(address: usize) -> u64 {
    /// Any odd number maps one to one.
    const SCRAMBLE: u64 = 0x9e37_79b9_7f4a_7c15;
    static KEY: AtomicU64 = AtomicU64::new(0);
    if KEY.load(Ordering::Relaxed) == 0 {
        KEY.store(crate::time::clock::realtime_ns() as u64 | 1, Ordering::Relaxed);
    }
    (address as u64 ^ KEY.load(Ordering::Relaxed)).wrapping_mul(SCRAMBLE) | 1
}

/// The owner that the current process is, by its descriptors.
pub fn current_owner() -> u64 {
    let files: Option<Arc<FdTable>> = crate::task::current().try_files();
    files.map_or(1, |files| owner_number(Arc::as_ptr(&files).addr()))
}

/// `EIO` for an answer that claims more than there was to do.
pub fn bounded(answered: u32, most: usize) -> Result<usize> {
    let answered = answered as usize;
    if answered <= most { Ok(answered) } else { Err(Errno::IO) }
}
