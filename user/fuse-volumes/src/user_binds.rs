//! Binds that the server answers itself: a file system in which some names lead into other file systems. No mount is made,
//! so it needs no privilege at all.
//!
//! Each bind is a passthrough file system of its own. A number of a file carries in its top byte which of them it belongs
//! to (they promise to stay below 2^56), and a request goes to that one. Only [`Volumes::lookup`] and the listings of
//! directories know names: there the [`Points`] say where one file system ends and another begins.

mod listings;
mod points;

use crate::bind::BindMount;
use crate::layers::passthrough;
use crate::target::{is_directory, open_path};
use anyhow::{Context, Result, ensure};
use asyncfuse::notify::Notify;
use asyncfuse::raw::reply::*;
use asyncfuse::raw::{Filesystem, Request};
use asyncfuse::{Inode, Result as Answer, SetAttr};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, Stream};
use libfuse_fs::passthrough::PassthroughFs;
use listings::{Listings, Names, Open};
use points::{At, Points};
use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

/// A base file system with binds in it.
pub struct Volumes<B> {
    base: B,
    binds: Vec<Bind>,
    points: Points,
    listings: Listings,
}

/// One bind: a file system, and the file of it that is shown.
struct Bind {
    layer: PassthroughFs,
    /// The layer's own number of it.
    root: Inode,
    read_only: bool,
}

/// The number of every file system's root.
const ROOT: Inode = 1;
/// How far up the number of the layer stands.
const LAYER_SHIFT: u32 = 56;
const INNER_MASK: u64 = (1 << LAYER_SHIFT) - 1;

/// The number that the kernel sees: layer 0 is the base, layer n + 1 bind n.
fn outer(layer: usize, inner: Inode) -> Inode {
    ((layer as u64) << LAYER_SHIFT) | (inner & INNER_MASK)
}

/// Calls the layer of a file with its own number of it, and nothing else.
macro_rules! on_layer {
    ($self:ident, $inode:expr, |$layer:ident, $inner:ident| $call:expr) => {{
        let $inner = $inode & INNER_MASK;
        match $self.bind_of($inode) {
            None => {
                let $layer = &$self.base;
                $call
            }
            Some(bind) => {
                let $layer = &bind.layer;
                $call
            }
        }
    }};
}

/// The same for a call that changes something: `EROFS` in a read-only bind.
macro_rules! change_layer {
    ($self:ident, $inode:expr, |$layer:ident, $inner:ident| $call:expr) => {{
        $self.check_writable($inode)?;
        on_layer!($self, $inode, |$layer, $inner| $call)
    }};
}

impl<B: Filesystem + Send + Sync> Volumes<B> {
    /// The binds over a base whose root has a file or directory at every target already: a name must be there to be found.
    ///
    /// # Errors
    /// When a source cannot be opened, a bind asks for what only a mount can do, or there are more than 254.
    pub async fn new(base: B, binds: &[BindMount], mapping: Option<&str>) -> Result<Self> {
        for bind in binds {
            let options = &bind.options;
            ensure!(
                !(options.nosuid || options.nodev || options.noexec),
                "the bind `{}` asks for nosuid, nodev or noexec, which are flags of a mount: without one (--bind-mode user) there is only `ro`",
                bind.target.display()
            );
        }
        let sources = binds.iter().map(|bind| (bind, bind.source.clone()));
        Self::with_sources(base, sources.collect(), mapping).await
    }

