//! `unshare(2)`, `setns(2)`, and the new namespaces of `clone(2)`.

use crate::errno::{Errno, Result};
use crate::fs::FsContext;
use crate::fs::mount;
use crate::ipc::{self, IpcNamespace};
use crate::net::NetworkNamespace;
use crate::task::cgroup::CgroupNamespace;
use crate::task::credentials::securebits;
use crate::task::namespace_count::NamespaceCount;
use crate::task::namespaces::{Kind, NamespaceHandle};
use crate::task::pid::PidNamespace;
use crate::task::{Capabilities, Credentials, Namespaces, Thread, UserNamespace, current};
use crate::time::vdso;
use alloc::sync::Arc;
use linux_raw_sys::general as sys;

/// The credentials of a thread that enters a user namespace of its own making: all capabilities there, none outside.
pub(in crate::task) fn in_new_user_namespace(old: &Credentials, thread: &Thread) -> Result<Arc<Credentials>> {
    // A chroot must not be left by means of the new namespace.
    if mount::enter_place(&thread.namespaces().mount)? != thread.fs().root() {
        return Err(Errno::PERM);
    }
    let namespace = UserNamespace::new_below(old)?;
    Ok(Arc::new(entered(old, namespace)))
}

fn entered(old: &Credentials, namespace: Arc<UserNamespace>) -> Credentials {
    Credentials {
        securebits: securebits::DEFAULT,
        inheritable: Capabilities::empty(),
        permitted: Capabilities::all(),
        effective: Capabilities::all(),
        bounding: Capabilities::all(),
        ambient: Capabilities::empty(),
        user_namespace: namespace,
        ..old.clone()
    }
}

/// New namespaces of the kinds in `flags`, the others as in `old`. `credentials` are those that will own them; `fs` is what moves into a
/// new mount namespace. `EPERM` without `CAP_SYS_ADMIN`.
pub(in crate::task) fn copy_namespaces(
    old: &Arc<Namespaces>,
    flags: u32,
    credentials: &Arc<Credentials>,
    fs: &FsContext,
    thread: &Thread,
) -> Result<Arc<Namespaces>> {
    let owner = &credentials.user_namespace;
    if !credentials.capable_in(Capabilities::SYS_ADMIN, owner) {
        return Err(Errno::PERM);
    }
    let has = |kind: Kind| flags & kind.clone_flag() != 0;
    let count = |kind: Kind| NamespaceCount::take(kind, owner, credentials.effective_uid);
    let ipc = if has(Kind::Ipc) { Arc::new(IpcNamespace::new(owner.clone(), Some(count(Kind::Ipc)?))) } else { old.ipc.clone() };
    let uts = if has(Kind::Uts) { old.uts.copy(owner.clone(), count(Kind::Uts)?) } else { old.uts.clone() };
    let pid_for_children = if has(Kind::Pid) {
        // Only below the namespace that the thread itself is in.
        if !Arc::ptr_eq(&old.pid_for_children, thread.pid().namespace()) {
            return Err(Errno::INVAL);
        }
        PidNamespace::new_below(&old.pid_for_children, owner.clone(), credentials.effective_uid)?
    } else {
        old.pid_for_children.clone()
    };
    let time_for_children = match has(Kind::Time) {
        true => old.time.copy(owner.clone(), count(Kind::Time)?),
        false => old.time_for_children.clone(),
    };
    let network = if has(Kind::Network) { NetworkNamespace::new(owner.clone(), count(Kind::Network)?) } else { old.network.clone() };
    let cgroup = if has(Kind::Cgroup) {
        Arc::new(CgroupNamespace::new(owner.clone(), thread.cgroup(), count(Kind::Cgroup)?))
    } else {
        old.cgroup.clone()
    };
    let mount = if has(Kind::Mount) { mount::make_copy(&old.mount, owner.clone(), fs)? } else { old.mount.clone() };
    Ok(Arc::new(Namespaces { mount, uts, ipc, network, cgroup, time: old.time.clone(), time_for_children, pid_for_children }))
}

