//! The protocol's words (`linux/fuse.h`, version 7): requests as they are read, answers as they are written.

/// Bytes before a request's body.
pub const IN_HEADER: usize = 40;
/// Bytes before an answer's body.
pub const OUT_HEADER: usize = 16;

/// Operation codes.
#[allow(missing_docs)]
pub mod op {
    pub const LOOKUP: u32 = 1;
    pub const FORGET: u32 = 2;
    pub const GETATTR: u32 = 3;
    pub const SETATTR: u32 = 4;
    pub const READLINK: u32 = 5;
    pub const SYMLINK: u32 = 6;
    pub const MKNOD: u32 = 8;
    pub const MKDIR: u32 = 9;
    pub const UNLINK: u32 = 10;
    pub const RMDIR: u32 = 11;
    pub const RENAME: u32 = 12;
    pub const LINK: u32 = 13;
    pub const OPEN: u32 = 14;
    pub const READ: u32 = 15;
    pub const WRITE: u32 = 16;
    pub const STATFS: u32 = 17;
    pub const RELEASE: u32 = 18;
    pub const FSYNC: u32 = 20;
    pub const SETXATTR: u32 = 21;
    pub const GETXATTR: u32 = 22;
    pub const LISTXATTR: u32 = 23;
    pub const REMOVEXATTR: u32 = 24;
    pub const FLUSH: u32 = 25;
    pub const INIT: u32 = 26;
    pub const OPENDIR: u32 = 27;
    pub const READDIR: u32 = 28;
    pub const RELEASEDIR: u32 = 29;
    pub const FSYNCDIR: u32 = 30;
    pub const GETLK: u32 = 31;
    pub const SETLK: u32 = 32;
    pub const SETLKW: u32 = 33;
    pub const ACCESS: u32 = 34;
    pub const CREATE: u32 = 35;
    pub const INTERRUPT: u32 = 36;
    pub const DESTROY: u32 = 38;
    pub const IOCTL: u32 = 39;
    pub const POLL: u32 = 40;
    pub const NOTIFY_REPLY: u32 = 41;
    pub const BATCH_FORGET: u32 = 42;
    pub const FALLOCATE: u32 = 43;
    pub const READDIRPLUS: u32 = 44;
    pub const RENAME2: u32 = 45;
    pub const LSEEK: u32 = 46;
    pub const COPY_FILE_RANGE: u32 = 47;
    pub const TMPFILE: u32 = 51;
    pub const STATX: u32 = 52;
}

/// Flags of INIT.
#[allow(missing_docs)]
pub mod feature {
    pub const ASYNC_READ: u32 = 1 << 0;
    pub const POSIX_LOCKS: u32 = 1 << 1;
    pub const ATOMIC_O_TRUNC: u32 = 1 << 3;
    pub const EXPORT_SUPPORT: u32 = 1 << 4;
    pub const BIG_WRITES: u32 = 1 << 5;
    pub const DONT_MASK: u32 = 1 << 6;
    pub const FLOCK_LOCKS: u32 = 1 << 10;
    pub const HAS_IOCTL_DIR: u32 = 1 << 11;
    pub const AUTO_INVAL_DATA: u32 = 1 << 12;
    pub const DO_READDIRPLUS: u32 = 1 << 13;
    pub const READDIRPLUS_AUTO: u32 = 1 << 14;
    pub const WRITEBACK_CACHE: u32 = 1 << 16;
    pub const NO_OPEN_SUPPORT: u32 = 1 << 17;
    pub const PARALLEL_DIROPS: u32 = 1 << 18;
    pub const HANDLE_KILLPRIV: u32 = 1 << 19;
    pub const POSIX_ACL: u32 = 1 << 20;
    pub const ABORT_ERROR: u32 = 1 << 21;
    pub const MAX_PAGES: u32 = 1 << 22;
    pub const CACHE_SYMLINKS: u32 = 1 << 23;
    pub const NO_OPENDIR_SUPPORT: u32 = 1 << 24;
    pub const HANDLE_KILLPRIV_V2: u32 = 1 << 28;
    pub const SETXATTR_EXT: u32 = 1 << 29;
    pub const INIT_EXT: u32 = 1 << 30;
    /// Of the second word.
    pub const CREATE_SUPP_GROUP: u32 = 1 << (34 - 32);
    /// Likewise.
    pub const DIRECT_IO_ALLOW_MMAP: u32 = 1 << (36 - 32);
}

