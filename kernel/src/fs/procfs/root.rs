//! The top directory of procfs: what the system has, `self` and `thread-self`, then a directory for each process.

use super::process::{Scope, TaskNode};
use super::{Hiding, ProcSuper, sysctl, system, system_memory};
use crate::dev::kmsg_device;
use crate::errno::{Errno, Result};
use crate::fs::generated::{Entry, Kind, Listing, Policy, change_attributes, directory_links, make_inode};
use crate::fs::inode::AttributeChange;
use crate::fs::{FileOps, FileType, Inode, InodeOps, OpenFile, OpenFlags, Path};
use crate::ipc;
use crate::keys;
use crate::mm::IoBuffer;
use crate::task::current;
use crate::task::pid::PidNamespace;
use alloc::{format, string::String, sync::Arc, vec::Vec};

/// Cookies of processes begin here; Linux uses the same number (`FIRST_PROCESS_ENTRY`).
const FIRST_PROCESS_COOKIE: u64 = 256;
const SELF_NUMBER: u64 = 2;
const THREAD_SELF_NUMBER: u64 = 3;

/// What the system has, in the order in which it is listed.
static ENTRIES: &[Entry] = &[
    Entry::directory("acpi", &[]),
    Entry::file("buddyinfo", system_memory::buddyinfo),
    Entry::directory("bus", &[]),
    Entry::file("cgroups", system::cgroups),
    Entry::file("cmdline", system::cmdline),
    Entry::file("consoles", system::consoles),
    Entry::file("cpuinfo", system::cpuinfo),
    Entry::file("crypto", system::nothing),
    Entry::file("devices", system::devices),
    Entry::file("diskstats", system::diskstats),
    Entry::directory("driver", &[]),
    Entry::file("execdomains", system::execdomains),
    Entry::file("filesystems", system::filesystems),
    Entry::directory("fs", &[]),
    Entry::file("interrupts", system::interrupts),
    Entry::file("iomem", system::nothing),
    Entry::file("ioports", system::nothing),
    Entry::directory("irq", &[]),
    Entry::file("kallsyms", system::nothing),
    Entry::file("key-users", keys::views::users),
    Entry::file("keys", keys::views::keys),
    Entry::opened("kmsg", kmsg_device::open_text),
    Entry::file("loadavg", system::loadavg),
    Entry::file("locks", system::locks),
    Entry::file("meminfo", system_memory::meminfo),
    Entry::file("misc", system::misc),
    Entry::file("modules", system::nothing),
    Entry::link("mounts", "self/mounts"),
    Entry::link("net", "self/net"),
    Entry::file("partitions", system::partitions),
    Entry::file("softirqs", system::softirqs),
    Entry::file("stat", system::stat),
    Entry::file("swaps", system_memory::swaps),
    Entry::directory("sys", sysctl::ENTRIES),
    Entry::directory("sysvipc", SYSTEM_V),
    Entry::writable("sysrq-trigger", system::nothing, system::sysrq_trigger).with_mode(0o200),
    Entry::directory("tty", system::TTY_ENTRIES),
    Entry::file("uptime", system::uptime),
    Entry::file("version", system::version),
    Entry::file("vmstat", system_memory::vmstat),
    Entry::file("zoneinfo", system_memory::zoneinfo),
];

static SYSTEM_V: &[Entry] = &[
    Entry::file("msg", ipc::views::put_messages),
    Entry::file("sem", ipc::views::put_semaphores),
    Entry::file("shm", ipc::views::put_shared_memory),
];

/// The link count of the directory. Processes do not count: they come and go.
pub(super) fn links() -> u32 {
    directory_links(ENTRIES)
}

/// The top directory.
pub(super) struct Root;

