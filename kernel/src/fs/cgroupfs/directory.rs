//! A group's directory: `mkdir(2)` in it makes groups, `rmdir(2)` removes them, and its files are those that go with the controllers.

use super::files;
use super::table::File;
use crate::errno::{Errno, Result};
use crate::fs::generated::{Listing, change_attributes, make_inode};
use crate::fs::inode::AttributeChange;
use crate::fs::{Attributes, FileOps, FileType, Inode, InodeOps, OpenFile, OpenFlags, Path, SuperBlock, inotify};
use crate::mm::IoBuffer;
use crate::sync::SpinLock;
use crate::task::cgroup::{Cgroup, next_id};
use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};

/// The inode of a group's directory. It keeps the inodes of its files and of the directories below, with their owners and modes.
pub struct Directory {
    /// The group.
    pub group: Arc<Cgroup>,
    /// Who made it: whom its files belong to at first.
    maker: (u32, u32),
    files: SpinLock<BTreeMap<&'static str, Arc<Inode>>>,
    children: SpinLock<BTreeMap<Vec<u8>, Arc<Inode>>>,
}

impl Directory {
    /// The directory of `group`.
    pub fn make(superblock: &Arc<SuperBlock>, group: &Arc<Cgroup>, mut attributes: Attributes) -> Arc<Inode> {
        let directory = Arc::new(Self {
            group: group.clone(),
            maker: (attributes.uid, attributes.gid),
            files: SpinLock::default(),
            children: SpinLock::default(),
        });
        attributes.links = 2;
        let inode = Inode::new(superblock, group.id, FileType::Directory, 0, attributes, directory);
        group.set_directory(&inode);
        inode
    }

    /// The inode of a file, made when first asked for. `ENOENT` if the group has no such file now.
    pub fn file(&self, inode: &Arc<Inode>, name: &str) -> Result<Arc<Inode>> {
        let file = files::find(&self.group, name).ok_or(Errno::NOENT)?;
        let mut files = self.files.lock();
        let made = files.entry(file.name).or_insert_with(|| {
            let ops = Arc::new(files::GroupFile { group: self.group.clone(), file });
            let made = make_inode(&inode.superblock, next_id(), FileType::Regular, file.mode, ops);
            let mut attributes = made.attributes.lock();
            (attributes.uid, attributes.gid) = self.maker;
            drop(attributes);
            made
        });
        Ok(made.clone())
    }

    /// The inode of a file, if anybody has asked for it before.
    pub fn known_file(&self, name: &str) -> Option<Arc<Inode>> {
        self.files.lock().get(name).cloned()
    }

    /// A file whose controller does not govern the group any more begins anew when it comes back.
    fn forget_files(&self) {
        let gone: Vec<Arc<Inode>> = {
            let mut files = self.files.lock();
            let names: Vec<&'static str> = files.keys().copied().filter(|name| files::find(&self.group, name).is_none()).collect();
            names.into_iter().filter_map(|name| files.remove(name)).collect()
        };
        drop(gone);
    }
}

fn change_links(inode: &Inode, change: i32) {
    let links = inode.attributes.lock().links;
    inode.set_links(links.saturating_add_signed(change));
}

impl InodeOps for Directory {
    fn lookup(&self, dir: &Arc<Inode>, name: &[u8]) -> Result<Arc<Inode>> {
        if let Some(child) = self.children.lock().get(name) {
            return Ok(child.clone());
        }
        self.forget_files();
        let name = core::str::from_utf8(name).map_err(|_| Errno::NOENT)?;
        self.file(dir, name)
    }

    fn make_directory(&self, dir: &Arc<Inode>, name: &[u8], attributes: Attributes) -> Result<Arc<Inode>> {
        let group = self.group.create(name)?;
        let inode = Self::make(&dir.superblock, &group, attributes);
        self.children.lock().insert(name.to_vec(), inode.clone());
        change_links(dir, 1);
        Ok(inode)
    }

    fn remove_directory(&self, dir: &Arc<Inode>, name: &[u8], target: &Arc<Inode>) -> Result<()> {
        let removed = target.downcast::<Self>().ok_or(Errno::NOTDIR)?;
        removed.group.remove()?;
        let kept = self.children.lock().remove(name);
        let files = core::mem::take(&mut *removed.files.lock());
        for file in files.values() {
            file.set_links(0);
            inotify::deleted(file);
        }
        // Nobody is left in it to be told: what polls its files finds `ENODEV`.
        removed.group.events.queue().wake_all();
        target.set_links(0);
        change_links(dir, -1);
        drop((kept, files));
        Ok(())
    }

    fn set_attributes(&self, inode: &Arc<Inode>, change: &AttributeChange) -> Result<()> {
        change_attributes(inode, change)
    }

    fn open(&self, _inode: &Arc<Inode>, _path: &Path, _flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
        Ok(Arc::new(OpenDirectory))
    }
}

/// Cookies of the groups in a listing lie behind those of the files.
const FIRST_GROUP_COOKIE: u64 = 1 << 16;

struct OpenDirectory;

impl FileOps for OpenDirectory {
    fn read(&self, _file: &OpenFile, _buffer: &mut IoBuffer<'_>, _offset: u64) -> Result<usize> {
        Err(Errno::ISDIR)
    }

    fn read_directory(&self, file: &OpenFile, position: u64, emit: &mut dyn FnMut(&[u8], u64, FileType, u64) -> bool) -> Result<u64> {
        let directory = file.inode.downcast::<Directory>().ok_or(Errno::NOTDIR)?;
        let here: Vec<&'static File> = if directory.group.is_dead() { Vec::new() } else { files::all(&directory.group).collect() };
        let mut children: Vec<(Vec<u8>, u64)> =
            directory.children.lock().iter().map(|(name, inode)| (name.clone(), inode.number)).collect();
        children.sort_by_key(|(_, number)| *number);
        let mut listing = Listing::new(file, position, emit);
        for entry in here {
            let number = directory.file(&file.inode, entry.name)?.number;
            listing.entry(entry.name.as_bytes(), number, FileType::Regular);
        }
        for (name, number) in children {
            listing.entry_at(FIRST_GROUP_COOKIE + number, &name, number, FileType::Directory);
        }
        Ok(listing.position)
    }
}
