//! What the server says without being asked: that something it serves has changed, or what is in it.

use super::connection::Connection;
use super::mount::{self, FuseSuper, Instance};
use super::node::Node;
use super::protocol::{EXPIRE_ONLY, Fields, MAX_NAME_BYTES, Message, Opcode, notify as code};
use super::request::Question;
use super::{acl, cache};
use crate::errno::{Errno, Result};
use crate::fs::{Dentry, Inode};
use crate::mm::PAGE_SIZE_BYTES;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

const PAGE: u64 = PAGE_SIZE_BYTES as u64;

/// Takes a notification. `EINVAL` for one that is not known or not whole, `ENOENT` about something that the kernel does not hold.
pub fn notify(connection: &Arc<Connection>, notification: i32, body: &[u8]) -> Result<()> {
    let instance = instance_of(connection);
    match notification {
        code::POLL => poll(connection, body),
        code::INVALIDATE_INODE => invalidate_inode(&instance?, body),
        code::INVALIDATE_ENTRY => invalidate_entry(&instance?, body),
        code::STORE => store(&instance?, body),
        code::RETRIEVE => retrieve(&instance?, body),
        code::DELETE => delete(&instance?, body),
        _ => Err(Errno::INVAL),
    }
}

fn instance_of(connection: &Arc<Connection>) -> Result<Arc<Instance>> {
    let mounted = mount::mounted_on(connection).ok_or(Errno::NOENT)?;
    mounted.downcast::<FuseSuper>().map(|fuse| fuse.0.clone()).ok_or(Errno::NOENT)
}

fn exactly(body: &[u8], len_bytes: usize) -> Result<Fields<'_>> {
    if body.len() == len_bytes { Ok(Fields(body)) } else { Err(Errno::INVAL) }
}

fn poll(connection: &Connection, body: &[u8]) -> Result<()> {
    let handle = exactly(body, 8)?.u64();
    connection.polls.changed(handle);
    Ok(())
}

fn invalidate_inode(instance: &Arc<Instance>, body: &[u8]) -> Result<()> {
    let mut fields = exactly(body, 24)?;
    let (number, offset, len) = (fields.u64(), fields.u64() as i64, fields.u64() as i64);
    let inode = instance.find(number).ok_or(Errno::NOENT)?;
    let node = inode.downcast::<Node>().ok_or(Errno::NOENT)?;
    node.expire();
    acl::forget(node);
    node.state.lock().target = None;
    // A negative offset means the attributes alone; a length of 0 or less the rest of the file.
    let Ok(offset) = u64::try_from(offset) else { return Ok(()) };
    let first = offset / PAGE;
    let end = u64::try_from(len).ok().filter(|len| *len > 0).map_or(u64::MAX, |len| offset.saturating_add(len).div_ceil(PAGE));
    node.cache.forget(&inode, first, end.saturating_sub(first));
    Ok(())
}

/// A name with its NUL, at the end of a notification.
fn take_name<'a>(fields: &Fields<'a>, len: u32) -> Result<&'a [u8]> {
    let len = len as usize;
    if len > MAX_NAME_BYTES {
        return Err(Errno::NAMETOOLONG);
    }
    let name = fields.0.strip_suffix(b"\0").filter(|name| name.len() == len).ok_or(Errno::INVAL)?;
    if name.is_empty() { Err(Errno::INVAL) } else { Ok(name) }
}

/// Dentries of a directory's inode that have `name` as a child.
fn cached_entry(instance: &Arc<Instance>, parent: u64, name: &[u8]) -> Result<(Arc<Inode>, Arc<Dentry>)> {
    let directory = instance.find(parent).ok_or(Errno::NOENT)?;
    let node = directory.downcast::<Node>().ok_or(Errno::NOENT)?;
    let place = node.place().ok_or(Errno::NOENT)?;
    let child = place.cached_child(name).ok_or(Errno::NOENT)?;
    Ok((directory, child))
}

fn invalidate_entry(instance: &Arc<Instance>, body: &[u8]) -> Result<()> {
    let mut fields = Fields(body);
    if body.len() < 16 {
        return Err(Errno::INVAL);
    }
    let (parent, len, flags) = (fields.u64(), fields.u32(), fields.u32());
    let name = take_name(&fields, len)?;
    let (directory, dentry) = cached_entry(instance, parent, name)?;
    if let Some(node) = directory.downcast::<Node>() {
        node.expire();
    }
    dentry.valid_until_ns.store(0, Ordering::Relaxed);
    if flags & EXPIRE_ONLY == 0 && dentry.mounted.load(Ordering::Relaxed) == 0 {
        dentry.unhash();
    }
    if let Some(inode) = dentry.inode()
        && let Some(node) = inode.downcast::<Node>()
    {
        node.expire();
    }
    Ok(())
}

