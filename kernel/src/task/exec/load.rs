//! Puts an ELF program and its interpreter into an empty address space, and their arguments on its stack.

use super::arguments::{Arguments, Strings};
use super::image::Image;
use super::program::Program;
use crate::errno::{Errno, Result};
use crate::fs::OpenFile;
use crate::mm::address_space::{Backing, MapRequest, Protection};
use crate::mm::{AddressSpace, PAGE_SIZE_BYTES, USER_END};
use crate::task::rlimit::INFINITY;
use crate::task::rseq;
use crate::time::vdso;
use alloc::{sync::Arc, vec::Vec};
use core::iter::once;
use elf::abi;
use elf::segment::ProgramHeader;
use linux_raw_sys::auxvec as aux;

const PAGE: u64 = PAGE_SIZE_BYTES as u64;
/// Where position-independent programs with an interpreter go: two thirds of the address space (`ELF_ET_DYN_BASE`).
const PROGRAM_BASE: u64 = (USER_END / 3 * 2) & !(PAGE - 1);
/// How far that, and the stack, move at random: whole pages.
const PROGRAM_RANDOM_PAGES: u64 = 1 << 22;
const STACK_RANDOM_PAGES: u64 = 1 << 12;
/// What is mapped of the stack below the arguments at once; the rest grows.
const STACK_RESERVE_BYTES: u64 = 128 * 1024;

/// A program in memory, ready to start.
pub struct Loaded {
    /// First instruction: the interpreter's, if there is one.
    pub start: u64,
    /// Stack pointer.
    pub stack_pointer: u64,
    /// Where argv's strings lie.
    pub arguments: (u64, u64),
    /// Where the environment's strings lie.
    pub environment: (u64, u64),
    /// As on the stack.
    pub auxiliary_vector: Vec<u64>,
}

/// What the auxiliary vector tells of the credentials.
#[allow(missing_docs)]
pub struct Identity {
    pub uid: u32,
    pub effective_uid: u32,
    pub gid: u32,
    pub effective_gid: u32,
    /// Privileges were gained: the C library must not trust its environment.
    pub secure: bool,
}

/// An ELF file with its headers.
pub struct Binary {
    /// The file.
    pub program: Program,
    /// Its headers.
    pub image: Image,
}

/// Loads everything. An error leaves the address space half filled; it is to be thrown away.
pub fn load(
    space: &Arc<AddressSpace>,
    binary: &Binary,
    interpreter: Option<&Binary>,
    strings: &Arguments,
    file_name: &[u8],
    identity: &Identity,
    randomize: bool,
) -> Result<Loaded> {
    let random_pages = |limit: u64| if randomize { crate::dev::random::next_u64() % limit * PAGE } else { 0 };
    let base = match (binary.image.relocatable, interpreter) {
        (false, _) => Some(0),
        (true, Some(_)) => Some(PROGRAM_BASE + random_pages(PROGRAM_RANDOM_PAGES)),
        (true, None) => None,
    };
    let stack_top = USER_END - PAGE - random_pages(STACK_RANDOM_PAGES);
    let bias = map_image(space, &binary.program.executable.file, &binary.image, base)?;
    let entry = binary.image.entry.wrapping_add(bias);
    let (start, interpreter_base) = match interpreter {
        None => (entry, 0),
        Some(interpreter) => {
            let fixed = if interpreter.image.relocatable { None } else { Some(0) };
            let bias = map_image(space, &interpreter.program.executable.file, &interpreter.image, fixed)?;
            (interpreter.image.entry.wrapping_add(bias), bias)
        }
    };
    let (_, end) = binary.image.extent().unwrap_or((0, 0));
    space.init_break(end.wrapping_add(bias).wrapping_add(random_pages(if randomize { 0x2000 } else { 1 })));
    let vector = AuxiliaryVector {
        vdso: vdso::map(space, &crate::task::current().namespaces().time)?,
        headers: binary.image.headers_address().wrapping_add(bias),
        header_count: binary.image.segments.len() as u64,
        interpreter_base,
        entry,
    };
    let mut loaded = build_stack(space, stack_top, strings, file_name, identity, &vector, &binary.image)?;
    loaded.start = start;
    Ok(loaded)
}

/// Maps all segments; gives what is to be added to their addresses. `base` is where the lowest address goes (0 with `ET_EXEC`: as it
/// says); `None` lets the address space choose.
fn map_image(space: &AddressSpace, file: &Arc<OpenFile>, image: &Image, base: Option<u64>) -> Result<u64> {
    // Without anything to load Linux goes on, and the first instruction faults.
    let Some((low, high)) = image.extent() else {
        return if image.loadable().next().is_none() { Ok(0) } else { Err(Errno::INVAL) };
    };
    let bias = match base {
        Some(_) if !image.relocatable => 0,
        Some(base) => (base & !(image.alignment() - 1)).wrapping_sub(low),
        None => choose(space, high - low, image.alignment())?.wrapping_sub(low),
    };
    let end = high.wrapping_add(bias);
    if end > USER_END || low.wrapping_add(bias) >= end {
        return Err(Errno::NOMEM);
    }
    let mapped = file.mapped()?;
    for segment in image.loadable() {
        map_segment(space, &mapped, segment, bias)?;
    }
    Ok(bias)
}

