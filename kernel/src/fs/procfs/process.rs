//! What `/proc/PID` and `/proc/PID/task/TID` have: the table of names, and the inodes behind them.

use super::descriptors::DescriptorDirectory;
use super::links::{NamespaceDirectory, Place, PlaceLink};
use super::network::NetDirectory;
use super::threads::ThreadDirectory;
use super::{Hiding, ProcSuper, access, memory, mounts, namespaces, smaps, status};
use crate::errno::{Errno, Result};
use crate::fs::generated::{Content, GeneratedFile, Listing, Text, make_inode};
use crate::fs::inode::AttributeChange;
use crate::fs::permission::{self, Access};
use crate::fs::{Attributes, FileOps, FileType, Inode, InodeOps, OpenFile, OpenFlags, Path, SuperBlock};
use crate::mm::IoBuffer;
use crate::task::pid::{Pid, PidNamespace};
use crate::task::{Credentials, Process, Thread};
use alloc::{sync::Arc, vec::Vec};
use core::sync::atomic::Ordering;

/// Whether a file speaks for a whole process or for one thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// `/proc/PID`.
    Process,
    /// `/proc/PID/task/TID`.
    Thread,
}

/// A task as its files see it.
pub(super) struct View<'a> {
    /// The thread; for a process its first one.
    pub thread: Arc<Thread>,
    /// Whether the whole process is meant.
    pub scope: Scope,
    /// Whose numbers to show.
    pub namespace: &'a Arc<PidNamespace>,
    /// Who opened the file.
    pub reader: &'a Arc<Credentials>,
}

impl View<'_> {
    /// The process.
    pub fn process(&self) -> &Arc<Process> {
        &self.thread.process
    }
}

