//! System call: bpf. What its commands pass is laid out as `union bpf_attr` of linux/bpf.h (`bpf(2)`).

use super::{Arguments, Entry, require_zeros_beyond};
use crate::bpf::device::{self, AttachFlags};
use crate::bpf::instruction::INSTRUCTION_BYTES;
use crate::bpf::program::{self, MAX_INSTRUCTIONS, NAME_LEN_BYTES, Program, ProgramParts, ProgramType};
use crate::bpf::verifier::Refusal;
use crate::errno::{Errno, Result};
use crate::fs::fd_table::Fd;
use crate::fs::procfs::sysctl::kernel::UNPRIVILEGED_BPF_DISABLED;
use crate::fs::{cgroupfs, internal};
use crate::mm::user::{self, UserPointer};
use crate::task::cgroup::Cgroup;
use crate::task::{Capabilities, current};
use alloc::{sync::Arc, vec::Vec};
use linux_raw_sys::general as sys;

pub(super) const TABLE: &[Entry] = &[Entry(sys::__NR_bpf, "bpf", sys_bpf)];

// `enum bpf_cmd`.
const PROG_LOAD: u32 = 5;
const PROG_ATTACH: u32 = 8;
const PROG_DETACH: u32 = 9;
const PROG_GET_NEXT_ID: u32 = 11;
const PROG_GET_FD_BY_ID: u32 = 13;
const OBJ_GET_INFO_BY_FD: u32 = 15;
const PROG_QUERY: u32 = 16;

// `enum bpf_attach_type`, as far as there are programs for it.
const ATTACH_CGROUP_INET_INGRESS: u32 = 0;
const ATTACH_CGROUP_INET_EGRESS: u32 = 1;
const ATTACH_CGROUP_DEVICE: u32 = 6;
/// `BPF_F_QUERY_EFFECTIVE`.
const QUERY_EFFECTIVE: u32 = 1;

/// Bytes of `union bpf_attr` in Linux 6.6.
const ATTRIBUTE_BYTES: usize = 144;
/// Bytes of `struct bpf_prog_info`.
const INFO_BYTES: usize = 232;
/// The longest licence text.
const LICENCE_LEN_BYTES: usize = 128;

/// `union bpf_attr`.
struct Attribute {
    bytes: [u8; ATTRIBUTE_BYTES],
    address: u64,
}

impl Attribute {
    fn read(address: u64, size_bytes: u64) -> Result<Self> {
        require_zeros_beyond(address, ATTRIBUTE_BYTES as u64, size_bytes)?;
        let mut bytes = [0; ATTRIBUTE_BYTES];
        let known = (size_bytes as usize).min(ATTRIBUTE_BYTES);
        user::read_bytes(address, &mut bytes[..known])?;
        Ok(Self { bytes, address })
    }

    fn word(&self, offset: usize) -> u32 {
        word_in(&self.bytes, offset)
    }

    fn long(&self, offset: usize) -> u64 {
        long_in(&self.bytes, offset)
    }

    /// A command uses no more than its members: `EINVAL` if anything else is set.
    fn require_no_more_than(&self, used_bytes: usize) -> Result<()> {
        if self.bytes[used_bytes..].iter().all(|byte| *byte == 0) { Ok(()) } else { Err(Errno::INVAL) }
    }

    fn write_word(&self, offset: usize, value: u32) -> Result<()> {
        UserPointer::new(self.address.wrapping_add(offset as u64)).write(value)
    }
}

fn word_in(bytes: &[u8], offset: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[offset..offset + 4]);
    u32::from_ne_bytes(word)
}

fn long_in(bytes: &[u8], offset: usize) -> u64 {
    u64::from(word_in(bytes, offset)) | u64::from(word_in(bytes, offset + 4)) << 32
}

fn sys_bpf(&[command, address, size_bytes, ..]: &Arguments) -> Result<u64> {
    let attribute = Attribute::read(address, u64::from(size_bytes as u32))?;
    match command as u32 {
        PROG_LOAD => load(&attribute),
        PROG_ATTACH => attach(&attribute),
        PROG_DETACH => detach(&attribute),
        PROG_QUERY => query(&attribute),
        PROG_GET_NEXT_ID => next_id(&attribute),
        PROG_GET_FD_BY_ID => descriptor_by_id(&attribute),
        OBJ_GET_INFO_BY_FD => information(&attribute),
        _ => {
            require_privilege()?;
            Err(Errno::INVAL)
        }
    }
}

fn has(capability: Capabilities) -> bool {
    let credentials = current().credentials();
    credentials.capable(capability) || credentials.capable(Capabilities::SYS_ADMIN)
}

/// `CAP_BPF`, unless everybody may load programs (none of the types here is for everybody).
fn require_privilege() -> Result<()> {
    if UNPRIVILEGED_BPF_DISABLED.get() != 0 && !has(Capabilities::BPF) { Err(Errno::PERM) } else { Ok(()) }
}

fn require(capability: Capabilities) -> Result<()> {
    if has(capability) { Ok(()) } else { Err(Errno::PERM) }
}

