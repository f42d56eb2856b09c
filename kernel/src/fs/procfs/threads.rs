//! `/proc/PID/task`: a directory for each thread.

use super::ProcSuper;
use super::process::{Scope, TaskNode, owned_attributes};
use super::root::parse_number;
use crate::errno::{Errno, Result};
use crate::fs::generated::Listing;
use crate::fs::{Attributes, FileOps, FileType, Inode, InodeOps, OpenFile, OpenFlags, Path};
use crate::mm::IoBuffer;
use crate::task::pid::Pid;
use alloc::{format, sync::Arc, vec::Vec};

/// `task`.
pub(super) struct ThreadDirectory {
    /// The process.
    pub id: Arc<Pid>,
}

impl InodeOps for ThreadDirectory {
    fn lookup(&self, dir: &Arc<Inode>, name: &[u8]) -> Result<Arc<Inode>> {
        let namespace = &ProcSuper::of(&dir.superblock)?.pid_namespace;
        let process = self.id.thread().ok_or(Errno::NOENT)?.process.clone();
        let id = parse_number(name).and_then(|number| namespace.find(number)).ok_or(Errno::NOENT)?;
        let thread = id.thread().ok_or(Errno::NOENT)?;
        if !Arc::ptr_eq(&thread.process, &process) {
            return Err(Errno::NOENT);
        }
        Ok(TaskNode::directory(&dir.superblock, id, Scope::Thread))
    }

    /// The link count tells the number of threads, as in Linux.
    fn attributes(&self, inode: &Inode) -> Result<Attributes> {
        let mut attributes = owned_attributes(&self.id, inode)?;
        if let Some(thread) = self.id.thread() {
            attributes.links = 2 + thread.process.threads().len() as u32;
        }
        Ok(attributes)
    }

    fn open(&self, _inode: &Arc<Inode>, _path: &Path, _flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
        Ok(Arc::new(OpenThreads { id: self.id.clone() }))
    }
}

struct OpenThreads {
    id: Arc<Pid>,
}

impl FileOps for OpenThreads {
    fn read(&self, _file: &OpenFile, _buffer: &mut IoBuffer<'_>, _offset: u64) -> Result<usize> {
        Err(Errno::ISDIR)
    }

    fn read_directory(&self, file: &OpenFile, position: u64, emit: &mut dyn FnMut(&[u8], u64, FileType, u64) -> bool) -> Result<u64> {
        let namespace = &ProcSuper::of(&file.inode.superblock)?.pid_namespace;
        let process = self.id.thread().ok_or(Errno::NOENT)?.process.clone();
        let mut threads: Vec<(u32, Arc<Pid>)> = Vec::new();
        for thread in process.threads() {
            let id = thread.pid();
            match id.number_in(namespace) {
                0 => {}
                number => threads.push((number, id)),
            }
        }
        threads.sort_by_key(|(number, _)| *number);
        let mut listing = Listing::new(file, position, emit);
        for (number, id) in threads {
            let inode_number = TaskNode::directory_number(&id, Scope::Thread);
            listing.entry_at(u64::from(number) + 2, format!("{number}").as_bytes(), inode_number, FileType::Directory);
        }
        Ok(listing.position)
    }
}
