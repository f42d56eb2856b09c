//! The dentry cache: names, and which inode each leads to.
//!
//! Who keeps what alive: a dentry holds its parent, a directory's `children` hold nothing. What nobody uses would so be forgotten at
//! once; the [`RECENT`] ring keeps the last [`RECENT_DENTRIES`] dentries that were made, positive and negative, and thereby bounds the
//! cache. Filesystems that live in memory keep their names in their inodes, not here.

use crate::errno::{Errno, Result};
use crate::fs::{FileType, Inode, SuperBlock, inotify};
use crate::sync::{RwLock, SpinLock};
use alloc::{
    sync::{Arc, Weak},
    vec::Vec,
};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use hashbrown::HashMap;

/// Dentries that the cache keeps though nobody uses them: enough for who lists a directory of some ten thousand files and looks at each,
/// also through a file system of a program, which has as many below it; at less than 1 KiB each.
const RECENT_DENTRIES: usize = 32768;

/// The last dentries that were made, each in the slot that its key gives.
static RECENT: SpinLock<[Option<Arc<Dentry>>; RECENT_DENTRIES]> = SpinLock::new([const { None }; RECENT_DENTRIES]);

/// Written while a dentry changes its place, read while a path is put together or ancestors are compared.
static RENAME: RwLock<()> = RwLock::new(());

static NEXT_KEY: AtomicU64 = AtomicU64::new(1);

/// A name in a superblock's tree. Negative while it has no inode. Moves with `rename`.
pub struct Dentry {
    /// Unique for the life of the kernel: graft's key for the dentry.
    pub key: u64,
    /// The filesystem instance.
    pub superblock: Weak<SuperBlock>,
    pub(in crate::fs) place: SpinLock<DentryPlace>,
    pub(in crate::fs) inode: SpinLock<Option<Arc<Inode>>>,
    pub(in crate::fs) children: SpinLock<HashMap<Vec<u8>, Weak<Dentry>>>,
    /// Removed from its directory.
    pub(in crate::fs) unhashed: AtomicBool,
    /// Not 0 while mounts (in any namespace) sit on it; 0 lets the walk skip graft.
    pub mounted: AtomicU32,
    /// Until when the filesystem's answer holds, in nanoseconds of the monotonic clock: for filesystems whose
    /// [`SuperBlockOps::revalidate`](crate::fs::superblock::SuperBlockOps::revalidate) asks for it.
    pub valid_until_ns: AtomicU64,
}

pub(in crate::fs) struct DentryPlace {
    pub parent: Option<Arc<Dentry>>,
    pub name: Vec<u8>,
}

impl Dentry {
    fn make(superblock: &Arc<SuperBlock>, parent: Option<Arc<Dentry>>, name: Vec<u8>, inode: Option<Arc<Inode>>) -> Self {
        Self {
            key: NEXT_KEY.fetch_add(1, Ordering::Relaxed),
            superblock: Arc::downgrade(superblock),
            place: SpinLock::new(DentryPlace { parent, name }),
            inode: SpinLock::new(inode),
            children: SpinLock::new(HashMap::new()),
            unhashed: AtomicBool::new(false),
            mounted: AtomicU32::new(0),
            valid_until_ns: AtomicU64::new(0),
        }
    }

    /// A dentry without a parent: the top of a superblock, or what stands for a file that never had a name (pipes, sockets).
    pub fn new_root(superblock: &Arc<SuperBlock>, inode: Arc<Inode>, name: &[u8]) -> Arc<Self> {
        Arc::new(Self::make(superblock, None, name.to_vec(), Some(inode)))
    }

    /// The dentry of a file in `directory` whose name was never there or is gone already (`O_TMPFILE`).
    pub fn new_unlinked(superblock: &Arc<SuperBlock>, directory: &Arc<Dentry>, inode: Arc<Inode>, name: Vec<u8>) -> Arc<Self> {
        let dentry = Self::make(superblock, Some(directory.clone()), name, Some(inode));
        dentry.unhashed.store(true, Ordering::Relaxed);
        Arc::new(dentry)
    }

    /// Enters `name` below `self`; without an inode the dentry is negative. The caller holds the directory's lock and has seen that
    /// [`Self::cached_child`] has nothing. `keep`: the cache may keep it when nobody uses it.
    pub(in crate::fs) fn add_child(
        self: &Arc<Self>,
        superblock: &Arc<SuperBlock>,
        name: &[u8],
        inode: Option<Arc<Inode>>,
        keep: bool,
    ) -> Arc<Self> {
        let child = Arc::new(Self::make(superblock, Some(self.clone()), name.to_vec(), inode));
        self.children.lock().insert(name.to_vec(), Arc::downgrade(&child));
        if keep {
            superblock.kept_dentries.fetch_add(1, Ordering::Relaxed);
            let pushed_out = RECENT.lock()[slot_of(child.key)].replace(child.clone());
            if let Some(dentry) = pushed_out {
                dentry.count_out_of_recent();
            }
        }
        child
    }