/// `BPF_PROG_LOAD`: a descriptor of the program.
fn load(attribute: &Attribute) -> Result<u64> {
    const INSTRUCTION_COUNT: usize = 4;
    const INSTRUCTIONS: usize = 8;
    const LICENCE: usize = 16;
    const PROGRAM_FLAGS: usize = 44;
    const NAME: usize = 48;
    // No flag has a meaning for the programs that can be loaded, but for the two about alignment, which change nothing here.
    if attribute.word(PROGRAM_FLAGS) & !0b11 != 0 {
        return Err(Errno::INVAL);
    }
    require_privilege()?;
    let licence = user::read_c_string(attribute.long(LICENCE), LICENCE_LEN_BYTES, Errno::INVAL)?;
    let count = attribute.word(INSTRUCTION_COUNT) as usize;
    if count == 0 || count > MAX_INSTRUCTIONS {
        return Err(Errno::TOOBIG);
    }
    require(Capabilities::BPF)?;
    require(Capabilities::NET_ADMIN)?;
    let program_type = ProgramType::from_number(attribute.word(0))?;
    let mut name = [0; NAME_LEN_BYTES];
    name.copy_from_slice(&attribute.bytes[NAME..NAME + NAME_LEN_BYTES]);
    check_name(&name)?;
    let log = Log::of(attribute)?;
    let bytes = UserPointer::<u8>::new(attribute.long(INSTRUCTIONS)).read_vec(count * INSTRUCTION_BYTES)?;
    let gpl_compatible = matches!(&licence[..], b"GPL" | b"GPL v2" | b"Dual BSD/GPL" | b"Dual MIT/GPL" | b"Dual MPL/GPL");
    match Program::load(ProgramParts { program_type, name, gpl_compatible, bytes }) {
        Ok(program) => internal::install(program::open(program)?, true),
        Err(refusal) => Err(log.tell(refusal)),
    }
}

/// Letters, digits, `_` and `.`, and nothing behind the NUL.
fn check_name(name: &[u8; NAME_LEN_BYTES]) -> Result<()> {
    let len = name.iter().position(|byte| *byte == 0).ok_or(Errno::INVAL)?;
    let plain = name[..len].iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.'));
    if plain && name[len..].iter().all(|byte| *byte == 0) { Ok(()) } else { Err(Errno::INVAL) }
}

/// Where the verifier's words go.
struct Log {
    address: u64,
    size_bytes: u32,
}

impl Log {
    fn of(attribute: &Attribute) -> Result<Self> {
        let (level, size_bytes, address) = (attribute.word(24), attribute.word(28), attribute.long(32));
        let fits = (address != 0) == (size_bytes != 0) && !(address != 0 && level == 0) && level & !7 == 0 && size_bytes <= u32::MAX >> 2;
        if fits { Ok(Self { address, size_bytes }) } else { Err(Errno::INVAL) }
    }

    /// Writes why a program was refused; `ENOSPC` if that does not fit.
    fn tell(&self, refusal: Refusal) -> Errno {
        if self.size_bytes == 0 {
            return refusal.errno;
        }
        let room = self.size_bytes as usize - 1;
        let mut text: Vec<u8> = refusal.message.into_bytes();
        let fits = text.len() <= room;
        text.truncate(room);
        text.push(0);
        match user::write_bytes(self.address, &text) {
            Err(error) => error,
            Ok(()) if fits => refusal.errno,
            Ok(()) => Errno::NOSPC,
        }
    }
}

fn group_of(fd: u32) -> Result<Arc<Cgroup>> {
    cgroupfs::group_of(&*current().files().get(fd as Fd)?)
}

/// The program of a descriptor: `EINVAL` if it is none, or not of the type.
fn program_of(fd: u32, wanted: ProgramType) -> Result<Arc<Program>> {
    let program = program::of(&*internal::file_of(fd as Fd)?)?;
    if program.program_type == wanted { Ok(program) } else { Err(Errno::INVAL) }
}

/// The type of the programs that go with a place.
fn type_for(attach_type: u32) -> Result<ProgramType> {
    match attach_type {
        ATTACH_CGROUP_INET_INGRESS | ATTACH_CGROUP_INET_EGRESS => Ok(ProgramType::CgroupSocketBuffer),
        ATTACH_CGROUP_DEVICE => Ok(ProgramType::CgroupDevice),
        _ => Err(Errno::INVAL),
    }
}

/// Where an attachment goes: target, program, type, flags, program to be replaced, each a word.
fn attach(attribute: &Attribute) -> Result<u64> {
    attribute.require_no_more_than(32)?;
    let program_type = type_for(attribute.word(8))?;
    let flags = AttachFlags::from_bits(attribute.word(12)).ok_or(Errno::INVAL)?;
    if attribute.word(20) != 0 || attribute.long(24) != 0 {
        return Err(Errno::INVAL);
    }
    let program = program_of(attribute.word(4), program_type)?;
    require(Capabilities::NET_ADMIN)?;
    let group = group_of(attribute.word(0))?;
    if program_type != ProgramType::CgroupDevice {
        // Packets are not asked about: what would not be enforced is not accepted.
        return Err(Errno::OPNOTSUPP);
    }
    let replaces = flags.contains(AttachFlags::ALLOW_MULTI | AttachFlags::REPLACE);
    let replaced = if replaces { Some(program_of(attribute.word(16), program_type)?) } else { None };
    device::attach(&group, program, flags, replaced.as_ref()).map(|()| 0)
}