    /// For binds that the kernel has made already below `root`: what an overlay must not merge with its lower layers, a bind
    /// hides them. Read-only and its like are the mounts' own business.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub async fn over_kernel_binds(base: B, root: &Path, binds: &[BindMount], mapping: Option<&str>) -> Result<Self> {
        let sources = binds.iter().map(|bind| (bind, root.join(&bind.target))).collect();
        let mut volumes = Self::with_sources(base, sources, mapping).await?;
        volumes.binds.iter_mut().for_each(|bind| bind.read_only = false);
        Ok(volumes)
    }

    async fn with_sources(base: B, binds: Vec<(&BindMount, std::path::PathBuf)>, mapping: Option<&str>) -> Result<Self> {
        ensure!(binds.len() < 255, "{} binds: at most 254 can be told apart", binds.len());
        let mut volumes = Self { base, binds: Vec::new(), points: Points::new(), listings: Listings::default() };
        for (index, (bind, source)) in binds.iter().enumerate() {
            let added = Bind::open(source, mapping, bind.options.read_only).await;
            let added = added.with_context(|| format!("the source of `{}`", bind.target.display()))?;
            volumes.points.add(&bind.target, index, outer(index + 1, added.root));
            volumes.binds.push(added);
        }
        Ok(volumes)
    }

    fn bind_of(&self, inode: Inode) -> Option<&Bind> {
        self.binds.get(((inode >> LAYER_SHIFT) as usize).checked_sub(1)?)
    }

    fn check_writable(&self, inode: Inode) -> Answer<()> {
        match self.bind_of(inode) {
            Some(bind) if bind.read_only => Err(libc::EROFS.into()),
            _ => Ok(()),
        }
    }

    /// A name that leads to a bind, or towards one, must stay: `EBUSY`, as for a mount point.
    fn check_free(&self, parent: Inode, name: &OsStr) -> Answer<()> {
        match self.points.child(parent, name) {
            Some(_) => Err(libc::EBUSY.into()),
            None => Ok(()),
        }
    }

    fn check_same_layer(&self, one: Inode, other: Inode) -> Answer<()> {
        if one >> LAYER_SHIFT == other >> LAYER_SHIFT { Ok(()) } else { Err(libc::EXDEV.into()) }
    }

    fn entry(&self, beside: Inode, mut entry: ReplyEntry) -> ReplyEntry {
        entry.attr.ino = outer((beside >> LAYER_SHIFT) as usize, entry.attr.ino);
        entry
    }

    /// What a lookup of a bind's target gives: the source's own attributes.
    async fn bind_entry(&self, request: Request, index: usize) -> Answer<ReplyEntry> {
        let bind = &self.binds[index];
        let ReplyAttr { ttl, mut attr } = bind.layer.getattr(request, bind.root, None, 0).await?;
        attr.ino = outer(index + 1, bind.root);
        Ok(ReplyEntry { ttl, attr, generation: 0 })
    }

    /// The names of an open directory, and the index of the one behind `offset`.
    async fn names(&self, request: Request, open: Open, offset: i64) -> Answer<(Arc<Names>, usize)> {
        if let Some(known) = self.listings.behind(open, offset) {
            return Ok(known);
        }
        let (parent, fh) = open;
        let listed: Vec<Answer<DirectoryEntry>> =
            on_layer!(self, parent, |layer, inner| layer.readdir(request, inner, fh, offset).await?.entries.collect().await);
        let (names, left_over) = self.listings.enter(open, listed.into_iter().collect::<Answer<Vec<_>>>()?);
        self.forget_left_over(request, left_over).await;
        Ok((names, 0))
    }

    /// Looks up the name at an index, or the first one behind it that is still there. The second is the index behind that.
    async fn next_entry(&self, request: Request, open: Open, names: &Names, index: usize) -> Option<(DirectoryEntryPlus, usize)> {
        // What was looked up last has been handed out since, unless it is asked for again.
        if let Some((at, mut entry)) = self.listings.take_left_over(open).filter(|(at, _)| *at == index) {
            // It may have been changed since: the kernel believes what it is told now.
            if let Ok(now) = self.getattr(request, entry.attr.ino, None, 0).await {
                entry.attr = now.attr;
            }
            self.listings.set_left_over(open, at, entry.clone());
            return Some((entry, at + 1));
        }
        for (at, listed) in (index..).zip(names.from(index)) {
            // Whoever was removed meanwhile is no longer there.
            if let Ok(entry) = self.listed_entry(request, open.0, listed).await {
                self.listings.set_left_over(open, at, entry.clone());
                return Some((entry, at + 1));
            }
        }
        None
    }

    async fn listed_entry(&self, request: Request, parent: Inode, listed: &DirectoryEntry) -> Answer<DirectoryEntryPlus> {
        let is_dots = listed.name == "." || listed.name == "..";
        let found = if is_dots {
            // The kernel knows these: node 0 says that nothing was looked up.
            let ReplyAttr { ttl, mut attr } = self.getattr(request, parent, None, 0).await?;
            attr.ino = 0;
            ReplyEntry { ttl, attr, generation: 0 }
        } else {
            self.lookup(request, parent, &listed.name).await?
        };
        let inode = if is_dots { self.shown_number(parent, listed) } else { found.attr.ino };
        Ok(DirectoryEntryPlus {
            inode,
            generation: found.generation,
            kind: found.attr.kind,
            name: listed.name.clone(),
            offset: listed.offset,
            attr: found.attr,
            entry_ttl: found.ttl,
            attr_ttl: found.ttl,
        })
    }

    fn shown_number(&self, parent: Inode, listed: &DirectoryEntry) -> Inode {
        outer((parent >> LAYER_SHIFT) as usize, listed.inode)
    }

    /// Gives back the lookup of what was not handed out.
    async fn forget_left_over(&self, request: Request, left_over: Option<DirectoryEntryPlus>) {
        if let Some(entry) = left_over.filter(|entry| entry.attr.ino != 0) {
            self.forget_one(request, entry.attr.ino, 1).await;
        }
    }

    /// Forgets in the layer, but never a bind's root, which is held for as long as the file system lives.
    async fn forget_one(&self, request: Request, inode: Inode, count: u64) {
        self.points.forget(inode, count);
        let held = self.bind_of(inode).is_some_and(|bind| bind.root == inode & INNER_MASK);
        if !held {
            on_layer!(self, inode, |layer, inner| layer.forget(request, inner, count).await);
        }
    }
}

