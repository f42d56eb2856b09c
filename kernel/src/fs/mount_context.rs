//! fsopen, fspick, fsconfig: contexts in which a filesystem is put together or reconfigured, step by step (rules A11 to A16).

use crate::errno::{Errno, Result};
use crate::fs::mount::{self, REMOUNT_FLAGS};
use crate::fs::options::Collected;
use crate::fs::superblock::{ActiveSuperBlock, FileSystemType, MountRequest};
use crate::fs::{FileOps, OpenFile, OpenFlags, Path, SuperBlock, internal, registry};
use crate::mm::IoBuffer;
use crate::task::{SleepMutex, current};
use alloc::{
    collections::VecDeque,
    format,
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};

/// Messages that a context keeps; the oldest go first (A16).
const MAX_MESSAGES: usize = 8;

/// Where a context stands (A12).
enum Phase {
    /// Parameters are taken; then comes the making of the superblock.
    Parameters,
    /// The superblock is there and can be mounted.
    Mountable(ActiveSuperBlock),
    /// Parameters of an existing superblock are taken.
    ReconfigureParameters(ActiveSuperBlock),
    /// Something went wrong: nothing is possible any more. A superblock that was to be reconfigured is still held.
    Failed(Option<ActiveSuperBlock>),
}

struct State {
    phase: Phase,
    file_system: &'static dyn FileSystemType,
    subtype: Option<String>,
    collected: Collected,
    messages: VecDeque<String>,
}

/// A context behind a descriptor.
pub struct MountContext {
    state: SleepMutex<State>,
}

/// A parameter of `fsconfig(2)`.
pub enum Parameter {
    /// `FSCONFIG_SET_FLAG`.
    Flag,
    /// `FSCONFIG_SET_STRING`.
    String(Vec<u8>),
    /// Binary data, a path or a descriptor: no filesystem here takes them.
    Other,
}

/// What `fsconfig(2)` is to do besides taking a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Make the superblock, or find one; `exclusive` refuses to find one.
    Create {
        /// `FSCONFIG_CMD_CREATE_EXCL`.
        exclusive: bool,
    },
    /// Change the superblock.
    Reconfigure,
}

/// `fsopen(2)`: a context for a new superblock. `ENODEV` for an unknown type.
pub fn open(name: &[u8]) -> Result<Arc<OpenFile>> {
    let name = core::str::from_utf8(name).map_err(|_| Errno::NODEV)?;
    let (file_system, subtype) = registry::find(name)?;
    let subtype = subtype.map(ToString::to_string);
    open_context(Phase::Parameters, file_system, subtype)
}

/// `fspick(2)`: a context for the superblock of the mount at `place`, whose root it must be (rule A18).
pub fn pick(place: &Path) -> Result<Arc<OpenFile>> {
    if !mount::is_mount_root(place) {
        return Err(Errno::INVAL);
    }
    let superblock = mount::superblock(place.mount()).ok_or(Errno::INVAL)?;
    let file_system = superblock.file_system;
    open_context(Phase::ReconfigureParameters(ActiveSuperBlock::new(superblock)), file_system, None)
}

fn open_context(phase: Phase, file_system: &'static dyn FileSystemType, subtype: Option<String>) -> Result<Arc<OpenFile>> {
    let state = State { phase, file_system, subtype, collected: Collected::default(), messages: VecDeque::new() };
    let context = Arc::new(MountContext { state: SleepMutex::new(state) });
    internal::anonymous_file("[fscontext]", context, OpenFlags::RDWR)
}

/// The context behind an open file: `EINVAL` if it is none.
pub fn of(file: &OpenFile) -> Result<&MountContext> {
    file.downcast::<MountContext>().ok_or(Errno::INVAL)
}

impl State {
    fn note(&mut self, message: String) {
        if self.messages.len() == MAX_MESSAGES {
            self.messages.pop_front();
        }
        self.messages.push_back(message);
    }