const NAMESPACES: u32 = sys::CLONE_NEWNS
    | sys::CLONE_NEWCGROUP
    | sys::CLONE_NEWUTS
    | sys::CLONE_NEWIPC
    | sys::CLONE_NEWPID
    | sys::CLONE_NEWNET
    | sys::CLONE_NEWTIME;
const KNOWN: u32 = NAMESPACES
    | sys::CLONE_NEWUSER
    | sys::CLONE_FS
    | sys::CLONE_FILES
    | sys::CLONE_SYSVSEM
    | sys::CLONE_THREAD
    | sys::CLONE_VM
    | sys::CLONE_SIGHAND;

/// `unshare(2)`.
pub fn unshare(flags: u64) -> Result<()> {
    let mut flags = u32::try_from(flags).map_err(|_| Errno::INVAL)?;
    if flags & !KNOWN != 0 {
        return Err(Errno::INVAL);
    }
    if flags & sys::CLONE_NEWUSER != 0 {
        flags |= sys::CLONE_THREAD | sys::CLONE_FS;
    }
    if flags & sys::CLONE_NEWNS != 0 {
        flags |= sys::CLONE_FS;
    }
    let thread = current();
    let needs_single_thread = flags & (sys::CLONE_THREAD | sys::CLONE_SIGHAND | sys::CLONE_VM) != 0;
    let shares_memory = flags & sys::CLONE_VM != 0 && thread.process.shares_memory();
    let shares_handlers = flags & sys::CLONE_SIGHAND != 0 && Arc::strong_count(&thread.process.signal_actions()) > 2;
    if needs_single_thread && thread.process.threads().len() > 1 || shares_memory || shares_handlers {
        return Err(Errno::INVAL);
    }
    let credentials = thread.credentials();
    let new_credentials = if flags & sys::CLONE_NEWUSER != 0 { Some(in_new_user_namespace(&credentials, &thread)?) } else { None };
    let shares_fs = Arc::strong_count(&thread.fs()) > 2;
    let fs = if flags & sys::CLONE_FS != 0 && shares_fs { thread.fs().duplicate() } else { thread.fs() };
    let files =
        if flags & sys::CLONE_FILES != 0 && Arc::strong_count(&thread.files()) > 2 { Some(thread.files().duplicate()?) } else { None };
    let namespaces = if flags & NAMESPACES != 0 {
        let owner = new_credentials.as_ref().unwrap_or(&credentials);
        Some(copy_namespaces(&thread.namespaces(), flags & NAMESPACES, owner, &fs, &thread)?)
    } else {
        None
    };
    drop(thread.replace_fs(Some(fs)));
    if files.is_some() {
        drop(thread.replace_files(files));
    }
    if flags & Kind::Ipc.clone_flag() != 0 {
        ipc::semaphores::undo_all(&thread.process, &thread.namespaces().ipc);
    }
    if namespaces.is_some() {
        drop(thread.replace_namespaces(namespaces));
    }
    if let Some(credentials) = new_credentials {
        thread.set_credentials(credentials);
    }
    Ok(())
}

/// `setns(2)` with a file of nsfs: enters `namespace`. `wanted` is the kind that the caller insists on, 0 for any.
pub fn enter(namespace: &NamespaceHandle, wanted: u32) -> Result<()> {
    if wanted != 0 && wanted != namespace.kind().clone_flag() {
        return Err(Errno::INVAL);
    }
    enter_all(core::slice::from_ref(namespace))
}

