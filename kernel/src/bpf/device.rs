//! Programs that decide which devices a control group may open and make nodes of (`BPF_CGROUP_DEVICE`): attaching them, and asking them.

use super::Program;
use super::verifier::Rules;
use crate::errno::{Errno, Result};
use crate::fs::FileType;
use crate::fs::permission::Access;
use crate::fs::superblock::split_device;
use crate::sync::SpinLock;
use crate::task::cgroup::Cgroup;
use alloc::{sync::Arc, vec::Vec};
use bitflags::bitflags;
use core::sync::atomic::{AtomicUsize, Ordering};

// `BPF_DEVCG_*` of linux/bpf.h.
const ACCESS_MAKE_NODE: u32 = 1;
const ACCESS_READ: u32 = 2;
const ACCESS_WRITE: u32 = 4;
const BLOCK_DEVICE: u32 = 1;
const CHARACTER_DEVICE: u32 = 2;
/// `struct bpf_cgroup_dev_ctx`: access and type in one word, major, minor.
const CONTEXT_BYTES: usize = 12;
const WORD_BYTES: usize = 4;
/// Most programs of one group (`BPF_CGROUP_MAX_PROGS`).
const MAX_PROGRAMS: usize = 64;

bitflags! {
    /// `BPF_F_*` of `BPF_PROG_ATTACH`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct AttachFlags: u32 {
        /// A group below may attach a program that is asked instead.
        const ALLOW_OVERRIDE = 1;
        /// Groups below may attach programs that are asked as well.
        const ALLOW_MULTI = 2;
        /// Takes the place of another program.
        const REPLACE = 4;
    }
}

/// What the verifier holds such programs to.
pub(super) struct DeviceRules;

impl Rules for DeviceRules {
    /// Whole words; of the first also its parts.
    fn may_read_context(&self, offset_bytes: i64, size_bytes: usize) -> bool {
        let Ok(offset) = usize::try_from(offset_bytes) else { return false };
        let aligned = offset.is_multiple_of(size_bytes) && offset + size_bytes <= CONTEXT_BYTES;
        aligned && (size_bytes == WORD_BYTES || (offset < WORD_BYTES && size_bytes < WORD_BYTES))
    }

    /// No or yes.
    fn greatest_result(&self) -> u64 {
        1
    }
}

/// The programs of one group.
#[derive(Default)]
pub struct Attachments(SpinLock<State>);

#[derive(Default)]
struct State {
    /// How they were attached; means nothing while there are none.
    flags: u32,
    programs: Vec<Arc<Program>>,
}

/// How many programs are attached to anything: while it is 0 nobody need be asked.
static ATTACHED: AtomicUsize = AtomicUsize::new(0);

impl Attachments {
    /// Lets go of all programs: the group was removed.
    pub fn clear(&self) {
        let gone = core::mem::take(&mut self.0.lock().programs);
        ATTACHED.fetch_sub(gone.len(), Ordering::Relaxed);
    }

    fn get(&self) -> (AttachFlags, Vec<Arc<Program>>) {
        let state = self.0.lock();
        (AttachFlags::from_bits_truncate(state.flags), state.programs.clone())
    }
}

/// Whether programs may be attached to `group`: not below one that does not allow it.
fn is_open_for_more(group: &Cgroup) -> bool {
    for above in group.ancestors().skip(1) {
        let (flags, programs) = above.devices.get();
        if programs.is_empty() {
            continue;
        }
        return flags.intersects(AttachFlags::ALLOW_MULTI | AttachFlags::ALLOW_OVERRIDE);
    }
    true
}

