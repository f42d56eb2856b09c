//! The settings of an ipc namespace (`proc_sys_kernel(5)`, `mq_overview(7)`): each namespace has its own, and begins with the usual.

use super::IpcNamespace;
use crate::errno::{Errno, Result};
use crate::fs::generated::{Text, Variable};
use crate::put_line;
use crate::task::current;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

/// What can be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// `fs/mqueue/msg_max`: messages in a POSIX queue.
    MessagesMax,
    /// `fs/mqueue/msg_default`.
    MessagesDefault,
    /// `fs/mqueue/msgsize_max`: bytes of a message.
    MessageBytesMax,
    /// `fs/mqueue/msgsize_default`.
    MessageBytesDefault,
    /// `fs/mqueue/queues_max`: queues of the namespace.
    QueuesMax,
    /// `kernel/msgmax`: bytes of a System V message.
    Msgmax,
    /// `kernel/msgmnb`: bytes in a queue.
    Msgmnb,
    /// `kernel/msgmni`: queues.
    Msgmni,
    /// `kernel/sem`, the first: semaphores in a set.
    Semmsl,
    /// The second: semaphores in all.
    Semmns,
    /// The third: operations in a call.
    Semopm,
    /// The fourth: sets.
    Semmni,
    /// `kernel/shmall`: pages in all.
    Shmall,
    /// `kernel/shmmax`: bytes of a segment.
    Shmmax,
    /// `kernel/shmmni`: segments.
    Shmmni,
}

const COUNT: usize = 15;

/// At birth, least, most; in the order of [`Setting`].
const BOUNDS: [(u64, u64, u64); COUNT] = [
    (10, 1, 65536),
    (10, 1, 65536),
    (8192, 128, 16 << 20),
    (8192, 128, 16 << 20),
    (256, 0, i32::MAX as u64),
    (8192, 0, i32::MAX as u64),
    (16384, 0, i32::MAX as u64),
    (32000, 0, 32768),
    (32000, 0, i32::MAX as u64),
    (1_024_000_000, 0, i32::MAX as u64),
    (500, 0, i32::MAX as u64),
    (32000, 0, 32768),
    // ULONG_MAX - (1 << 24), `shmget(2)`.
    (u64::MAX - (1 << 24), 0, u64::MAX),
    (u64::MAX - (1 << 24), 0, u64::MAX),
    (4096, 0, 32768),
];

/// The values.
pub(super) struct Settings([AtomicU64; COUNT]);

impl Settings {
    pub(super) fn new() -> Self {
        Self(BOUNDS.map(|(value, ..)| AtomicU64::new(value)))
    }

    pub(super) fn get(&self, name: Setting) -> u64 {
        self.0[name as usize].load(Ordering::Relaxed)
    }

    fn set(&self, name: Setting, value: u64) {
        self.0[name as usize].store(value, Ordering::Relaxed);
    }
}

/// The namespace whose settings a reader or writer of `/proc/sys` means.
fn namespace() -> Arc<IpcNamespace> {
    current().namespaces().ipc.clone()
}

fn parse(name: Setting, word: &[u8]) -> Result<u64> {
    let value: u64 = core::str::from_utf8(word).ok().and_then(|text| text.parse().ok()).ok_or(Errno::INVAL)?;
    let (_, least, most) = BOUNDS[name as usize];
    if (least..=most).contains(&value) { Ok(value) } else { Err(Errno::INVAL) }
}

fn words(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|byte| byte.is_ascii_whitespace() || *byte == 0).filter(|word| !word.is_empty())
}

/// A file with one setting.
pub struct SettingFile(pub Setting);

impl Variable for SettingFile {
    fn show(&self, text: &mut Text) {
        put_line!(text, "{}", namespace().setting(self.0));
    }

    fn store(&self, bytes: &[u8]) -> Result<()> {
        let value = parse(self.0, words(bytes).next().ok_or(Errno::INVAL)?)?;
        namespace().settings.set(self.0, value);
        Ok(())
    }
}

/// A file with several settings: `kernel/sem`. Who writes fewer leaves the rest.
pub struct SettingsFile(pub &'static [Setting]);

impl Variable for SettingsFile {
    fn show(&self, text: &mut Text) {
        let namespace = namespace();
        let values: Vec<_> = self.0.iter().map(|name| alloc::format!("{}", namespace.setting(*name))).collect();
        put_line!(text, "{}", values.join("\t"));
    }

    fn store(&self, bytes: &[u8]) -> Result<()> {
        let namespace = namespace();
        let values = self.0.iter().zip(words(bytes)).map(|(name, word)| Ok((*name, parse(*name, word)?))).collect::<Result<Vec<_>>>()?;
        values.into_iter().for_each(|(name, value)| namespace.settings.set(name, value));
        Ok(())
    }
}
