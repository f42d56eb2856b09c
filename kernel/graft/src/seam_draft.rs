//! Signatures of operations whose bodies follow.
#![allow(missing_docs)]
use crate::caller::{Caller, NewMount, Place};
use crate::flags::*;
use crate::forest::Forest;
use crate::ids::*;
use crate::refusal::Refusal;
use crate::released::Released;
use crate::seam::*;

/// What umount2 asks of the kernel besides.
pub enum UmountOutcome<V: Vfs> {
    /// Done (U6).
    Unmounted(Released<V>),
    /// The caller's root mount, without MNT_DETACH: the kernel remounts this superblock read-only instead (U4): EBUSY if there
    /// are writers; success if already read-only.
    RemountRootReadOnly(V::Superblock),
}

/// A detached tree (O13): the kernel opens an O_PATH file on its root, which it pins, and on the last close calls
/// [`Forest::dissolve`] with the root.
pub struct DetachedTree {
    pub root: MountId,
    pub namespace: NamespaceId,
}

/// A new namespace, and where the caller's root and working directory are in it (N6).
pub struct NamespaceCopy {
    /// Comes pinned once.
    pub namespace: NamespaceId,
    /// The copies of the mounts asked for, same dentries; `None` where the mount was not copied (N6: the place stays).
    pub copies: [Option<MountId>; 2],
}

/// What a remount asks of one mount's flags (M2, M3).
pub struct RemountFlags {
    pub flags: MountFlags,
    /// No atime flag was given: the atime bits stay (M3).
    pub keep_atime: bool,
}

/// mount_setattr's request, decoded (A19 to A22).
pub struct AttributeChange<V: Vfs> {
    pub set: MountFlags,
    pub clear: MountFlags,
    pub propagation: Option<PropagationType>,
    pub idmap: Option<V::IdMap>,
}

/// pivot_root's outcome: each task whose root or cwd is exactly `old_root` gets `new_root` (R4).
pub struct Pivot<V: Vfs> {
    pub old_root: Place<V>,
    pub new_root: Place<V>,
    pub released: Released<V>,
}

