//! Open directories: `READDIR`, and `READDIRPLUS`, whose entries are lookups as well.

use super::acl;
use super::handle::Handle;
use super::node::Node;
use super::protocol::{Entry, Features, Fields, MAX_NAME_BYTES, Message, Opcode};
use super::request::Question;
use crate::errno::{Errno, Result};
use crate::fs::{FileOps, FileType, Inode, OpenFile, OpenFlags};
use crate::mm::IoBuffer;
use crate::task::current;
use crate::time::clock;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

/// What one request asks for: what programs read directories with.
const REQUEST_BYTES: usize = 32 * 1024;
/// Bytes of an entry before its name.
const DIRENT_BYTES: usize = 24;

/// An open directory.
pub struct OpenDirectory {
    inode: Arc<Inode>,
    handle: Arc<Handle>,
}

impl OpenDirectory {
    /// Opens at the server.
    pub fn open(node: &Node, inode: &Arc<Inode>, flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
        let handle = Handle::open(node, true, flags)?;
        Ok(Arc::new(Self { inode: inode.clone(), handle }))
    }

    fn node(&self) -> Result<&Node> {
        let node = self.inode.downcast::<Node>().ok_or(Errno::IO)?;
        node.require_good().map(|()| node)
    }

    /// Whether entries should come with attributes: always, or where names are looked up anyway.
    fn wants_plus(node: &Node, position: u64) -> bool {
        let settings = node.connection().settings();
        if !settings.has(Features::DO_READDIRPLUS) || node.connection().lacks(Opcode::ReadDirectoryPlus) {
            return false;
        }
        let looked_up = core::mem::take(&mut node.state.lock().looked_up);
        !settings.has(Features::READDIRPLUS_AUTO) || position == 0 || looked_up
    }

    /// Makes what READDIRPLUS said of a name known, as a lookup would have.
    fn link(&self, file: &OpenFile, node: &Node, name: &[u8], entry: &Entry, asked_at_ns: u64) {
        if entry.node == 0 {
            return;
        }
        if name == b"." || name == b".." {
            // Counts no lookup.
            return;
        }
        let Ok(inode) = node.instance.inode_of(&self.inode.superblock, entry, asked_at_ns) else { return };
        let directory = file.path.dentry();
        let _changes = self.inode.lock.lock();
        if directory.is_unhashed() {
            return;
        }
        let until_ns = clock::monotonic_ns().saturating_add(entry.entry_lifetime_ns);
        if let Some(known) = directory.cached_child(name) {
            if known.inode().is_some_and(|known| Arc::ptr_eq(&known, &inode)) {
                known.valid_until_ns.store(until_ns, Ordering::Relaxed);
                if let Some(node) = inode.downcast::<Node>() {
                    acl::forget(node);
                }
                return;
            }
            if known.mounted.load(Ordering::Relaxed) != 0 {
                return;
            }
            known.unhash();
        }
        if inode.file_type == FileType::Directory && directory.require_no_loop(&inode).is_err() {
            return;
        }
        let dentry = directory.add_child(&self.inode.superblock, name, Some(inode.clone()), true);
        if let Some(node) = inode.downcast::<Node>() {
            node.set_place(&dentry);
        }
        dentry.valid_until_ns.store(until_ns, Ordering::Relaxed);
    }
}

/// The name that a directory has for a file with this number (`st_ino`). `ENOENT`.
pub fn name_of(node: &Node, number: u64) -> Result<Vec<u8>> {
    let handle = Handle::open(node, true, OpenFlags::DIRECTORY)?;
    let mut position = 0;
    loop {
        let answer = ask(node, &handle, Opcode::ReadDirectory, position)?;
        let mut fields = Fields(&answer);
        let before = position;
        while let Some(entry) = take_dirent(&mut fields, 0)? {
            if entry.number == number && entry.name != b"." && entry.name != b".." {
                return Ok(entry.name.to_vec());
            }
            position = entry.next;
        }
        if position == before {
            return Err(Errno::NOENT);
        }
        if current().must_end() {
            // A server may go round in circles.
            return Err(Errno::INTR);
        }
    }
}