impl InodeOps for Root {
    fn lookup(&self, dir: &Arc<Inode>, name: &[u8]) -> Result<Arc<Inode>> {
        let superblock = &dir.superblock;
        let proc_super = ProcSuper::of(superblock)?;
        match name {
            b"self" => return Ok(make_inode(superblock, SELF_NUMBER, FileType::Symlink, 0o777, Arc::new(SelfLink::Process))),
            b"thread-self" => {
                return Ok(make_inode(superblock, THREAD_SELF_NUMBER, FileType::Symlink, 0o777, Arc::new(SelfLink::Thread)));
            }
            _ => {}
        }
        if let Some(number) = parse_number(name) {
            let id = proc_super.pid_namespace.find(number).ok_or(Errno::NOENT)?;
            let thread = id.thread().ok_or(Errno::NOENT)?;
            if !proc_super.may_see(&current().credentials(), &thread, Hiding::Invisible) {
                return Err(Errno::NOENT);
            }
            return Ok(TaskNode::directory(superblock, id, Scope::Process));
        }
        if proc_super.options().processes_only {
            return Err(Errno::NOENT);
        }
        let entry = ENTRIES.iter().find(|entry| entry.name.as_bytes() == name).ok_or(Errno::NOENT)?;
        let policy = if name == b"sys" { Policy::Fixed } else { Policy::Ordinary };
        let inode = entry.inode(superblock, policy);
        if let Kind::Link(target) = entry.kind {
            // The links to the reader's own files show the length of what they say.
            inode.attributes.lock().size_bytes = target.len() as u64;
        }
        Ok(inode)
    }

    fn set_attributes(&self, inode: &Arc<Inode>, change: &AttributeChange) -> Result<()> {
        change_attributes(inode, change)
    }

    fn open(&self, _inode: &Arc<Inode>, _path: &Path, _flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
        Ok(Arc::new(OpenRoot))
    }
}

/// A number as names spell it: no sign, no leading zeros.
pub(super) fn parse_number(name: &[u8]) -> Option<u32> {
    let text = core::str::from_utf8(name).ok()?;
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

struct OpenRoot;

impl FileOps for OpenRoot {
    fn read(&self, _file: &OpenFile, _buffer: &mut IoBuffer<'_>, _offset: u64) -> Result<usize> {
        Err(Errno::ISDIR)
    }

    fn read_directory(&self, file: &OpenFile, position: u64, emit: &mut dyn FnMut(&[u8], u64, FileType, u64) -> bool) -> Result<u64> {
        let proc_super = ProcSuper::of(&file.inode.superblock)?;
        let mut listing = Listing::new(file, position, emit);
        if !proc_super.options().processes_only {
            for entry in ENTRIES {
                listing.entry(entry.name.as_bytes(), entry.number(), entry.file_type());
            }
        }
        listing.entry_at(FIRST_PROCESS_COOKIE, b"self", SELF_NUMBER, FileType::Symlink);
        listing.entry_at(FIRST_PROCESS_COOKIE + 1, b"thread-self", THREAD_SELF_NUMBER, FileType::Symlink);
        list_processes(proc_super, &mut listing);
        Ok(listing.position)
    }
}

fn list_processes(proc_super: &ProcSuper, listing: &mut Listing<'_>) {
    let base = FIRST_PROCESS_COOKIE + 2;
    let credentials = current().credentials();
    let mut number = listing.position.saturating_sub(base).min(u64::from(u32::MAX)) as u32;
    while let Some((found, process)) = proc_super.pid_namespace.next_process(number) {
        if listing.is_full() {
            return;
        }
        number = found + 1;
        let visible = process.leader().is_some_and(|leader| proc_super.may_see(&credentials, &leader, Hiding::Invisible));
        if visible {
            let name = format!("{found}");
            listing.entry_at(
                base + u64::from(found),
                name.as_bytes(),
                TaskNode::directory_number(&process.id, Scope::Process),
                FileType::Directory,
            );
        }
    }
}

/// `self` and `thread-self`: who reads the link.
enum SelfLink {
    Process,
    Thread,
}

impl InodeOps for SelfLink {
    fn read_link(&self, inode: &Arc<Inode>) -> Result<Vec<u8>> {
        let namespace = &ProcSuper::of(&inode.superblock)?.pid_namespace;
        let target = match self {
            Self::Process => process_name(namespace),
            Self::Thread => thread_name(namespace),
        };
        target.map(String::into_bytes).ok_or(Errno::NOENT)
    }
}

fn process_name(namespace: &PidNamespace) -> Option<String> {
    let number = current().process.id.number_in(namespace);
    (number != 0).then(|| format!("{number}"))
}

fn thread_name(namespace: &PidNamespace) -> Option<String> {
    let process = process_name(namespace)?;
    let number = current().pid().number_in(namespace);
    Some(format!("{process}/task/{number}"))
}
