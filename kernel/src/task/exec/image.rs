//! ELF files as exec reads them: the headers, checked before anything of the old program is given up.

use super::program::Program;
use crate::errno::{Errno, Result};
use crate::task::exec::program::HEAD_LEN_BYTES;
use alloc::vec::Vec;
use elf::abi;
use elf::endian::LittleEndian;
use elf::file::{Class, FileHeader, parse_ident};
use elf::parse::ParsingTable;
use elf::segment::ProgramHeader;

/// Bytes of `Elf64_Ehdr`.
pub const HEADER_LEN_BYTES: usize = 64;
/// Bytes of `Elf64_Phdr`.
const PROGRAM_HEADER_LEN_BYTES: usize = 56;
/// Most bytes of program headers.
const MAX_HEADERS_BYTES: usize = 65536;
/// Longest name of an interpreter, with its NUL.
const MAX_INTERPRETER_BYTES: u64 = 4096;

/// An ELF file's headers.
pub struct Image {
    /// Whether it may be loaded anywhere (`ET_DYN`).
    pub relocatable: bool,
    /// Where it starts, before relocation.
    pub entry: u64,
    /// `e_phoff`, and how many program headers there are.
    pub headers_offset: u64,
    /// All program headers.
    pub segments: Vec<ProgramHeader>,
}

impl Image {
    /// Reads and checks the headers. Everything that is wrong is `invalid`: `ENOEXEC` for a program, `ELIBBAD` for its interpreter.
    pub fn read(program: &Program, invalid: Errno) -> Result<Self> {
        let header = parse_header(&program.head).ok_or(invalid)?;
        let count = usize::from(header.e_phnum);
        let len_bytes = count * PROGRAM_HEADER_LEN_BYTES;
        let sound = header.class == Class::ELF64
            && matches!(header.e_type, abi::ET_EXEC | abi::ET_DYN)
            && header.e_machine == abi::EM_X86_64
            && usize::from(header.e_phentsize) == PROGRAM_HEADER_LEN_BYTES
            && count != 0
            && len_bytes <= MAX_HEADERS_BYTES;
        if !sound {
            return Err(invalid);
        }
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(len_bytes).map_err(|_| Errno::NOMEM)?;
        bytes.resize(len_bytes, 0);
        program.read_exact(header.e_phoff, &mut bytes).map_err(|_| invalid)?;
        let segments = ParsingTable::<LittleEndian, ProgramHeader>::new(LittleEndian, Class::ELF64, &bytes).iter().collect();
        Ok(Self { relocatable: header.e_type == abi::ET_DYN, entry: header.e_entry, headers_offset: header.e_phoff, segments })
    }

    /// The segments to be loaded.
    pub fn loadable(&self) -> impl Iterator<Item = &ProgramHeader> {
        self.segments.iter().filter(|segment| segment.p_type == abi::PT_LOAD)
    }

    /// The name of the interpreter, if the file wants one (the first `PT_INTERP` counts).
    pub fn interpreter(&self, program: &Program) -> Result<Option<Vec<u8>>> {
        let Some(segment) = self.segments.iter().find(|segment| segment.p_type == abi::PT_INTERP) else { return Ok(None) };
        if !(2..=MAX_INTERPRETER_BYTES).contains(&segment.p_filesz) {
            return Err(Errno::NOEXEC);
        }
        let mut name = alloc::vec![0; segment.p_filesz as usize];
        program.read_exact(segment.p_offset, &mut name)?;
        if name.pop() != Some(0) {
            return Err(Errno::NOEXEC);
        }
        let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        name.truncate(end);
        Ok(Some(name))
    }

    /// Whether the stack is to be executable (`PT_GNU_STACK`).
    pub fn wants_executable_stack(&self) -> bool {
        self.segments.iter().any(|segment| segment.p_type == abi::PT_GNU_STACK && segment.p_flags & abi::PF_X != 0)
    }

    /// Where the program headers are in memory, before relocation: `PT_PHDR`, or the segment that holds them.
    pub fn headers_address(&self) -> u64 {
        if let Some(segment) = self.segments.iter().find(|segment| segment.p_type == abi::PT_PHDR) {
            return segment.p_vaddr;
        }
        let holds =
            |segment: &&ProgramHeader| self.headers_offset.checked_sub(segment.p_offset).is_some_and(|offset| offset < segment.p_filesz);
        let segment = self.loadable().find(holds);
        segment.map_or(0, |segment| (self.headers_offset - segment.p_offset).wrapping_add(segment.p_vaddr))
    }

    /// The lowest address and the end of all segments, before relocation, to whole pages. `None` if there are none or they make no sense.
    pub fn extent(&self) -> Option<(u64, u64)> {
        let start = self.loadable().map(|segment| segment.p_vaddr & !0xfff).min()?;
        let mut end = 0;
        for segment in self.loadable() {
            end = end.max(segment.p_vaddr.checked_add(segment.p_memsz)?.checked_add(0xfff)? & !0xfff);
        }
        (end > start).then_some((start, end))
    }

    /// The largest alignment that a segment asks for, at least a page (`p_align` that is no power of two counts for nothing).
    pub fn alignment(&self) -> u64 {
        self.loadable().map(|segment| segment.p_align).filter(|align| align.is_power_of_two()).fold(4096, u64::max)
    }
}

fn parse_header(head: &[u8; HEAD_LEN_BYTES]) -> Option<FileHeader<LittleEndian>> {
    let ident = parse_ident::<LittleEndian>(&head[..abi::EI_NIDENT]).ok()?;
    FileHeader::parse_tail(ident, &head[abi::EI_NIDENT..HEADER_LEN_BYTES]).ok()
}
