//! `/proc/sys/fs`.

use super::{Fixed, Number};
use crate::errno::{Errno, Result};
use crate::fs::generated::{Entry, Text, Variable};
use crate::fs::mount;
use crate::fs::procfs::status::parse_number;
use crate::ipc::{Setting, SettingFile};
use crate::put_line;

pub(super) static ENTRIES: &[Entry] = &[
    Entry::variable("aio-max-nr", &Fixed("65536")),
    Entry::file("aio-nr", |_, text| put_zeros(text, "0")),
    Entry::mount_point("binfmt_misc"),
    Entry::file("dentry-state", |_, text| put_zeros(text, "0\t0\t45\t0\t0\t0")),
    Entry::variable("dir-notify-enable", &Fixed("1")),
    Entry::directory("epoll", &[Entry::variable("max_user_watches", &Fixed("262144"))]),
    Entry::variable("file-max", &Fixed("9223372036854775807")),
    Entry::file("file-nr", |_, text| put_zeros(text, "0\t0\t9223372036854775807")),
    Entry::file("inode-nr", |_, text| put_zeros(text, "0\t0")),
    Entry::file("inode-state", |_, text| put_zeros(text, "0\t0\t0\t0\t0\t0\t0")),
    Entry::directory("inotify", INOTIFY),
    Entry::variable("lease-break-time", &Fixed("45")),
    Entry::variable("leases-enable", &Fixed("0")),
    Entry::variable("mount-max", &MountMax),
    Entry::directory("mqueue", MESSAGE_QUEUES),
    Entry::variable("nr_open", &Fixed("1048576")),
    Entry::variable("overflowgid", &Fixed("65534")),
    Entry::variable("overflowuid", &Fixed("65534")),
    Entry::variable("pipe-max-size", &Fixed("1048576")),
    Entry::variable("pipe-user-pages-hard", &Fixed("0")),
    Entry::variable("pipe-user-pages-soft", &Fixed("16384")),
    Entry::variable("protected_fifos", &PROTECTED_FIFOS),
    Entry::variable("protected_hardlinks", &PROTECTED_HARDLINKS),
    Entry::variable("protected_regular", &PROTECTED_REGULAR),
    Entry::variable("protected_symlinks", &PROTECTED_SYMLINKS),
    Entry::variable("suid_dumpable", &Fixed("0")),
];

/// Whether fifos of others in a sticky directory may not be opened with `O_CREAT`: 1 where everybody may write, 2 where a group may.
pub static PROTECTED_FIFOS: Number = Number::new(0, 0, 2);
/// The same of regular files.
pub static PROTECTED_REGULAR: Number = Number::new(0, 0, 2);
/// Whether only files that one owns, or may read and write and that give no privileges, get another name by one.
pub static PROTECTED_HARDLINKS: Number = Number::new(0, 0, 1);
/// Whether links of others in a sticky directory that everybody may write are not followed.
pub static PROTECTED_SYMLINKS: Number = Number::new(0, 0, 1);

static INOTIFY: &[Entry] = &[
    Entry::variable("max_queued_events", &Fixed("16384")),
    Entry::variable("max_user_instances", &Fixed("128")),
    Entry::variable("max_user_watches", &Fixed("65536")),
];

static MESSAGE_QUEUES: &[Entry] = &[
    Entry::variable("msg_default", &SettingFile(Setting::MessagesDefault)),
    Entry::variable("msg_max", &SettingFile(Setting::MessagesMax)),
    Entry::variable("msgsize_default", &SettingFile(Setting::MessageBytesDefault)),
    Entry::variable("msgsize_max", &SettingFile(Setting::MessageBytesMax)),
    Entry::variable("queues_max", &SettingFile(Setting::QueuesMax)),
];

fn put_zeros(text: &mut Text, line: &str) -> Result<()> {
    put_line!(text, "{line}");
    Ok(())
}

/// `mount-max`: graft's own limit on the mounts of a namespace.
struct MountMax;

impl Variable for MountMax {
    fn show(&self, text: &mut Text) {
        put_line!(text, "{}", mount::forest().read().mount_max());
    }

    fn store(&self, bytes: &[u8]) -> Result<()> {
        let limit = u32::try_from(parse_number(bytes)?).ok().filter(|limit| *limit > 0).ok_or(Errno::INVAL)?;
        mount::forest().write().set_mount_max(limit).map_err(mount::refused("mount-max"))
    }
}
