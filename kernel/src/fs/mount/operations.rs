//! `mount(2)`, `umount2(2)` and `pivot_root(2)` around graft: the order of checks that is not topology, and what the kernel does besides.

use super::{KernelVfs, change, current_namespace, forest, is_mount_root, pin, place, refused};
use crate::errno::{Errno, Result};
use crate::fs::options::Collected;
use crate::fs::path::FsContext;
use crate::fs::superblock::{ActiveSuperBlock, FileSystemType, MountRequest};
use crate::fs::walk::{self, LookupFlags};
use crate::fs::{Path, SuperBlock, registry};
use crate::task::{Capabilities, Credentials, mount_users};
use alloc::{string::ToString, sync::Arc, vec::Vec};
use core::sync::atomic::Ordering;
use graft::flags::{MountFlags, PropagationType, UmountFlags};
use graft::{Caller, NewMount, RemountFlags, UmountOutcome};
use linux_raw_sys::general as sys;

/// The upper half of the flags that old programs pass, and its mask (F4).
const MAGIC: u64 = sys::MS_MGC_VAL as u64;
const MAGIC_MASK: u64 = sys::MS_MGC_MSK as u64;
/// Superblock flags that `mount(2)` sets (F6).
const SUPERBLOCK_FLAGS: u32 = sys::MS_RDONLY
    | sys::MS_SYNCHRONOUS
    | sys::MS_MANDLOCK
    | sys::MS_DIRSYNC
    | sys::MS_SILENT
    | sys::MS_POSIXACL
    | sys::MS_LAZYTIME
    | sys::MS_I_VERSION;
/// Superblock flags that a remount may change (M4).
pub const REMOUNT_FLAGS: u32 = sys::MS_RDONLY | sys::MS_SYNCHRONOUS | sys::MS_MANDLOCK | sys::MS_LAZYTIME | sys::MS_I_VERSION;
const PROPAGATION: u32 = sys::MS_SHARED | sys::MS_PRIVATE | sys::MS_SLAVE | sys::MS_UNBINDABLE;

