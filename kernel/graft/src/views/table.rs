//! The lines of `/proc/PID/mounts`, `mountinfo` and `mountstats` (W2 to W11).

use alloc::vec::Vec;

use super::path::PathEnd;
use super::record::MountRecord;
use super::text::{Escaping, IN_NAMES, IN_PATHS, put_escaped, put_fields, put_number};
use crate::caller::Place;
use crate::flags::{MountFlags, SuperFlags};
use crate::forest::Forest;
use crate::ids::{MountId, MountSlot, NamespaceId, NamespaceSlot};
use crate::seam::{OutOfMemory, Sink, Vfs};

/// Which file in `/proc/PID`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// `mounts` (W9).
    Mounts,
    /// `mountinfo` (W3).
    Mountinfo,
    /// `mountstats` (W10).
    Mountstats,
}

/// How far a reader has come. It stays good whatever is mounted and unmounted meanwhile: what was there all along is read
/// exactly once (W11).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// All mounts that joined before this were read.
    joined: u64,
    /// The mount to read next, if it is still there.
    at: Option<MountId>,
}

impl<V: Vfs> Forest<V> {
    /// Writes the next line of a table, as seen from `root`: the reader's at the time of open(2) (W1), and moves the cursor behind it. `false` at the end.
    ///
    /// Where the line does not fit, a kernel puts back the cursor that it had before. Mounts that cannot be reached from the
    /// root are passed over (W2). Cost: the depth of the mount, and that of each one passed over.
    pub fn write_next_line(
        &self,
        table: Table,
        namespace: NamespaceId,
        root: &Place<V>,
        cursor: &mut Cursor,
        sink: &mut dyn Sink,
    ) -> Result<bool, OutOfMemory> {
        self.write_next_line_with(table, namespace, root, cursor, &mut Vec::new(), sink)
    }

