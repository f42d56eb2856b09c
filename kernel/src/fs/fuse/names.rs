//! What is asked about nodes and names: lookup, making and removing, links, attributes, extended attributes, access.

use super::acl;
use super::attributes;
use super::file;
use super::handle::Handle;
use super::mount::Instance;
use super::node::Node;
use super::protocol::{
    AttributesAnswer, Entry, Features, Fields, Message, NodeAttributes, OPEN_KILL_SUIDGID, Opcode, set_attributes as bits,
};
use super::request::Question;
use super::writeback;
use crate::errno::{Errno, Result};
use crate::fs::inode::{AttributeChange, MadeFile, Timestamp};
use crate::fs::names::umask;
use crate::fs::permission::Access;
use crate::fs::{Attributes, Dentry, FileOps, FileType, Inode, OpenFlags, xattr};
use crate::task::user_namespace::OVERFLOW_ID;
use crate::task::{Capabilities, UserNamespace, current};
use crate::time::clock;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

/// Longest text of a symbolic link that is taken.
const MAX_LINK_BYTES: usize = 4095;
const NS_PER_S: i128 = 1_000_000_000;

/// The server's attributes as the kernel keeps them; ids are meant in the mount's user namespace.
pub fn to_attributes(answered: &NodeAttributes, owner: &UserNamespace) -> Attributes {
    Attributes {
        mode: answered.mode & 0o7777,
        uid: owner.uid_to_global(answered.uid).unwrap_or(OVERFLOW_ID),
        gid: owner.gid_to_global(answered.gid).unwrap_or(OVERFLOW_ID),
        links: answered.links,
        size_bytes: answered.size,
        blocks: answered.blocks,
        accessed: answered.time(0),
        modified: answered.time(1),
        changed: answered.time(2),
        created: None,
        block_size_bytes: answered.block_size_bytes.checked_ilog2().map_or(0, |power| 1 << power),
    }
}

fn valid_until_ns(lifetime_ns: u64) -> u64 {
    clock::monotonic_ns().saturating_add(lifetime_ns)
}

/// LOOKUP: the entry, `None` for a name that is known not to be there.
pub fn ask_entry(instance: &Instance, directory: u64, name: &[u8]) -> Result<(Entry, u64)> {
    let asked_at_ns = clock::monotonic_ns();
    let minor = instance.connection.settings().minor;
    let question = Question::new(Opcode::Lookup, directory, Message::default().name(name));
    let answer = instance.connection.call(question.answer(Entry::len_bytes(minor)))?;
    Ok((Entry::take(&mut Fields(&answer), minor), asked_at_ns))
}

/// Finds a name.
pub fn lookup(node: &Node, dir: &Arc<Inode>, name: &[u8]) -> Result<Arc<Inode>> {
    node.require_good()?;
    node.state.lock().answered = None;
    let (entry, asked_at_ns) = ask_entry(&node.instance, node.number, name)?;
    let until_ns = valid_until_ns(entry.entry_lifetime_ns);
    if entry.node == 0 {
        // Not there, and so for a while.
        node.state.lock().answered = Some((until_ns, None));
        return Err(Errno::NOENT);
    }
    let inode = node.instance.inode_of(&dir.superblock, &entry, asked_at_ns)?;
    let mut state = node.state.lock();
    state.looked_up = true;
    state.answered = Some((until_ns, None));
    Ok(inode)
}

/// Whether a cached name still leads where it did: within its lifetime without asking.
pub fn still_holds(instance: &Arc<Instance>, dentry: &Arc<Dentry>) -> bool {
    let inode = dentry.inode();
    let node = inode.as_ref().and_then(|inode| inode.downcast::<Node>());
    if node.is_some_and(|node| node.require_good().is_err()) {
        return false;
    }
    if clock::monotonic_ns() < dentry.valid_until_ns.load(Ordering::Relaxed) {
        return true;
    }
    let Some(parent) = dentry.parent().and_then(|parent| parent.inode()) else { return true };
    let (Some(inode), Some(node), Some(directory)) = (&inode, node, parent.downcast::<Node>()) else { return false };
    let Ok((entry, asked_at_ns)) = ask_entry(instance, directory.number, &dentry.name()) else { return false };
    if entry.node == 0 {
        return false;
    }
    let same = entry.node == node.number
        && entry.generation == node.generation
        && entry.attributes.mode & 0o170_000 == inode.file_type.mode_bits()
        && i64::try_from(entry.attributes.size).is_ok();
    if !same {
        instance.connection.forget(entry.node, 1);
        return false;
    }
    node.count_lookup();
    acl::forget(node);
    node.update(inode, &entry.attributes, entry.attributes_lifetime_ns, asked_at_ns);
    dentry.valid_until_ns.store(valid_until_ns(entry.entry_lifetime_ns), Ordering::Relaxed);
    directory.state.lock().looked_up = true;
    true
}