impl<V: Vfs> Forest<V> {
    /// mount(2) of a filesystem, N12 included (F7 from the N12 check on, F9 to F14, P). The target is as looked up; raising to the
    /// top of the stack is done here.
    pub fn new_mount(
        &mut self,
        _: &Caller<'_, V>,
        _: &NewMount<V>,
        _target: &Place<V>,
    ) -> Result<MountId, Refusal> {
        todo!()
    }
    /// MS_BIND (B).
    pub fn bind(
        &mut self,
        _: &Caller<'_, V>,
        _source: &Place<V>,
        _target: &Place<V>,
        _recursive: bool,
    ) -> Result<MountId, Refusal> {
        todo!()
    }
    /// MS_MOVE, and move_mount(2) without SET_GROUP (V, A7, A9). The source may be the root of a detached tree.
    pub fn move_mount(
        &mut self,
        _: &Caller<'_, V>,
        _source: &Place<V>,
        _target: &Place<V>,
        _beneath: bool,
    ) -> Result<Released<V>, Refusal> {
        todo!()
    }
    /// MOVE_MOUNT_SET_GROUP (A8).
    pub fn set_group(
        &mut self,
        _: &Caller<'_, V>,
        _from: &Place<V>,
        _to: &Place<V>,
    ) -> Result<(), Refusal> {
        todo!()
    }
    /// MS_SHARED and so on (C).
    pub fn change_type(
        &mut self,
        _: &Caller<'_, V>,
        _target: &Place<V>,
        _: PropagationType,
        _recursive: bool,
    ) -> Result<(), Refusal> {
        todo!()
    }
    /// umount2, from the checks on the found mount on (U). `held`: how many of the target mount's pins are the call's own.
    pub fn umount(
        &mut self,
        _: &Caller<'_, V>,
        _target: &Place<V>,
        _: UmountFlags,
        _held: u32,
    ) -> Result<UmountOutcome<V>, Refusal> {
        todo!()
    }
    /// The checks of umount that precede MNT_FORCE's abort hook (U1, U3).
    pub fn check_umount(
        &self,
        _: &Caller<'_, V>,
        _target: &Place<V>,
        _: UmountFlags,
    ) -> Result<(), Refusal> {
        todo!()
    }
    /// pivot_root (R).
    pub fn pivot_root(
        &mut self,
        _: &Caller<'_, V>,
        _new_root: &Place<V>,
        _put_old: &Place<V>,
    ) -> Result<Pivot<V>, Refusal> {
        todo!()
    }
    /// CLONE_NEWNS (N1 to N7). `root`/`cwd` mounts to translate.
    pub fn copy_namespace(
        &mut self,
        _namespace: NamespaceId,
        _owner: &V::UserNamespace,
        _translate: [MountId; 2],
    ) -> Result<NamespaceCopy, Refusal> {
        todo!()
    }
    /// Where setns puts root and cwd (N10): the top of the stack at the namespace's root mount.
    pub fn namespace_entry(&self, _namespace: NamespaceId) -> Option<Place<V>> {
        todo!()
    }
    /// The part of setns' rights that the forest knows (N10): CAP_SYS_ADMIN over the namespace's owner.
    pub fn may_enter(
        &self,
        _credentials: &V::Credentials,
        _namespace: NamespaceId,
    ) -> Result<(), Refusal> {
        todo!()
    }
    /// Ends a namespace without pins (N9).
    pub fn release_namespace(&mut self, _namespace: NamespaceId) -> Released<V> {
        todo!()
    }
    /// Unmounts everything on a dentry that was removed or replaced, in all namespaces (L17).
    pub fn detach_mounts(&mut self, _dentry: &V::Dentry) -> Released<V> {
        todo!()
    }
    /// MS_REMOUNT|MS_BIND (M1 to M3).
    pub fn remount_bind(
        &mut self,
        _: &Caller<'_, V>,
        _target: &Place<V>,
        _: RemountFlags,
    ) -> Result<(), Refusal> {
        todo!()
    }
    /// MS_REMOUNT, first checks (M1, K6). Then the kernel parses options and changes the superblock (M4), then `commit_remount`.
    pub fn check_remount(
        &self,
        _: &Caller<'_, V>,
        _target: &Place<V>,
        _: &RemountFlags,
    ) -> Result<(), Refusal> {
        todo!()
    }
    /// MS_REMOUNT, after the superblock changed: the mount's flags and the event (M4, M7).
    pub fn commit_remount(&mut self, _target: &Place<V>, _: RemountFlags) {
        todo!()
    }
    /// open_tree(OPEN_TREE_CLONE) (A2).
    pub fn open_tree(
        &mut self,
        _: &Caller<'_, V>,
        _source: &Place<V>,
        _recursive: bool,
    ) -> Result<DetachedTree, Refusal> {
        todo!()
    }
    /// fsmount (A17), N12 included.
    pub fn fsmount(&mut self, _: &Caller<'_, V>, _: &NewMount<V>) -> Result<DetachedTree, Refusal> {
        todo!()
    }
    /// The last close of a detached tree's file (A5). Does nothing if the tree was attached.
    pub fn dissolve(&mut self, _root: MountId) -> Released<V> {
        todo!()
    }
    /// mount_setattr (A19 to A22).
    pub fn set_attributes(
        &mut self,
        _: &Caller<'_, V>,
        _target: &Place<V>,
        _: &AttributeChange<V>,
        _recursive: bool,
    ) -> Result<Released<V>, Refusal> {
        todo!()
    }
    /// A path as seen from a root, appended (L8). `false`: not reachable; then the path up to where the walk ended.
    pub fn write_path(
        &self,
        _place: &Place<V>,
        _root: &Place<V>,
        _sink: &mut dyn Sink,
    ) -> Result<bool, OutOfMemory> {
        todo!()
    }
}