/// What OPEN may be answered with.
#[allow(missing_docs)]
pub mod opened {
    pub const DIRECT_IO: u32 = 1 << 0;
    pub const KEEP_CACHE: u32 = 1 << 1;
    pub const NONSEEKABLE: u32 = 1 << 2;
    pub const STREAM: u32 = 1 << 4;
    pub const NOFLUSH: u32 = 1 << 5;
}

/// Bits of `valid` in SETATTR.
#[allow(missing_docs)]
pub mod set {
    pub const MODE: u32 = 1 << 0;
    pub const UID: u32 = 1 << 1;
    pub const GID: u32 = 1 << 2;
    pub const SIZE: u32 = 1 << 3;
    pub const ATIME: u32 = 1 << 4;
    pub const MTIME: u32 = 1 << 5;
    pub const FH: u32 = 1 << 6;
}

/// Notification codes.
#[allow(missing_docs)]
pub mod notify {
    pub const POLL: i32 = 1;
    pub const INVAL_INODE: i32 = 2;
    pub const INVAL_ENTRY: i32 = 3;
    pub const STORE: i32 = 4;
    pub const RETRIEVE: i32 = 5;
    pub const DELETE: i32 = 6;
}

/// A request as the kernel wrote it.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Request {
    pub len: u32,
    pub opcode: u32,
    pub unique: u64,
    pub node: u64,
    pub uid: u32,
    pub gid: u32,
    pub pid: u32,
    /// Bytes at the end of the body that extend it.
    pub extension_bytes: usize,
    pub body: Vec<u8>,
}

impl Request {
    /// Takes apart what a read gave.
    pub fn parse(bytes: &[u8]) -> Self {
        let mut fields = Fields(bytes);
        let (len, opcode) = (fields.u32(), fields.u32());
        let (unique, node) = (fields.u64(), fields.u64());
        let (uid, gid, pid) = (fields.u32(), fields.u32(), fields.u32());
        let extension_bytes = usize::from(fields.u16()) * 8;
        Self { len, opcode, unique, node, uid, gid, pid, extension_bytes, body: bytes[IN_HEADER..].to_vec() }
    }

    /// What extends the body.
    pub fn extension(&self) -> &[u8] {
        &self.body[self.body.len() - self.extension_bytes..]
    }

    /// The body's fields from the front.
    pub fn fields(&self) -> Fields<'_> {
        Fields(&self.body)
    }

    /// The name behind `skip` bytes of the body.
    pub fn name(&self, skip: usize) -> &[u8] {
        let rest = &self.body[skip..];
        &rest[..rest.iter().position(|&byte| byte == 0).unwrap_or(rest.len())]
    }

    /// The 32-bit field at `offset` of the body.
    pub fn u32_at(&self, offset: usize) -> u32 {
        Fields(&self.body[offset..]).u32()
    }

    /// The 64-bit field at `offset` of the body.
    pub fn u64_at(&self, offset: usize) -> u64 {
        Fields(&self.body[offset..]).u64()
    }
}

/// Little-endian fields, one after the other. What is missing reads as zeros.
pub struct Fields<'a>(pub &'a [u8]);

impl Fields<'_> {
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
}

/// A body being put together.
#[derive(Clone, Debug, Default)]
pub struct Body(pub Vec<u8>);

