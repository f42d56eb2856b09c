//! Puts the entries of an archive into the rootfs, with their owners, modes, times and hard links.

use super::archive::Header;
use crate::errno::{Errno, Result};
use crate::fs::inode::AttributeChange;
use crate::fs::open::{self, OpenHow};
use crate::fs::superblock::make_device;
use crate::fs::walk::{self, LastKind, LookupFlags, Resolve, Start, Walk};
use crate::fs::{Attributes, FileType, Inode, OpenFile, OpenFlags, Path};
use crate::mm::IoBuffer;
use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};

const NS_PER_S: i128 = 1_000_000_000;

/// A file of an archive: device and inode there.
type ArchiveFile = (u32, u32, u32);

/// Makes files where `start` says.
pub(super) struct Unpacker {
    start: Start,
    /// Files with more than one name, by their numbers in the archive.
    links: BTreeMap<ArchiveFile, Arc<Inode>>,
    /// The file whose content is coming, where it is, and when it was modified.
    open: Option<(Arc<OpenFile>, u64, u32)>,
    /// Directories get their times when nothing is put into them any more.
    directory_times: Vec<(Arc<Inode>, u32)>,
}

impl Unpacker {
    pub(super) fn new(start: Start) -> Self {
        Self { start, links: BTreeMap::new(), open: None, directory_times: Vec::new() }
    }

    /// Makes the file of an entry. Returns whether its content is wanted. What cannot be made is skipped with a line in the log.
    pub(super) fn entry(&mut self, header: &Header, name: &[u8], target: Option<&[u8]>) -> bool {
        match self.make(header, name, target) {
            Ok(takes_content) => takes_content,
            Err(error) => {
                log::warn!("initramfs: {}: {error:?}", name.escape_ascii());
                false
            }
        }
    }

    fn make(&mut self, header: &Header, name: &[u8], target: Option<&[u8]>) -> Result<bool> {
        let file_type = FileType::from_mode(header.mode).filter(|_| header.mode >> 12 != 0).ok_or(Errno::INVAL)?;
        if file_type == FileType::Directory {
            return self.make_directory(header, name).map(|()| false);
        }
        let mut walk = Walk::begin(self.start.clone(), name, Resolve::empty(), false)?;
        let last = walk.walk_to_parent()?;
        if last.kind != LastKind::Normal {
            return Err(Errno::EXIST);
        }
        let parent = walk.into_place();
        let key = (header.major, header.minor, header.inode);
        let linked = if header.links > 1 { self.links.get(&key).cloned() } else { None };
        remove_if_there(&parent, &last.name)?;
        let inode = self.enter(&parent, &last.name, header, file_type, target, linked.as_ref())?;
        if header.links > 1 && linked.is_none() {
            self.links.insert(key, inode.clone());
        }
        if file_type != FileType::Regular {
            set_modified(&inode, header.modified_s);
            return Ok(false);
        }
        // Of a file with several names one entry, usually the last, has the content.
        let dentry = walk::look_up(parent.dentry(), &last.name)?;
        let how = OpenHow { flags: OpenFlags::WRONLY, mode: 0, resolve: Resolve::empty() };
        let file = open::open_found(parent.at(dentry), how, true, self.start.credentials.clone())?;
        self.open = Some((file, 0, header.modified_s));
        Ok(true)
    }

    fn enter(
        &self,
        parent: &Path,
        name: &[u8],
        header: &Header,
        file_type: FileType,
        target: Option<&[u8]>,
        linked: Option<&Arc<Inode>>,
    ) -> Result<Arc<Inode>> {
        let directory = parent.inode().ok_or(Errno::NOENT)?;
        let _changes = directory.lock.lock();
        let dentry = walk::look_up_locked(parent.dentry(), name)?;
        let attributes = Attributes::new(header.mode, header.uid, header.gid);
        let inode = match (linked, target) {
            (Some(linked), _) => {
                directory.ops.link(&directory, name, linked)?;
                linked.clone()
            }
            (None, Some(target)) => directory.ops.make_symlink(&directory, name, target, Attributes { mode: 0o777, ..attributes })?,
            (None, None) => {
                let device = make_device(header.device_major, header.device_minor);
                directory.ops.create(&directory, name, file_type, attributes, device)?
            }
        };
        dentry.instantiate(inode.clone());
        Ok(inode)
    }

