//! A loaded program: what its descriptors and the groups that it is attached to refer to, and what it tells of itself.

use super::instruction::{self, INSTRUCTION_BYTES, Instruction};
use super::{interpreter, verifier};
use crate::errno::{Errno, Result};
use crate::fs::internal::anonymous_file;
use crate::fs::{FileOps, OpenFile, OpenFlags};
use crate::sync::SpinLock;
use crate::task::current;
use crate::time::clock;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::ops::Bound;
use core::sync::atomic::{AtomicU32, Ordering};

/// `BPF_PROG_TYPE_*` of `bpf(2)` that can be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ProgramType {
    /// Decides about packets of a control group. Such programs can be loaded, which is how libraries find out what `bpf(2)` can do, but
    /// attached to nothing.
    CgroupSocketBuffer = 8,
    /// Decides about devices of a control group.
    CgroupDevice = 15,
}

impl ProgramType {
    /// From its number; `EINVAL` for one that is not there.
    pub fn from_number(number: u32) -> Result<Self> {
        [Self::CgroupSocketBuffer, Self::CgroupDevice].into_iter().find(|known| *known as u32 == number).ok_or(Errno::INVAL)
    }

    /// What its programs are allowed.
    pub fn rules(self) -> &'static dyn verifier::Rules {
        match self {
            Self::CgroupSocketBuffer => &SocketBufferRules,
            Self::CgroupDevice => &super::device::DeviceRules,
        }
    }
}

/// Nothing of a packet can be looked at.
struct SocketBufferRules;

impl verifier::Rules for SocketBufferRules {
    fn may_read_context(&self, _offset_bytes: i64, _size_bytes: usize) -> bool {
        false
    }

    /// No or yes.
    fn greatest_result(&self) -> u64 {
        1
    }
}

/// Bytes of a program's name with its NUL (`BPF_OBJ_NAME_LEN`).
pub const NAME_LEN_BYTES: usize = 16;
/// Most instructions of a program. Linux admits a million; here the check of one may not take more than some megabytes.
pub const MAX_INSTRUCTIONS: usize = 32768;

/// A program that was checked.
pub struct Program {
    /// Its number in the whole system.
    pub id: u32,
    /// What it is for.
    pub program_type: ProgramType,
    /// As it was given.
    pub name: [u8; NAME_LEN_BYTES],
    /// Whose it is, as an id of the initial user namespace.
    pub created_by_uid: u32,
    /// Nanoseconds since the boot.
    pub load_time_ns: u64,
    /// Whether the licence that it was given is a free one as the kernel counts them.
    pub gpl_compatible: bool,
    bytes: Vec<u8>,
    instructions: Vec<Instruction>,
}

static NEXT_ID: AtomicU32 = AtomicU32::new(1);
static PROGRAMS: SpinLock<BTreeMap<u32, Weak<Program>>> = SpinLock::new(BTreeMap::new());

/// What a program is made of.
#[allow(missing_docs)]
pub struct ProgramParts {
    pub program_type: ProgramType,
    pub name: [u8; NAME_LEN_BYTES],
    pub gpl_compatible: bool,
    /// Whole instructions.
    pub bytes: Vec<u8>,
}

impl Program {
    /// Checks a program and takes it in.
    pub fn load(parts: ProgramParts) -> Result<Arc<Self>, verifier::Refusal> {
        let instructions = instruction::decode_all(&parts.bytes);
        verifier::verify(&instructions, parts.program_type.rules())?;
        let program = Arc::new(Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            program_type: parts.program_type,
            name: parts.name,
            created_by_uid: current().credentials().uid,
            load_time_ns: clock::monotonic_ns(),
            gpl_compatible: parts.gpl_compatible,
            bytes: parts.bytes,
            instructions,
        });
        PROGRAMS.lock().insert(program.id, Arc::downgrade(&program));
        Ok(program)
    }

    /// Runs it. `None` if it does what the verifier should have refused.
    pub fn run(&self, context: &[u8]) -> Option<u64> {
        interpreter::run(&self.instructions, context)
    }

    /// Its instructions, as they were given.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.bytes.len() / INSTRUCTION_BYTES
    }

    /// The same for the same instructions (FNV-1a; Linux takes a part of a SHA-1).
    pub fn tag(&self) -> [u8; 8] {
        let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        self.bytes.iter().fold(0xcbf2_9ce4_8422_2325, mix).to_be_bytes()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        PROGRAMS.lock().remove(&self.id);
    }
}

/// The program with this number. `ENOENT` if there is none.
pub fn find(id: u32) -> Result<Arc<Program>> {
    PROGRAMS.lock().get(&id).and_then(Weak::upgrade).ok_or(Errno::NOENT)
}

/// The lowest number of a program above `id`. `ENOENT` if there is none.
pub fn next_id(id: u32) -> Result<u32> {
    let programs = PROGRAMS.lock();
    programs.range((Bound::Excluded(id), Bound::Unbounded)).next().map(|(id, _)| *id).ok_or(Errno::NOENT)
}

/// What a descriptor of a program refers to.
pub struct ProgramFile(pub Arc<Program>);

impl FileOps for ProgramFile {
    fn describe(&self, _file: &OpenFile, out: &mut dyn core::fmt::Write) -> core::fmt::Result {
        let program = &self.0;
        writeln!(out, "prog_type:\t{}\nprog_jited:\t0", program.program_type as u32)?;
        write!(out, "prog_tag:\t")?;
        program.tag().iter().try_for_each(|byte| write!(out, "{byte:02x}"))?;
        let pages = program.bytes.len().div_ceil(crate::mm::PAGE_SIZE_BYTES);
        writeln!(out, "\nmemlock:\t{}\nprog_id:\t{}", pages * crate::mm::PAGE_SIZE_BYTES, program.id)
    }
}

/// An open file of a program.
pub fn open(program: Arc<Program>) -> Result<Arc<OpenFile>> {
    anonymous_file("bpf-prog", Arc::new(ProgramFile(program)), OpenFlags::RDWR)
}

/// The program behind an open file: `EINVAL` if it is none.
pub fn of(file: &OpenFile) -> Result<Arc<Program>> {
    file.downcast::<ProgramFile>().map(|file| file.0.clone()).ok_or(Errno::INVAL)
}