    fn parameter(&mut self, key: &str, value: &Parameter) -> Result<()> {
        if !matches!(self.phase, Phase::Parameters | Phase::ReconfigureParameters(_)) {
            return Err(Errno::BUSY);
        }
        let file_system = self.file_system;
        let had_source = self.collected.source.is_some();
        let is_fixed = matches!(self.phase, Phase::ReconfigureParameters(_)) && !file_system.has_remount_options();
        let result = match value {
            _ if is_fixed => self.collected.take_common(key),
            Parameter::Flag => self.collected.take(file_system, key, None),
            Parameter::String(value) => self.collected.take(file_system, key, Some(value)),
            Parameter::Other => self.collected.take_common(key),
        };
        result.inspect_err(|_| {
            let name = file_system.name();
            self.note(match (key, value) {
                ("source", _) if had_source => String::from("e VFS: Multiple sources"),
                (_, Parameter::String(value)) if file_system.check_option(key, None) == Ok(()) => {
                    format!("e {name}: Unexpected value for '{key}': {}", value.escape_ascii())
                }
                _ => format!("e {name}: Unknown parameter '{key}'"),
            });
        })
    }

    fn create(&mut self, exclusive: bool) -> Result<()> {
        if !matches!(self.phase, Phase::Parameters) {
            return Err(Errno::BUSY);
        }
        let request = MountRequest {
            source: self.collected.source.clone(),
            flags: self.collected.apply_to(0),
            options: core::mem::take(&mut self.collected.options),
            subtype: self.subtype.clone(),
            credentials: current().credentials(),
            exclusive,
        };
        // Without the privilege the state stays (A14).
        mount::require_mountable(self.file_system, &request.credentials)?;
        match mount::make_superblock(self.file_system, &request) {
            Ok(superblock) => {
                self.phase = Phase::Mountable(superblock);
                Ok(())
            }
            Err(error) => {
                self.phase = Phase::Failed(None);
                Err(error)
            }
        }
    }

    fn reconfigure(&mut self) -> Result<()> {
        let Phase::ReconfigureParameters(active) = &self.phase else { return Err(Errno::BUSY) };
        let collected = core::mem::take(&mut self.collected);
        let superblock: &Arc<SuperBlock> = active.superblock();
        let mask = (collected.set_flags | collected.cleared_flags) & REMOUNT_FLAGS;
        let result = mount::reconfigure(superblock, collected.set_flags, mask, &collected);
        if result.is_err() {
            self.phase = Phase::Failed(Some(active.clone()));
        }
        result
    }
}

impl MountContext {
    /// A parameter (A15).
    pub fn set_parameter(&self, key: &str, value: &Parameter) -> Result<()> {
        self.state.lock().parameter(key, value)
    }

    /// A command (A12, A14).
    pub fn command(&self, command: Command) -> Result<()> {
        let mut state = self.state.lock();
        match command {
            Command::Create { exclusive } => state.create(exclusive),
            Command::Reconfigure => state.reconfigure(),
        }
    }

    /// `fsmount(2)`'s part: hands the superblock and the source string to `make_mount`; afterwards the context can reconfigure.
    /// `EINVAL` if there is nothing to mount, `EBUSY` if it was mounted already.
    pub fn mount<T>(&self, make_mount: impl FnOnce(ActiveSuperBlock, Option<&[u8]>) -> Result<T>) -> Result<T> {
        let mut state = self.state.lock();
        let active = match &state.phase {
            Phase::Mountable(active) => active.clone(),
            Phase::ReconfigureParameters(_) | Phase::Failed(Some(_)) => return Err(Errno::BUSY),
            Phase::Parameters | Phase::Failed(None) => return Err(Errno::INVAL),
        };
        let made = make_mount(active.clone(), state.collected.source.as_deref())?;
        state.collected = Collected::default();
        state.phase = Phase::ReconfigureParameters(active);
        Ok(made)
    }
}

impl FileOps for MountContext {
    /// One message for each read (A16): `ENODATA` if there is none, `EMSGSIZE` if it does not fit; then it stays.
    fn read(&self, _file: &OpenFile, buffer: &mut IoBuffer<'_>, _offset: u64) -> Result<usize> {
        let mut state = self.state.lock();
        let message = state.messages.front().ok_or(Errno::NODATA)?;
        let line = format!("{message}\n");
        if line.len() > buffer.remaining() {
            return Err(Errno::MSGSIZE);
        }
        let moved = buffer.put(line.as_bytes())?;
        state.messages.pop_front();
        Ok(moved)
    }

    fn seekable(&self) -> bool {
        false
    }
}
