//! `fd` and `fdinfo`: what a task has open.

use super::access;
use super::links::DescriptorLink;
use super::process::{NumberGroup, Scope, number, owned_attributes};
use super::root::parse_number;
use crate::errno::{Errno, Result};
use crate::fs::generated::{Content, GeneratedFile, Listing, Text, make_inode};
use crate::fs::permission::{self, Access};
use crate::fs::{Attributes, FileOps, FileType, Inode, InodeOps, OpenFile, OpenFlags, Path, mount};
use crate::mm::IoBuffer;
use crate::put_line;
use crate::task::pid::Pid;
use crate::task::{Credentials, current};
use alloc::{format, sync::Arc, vec::Vec};

/// Which of the two directories.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Links,
    Information,
}

impl What {
    fn group(self) -> NumberGroup {
        match self {
            Self::Links => NumberGroup::Descriptors,
            Self::Information => NumberGroup::DescriptorInformation,
        }
    }

    fn file_type(self) -> FileType {
        match self {
            Self::Links => FileType::Symlink,
            Self::Information => FileType::Regular,
        }
    }
}

/// `fd` or `fdinfo`.
pub(super) struct DescriptorDirectory {
    id: Arc<Pid>,
    scope: Scope,
    what: What,
}

impl DescriptorDirectory {
    /// `fd`.
    pub(super) fn links(id: Arc<Pid>, scope: Scope) -> Self {
        Self { id, scope, what: What::Links }
    }

    /// `fdinfo`.
    pub(super) fn information(id: Arc<Pid>, scope: Scope) -> Self {
        Self { id, scope, what: What::Information }
    }
}

fn open_numbers(id: &Pid) -> Result<Vec<i32>> {
    let thread = id.thread().ok_or(Errno::NOENT)?;
    Ok(thread.try_files().map(|files| files.open_numbers()).unwrap_or_default())
}

impl InodeOps for DescriptorDirectory {
    fn lookup(&self, dir: &Arc<Inode>, name: &[u8]) -> Result<Arc<Inode>> {
        let descriptor = parse_number(name).and_then(|number| i32::try_from(number).ok()).ok_or(Errno::NOENT)?;
        let thread = self.id.thread().ok_or(Errno::NOENT)?;
        thread.try_files().ok_or(Errno::NOENT)?.get(descriptor).map_err(|_| Errno::NOENT)?;
        let id = self.id.clone();
        let (mode, ops): (u32, Arc<dyn InodeOps>) = match self.what {
            What::Links => (0o700, Arc::new(DescriptorLink { id, descriptor })),
            What::Information => (0o444, Arc::new(Information { id, descriptor })),
        };
        let number = number(&self.id, self.scope, self.what.group(), descriptor as u64);
        Ok(make_inode(&dir.superblock, number, self.what.file_type(), mode, ops))
    }

    /// The length is the number of open descriptors, as Linux shows it since 6.2.
    fn attributes(&self, inode: &Inode) -> Result<Attributes> {
        let mut attributes = owned_attributes(&self.id, inode)?;
        if self.what == What::Links {
            attributes.size_bytes = open_numbers(&self.id).map_or(0, |numbers| numbers.len() as u64);
        }
        Ok(attributes)
    }

    /// A process always reaches its own descriptors, whatever the mode and owner say.
    fn permission(&self, inode: &Inode, credentials: &Credentials, mask: u32) -> Option<Result<()>> {
        let own = self.id.thread().is_some_and(|thread| Arc::ptr_eq(&thread.process, &current().process));
        let allowed = permission::check_mode(inode, credentials, Access::from_bits_truncate(mask));
        Some(if own { Ok(()) } else { allowed })
    }

    fn open(&self, _inode: &Arc<Inode>, _path: &Path, _flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
        Ok(Arc::new(OpenDescriptors { id: self.id.clone(), scope: self.scope, what: self.what }))
    }
}

struct OpenDescriptors {
    id: Arc<Pid>,
    scope: Scope,
    what: What,
}

impl FileOps for OpenDescriptors {
    fn read(&self, _file: &OpenFile, _buffer: &mut IoBuffer<'_>, _offset: u64) -> Result<usize> {
        Err(Errno::ISDIR)
    }

    fn read_directory(&self, file: &OpenFile, position: u64, emit: &mut dyn FnMut(&[u8], u64, FileType, u64) -> bool) -> Result<u64> {
        let mut listing = Listing::new(file, position, emit);
        for descriptor in open_numbers(&self.id)? {
            let number = number(&self.id, self.scope, self.what.group(), descriptor as u64);
            listing.entry_at(descriptor as u64 + 2, format!("{descriptor}").as_bytes(), number, self.what.file_type());
        }
        Ok(listing.position)
    }
}

/// fdinfo/N.
struct Information {
    id: Arc<Pid>,
    descriptor: i32,
}

impl InodeOps for Information {
    fn attributes(&self, inode: &Inode) -> Result<Attributes> {
        owned_attributes(&self.id, inode)
    }

    fn open(&self, _inode: &Arc<Inode>, _path: &Path, _flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
        access::require_read(&self.id.thread().ok_or(Errno::SRCH)?)?;
        Ok(GeneratedFile::open(Arc::new(InformationText { id: self.id.clone(), descriptor: self.descriptor })))
    }
}

struct InformationText {
    id: Arc<Pid>,
    descriptor: i32,
}

impl Content for InformationText {
    fn generate(&self, _reader: &OpenFile) -> Result<Vec<u8>> {
        let thread = self.id.thread().ok_or(Errno::SRCH)?;
        let files = thread.try_files().ok_or(Errno::NOENT)?;
        let file = files.get(self.descriptor).map_err(|_| Errno::NOENT)?;
        let close_on_exec = files.close_on_exec(self.descriptor).unwrap_or(false);
        let mut flags = file.flags();
        flags.set(OpenFlags::CLOEXEC, close_on_exec);
        let position = file.position.try_lock().map_or(0, |position| *position);
        let mut text = Text::default();
        put_line!(text, "pos:\t{position}\nflags:\t0{:o}", flags.bits());
        put_line!(text, "mnt_id:\t{}\nino:\t{}", mount::number(file.path.mount()), file.inode.number);
        // A text takes everything.
        let _ = file.ops.describe(&file, &mut text);
        text.finish()
    }

    fn pollable(&self) -> bool {
        false
    }
}
