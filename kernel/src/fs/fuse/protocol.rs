//! The language between kernel and server: numbers and layouts of protocol 7 as its public header (`linux/fuse.h`) gives them.
//!
//! Everything is little-endian as the machine is, and made of fields in their order: [`Message`] puts them together, [`Fields`] takes
//! them apart.

use crate::errno::{Errno, Result};
use alloc::vec::Vec;
use bitflags::bitflags;

/// The one major version.
pub const MAJOR: u32 = 7;
/// The highest minor version whose features are all here.
pub const MINOR: u32 = 39;
/// The node of the top.
pub const ROOT_NODE: u64 = 1;
/// Bytes before each request.
pub const REQUEST_HEADER_BYTES: usize = 40;
/// Bytes before each answer.
pub const ANSWER_HEADER_BYTES: usize = 16;
/// Bytes of a WRITE request before its data.
pub const WRITE_FIELDS_BYTES: usize = 40;
/// A server must offer at least this for a request.
pub const MIN_READ_BYTES: usize = 8192;
/// The bit that tells an INTERRUPT's number from that of the request it is about.
pub const INTERRUPT_BIT: u64 = 1;
/// Longest name that a server may give.
pub const MAX_NAME_BYTES: usize = 1024;

macro_rules! opcodes {
    ($($name:ident = $number:literal),* $(,)?) => {
        /// What a request asks for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        #[allow(missing_docs, reason = "the header's names")]
        pub enum Opcode { $($name = $number),* }
    };
}

opcodes! {
    Lookup = 1, Forget = 2, GetAttributes = 3, SetAttributes = 4, ReadLink = 5, Symlink = 6, MakeNode = 8, MakeDirectory = 9, Unlink = 10,
    RemoveDirectory = 11, Rename = 12, Link = 13, Open = 14, Read = 15, Write = 16, StatFs = 17, Release = 18, Sync = 20, SetXattr = 21,
    GetXattr = 22, ListXattrs = 23, RemoveXattr = 24, Flush = 25, Init = 26, OpenDirectory = 27, ReadDirectory = 28,
    ReleaseDirectory = 29, SyncDirectory = 30, GetLock = 31, SetLock = 32, SetLockWait = 33, Access = 34, Create = 35, Interrupt = 36,
    Ioctl = 39, Poll = 40, NotifyReply = 41, BatchForget = 42, Allocate = 43, ReadDirectoryPlus = 44, Rename2 = 45, Seek = 46,
    CopyFileRange = 47, TemporaryFile = 51, Statx = 52,
}

bitflags! {
    /// Features, bits 0 to 63 of INIT.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[allow(missing_docs, reason = "the header's names")]
    pub struct Features: u64 {
        const ASYNC_READ = 1 << 0;
        const POSIX_LOCKS = 1 << 1;
        const ATOMIC_O_TRUNC = 1 << 3;
        const EXPORT_SUPPORT = 1 << 4;
        const BIG_WRITES = 1 << 5;
        const DONT_MASK = 1 << 6;
        const SPLICE_WRITE = 1 << 7;
        const SPLICE_MOVE = 1 << 8;
        const SPLICE_READ = 1 << 9;
        const FLOCK_LOCKS = 1 << 10;
        const HAS_IOCTL_DIR = 1 << 11;
        const AUTO_INVAL_DATA = 1 << 12;
        const DO_READDIRPLUS = 1 << 13;
        const READDIRPLUS_AUTO = 1 << 14;
        const ASYNC_DIO = 1 << 15;
        const WRITEBACK_CACHE = 1 << 16;
        const NO_OPEN_SUPPORT = 1 << 17;
        const PARALLEL_DIROPS = 1 << 18;
        const HANDLE_KILLPRIV = 1 << 19;
        const POSIX_ACL = 1 << 20;
        const ABORT_ERROR = 1 << 21;
        const MAX_PAGES = 1 << 22;
        const CACHE_SYMLINKS = 1 << 23;
        const NO_OPENDIR_SUPPORT = 1 << 24;
        const EXPLICIT_INVAL_DATA = 1 << 25;
        const HANDLE_KILLPRIV_V2 = 1 << 28;
        const SETXATTR_EXT = 1 << 29;
        const INIT_EXT = 1 << 30;
        const CREATE_SUPP_GROUP = 1 << 34;
        const HAS_EXPIRE_ONLY = 1 << 35;
        const DIRECT_IO_ALLOW_MMAP = 1 << 36;
    }
}

bitflags! {
    /// What the server says about a file it opened (`FOPEN_*`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[allow(missing_docs, reason = "the header's names")]
    pub struct OpenedFlags: u32 {
        const DIRECT_IO = 1 << 0;
        const KEEP_CACHE = 1 << 1;
        const NONSEEKABLE = 1 << 2;
        const CACHE_DIR = 1 << 3;
        const STREAM = 1 << 4;
        const NOFLUSH = 1 << 5;
        const PARALLEL_DIRECT_WRITES = 1 << 6;
    }
}

