//! A file system in memory that answers every request as a good server would.

use crate::wire::{
    Answer, Attr, Body, Request, STATX_BASIC, STATX_BIRTH, attr_out, dirent, entry_out, feature, op, open_out, set, statx_out,
};
use libc::{EEXIST, EINVAL, ENODATA, ENOENT, ENOSYS, ENOTDIR, ENOTEMPTY, ERANGE};
use std::collections::BTreeMap;

/// The root's node.
pub const ROOT: u64 = 1;

/// A file of any kind.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct File {
    pub attr: Attr,
    pub content: Vec<u8>,
    pub entries: BTreeMap<Vec<u8>, u64>,
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    pub generation: u64,
    /// Seconds; what STATX tells.
    pub birth: u64,
}

/// The tree, and how it answers.
#[derive(Clone, Debug)]
pub struct Tree {
    /// By node.
    pub files: BTreeMap<u64, File>,
    next: u64,
    next_handle: u64,
    /// Lifetimes in seconds.
    pub entry_valid: u64,
    /// See above.
    pub attr_valid: u64,
    /// Lifetime of a name that is not there; 0 answers `ENOENT`.
    pub negative_valid: u64,
    /// What OPEN is answered with.
    pub open_flags: u32,
    /// Features that are taken.
    pub features: u32,
    /// Features of the second word, which count with INIT_EXT.
    pub more_features: u32,
    /// `max_background`; 0 leaves it to the kernel.
    pub max_background: u16,
    /// `congestion_threshold`; likewise.
    pub congestion_threshold: u16,
    /// STATX is answered.
    pub has_statx: bool,
    /// The minor version that is answered.
    pub minor: u32,
    /// `max_write`.
    pub max_write: u32,
    /// `max_pages`.
    pub max_pages: u16,
}

impl Default for Tree {
    fn default() -> Self {
        let root = File { attr: Attr { ino: ROOT, mode: libc::S_IFDIR | 0o755, nlink: 2, ..Attr::default() }, ..File::default() };
        Self {
            files: BTreeMap::from([(ROOT, root)]),
            next: 2,
            next_handle: 100,
            entry_valid: 0,
            attr_valid: 0,
            negative_valid: 0,
            open_flags: 0,
            features: feature::ASYNC_READ | feature::BIG_WRITES,
            more_features: 0,
            max_background: 0,
            congestion_threshold: 0,
            has_statx: false,
            minor: 31,
            max_write: 65536,
            max_pages: 32,
        }
    }
}

type Result<T = Vec<u8>> = std::result::Result<T, i32>;

impl Tree {
    /// Makes a file of this mode below `parent`.
    pub fn make(&mut self, parent: u64, name: &str, mode: u32) -> u64 {
        self.add(parent, name.as_bytes(), mode, 0, 0).expect("a free name")
    }

    /// Makes a regular file in the root.
    pub fn file(&mut self, name: &str, content: &[u8]) -> u64 {
        let node = self.make(ROOT, name, libc::S_IFREG | 0o644);
        self.set_content(node, content);
        node
    }

    /// Makes a directory in the root.
    pub fn directory(&mut self, name: &str) -> u64 {
        self.make(ROOT, name, libc::S_IFDIR | 0o755)
    }

    /// Makes a symbolic link in the root.
    pub fn symlink(&mut self, name: &str, target: &str) -> u64 {
        let node = self.make(ROOT, name, libc::S_IFLNK | 0o777);
        self.set_content(node, target.as_bytes());
        node
    }

    /// Replaces what is in a file, as somebody on the server's side would.
    pub fn set_content(&mut self, node: u64, content: &[u8]) {
        let file = self.files.get_mut(&node).expect("the node");
        file.content = content.to_vec();
        file.attr.size = content.len() as u64;
        file.attr.blocks = file.attr.size.div_ceil(512);
    }

    /// What is in a file.
    pub fn content(&self, node: u64) -> Vec<u8> {
        self.files[&node].content.clone()
    }

    /// The attributes of a node.
    pub fn attr(&mut self, node: u64) -> &mut Attr {
        &mut self.files.get_mut(&node).expect("the node").attr
    }