    /// As [`write_next_line`](Self::write_next_line), with a buffer for the mount's path that serves line after line.
    fn write_next_line_with(
        &self,
        table: Table,
        namespace: NamespaceId,
        root: &Place<V>,
        cursor: &mut Cursor,
        path: &mut Vec<u8>,
        sink: &mut dyn Sink,
    ) -> Result<bool, OutOfMemory> {
        let Some(namespace) = namespace.find(&self.namespaces) else {
            return Ok(false);
        };
        let root_mount = self.find(root.mount);
        while let Some(mount) = self.next_listed(namespace, cursor) {
            path.clear();
            let own_root = &self.mounts[mount].root;
            let end = self.append_path_of(mount, own_root, root_mount, &root.dentry, path)?;
            if end == PathEnd::Root {
                let record = self.record_of(mount, root_mount, &root.dentry);
                self.write_line(table, &record, path, sink)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Writes lines until `text` holds at least `enough_bytes`, or the table ends: what a read(2) does. `false` at the end.
    pub fn write_lines(
        &self,
        table: Table,
        namespace: NamespaceId,
        root: &Place<V>,
        cursor: &mut Cursor,
        enough_bytes: usize,
        text: &mut Vec<u8>,
    ) -> Result<bool, OutOfMemory> {
        let mut path = Vec::new();
        while text.len() < enough_bytes {
            if !self.write_next_line_with(table, namespace, root, cursor, &mut path, text)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Writes a whole table.
    pub fn write_table(&self, table: Table, namespace: NamespaceId, root: &Place<V>, sink: &mut dyn Sink) -> Result<(), OutOfMemory> {
        let mut cursor = Cursor::default();
        let mut path = Vec::new();
        while self.write_next_line_with(table, namespace, root, &mut cursor, &mut path, sink)? {}
        Ok(())
    }

    /// The mount at the cursor, which moves on. Cost: one step; where the mount to read next is gone, those after it.
    fn next_listed(&self, namespace: NamespaceSlot<V>, cursor: &mut Cursor) -> Option<MountSlot<V>> {
        let remembered = cursor.at.and_then(|mount| self.find(mount));
        let mount = match remembered.filter(|&mount| self.mounts[mount].namespace == Some(namespace)) {
            Some(mount) => mount,
            None => {
                let from_end = core::iter::successors(self.namespaces[namespace].last_joined, |&mount| self.mounts[mount].previous_joined);
                from_end.take_while(|&mount| self.mounts[mount].joined >= cursor.joined).last()?
            }
        };
        let entry = &self.mounts[mount];
        cursor.joined = entry.joined + 1;
        cursor.at = entry.next_joined.map(|next| self.mount_id(next));
        Some(mount)
    }

    fn write_line(&self, table: Table, record: &MountRecord<'_, V>, mountpoint: &[u8], sink: &mut dyn Sink) -> Result<(), OutOfMemory> {
        match table {
            Table::Mounts => self.write_mounts_line(record, mountpoint, sink)?,
            Table::Mountinfo => self.write_mountinfo_line(record, mountpoint, sink)?,
            Table::Mountstats => self.write_mountstats_line(record, mountpoint, sink)?,
        }
        sink.put(b"\n")
    }

    fn write_mountinfo_line(&self, record: &MountRecord<'_, V>, mountpoint: &[u8], sink: &mut dyn Sink) -> Result<(), OutOfMemory> {
        let device = self.vfs.device(record.superblock);
        put_fields(sink, [(record.number, b' '), (record.parent_number, b' '), (device.major, b':'), (device.minor, b' ')])?;
        self.write_root(record.root, sink)?;
        sink.put(b" ")?;
        put_escaped(sink, mountpoint, &IN_PATHS)?;
        sink.put(if record.flags.contains(MountFlags::RDONLY) { b" ro" } else { b" rw" })?;
        write_mount_flags(record, sink)?;
        let tags = [(&b" shared:"[..], record.shared), (b" master:", record.master), (b" propagate_from:", record.propagate_from)];
        for (name, number) in tags {
            if let Some(number) = number {
                sink.put(name)?;
                put_number(sink, number.into())?;
            }
        }
        if record.is_unbindable {
            sink.put(b" unbindable")?;
        }
        sink.put(b" - ")?;
        self.write_type(record, sink)?;
        sink.put(b" ")?;
        write_source(record, sink)?;
        let super_flags = self.vfs.super_flags(record.superblock);
        sink.put(if super_flags.contains(SuperFlags::RDONLY) { b" ro" } else { b" rw" })?;
        write_super_flags(super_flags, sink)?;
        self.vfs.write_options(record.superblock, record.root, sink)
    }

    fn write_mounts_line(&self, record: &MountRecord<'_, V>, mountpoint: &[u8], sink: &mut dyn Sink) -> Result<(), OutOfMemory> {
        write_source(record, sink)?;
        sink.put(b" ")?;
        put_escaped(sink, mountpoint, &IN_PATHS)?;
        sink.put(b" ")?;
        self.write_type(record, sink)?;
        let super_flags = self.vfs.super_flags(record.superblock);
        let read_only = record.flags.contains(MountFlags::RDONLY) || super_flags.contains(SuperFlags::RDONLY);
        sink.put(if read_only { b" ro" } else { b" rw" })?;
        write_super_flags(super_flags, sink)?;
        write_mount_flags(record, sink)?;
        self.vfs.write_options(record.superblock, record.root, sink)?;
        sink.put(b" 0 0")
    }

    fn write_mountstats_line(&self, record: &MountRecord<'_, V>, mountpoint: &[u8], sink: &mut dyn Sink) -> Result<(), OutOfMemory> {
        if record.source.is_some() {
            sink.put(b"device ")?;
            write_source(record, sink)?;
        } else {
            sink.put(b"no device")?;
        }
        sink.put(b" mounted on ")?;
        put_escaped(sink, mountpoint, &IN_PATHS)?;
        sink.put(b" with fstype ")?;
        self.write_type(record, sink)?;
        self.vfs.write_statistics(record.superblock, sink)
    }

    /// W7: the path of a root inside its superblock, as mountinfo and statmount show it.
    pub fn write_root(&self, root: &V::Dentry, sink: &mut dyn Sink) -> Result<(), OutOfMemory> {
        if self.vfs.write_root(root, sink)? {
            return Ok(());
        }
        if self.vfs.is_superblock_root(root) {
            return sink.put(b"/");
        }
        let path = self.path_in_superblock(root)?;
        put_escaped(sink, &path, &IN_PATHS)?;
        if self.vfs.is_unlinked(root) {
            sink.put(b"//deleted")?;
        }
        Ok(())
    }

    fn path_in_superblock(&self, dentry: &V::Dentry) -> Result<Vec<u8>, OutOfMemory> {
        let mut path = Vec::new();
        let mut failed = false;
        self.vfs.visit_names(dentry, None, &mut |name| {
            if failed || path.try_reserve(name.len() + 1).is_err() {
                failed = true;
                return;
            }
            path.extend(name.iter().rev());
            path.push(b'/');
        });
        path.reverse();
        if failed { Err(OutOfMemory) } else { Ok(path) }
    }

    fn write_type(&self, record: &MountRecord<'_, V>, sink: &mut dyn Sink) -> Result<(), OutOfMemory> {
        self.vfs.write_filesystem_type(record.superblock, &mut Escaping { sink, set: &IN_NAMES })
    }
}

fn write_source<V: Vfs>(record: &MountRecord<'_, V>, sink: &mut dyn Sink) -> Result<(), OutOfMemory> {
    match record.source {
        Some(source) => put_escaped(sink, source.as_ref(), &IN_NAMES),
        None => sink.put(b"none"),
    }
}

/// W4, in this order.
fn write_mount_flags<V: Vfs>(record: &MountRecord<'_, V>, sink: &mut dyn Sink) -> Result<(), OutOfMemory> {
    let names: [(MountFlags, &[u8]); 7] = [
        (MountFlags::NOSUID, b",nosuid"),
        (MountFlags::NODEV, b",nodev"),
        (MountFlags::NOEXEC, b",noexec"),
        (MountFlags::NOATIME, b",noatime"),
        (MountFlags::NODIRATIME, b",nodiratime"),
        (MountFlags::RELATIME, b",relatime"),
        (MountFlags::NOSYMFOLLOW, b",nosymfollow"),
    ];
    for (flag, name) in names {
        if record.flags.contains(flag) {
            sink.put(name)?;
        }
    }
    if record.is_idmapped { sink.put(b",idmapped") } else { Ok(()) }
}

/// W4, in this order.
fn write_super_flags(flags: SuperFlags, sink: &mut dyn Sink) -> Result<(), OutOfMemory> {
    let names: [(SuperFlags, &[u8]); 4] = [
        (SuperFlags::SYNCHRONOUS, b",sync"),
        (SuperFlags::DIRSYNC, b",dirsync"),
        (SuperFlags::MANDLOCK, b",mand"),
        (SuperFlags::LAZYTIME, b",lazytime"),
    ];
    for (flag, name) in names {
        if flags.contains(flag) {
            sink.put(name)?;
        }
    }
    Ok(())
}