impl Body {
    /// Appends a field.
    pub fn u16(mut self, value: u16) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    /// Appends a field.
    pub fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    /// Appends a field.
    pub fn u64(mut self, value: u64) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    /// Appends bytes.
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }
}

/// What a server does about a request.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Success with this body.
    Data(Vec<u8>),
    /// An errno.
    Error(i32),
    /// These bytes, header included, as they are.
    Raw(Vec<u8>),
    /// Nothing, for ever.
    Never,
    /// What the tree would answer.
    AsTree,
}

/// An answer's bytes.
pub fn message(unique: u64, error: i32, body: &[u8]) -> Vec<u8> {
    let len = (OUT_HEADER + body.len()) as u32;
    Body::default().u32(len).u32(error as u32).u64(unique).bytes(body).0
}

/// `fuse_attr`.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct Attr {
    pub ino: u64,
    pub size: u64,
    pub blocks: u64,
    /// Seconds: access, modification, change.
    pub times: [u64; 3],
    pub nanoseconds: [u32; 3],
    pub mode: u32,
    pub nlink: u32,
    pub uid: u32,
    pub gid: u32,
    pub rdev: u32,
    /// 0 leaves it to the kernel.
    pub block_size: u32,
}

impl Attr {
    /// Its fields.
    pub fn body(&self, body: Body) -> Body {
        let body = body.u64(self.ino).u64(self.size).u64(self.blocks);
        let body = self.times.iter().fold(body, |body, time| body.u64(*time));
        let body = self.nanoseconds.iter().fold(body, |body, nanoseconds| body.u32(*nanoseconds));
        body.u32(self.mode).u32(self.nlink).u32(self.uid).u32(self.gid).u32(self.rdev).u32(self.block_size).u32(0)
    }
}

/// `fuse_attr_out`, valid for so many seconds.
pub fn attr_out(attr: &Attr, valid: u64) -> Vec<u8> {
    attr.body(Body::default().u64(valid).u32(0).u32(0)).0
}

/// Of `statx(2)`: all that `stat(2)` tells, too.
pub const STATX_BASIC: u32 = 0x7ff;
/// Of `statx(2)`: the birth time.
pub const STATX_BIRTH: u32 = 0x800;

/// `fuse_statx_out` with these parts known, valid for so many seconds.
pub fn statx_out(attr: &Attr, mask: u32, birth: u64, valid: u64) -> Vec<u8> {
    let body = Body::default().u64(valid).u32(0).u32(0).u64(0).u64(0);
    let body = body.u32(mask).u32(attr.block_size).u64(0).u32(attr.nlink).u32(attr.uid).u32(attr.gid).u16(attr.mode as u16).u16(0);
    let body = body.u64(attr.ino).u64(attr.size).u64(attr.blocks).u64(0);
    let time = |body: Body, index: usize| body.u64(attr.times[index]).u32(attr.nanoseconds[index]).u32(0);
    let body = time(body, 0).u64(birth).u32(7).u32(0);
    let body = time(time(body, 2), 1);
    body.u32(0).u32(attr.rdev).u32(0).u32(0).bytes(&[0; 112]).0
}

/// `fuse_entry_out`.
pub fn entry_out(node: u64, generation: u64, entry_valid: u64, attr_valid: u64, attr: &Attr) -> Vec<u8> {
    attr.body(Body::default().u64(node).u64(generation).u64(entry_valid).u64(attr_valid).u32(0).u32(0)).0
}

/// `fuse_open_out`.
pub fn open_out(fh: u64, flags: u32) -> Vec<u8> {
    Body::default().u64(fh).u32(flags).u32(0).0
}

/// `fuse_dirent`.
pub fn dirent(ino: u64, next: u64, kind: u32, name: &[u8]) -> Vec<u8> {
    let mut bytes = Body::default().u64(ino).u64(next).u32(name.len() as u32).u32(kind).bytes(name).0;
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}
