//! The adapters beside the seam: the tracer shows what is asked, the fault injector refuses.

use std::cell::RefCell;

use graft::fault::FaultInjector;
use graft::flags::{MountFlags, SuperblockTraits};
use graft::memory_vfs::{MemoryVfs, RootIn, UserNamespace};
use graft::seam::DentryKind;
use graft::tracer::{Traced, Tracer};
use graft::{Caller, Forest, MountId, NamespaceId, NewMount, Place, Refusal, Rule, Vfs};

const ADMIN: RootIn = RootIn(UserNamespace(0));

/// A filesystem with a directory, and the forest's first namespace on it.
fn boot<V>(vfs: MemoryVfs, wrap: impl FnOnce(MemoryVfs) -> V) -> (Forest<V>, NamespaceId, Place<V>, Place<V>)
where
    V: Vfs<
            Dentry = graft::memory_vfs::DentryNumber,
            Superblock = graft::memory_vfs::SuperblockNumber,
            UserNamespace = UserNamespace,
            Credentials = RootIn,
        >,
{
    let mut vfs = vfs;
    let superblock = vfs.new_superblock_owned("tmpfs", UserNamespace(0), SuperblockTraits::empty());
    let root = vfs.root_of(superblock);
    let directory = vfs.create(root, "d", DentryKind::Directory).unwrap();
    let mut forest = Forest::new(wrap(vfs));
    let new = NewMount { superblock, root, source: None, flags: MountFlags::empty() };
    let (namespace, mount) = forest.create_namespace(&UserNamespace(0), &new).unwrap();
    (forest, namespace, Place::new(mount, root), Place::new(mount, directory))
}

#[test]
fn the_tracer_shows_every_call() {
    let shown = RefCell::new(Vec::new());
    let (mut forest, namespace, root, directory) = boot(MemoryVfs::new(), |vfs| Tracer::new(vfs, |traced| shown.borrow_mut().push(traced)));
    assert!(shown.borrow().contains(&Traced::NamespaceCharged { is_charged: true }));
    shown.borrow_mut().clear();
    let caller = Caller { namespace, root: &root, credentials: &ADMIN };
    forest.bind(&caller, &directory, &directory, false).unwrap();
    let dentry_key = forest.vfs().dentry_key(&directory.dentry);
    let shown = shown.borrow();
    assert!(shown.contains(&Traced::MountpointChanged { dentry_key, is_mountpoint: true }));
    assert!(shown.contains(&Traced::Asked("is_admin")));
    assert!(shown.iter().any(|traced| matches!(traced, Traced::Charged { .. })));
}

#[test]
fn the_fault_injector_refuses_when_told() {
    let (mut forest, namespace, root, directory) = boot(MemoryVfs::new(), FaultInjector::new);
    let bind = |forest: &mut Forest<FaultInjector<MemoryVfs>>| -> Result<MountId, Refusal> {
        let caller = Caller { namespace, root: &root, credentials: &ADMIN };
        forest.bind(&caller, &directory, &directory, false)
    };
    forest.vfs().refuse_after(0);
    let before = forest.clone();
    assert_eq!(bind(&mut forest).unwrap_err().rule, Rule::OutOfMemory);
    assert!(forest == before);
    forest.vfs().refuse_after(1);
    bind(&mut forest).unwrap();
    assert_eq!(bind(&mut forest).unwrap_err().rule, Rule::OutOfMemory);
    let copy = forest.copy_namespace(namespace, &UserNamespace(0), [root.mount; 2]);
    assert_eq!(copy.unwrap_err().rule, Rule::TooManyNamespaces);
    forest.vfs().refuse_nothing();
    bind(&mut forest).unwrap();
    forest.check_invariants().unwrap();
}