fn ask(node: &Node, handle: &Handle, opcode: Opcode, position: u64) -> Result<Vec<u8>> {
    let body = Message::default().u64(handle.number).u64(position).u32(REQUEST_BYTES as u32).u32(0);
    let body = body.u64(0).u32(handle.open_flags.bits()).u32(0);
    node.connection().call(Question::new(opcode, node.number, body).answer_up_to(REQUEST_BYTES))
}

/// One entry on the wire.
struct Dirent<'a> {
    number: u64,
    /// The cookie of the entry behind it.
    next: u64,
    kind: u32,
    name: &'a [u8],
}

/// The next entry; `None` at the end, or for one that is cut off.
fn take_dirent<'a>(fields: &mut Fields<'a>, head_bytes: usize) -> Result<Option<Dirent<'a>>> {
    if fields.0.len() < DIRENT_BYTES {
        return Ok(None);
    }
    let (number, next) = (fields.u64(), fields.u64());
    let (name_len, kind) = (fields.u32() as usize, fields.u32());
    if name_len == 0 || name_len > MAX_NAME_BYTES {
        return Err(Errno::IO);
    }
    let Some(name) = fields.bytes(name_len) else { return Ok(None) };
    let len_bytes = head_bytes + DIRENT_BYTES + name_len;
    // The last one's padding may be missing.
    let padding = (len_bytes.next_multiple_of(8) - len_bytes).min(fields.0.len());
    fields.bytes(padding);
    if name.contains(&b'/') || name.contains(&0) {
        return Err(Errno::IO);
    }
    Ok(Some(Dirent { number, next, kind, name }))
}

impl FileOps for OpenDirectory {
    fn read(&self, _file: &OpenFile, _buffer: &mut IoBuffer<'_>, _offset: u64) -> Result<usize> {
        Err(Errno::ISDIR)
    }

    fn seek(&self, _file: &OpenFile, position: u64, offset: i64, whence: u32) -> Option<Result<u64>> {
        Some(crate::fs::io::seek_directory(position, offset, whence))
    }

    fn read_directory(&self, file: &OpenFile, position: u64, emit: &mut dyn FnMut(&[u8], u64, FileType, u64) -> bool) -> Result<u64> {
        let node = self.node()?;
        let asked_at_ns = clock::monotonic_ns();
        let mut plus = Self::wants_plus(node, position);
        let answer = if plus {
            match ask(node, &self.handle, Opcode::ReadDirectoryPlus, position) {
                Err(Errno::NOSYS) => {
                    node.connection().note_missing(Opcode::ReadDirectoryPlus);
                    plus = false;
                    ask(node, &self.handle, Opcode::ReadDirectory, position)?
                }
                answer => answer?,
            }
        } else {
            ask(node, &self.handle, Opcode::ReadDirectory, position)?
        };
        let minor = node.connection().settings().minor;
        let head_bytes = if plus { Entry::len_bytes(minor) } else { 0 };
        let mut fields = Fields(&answer);
        let mut position = position;
        let mut full = false;
        while fields.0.len() >= head_bytes + DIRENT_BYTES {
            let entry = plus.then(|| Entry::take(&mut fields, minor));
            let Some(Dirent { number, next, kind, name }) = take_dirent(&mut fields, head_bytes)? else { break };
            // What a lookup was counted for is kept or given back, whether the reader has room for the name or not.
            if let Some(entry) = &entry {
                self.link(file, node, name, entry, asked_at_ns);
            }
            let file_type = FileType::from_mode(kind << 12).filter(|_| kind != 0).unwrap_or(FileType::Untyped);
            full = full || !emit(name, number, file_type, next);
            if !full {
                position = next;
            } else if !plus {
                break;
            }
        }
        Ok(position)
    }

    fn ioctl(&self, file: &OpenFile, request: u32, argument: u64) -> Result<usize> {
        super::ioctl::ioctl(file, self.node()?, &self.handle, true, request, argument)
    }

    fn sync(&self, _file: &OpenFile, data_only: bool) -> Result<()> {
        self.handle.sync(data_only)
    }
}