/// A free place for `len_bytes` bytes.
fn choose(space: &AddressSpace, len_bytes: u64, alignment: u64) -> Result<u64> {
    let padded = len_bytes.checked_add(alignment - PAGE).ok_or(Errno::NOMEM)?;
    let address = space.map(request(0, padded, Protection::empty(), Backing::Anonymous, false), INFINITY)?;
    space.unmap(address, padded)?;
    Ok(address.next_multiple_of(alignment))
}

fn request(address: u64, len_bytes: u64, protection: Protection, backing: Backing, fixed: bool) -> MapRequest {
    MapRequest {
        address,
        len_bytes,
        protection,
        max_protection: Protection::all(),
        fixed,
        no_replace: false,
        grows_down: false,
        populate: false,
        low: false,
        backing,
    }
}

fn map_segment(
    space: &AddressSpace,
    file: &Arc<dyn crate::mm::address_space::MappedFile>,
    segment: &ProgramHeader,
    bias: u64,
) -> Result<()> {
    if segment.p_filesz > segment.p_memsz {
        return Err(Errno::INVAL);
    }
    let protection = protection_of(segment.p_flags);
    let start = segment.p_vaddr.wrapping_add(bias);
    let in_page = start % PAGE;
    let file_end = start.checked_add(segment.p_filesz).ok_or(Errno::INVAL)?;
    let memory_end = start.checked_add(segment.p_memsz).ok_or(Errno::INVAL)?;
    if memory_end > USER_END {
        return Err(Errno::NOMEM);
    }
    if segment.p_filesz != 0 {
        let offset_bytes = segment.p_offset.checked_sub(in_page).ok_or(Errno::INVAL)?;
        if offset_bytes % PAGE != 0 {
            return Err(Errno::INVAL);
        }
        let backing = Backing::File { file: file.clone(), offset_bytes, shared: false };
        space.map(request(start - in_page, segment.p_filesz + in_page, protection, backing, true), INFINITY)?;
    }
    if memory_end == file_end {
        return Ok(());
    }
    let zero_from = if segment.p_filesz == 0 { start - in_page } else { file_end.next_multiple_of(PAGE) };
    if memory_end > zero_from {
        space.map(request(zero_from, memory_end - zero_from, protection, Backing::Anonymous, true), INFINITY)?;
    }
    // To the end of the page, as Linux does: ld.so takes its first allocations from there and trusts that they are zero.
    let tail = zero_from.saturating_sub(file_end);
    if segment.p_filesz != 0 && tail != 0 && protection.contains(Protection::WRITE) {
        space.write_remote(file_end, &[0; PAGE_SIZE_BYTES][..tail as usize])?;
    }
    Ok(())
}

fn protection_of(flags: u32) -> Protection {
    let mut protection = Protection::empty();
    protection.set(Protection::READ, flags & abi::PF_R != 0);
    protection.set(Protection::WRITE, flags & abi::PF_W != 0);
    protection.set(Protection::EXEC, flags & abi::PF_X != 0);
    protection
}

struct AuxiliaryVector {
    vdso: u64,
    headers: u64,
    header_count: u64,
    interpreter_base: u64,
    entry: u64,
}

impl AuxiliaryVector {
    fn words(&self, identity: &Identity, random: u64, file_name: u64, platform: u64) -> Vec<u64> {
        let entries = [
            (aux::AT_SYSINFO_EHDR, self.vdso),
            (aux::AT_MINSIGSTKSZ, crate::task::signal::frame::MIN_STACK_BYTES),
            (aux::AT_HWCAP, u64::from(hardware_capabilities())),
            (aux::AT_PAGESZ, PAGE),
            (aux::AT_CLKTCK, 100),
            (aux::AT_PHDR, self.headers),
            (aux::AT_PHENT, size_of::<linux_raw_sys::elf_uapi::Elf64_Phdr>() as u64),
            (aux::AT_PHNUM, self.header_count),
            (aux::AT_BASE, self.interpreter_base),
            (aux::AT_FLAGS, 0),
            (aux::AT_ENTRY, self.entry),
            (aux::AT_UID, u64::from(identity.uid)),
            (aux::AT_EUID, u64::from(identity.effective_uid)),
            (aux::AT_GID, u64::from(identity.gid)),
            (aux::AT_EGID, u64::from(identity.effective_gid)),
            (aux::AT_SECURE, u64::from(identity.secure)),
            (aux::AT_RANDOM, random),
            (aux::AT_HWCAP2, 0),
            (aux::AT_RSEQ_FEATURE_SIZE, rseq::FEATURE_LEN_BYTES),
            (aux::AT_RSEQ_ALIGN, rseq::ALIGNMENT_BYTES),
            (aux::AT_EXECFN, file_name),
            (aux::AT_PLATFORM, platform),
            (aux::AT_NULL, 0),
        ];
        entries.into_iter().flat_map(|(key, value)| [u64::from(key), value]).collect()
    }
}