impl Bind {
    async fn open(source: &Path, mapping: Option<&str>, read_only: bool) -> Result<Self> {
        if is_directory(open_path(source)?)? {
            return Ok(Self { layer: passthrough(source, mapping).await?, root: ROOT, read_only });
        }
        // A passthrough shows a directory: a file is reached through the one that holds it.
        let (folder, name) = (source.parent().context("a file without a directory")?, source.file_name().context("a file without a name")?);
        let layer = passthrough(folder, mapping).await?;
        let entry = layer.lookup(Request::default(), ROOT, name).await.map_err(std::io::Error::from);
        let root = entry.with_context(|| format!("looking up {}", source.display()))?.attr.ino;
        Ok(Self { layer, root, read_only })
    }
}

impl<B: Filesystem + Send + Sync> Filesystem for Volumes<B> {
    async fn init(&self, request: Request) -> Answer<ReplyInit> {
        for bind in &self.binds {
            bind.layer.init(request).await?;
        }
        self.base.init(request).await
    }

    async fn destroy(&self, request: Request) {
        self.base.destroy(request).await;
        for bind in &self.binds {
            bind.layer.destroy(request).await;
        }
    }

    async fn lookup(&self, request: Request, parent: Inode, name: &OsStr) -> Answer<ReplyEntry> {
        let point = self.points.child(parent, name);
        if let Some(At::Bind(index)) = point {
            return self.bind_entry(request, index).await;
        }
        let entry = on_layer!(self, parent, |layer, inner| layer.lookup(request, inner, name).await)?;
        let entry = self.entry(parent, entry);
        if let Some(At::Towards(node)) = point {
            self.points.remember(entry.attr.ino, node);
        }
        Ok(entry)
    }

    async fn forget(&self, request: Request, inode: Inode, count: u64) {
        self.forget_one(request, inode, count).await;
    }

    async fn batch_forget(&self, request: Request, inodes: &[(Inode, u64)]) {
        for (inode, count) in inodes {
            self.forget_one(request, *inode, *count).await;
        }
    }

    async fn getattr(&self, request: Request, inode: Inode, fh: Option<u64>, flags: u32) -> Answer<ReplyAttr> {
        let mut reply = on_layer!(self, inode, |layer, inner| layer.getattr(request, inner, fh, flags).await)?;
        reply.attr.ino = inode;
        Ok(reply)
    }

