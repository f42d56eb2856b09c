//! procfs (`proc(5)`): processes and the system as files.
//!
//! `root` holds the top directory, `process` what each process's directory has, `system` and `sysctl` the rest. The pieces that all of them are
//! built of are in `fs::generated`. Each mount has a superblock of its own, tied to the pid namespace of who mounted it (O17 does not hold
//! for procfs since Linux 5.8).

pub(crate) mod access;
mod descriptors;
mod links;
mod memory;
mod mounts;
mod namespaces;
mod network;
mod process;
mod processor;
mod root;
mod smaps;
pub(in crate::fs) mod status;
pub(crate) mod sysctl;
mod system;
mod system_memory;
mod threads;
pub(crate) mod user_limits;

use crate::errno::{Errno, Result};
use crate::fs::generated::make_inode;
use crate::fs::superblock::{FileSystemStatistics, FileSystemType, MountRequest, SuperBlockOps};
use crate::fs::{Dentry, FileType, SuperBlock};
use crate::sync::SpinLock;
use crate::task::pid::PidNamespace;
use crate::task::{Capabilities, Credentials, current};
use alloc::{string::String, sync::Arc, vec::Vec};
use core::fmt::Write;
use linux_raw_sys::general::{MS_NODIRATIME, MS_NOEXEC, MS_NOSUID, PROC_SUPER_MAGIC};

/// Inode number of the top directory, as in Linux.
const ROOT_NUMBER: u64 = 1;

/// Whom `hidepid=` hides processes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
enum Hiding {
    /// Nobody.
    #[default]
    Off = 0,
    /// Others see the directories but not what is in them.
    NoAccess = 1,
    /// Others do not see the directories.
    Invisible = 2,
    /// Seen only by those who could trace the process.
    Traceable = 4,
}

/// Mount options (`proc(5)`).
#[derive(Clone, Default)]
struct Options {
    hiding: Hiding,
    /// `gid=`: a group that nothing is hidden from.
    exempt_gid: u32,
    /// `subset=pid`: only processes.
    processes_only: bool,
}

impl Options {
    /// Enters one option, already split.
    fn set(&mut self, key: &str, value: Option<&[u8]>) -> Result<()> {
        let value = value.and_then(|value| core::str::from_utf8(value).ok()).ok_or(Errno::INVAL)?;
        match key {
            "hidepid" => {
                self.hiding = match value {
                    "0" | "off" => Hiding::Off,
                    "1" | "noaccess" => Hiding::NoAccess,
                    "2" | "invisible" => Hiding::Invisible,
                    "4" | "ptraceable" => Hiding::Traceable,
                    _ => return Err(Errno::INVAL),
                }
            }
            "gid" => self.exempt_gid = value.parse().map_err(|_| Errno::INVAL)?,
            "subset" => {
                if value.split(',').any(|part| part != "pid") {
                    return Err(Errno::INVAL);
                }
                self.processes_only = true;
            }
            _ => return Err(Errno::INVAL),
        }
        Ok(())
    }
}

/// The type "proc".
pub struct ProcFs;

/// The type, for `fs::registry`.
pub static TYPE: ProcFs = ProcFs;

impl FileSystemType for ProcFs {
    fn name(&self) -> &'static str {
        "proc"
    }

    fn user_mountable(&self) -> bool {
        true
    }

    fn check_option(&self, key: &str, value: Option<&[u8]>) -> Result<()> {
        Options::default().set(key, value)
    }

    fn get_tree(&self, request: &MountRequest) -> Result<Arc<SuperBlock>> {
        let pid_namespace = current().pid().namespace().clone();
        let mut options = Options::default();
        for (key, value) in &request.options {
            options.set(key, value.as_deref())?;
        }
        // Mounting for a namespace needs power over it (`mount_capable` has looked at the mounter's own user namespace).
        if !request.credentials.capable_in(Capabilities::SYS_ADMIN, &pid_namespace.owner) {
            return Err(Errno::PERM);
        }
        let owner = pid_namespace.owner.clone();
        let ops = Arc::new(ProcSuper { pid_namespace, options: SpinLock::new(options) });
        // No programs here, whatever the mounter asks for.
        let flags = request.flags | MS_NOEXEC | MS_NOSUID | MS_NODIRATIME;
        let superblock = SuperBlock::new(&TYPE, flags, owner, None, ops);
        let top = make_inode(&superblock, ROOT_NUMBER, FileType::Directory, 0o555, Arc::new(root::Root));
        top.attributes.lock().links = root::links();
        superblock.set_root(top);
        Ok(superblock)
    }
}

/// One mounted procfs.
struct ProcSuper {
    pid_namespace: Arc<PidNamespace>,
    options: SpinLock<Options>,
}

impl ProcSuper {
    /// The procfs that `superblock` is.
    fn of(superblock: &SuperBlock) -> Result<&Self> {
        superblock.downcast().ok_or(Errno::STALE)
    }

    fn options(&self) -> Options {
        self.options.lock().clone()
    }

    /// Whether `credentials` may see a process at this level of hiding.
    fn may_see(&self, credentials: &Credentials, target: &Arc<crate::task::Thread>, level: Hiding) -> bool {
        let options = self.options();
        if options.hiding == Hiding::Traceable {
            return access::may_read(target).is_ok();
        }
        options.hiding < level || credentials.in_effective_group(options.exempt_gid) || access::may_read(target).is_ok()
    }
}

impl SuperBlockOps for ProcSuper {
    fn statistics(&self, _superblock: &SuperBlock) -> FileSystemStatistics {
        FileSystemStatistics {
            magic: u64::from(PROC_SUPER_MAGIC),
            block_size_bytes: crate::mm::PAGE_SIZE_BYTES as u64,
            name_max_bytes: 255,
            ..Default::default()
        }
    }

    fn block_size_bytes(&self) -> u32 {
        1024
    }

    fn show_options(&self, _superblock: &SuperBlock, out: &mut dyn Write) -> core::fmt::Result {
        let options = self.options();
        if options.exempt_gid != 0 {
            write!(out, ",gid={}", options.exempt_gid)?;
        }
        match options.hiding {
            Hiding::Off => {}
            Hiding::NoAccess => out.write_str(",hidepid=noaccess")?,
            Hiding::Invisible => out.write_str(",hidepid=invisible")?,
            Hiding::Traceable => out.write_str(",hidepid=ptraceable")?,
        }
        if options.processes_only {
            out.write_str(",subset=pid")?;
        }
        Ok(())
    }

    fn reconfigure(&self, _superblock: &Arc<SuperBlock>, _flags: u32, options: &[(String, Option<Vec<u8>>)]) -> Result<()> {
        let mut new = self.options();
        for (key, value) in options {
            new.set(key, value.as_deref())?;
        }
        *self.options.lock() = new;
        Ok(())
    }

    fn revalidate(&self, dentry: &Arc<Dentry>) -> bool {
        let Some(inode) = dentry.inode() else { return false };
        inode.downcast::<process::TaskNode>().is_none_or(process::TaskNode::is_alive)
            && inode.downcast::<network::NetFile>().is_none_or(network::NetFile::is_current)
            && inode.downcast::<sysctl::net::SettingFile>().is_none_or(sysctl::net::SettingFile::is_current)
            && inode.downcast::<links::DescriptorLink>().is_none_or(links::DescriptorLink::is_open)
    }

    fn has_free_names(&self) -> bool {
        false
    }

    fn keeps_dentries(&self) -> bool {
        false
    }
}