    /// The node of a name.
    pub fn find(&self, parent: u64, name: &str) -> Option<u64> {
        self.files[&parent].entries.get(name.as_bytes()).copied()
    }

    fn add(&mut self, parent: u64, name: &[u8], mode: u32, uid: u32, gid: u32) -> Result<u64> {
        let node = self.next;
        let directory = self.files.get_mut(&parent).ok_or(ENOENT)?;
        if directory.entries.contains_key(name) {
            return Err(EEXIST);
        }
        directory.entries.insert(name.to_vec(), node);
        let is_directory = mode & libc::S_IFMT == libc::S_IFDIR;
        directory.attr.nlink += u32::from(is_directory);
        self.next += 1;
        let attr = Attr { ino: node, mode, nlink: 1 + u32::from(is_directory), uid, gid, ..Attr::default() };
        self.files.insert(node, File { attr, ..File::default() });
        Ok(node)
    }

    /// `fuse_entry_out` of a node.
    pub fn entry(&self, node: u64) -> Vec<u8> {
        let file = &self.files[&node];
        entry_out(node, file.generation, self.entry_valid, self.attr_valid, &file.attr)
    }

    fn node_at(&self, parent: u64, name: &[u8]) -> Result<u64> {
        let directory = self.files.get(&parent).ok_or(ENOENT)?;
        if directory.attr.mode & libc::S_IFMT != libc::S_IFDIR {
            return if name == b"." { Ok(parent) } else { Err(ENOTDIR) };
        }
        match name {
            b"." => Ok(parent),
            b".." => Ok(self.parent_of(parent)),
            name => directory.entries.get(name).copied().ok_or(ENOENT),
        }
    }

    fn parent_of(&self, node: u64) -> u64 {
        let holds = |file: &File| file.entries.values().any(|&entry| entry == node);
        self.files.iter().find(|(_, file)| holds(file)).map_or(ROOT, |(&parent, _)| parent)
    }

    fn open(&mut self, flags: u32) -> Vec<u8> {
        self.next_handle += 1;
        open_out(self.next_handle, flags)
    }

    /// The answer of a good server. `None` where there is none to give.
    pub fn answer(&mut self, request: &Request) -> Option<Answer> {
        if matches!(request.opcode, op::FORGET | op::BATCH_FORGET | op::INTERRUPT | op::NOTIFY_REPLY) {
            return None;
        }
        Some(match self.handle(request) {
            Ok(body) => Answer::Data(body),
            Err(errno) => Answer::Error(errno),
        })
    }