    async fn setattr(&self, mut request: Request, inode: Inode, fh: Option<u64>, mut change: SetAttr) -> Answer<ReplyAttr> {
        let times = change.atime.is_some() || change.mtime.is_some();
        if times || change.uid.is_some() != change.gid.is_some() {
            let old = on_layer!(self, inode, |layer, inner| layer.getattr(request, inner, fh, 0).await)?.attr;
            // libfuse-fs changes owner and group together, or neither.
            if change.uid.is_some() || change.gid.is_some() {
                (change.uid, change.gid) = (change.uid.or(Some(old.uid)), change.gid.or(Some(old.gid)));
            }
            // It guesses who may set times. The kernel knows, and has let it through (`default_permissions`).
            if times {
                request.uid = old.uid;
            }
        }
        let mut reply = change_layer!(self, inode, |layer, inner| layer.setattr(request, inner, fh, change).await)?;
        reply.attr.ino = inode;
        Ok(reply)
    }

    async fn readlink(&self, request: Request, inode: Inode) -> Answer<ReplyData> {
        on_layer!(self, inode, |layer, inner| layer.readlink(request, inner).await)
    }

    async fn symlink(&self, request: Request, parent: Inode, name: &OsStr, link: &OsStr) -> Answer<ReplyEntry> {
        let entry = change_layer!(self, parent, |layer, inner| layer.symlink(request, inner, name, link).await)?;
        Ok(self.entry(parent, entry))
    }

    async fn mknod(&self, request: Request, parent: Inode, name: &OsStr, mode: u32, device: u32) -> Answer<ReplyEntry> {
        let entry = change_layer!(self, parent, |layer, inner| layer.mknod(request, inner, name, mode, device).await)?;
        Ok(self.entry(parent, entry))
    }

    async fn mkdir(&self, request: Request, parent: Inode, name: &OsStr, mode: u32, umask: u32) -> Answer<ReplyEntry> {
        let entry = change_layer!(self, parent, |layer, inner| layer.mkdir(request, inner, name, mode, umask).await)?;
        Ok(self.entry(parent, entry))
    }

    async fn unlink(&self, request: Request, parent: Inode, name: &OsStr) -> Answer<()> {
        self.check_free(parent, name)?;
        change_layer!(self, parent, |layer, inner| layer.unlink(request, inner, name).await)
    }

    async fn rmdir(&self, request: Request, parent: Inode, name: &OsStr) -> Answer<()> {
        self.check_free(parent, name)?;
        change_layer!(self, parent, |layer, inner| layer.rmdir(request, inner, name).await)
    }

    async fn rename(&self, request: Request, parent: Inode, name: &OsStr, new_parent: Inode, new_name: &OsStr) -> Answer<()> {
        self.check_same_layer(parent, new_parent)?;
        self.check_free(parent, name)?;
        self.check_free(new_parent, new_name)?;
        let new_inner = new_parent & INNER_MASK;
        change_layer!(self, parent, |layer, inner| layer.rename(request, inner, name, new_inner, new_name).await)
    }

    async fn rename2(&self, request: Request, parent: Inode, name: &OsStr, new_parent: Inode, new_name: &OsStr, flags: u32) -> Answer<()> {
        self.check_same_layer(parent, new_parent)?;
        self.check_free(parent, name)?;
        self.check_free(new_parent, new_name)?;
        let new_inner = new_parent & INNER_MASK;
        change_layer!(self, parent, |layer, inner| layer.rename2(request, inner, name, new_inner, new_name, flags).await)
    }

    async fn link(&self, request: Request, inode: Inode, new_parent: Inode, new_name: &OsStr) -> Answer<ReplyEntry> {
        self.check_same_layer(inode, new_parent)?;
        let new_inner = new_parent & INNER_MASK;
        let entry = change_layer!(self, inode, |layer, inner| layer.link(request, inner, new_inner, new_name).await)?;
        Ok(self.entry(new_parent, entry))
    }

    async fn open(&self, request: Request, inode: Inode, flags: u32) -> Answer<ReplyOpen> {
        let access = flags as i32 & libc::O_ACCMODE;
        if access != libc::O_RDONLY || flags as i32 & libc::O_TRUNC != 0 {
            self.check_writable(inode)?;
        }
        on_layer!(self, inode, |layer, inner| layer.open(request, inner, flags).await)
    }

    async fn create(&self, request: Request, parent: Inode, name: &OsStr, mode: u32, flags: u32) -> Answer<ReplyCreated> {
        let mut created = change_layer!(self, parent, |layer, inner| layer.create(request, inner, name, mode, flags).await)?;
        created.attr.ino = outer((parent >> LAYER_SHIFT) as usize, created.attr.ino);
        Ok(created)
    }

