//! Access control lists. A server that took POSIX_ACL has the kernel go by them, and what was asked for is remembered; without it the
//! lists are only handed on, and the server does what it likes with them.

use super::connection::Connection;
use super::names;
use super::node::Node;
use super::protocol::{Features, Opcode, ROOT_NODE, SETXATTR_ACL_KILL_SGID};
use crate::errno::{Errno, Result};
use crate::fs::Inode;
use crate::fs::acl::{Acl, Kind};
use crate::fs::permission;
use crate::mm::PAGE_SIZE_BYTES;
use crate::task::current;
use alloc::sync::Arc;

/// What is remembered of a node's lists.
#[derive(Default)]
pub struct KnownAcls {
    /// `None`: not asked for since they were forgotten.
    lists: [Option<Option<Arc<Acl>>>; 2],
    /// How often they were forgotten: an answer to an older question does not count.
    forgotten: u64,
}

/// Whether the server left it to the kernel to go by lists.
pub fn are_taken(connection: &Connection) -> bool {
    connection.has(Features::POSIX_ACL)
}

/// Servers without POSIX_ACL have their lists handed on only in the first user namespace: elsewhere nobody could say whose ids they have.
fn require_handed_on(node: &Node, inode: &Inode) -> Result<()> {
    if are_taken(node.connection()) || inode.superblock.owner.is_initial() { Ok(()) } else { Err(Errno::OPNOTSUPP) }
}

/// A list as programs see it.
pub fn get(node: &Node, inode: &Inode, kind: Kind) -> Result<Option<Arc<Acl>>> {
    require_handed_on(node, inode)?;
    node.require_good()?;
    // The top is there before the server says what it takes: its lists are never remembered.
    let remembers = are_taken(node.connection()) && node.number != ROOT_NODE;
    let forgotten = {
        let state = node.state.lock();
        if let Some(known) = state.acls.lists[kind as usize].as_ref().filter(|_| remembers) {
            return Ok(known.clone());
        }
        state.acls.forgotten
    };
    let acl = ask(node, inode, kind)?;
    let mut state = node.state.lock();
    if remembers && state.acls.forgotten == forgotten {
        state.acls.lists[kind as usize] = Some(acl.clone());
    }
    Ok(acl)
}

/// GETXATTR. A server that has no such thing has no lists.
fn ask(node: &Node, inode: &Inode, kind: Kind) -> Result<Option<Arc<Acl>>> {
    match names::ask_xattr(node, kind.name(), PAGE_SIZE_BYTES) {
        Ok(None) | Err(Errno::NODATA) => Ok(None),
        Ok(Some(value)) if value.is_empty() => Ok(None),
        Ok(Some(value)) => Ok(Acl::decode(&value, &inode.superblock.owner)?.map(Arc::new)),
        Err(Errno::RANGE) => Err(Errno::TOOBIG),
        Err(error) => Err(error),
    }
}

/// Hands a list on, or takes it away: the server changes the mode as it has to.
pub fn set(node: &Node, inode: &Arc<Inode>, kind: Kind, acl: Option<Arc<Acl>>) -> Result<()> {
    if node.connection().lacks(Opcode::SetXattr) {
        return Err(Errno::OPNOTSUPP);
    }
    require_handed_on(node, inode)?;
    let result = match acl {
        Some(acl) if acl.len_bytes() > PAGE_SIZE_BYTES => return Err(Errno::TOOBIG),
        Some(acl) => {
            let how = if strips_set_group_id(node, inode) { SETXATTR_ACL_KILL_SGID } else { 0 };
            names::set_xattr_so(node, inode, kind.name(), &acl.encode(&inode.superblock.owner)?, 0, how)
        }
        None => names::remove_xattr(node, inode, kind.name()),
    };
    if are_taken(node.connection()) {
        forget(node);
        node.changed_here();
    }
    result
}

/// Whether the caller may not leave the file its set-group-id bit, as far as the kernel has a say.
fn strips_set_group_id(node: &Node, inode: &Inode) -> bool {
    let attributes = inode.attributes.lock().clone();
    are_taken(node.connection()) && !permission::keeps_set_group_id(&attributes, &current().credentials())
}

/// The lists may be others now.
pub fn forget(node: &Node) {
    let old = {
        let mut state = node.state.lock();
        state.acls.forgotten += 1;
        core::mem::take(&mut state.acls.lists)
    };
    drop(old);
}
