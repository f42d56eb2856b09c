//! A tree of names in memory that implements the seam: for tests, examples and tools that have no kernel.
//!
//! Dentries and superblocks are numbers; the tree belongs to the [`MemoryVfs`], which the forest owns. That makes the whole
//! plain data: a forest over it can be cloned, and two of them compared.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::RefCell;

use crate::flags::{SuperFlags, SuperblockTraits};
use crate::seam::{DentryKind, Device, NamespaceFile, OutOfMemory, Sink, Vfs};

/// A dentry: a position in the tree of its [`MemoryVfs`]. The root of a superblock has no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DentryNumber(usize);

/// A superblock of a [`MemoryVfs`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SuperblockNumber(usize);

/// A user namespace: the initial one is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserNamespace(pub u32);

/// The credentials of root in a user namespace: admin over it, and, in the initial one, over all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RootIn(pub UserNamespace);

#[derive(Clone, Debug)]
struct Entry {
    superblock: SuperblockNumber,
    parent: Option<DentryNumber>,
    name: String,
    kind: DentryKind,
    namespace_file: NamespaceFile,
    is_permanently_empty: bool,
    is_unlinked: bool,
    children: BTreeMap<String, DentryNumber>,
}

#[derive(Clone, Debug)]
struct Superblock {
    root: DentryNumber,
    filesystem: String,
    owner: UserNamespace,
    flags: SuperFlags,
    traits: SuperblockTraits,
}

/// What the forest tells of mountpoints, and of namespaces' counts.
#[derive(Clone, Debug, Default)]
struct Told {
    mountpoints: Vec<bool>,
    namespaces: BTreeMap<UserNamespace, u32>,
}

/// Filesystems in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryVfs {
    entries: Vec<Entry>,
    superblocks: Vec<Superblock>,
    told: RefCell<Told>,
    /// `user.max_mnt_namespaces`, the same for all; `None`: no limit.
    pub max_mount_namespaces: Option<u32>,
}

impl MemoryVfs {
    /// No filesystems yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a filesystem of a type, owned by the initial user namespace, whose root is an empty directory.
    pub fn new_superblock(&mut self, filesystem: &str) -> SuperblockNumber {
        self.new_superblock_owned(filesystem, UserNamespace(0), SuperblockTraits::empty())
    }

    /// As [`new_superblock`](Self::new_superblock), with an owner and traits.
    pub fn new_superblock_owned(&mut self, filesystem: &str, owner: UserNamespace, traits: SuperblockTraits) -> SuperblockNumber {
        let number = SuperblockNumber(self.superblocks.len());
        let root = self.new_entry(number, None, "", DentryKind::Directory);
        let filesystem = filesystem.to_string();
        self.superblocks.push(Superblock { root, filesystem, owner, flags: SuperFlags::empty(), traits });
        number
    }

    /// The root dentry of a superblock.
    pub fn root_of(&self, superblock: SuperblockNumber) -> DentryNumber {
        self.superblocks[superblock.0].root
    }

    /// Sets the flags of a superblock.
    pub fn set_super_flags(&mut self, superblock: SuperblockNumber, flags: SuperFlags) {
        self.superblocks[superblock.0].flags = flags;
    }

    /// Makes a name. `None` if it is there already, or the directory was removed.
    pub fn create(&mut self, directory: DentryNumber, name: &str, kind: DentryKind) -> Option<DentryNumber> {
        if self.lookup(directory, name).is_some() || self.is_unlinked(&directory) {
            return None;
        }
        let superblock = self.entries[directory.0].superblock;
        Some(self.new_entry(superblock, Some(directory), name, kind))
    }

    /// Makes a name that is a namespace's file (N14).
    pub fn create_namespace_file(&mut self, directory: DentryNumber, name: &str, file: NamespaceFile) -> Option<DentryNumber> {
        let dentry = self.create(directory, name, DentryKind::Other)?;
        self.entries[dentry.0].namespace_file = file;
        Some(dentry)
    }

    /// Declares a directory to be one that never holds anything (N12).
    pub fn set_permanently_empty(&mut self, directory: DentryNumber) {
        self.entries[directory.0].is_permanently_empty = true;
    }

    /// The dentry of a name.
    pub fn lookup(&self, directory: DentryNumber, name: &str) -> Option<DentryNumber> {
        self.entries[directory.0].children.get(name).copied()
    }

    /// The directory that a dentry is in; `None` for the root of a superblock.
    pub fn parent_of(&self, dentry: DentryNumber) -> Option<DentryNumber> {
        self.entries[dentry.0].parent
    }

    /// Whether a directory holds nothing.
    pub fn is_empty(&self, directory: DentryNumber) -> bool {
        self.entries[directory.0].children.is_empty()
    }

    /// The names in a directory.
    pub fn names(&self, directory: DentryNumber) -> impl Iterator<Item = &str> {
        self.entries[directory.0].children.keys().map(String::as_str)
    }

    /// Removes a name. The dentry lives on, as one that was removed.
    pub fn unlink(&mut self, dentry: DentryNumber) {
        if let Some(parent) = self.entries[dentry.0].parent {
            let name = self.entries[dentry.0].name.clone();
            self.entries[parent.0].children.remove(&name);
            self.entries[dentry.0].is_unlinked = true;
        }
    }

    /// Gives a dentry another name, maybe in another directory.
    pub fn rename(&mut self, dentry: DentryNumber, directory: DentryNumber, name: &str) {
        if let Some(parent) = self.entries[dentry.0].parent {
            let old_name = core::mem::replace(&mut self.entries[dentry.0].name, name.to_string());
            self.entries[parent.0].children.remove(&old_name);
            self.entries[dentry.0].parent = Some(directory);
            self.entries[directory.0].children.insert(name.to_string(), dentry);
        }
    }

