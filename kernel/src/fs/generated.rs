//! Files whose content is made when they are read: what procfs and sysfs are built of.
//!
//! A tree is described by tables of [`Entry`]; whatever has a name that is not known in advance (processes, descriptors) implements
//! [`InodeOps`] itself and uses the pieces here: [`GeneratedFile`], [`Listing`], [`make_inode`].

use crate::errno::{Errno, Result};
use crate::fs::inode::AttributeChange;
use crate::fs::{Attributes, FileOps, FileType, Inode, InodeOps, OpenFile, OpenFlags, Path, PollEvents, PollTable, SuperBlock};
use crate::mm::IoBuffer;
use crate::task::{Credentials, SleepMutex};
use alloc::{sync::Arc, vec, vec::Vec};
use core::fmt;

/// The longest write that a generated file takes in one call, as in Linux (a page).
const WRITE_LIMIT_BYTES: usize = 4096;

/// Text that is being made. Writing to it never fails; whether there was memory for all of it shows at the end.
#[derive(Default)]
pub struct Text {
    bytes: Vec<u8>,
    cut: bool,
}

impl Text {
    /// Appends bytes that need not be UTF-8 (names of files and programs).
    pub fn bytes(&mut self, bytes: &[u8]) {
        if self.bytes.try_reserve(bytes.len()).is_err() {
            self.cut = true;
        } else {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Appends blanks until the text is `len_bytes` long.
    pub fn pad_to(&mut self, len_bytes: usize) {
        while self.len() < len_bytes && !self.cut {
            self.bytes(b" ");
        }
    }

    /// The whole text. `ENOMEM` if a part of it found no room.
    pub fn finish(self) -> Result<Vec<u8>> {
        if self.cut { Err(Errno::NOMEM) } else { Ok(self.bytes) }
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.bytes(text.as_bytes());
        Ok(())
    }
}

/// Appends formatted text to a [`Text`], which cannot fail.
#[macro_export]
macro_rules! put {
    ($text:expr, $($format:tt)*) => {{
        use core::fmt::Write as _;
        // `Text` takes everything.
        let _ = write!($text, $($format)*);
    }};
}

/// Appends a formatted line to a [`Text`], which cannot fail.
#[macro_export]
macro_rules! put_line {
    ($text:expr, $($format:tt)*) => {{
        use core::fmt::Write as _;
        // `Text` takes everything.
        let _ = writeln!($text, $($format)*);
    }};
}

/// What stands in a generated file.
#[allow(unused_variables)]
pub trait Content: Send + Sync + 'static {
    /// Makes the whole content.
    fn generate(&self, file: &OpenFile) -> Result<Vec<u8>>;

    /// Takes what a program wrote in one call.
    fn store(&self, file: &OpenFile, bytes: &[u8]) -> Result<()> {
        Err(Errno::INVAL)
    }

    /// Whether somebody may be told of changes by `poll`; the default is a file that is always ready.
    fn poll(&self, file: &OpenFile, table: &mut PollTable<'_>) -> Option<PollEvents> {
        None
    }

    /// Whether epoll may watch it. Linux allows that for all files of procfs but those of processes.
    fn pollable(&self) -> bool {
        true
    }
}

/// An open generated file. The content is made by the first read, and anew by every read from the start, so that a reader in pieces
/// sees one consistent text.
pub struct GeneratedFile {
    content: Arc<dyn Content>,
    snapshot: SleepMutex<Option<Vec<u8>>>,
}

impl GeneratedFile {
    /// Opens `content`.
    pub fn open(content: Arc<dyn Content>) -> Arc<dyn FileOps> {
        Arc::new(Self { content, snapshot: SleepMutex::new(None) })
    }
}

impl FileOps for GeneratedFile {
    fn read(&self, file: &OpenFile, buffer: &mut IoBuffer<'_>, offset: u64) -> Result<usize> {
        let mut snapshot = self.snapshot.lock();
        if offset == 0 || snapshot.is_none() {
            *snapshot = Some(self.content.generate(file)?);
        }
        let text = snapshot.as_deref().unwrap_or_default();
        let rest = usize::try_from(offset).ok().and_then(|offset| text.get(offset..)).unwrap_or_default();
        if rest.is_empty() { Ok(0) } else { buffer.put(&rest[..rest.len().min(buffer.remaining())]) }
    }

    fn write(&self, file: &OpenFile, buffer: &mut IoBuffer<'_>, offset: &mut u64) -> Result<usize> {
        if buffer.remaining() > WRITE_LIMIT_BYTES {
            return Err(Errno::INVAL);
        }
        let mut bytes = vec![0; buffer.remaining()];
        let taken = buffer.take(&mut bytes)?;
        self.content.store(file, &bytes[..taken])?;
        *self.snapshot.lock() = None;
        *offset += taken as u64;
        Ok(taken)
    }

