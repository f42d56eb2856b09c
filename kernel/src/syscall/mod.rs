//! System calls: each family has a file that decodes arguments, calls, and encodes the result. No logic.
//!
//! A family exports a `TABLE` of its calls; [`dispatch`] finds the entry by number. A call that nobody has is `ENOSYS`, logged once by name.

mod attributes;
mod bpf;
mod credentials;
mod directory;
mod event;
mod file_control;
mod file_io;
mod file_names;
mod futex;
mod handle;
mod ipc;
mod kcmp;
mod keys;
mod lock;
mod memory;
mod missing;
mod mount;
mod mount_api;
mod mqueue;
mod namespaces;
mod pipe_splice;
mod poll;
mod process;
mod sched;
mod seccomp;
mod signal;
mod socket;
mod stat;
mod system;
mod time;
mod xattr;

use crate::errno::{Errno, Result};
use crate::sync::{Lazy, SpinLock};

/// The six argument registers.
pub type Arguments = [u64; 6];

/// Decodes, calls, encodes.
pub type Handler = fn(&Arguments) -> Result<u64>;

/// A call's number (`linux_raw_sys::general::__NR_…`), its name and its handler.
pub struct Entry(pub u32, pub &'static str, pub Handler);

/// Numbers below this are looked up; x86-64's table of Linux 6.6 ends far below.
const NUMBERS: usize = 512;

static HANDLERS: Lazy<[Option<&'static Entry>; NUMBERS]> = Lazy::new(|| {
    let mut handlers = [None; NUMBERS];
    for table in FAMILIES {
        for entry in *table {
            handlers[entry.0 as usize] = Some(entry);
        }
    }
    handlers
});

const FAMILIES: &[&[Entry]] = &[
    attributes::TABLE,
    bpf::TABLE,
    credentials::TABLE,
    directory::TABLE,
    event::TABLE,
    file_control::TABLE,
    file_io::TABLE,
    file_names::TABLE,
    futex::TABLE,
    handle::TABLE,
    ipc::TABLE,
    kcmp::TABLE,
    keys::TABLE,
    lock::TABLE,
    memory::TABLE,
    mount::TABLE,
    mount_api::TABLE,
    mqueue::TABLE,
    namespaces::TABLE,
    pipe_splice::TABLE,
    poll::TABLE,
    process::TABLE,
    sched::TABLE,
    seccomp::TABLE,
    signal::TABLE,
    socket::TABLE,
    stat::TABLE,
    system::TABLE,
    time::TABLE,
    xattr::TABLE,
];

/// Which missing calls were logged already.
static MISSED: SpinLock<[u64; NUMBERS / 64]> = SpinLock::new([0; NUMBERS / 64]);

/// Runs the system call `number` for the current thread.
pub fn dispatch(number: u64, arguments: &Arguments) -> Result<u64> {
    let entry = usize::try_from(number).ok().and_then(|number| *HANDLERS.get(number)?);
    match entry {
        Some(Entry(_, name, handler)) => {
            let result = handler(arguments);
            log::trace!("{name}({arguments:x?}) = {result:x?}");
            result
        }
        None => {
            note_missing(number);
            Err(Errno::NOSYS)
        }
    }
}

/// For structures that may grow: what a program passes beyond the `known_bytes` must be zero, and the whole no longer than a page.
/// `E2BIG` otherwise.
fn require_zeros_beyond(address: u64, known_bytes: u64, size_bytes: u64) -> Result<()> {
    let rest = size_bytes.saturating_sub(known_bytes);
    if size_bytes > crate::mm::PAGE_SIZE_BYTES as u64 {
        return Err(Errno::TOOBIG);
    }
    let beyond = crate::mm::UserPointer::<u8>::new(address.wrapping_add(known_bytes)).read_vec(rest as usize)?;
    if beyond.iter().all(|&byte| byte == 0) { Ok(()) } else { Err(Errno::TOOBIG) }
}

fn note_missing(number: u64) {
    let Ok(index) = usize::try_from(number) else { return };
    let mut missed = MISSED.lock();
    let Some(word) = missed.get_mut(index / 64) else { return };
    if *word & (1 << (index % 64)) == 0 {
        *word |= 1 << (index % 64);
        match missing::name(number) {
            Some(name) => log::warn!("system call {name} is not there (ENOSYS)"),
            None => log::warn!("system call {number} is not there (ENOSYS)"),
        }
    }
}