    /// Whether the forest said that mounts are on this dentry.
    pub fn is_mountpoint(&self, dentry: DentryNumber) -> bool {
        self.told.borrow().mountpoints.get(dentry.0).copied().unwrap_or(false)
    }

    /// How many mount namespaces a user namespace is charged with.
    pub fn charged_namespaces(&self, owner: UserNamespace) -> u32 {
        self.told.borrow().namespaces.get(&owner).copied().unwrap_or(0)
    }

    fn new_entry(&mut self, superblock: SuperblockNumber, parent: Option<DentryNumber>, name: &str, kind: DentryKind) -> DentryNumber {
        let number = DentryNumber(self.entries.len());
        if let Some(parent) = parent {
            self.entries[parent.0].children.insert(name.to_string(), number);
        }
        self.entries.push(Entry {
            superblock,
            parent,
            name: name.to_string(),
            kind,
            namespace_file: NamespaceFile::No,
            is_permanently_empty: false,
            is_unlinked: false,
            children: BTreeMap::new(),
        });
        self.told.borrow_mut().mountpoints.push(false);
        number
    }

    /// A dentry and its ancestors, up to the root of the superblock.
    fn way_up(&self, dentry: DentryNumber) -> impl Iterator<Item = DentryNumber> {
        core::iter::successors(Some(dentry), |&dentry| self.entries[dentry.0].parent)
    }
}

impl Vfs for MemoryVfs {
    type Dentry = DentryNumber;
    type Superblock = SuperblockNumber;
    type UserNamespace = UserNamespace;
    type Credentials = RootIn;
    type Source = Arc<[u8]>;
    type IdMap = u32;

    fn dentry_key(&self, dentry: &DentryNumber) -> u64 {
        dentry.0 as u64
    }

    fn dentry_kind(&self, dentry: &DentryNumber) -> DentryKind {
        self.entries[dentry.0].kind
    }

    fn is_unlinked(&self, dentry: &DentryNumber) -> bool {
        self.way_up(*dentry).any(|dentry| self.entries[dentry.0].is_unlinked)
    }

    fn is_below(&self, dentry: &DentryNumber, ancestor: &DentryNumber) -> bool {
        self.way_up(*dentry).any(|dentry| dentry == *ancestor)
    }

    fn visit_names(&self, dentry: &DentryNumber, ancestor: Option<&DentryNumber>, visit: &mut dyn FnMut(&[u8])) -> bool {
        for dentry in self.way_up(*dentry) {
            if Some(&dentry) == ancestor {
                return true;
            }
            let entry = &self.entries[dentry.0];
            if entry.parent.is_some() {
                visit(entry.name.as_bytes());
            }
        }
        ancestor.is_none()
    }

    fn is_superblock_root(&self, dentry: &DentryNumber) -> bool {
        self.entries[dentry.0].parent.is_none()
    }

    fn is_permanently_empty(&self, dentry: &DentryNumber) -> bool {
        self.entries[dentry.0].is_permanently_empty
    }

    fn namespace_file(&self, dentry: &DentryNumber) -> NamespaceFile {
        self.entries[dentry.0].namespace_file
    }

    fn mountpoint_changed(&self, dentry: &DentryNumber, is_mountpoint: bool) {
        if let Some(told) = self.told.borrow_mut().mountpoints.get_mut(dentry.0) {
            debug_assert_ne!(*told, is_mountpoint, "told twice the same of {dentry:?}");
            *told = is_mountpoint;
        }
    }

    fn superblock_key(&self, superblock: &SuperblockNumber) -> u64 {
        superblock.0 as u64
    }

    fn filesystem_key(&self, superblock: &SuperblockNumber) -> u64 {
        let filesystem = &self.superblocks[superblock.0].filesystem;
        let first = self.superblocks.iter().position(|other| other.filesystem == *filesystem);
        first.unwrap_or(superblock.0) as u64
    }

    fn device(&self, superblock: &SuperblockNumber) -> Device {
        Device { major: 0, minor: superblock.0 as u32 + 1 }
    }

    fn super_flags(&self, superblock: &SuperblockNumber) -> SuperFlags {
        self.superblocks[superblock.0].flags
    }

    fn superblock_traits(&self, superblock: &SuperblockNumber) -> SuperblockTraits {
        self.superblocks[superblock.0].traits
    }

    fn write_filesystem_type(&self, superblock: &SuperblockNumber, sink: &mut dyn Sink) -> Result<(), OutOfMemory> {
        sink.put(self.superblocks[superblock.0].filesystem.as_bytes())
    }

    fn is_admin(&self, credentials: &RootIn, over: &UserNamespace) -> bool {
        credentials.0 == UserNamespace(0) || credentials.0 == *over
    }

    fn is_initial_admin(&self, credentials: &RootIn) -> bool {
        credentials.0 == UserNamespace(0)
    }

    fn is_superblock_admin(&self, credentials: &RootIn, superblock: &SuperblockNumber) -> bool {
        self.is_admin(credentials, &self.superblocks[superblock.0].owner)
    }

    fn is_initial_user_namespace(&self, user_namespace: &UserNamespace) -> bool {
        *user_namespace == UserNamespace(0)
    }

    fn charge_namespace(&self, owner: &UserNamespace) -> bool {
        let mut told = self.told.borrow_mut();
        let count = told.namespaces.entry(*owner).or_default();
        let has_room = self.max_mount_namespaces.is_none_or(|limit| *count < limit);
        *count += u32::from(has_room);
        has_room
    }

    fn uncharge_namespace(&self, owner: &UserNamespace) {
        if let Some(count) = self.told.borrow_mut().namespaces.get_mut(owner) {
            *count = count.saturating_sub(1);
        }
    }
}
