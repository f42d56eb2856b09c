//! What exec does to credentials: set-user-id and set-group-id files, file capabilities, the ambient set (`capabilities(7)`,
//! "Transformation of capabilities during execve()").

use super::program::Program;
use crate::errno::{Errno, Result};
use crate::fs::file_capabilities::{self, FileCapabilities};
use crate::fs::mount;
use crate::fs::permission::{GROUP_EXECUTE, SET_GID, SET_UID};
use crate::task::credentials::securebits;
use crate::task::{Capabilities, Credentials, UserNamespace};
use alloc::sync::Arc;
use graft::flags::MountFlags;

/// The credentials after exec, and what came of it.
pub struct Outcome {
    /// The new credentials.
    pub credentials: Credentials,
    /// Privileges were gained (`AT_SECURE`).
    pub secure: bool,
    /// Ids changed: the process is not dumpable, and its parent's death signal is cleared.
    pub changed_ids: bool,
}

/// Works out the credentials for running `program`.
pub fn transform(program: &Program, old: &Credentials) -> Result<Outcome> {
    let mut new = old.clone();
    let honours = honours_privileges(program, old);
    if honours {
        apply_set_ids(program, &mut new)?;
    }
    new.saved_uid = new.effective_uid;
    new.filesystem_uid = new.effective_uid;
    new.saved_gid = new.effective_gid;
    new.filesystem_gid = new.effective_gid;
    let file = if honours { file_capabilities::of(&program.executable.file.inode, &new)? } else { None };
    let has_file_capabilities = file.is_some();
    let changed_ids = new.effective_uid != old.effective_uid || new.effective_gid != old.effective_gid;
    apply_capabilities(&mut new, old, file, changed_ids)?;
    new.securebits &= !securebits::KEEP_CAPS;
    new.keyrings = old.keyrings.after_exec();
    let root = new.user_namespace.uid_to_global(0);
    let gained = !old.permitted.contains(new.permitted) && (has_file_capabilities || root == Some(new.effective_uid));
    let secure = new.uid != new.effective_uid
        || new.gid != new.effective_gid
        || (root != Some(new.uid) && (new.effective.difference(new.ambient) != Capabilities::empty() || gained));
    Ok(Outcome { credentials: new, secure, changed_ids })
}

/// `nosuid` mounts, `no_new_privs` and filesystems of foreign user namespaces give no privileges.
fn honours_privileges(program: &Program, credentials: &Credentials) -> bool {
    let path = &program.executable.file.path;
    let nosuid = mount::flags(path.mount()).contains(MountFlags::NOSUID);
    let owner: Option<Arc<UserNamespace>> = mount::superblock(path.mount()).map(|superblock| superblock.owner.clone());
    let in_reach = owner.is_none_or(|owner| credentials.user_namespace.is_within(&owner));
    !nosuid && !credentials.no_new_privileges && in_reach
}

fn apply_set_ids(program: &Program, new: &mut Credentials) -> Result<()> {
    let inode = &program.executable.file.inode;
    let attributes = inode.ops.attributes(inode)?;
    let namespace = &new.user_namespace;
    // Ids that the namespace does not know cannot be taken on.
    let known = namespace.uid_from_global(attributes.uid).is_some() && namespace.gid_from_global(attributes.gid).is_some();
    if !known {
        return Ok(());
    }
    if attributes.mode & SET_UID != 0 {
        new.effective_uid = attributes.uid;
    }
    // Without group execution the bit once meant mandatory locking.
    if attributes.mode & (SET_GID | GROUP_EXECUTE) == SET_GID | GROUP_EXECUTE {
        new.effective_gid = attributes.gid;
    }
    Ok(())
}

fn apply_capabilities(new: &mut Credentials, old: &Credentials, file: Option<FileCapabilities>, changed_ids: bool) -> Result<()> {
    let root = new.user_namespace.uid_to_global(0);
    let is_root = |id: u32| root == Some(id);
    let honours_root = old.securebits & securebits::NOROOT == 0;
    let has_file = file.is_some();
    let mut file = file.unwrap_or_default();
    // A set-uid-root file with capabilities gives a user just those; otherwise root's files have all.
    let only_file = has_file && !is_root(new.uid) && is_root(new.effective_uid);
    if honours_root && !only_file {
        if is_root(new.uid) || is_root(new.effective_uid) {
            file.permitted = Capabilities::all();
            file.inheritable = Capabilities::all();
        }
        if is_root(new.effective_uid) {
            file.effective = true;
        }
    }
    if has_file || changed_ids {
        new.ambient = Capabilities::empty();
    }
    let granted = (file.permitted & old.bounding) | (file.inheritable & old.inheritable);
    if has_file && file.effective && !granted.contains(file.permitted) && !is_root(new.effective_uid) {
        // A program that knows nothing of capabilities must not run with a part of them.
        return Err(Errno::PERM);
    }
    // With no_new_privs not even root's programs give more than the process had (prctl(2), PR_SET_NO_NEW_PRIVS).
    let granted = if old.no_new_privileges { granted & old.permitted } else { granted };
    new.permitted = granted | new.ambient;
    new.effective = if file.effective { new.permitted } else { new.ambient };
    Ok(())
}