    /// The dentry of `name`, if one is cached.
    pub fn cached_child(&self, name: &[u8]) -> Option<Arc<Self>> {
        self.children.lock().get(name).and_then(Weak::upgrade)
    }

    /// The inode; `None` for a negative dentry.
    pub fn inode(&self) -> Option<Arc<Inode>> {
        self.inode.lock().clone()
    }

    /// Whether it leads to a directory.
    pub fn is_directory(&self) -> bool {
        self.inode.lock().as_ref().is_some_and(|inode| inode.file_type == FileType::Directory)
    }

    /// Makes a negative dentry positive: its file was made.
    pub(in crate::fs) fn instantiate(&self, inode: Arc<Inode>) {
        let old = self.inode.lock().replace(inode);
        drop(old);
    }

    /// The directory it is in; `None` for the root of the superblock.
    pub fn parent(&self) -> Option<Arc<Dentry>> {
        self.place.lock().parent.clone()
    }

    /// Its name now.
    pub fn name(&self) -> Vec<u8> {
        self.place.lock().name.clone()
    }

    /// Whether its own name was taken away.
    pub fn is_unhashed(&self) -> bool {
        self.unhashed.load(Ordering::Relaxed)
    }

    /// Whether its name or that of a directory above was taken away (L19).
    pub fn is_unlinked(&self) -> bool {
        let _names = RENAME.read();
        self.any_upwards(|dentry| dentry.is_unhashed())
    }

    /// A directory that a program says lies here may not be this one or one above: `ELOOP`. The locks of directories rely on it.
    pub(in crate::fs) fn require_no_loop(&self, found: &Arc<Inode>) -> Result<()> {
        let _names = RENAME.read();
        let is_above = self.any_upwards(|dentry| dentry.inode.lock().as_ref().is_some_and(|inode| Arc::ptr_eq(inode, found)));
        if is_above { Err(Errno::LOOP) } else { Ok(()) }
    }

    /// Whether it is `ancestor` or lies below it.
    pub fn is_below(&self, ancestor: &Dentry) -> bool {
        let _names = RENAME.read();
        self.any_upwards(|dentry| dentry.key == ancestor.key)
    }

    /// Whether anything from here up to the root satisfies `test`. The caller holds [`RENAME`], so the chain stays as it is and stays
    /// alive: each dentry holds its parent.
    fn any_upwards(&self, test: impl Fn(&Dentry) -> bool) -> bool {
        if test(self) {
            return true;
        }
        let mut next = self.parent();
        while let Some(dentry) = next {
            if test(&dentry) {
                return true;
            }
            next = dentry.parent();
        }
        false
    }

    /// Calls `visit` with each name from here up to `ancestor`, deepest first, without the ancestor's own; without an ancestor up to
    /// the superblock's root. Returns whether the ancestor (or the root) was reached.
    pub fn visit_names(&self, ancestor: Option<&Dentry>, visit: &mut dyn FnMut(&[u8])) -> bool {
        let _names = RENAME.read();
        let is_end = |dentry: &Dentry| ancestor.is_some_and(|ancestor| ancestor.key == dentry.key);
        if is_end(self) {
            return true;
        }
        let mut next = {
            let place = self.place.lock();
            if place.parent.is_some() {
                visit(&place.name);
            }
            place.parent.clone()
        };
        while let Some(dentry) = next {
            if is_end(&dentry) {
                return true;
            }
            let place = dentry.place.lock();
            if place.parent.is_some() {
                visit(&place.name);
            }
            next = place.parent.clone();
        }
        ancestor.is_none()
    }

    /// Takes the name away: the file was removed, or the cache found it stale. Who holds the dentry still reaches the inode.
    pub(in crate::fs) fn unhash(self: &Arc<Self>) {
        let names = RENAME.write();
        self.unhashed.store(true, Ordering::Relaxed);
        let (parent, name) = {
            let place = self.place.lock();
            (place.parent.clone(), place.name.clone())
        };
        if let Some(parent) = parent {
            forget_child(&parent, &name, Arc::as_ptr(self));
        }
        drop(names);
        self.leave_recent();
        // What is still cached below a removed directory is negative, and would keep the directory's inode.
        let children: Vec<Arc<Dentry>> = self.children.lock().values().filter_map(Weak::upgrade).collect();
        children.iter().for_each(Self::leave_recent);
    }