    /// A directory that is there already gets the new owner and mode.
    fn make_directory(&mut self, header: &Header, name: &[u8]) -> Result<()> {
        let existing = walk::lookup_from(self.start.clone(), name, LookupFlags::FOLLOW);
        let inode = match existing {
            Ok(place) => place.inode().filter(|inode| inode.file_type == FileType::Directory).ok_or(Errno::EXIST)?,
            Err(Errno::NOENT) => self.make_missing_directory(header, name)?,
            Err(error) => return Err(error),
        };
        let change = AttributeChange {
            mode: Some(header.mode & 0o7777),
            uid: Some(header.uid),
            gid: Some(header.gid),
            ..AttributeChange::default()
        };
        inode.ops.set_attributes(&inode, &change)?;
        self.directory_times.push((inode, header.modified_s));
        Ok(())
    }

    fn make_missing_directory(&self, header: &Header, name: &[u8]) -> Result<Arc<Inode>> {
        let mut walk = Walk::begin(self.start.clone(), name, Resolve::empty(), false)?;
        let last = walk.walk_to_parent()?;
        let parent = walk.into_place();
        let directory = parent.inode().ok_or(Errno::NOENT)?;
        let _changes = directory.lock.lock();
        let dentry = walk::look_up_locked(parent.dentry(), &last.name)?;
        let inode = directory.ops.make_directory(&directory, &last.name, Attributes::new(header.mode, header.uid, header.gid))?;
        dentry.instantiate(inode.clone());
        Ok(inode)
    }

    /// Content of the file that [`Self::entry`] made last.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        let Some((file, position, _)) = &mut self.open else { return Ok(()) };
        let mut buffer = IoBuffer::kernel_source(bytes);
        while buffer.remaining() > 0 {
            let mut at = *position;
            let written = file.ops.write(file, &mut buffer, &mut at).map_err(|_| "write error")?;
            if written == 0 {
                return Err("write error");
            }
            *position += written as u64;
        }
        Ok(())
    }

    /// The content is complete.
    pub(super) fn close(&mut self) {
        if let Some((file, _, modified_s)) = self.open.take() {
            set_modified(&file.inode, modified_s);
        }
    }

    /// Numbers of files mean nothing beyond the end of their archive.
    pub(super) fn forget_links(&mut self) {
        self.links.clear();
    }

    /// Everything is there.
    pub(super) fn finish(&mut self) {
        self.close();
        for (inode, modified_s) in core::mem::take(&mut self.directory_times) {
            set_modified(&inode, modified_s);
        }
    }

    /// `/dev`, `/dev/console` (5, 1) and `/root`, where they are missing.
    pub(super) fn default_nodes(&mut self) -> Result<()> {
        let nodes: [(&[u8], u32, u32, u32); 3] = [(b"dev", 0o040_755, 0, 0), (b"dev/console", 0o020_600, 5, 1), (b"root", 0o040_700, 0, 0)];
        for (name, mode, device_major, device_minor) in nodes {
            if let Err(Errno::NOENT) = walk::lookup_from(self.start.clone(), name, LookupFlags::empty()) {
                let header = Header { mode, device_major, device_minor, links: 1, ..Header::default() };
                self.make(&header, name, None)?;
            }
        }
        Ok(())
    }
}

/// Takes away what an entry replaces. A directory stays in the way.
fn remove_if_there(parent: &Path, name: &[u8]) -> Result<()> {
    let directory = parent.inode().ok_or(Errno::NOENT)?;
    let _changes = directory.lock.lock();
    let dentry = walk::look_up_locked(parent.dentry(), name)?;
    match dentry.inode() {
        Some(inode) if inode.file_type == FileType::Directory => Err(Errno::ISDIR),
        Some(inode) => {
            directory.ops.unlink(&directory, name, &inode)?;
            dentry.unhash();
            Ok(())
        }
        None => Ok(()),
    }
}

fn set_modified(inode: &Arc<Inode>, modified_s: u32) {
    let modified = i128::from(modified_s) * NS_PER_S;
    let change = AttributeChange { accessed: Some(modified), modified: Some(modified), ..AttributeChange::default() };
    if let Err(error) = inode.ops.set_attributes(inode, &change) {
        log::warn!("initramfs: times: {error:?}");
    }
}