/// `AT_HWCAP` on x86-64: CPUID leaf 1, EDX.
fn hardware_capabilities() -> u32 {
    core::arch::x86_64::__cpuid(1).edx
}

/// Strings being laid out from the top of the stack downwards.
struct StringArea {
    bytes: Vec<u8>,
    top: u64,
}

impl StringArea {
    /// Puts bytes below what is there; gives their address.
    fn push(&mut self, bytes: &[u8]) -> u64 {
        // Kept in reverse, so that the area grows at its end.
        self.bytes.extend(bytes.iter().rev());
        self.address()
    }

    fn push_string(&mut self, string: &[u8]) -> u64 {
        self.bytes.push(0);
        self.push(string)
    }

    fn address(&self) -> u64 {
        self.top - self.bytes.len() as u64
    }
}

/// The top of a new stack (System V ABI, 3.4.1): strings, the auxiliary vector, pointers to environment and arguments, their count.
fn build_stack(
    space: &AddressSpace,
    top: u64,
    strings: &Arguments,
    file_name: &[u8],
    identity: &Identity,
    vector: &AuxiliaryVector,
    image: &Image,
) -> Result<Loaded> {
    let mut area = StringArea { bytes: Vec::new(), top };
    let expected: usize = strings.arguments.iter().chain(&strings.environment).map(|string| string.len() + 1).sum();
    area.bytes.try_reserve(expected + file_name.len() + 64).map_err(|_| Errno::NOMEM)?;
    area.push(&[0; 8]);
    let file_name = area.push_string(file_name);
    let environment_end = area.address();
    let environment = push_all(&mut area, &strings.environment);
    let arguments_end = area.address();
    let arguments = push_all(&mut area, &strings.arguments);
    let arguments_start = area.address();
    let platform = area.push_string(b"x86_64");
    let mut seed = [0; 16];
    crate::dev::random::fill(&mut seed);
    let random = area.push(&seed);

    let auxiliary_vector = vector.words(identity, random, file_name, platform);
    let word_count = 1 + arguments.len() + 1 + environment.len() + 1 + auxiliary_vector.len();
    let stack_pointer = (area.address() - word_count as u64 * 8) & !15;
    let mut words = Vec::new();
    words.try_reserve_exact(word_count * 8).map_err(|_| Errno::NOMEM)?;
    let argument_count = arguments.len() as u64;
    let list = once(&argument_count).chain(&arguments).chain(once(&0)).chain(&environment).chain(once(&0)).chain(&auxiliary_vector);
    list.for_each(|word| words.extend(word.to_ne_bytes()));

    map_stack(space, stack_pointer, top, image.wants_executable_stack())?;
    area.bytes.reverse();
    write_all(space, area.top - area.bytes.len() as u64, &area.bytes)?;
    write_all(space, stack_pointer, &words)?;
    Ok(Loaded {
        start: 0,
        stack_pointer,
        arguments: (arguments_start, arguments_end),
        environment: (arguments_end, environment_end),
        auxiliary_vector,
    })
}

/// In order of their addresses the first string is lowest.
fn push_all(area: &mut StringArea, strings: &Strings) -> Vec<u64> {
    let mut addresses: Vec<u64> = strings.iter().rev().map(|string| area.push_string(string)).collect();
    addresses.reverse();
    addresses
}

fn map_stack(space: &AddressSpace, stack_pointer: u64, top: u64, executable: bool) -> Result<()> {
    let bottom = (stack_pointer & !(PAGE - 1)) - STACK_RESERVE_BYTES;
    let mut protection = Protection::READ | Protection::WRITE;
    protection.set(Protection::EXEC, executable);
    let mut stack = request(bottom, top.next_multiple_of(PAGE) - bottom, protection, Backing::Anonymous, true);
    stack.grows_down = true;
    space.map(stack, INFINITY).map(|_| ())
}

fn write_all(space: &AddressSpace, address: u64, bytes: &[u8]) -> Result<()> {
    if space.write_remote(address, bytes)? == bytes.len() { Ok(()) } else { Err(Errno::NOMEM) }
}