    async fn read(&self, request: Request, inode: Inode, fh: u64, offset: u64, size: u32) -> Answer<ReplyData> {
        on_layer!(self, inode, |layer, inner| layer.read(request, inner, fh, offset, size).await)
    }

    async fn write(
        &self,
        request: Request,
        inode: Inode,
        fh: u64,
        offset: u64,
        data: &[u8],
        write_flags: u32,
        flags: u32,
    ) -> Answer<ReplyWrite> {
        change_layer!(self, inode, |layer, inner| layer.write(request, inner, fh, offset, data, write_flags, flags).await)
    }

    async fn statfs(&self, request: Request, inode: Inode) -> Answer<ReplyStatFs> {
        on_layer!(self, inode, |layer, inner| layer.statfs(request, inner).await)
    }

    async fn release(&self, request: Request, inode: Inode, fh: u64, flags: u32, lock_owner: u64, flush: bool) -> Answer<()> {
        on_layer!(self, inode, |layer, inner| layer.release(request, inner, fh, flags, lock_owner, flush).await)
    }

    async fn fsync(&self, request: Request, inode: Inode, fh: u64, datasync: bool) -> Answer<()> {
        on_layer!(self, inode, |layer, inner| layer.fsync(request, inner, fh, datasync).await)
    }

    async fn setxattr(&self, request: Request, inode: Inode, name: &OsStr, value: &[u8], flags: u32, position: u32) -> Answer<()> {
        change_layer!(self, inode, |layer, inner| layer.setxattr(request, inner, name, value, flags, position).await)
    }

    async fn getxattr(&self, request: Request, inode: Inode, name: &OsStr, size: u32) -> Answer<ReplyXAttr> {
        on_layer!(self, inode, |layer, inner| layer.getxattr(request, inner, name, size).await)
    }

    async fn listxattr(&self, request: Request, inode: Inode, size: u32) -> Answer<ReplyXAttr> {
        on_layer!(self, inode, |layer, inner| layer.listxattr(request, inner, size).await)
    }

    async fn removexattr(&self, request: Request, inode: Inode, name: &OsStr) -> Answer<()> {
        change_layer!(self, inode, |layer, inner| layer.removexattr(request, inner, name).await)
    }

    async fn flush(&self, request: Request, inode: Inode, fh: u64, lock_owner: u64) -> Answer<()> {
        on_layer!(self, inode, |layer, inner| layer.flush(request, inner, fh, lock_owner).await)
    }

    async fn opendir(&self, request: Request, inode: Inode, flags: u32) -> Answer<ReplyOpen> {
        on_layer!(self, inode, |layer, inner| layer.opendir(request, inner, flags).await)
    }