/// Asks for a new file; what comes back must be one of the right kind. The rest of the answer is given too.
fn ask_new(node: &Node, dir: &Arc<Inode>, question: Question, file_type: FileType, extra_bytes: usize) -> Result<(Arc<Inode>, Vec<u8>)> {
    node.require_good()?;
    let asked_at_ns = clock::monotonic_ns();
    let minor = node.connection().settings().minor;
    let question = match group_to_tell(node, dir) {
        Some(group) if question.opcode != Opcode::Link => question.with_group(group),
        _ => question,
    };
    let answer = node.connection().call(question.answer(Entry::len_bytes(minor) + extra_bytes))?;
    let mut fields = Fields(&answer);
    let entry = Entry::take(&mut fields, minor);
    let wrong_kind = entry.attributes.mode & 0o170_000 != file_type.mode_bits();
    if entry.node == 0 || wrong_kind {
        log::warn!("fuse: a new {file_type:?} was answered with node {} of mode {:o}", entry.node, entry.attributes.mode);
        if entry.node != 0 {
            node.connection().forget(entry.node, 1);
        }
        return Err(Errno::IO);
    }
    let inode = node.instance.inode_of(&dir.superblock, &entry, asked_at_ns)?;
    node.state.lock().answered = Some((valid_until_ns(entry.entry_lifetime_ns), None));
    node.changed_here();
    Ok((inode, fields.0.to_vec()))
}

/// The group of the directory, if the server should know that who makes a file in it belongs to it (CREATE_SUPP_GROUP).
fn group_to_tell(node: &Node, dir: &Inode) -> Option<u32> {
    if !node.connection().has(Features::CREATE_SUPP_GROUP) {
        return None;
    }
    let group = dir.attributes.lock().gid;
    let credentials = current().credentials();
    let is_told = group != credentials.filesystem_gid && credentials.in_group(group);
    if is_told { dir.superblock.owner.gid_from_global(group) } else { None }
}

/// `MKNOD`.
pub fn make_node(
    node: &Node,
    dir: &Arc<Inode>,
    name: &[u8],
    file_type: FileType,
    attributes: &Attributes,
    device: u64,
) -> Result<Arc<Inode>> {
    let mut body = Message::default().u32(file_type.mode_bits() | attributes.mode).u32(device as u32);
    if node.connection().settings().minor >= 12 {
        body = body.u32(umask()).u32(0);
    }
    ask_new(node, dir, Question::new(Opcode::MakeNode, node.number, body.name(name)), file_type, 0).map(|(inode, _)| inode)
}

/// `MKDIR`.
pub fn make_directory(node: &Node, dir: &Arc<Inode>, name: &[u8], attributes: &Attributes) -> Result<Arc<Inode>> {
    // The set-group-id bit of the directory above is the server's to hand on.
    let body = Message::default().u32(attributes.mode & 0o1777).u32(umask()).name(name);
    ask_new(node, dir, Question::new(Opcode::MakeDirectory, node.number, body), FileType::Directory, 0).map(|(inode, _)| inode)
}

/// `SYMLINK`.
pub fn make_symlink(node: &Node, dir: &Arc<Inode>, name: &[u8], target: &[u8]) -> Result<Arc<Inode>> {
    let body = Message::default().name(name).name(target);
    ask_new(node, dir, Question::new(Opcode::Symlink, node.number, body), FileType::Symlink, 0).map(|(inode, _)| inode)
}

fn open_fields(node: &Node, attributes: &Attributes, flags: OpenFlags) -> Message {
    let sent = flags - (OpenFlags::NOCTTY | OpenFlags::CLOEXEC);
    let strips = if flags.contains(OpenFlags::TRUNC) && tells_to_strip(node) { OPEN_KILL_SUIDGID } else { 0 };
    Message::default().u32(sent.bits()).u32(FileType::Regular.mode_bits() | attributes.mode).u32(umask()).u32(strips)
}

