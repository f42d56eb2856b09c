//! Attributes of a node: asked for by GETATTR or STATX, and what `stat(2)` makes of them.

use super::acl;
use super::handle::Handle;
use super::names;
use super::node::Node;
use super::protocol::{ATTRIBUTES_OF_HANDLE, AttributesAnswer, Fields, Message, NodeAttributes, Opcode, StatxAnswer};
use super::request::Question;
use crate::errno::{Errno, Result};
use crate::fs::Inode;
use crate::fs::stat::{Freshness, Known, Stat, StatRequest};
use crate::time::clock;

/// GETATTR, about an open file if one is named.
pub fn ask(node: &Node, inode: &Inode, handle: Option<&Handle>) -> Result<()> {
    node.require_good()?;
    acl::forget(node);
    let asked_at_ns = clock::monotonic_ns();
    let minor = node.connection().settings().minor;
    let (flags, number) = named(handle);
    let body = if minor < 9 { Message::default() } else { Message::default().u32(flags).u32(0).u64(number) };
    let question = Question::new(Opcode::GetAttributes, node.number, body);
    let answer = node.connection().call(question.answer(AttributesAnswer::len_bytes(minor)))?;
    take(node, inode, &answer, minor, asked_at_ns)
}

fn named(handle: Option<&Handle>) -> (u32, u64) {
    handle.map_or((0, 0), |handle| (ATTRIBUTES_OF_HANDLE, handle.number))
}

/// Takes an answer of attributes. `EIO`, for ever, if they are those of another kind of file.
pub fn take(node: &Node, inode: &Inode, answer: &[u8], minor: u32, asked_at_ns: u64) -> Result<()> {
    let (lifetime_ns, attributes) = AttributesAnswer::take(&mut Fields(answer), minor);
    require_plausible(node, inode, &attributes, Known::BASIC)?;
    node.update(inode, &attributes, lifetime_ns, asked_at_ns);
    Ok(())
}

fn require_plausible(node: &Node, inode: &Inode, attributes: &NodeAttributes, known: Known) -> Result<()> {
    use linux_raw_sys::general::{STATX_SIZE, STATX_TYPE};
    let says = |part| known.contains(Known::from_bits_retain(part));
    let wrong_type = says(STATX_TYPE) && attributes.mode & 0o170_000 != inode.file_type.mode_bits();
    let wrong_size = says(STATX_SIZE) && i64::try_from(attributes.size).is_err();
    if wrong_type || wrong_size {
        log::warn!("fuse: node {} is said to have mode {:o}, size {}", node.number, attributes.mode, attributes.size);
        node.make_bad();
        return Err(Errno::IO);
    }
    Ok(())
}

/// Asks for the attributes unless they hold.
pub fn refresh(node: &Node, inode: &Inode, handle: Option<&Handle>) -> Result<()> {
    node.require_good()?;
    if node.is_current() { Ok(()) } else { ask(node, inode, handle) }
}

/// Asks for what a caller of `stat(2)` or `statx(2)` has to be told. Gives what is shown and not remembered, if that is so. `EACCES` for
/// who may not use the mount.
pub fn freshen(node: &Node, inode: &Inode, request: StatRequest) -> Result<Option<Stat>> {
    node.require_good()?;
    node.require_allowed()?;
    let wants_birth_time = request.birth_time && !node.connection().lacks(Opcode::Statx);
    let asks = match request.freshness {
        Freshness::Asked => true,
        Freshness::Known => false,
        Freshness::AsStat => !node.is_current() || (wants_birth_time && !node.state.lock().has_asked_for_birth),
    };
    if !asks {
        return Ok(None);
    }
    if wants_birth_time && let Some(answer) = ask_for_birth(node, inode)? {
        return Ok(answer);
    }
    // The question may have been for the sake of the birth time alone.
    if request.freshness == Freshness::AsStat {
        refresh(node, inode, None)?
    } else {
        ask(node, inode, None)?
    }
    Ok(None)
}

/// What `statx(2)` shows.
pub fn stat(node: &Node, inode: &Inode, request: StatRequest) -> Result<Stat> {
    if let Some(stat) = freshen(node, inode, request)? {
        return Ok(stat);
    }
    let attributes = inode.attributes.lock().clone();
    let known = if attributes.created.is_some() { Known::BASIC | Known::BIRTH_TIME } else { Known::BASIC };
    Ok(Stat { attributes, known })
}

/// STATX: `None` if the server has none; what is not remembered of its answer.
fn ask_for_birth(node: &Node, inode: &Inode) -> Result<Option<Option<Stat>>> {
    acl::forget(node);
    let asked_at_ns = clock::monotonic_ns();
    let wanted = Known::BASIC | Known::BIRTH_TIME;
    let body = Message::default().u32(0).u32(0).u64(0).u32(0).u32(wanted.bits());
    let question = Question::new(Opcode::Statx, node.number, body).answer(StatxAnswer::LEN_BYTES);
    let Some(answer) = node.connection().call_optional(question)? else { return Ok(None) };
    let answer = StatxAnswer::take(&mut Fields(&answer));
    let known = Known::from_bits_retain(answer.known) & wanted;
    require_plausible(node, inode, &answer.attributes, known)?;
    let created = known.contains(Known::BIRTH_TIME).then_some(answer.created);
    if known.contains(Known::BASIC) {
        node.update(inode, &answer.attributes, answer.lifetime_ns, asked_at_ns);
        node.state.lock().has_asked_for_birth = true;
        inode.attributes.lock().created = created;
        return Ok(Some(None));
    }
    // Parts of it are shown and not remembered.
    let attributes = names::to_attributes(&answer.attributes, &inode.superblock.owner);
    Ok(Some(Some(Stat { attributes: crate::fs::Attributes { created, ..attributes }, known: known | TYPE })))
}

/// The type of a file never changes.
const TYPE: Known = Known::from_bits_retain(linux_raw_sys::general::STATX_TYPE);
