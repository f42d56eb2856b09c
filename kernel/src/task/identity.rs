//! Changes of user and group ids (`setuid(2)` and its family, `setgroups(2)`), with what they do to capabilities.
//!
//! Ids come in as the caller's user namespace numbers them; an id without a mapping is `EINVAL`.

use crate::errno::{Errno, Result};
use crate::task::credentials::securebits;
use crate::task::{Capabilities, Credentials, current};
use alloc::{sync::Arc, vec::Vec};
use core::sync::atomic::Ordering;

/// "Leave this one alone" in the calls that set several.
const UNCHANGED: u32 = u32::MAX;
/// Most supplementary groups.
const MAX_GROUPS: usize = 65536;

/// Capabilities about files, which follow the filesystem uid (`capabilities(7)`, "Effect of user ID changes").
const FILE_CAPABILITIES: Capabilities = Capabilities::CHOWN
    .union(Capabilities::DAC_OVERRIDE)
    .union(Capabilities::DAC_READ_SEARCH)
    .union(Capabilities::FOWNER)
    .union(Capabilities::FSETID)
    .union(Capabilities::LINUX_IMMUTABLE)
    .union(Capabilities::MAC_OVERRIDE)
    .union(Capabilities::MKNOD);

fn credentials() -> Credentials {
    Credentials::clone(&current().credentials())
}

fn global_uid(credentials: &Credentials, uid: u32) -> Result<u32> {
    credentials.user_namespace.uid_to_global(uid).ok_or(Errno::INVAL)
}

fn global_gid(credentials: &Credentials, gid: u32) -> Result<u32> {
    credentials.user_namespace.gid_to_global(gid).ok_or(Errno::INVAL)
}

fn has(credentials: &Credentials, capability: Capabilities) -> bool {
    credentials.capable_in(capability, &credentials.user_namespace)
}

/// Puts new credentials in place. After a change of effective ids the process is not dumpable, and its parent's death signal is off.
fn commit(new: Credentials) {
    let thread = current();
    let old = thread.credentials();
    let changed = old.effective_uid != new.effective_uid
        || old.effective_gid != new.effective_gid
        || old.filesystem_uid != new.filesystem_uid
        || old.filesystem_gid != new.filesystem_gid
        || !old.permitted.contains(new.permitted);
    if changed {
        thread.process.dumpable.store(0, Ordering::Relaxed);
        thread.parent_death_signal.store(0, Ordering::Relaxed);
    }
    thread.set_credentials(Arc::new(new));
}

/// What a change of uids does to the sets.
fn fix_capabilities(old: &Credentials, new: &mut Credentials) {
    if old.securebits & securebits::NO_SETUID_FIXUP != 0 {
        return;
    }
    let root = new.user_namespace.uid_to_global(0);
    let any_root = |c: &Credentials| [c.uid, c.effective_uid, c.saved_uid].iter().any(|id| Some(*id) == root);
    if any_root(old) && !any_root(new) {
        if old.securebits & securebits::KEEP_CAPS == 0 {
            new.permitted = Capabilities::empty();
            new.effective = Capabilities::empty();
        }
        new.ambient = Capabilities::empty();
    }
    let is_root = |id: u32| Some(id) == root;
    if is_root(old.effective_uid) && !is_root(new.effective_uid) {
        new.effective = Capabilities::empty();
    }
    if !is_root(old.effective_uid) && is_root(new.effective_uid) {
        new.effective = new.permitted;
    }
}

/// `setuid(2)`.
pub fn set_uid(uid: u32) -> Result<()> {
    let old = credentials();
    let uid = global_uid(&old, uid)?;
    let mut new = old.clone();
    if has(&old, Capabilities::SETUID) {
        (new.uid, new.saved_uid) = (uid, uid);
    } else if uid != old.uid && uid != old.saved_uid {
        return Err(Errno::PERM);
    }
    (new.effective_uid, new.filesystem_uid) = (uid, uid);
    fix_capabilities(&old, &mut new);
    commit(new);
    Ok(())
}

/// `setgid(2)`.
pub fn set_gid(gid: u32) -> Result<()> {
    let old = credentials();
    let gid = global_gid(&old, gid)?;
    let mut new = old.clone();
    if has(&old, Capabilities::SETGID) {
        (new.gid, new.saved_gid) = (gid, gid);
    } else if gid != old.gid && gid != old.saved_gid {
        return Err(Errno::PERM);
    }
    (new.effective_gid, new.filesystem_gid) = (gid, gid);
    commit(new);
    Ok(())
}

fn optional(id: u32, global: impl FnOnce(u32) -> Result<u32>) -> Result<Option<u32>> {
    if id == UNCHANGED { Ok(None) } else { global(id).map(Some) }
}

/// `setreuid(2)`.
pub fn set_real_effective_uid(real: u32, effective: u32) -> Result<()> {
    let old = credentials();
    let (real, effective) = (optional(real, |id| global_uid(&old, id))?, optional(effective, |id| global_uid(&old, id))?);
    let mut new = old.clone();
    let privileged = has(&old, Capabilities::SETUID);
    if let Some(real) = real {
        if ![old.uid, old.effective_uid].contains(&real) && !privileged {
            return Err(Errno::PERM);
        }
        new.uid = real;
    }
    if let Some(effective) = effective {
        if ![old.uid, old.effective_uid, old.saved_uid].contains(&effective) && !privileged {
            return Err(Errno::PERM);
        }
        new.effective_uid = effective;
    }
    if real.is_some() || effective.is_some_and(|effective| effective != old.uid) {
        new.saved_uid = new.effective_uid;
    }
    new.filesystem_uid = new.effective_uid;
    fix_capabilities(&old, &mut new);
    commit(new);
    Ok(())
}