/// Bits of `valid` in SETATTR.
pub mod set_attributes {
    #![allow(missing_docs, reason = "the header's names")]
    pub const MODE: u32 = 1 << 0;
    pub const UID: u32 = 1 << 1;
    pub const GID: u32 = 1 << 2;
    pub const SIZE: u32 = 1 << 3;
    pub const ATIME: u32 = 1 << 4;
    pub const MTIME: u32 = 1 << 5;
    pub const FH: u32 = 1 << 6;
    pub const CTIME: u32 = 1 << 10;
    pub const KILL_SUIDGID: u32 = 1 << 11;
}

/// GETATTR and STATX name an open file.
pub const ATTRIBUTES_OF_HANDLE: u32 = 1 << 0;
/// What extends a request: one group besides the caller's own (`FUSE_EXT_GROUPS`).
pub const GROUPS_EXTENSION: u32 = 32;
/// WRITE of pages that were written earlier: the handle is a guess.
pub const WRITE_CACHE: u32 = 1 << 0;
/// `lock_owner` of a READ is set.
pub const READ_LOCK_OWNER: u32 = 1 << 1;
/// `lock_owner` of a WRITE is set.
pub const WRITE_LOCK_OWNER: u32 = 1 << 1;
/// WRITE takes the set-id bits away.
pub const WRITE_KILL_SUIDGID: u32 = 1 << 2;
/// OPEN and CREATE that empty the file take the set-id bits away.
pub const OPEN_KILL_SUIDGID: u32 = 1 << 0;
/// SETXATTR of an access list takes the set-group-id bit away.
pub const SETXATTR_ACL_KILL_SGID: u32 = 1 << 0;
/// RELEASE ends `flock` locks, too.
pub const RELEASE_FLOCK_UNLOCK: u32 = 1 << 1;
/// A lock is one of `flock(2)`.
pub const LOCK_IS_FLOCK: u32 = 1 << 0;
/// FSYNC of the data only.
pub const SYNC_DATA_ONLY: u32 = 1 << 0;
/// IOCTL on a directory.
pub const IOCTL_DIRECTORY: u32 = 1 << 4;
/// IOCTL is to be asked again with other buffers.
pub const IOCTL_RETRY: u32 = 1 << 2;
/// POLL asks to be notified.
pub const POLL_SCHEDULE_NOTIFY: u32 = 1 << 0;
/// An entry only loses its lifetime.
pub const EXPIRE_ONLY: u32 = 1 << 0;

/// Notification codes.
pub mod notify {
    #![allow(missing_docs, reason = "the header's names")]
    pub const POLL: i32 = 1;
    pub const INVALIDATE_INODE: i32 = 2;
    pub const INVALIDATE_ENTRY: i32 = 3;
    pub const STORE: i32 = 4;
    pub const RETRIEVE: i32 = 5;
    pub const DELETE: i32 = 6;
}

/// A body on its way to the server.
pub struct Message(pub Vec<u8>);

impl Default for Message {
    /// An empty one, with room for the fields of nearly every request.
    fn default() -> Self {
        Self(Vec::with_capacity(64))
    }
}

impl Message {
    /// Appends a field.
    pub fn u32(mut self, value: u32) -> Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// Appends a field.
    pub fn u64(mut self, value: u64) -> Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// Appends a name and its NUL.
    pub fn name(mut self, name: &[u8]) -> Self {
        self.0.extend_from_slice(name);
        self.0.push(0);
        self
    }

    /// Appends data. `ENOMEM`.
    pub fn data(mut self, data: &[u8]) -> Result<Self> {
        self.0.try_reserve(data.len()).map_err(|_| Errno::NOMEM)?;
        self.0.extend_from_slice(data);
        Ok(self)
    }
}

/// A body from the server, taken apart from the front. What is missing reads as zeros: who must know looks at the length first.
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        let present = self.0.len().min(N);
        bytes[..present].copy_from_slice(&self.0[..present]);
        self.0 = &self.0[present..];
        bytes
    }

    /// The next field.
    pub fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    /// The next field.
    pub fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    /// The next field.
    pub fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    /// The next bytes, if they are there.
    pub fn bytes(&mut self, len_bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len_bytes)?;
        self.0 = rest;
        Some(taken)
    }
}

/// `fuse_attr`.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the header's names")]
pub struct NodeAttributes {
    pub ino: u64,
    pub size: u64,
    pub blocks: u64,
    /// Seconds of the three times, then their nanoseconds: access, modification, change.
    pub seconds: [u64; 3],
    pub nanoseconds: [u32; 3],
    pub mode: u32,
    pub links: u32,
    pub uid: u32,
    pub gid: u32,
    pub device: u32,
    /// 0 leaves it to the kernel.
    pub block_size_bytes: u32,
}