/// Runs `operation` as the current thread.
pub fn as_caller<T>(operation: impl FnOnce(&Caller<'_, KernelVfs>) -> T) -> T {
    let thread = crate::task::current();
    let (root, credentials) = (thread.fs().root(), thread.credentials());
    let root_place = place(&root);
    operation(&Caller { namespace: current_namespace(), root: &root_place, credentials: &credentials })
}

/// Whether the current thread may change its mount namespace at all (F4): `EPERM`.
pub fn require_admin(call: &'static str) -> Result<()> {
    as_caller(|caller| forest().read().require_admin(caller)).map_err(refused(call))
}

/// The arguments of `mount(2)`, copied from the program.
pub struct MountCall {
    /// `None` for NULL.
    pub source: Option<Vec<u8>>,
    /// Where.
    pub target: Vec<u8>,
    /// `None` for NULL.
    pub file_system: Option<Vec<u8>>,
    /// `MS_*`.
    pub flags: u64,
    /// At most a page; empty for NULL.
    pub data: Vec<u8>,
}

/// `mount(2)` (rules F3 to F5).
pub fn mount(call: &MountCall) -> Result<()> {
    let target = walk::lookup(sys::AT_FDCWD, &call.target, LookupFlags::FOLLOW)?;
    let flags = if call.flags & MAGIC_MASK == MAGIC { call.flags & !MAGIC_MASK } else { call.flags };
    // MS_NOUSER; the bits above 32 mean nothing.
    let flags = flags as u32;
    if flags & (1 << 31) != 0 {
        return Err(Errno::INVAL);
    }
    require_admin("mount")?;
    let has = |flag| flags & flag != 0;
    let result = if has(sys::MS_REMOUNT) && has(sys::MS_BIND) {
        remount_bind(&target, flags)
    } else if has(sys::MS_REMOUNT) {
        remount(&target, flags, &call.data)
    } else if has(sys::MS_BIND) {
        bind(call.source.as_deref(), &target, has(sys::MS_REC))
    } else if has(PROPAGATION) {
        change_type(&target, flags)
    } else if has(sys::MS_MOVE) {
        move_by_name(call.source.as_deref(), &target)
    } else {
        new_mount(call, &target, flags)
    };
    result.inspect_err(|error| {
        let (source, target) = (call.source.as_deref().unwrap_or(b"(null)").escape_ascii(), call.target.escape_ascii());
        log::debug!("mount(\"{source}\", \"{target}\", flags {flags:#x}): {error:?}");
    })
}

/// Per-mount flags of `mount(2)` (F6); relatime unless something else is asked for.
fn mount_flags(flags: u32) -> MountFlags {
    let mut mount_flags = if flags & sys::MS_NOATIME == 0 { MountFlags::RELATIME } else { MountFlags::empty() };
    let pairs = [
        (sys::MS_NOSUID, MountFlags::NOSUID),
        (sys::MS_NODEV, MountFlags::NODEV),
        (sys::MS_NOEXEC, MountFlags::NOEXEC),
        (sys::MS_NOATIME, MountFlags::NOATIME),
        (sys::MS_NODIRATIME, MountFlags::NODIRATIME),
        (sys::MS_RDONLY, MountFlags::RDONLY),
        (sys::MS_NOSYMFOLLOW, MountFlags::NOSYMFOLLOW),
    ];
    for (bit, flag) in pairs {
        mount_flags.set(flag, mount_flags.contains(flag) || flags & bit != 0);
    }
    if flags & sys::MS_STRICTATIME != 0 {
        mount_flags.remove(MountFlags::RELATIME | MountFlags::NOATIME);
    }
    mount_flags
}

/// Per-mount flags of a remount, and whether the atime bits stay (M3).
fn remount_flags(flags: u32) -> RemountFlags {
    let atime = sys::MS_NOATIME | sys::MS_NODIRATIME | sys::MS_RELATIME | sys::MS_STRICTATIME;
    RemountFlags { flags: mount_flags(flags), keeps_atime: flags & atime == 0 }
}

/// A new mount of a filesystem (rules F7 to F12).
fn new_mount(call: &MountCall, target: &Path, flags: u32) -> Result<()> {
    let name = call.file_system.as_deref().ok_or(Errno::INVAL)?;
    let name = core::str::from_utf8(name).map_err(|_| Errno::NODEV)?;
    let (file_system, subtype) = registry::find(name)?;
    let collected = Collected::from_data(file_system, &call.data)?;
    let credentials = crate::task::current().credentials();
    let request = MountRequest {
        source: call.source.clone(),
        flags: collected.apply_to(flags & SUPERBLOCK_FLAGS),
        options: collected.options,
        subtype: subtype.map(ToString::to_string),
        credentials,
        exclusive: false,
    };
    let superblock = make_superblock(file_system, &request)?;
    let new = new_mount_of(superblock, call.source.as_deref(), mount_flags(flags))?;
    let at = place(target);
    as_caller(|caller| change(|forest| forest.new_mount(caller, &new, &at))).map(drop).map_err(refused("mount"))
}

/// Whether somebody may mount a type: those that are not for user namespaces need `CAP_SYS_ADMIN` in the first one (rules F7 and N13).
/// `EPERM`.
pub fn require_mountable(file_system: &dyn FileSystemType, credentials: &Credentials) -> Result<()> {
    let allowed = if file_system.user_mountable() {
        credentials.capable_in(Capabilities::SYS_ADMIN, &credentials.user_namespace)
    } else {
        credentials.capable(Capabilities::SYS_ADMIN)
    };
    if allowed { Ok(()) } else { Err(Errno::PERM) }
}

/// Makes a superblock, or finds one (O17), if the caller may.
pub fn make_superblock(file_system: &'static dyn FileSystemType, request: &MountRequest) -> Result<ActiveSuperBlock> {
    require_mountable(file_system, &request.credentials)?;
    let superblock = file_system.get_tree(request)?;
    if request.exclusive && superblock.is_active() {
        return Err(Errno::BUSY);
    }
    Ok(ActiveSuperBlock::new(superblock))
}

/// A mount of a whole superblock, for graft.
pub fn new_mount_of(superblock: ActiveSuperBlock, source: Option<&[u8]>, flags: MountFlags) -> Result<NewMount<KernelVfs>> {
    let root = superblock.superblock().file_system.top(superblock.superblock())?;
    Ok(NewMount { superblock, root, source: source.map(Arc::from), flags })
}

/// `MS_BIND` (B).
fn bind(source: Option<&[u8]>, target: &Path, recursive: bool) -> Result<()> {
    let source = source.filter(|source| !source.is_empty()).ok_or(Errno::INVAL)?;
    let source = walk::lookup(sys::AT_FDCWD, source, LookupFlags::FOLLOW)?;
    let (from, to) = (place(&source), place(target));
    as_caller(|caller| change(|forest| forest.bind(caller, &from, &to, recursive))).map(drop).map_err(refused("bind"))
}

/// `MS_MOVE` (V).
fn move_by_name(source: Option<&[u8]>, target: &Path) -> Result<()> {
    let source = source.filter(|source| !source.is_empty()).ok_or(Errno::INVAL)?;
    let source = walk::lookup(sys::AT_FDCWD, source, LookupFlags::FOLLOW)?;
    move_mount(&source, target, false)
}

/// Moves a mount, or attaches a detached tree (V, A7, A9).
pub fn move_mount(source: &Path, target: &Path, beneath: bool) -> Result<()> {
    let (from, to) = (place(source), place(target));
    let released = as_caller(|caller| change(|forest| forest.move_mount(caller, &from, &to, beneath)));
    released.map(drop).map_err(refused("move"))
}

/// The propagation types (C): exactly one, with `MS_REC` and `MS_SILENT` at most besides.
fn change_type(target: &Path, flags: u32) -> Result<()> {
    // C1: the place comes first.
    if !is_mount_root(target) {
        return Err(Errno::INVAL);
    }
    let propagation = propagation_type(flags & !(sys::MS_REC | sys::MS_SILENT)).ok_or(Errno::INVAL)?;
    let at = place(target);
    let recursive = flags & sys::MS_REC != 0;
    as_caller(|caller| change(|forest| forest.change_type(caller, &at, propagation, recursive))).map_err(refused("mount"))
}

/// The one propagation type that `bits` are.
pub fn propagation_type(bits: u32) -> Option<PropagationType> {
    Some(match bits {
        sys::MS_SHARED => PropagationType::Shared,
        sys::MS_PRIVATE => PropagationType::Private,
        sys::MS_SLAVE => PropagationType::Slave,
        sys::MS_UNBINDABLE => PropagationType::Unbindable,
        _ => return None,
    })
}

/// `MS_REMOUNT|MS_BIND` (M1).
fn remount_bind(target: &Path, flags: u32) -> Result<()> {
    let at = place(target);
    as_caller(|caller| change(|forest| forest.remount_bind(caller, &at, remount_flags(flags)))).map_err(refused("remount"))
}

/// `MS_REMOUNT` (M4).
fn remount(target: &Path, flags: u32, data: &[u8]) -> Result<()> {
    let at = place(target);
    let wanted = remount_flags(flags);
    as_caller(|caller| forest().read().check_remount(caller, &at, wanted)).map_err(refused("remount"))?;
    let superblock = super::superblock(target.mount()).ok_or(Errno::INVAL)?;
    let collected = Collected::from_remount_data(superblock.file_system, data)?;
    let flags = collected.apply_to(flags & SUPERBLOCK_FLAGS);
    reconfigure(&superblock, flags, REMOUNT_FLAGS, &collected)?;
    change(|forest| forest.commit_remount(&at, wanted));
    Ok(())
}

/// Changes a superblock (M4): the flags in `mask` become those of `flags`.
pub fn reconfigure(superblock: &Arc<SuperBlock>, flags: u32, mask: u32, collected: &Collected) -> Result<()> {
    let credentials = crate::task::current().credentials();
    if !credentials.capable_in(Capabilities::SYS_ADMIN, &superblock.owner) {
        return Err(Errno::PERM);
    }
    let old = superblock.flags.load(Ordering::Relaxed);
    let new = (old & !mask) | (flags & mask);
    let becomes_read_only = old & sys::MS_RDONLY == 0 && new & sys::MS_RDONLY != 0;
    if becomes_read_only && has_writers(superblock) {
        return Err(Errno::BUSY);
    }
    superblock.ops.reconfigure(superblock, new, &collected.options)?;
    superblock.flags.store(new, Ordering::Relaxed);
    Ok(())
}

/// Whether files of a superblock are open for writing through any mount, or were unlinked while open (M4).
fn has_writers(superblock: &Arc<SuperBlock>) -> bool {
    let active = ActiveSuperBlock::new(superblock.clone());
    let open_for_writing = forest().read().superblock_has_writers(&active);
    open_for_writing || superblock.unlinked_open.load(Ordering::Relaxed) != 0
}

/// The flags of `umount2(2)`: `EINVAL` for unknown ones (U1).
pub fn check_umount_flags(flags: u32) -> Result<()> {
    UmountFlags::from_bits(flags).map(|_| ()).ok_or(Errno::INVAL)
}

/// `umount2(2)` (U).
pub fn umount(name: &[u8], flags: u32) -> Result<()> {
    let flags = UmountFlags::from_bits(flags).ok_or(Errno::INVAL)?;
    let follow = if flags.contains(UmountFlags::NOFOLLOW) { LookupFlags::empty() } else { LookupFlags::FOLLOW };
    // L3: one crossing at the end, also for `.`.
    let target = super::raised_to_top(walk::lookup(sys::AT_FDCWD, name, follow)?);
    let result = umount_found(&target, flags);
    target.release_without_use();
    result.inspect_err(|error| log::debug!("umount2(\"{}\", {flags:?}): {error:?}", name.escape_ascii()))
}

fn umount_found(target: &Path, flags: UmountFlags) -> Result<()> {
    let at = place(target);
    let outcome = as_caller(|caller| {
        forest().read().check_umount(caller, &at, flags)?;
        if flags.contains(UmountFlags::FORCE)
            && let Some(superblock) = super::superblock(target.mount())
        {
            superblock.ops.abort();
        }
        // The one pin is that of `target`.
        change(|forest| forest.umount(caller, &at, flags, 1))
    });
    if let Err(refusal) = &outcome
        && refusal.rule == graft::Rule::UmountBusy
        && log::log_enabled!(log::Level::Debug)
    {
        mount_users::users_of(target.mount()).iter().for_each(|used| log::debug!("busy: {used}"));
    }
    match outcome.map_err(refused("umount2"))? {
        UmountOutcome::Unmounted(released) => drop(released),
        UmountOutcome::RemountRootReadOnly(active) => {
            let superblock = active.superblock();
            if !superblock.is_read_only() {
                let flags = superblock.flags.load(Ordering::Relaxed) | sys::MS_RDONLY;
                reconfigure(superblock, flags, REMOUNT_FLAGS, &Collected::default())?;
            }
        }
    }
    Ok(())
}

/// `pivot_root(2)` (R).
pub fn pivot_root(new_root: &[u8], put_old: &[u8]) -> Result<()> {
    require_admin("pivot_root")?;
    let directory = LookupFlags::FOLLOW | LookupFlags::DIRECTORY;
    let new_path = walk::lookup(sys::AT_FDCWD, new_root, directory)?;
    let old_path = walk::lookup(sys::AT_FDCWD, put_old, directory)?;
    let (new_place, old_place) = (place(&new_path), place(&old_path));
    let pivot = as_caller(|caller| change(|forest| forest.pivot_root(caller, &new_place, &old_place))).map_err(|refusal| {
        log::debug!("pivot_root(\"{}\", \"{}\") refused: {refusal}", new_root.escape_ascii(), put_old.escape_ascii());
        Errno::from_code(refusal.errno.number())
    })?;
    pin(pivot.new_root.mount);
    let new_root = Path::from_pinned(pivot.new_root.mount, pivot.new_root.dentry.clone());
    // R4: every root and working directory that is exactly the old root.
    FsContext::replace_everywhere((pivot.old_root.mount, &pivot.old_root.dentry), &new_root);
    drop(pivot.released);
    Ok(())
}

/// `chroot(2)`: a directory that the caller may search, and `CAP_SYS_CHROOT`.
pub fn change_root(name: &[u8]) -> Result<()> {
    let place = walk::lookup(sys::AT_FDCWD, name, LookupFlags::FOLLOW | LookupFlags::DIRECTORY)?;
    let thread = crate::task::current();
    let credentials: Arc<Credentials> = thread.credentials();
    let inode = place.inode().ok_or(Errno::NOENT)?;
    let access = crate::fs::permission::Access::EXECUTE | crate::fs::permission::Access::ASKING;
    crate::fs::permission::check(&inode, &credentials, access)?;
    if !credentials.capable_in(Capabilities::SYS_CHROOT, &credentials.user_namespace) {
        return Err(Errno::PERM);
    }
    thread.fs().set_root(place);
    Ok(())
}