type Reader = fn(&View<'_>, &mut Text) -> Result<()>;
type Writer = fn(&View<'_>, &[u8]) -> Result<()>;
type Opener = fn(&Arc<Thread>, OpenFlags) -> Result<Arc<dyn FileOps>>;

/// When a file asks whether the reader may look into the process.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Guard {
    Never,
    AtOpen,
    AtRead,
}

#[derive(Clone, Copy)]
enum Kind {
    File(Reader, Guard),
    Writable(Reader, Writer),
    Opened(Opener),
    Place(Place),
    Directory(fn(Arc<Pid>, Scope) -> Arc<dyn InodeOps>),
}

/// A name in a task's directory.
pub(super) struct TaskEntry {
    name: &'static str,
    mode: u32,
    kind: Kind,
    /// Only in directories of whole processes.
    processes_only: bool,
}

const fn entry(name: &'static str, mode: u32, kind: Kind) -> TaskEntry {
    TaskEntry { name, mode, kind, processes_only: false }
}

const fn file(name: &'static str, read: Reader) -> TaskEntry {
    entry(name, 0o444, Kind::File(read, Guard::Never))
}

const fn for_processes(entry: TaskEntry) -> TaskEntry {
    TaskEntry { processes_only: true, ..entry }
}

/// In the order in which Linux lists them.
static ENTRIES: &[TaskEntry] = &[
    for_processes(entry("task", 0o555, Kind::Directory(|id, _| Arc::new(ThreadDirectory { id })))),
    entry("fd", 0o500, Kind::Directory(|id, scope| Arc::new(DescriptorDirectory::links(id, scope)))),
    entry("fdinfo", 0o555, Kind::Directory(|id, scope| Arc::new(DescriptorDirectory::information(id, scope)))),
    entry("ns", 0o511, Kind::Directory(|id, scope| Arc::new(NamespaceDirectory { id, scope }))),
    entry("net", 0o555, Kind::Directory(|id, _| Arc::new(NetDirectory { id }))),
    entry("environ", 0o400, Kind::File(memory::environ, Guard::AtOpen)),
    entry("auxv", 0o400, Kind::File(memory::auxv, Guard::AtOpen)),
    file("status", status::status),
    entry("personality", 0o400, Kind::File(status::personality, Guard::AtRead)),
    file("limits", status::limits),
    entry("sched", 0o644, Kind::File(status::sched, Guard::Never)),
    for_processes(entry("autogroup", 0o644, Kind::File(status::autogroup, Guard::Never))),
    for_processes(entry("timens_offsets", 0o644, Kind::Writable(namespaces::time_offsets, namespaces::set_time_offsets))),
    entry("comm", 0o644, Kind::Writable(status::comm, status::set_comm)),
    entry("syscall", 0o400, Kind::File(status::syscall, Guard::AtRead)),
    file("cmdline", memory::cmdline),
    file("stat", status::stat),
    file("statm", memory::statm),
    entry("maps", 0o444, Kind::File(memory::maps, Guard::AtOpen)),
    entry("mem", 0o600, Kind::Opened(memory::open_memory)),
    entry("cwd", 0o777, Kind::Place(Place::WorkingDirectory)),
    entry("root", 0o777, Kind::Place(Place::Root)),
    entry("exe", 0o777, Kind::Place(Place::Executable)),
    entry("mounts", 0o444, Kind::Opened(mounts::open_mounts)),
    entry("mountinfo", 0o444, Kind::Opened(mounts::open_mountinfo)),
    for_processes(entry("mountstats", 0o400, Kind::Opened(mounts::open_mountstats))),
    entry("clear_refs", 0o200, Kind::Writable(status::write_only, smaps::clear_references)),
    entry("smaps", 0o444, Kind::File(smaps::smaps, Guard::AtOpen)),
    entry("smaps_rollup", 0o444, Kind::File(smaps::rollup, Guard::AtOpen)),
    file("wchan", status::wchan),
    entry("stack", 0o400, Kind::File(status::stack, Guard::AtRead)),
    file("schedstat", status::schedstat),
    file("cpuset", status::cpuset),
    file("cgroup", status::cgroup),
    file("oom_score", status::oom_score),
    entry("oom_adj", 0o644, Kind::Writable(status::oom_adj, status::set_oom_adj)),
    entry("oom_score_adj", 0o644, Kind::Writable(status::oom_score_adj, status::set_oom_score_adj)),
    entry("loginuid", 0o644, Kind::Writable(status::loginuid, status::set_loginuid)),
    file("sessionid", status::sessionid),
    for_processes(entry("coredump_filter", 0o644, Kind::Writable(status::coredump_filter, status::set_coredump_filter))),
    entry("io", 0o400, Kind::File(status::io, Guard::AtRead)),
    entry("uid_map", 0o644, Kind::Writable(namespaces::uid_map, namespaces::set_uid_map)),
    entry("gid_map", 0o644, Kind::Writable(namespaces::gid_map, namespaces::set_gid_map)),
    entry("projid_map", 0o644, Kind::Writable(namespaces::projid_map, namespaces::set_projid_map)),
    entry("setgroups", 0o644, Kind::Writable(namespaces::setgroups, namespaces::set_setgroups)),
    for_processes(file("timers", status::timers)),
    for_processes(entry("timerslack_ns", 0o666, Kind::Writable(status::timer_slack, status::set_timer_slack))),
    file("children", status::children),
];

impl TaskEntry {
    fn file_type(&self) -> FileType {
        match self.kind {
            Kind::Directory(_) => FileType::Directory,
            Kind::Place(_) => FileType::Symlink,
            _ => FileType::Regular,
        }
    }

    fn is_in(&self, scope: Scope) -> bool {
        match scope {
            Scope::Process => self.name != "children",
            Scope::Thread => !self.processes_only,
        }
    }
}

/// The groups of files of a task, for inode numbers.
#[derive(Clone, Copy)]
#[repr(u64)]
pub(super) enum NumberGroup {
    Table = 0,
    Descriptors = 1,
    DescriptorInformation = 2,
    Namespaces = 3,
}

/// An inode number for a file of a task: the same each time it is looked up. Above all numbers of fixed files.
pub(super) fn number(id: &Pid, scope: Scope, group: NumberGroup, index: u64) -> u64 {
    let scope = u64::from(scope == Scope::Thread);
    (u64::from(id.global_number()) << 32) | (scope << 31) | ((group as u64) << 28) | (index & 0x0fff_ffff)
}

/// The directory of a task, or one of the files in its table.
pub(super) struct TaskNode {
    id: Arc<Pid>,
    scope: Scope,
    /// `None`: the directory itself.
    entry: Option<&'static TaskEntry>,
    /// What a directory of the table does (fd, ns, task…).
    inner: Option<Arc<dyn InodeOps>>,
}

impl TaskNode {
    /// The inode of a task's directory.
    pub(super) fn directory(superblock: &Arc<SuperBlock>, id: Arc<Pid>, scope: Scope) -> Arc<Inode> {
        let number = Self::directory_number(&id, scope);
        let links = 2 + ENTRIES.iter().filter(|e| e.is_in(scope) && e.file_type() == FileType::Directory).count();
        let inode = make_inode(superblock, number, FileType::Directory, 0o555, Arc::new(Self { id, scope, entry: None, inner: None }));
        inode.attributes.lock().links = links as u32;
        inode
    }

    /// The inode number of a task's directory.
    pub(super) fn directory_number(id: &Pid, scope: Scope) -> u64 {
        number(id, scope, NumberGroup::Table, 0)
    }

    /// Whether the task is still there.
    pub(super) fn is_alive(&self) -> bool {
        self.id.thread().is_some()
    }

    fn thread(&self) -> Result<Arc<Thread>> {
        self.id.thread().ok_or(Errno::SRCH)
    }

    fn entry_number(&self, index: usize) -> u64 {
        number(&self.id, self.scope, NumberGroup::Table, index as u64 + 1)
    }
}

/// The attributes of a task's file: it belongs to the effective ids of the task, but to root if the task may not be looked into
/// (`proc(5)`); directories that everybody may read always to the task.
pub(super) fn owned_attributes(id: &Pid, inode: &Inode) -> Result<Attributes> {
    let mut attributes = inode.attributes.lock().clone();
    let thread = id.thread().ok_or(Errno::SRCH)?;
    let credentials = thread.credentials();
    let open_directory = inode.file_type == FileType::Directory && attributes.mode == 0o555;
    if open_directory || thread.process.dumpable.load(Ordering::Relaxed) == 1 {
        attributes.uid = credentials.effective_uid;
        attributes.gid = credentials.effective_gid;
    }
    Ok(attributes)
}

/// A change of attributes of a task's file: `EPERM` for the mode (`proc_setattr`), the rest is overruled at once anyway.
pub(super) fn change_task_attributes(change: &AttributeChange) -> Result<()> {
    if change.mode.is_some() { Err(Errno::PERM) } else { Ok(()) }
}

impl InodeOps for TaskNode {
    fn lookup(&self, dir: &Arc<Inode>, name: &[u8]) -> Result<Arc<Inode>> {
        if let Some(inner) = &self.inner {
            return inner.lookup(dir, name);
        }
        if self.entry.is_some() {
            return Err(Errno::NOTDIR);
        }
        self.thread().map_err(|_| Errno::NOENT)?;
        let found = ENTRIES.iter().enumerate().find(|(_, entry)| entry.name.as_bytes() == name && entry.is_in(self.scope));
        let (index, entry) = found.ok_or(Errno::NOENT)?;
        let (id, scope) = (self.id.clone(), self.scope);
        let ops: Arc<dyn InodeOps> = match entry.kind {
            Kind::Place(place) => Arc::new(PlaceLink { id, place }),
            Kind::Directory(make) => Arc::new(Self { id: id.clone(), scope, entry: Some(entry), inner: Some(make(id, scope)) }),
            _ => Arc::new(Self { id, scope, entry: Some(entry), inner: None }),
        };
        Ok(make_inode(&dir.superblock, self.entry_number(index), entry.file_type(), entry.mode, ops))
    }

    fn attributes(&self, inode: &Inode) -> Result<Attributes> {
        if let Some(inner) = &self.inner {
            return inner.attributes(inode);
        }
        owned_attributes(&self.id, inode)
    }

    fn set_attributes(&self, _inode: &Arc<Inode>, change: &AttributeChange) -> Result<()> {
        change_task_attributes(change)
    }

    fn permission(&self, inode: &Inode, credentials: &Credentials, mask: u32) -> Option<Result<()>> {
        if let Some(inner) = &self.inner {
            return inner.permission(inode, credentials, mask);
        }
        self.entry.is_none().then(|| self.directory_permission(inode, credentials, mask))
    }

    fn open(&self, inode: &Arc<Inode>, path: &Path, flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
        if let Some(inner) = &self.inner {
            return inner.open(inode, path, flags);
        }
        let Some(entry) = self.entry else {
            return Ok(Arc::new(OpenTask { id: self.id.clone(), scope: self.scope }));
        };
        let thread = self.thread()?;
        match entry.kind {
            Kind::Opened(open) => return open(&thread, flags),
            Kind::File(_, Guard::AtOpen) => access::require_read(&thread)?,
            _ => {}
        }
        Ok(GeneratedFile::open(Arc::new(TaskContent { id: self.id.clone(), scope: self.scope, entry })))
    }
}

impl TaskNode {
    /// With `hidepid=`, others get no further than the directory's name, or not even there.
    fn directory_permission(&self, inode: &Inode, credentials: &Credentials, mask: u32) -> Result<()> {
        let proc_super = ProcSuper::of(&inode.superblock)?;
        let thread = self.thread()?;
        if !proc_super.may_see(credentials, &thread, Hiding::NoAccess) {
            let invisible = proc_super.options().hiding == Hiding::Invisible;
            return Err(if invisible { Errno::NOENT } else { Errno::PERM });
        }
        permission::check_mode(inode, credentials, Access::from_bits_truncate(mask))
    }
}

/// The content of a file of the table.
struct TaskContent {
    id: Arc<Pid>,
    scope: Scope,
    entry: &'static TaskEntry,
}

impl TaskContent {
    fn with_view<T>(&self, file: &OpenFile, use_view: impl FnOnce(&View<'_>) -> Result<T>) -> Result<T> {
        let namespace = &ProcSuper::of(&file.inode.superblock)?.pid_namespace;
        let thread = self.id.thread().ok_or(Errno::SRCH)?;
        use_view(&View { thread, scope: self.scope, namespace, reader: &file.credentials })
    }
}

impl Content for TaskContent {
    fn generate(&self, file: &OpenFile) -> Result<Vec<u8>> {
        self.with_view(file, |view| {
            let mut text = Text::default();
            match self.entry.kind {
                Kind::File(read, guard) => {
                    if guard == Guard::AtRead {
                        access::require_read(&view.thread)?;
                    }
                    read(view, &mut text)?;
                }
                Kind::Writable(read, _) => read(view, &mut text)?,
                _ => return Err(Errno::INVAL),
            }
            text.finish()
        })
    }

    fn store(&self, file: &OpenFile, bytes: &[u8]) -> Result<()> {
        let Kind::Writable(_, write) = self.entry.kind else { return Err(Errno::INVAL) };
        // As Linux does: what is written counts as far as its first NUL, which runc writes along.
        let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        self.with_view(file, |view| write(view, text))
    }

    fn pollable(&self) -> bool {
        false
    }
}

/// A task's directory, opened.
struct OpenTask {
    id: Arc<Pid>,
    scope: Scope,
}

impl FileOps for OpenTask {
    fn read(&self, _file: &OpenFile, _buffer: &mut IoBuffer<'_>, _offset: u64) -> Result<usize> {
        Err(Errno::ISDIR)
    }

    fn read_directory(&self, file: &OpenFile, position: u64, emit: &mut dyn FnMut(&[u8], u64, FileType, u64) -> bool) -> Result<u64> {
        self.id.thread().ok_or(Errno::NOENT)?;
        let mut listing = Listing::new(file, position, emit);
        for (index, entry) in ENTRIES.iter().enumerate().filter(|(_, entry)| entry.is_in(self.scope)) {
            let number = number(&self.id, self.scope, NumberGroup::Table, index as u64 + 1);
            listing.entry(entry.name.as_bytes(), number, entry.file_type());
        }
        Ok(listing.position)
    }
}