    async fn readdir<'a>(
        &'a self,
        request: Request,
        parent: Inode,
        fh: u64,
        offset: i64,
    ) -> Answer<ReplyDirectory<impl Stream<Item = Answer<DirectoryEntry>> + Send + 'a>> {
        let (names, from) = self.names(request, (parent, fh), offset).await?;
        let shown = |entry: &DirectoryEntry| Ok(DirectoryEntry { inode: self.shown_number(parent, entry), ..entry.clone() });
        let entries: Vec<_> = names.from(from).iter().map(shown).collect();
        Ok(ReplyDirectory { entries: stream::iter(entries) })
    }

    async fn readdirplus<'a>(
        &'a self,
        request: Request,
        parent: Inode,
        fh: u64,
        offset: u64,
        _lock_owner: u64,
    ) -> Answer<ReplyDirectoryPlus<impl Stream<Item = Answer<DirectoryEntryPlus>> + Send + 'a>> {
        let open = (parent, fh);
        let (names, from) = self.names(request, open, offset as i64).await?;
        match self.listings.take_left_over(open) {
            Some((at, entry)) if at == from => self.listings.set_left_over(open, at, entry),
            left_over => self.forget_left_over(request, left_over.map(|(_, entry)| entry)).await,
        }
        // asyncfuse asks for one after the other until one does not fit, and then for no more.
        let entries = stream::unfold(from, move |index| {
            let names = names.clone();
            async move { self.next_entry(request, open, &names, index).await.map(|(entry, next)| (Ok(entry), next)) }
        });
        Ok(ReplyDirectoryPlus { entries })
    }

    async fn releasedir(&self, request: Request, inode: Inode, fh: u64, flags: u32) -> Answer<()> {
        self.forget_left_over(request, self.listings.close((inode, fh))).await;
        on_layer!(self, inode, |layer, inner| layer.releasedir(request, inner, fh, flags).await)
    }

    async fn fsyncdir(&self, request: Request, inode: Inode, fh: u64, datasync: bool) -> Answer<()> {
        on_layer!(self, inode, |layer, inner| layer.fsyncdir(request, inner, fh, datasync).await)
    }

    async fn getlk(
        &self,
        request: Request,
        inode: Inode,
        fh: u64,
        owner: u64,
        start: u64,
        end: u64,
        kind: u32,
        pid: u32,
    ) -> Answer<ReplyLock> {
        on_layer!(self, inode, |layer, inner| layer.getlk(request, inner, fh, owner, start, end, kind, pid).await)
    }

    async fn setlk(
        &self,
        request: Request,
        inode: Inode,
        fh: u64,
        owner: u64,
        start: u64,
        end: u64,
        kind: u32,
        pid: u32,
        block: bool,
    ) -> Answer<()> {
        on_layer!(self, inode, |layer, inner| layer.setlk(request, inner, fh, owner, start, end, kind, pid, block).await)
    }

    async fn access(&self, request: Request, inode: Inode, mask: u32) -> Answer<()> {
        if mask as i32 & libc::W_OK != 0 {
            self.check_writable(inode)?;
        }
        on_layer!(self, inode, |layer, inner| layer.access(request, inner, mask).await)
    }

    async fn interrupt(&self, request: Request, unique: u64) -> Answer<()> {
        self.base.interrupt(request, unique).await
    }

    async fn bmap(&self, request: Request, inode: Inode, block_size: u32, index: u64) -> Answer<ReplyBmap> {
        on_layer!(self, inode, |layer, inner| layer.bmap(request, inner, block_size, index).await)
    }

    async fn ioctl(
        &self,
        request: Request,
        inode: Inode,
        fh: u64,
        flags: u32,
        command: u32,
        argument: u64,
        data: &[u8],
        out_size: u32,
    ) -> Answer<ReplyIoctl> {
        on_layer!(self, inode, |layer, inner| layer.ioctl(request, inner, fh, flags, command, argument, data, out_size).await)
    }

    async fn poll(
        &self,
        request: Request,
        inode: Inode,
        fh: u64,
        kh: Option<u64>,
        flags: u32,
        events: u32,
        notify: &Notify,
    ) -> Answer<ReplyPoll> {
        on_layer!(self, inode, |layer, inner| layer.poll(request, inner, fh, kh, flags, events, notify).await)
    }

    async fn notify_reply(&self, request: Request, inode: Inode, offset: u64, data: Bytes) -> Answer<()> {
        on_layer!(self, inode, |layer, inner| layer.notify_reply(request, inner, offset, data).await)
    }

    async fn fallocate(&self, request: Request, inode: Inode, fh: u64, offset: u64, length: u64, mode: u32) -> Answer<()> {
        change_layer!(self, inode, |layer, inner| layer.fallocate(request, inner, fh, offset, length, mode).await)
    }

    async fn lseek(&self, request: Request, inode: Inode, fh: u64, offset: u64, whence: u32) -> Answer<ReplyLSeek> {
        on_layer!(self, inode, |layer, inner| layer.lseek(request, inner, fh, offset, whence).await)
    }

    async fn copy_file_range(
        &self,
        request: Request,
        inode: Inode,
        fh: u64,
        offset: u64,
        to: Inode,
        to_fh: u64,
        to_offset: u64,
        length: u64,
        flags: u64,
    ) -> Answer<ReplyCopyFileRange> {
        // The kernel copies by itself what two layers cannot.
        self.check_same_layer(inode, to)?;
        self.check_writable(to)?;
        let to = to & INNER_MASK;
        on_layer!(self, inode, |layer, inner| layer.copy_file_range(request, inner, fh, offset, to, to_fh, to_offset, length, flags).await)
    }
}