/// `CREATE`; for a server without it `MKNOD`, and the file is opened afterwards.
pub fn create_and_open(node: &Node, dir: &Arc<Inode>, name: &[u8], attributes: &Attributes, flags: OpenFlags) -> Result<MadeFile> {
    if !node.connection().lacks(Opcode::Create) {
        let question = Question::new(Opcode::Create, node.number, open_fields(node, attributes, flags).name(name));
        match ask_new(node, dir, question, FileType::Regular, 16) {
            Ok((inode, opened)) => return Ok((inode.clone(), Some(take_opened(&inode, &opened, flags)?))),
            Err(Errno::NOSYS) => node.connection().note_missing(Opcode::Create),
            Err(error) => return Err(error),
        }
    }
    make_node(node, dir, name, FileType::Regular, attributes, 0).map(|inode| (inode, None))
}

fn take_opened(inode: &Arc<Inode>, opened: &[u8], flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
    let node = inode.downcast::<Node>().ok_or(Errno::IO)?;
    let handle = Handle::from_answer(node, false, &mut Fields(opened), flags);
    Ok(file::with_handle(node, inode, handle))
}

/// `TMPFILE`.
pub fn make_unnamed(node: &Node, dir: &Arc<Inode>, attributes: &Attributes, flags: OpenFlags) -> Result<MadeFile> {
    if node.connection().lacks(Opcode::TemporaryFile) {
        return Err(Errno::OPNOTSUPP);
    }
    let question = Question::new(Opcode::TemporaryFile, node.number, open_fields(node, attributes, flags).name(b"/"));
    match ask_new(node, dir, question, FileType::Regular, 16) {
        Ok((inode, opened)) => {
            node.state.lock().answered = None;
            Ok((inode.clone(), Some(take_opened(&inode, &opened, flags)?)))
        }
        Err(Errno::NOSYS) => {
            node.connection().note_missing(Opcode::TemporaryFile);
            Err(Errno::OPNOTSUPP)
        }
        Err(error) => Err(error),
    }
}

/// `LINK`. The server may answer with another node for the new name.
pub fn link(node: &Node, dir: &Arc<Inode>, name: &[u8], target: &Arc<Inode>) -> Result<()> {
    let linked = target.downcast::<Node>().ok_or(Errno::XDEV)?;
    let body = Message::default().u64(linked.number).name(name);
    let asked = ask_new(node, dir, Question::new(Opcode::Link, node.number, body), target.file_type, 0);
    // What a server without links says becomes what Linux says of a filesystem without them.
    let (inode, _) = asked.map_err(|error| if error == Errno::NOSYS { Errno::PERM } else { error })?;
    linked.note_changed(target);
    if let Some((_, other)) = &mut node.state.lock().answered {
        *other = Some(inode);
    }
    Ok(())
}

/// A name of `target` is gone.
fn lost_name(target: &Arc<Inode>) {
    {
        let mut attributes = target.attributes.lock();
        attributes.links = if target.file_type == FileType::Directory { 0 } else { attributes.links.saturating_sub(1) };
    }
    if let Some(node) = target.downcast::<Node>() {
        node.note_changed(target);
    }
}

/// `UNLINK` and `RMDIR`.
pub fn remove(node: &Node, opcode: Opcode, name: &[u8], target: &Arc<Inode>) -> Result<()> {
    node.require_good()?;
    node.connection().call(Question::new(opcode, node.number, Message::default().name(name)))?;
    node.changed_here();
    lost_name(target);
    Ok(())
}

/// `RENAME`, or `RENAME2` if there are flags: `EINVAL` where the server has none.
pub fn rename(
    node: &Node,
    old_name: &[u8],
    moved: &Arc<Inode>,
    new_dir: &Arc<Inode>,
    new_name: &[u8],
    victim: Option<&Arc<Inode>>,
    flags: u32,
) -> Result<()> {
    use linux_raw_sys::general::RENAME_EXCHANGE;
    node.require_good()?;
    let target = new_dir.downcast::<Node>().ok_or(Errno::XDEV)?;
    if flags == 0 {
        let body = Message::default().u64(target.number).name(old_name).name(new_name);
        node.connection().call(Question::new(Opcode::Rename, node.number, body))?;
    } else {
        if node.connection().settings().minor < 23 {
            return Err(Errno::INVAL);
        }
        let body = Message::default().u64(target.number).u32(flags).u32(0).name(old_name).name(new_name);
        node.connection().call_optional(Question::new(Opcode::Rename2, node.number, body))?.ok_or(Errno::INVAL)?;
    }
    node.changed_here();
    target.changed_here();
    let exchanges = flags & RENAME_EXCHANGE != 0;
    if let Some(node) = moved.downcast::<Node>() {
        node.note_changed(moved);
    }
    match victim {
        Some(victim) if exchanges => {
            if let Some(node) = victim.downcast::<Node>() {
                node.note_changed(victim);
            }
        }
        Some(victim) => lost_name(victim),
        None => {}
    }
    Ok(())
}