impl NodeAttributes {
    fn take(fields: &mut Fields<'_>, minor: u32) -> Self {
        let mut attributes = Self {
            ino: fields.u64(),
            size: fields.u64(),
            blocks: fields.u64(),
            seconds: [fields.u64(), fields.u64(), fields.u64()],
            nanoseconds: [fields.u32(), fields.u32(), fields.u32()],
            mode: fields.u32(),
            links: fields.u32(),
            uid: fields.u32(),
            gid: fields.u32(),
            device: fields.u32(),
            block_size_bytes: 0,
        };
        if minor >= 9 {
            // The block size and flags came with 7.9.
            attributes.block_size_bytes = fields.u32();
            fields.u32();
        }
        attributes
    }

    /// A time in nanoseconds since 1970.
    pub fn time(&self, index: usize) -> i128 {
        time_ns(self.seconds[index], self.nanoseconds[index])
    }
}

/// A time in nanoseconds since 1970.
fn time_ns(seconds: u64, nanoseconds: u32) -> i128 {
    i128::from(seconds as i64) * 1_000_000_000 + i128::from(nanoseconds.min(999_999_999))
}

/// How long an answer holds, in nanoseconds.
fn lifetime_ns(seconds: u64, nanoseconds: u32) -> u64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::from(nanoseconds.min(999_999_999)))
}

/// `fuse_entry_out`: a name's node.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the header's names")]
pub struct Entry {
    pub node: u64,
    pub generation: u64,
    pub entry_lifetime_ns: u64,
    pub attributes_lifetime_ns: u64,
    pub attributes: NodeAttributes,
}

impl Entry {
    /// Its length on the wire.
    pub fn len_bytes(minor: u32) -> usize {
        if minor < 9 { 120 } else { 128 }
    }

    /// The next fields as an entry.
    pub fn take(fields: &mut Fields<'_>, minor: u32) -> Self {
        let (node, generation) = (fields.u64(), fields.u64());
        let (entry_s, attributes_s) = (fields.u64(), fields.u64());
        let (entry_ns, attributes_ns) = (fields.u32(), fields.u32());
        Self {
            node,
            generation,
            entry_lifetime_ns: lifetime_ns(entry_s, entry_ns),
            attributes_lifetime_ns: lifetime_ns(attributes_s, attributes_ns),
            attributes: NodeAttributes::take(fields, minor),
        }
    }
}

/// `fuse_attr_out`: lifetime and attributes.
pub struct AttributesAnswer;

impl AttributesAnswer {
    /// Its length on the wire.
    pub fn len_bytes(minor: u32) -> usize {
        if minor < 9 { 96 } else { 104 }
    }

    /// The lifetime in nanoseconds, and the attributes.
    pub fn take(fields: &mut Fields<'_>, minor: u32) -> (u64, NodeAttributes) {
        let (seconds, nanoseconds) = (fields.u64(), fields.u32());
        fields.u32();
        (lifetime_ns(seconds, nanoseconds), NodeAttributes::take(fields, minor))
    }
}

/// `fuse_statx_out`: what is known of a file, its lifetime, and its birth time.
pub struct StatxAnswer {
    /// `STATX_*`.
    pub known: u32,
    /// How long it holds.
    pub lifetime_ns: u64,
    /// The part that GETATTR has as well.
    pub attributes: NodeAttributes,
    /// Nanoseconds since 1970.
    pub created: i128,
}

impl StatxAnswer {
    /// Its length on the wire.
    pub const LEN_BYTES: usize = 288;

    /// From an answer of that length.
    pub fn take(fields: &mut Fields<'_>) -> Self {
        let lifetime_ns = lifetime_ns(fields.u64(), fields.u32());
        fields.u32();
        fields.bytes(16);
        let (known, block_size_bytes) = (fields.u32(), fields.u32());
        fields.u64();
        let (links, uid, gid, mode) = (fields.u32(), fields.u32(), fields.u32(), u32::from(fields.u16()));
        fields.u16();
        let (ino, size, blocks) = (fields.u64(), fields.u64(), fields.u64());
        fields.u64();
        let mut time = || {
            let time = (fields.u64(), fields.u32());
            fields.u32();
            time
        };
        let (accessed, created, changed, modified) = (time(), time(), time(), time());
        let seconds = [accessed.0, modified.0, changed.0];
        let nanoseconds = [accessed.1, modified.1, changed.1];
        let attributes = NodeAttributes { ino, size, blocks, seconds, nanoseconds, mode, links, uid, gid, device: 0, block_size_bytes };
        Self { known, lifetime_ns, attributes, created: time_ns(created.0, created.1) }
    }
}