fn detach(attribute: &Attribute) -> Result<u64> {
    attribute.require_no_more_than(32)?;
    let program_type = type_for(attribute.word(8))?;
    require(Capabilities::NET_ADMIN)?;
    let group = group_of(attribute.word(0))?;
    if program_type != ProgramType::CgroupDevice {
        return Err(Errno::NOENT);
    }
    // Without a program the only one is meant.
    let program = program_of(attribute.word(4), program_type).ok();
    device::detach(&group, program.as_ref()).map(|()| 0)
}

/// `BPF_PROG_QUERY`: flags, number and numbers of the programs. `ENOSPC` if there are more than there is room for.
fn query(attribute: &Attribute) -> Result<u64> {
    const ATTACH_FLAGS: usize = 12;
    const NUMBERS: usize = 16;
    const COUNT: usize = 24;
    require(Capabilities::NET_ADMIN)?;
    attribute.require_no_more_than(64)?;
    let query_flags = attribute.word(8);
    if query_flags & !QUERY_EFFECTIVE != 0 {
        return Err(Errno::INVAL);
    }
    let program_type = type_for(attribute.word(4))?;
    let group = group_of(attribute.word(0))?;
    let (flags, programs) = match program_type {
        ProgramType::CgroupDevice => device::query(&group, query_flags & QUERY_EFFECTIVE != 0),
        ProgramType::CgroupSocketBuffer => (AttachFlags::empty(), Vec::new()),
    };
    attribute.write_word(ATTACH_FLAGS, flags.bits())?;
    attribute.write_word(COUNT, programs.len() as u32)?;
    let (room, address) = (attribute.word(COUNT) as usize, attribute.long(NUMBERS));
    if room == 0 || address == 0 || programs.is_empty() {
        return Ok(0);
    }
    for (index, program) in programs.iter().take(room).enumerate() {
        UserPointer::new(address.wrapping_add(index as u64 * 4)).write(program.id)?;
    }
    if room < programs.len() { Err(Errno::NOSPC) } else { Ok(0) }
}

fn next_id(attribute: &Attribute) -> Result<u64> {
    attribute.require_no_more_than(12)?;
    require(Capabilities::SYS_ADMIN)?;
    attribute.write_word(4, program::next_id(attribute.word(0))?).map(|()| 0)
}

fn descriptor_by_id(attribute: &Attribute) -> Result<u64> {
    attribute.require_no_more_than(12)?;
    require(Capabilities::SYS_ADMIN)?;
    internal::install(program::open(program::find(attribute.word(0))?)?, true)
}

/// `BPF_OBJ_GET_INFO_BY_FD`: fills `struct bpf_prog_info` as far as the program knows it.
fn information(attribute: &Attribute) -> Result<u64> {
    attribute.require_no_more_than(16)?;
    let file = internal::file_of(attribute.word(0) as Fd)?;
    let program = program::of(&file)?;
    let (len_bytes, address) = (attribute.word(4), attribute.long(8));
    require_zeros_beyond(address, INFO_BYTES as u64, u64::from(len_bytes))?;
    let known = (len_bytes as usize).min(INFO_BYTES);
    let mut bytes = [0; INFO_BYTES];
    user::read_bytes(address, &mut bytes[..known])?;
    let (room, instructions) = (word_in(&bytes, 20) as usize, long_in(&bytes, 32));
    if room != 0 && instructions != 0 {
        let copied = room.min(program.bytes().len());
        user::write_bytes(instructions, &program.bytes()[..copied])?;
    }
    let info = encode_information(&program, instructions);
    user::write_bytes(address, &info[..known])?;
    attribute.write_word(4, known as u32).map(|()| 0)
}

fn encode_information(program: &Program, instructions: u64) -> [u8; INFO_BYTES] {
    let mut info = [0; INFO_BYTES];
    let mut put = |offset: usize, value: &[u8]| info[offset..offset + value.len()].copy_from_slice(value);
    let uid = current().credentials().user_namespace.shown_uid(program.created_by_uid);
    put(0, &(program.program_type as u32).to_ne_bytes());
    put(4, &program.id.to_ne_bytes());
    put(8, &program.tag());
    put(20, &(program.bytes().len() as u32).to_ne_bytes());
    put(32, &instructions.to_ne_bytes());
    put(40, &program.load_time_ns.to_ne_bytes());
    put(48, &uid.to_ne_bytes());
    put(64, &program.name);
    put(84, &u32::from(program.gpl_compatible).to_ne_bytes());
    put(216, &(program.len() as u32).to_ne_bytes());
    info
}