/// `READLINK`.
pub fn read_link(node: &Node) -> Result<Vec<u8>> {
    node.require_good()?;
    if let Some(target) = node.state.lock().target.clone() {
        return Ok(target);
    }
    let question = Question::new(Opcode::ReadLink, node.number, Message::default());
    let mut target = node.connection().call(question.answer_up_to(MAX_LINK_BYTES))?;
    if let Some(end) = target.iter().position(|&byte| byte == 0) {
        target.truncate(end);
    }
    if node.connection().has(Features::CACHE_SYMLINKS) {
        node.state.lock().target = Some(target.clone());
    }
    Ok(target)
}

/// `SETATTR`, and what follows from it for pages and attributes here.
pub fn set_attributes(node: &Node, inode: &Arc<Inode>, change: &AttributeChange) -> Result<()> {
    node.require_good()?;
    // What is on its way may not arrive after the truncation.
    let turn = change.size_bytes.map(|_| writeback::turn(node));
    if let Some(turn) = &turn {
        turn.write_all(inode);
    }
    let handled = node.connection().settings().features.intersects(Features::HANDLE_KILLPRIV | Features::HANDLE_KILLPRIV_V2);
    if handled && (change.size_bytes.is_some() || change.uid.is_some() || change.gid.is_some()) {
        // A mode that comes with one of these has lost its set-id bits, which the server sees to itself.
        ask_change(node, inode, &AttributeChange { mode: None, ..change.clone() })?;
    } else {
        ask_change(node, inode, change)?;
    }
    // The server may have changed lists with the mode.
    acl::forget(node);
    if let Some(size_bytes) = change.size_bytes {
        node.cache.set_len(inode, size_bytes);
        inode.attributes.lock().size_bytes = size_bytes;
    }
    Ok(())
}

/// Whether the server is to be told that what the caller does takes set-id bits away (HANDLE_KILLPRIV_V2).
pub fn tells_to_strip(node: &Node) -> bool {
    node.connection().has(Features::HANDLE_KILLPRIV_V2) && !current().credentials().capable(Capabilities::FSETID)
}

/// Asks for a change of attributes.
pub fn ask_change(node: &Node, inode: &Arc<Inode>, change: &AttributeChange) -> Result<()> {
    let question = change_question(node, inode, change)?;
    let asked_at_ns = clock::monotonic_ns();
    let answer = node.connection().call(question)?;
    attributes::take(node, inode, &answer, node.connection().settings().minor, asked_at_ns)?;
    if node.owns_content(inode) {
        // The server's answer does not count for these.
        let mut attributes = inode.attributes.lock();
        attributes.modified = change.modified.unwrap_or(attributes.modified);
        attributes.changed = change.changed.unwrap_or(attributes.changed);
    }
    Ok(())
}

/// `SETATTR` for a change.
pub fn change_question(node: &Node, inode: &Inode, change: &AttributeChange) -> Result<Question> {
    let owner = &inode.superblock.owner;
    let owns_content = node.owns_content(inode);
    let mut valid = 0;
    let mut set = |bit: u32, given: bool| valid |= if given { bit } else { 0 };
    // Truncation sets the times by itself.
    let modified = change.modified.filter(|_| owns_content || change.size_bytes.is_none());
    let changed = change.changed.filter(|_| owns_content);
    set(bits::MODE, change.mode.is_some());
    set(bits::UID, change.uid.is_some());
    set(bits::GID, change.gid.is_some());
    set(bits::SIZE, change.size_bytes.is_some());
    set(bits::ATIME, change.accessed.is_some());
    set(bits::MTIME, modified.is_some());
    set(bits::CTIME, changed.is_some());
    set(bits::FH, change.handle.is_some());
    set(bits::KILL_SUIDGID, change.size_bytes.is_some() && tells_to_strip(node));
    let uid = change.uid.map(|uid| owner.uid_from_global(uid).ok_or(Errno::OVERFLOW)).transpose()?;
    let gid = change.gid.map(|gid| owner.gid_from_global(gid).ok_or(Errno::OVERFLOW)).transpose()?;
    let times = [change.accessed, modified, changed].map(Option::unwrap_or_default);
    let seconds = |time: Timestamp| time.div_euclid(NS_PER_S) as u64;
    let nanoseconds = |time: Timestamp| time.rem_euclid(NS_PER_S) as u32;
    let mode = change.mode.map_or(0, |mode| inode.file_type.mode_bits() | mode);
    let body = Message::default().u32(valid).u32(0).u64(change.handle.unwrap_or(0)).u64(change.size_bytes.unwrap_or(0)).u64(0);
    let body = body.u64(seconds(times[0])).u64(seconds(times[1])).u64(seconds(times[2]));
    let body = body.u32(nanoseconds(times[0])).u32(nanoseconds(times[1])).u32(nanoseconds(times[2])).u32(mode);
    let body = body.u32(0).u32(uid.unwrap_or(0)).u32(gid.unwrap_or(0)).u32(0);
    let minor = node.connection().settings().minor;
    Ok(Question::new(Opcode::SetAttributes, node.number, body).answer(AttributesAnswer::len_bytes(minor)))
}