fn delete(instance: &Arc<Instance>, body: &[u8]) -> Result<()> {
    let mut fields = Fields(body);
    if body.len() < 24 {
        return Err(Errno::INVAL);
    }
    let (parent, child, len) = (fields.u64(), fields.u64(), fields.u32());
    fields.u32();
    let name = take_name(&fields, len)?;
    let (directory, dentry) = cached_entry(instance, parent, name)?;
    let inode = dentry.inode().ok_or(Errno::NOENT)?;
    let is_mountpoint = crate::fs::mount::is_local_mountpoint(&dentry);
    if !is_mountpoint {
        // Whether it led to that child or not: it is looked up anew.
        dentry.unhash();
    }
    let is_child = inode.downcast::<Node>().is_some_and(|node| node.number == child);
    if !is_child {
        return Err(Errno::NOENT);
    }
    if is_mountpoint {
        return Err(Errno::BUSY);
    }
    for changed in [&directory, &inode] {
        if let Some(node) = changed.downcast::<Node>() {
            node.changed_here();
        }
    }
    inode.attributes.lock().links = 0;
    Ok(())
}

fn store(instance: &Arc<Instance>, body: &[u8]) -> Result<()> {
    let mut fields = Fields(body);
    if body.len() < 24 {
        return Err(Errno::INVAL);
    }
    let (number, offset, size) = (fields.u64(), fields.u64(), fields.u32());
    fields.u32();
    let data = fields.0;
    let end = offset.checked_add(u64::from(size)).filter(|end| i64::try_from(*end).is_ok());
    let Some(end) = end.filter(|_| data.len() == size as usize) else { return Err(Errno::INVAL) };
    let inode = instance.find(number).ok_or(Errno::NOENT)?;
    let node = inode.downcast::<Node>().ok_or(Errno::NOENT)?;
    if inode.file_type != crate::fs::FileType::Regular {
        return Err(Errno::INVAL);
    }
    let size = {
        let mut attributes = inode.attributes.lock();
        attributes.size_bytes = attributes.size_bytes.max(end);
        attributes.size_bytes
    };
    node.changed_here();
    let mut done = 0;
    while done < data.len() {
        let at = offset + done as u64;
        let within = (at % PAGE) as usize;
        let part = (data.len() - done).min(PAGE_SIZE_BYTES - within);
        // A page is known as a whole if the bytes reach its end, or that of the file.
        let whole = within == 0 && (part == PAGE_SIZE_BYTES || at + part as u64 >= size);
        if whole && !node.cache.contains(at / PAGE) {
            node.cache.insert(at / PAGE, cache::new_page()?);
        }
        if let Some(frame) = node.cache.get(at / PAGE) {
            frame.write(within, &data[done..done + part]);
        }
        done += part;
    }
    Ok(())
}

/// The server wants to know what is in the cache: answered with `NOTIFY_REPLY`, from the offset as far as pages are kept.
fn retrieve(instance: &Arc<Instance>, body: &[u8]) -> Result<()> {
    let mut fields = exactly(body, 32)?;
    let (unique, number, offset, size) = (fields.u64(), fields.u64(), fields.u64(), fields.u32());
    let inode = instance.find(number).ok_or(Errno::NOENT)?;
    let node = inode.downcast::<Node>().ok_or(Errno::NOENT)?;
    let settings = instance.connection.settings();
    let most = settings.max_write_bytes.min(settings.max_pages * PAGE_SIZE_BYTES);
    let file_size = inode.attributes.lock().size_bytes;
    let wanted = usize::try_from(file_size.saturating_sub(offset)).unwrap_or(usize::MAX).min(size as usize).min(most);
    let mut data = Vec::new();
    data.try_reserve_exact(wanted).map_err(|_| Errno::NOMEM)?;
    while data.len() < wanted {
        let at = offset + data.len() as u64;
        let Some(frame) = node.cache.get(at / PAGE) else { break };
        let within = (at % PAGE) as usize;
        let part = (wanted - data.len()).min(PAGE_SIZE_BYTES - within);
        let start = data.len();
        data.resize(start + part, 0);
        frame.read(within, &mut data[start..]);
    }
    let fields = Message::default().u64(0).u64(offset).u32(data.len() as u32).u32(0).u64(0).u64(0);
    instance.connection.tell(unique, Question::new(Opcode::NotifyReply, number, fields.data(&data)?).anonymous())
}
