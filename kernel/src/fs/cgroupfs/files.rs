//! The files of a group: those of the core, and what opening one gives.

use super::directory::Directory;
use super::table::{File, Opener, Place};
use super::{input, limits};
use crate::errno::{Errno, Result};
use crate::fs::generated::{Content, GeneratedFile, Text, change_attributes};
use crate::fs::inode::AttributeChange;
use crate::fs::{FileOps, Inode, InodeOps, OpenFile, OpenFlags, Path, PollEvents, PollTable};
use crate::put_line;
use crate::task::cgroup::control::Controllers;
use crate::task::cgroup::membership::{self, Mover};
use crate::task::cgroup::notice::EventFile;
use crate::task::cgroup::{Cgroup, CgroupNamespace, Limit, pids};
use crate::task::{Thread, current, pid};
use alloc::{sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicU64, Ordering};

/// The file that stands for the right to move processes.
pub const PROCS: &str = "cgroup.procs";

static CORE: &[File] = &[
    File::core("cgroup.type", |group, text| put(text, group.type_name())).writable(write_type).not_in_root(),
    File::core(PROCS, read_processes).writable(|group, text, opener| move_task(group, text, opener, true)).delegatable(),
    File::core("cgroup.threads", read_threads).writable(|group, text, opener| move_task(group, text, opener, false)).delegatable(),
    File::core("cgroup.controllers", |group, text| put_controllers(text, group.controllers())),
    File::core("cgroup.subtree_control", |group, text| put_controllers(text, group.subtree_control()))
        .writable(write_subtree_control)
        .delegatable(),
    File::core("cgroup.events", read_events).not_in_root().with_events(EventFile::Cgroup),
    File::core("cgroup.max.descendants", |group, text| put_limit(text, group.size_limits().1)).writable(|group, text, _| {
        group.set_max_descendants(input::size_limit(text)?);
        Ok(())
    }),
    File::core("cgroup.max.depth", |group, text| put_limit(text, group.size_limits().0)).writable(|group, text, _| {
        group.set_max_depth(input::size_limit(text)?);
        Ok(())
    }),
    File::core("cgroup.stat", |group, text| {
        put_line!(text, "nr_descendants {}\nnr_dying_descendants 0", group.descendants());
        Ok(())
    }),
    File::core("cgroup.freeze", |group, text| put(text, if group.freeze_wanted() { "1" } else { "0" }))
        .writable(|group, text, _| group.set_freeze(input::switch(text)?))
        .not_in_root(),
    File::core("cgroup.kill", |_, _| Err(Errno::INVAL)).writable(write_kill).not_in_root().write_only(),
];

static PIDS: &[File] = &[
    File::of(Controllers::PIDS, "pids.max", |group, text| put_limit(text, group.pids.max())).writable(write_pids_max),
    File::of(Controllers::PIDS, "pids.current", |group, text| put_number(text, group.pids.current())),
    File::of(Controllers::PIDS, "pids.peak", |group, text| put_number(text, group.pids.peak())),
    File::of(Controllers::PIDS, "pids.events", |group, text| {
        put_line!(text, "max {}", group.pids.hits().0);
        Ok(())
    })
    .with_events(EventFile::Pids),
    File::of(Controllers::PIDS, "pids.events.local", |group, text| {
        put_line!(text, "max {}", group.pids.hits().1);
        Ok(())
    })
    .with_events(EventFile::PidsLocal),
];

static ALL: &[&[File]] = &[CORE, limits::CPU, limits::MEMORY, PIDS];

impl File {
    fn is_in(&self, group: &Cgroup) -> bool {
        let placed = self.place == Place::Everywhere || !group.is_root();
        placed && group.controllers().contains(self.controller)
    }
}

/// The files that the group has now.
pub fn all(group: &Cgroup) -> impl Iterator<Item = &'static File> {
    ALL.iter().copied().flatten().filter(move |file| file.is_in(group))
}

/// The file of that name, if the group has it now.
pub fn find(group: &Cgroup, name: &str) -> Option<&'static File> {
    all(group).find(|file| file.name == name)
}

/// Whether what the inode stands for is still there.
pub fn is_there(inode: &Inode) -> bool {
    if let Some(file) = inode.downcast::<GroupFile>() {
        return !file.group.is_dead() && file.file.is_in(&file.group);
    }
    inode.downcast::<Directory>().is_none_or(|directory| !directory.group.is_dead())
}

/// The inode of a file.
pub struct GroupFile {
    /// Whose file it is.
    pub group: Arc<Cgroup>,
    /// Which one.
    pub file: &'static File,
}

impl InodeOps for GroupFile {
    fn set_attributes(&self, inode: &Arc<Inode>, change: &AttributeChange) -> Result<()> {
        change_attributes(inode, change)
    }

    fn open(&self, _inode: &Arc<Inode>, _path: &Path, _flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
        self.group.require_live()?;
        Ok(GeneratedFile::open(Arc::new(OpenedFile {
            group: self.group.clone(),
            file: self.file,
            namespace: current().namespaces().cgroup.clone(),
            seen: AtomicU64::new(NEVER_READ),
        })))
    }
}

/// Not a number of changes: `poll` reports a change until the file was read once.
const NEVER_READ: u64 = u64::MAX;