    /// Takes the dentry out of the ring, so that an unlinked file is freed with its last user.
    fn leave_recent(self: &Arc<Self>) {
        let kept = {
            let mut recent = RECENT.lock();
            let slot = &mut recent[slot_of(self.key)];
            if slot.as_ref().is_some_and(|kept| Arc::ptr_eq(kept, self)) { slot.take() } else { None }
        };
        if let Some(dentry) = kept {
            dentry.count_out_of_recent();
        }
    }

    /// The ring has let go of it. No lock is held: this may be its end.
    fn count_out_of_recent(self: Arc<Self>) {
        if let Some(superblock) = self.superblock.upgrade() {
            superblock.kept_dentries.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Moves the dentry to `name` below `directory`, pushing out what the cache has there (`rename(2)`: the victim was unhashed).
    pub(in crate::fs) fn rename_to(self: &Arc<Self>, directory: &Arc<Dentry>, name: &[u8]) {
        let names = RENAME.write();
        let old_parent = self.move_to(directory, name);
        drop(names);
        drop(old_parent);
    }

    /// Lets two dentries change places (`RENAME_EXCHANGE`).
    pub(in crate::fs) fn exchange(self: &Arc<Self>, other: &Arc<Self>) {
        let names = RENAME.write();
        let (Some(own_parent), Some(other_parent)) = (self.parent(), other.parent()) else { return };
        let (own_name, other_name) = (self.name(), other.name());
        let first = self.move_to(&other_parent, &other_name);
        let second = other.move_to(&own_parent, &own_name);
        drop(names);
        drop((first, second));
    }

    fn move_to(self: &Arc<Self>, directory: &Arc<Dentry>, name: &[u8]) -> Option<Arc<Dentry>> {
        let (old_parent, old_name) = {
            let mut place = self.place.lock();
            (place.parent.replace(directory.clone()), core::mem::replace(&mut place.name, name.to_vec()))
        };
        if let Some(old_parent) = &old_parent {
            forget_child(old_parent, &old_name, Arc::as_ptr(self));
        }
        directory.children.lock().insert(name.to_vec(), Arc::downgrade(self));
        old_parent
    }

    /// Leaves the parent's table; gives back the parent, whose last user this may have been.
    fn detach(&mut self) -> Option<Arc<Dentry>> {
        let own = core::ptr::from_ref::<Self>(self);
        let place = self.place.get_mut();
        let parent = place.parent.take()?;
        forget_child(&parent, &place.name, own);
        Some(parent)
    }
}

/// Takes `name` out of the table if it still leads to `child`.
fn forget_child(parent: &Dentry, name: &[u8], child: *const Dentry) {
    let mut children = parent.children.lock();
    if children.get(name).is_some_and(|weak| weak.as_ptr() == child) {
        children.remove(name);
    }
}

fn slot_of(key: u64) -> usize {
    (key % RECENT_DENTRIES as u64) as usize
}

/// Lets go of every dentry of `superblock` that only the cache kept: it shuts down, or its names are not to be trusted any more.
pub fn forget_superblock(superblock: &Arc<SuperBlock>) {
    let is_its = |slot: &Option<Arc<Dentry>>| slot.as_ref().is_some_and(|kept| kept.superblock.as_ptr() == Arc::as_ptr(superblock));
    // From the newest back: what is mounted for a moment has its dentries there.
    let newest = NEXT_KEY.load(Ordering::Relaxed);
    let mut age = 0;
    while age < RECENT_DENTRIES as u64 && superblock.kept_dentries.load(Ordering::Relaxed) != 0 {
        let taken = {
            let mut recent = RECENT.lock();
            let found = (age..RECENT_DENTRIES as u64).find(|age| is_its(&recent[slot_of(newest.wrapping_sub(*age))]));
            age = found.map_or(RECENT_DENTRIES as u64, |age| age + 1);
            found.and_then(|age| recent[slot_of(newest.wrapping_sub(age))].take())
        };
        if let Some(dentry) = taken {
            dentry.count_out_of_recent();
        }
    }
}

/// Lets go of every dentry that only the cache kept.
pub fn forget_unused() {
    for index in 0..RECENT_DENTRIES {
        let taken = RECENT.lock()[index].take();
        if let Some(dentry) = taken {
            dentry.count_out_of_recent();
        }
    }
}

impl Drop for Dentry {
    /// A deep tree's last leaf takes its whole line of ancestors along: one after the other, not one inside the other.
    fn drop(&mut self) {
        let unhashed = *self.unhashed.get_mut();
        if let Some(inode) = self.inode.get_mut().take()
            && unhashed
            && inode.attributes.lock().links == 0
        {
            inotify::deleted(&inode);
        }
        let mut next = self.detach();
        while let Some(dentry) = next {
            next = Arc::into_inner(dentry).and_then(|mut last| last.detach());
        }
    }
}