/// `setns(2)` with a pidfd: enters the namespaces of the given kinds of another process, all or none (rule N11).
pub fn enter_those_of(target: &Thread, flags: u32) -> Result<()> {
    if flags == 0 || flags & !(NAMESPACES | sys::CLONE_NEWUSER) != 0 {
        return Err(Errno::INVAL);
    }
    super::signal::permission::may_inspect(target)?;
    // The user namespace first: it may give the right to enter the others.
    let order = [Kind::User, Kind::Mount, Kind::Uts, Kind::Ipc, Kind::Pid, Kind::Cgroup, Kind::Network, Kind::Time];
    let mut all = alloc::vec::Vec::new();
    for kind in order.into_iter().filter(|kind| flags & kind.clone_flag() != 0) {
        all.push(target.namespace(kind).ok_or(Errno::SRCH)?);
    }
    enter_all(&all)
}

fn enter_all(wanted: &[NamespaceHandle]) -> Result<()> {
    let thread = current();
    let old_credentials = thread.credentials();
    let mut credentials = old_credentials.clone();
    let mut namespaces = Namespaces::clone(&thread.namespaces());
    let mut place = None;
    for handle in wanted {
        let owner = handle.owner();
        let may = |credentials: &Credentials| {
            owner.as_ref().is_some_and(|owner| credentials.capable_in(Capabilities::SYS_ADMIN, owner))
                && credentials.capable_in(Capabilities::SYS_ADMIN, &credentials.user_namespace)
        };
        match handle {
            NamespaceHandle::User(namespace) => credentials = enter_user(namespace, &credentials, &thread)?,
            NamespaceHandle::Mount(namespace) => {
                if !may(&credentials) || !credentials.capable_in(Capabilities::SYS_CHROOT, &credentials.user_namespace) {
                    return Err(Errno::PERM);
                }
                if Arc::strong_count(&thread.fs()) > 2 {
                    return Err(Errno::INVAL);
                }
                place = Some(mount::enter_place(namespace)?);
                namespaces.mount = namespace.clone();
            }
            NamespaceHandle::Pid(namespace) => {
                if !may(&credentials) {
                    return Err(Errno::PERM);
                }
                // Only the own one and those below it, so that parents always see their children.
                if !namespace.is_within(thread.pid().namespace()) {
                    return Err(Errno::INVAL);
                }
                namespaces.pid_for_children = namespace.clone();
            }
            _ if !may(&credentials) => return Err(Errno::PERM),
            NamespaceHandle::Uts(namespace) => namespaces.uts = namespace.clone(),
            NamespaceHandle::Cgroup(namespace) => namespaces.cgroup = namespace.clone(),
            NamespaceHandle::Network(namespace) => namespaces.network = namespace.clone(),
            NamespaceHandle::Time(namespace) => {
                if thread.process.threads().len() > 1 {
                    return Err(Errno::USERS);
                }
                namespace.freeze();
                if let Some(space) = thread.process.address_space() {
                    vdso::enter(&space, namespace);
                }
                namespaces.time = namespace.clone();
                namespaces.time_for_children = namespace.clone();
            }
            NamespaceHandle::Ipc(namespace) => {
                ipc::semaphores::undo_all(&thread.process, &namespaces.ipc);
                namespaces.ipc = namespace.clone();
            }
        }
    }
    drop(thread.replace_namespaces(Some(Arc::new(namespaces))));
    if let Some(place) = place {
        let fs = thread.fs();
        fs.set_root(place.clone());
        fs.set_working_directory(place);
    }
    if !Arc::ptr_eq(&credentials, &old_credentials) {
        thread.set_credentials(credentials);
    }
    Ok(())
}

/// The own user namespace cannot be entered again, threads and shared roots forbid it (`setns(2)`).
fn enter_user(namespace: &Arc<UserNamespace>, credentials: &Credentials, thread: &Thread) -> Result<Arc<Credentials>> {
    let alone = thread.process.threads().len() == 1 && Arc::strong_count(&thread.fs()) <= 2;
    if Arc::ptr_eq(namespace, &credentials.user_namespace) || !alone {
        return Err(Errno::INVAL);
    }
    if !credentials.capable_in(Capabilities::SYS_ADMIN, namespace) {
        return Err(Errno::PERM);
    }
    Ok(Arc::new(entered(credentials, namespace.clone())))
}