/// `setregid(2)`.
pub fn set_real_effective_gid(real: u32, effective: u32) -> Result<()> {
    let old = credentials();
    let (real, effective) = (optional(real, |id| global_gid(&old, id))?, optional(effective, |id| global_gid(&old, id))?);
    let mut new = old.clone();
    let privileged = has(&old, Capabilities::SETGID);
    if let Some(real) = real {
        if ![old.gid, old.effective_gid].contains(&real) && !privileged {
            return Err(Errno::PERM);
        }
        new.gid = real;
    }
    if let Some(effective) = effective {
        if ![old.gid, old.effective_gid, old.saved_gid].contains(&effective) && !privileged {
            return Err(Errno::PERM);
        }
        new.effective_gid = effective;
    }
    if real.is_some() || effective.is_some_and(|effective| effective != old.gid) {
        new.saved_gid = new.effective_gid;
    }
    new.filesystem_gid = new.effective_gid;
    commit(new);
    Ok(())
}

/// `setresuid(2)`: real, effective, saved.
pub fn set_all_uids(ids: [u32; 3]) -> Result<()> {
    let old = credentials();
    let mut wanted = [None; 3];
    for (slot, id) in wanted.iter_mut().zip(ids) {
        *slot = optional(id, |id| global_uid(&old, id))?;
    }
    let known = [old.uid, old.effective_uid, old.saved_uid];
    if wanted.iter().flatten().any(|id| !known.contains(id)) && !has(&old, Capabilities::SETUID) {
        return Err(Errno::PERM);
    }
    let mut new = old.clone();
    new.uid = wanted[0].unwrap_or(old.uid);
    new.effective_uid = wanted[1].unwrap_or(old.effective_uid);
    new.saved_uid = wanted[2].unwrap_or(old.saved_uid);
    new.filesystem_uid = new.effective_uid;
    fix_capabilities(&old, &mut new);
    commit(new);
    Ok(())
}

/// `setresgid(2)`: real, effective, saved.
pub fn set_all_gids(ids: [u32; 3]) -> Result<()> {
    let old = credentials();
    let mut wanted = [None; 3];
    for (slot, id) in wanted.iter_mut().zip(ids) {
        *slot = optional(id, |id| global_gid(&old, id))?;
    }
    let known = [old.gid, old.effective_gid, old.saved_gid];
    if wanted.iter().flatten().any(|id| !known.contains(id)) && !has(&old, Capabilities::SETGID) {
        return Err(Errno::PERM);
    }
    let mut new = old.clone();
    new.gid = wanted[0].unwrap_or(old.gid);
    new.effective_gid = wanted[1].unwrap_or(old.effective_gid);
    new.saved_gid = wanted[2].unwrap_or(old.saved_gid);
    new.filesystem_gid = new.effective_gid;
    commit(new);
    Ok(())
}

/// `setfsuid(2)`: the one before, whether it worked or not.
pub fn set_filesystem_uid(uid: u32) -> u32 {
    let old = credentials();
    let before = old.user_namespace.shown_uid(old.filesystem_uid);
    let Ok(uid) = global_uid(&old, uid) else { return before };
    let known = [old.uid, old.effective_uid, old.saved_uid, old.filesystem_uid];
    if !known.contains(&uid) && !has(&old, Capabilities::SETUID) {
        return before;
    }
    let mut new = old.clone();
    new.filesystem_uid = uid;
    let root = new.user_namespace.uid_to_global(0);
    if old.securebits & securebits::NO_SETUID_FIXUP == 0 {
        if Some(old.filesystem_uid) == root && Some(uid) != root {
            new.effective &= !FILE_CAPABILITIES;
        }
        if Some(old.filesystem_uid) != root && Some(uid) == root {
            new.effective |= new.permitted & FILE_CAPABILITIES;
        }
    }
    commit(new);
    before
}

/// `setfsgid(2)`, likewise.
pub fn set_filesystem_gid(gid: u32) -> u32 {
    let old = credentials();
    let before = old.user_namespace.shown_gid(old.filesystem_gid);
    let Ok(gid) = global_gid(&old, gid) else { return before };
    let known = [old.gid, old.effective_gid, old.saved_gid, old.filesystem_gid];
    if known.contains(&gid) || has(&old, Capabilities::SETGID) {
        commit(Credentials { filesystem_gid: gid, ..old });
    }
    before
}

/// Whether the caller may call `setgroups(2)` at all, and with that many.
pub fn may_set_groups(count: u64) -> Result<()> {
    let old = credentials();
    if !has(&old, Capabilities::SETGID) || !old.user_namespace.may_setgroups() {
        return Err(Errno::PERM);
    }
    if count > MAX_GROUPS as u64 { Err(Errno::INVAL) } else { Ok(()) }
}

/// `setgroups(2)`, after [`may_set_groups`].
pub fn set_groups(groups: Vec<u32>) -> Result<()> {
    let mut new = credentials();
    let mut global = Vec::new();
    for gid in groups {
        global.push(global_gid(&new, gid)?);
    }
    global.sort_unstable();
    new.groups = global;
    current().set_credentials(Arc::new(new));
    Ok(())
}
