//! `/proc/sys/net`: the settings of the network namespace of whoever looks. What there is stands in `net::settings`.

use crate::errno::{Errno, Result};
use crate::fs::generated::{Content, GeneratedFile, Listing, make_inode};
use crate::fs::inode::AttributeChange;
use crate::fs::{Attributes, FileOps, FileType, Inode, InodeOps, OpenFile, OpenFlags, Path, SuperBlock};
use crate::mm::IoBuffer;
use crate::net::settings::{self, SETTINGS, Setting};
use crate::net::{self, NetworkNamespace};
use crate::task::{Capabilities, Credentials};
use alloc::{sync::Arc, vec::Vec};

/// The directory `net` itself.
pub(in crate::fs::procfs) fn directory() -> Arc<dyn InodeOps> {
    Arc::new(Directory { prefix: "" })
}

/// Where the inode numbers begin, above those of tasks.
const NUMBER: u64 = 1 << 57;

/// A directory: all settings whose path begins with `prefix`, which is empty or ends with a slash.
struct Directory {
    prefix: &'static str,
}

/// A name in a directory: where the settings behind it begin in the table, and the setting if it is a file.
struct Child {
    name: &'static str,
    index: usize,
    file: Option<&'static Setting>,
}

impl Child {
    fn number(&self, prefix: &str) -> u64 {
        // Directories at the same place of the table differ in depth.
        NUMBER | (prefix.len() as u64) << 32 | self.index as u64
    }

    fn file_type(&self) -> FileType {
        if self.file.is_some() { FileType::Regular } else { FileType::Directory }
    }
}

impl Directory {
    fn children(&self, namespace: &NetworkNamespace) -> Vec<Child> {
        let mut children: Vec<Child> = Vec::new();
        for (index, setting) in SETTINGS.iter().enumerate().filter(|(_, setting)| setting.is_in(namespace)) {
            let Some(rest) = setting.path.strip_prefix(self.prefix) else { continue };
            let (name, file) = match rest.split_once('/') {
                Some((name, _)) => (name, None),
                None => (rest, Some(setting)),
            };
            if children.last().is_none_or(|last| last.name != name) {
                children.push(Child { name, index, file });
            }
        }
        children
    }
}

fn inode(superblock: &Arc<SuperBlock>, child: &Child, prefix: &'static str, namespace: &Arc<NetworkNamespace>) -> Arc<Inode> {
    let number = child.number(prefix);
    match child.file {
        Some(setting) => {
            let file = SettingFile { namespace: namespace.clone(), setting };
            make_inode(superblock, number, FileType::Regular, setting.mode(), Arc::new(file))
        }
        None => {
            let path = SETTINGS[child.index].path;
            let below = &path[..prefix.len() + child.name.len() + 1];
            let inode = make_inode(superblock, number, FileType::Directory, 0o555, Arc::new(Directory { prefix: below }));
            inode.attributes.lock().links = 1;
            inode
        }
    }
}

fn refuse(change: &AttributeChange) -> Result<()> {
    let forbidden = change.mode.is_some() || change.uid.is_some() || change.gid.is_some();
    if forbidden { Err(Errno::PERM) } else { Ok(()) }
}

impl InodeOps for Directory {
    fn lookup(&self, dir: &Arc<Inode>, name: &[u8]) -> Result<Arc<Inode>> {
        let namespace = net::current();
        let child = self.children(&namespace).into_iter().find(|child| child.name.as_bytes() == name).ok_or(Errno::NOENT)?;
        Ok(inode(&dir.superblock, &child, self.prefix, &namespace))
    }

    fn set_attributes(&self, _inode: &Arc<Inode>, change: &AttributeChange) -> Result<()> {
        refuse(change)
    }

    fn permission(&self, _inode: &Inode, _credentials: &Credentials, mask: u32) -> Option<Result<()>> {
        Some(if mask & linux_raw_sys::general::W_OK == 0 { Ok(()) } else { Err(Errno::ACCES) })
    }

    fn open(&self, _inode: &Arc<Inode>, _path: &Path, _flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
        Ok(Arc::new(OpenDirectory { prefix: self.prefix }))
    }
}

struct OpenDirectory {
    prefix: &'static str,
}

impl FileOps for OpenDirectory {
    fn read(&self, _file: &OpenFile, _buffer: &mut IoBuffer<'_>, _offset: u64) -> Result<usize> {
        Err(Errno::ISDIR)
    }

    fn read_directory(&self, file: &OpenFile, position: u64, emit: &mut dyn FnMut(&[u8], u64, FileType, u64) -> bool) -> Result<u64> {
        let mut listing = Listing::new(file, position, emit);
        for child in (Directory { prefix: self.prefix }).children(&net::current()) {
            listing.entry(child.name.as_bytes(), child.number(self.prefix), child.file_type());
        }
        Ok(listing.position)
    }
}

/// A setting of the namespace that the looker was in.
pub(in crate::fs::procfs) struct SettingFile {
    namespace: Arc<NetworkNamespace>,
    setting: &'static Setting,
}

impl SettingFile {
    /// Whether whoever looks now is in the same namespace.
    pub(in crate::fs::procfs) fn is_current(&self) -> bool {
        crate::task::current().try_namespaces().is_some_and(|all| Arc::ptr_eq(&all.network, &self.namespace))
    }
}

impl InodeOps for SettingFile {
    /// It belongs to the root of the user namespace that owns the network namespace.
    fn attributes(&self, inode: &Inode) -> Result<Attributes> {
        let mut attributes = inode.attributes.lock().clone();
        attributes.uid = self.namespace.owner.uid_to_global(0).unwrap_or(0);
        attributes.gid = self.namespace.owner.gid_to_global(0).unwrap_or(0);
        Ok(attributes)
    }

    fn set_attributes(&self, _inode: &Arc<Inode>, change: &AttributeChange) -> Result<()> {
        refuse(change)
    }

    /// The owner's bits are for the owning root, and for whoever may administer the network.
    fn permission(&self, inode: &Inode, credentials: &Credentials, mask: u32) -> Option<Result<()>> {
        let owner = &self.namespace.owner;
        let mode = inode.attributes.lock().mode;
        let is_root = owner.uid_to_global(0) == Some(credentials.effective_uid);
        let bits = match () {
            () if is_root || credentials.capable_in(Capabilities::NET_ADMIN, owner) => mode >> 6,
            () if owner.gid_to_global(0).is_some_and(|gid| credentials.in_effective_group(gid)) => mode >> 3,
            () => mode,
        };
        Some(if mask & !bits & 7 == 0 { Ok(()) } else { Err(Errno::ACCES) })
    }

    fn open(&self, _inode: &Arc<Inode>, _path: &Path, _flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
        Ok(GeneratedFile::open(Arc::new(SettingContent { namespace: self.namespace.clone(), setting: self.setting })))
    }
}

struct SettingContent {
    namespace: Arc<NetworkNamespace>,
    setting: &'static Setting,
}

impl Content for SettingContent {
    fn generate(&self, _file: &OpenFile) -> Result<Vec<u8>> {
        Ok(self.namespace.settings.show(self.setting).into_bytes())
    }

    fn store(&self, _file: &OpenFile, bytes: &[u8]) -> Result<()> {
        settings::store(&self.namespace, self.setting, bytes)
    }
}