    fn handle(&mut self, request: &Request) -> Result {
        let node = request.node;
        match request.opcode {
            op::INIT => Ok(self.init()),
            op::LOOKUP => match self.node_at(node, request.name(0)) {
                Ok(found) => Ok(self.entry(found)),
                Err(ENOENT) if self.negative_valid > 0 => Ok(entry_out(0, 0, self.negative_valid, 0, &Attr::default())),
                Err(error) => Err(error),
            },
            op::GETATTR => self.files.get(&node).map(|file| attr_out(&file.attr, self.attr_valid)).ok_or(ENOENT),
            op::STATX if self.has_statx => self.statx(node, STATX_BASIC | STATX_BIRTH),
            op::SETATTR => self.set_attributes(request),
            op::READLINK => Ok(self.files[&node].content.clone()),
            op::SYMLINK => {
                let name = request.name(0).to_vec();
                let target = request.name(name.len() + 1).to_vec();
                let made = self.add(node, &name, libc::S_IFLNK | 0o777, request.uid, request.gid)?;
                self.set_content(made, &target);
                Ok(self.entry(made))
            }
            op::MKNOD => {
                let made = self.add(node, request.name(16), request.u32_at(0), request.uid, request.gid)?;
                self.attr(made).rdev = request.u32_at(4);
                Ok(self.entry(made))
            }
            op::MKDIR => {
                let made = self.add(node, request.name(8), libc::S_IFDIR | request.u32_at(0), request.uid, request.gid)?;
                Ok(self.entry(made))
            }
            op::CREATE => {
                let made = self.add(node, request.name(16), request.u32_at(4), request.uid, request.gid)?;
                let (mut body, flags) = (self.entry(made), self.open_flags);
                body.extend(self.open(flags));
                Ok(body)
            }
            op::UNLINK | op::RMDIR => self.remove(node, request.name(0), request.opcode == op::RMDIR),
            op::RENAME => {
                let old = request.name(8).to_vec();
                self.rename(node, &old, request.u64_at(0), request.name(8 + old.len() + 1), 0)
            }
            op::RENAME2 => {
                let old = request.name(16).to_vec();
                self.rename(node, &old, request.u64_at(0), request.name(16 + old.len() + 1), request.u32_at(8))
            }
            op::LINK => {
                let old = request.u64_at(0);
                self.files.get_mut(&node).ok_or(ENOENT)?.entries.insert(request.name(8).to_vec(), old);
                self.attr(old).nlink += 1;
                Ok(self.entry(old))
            }
            op::OPEN => {
                let flags = self.open_flags;
                if request.u32_at(0) & libc::O_TRUNC as u32 != 0 {
                    self.set_content(node, b"");
                }
                Ok(self.open(flags))
            }
            op::OPENDIR => Ok(self.open(0)),
            op::READ => {
                let (offset, size) = (request.u64_at(8) as usize, request.u32_at(16) as usize);
                let content = &self.files.get(&node).ok_or(ENOENT)?.content;
                let from = offset.min(content.len());
                Ok(content[from..content.len().min(from + size)].to_vec())
            }
            op::WRITE => self.write(request),
            op::STATFS => Ok(Body::default().u64(1000).u64(600).u64(500).u64(90).u64(80).u32(512).u32(200).u32(1024).bytes(&[0; 28]).0),
            op::RELEASE | op::RELEASEDIR | op::FSYNC | op::FSYNCDIR | op::FLUSH | op::ACCESS => Ok(Vec::new()),
            op::READDIR => self.list(request, false),
            op::READDIRPLUS => self.list(request, true),
            op::SETXATTR => {
                let fields_bytes = if self.features & feature::SETXATTR_EXT == 0 { 8 } else { 16 };
                let (size, name) = (request.u32_at(0) as usize, request.name(fields_bytes).to_vec());
                let value = request.body[fields_bytes + name.len() + 1..][..size].to_vec();
                self.files.get_mut(&node).ok_or(ENOENT)?.xattrs.insert(name, value);
                Ok(Vec::new())
            }
            op::GETXATTR => {
                let value = self.files.get(&node).ok_or(ENOENT)?.xattrs.get(request.name(8)).cloned().ok_or(ENODATA)?;
                sized(value, request.u32_at(0))
            }
            op::LISTXATTR => {
                let names = self.files.get(&node).ok_or(ENOENT)?.xattrs.keys();
                sized(names.flat_map(|name| [name.as_slice(), b"\0"].concat()).collect(), request.u32_at(0))
            }
            op::REMOVEXATTR => {
                let removed = self.files.get_mut(&node).ok_or(ENOENT)?.xattrs.remove(request.name(0));
                removed.map(|_| Vec::new()).ok_or(ENODATA)
            }
            _ => Err(ENOSYS),
        }
    }

    /// STATX's answer, with these parts known.
    pub fn statx(&self, node: u64, mask: u32) -> Result {
        let file = self.files.get(&node).ok_or(ENOENT)?;
        Ok(statx_out(&file.attr, mask, file.birth, self.attr_valid))
    }

    /// INIT's answer.
    pub fn init(&self) -> Vec<u8> {
        let body = Body::default().u32(7).u32(self.minor).u32(131_072).u32(self.features);
        let body = body.u16(self.max_background).u16(self.congestion_threshold).u32(self.max_write).u32(1).u16(self.max_pages).u16(0);
        let mut bytes = body.u32(self.more_features).0;
        bytes.resize(64, 0);
        bytes
    }