/// `BPF_PROG_ATTACH`. `EPERM` where another attachment does not allow it, `E2BIG` for too many, `EINVAL` for the same program twice and for
/// flags that do not go together, `ENOENT` if `replaced` is not attached, `ENODEV` for a removed group.
pub fn attach(group: &Cgroup, program: Arc<Program>, flags: AttachFlags, replaced: Option<&Arc<Program>>) -> Result<()> {
    let kept = flags & (AttachFlags::ALLOW_MULTI | AttachFlags::ALLOW_OVERRIDE);
    let multi = kept.contains(AttachFlags::ALLOW_MULTI);
    if kept == AttachFlags::ALLOW_MULTI | AttachFlags::ALLOW_OVERRIDE || (flags.contains(AttachFlags::REPLACE) && !multi) {
        return Err(Errno::INVAL);
    }
    group.require_live()?;
    if !is_open_for_more(group) {
        return Err(Errno::PERM);
    }
    let mut state = group.devices.0.lock();
    if !state.programs.is_empty() && state.flags != kept.bits() {
        return Err(Errno::PERM);
    }
    if state.programs.len() >= MAX_PROGRAMS {
        return Err(Errno::TOOBIG);
    }
    let same = |a: &Arc<Program>, b: &Arc<Program>| Arc::ptr_eq(a, b);
    let place = if multi {
        let is_replaced = replaced.is_some_and(|replaced| same(replaced, &program));
        if !is_replaced && state.programs.iter().any(|known| same(known, &program)) {
            return Err(Errno::INVAL);
        }
        match replaced {
            Some(replaced) => Some(state.programs.iter().position(|known| same(known, replaced)).ok_or(Errno::NOENT)?),
            None => None,
        }
    } else {
        (!state.programs.is_empty()).then_some(0)
    };
    state.flags = kept.bits();
    let old = match place {
        Some(place) => Some(core::mem::replace(&mut state.programs[place], program)),
        None => {
            state.programs.push(program);
            ATTACHED.fetch_add(1, Ordering::Relaxed);
            None
        }
    };
    drop(state);
    drop(old);
    Ok(())
}

/// `BPF_PROG_DETACH`. Where only one program can be attached that one goes, whatever `program` is. `ENOENT` if it is not there.
pub fn detach(group: &Cgroup, program: Option<&Arc<Program>>) -> Result<()> {
    let mut state = group.devices.0.lock();
    let place = if state.flags & AttachFlags::ALLOW_MULTI.bits() != 0 {
        let program = program.ok_or(Errno::INVAL)?;
        state.programs.iter().position(|known| Arc::ptr_eq(known, program)).ok_or(Errno::NOENT)?
    } else {
        0
    };
    if state.programs.is_empty() {
        return Err(Errno::NOENT);
    }
    let gone = state.programs.remove(place);
    ATTACHED.fetch_sub(1, Ordering::Relaxed);
    if state.programs.is_empty() {
        state.flags = 0;
    }
    drop(state);
    drop(gone);
    Ok(())
}

/// What `BPF_PROG_QUERY` tells: the flags and the programs of the group itself, or with `effective` all that are asked for it.
pub fn query(group: &Cgroup, effective: bool) -> (AttachFlags, Vec<Arc<Program>>) {
    if effective { (AttachFlags::empty(), effective_programs(group)) } else { group.devices.get() }
}

/// The programs that decide for members of `group`: its own, and of those above the ones that allow more beside them; if there are none up to
/// there, the first that there is.
fn effective_programs(group: &Cgroup) -> Vec<Arc<Program>> {
    let mut all = Vec::new();
    for above in group.ancestors() {
        let (flags, programs) = above.devices.get();
        if all.is_empty() || flags.contains(AttachFlags::ALLOW_MULTI) {
            all.extend(programs);
        }
    }
    all
}

/// Whether the current thread's group may open a device so. `EPERM`. No question for files that are no devices.
///
/// Cost: O(depth of the group + instructions of the programs), and one load while nothing is attached anywhere.
pub fn check_open(file_type: FileType, device: u64, access: Access) -> Result<()> {
    let mut wanted = 0;
    wanted |= if access.contains(Access::READ) { ACCESS_READ } else { 0 };
    wanted |= if access.contains(Access::WRITE) { ACCESS_WRITE } else { 0 };
    check(file_type, device, wanted)
}

/// Whether the current thread's group may make a node of a device. `EPERM`.
pub fn check_make_node(file_type: FileType, device: u64) -> Result<()> {
    check(file_type, device, ACCESS_MAKE_NODE)
}

fn check(file_type: FileType, device: u64, access: u32) -> Result<()> {
    if ATTACHED.load(Ordering::Relaxed) == 0 {
        return Ok(());
    }
    let kind = match file_type {
        FileType::BlockDevice => BLOCK_DEVICE,
        FileType::CharDevice => CHARACTER_DEVICE,
        _ => return Ok(()),
    };
    let Some(thread) = crate::task::scheduler::try_current() else { return Ok(()) };
    let (major, minor) = split_device(device);
    let mut context = [0; CONTEXT_BYTES];
    for (word, value) in context.chunks_exact_mut(WORD_BYTES).zip([access << 16 | kind, major, minor]) {
        word.copy_from_slice(&value.to_ne_bytes());
    }
    let allows = |program: &Arc<Program>| program.run(&context).is_some_and(|result| result & 1 != 0);
    if effective_programs(&thread.cgroup()).iter().all(allows) { Ok(()) } else { Err(Errno::PERM) }
}