/// `ACCESS`: may the caller?
pub fn ask_access(node: &Node, access: Access) -> Result<()> {
    let question = Question::new(Opcode::Access, node.number, Message::default().u32(access.bits()).u32(0));
    node.connection().call_optional(question).map(drop)
}

/// `GETXATTR`.
pub fn get_xattr(node: &Node, name: &[u8]) -> Result<Vec<u8>> {
    node.require_good()?;
    ask_xattr(node, name, xattr::VALUE_MAX_BYTES)?.ok_or(Errno::OPNOTSUPP)
}

/// `GETXATTR` of a value up to a length; `None` from a server that has no such thing.
pub fn ask_xattr(node: &Node, name: &[u8], max_bytes: usize) -> Result<Option<Vec<u8>>> {
    let body = Message::default().u32(max_bytes as u32).u32(0).name(name);
    node.connection().call_optional(Question::new(Opcode::GetXattr, node.number, body).answer_up_to(max_bytes))
}

/// `GETXATTR` for the length alone.
pub fn xattr_len(node: &Node, name: &[u8]) -> Result<u32> {
    let body = Message::default().u32(0).u32(0).name(name);
    let answer = node.connection().call_optional(Question::new(Opcode::GetXattr, node.number, body).answer(8))?;
    Ok(Fields(&answer.ok_or(Errno::OPNOTSUPP)?).u32())
}

/// `SETXATTR`.
pub fn set_xattr(node: &Node, inode: &Arc<Inode>, name: &[u8], value: &[u8], flags: u32) -> Result<()> {
    set_xattr_so(node, inode, name, value, flags, 0)
}

/// `SETXATTR`; `how` is for servers with SETXATTR_EXT.
pub fn set_xattr_so(node: &Node, inode: &Arc<Inode>, name: &[u8], value: &[u8], flags: u32, how: u32) -> Result<()> {
    node.require_good()?;
    let body = Message::default().u32(value.len() as u32).u32(flags);
    let body = if node.connection().has(Features::SETXATTR_EXT) { body.u32(how).u32(0) } else { body };
    let body = body.name(name).data(value)?;
    node.connection().call_optional(Question::new(Opcode::SetXattr, node.number, body))?.ok_or(Errno::OPNOTSUPP)?;
    node.note_changed(inode);
    Ok(())
}

/// `LISTXATTR`. `EIO` for a list that is none.
pub fn list_xattrs(node: &Node) -> Result<Vec<Vec<u8>>> {
    node.require_good()?;
    let body = Message::default().u32(xattr::VALUE_MAX_BYTES as u32).u32(0);
    let question = Question::new(Opcode::ListXattrs, node.number, body).answer_up_to(xattr::VALUE_MAX_BYTES);
    let list = node.connection().call_optional(question)?.ok_or(Errno::OPNOTSUPP)?;
    let Some(names) = list.strip_suffix(b"\0") else {
        return if list.is_empty() { Ok(Vec::new()) } else { Err(Errno::IO) };
    };
    let names: Vec<Vec<u8>> = names.split(|&byte| byte == 0).map(<[u8]>::to_vec).collect();
    if names.iter().any(Vec::is_empty) { Err(Errno::IO) } else { Ok(names) }
}

/// `REMOVEXATTR`.
pub fn remove_xattr(node: &Node, inode: &Arc<Inode>, name: &[u8]) -> Result<()> {
    node.require_good()?;
    let question = Question::new(Opcode::RemoveXattr, node.number, Message::default().name(name));
    node.connection().call_optional(question)?.ok_or(Errno::OPNOTSUPP)?;
    node.note_changed(inode);
    Ok(())
}