    fn poll(&self, file: &OpenFile, table: &mut PollTable<'_>) -> PollEvents {
        self.content.poll(file, table).unwrap_or(PollEvents::READABLE | PollEvents::WRITABLE)
    }

    fn pollable(&self) -> bool {
        self.content.pollable()
    }
}

/// What an entry of a table is.
#[derive(Clone, Copy)]
pub enum Kind {
    /// A directory with fixed entries.
    Directory(&'static [Entry]),
    /// A directory that is there to be mounted on, and never holds anything (N12).
    MountPoint,
    /// A file to read.
    File(fn(&OpenFile, &mut Text) -> Result<()>),
    /// A file to read and write.
    Writable(fn(&OpenFile, &mut Text) -> Result<()>, fn(&OpenFile, &[u8]) -> Result<()>),
    /// A file that does more than hand out text.
    Opened(fn(OpenFlags) -> Result<Arc<dyn FileOps>>),
    /// A value of the kernel that stands somewhere in memory.
    Variable(&'static dyn Variable),
    /// A symbolic link.
    Link(&'static str),
    /// A directory that makes its entries itself.
    Made(fn() -> Arc<dyn InodeOps>),
}

/// How the tree takes permission bits and changes of them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// As other filesystems.
    Ordinary,
    /// As sysfs: the same, with directories that their owner may write, could anything be made in them.
    Devices,
    /// As `/proc/sys`: the bits bind root too, and nothing changes them; directories have one link.
    Fixed,
}

/// A value that a file shows and perhaps changes.
pub trait Variable: Sync {
    /// Puts the value with its newline.
    fn show(&self, text: &mut Text);

    /// Takes a new value as it was written.
    fn store(&self, bytes: &[u8]) -> Result<()>;
}

/// A fixed name in a generated tree.
#[derive(Clone, Copy)]
pub struct Entry {
    /// The name.
    pub name: &'static str,
    /// Permission bits.
    pub mode: u32,
    /// What it is.
    pub kind: Kind,
    /// Where [`Policy::Fixed`] holds: who has the owner's bits besides root.
    governor: Option<fn(&Credentials) -> bool>,
}

impl Entry {
    /// A directory for everybody.
    pub const fn directory(name: &'static str, entries: &'static [Entry]) -> Self {
        Self { name, mode: 0o555, kind: Kind::Directory(entries), governor: None }
    }

    /// A directory for others to mount on.
    pub const fn mount_point(name: &'static str) -> Self {
        Self { name, mode: 0o555, kind: Kind::MountPoint, governor: None }
    }

    /// A file that everybody may read.
    pub const fn file(name: &'static str, read: fn(&OpenFile, &mut Text) -> Result<()>) -> Self {
        Self { name, mode: 0o444, kind: Kind::File(read), governor: None }
    }

    /// A file that the owner may write, too.
    pub const fn writable(
        name: &'static str,
        read: fn(&OpenFile, &mut Text) -> Result<()>,
        write: fn(&OpenFile, &[u8]) -> Result<()>,
    ) -> Self {
        Self { name, mode: 0o644, kind: Kind::Writable(read, write), governor: None }
    }

    /// A value that the owner may change.
    pub const fn variable(name: &'static str, variable: &'static dyn Variable) -> Self {
        Self { name, mode: 0o644, kind: Kind::Variable(variable), governor: None }
    }

    /// A symbolic link.
    pub const fn link(name: &'static str, target: &'static str) -> Self {
        Self { name, mode: 0o777, kind: Kind::Link(target), governor: None }
    }

    /// A directory that makes its entries itself.
    pub const fn made(name: &'static str, make: fn() -> Arc<dyn InodeOps>) -> Self {
        Self { name, mode: 0o555, kind: Kind::Made(make), governor: None }
    }

    /// A file for root that is opened by a function of its own.
    pub const fn opened(name: &'static str, open: fn(OpenFlags) -> Result<Arc<dyn FileOps>>) -> Self {
        Self { name, mode: 0o400, kind: Kind::Opened(open), governor: None }
    }

    /// The same with other permission bits.
    pub const fn with_mode(self, mode: u32) -> Self {
        Self { mode, ..self }
    }

    /// The same, with the owner's bits for whom `governor` names, as values of a namespace have it.
    pub const fn governed_by(self, governor: fn(&Credentials) -> bool) -> Self {
        Self { governor: Some(governor), ..self }
    }

    /// What `stat` shows.
    pub fn file_type(&self) -> FileType {
        match self.kind {
            Kind::Directory(_) | Kind::MountPoint | Kind::Made(_) => FileType::Directory,
            Kind::Link(_) => FileType::Symlink,
            Kind::File(_) | Kind::Writable(..) | Kind::Opened(_) | Kind::Variable(_) => FileType::Regular,
        }
    }

    /// The inode number: fixed entries live for ever, so their address tells them apart. Kept within the range that Linux uses for them.
    pub fn number(&self) -> u64 {
        0xf000_0000 | (core::ptr::from_ref(self).addr() as u64 & 0x0fff_ffff)
    }

    /// The inode of the entry.
    pub fn inode(&'static self, superblock: &Arc<SuperBlock>, policy: Policy) -> Arc<Inode> {
        let ops: Arc<dyn InodeOps> = match self.kind {
            Kind::Directory(entries) => Arc::new(TableDirectory { entries, policy, is_mount_point: false }),
            Kind::MountPoint => Arc::new(TableDirectory { entries: &[], policy, is_mount_point: true }),
            Kind::Link(target) => Arc::new(FixedLink(target)),
            Kind::Made(make) => make(),
            Kind::File(_) | Kind::Writable(..) | Kind::Opened(_) | Kind::Variable(_) => Arc::new(TableFile { entry: self, policy }),
        };
        let is_directory = self.file_type() == FileType::Directory;
        let mode = if is_directory && policy == Policy::Devices { self.mode | 0o200 } else { self.mode };
        let inode = make_inode(superblock, self.number(), self.file_type(), mode, ops);
        match self.kind {
            _ if is_directory && policy == Policy::Fixed => inode.attributes.lock().links = 1,
            Kind::Directory(entries) => inode.attributes.lock().links = directory_links(entries),
            _ => {}
        }
        inode
    }
}

/// The link count of a directory with these entries.
pub fn directory_links(entries: &[Entry]) -> u32 {
    2 + entries.iter().filter(|entry| entry.file_type() == FileType::Directory).count() as u32
}

/// An inode that belongs to root.
pub fn make_inode(superblock: &Arc<SuperBlock>, number: u64, file_type: FileType, mode: u32, ops: Arc<dyn InodeOps>) -> Arc<Inode> {
    let mut attributes = Attributes::new(mode, 0, 0);
    if file_type == FileType::Directory {
        attributes.links = 2;
    }
    Inode::new(superblock, number, file_type, 0, attributes, ops)
}

/// A change of attributes of a generated file: kept in memory, lengths ignored (`O_TRUNC` on a control file is no error).
pub fn change_attributes(inode: &Arc<Inode>, change: &AttributeChange) -> Result<()> {
    change.apply_to(&mut inode.attributes.lock());
    Ok(())
}

/// See [`change_attributes`].
fn change_by_policy(policy: Policy, inode: &Arc<Inode>, change: &AttributeChange) -> Result<()> {
    let forbidden = policy == Policy::Fixed && (change.mode.is_some() || change.uid.is_some() || change.gid.is_some());
    if forbidden { Err(Errno::PERM) } else { change_attributes(inode, change) }
}

/// The check of [`Policy::Fixed`]: root's ids give root's bits, and no capability more.
fn permission_by_policy(
    policy: Policy,
    governor: Option<fn(&Credentials) -> bool>,
    inode: &Inode,
    credentials: &Credentials,
    mask: u32,
) -> Option<Result<()>> {
    if policy != Policy::Fixed {
        return None;
    }
    let mode = inode.attributes.lock().mode;
    let bits = match () {
        () if credentials.effective_uid == 0 || governor.is_some_and(|governs| governs(credentials)) => mode >> 6,
        () if credentials.in_effective_group(0) => mode >> 3,
        () => mode,
    };
    Some(if mask & !bits & 7 == 0 { Ok(()) } else { Err(Errno::ACCES) })
}

/// A directory whose names are all in a table.
pub struct TableDirectory {
    /// The names.
    pub entries: &'static [Entry],
    /// For it and everything below.
    pub policy: Policy,
    /// See [`Kind::MountPoint`].
    pub is_mount_point: bool,
}

impl InodeOps for TableDirectory {
    fn lookup(&self, dir: &Arc<Inode>, name: &[u8]) -> Result<Arc<Inode>> {
        let entry = self.entries.iter().find(|entry| entry.name.as_bytes() == name).ok_or(Errno::NOENT)?;
        Ok(entry.inode(&dir.superblock, self.policy))
    }

    fn set_attributes(&self, inode: &Arc<Inode>, change: &AttributeChange) -> Result<()> {
        change_by_policy(self.policy, inode, change)
    }

    fn permission(&self, inode: &Inode, credentials: &Credentials, mask: u32) -> Option<Result<()>> {
        permission_by_policy(self.policy, None, inode, credentials, mask)
    }

    fn open(&self, _inode: &Arc<Inode>, _path: &Path, _flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
        Ok(Arc::new(OpenDirectory(self.entries)))
    }
}

struct OpenDirectory(&'static [Entry]);

impl FileOps for OpenDirectory {
    fn read(&self, _file: &OpenFile, _buffer: &mut IoBuffer<'_>, _offset: u64) -> Result<usize> {
        Err(Errno::ISDIR)
    }

    fn read_directory(&self, file: &OpenFile, position: u64, emit: &mut dyn FnMut(&[u8], u64, FileType, u64) -> bool) -> Result<u64> {
        let mut listing = Listing::new(file, position, emit);
        for entry in self.0 {
            listing.entry(entry.name.as_bytes(), entry.number(), entry.file_type());
        }
        Ok(listing.position)
    }
}

/// Takes a directory entry: name, inode number, type, the position behind it. `false`: no room for it.
pub type Emit<'a> = dyn FnMut(&[u8], u64, FileType, u64) -> bool + 'a;

/// Hands out the entries of a directory in order, beginning with `.` and `..`, from a position on.
pub struct Listing<'a> {
    emit: &'a mut Emit<'a>,
    /// The cookie of the entry to come.
    next: u64,
    /// Where a later call goes on.
    pub position: u64,
    full: bool,
}

impl<'a> Listing<'a> {
    /// A listing from `position`; `.` and `..` are handed out first.
    pub fn new(file: &OpenFile, position: u64, emit: &'a mut Emit<'a>) -> Self {
        let mut listing = Self { emit, next: 0, position, full: false };
        let own = file.inode.number;
        let parent = file.path.dentry().parent().and_then(|parent| parent.inode()).map_or(own, |inode| inode.number);
        listing.entry(b".", own, FileType::Directory);
        listing.entry(b"..", parent, FileType::Directory);
        listing
    }

    /// The next entry, in the order of calls. Does nothing for those before the position or when the reader has enough.
    pub fn entry(&mut self, name: &[u8], number: u64, file_type: FileType) {
        let cookie = self.next;
        self.entry_at(cookie, name, number, file_type);
    }

    /// An entry with a cookie of its own, not below the one before: for names that come and go.
    pub fn entry_at(&mut self, cookie: u64, name: &[u8], number: u64, file_type: FileType) {
        self.next = cookie + 1;
        if cookie < self.position || self.full {
            return;
        }
        if (self.emit)(name, number, file_type, cookie + 1) {
            self.position = cookie + 1;
        } else {
            self.full = true;
        }
    }

    /// The reader has enough.
    pub fn is_full(&self) -> bool {
        self.full
    }
}

/// A file of a table.
struct TableFile {
    entry: &'static Entry,
    policy: Policy,
}

impl InodeOps for TableFile {
    fn set_attributes(&self, inode: &Arc<Inode>, change: &AttributeChange) -> Result<()> {
        change_by_policy(self.policy, inode, change)
    }

    fn permission(&self, inode: &Inode, credentials: &Credentials, mask: u32) -> Option<Result<()>> {
        permission_by_policy(self.policy, self.entry.governor, inode, credentials, mask)
    }

    fn open(&self, _inode: &Arc<Inode>, _path: &Path, flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
        if let Kind::Opened(open) = self.entry.kind {
            return open(flags);
        }
        Ok(GeneratedFile::open(Arc::new(TableContent(self.entry))))
    }
}

struct TableContent(&'static Entry);

impl Content for TableContent {
    fn generate(&self, file: &OpenFile) -> Result<Vec<u8>> {
        let mut text = Text::default();
        match self.0.kind {
            Kind::File(read) | Kind::Writable(read, _) => read(file, &mut text)?,
            Kind::Variable(variable) => variable.show(&mut text),
            _ => return Err(Errno::INVAL),
        }
        text.finish()
    }

    fn store(&self, file: &OpenFile, bytes: &[u8]) -> Result<()> {
        match self.0.kind {
            Kind::Writable(_, write) => write(file, bytes),
            Kind::Variable(variable) => variable.store(bytes),
            // Linux refuses writes to a file without a writer although root may open it.
            _ => Err(Errno::IO),
        }
    }
}

/// A link with a fixed target.
pub struct FixedLink(pub &'static str);

impl InodeOps for FixedLink {
    fn read_link(&self, _inode: &Arc<Inode>) -> Result<Vec<u8>> {
        Ok(self.0.as_bytes().to_vec())
    }

    fn set_attributes(&self, inode: &Arc<Inode>, change: &AttributeChange) -> Result<()> {
        change_attributes(inode, change)
    }
}