struct OpenedFile {
    group: Arc<Cgroup>,
    file: &'static File,
    namespace: Arc<CgroupNamespace>,
    /// How many changes there had been at the last read.
    seen: AtomicU64,
}

impl OpenedFile {
    fn require_there(&self) -> Result<()> {
        self.group.require_live()?;
        if self.file.is_in(&self.group) { Ok(()) } else { Err(Errno::NODEV) }
    }

    fn changes(&self) -> Option<u64> {
        self.file.events.map(|file| self.group.events.count(file))
    }
}

impl Content for OpenedFile {
    fn generate(&self, _file: &OpenFile) -> Result<Vec<u8>> {
        self.require_there()?;
        if let Some(changes) = self.changes() {
            self.seen.store(changes, Ordering::Relaxed);
        }
        let mut text = Text::default();
        self.file.read.ok_or(Errno::INVAL)?(&self.group, &mut text)?;
        text.finish()
    }

    fn store(&self, file: &OpenFile, bytes: &[u8]) -> Result<()> {
        let at_boundary = !self.namespace.is_initial && Arc::ptr_eq(&self.namespace.root, &self.group);
        if at_boundary && super::delegates_to_namespaces() && !self.file.delegatable {
            return Err(Errno::PERM);
        }
        let write = self.file.write.ok_or(Errno::INVAL)?;
        self.require_there()?;
        write(&self.group, input::text(bytes)?, &Opener { file, namespace: &self.namespace })
    }

    fn poll(&self, _file: &OpenFile, table: &mut PollTable<'_>) -> Option<PollEvents> {
        table.watch(self.group.events.queue());
        let always = PollEvents::READABLE | PollEvents::WRITABLE;
        let changed = self.changes().is_some_and(|changes| changes != self.seen.load(Ordering::Relaxed));
        let gone = self.require_there().is_err();
        Some(if changed || gone { always | PollEvents::ERR | PollEvents::PRI } else { always })
    }
}

/// Puts one line.
pub fn put(text: &mut Text, value: &str) -> Result<()> {
    put_line!(text, "{value}");
    Ok(())
}

/// Puts a number as a line.
pub fn put_number(text: &mut Text, value: u64) -> Result<()> {
    put_line!(text, "{value}");
    Ok(())
}

/// Puts a number or "max" as a line.
pub fn put_limit(text: &mut Text, limit: Limit) -> Result<()> {
    match limit {
        None => put(text, "max"),
        Some(limit) => put_number(text, limit),
    }
}

fn put_controllers(text: &mut Text, controllers: Controllers) -> Result<()> {
    let names: Vec<&str> = controllers.names().collect();
    if names.is_empty() { Ok(()) } else { put(text, &names.join(" ")) }
}

fn read_processes(group: &Arc<Cgroup>, text: &mut Text) -> Result<()> {
    let namespace = current().pid().namespace().clone();
    for process in group.processes()? {
        put_line!(text, "{}", process.id.number_in(&namespace));
    }
    Ok(())
}

fn read_threads(group: &Arc<Cgroup>, text: &mut Text) -> Result<()> {
    let namespace = current().pid().namespace().clone();
    let mut numbers: Vec<u32> = group.threads().iter().map(|thread| thread.pid().number_in(&namespace)).collect();
    numbers.sort_unstable();
    for number in numbers {
        put_line!(text, "{number}");
    }
    Ok(())
}

fn read_events(group: &Arc<Cgroup>, text: &mut Text) -> Result<()> {
    put_line!(text, "populated {}\nfrozen {}", u8::from(group.is_populated()), u8::from(group.is_frozen()));
    Ok(())
}

fn write_type(group: &Arc<Cgroup>, text: &str, _: &Opener<'_>) -> Result<()> {
    if text == "threaded" { group.make_threaded() } else { Err(Errno::INVAL) }
}

fn write_subtree_control(group: &Arc<Cgroup>, text: &str, _: &Opener<'_>) -> Result<()> {
    let (enable, disable) = input::controllers(text)?;
    group.change_subtree_control(enable, disable)
}

fn write_kill(group: &Arc<Cgroup>, text: &str, _: &Opener<'_>) -> Result<()> {
    if input::integer(text)? == 1 { group.kill() } else { Err(Errno::RANGE) }
}

/// A number in the writer's pid namespace; 0 is the writer itself.
fn move_task(group: &Arc<Cgroup>, text: &str, opener: &Opener<'_>, whole_process: bool) -> Result<()> {
    let number = u32::try_from(input::integer(text).map_err(|_| Errno::INVAL)?).map_err(|_| Errno::INVAL)?;
    let thread: Arc<Thread> = match number {
        0 => current(),
        number => pid::find_thread(number)?,
    };
    let mover = Mover { credentials: &opener.file.credentials, namespace: opener.namespace };
    membership::attach(group, &thread, whole_process, &mover)
}

fn write_pids_max(group: &Arc<Cgroup>, text: &str, _: &Opener<'_>) -> Result<()> {
    let limit = match text {
        "max" => None,
        number => Some(number.parse::<u64>().ok().filter(|limit| *limit <= pids::HIGHEST_LIMIT).ok_or(Errno::INVAL)?),
    };
    group.pids.set_max(limit);
    Ok(())
}