    fn set_attributes(&mut self, request: &Request) -> Result {
        let valid = request.u32_at(0);
        let attr_valid = self.attr_valid;
        let file = self.files.get_mut(&request.node).ok_or(ENOENT)?;
        let has = |bit| valid & bit != 0;
        if has(set::MODE) {
            file.attr.mode = request.u32_at(68);
        }
        if has(set::UID) {
            file.attr.uid = request.u32_at(76);
        }
        if has(set::GID) {
            file.attr.gid = request.u32_at(80);
        }
        if has(set::SIZE) {
            file.content.resize(request.u64_at(16) as usize, 0);
            file.attr.size = request.u64_at(16);
        }
        if has(set::ATIME) {
            (file.attr.times[0], file.attr.nanoseconds[0]) = (request.u64_at(32), request.u32_at(56));
        }
        if has(set::MTIME) {
            (file.attr.times[1], file.attr.nanoseconds[1]) = (request.u64_at(40), request.u32_at(60));
        }
        Ok(attr_out(&file.attr, attr_valid))
    }

    fn remove(&mut self, parent: u64, name: &[u8], directory: bool) -> Result {
        let node = self.node_at(parent, name)?;
        if directory && !self.files[&node].entries.is_empty() {
            return Err(ENOTEMPTY);
        }
        let above = self.files.get_mut(&parent).ok_or(ENOENT)?;
        above.entries.remove(name);
        above.attr.nlink -= u32::from(directory);
        let attr = self.attr(node);
        attr.nlink = if directory { 0 } else { attr.nlink - 1 };
        Ok(Vec::new())
    }

    fn rename(&mut self, from: u64, old: &[u8], to: u64, new: &[u8], flags: u32) -> Result {
        let moved = self.node_at(from, old)?;
        let victim = self.node_at(to, new).ok();
        if flags & !(libc::RENAME_EXCHANGE | libc::RENAME_NOREPLACE) != 0 {
            return Err(EINVAL);
        }
        if flags & libc::RENAME_NOREPLACE != 0 && victim.is_some() {
            return Err(EEXIST);
        }
        let above = self.files.get_mut(&from).ok_or(ENOENT)?;
        match victim {
            Some(other) if flags & libc::RENAME_EXCHANGE != 0 => above.entries.insert(old.to_vec(), other),
            _ => above.entries.remove(old),
        };
        self.files.get_mut(&to).ok_or(ENOENT)?.entries.insert(new.to_vec(), moved);
        Ok(Vec::new())
    }

    fn write(&mut self, request: &Request) -> Result {
        let (offset, size) = (request.u64_at(8) as usize, request.u32_at(16) as usize);
        let data = &request.body[40..40 + size];
        let file = self.files.get_mut(&request.node).ok_or(ENOENT)?;
        if file.content.len() < offset + size {
            file.content.resize(offset + size, 0);
        }
        file.content[offset..offset + size].copy_from_slice(data);
        file.attr.size = file.content.len() as u64;
        Ok(Body::default().u32(size as u32).u32(0).0)
    }

    /// Entries from the offset on, as many as fit: `.` and `..`, then names in order.
    fn list(&self, request: &Request, plus: bool) -> Result {
        let (offset, size) = (request.u64_at(8) as usize, request.u32_at(16) as usize);
        let directory = self.files.get(&request.node).ok_or(ENOENT)?;
        let mut names: Vec<(Vec<u8>, u64)> = vec![(b".".to_vec(), request.node), (b"..".to_vec(), ROOT)];
        names.extend(directory.entries.iter().map(|(name, node)| (name.clone(), *node)));
        let mut bytes = Vec::new();
        for (index, (name, node)) in names.iter().enumerate().skip(offset) {
            let mode = self.files.get(node).map_or(0, |file| file.attr.mode);
            let mut entry = if plus && index > 1 {
                self.entry(*node)
            } else if plus {
                vec![0; 128]
            } else {
                Vec::new()
            };
            entry.extend(dirent(*node, index as u64 + 1, (mode & libc::S_IFMT) >> 12, name));
            if bytes.len() + entry.len() > size {
                break;
            }
            bytes.extend(entry);
        }
        Ok(bytes)
    }
}

/// An extended attribute's answer: its size if 0 bytes are wanted.
fn sized(value: Vec<u8>, wanted: u32) -> Result {
    match wanted as usize {
        0 => Ok(Body::default().u32(value.len() as u32).u32(0).0),
        wanted if wanted < value.len() => Err(ERANGE),
        _ => Ok(value),
    }
}
