//! Instructions of eBPF (Linux's `Documentation/bpf/standardization/instruction-set.rst`, RFC 9669).

use crate::errno::{Errno, Result};
use alloc::vec::Vec;

/// Bytes of one.
pub const INSTRUCTION_BYTES: usize = 8;
/// Registers: R0 to R9, and R10, the frame pointer.
pub const REGISTERS: usize = 11;
/// The frame pointer.
pub const FRAME_POINTER: usize = 10;
/// Bytes of a program's stack.
pub const STACK_BYTES: usize = 512;

/// One instruction.
#[derive(Clone, Copy, Debug)]
pub struct Instruction {
    /// Class, operation, and where the second operand comes from.
    pub opcode: u8,
    /// Destination register.
    pub destination: u8,
    /// Source register.
    pub source: u8,
    /// Of a jump in instructions, of a load or store in bytes.
    pub offset: i16,
    /// Immediate operand.
    pub immediate: i32,
}

/// What an instruction does, with fields that it does not use known to be zero.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub enum Kind {
    /// Arithmetic; `wide` on 64 bits, else on 32 with the upper half zeroed.
    Arithmetic {
        operation: Arithmetic,
        operand: Operand,
        wide: bool,
    },
    /// Byte order, on 16, 32 or 64 bits.
    ToLittleEndian(u32),
    ToBigEndian(u32),
    /// Both halves of a 64-bit immediate.
    LoadImmediate(u64),
    /// A load of so many bytes from `[source + offset]`.
    Load(usize),
    /// A store of so many bytes to `[destination + offset]`.
    Store(usize, Operand),
    /// A jump that is always taken.
    Jump,
    /// A jump on a condition; `wide` on 64 bits.
    Branch {
        condition: Condition,
        operand: Operand,
        wide: bool,
    },
    Exit,
}

/// The second operand.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub enum Operand {
    Immediate,
    Register,
}

/// Operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Or,
    And,
    ShiftLeft,
    ShiftRight,
    Negate,
    Modulo,
    ExclusiveOr,
    Move,
    SignedShiftRight,
}

/// Conditions of jumps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Condition {
    Equal,
    Greater,
    GreaterOrEqual,
    AnyBit,
    NotEqual,
    SignedGreater,
    SignedGreaterOrEqual,
    Less,
    LessOrEqual,
    SignedLess,
    SignedLessOrEqual,
}

const CLASS_LD: u8 = 0;
const CLASS_LDX: u8 = 1;
const CLASS_ST: u8 = 2;
const CLASS_STX: u8 = 3;
const CLASS_ALU: u8 = 4;
const CLASS_JMP: u8 = 5;
const CLASS_JMP32: u8 = 6;
const CLASS_ALU64: u8 = 7;
const MODE_IMMEDIATE: u8 = 0x00;
const MODE_MEMORY: u8 = 0x60;
const SIZE_DOUBLE: u8 = 0x18;
const FROM_REGISTER: u8 = 0x08;

/// All instructions of a program. Bytes that are no whole instruction at the end are left out.
pub fn decode_all(bytes: &[u8]) -> Vec<Instruction> {
    bytes
        .chunks_exact(INSTRUCTION_BYTES)
        .map(|bytes| Instruction {
            opcode: bytes[0],
            destination: bytes[1] & 0xf,
            source: bytes[1] >> 4,
            offset: i16::from_le_bytes([bytes[2], bytes[3]]),
            immediate: i32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        })
        .collect()
}

impl Instruction {
    /// The immediate as a 64-bit operand.
    pub fn wide_immediate(&self) -> u64 {
        i64::from(self.immediate) as u64
    }

    /// What it does. `next` is the instruction behind it, which holds the upper half of a 64-bit immediate. `EINVAL` for what is unknown,
    /// uses a field that must be zero, or is not admitted here: calls, atomic operations, packet loads, maps.
    pub fn kind(&self, next: Option<&Self>) -> Result<Kind> {
        let registers = usize::from(self.destination.max(self.source));
        if registers >= REGISTERS {
            return Err(Errno::INVAL);
        }
        match self.opcode & 7 {
            CLASS_ALU | CLASS_ALU64 => self.arithmetic(),
            CLASS_JMP | CLASS_JMP32 => self.jump(),
            CLASS_LD if self.opcode == CLASS_LD | MODE_IMMEDIATE | SIZE_DOUBLE => self.load_immediate(next.ok_or(Errno::INVAL)?),
            CLASS_LDX if self.is_memory_mode() && self.immediate == 0 => Ok(Kind::Load(self.size_bytes())),
            CLASS_ST if self.is_memory_mode() && self.source == 0 => Ok(Kind::Store(self.size_bytes(), Operand::Immediate)),
            CLASS_STX if self.is_memory_mode() && self.immediate == 0 => Ok(Kind::Store(self.size_bytes(), Operand::Register)),
            _ => Err(Errno::INVAL),
        }
    }

    fn is_memory_mode(&self) -> bool {
        self.opcode & 0xe0 == MODE_MEMORY
    }

    fn size_bytes(&self) -> usize {
        [4, 2, 1, 8][usize::from(self.opcode >> 3 & 3)]
    }

    /// Where the second operand is; the unused of the two fields must be zero.
    fn operand(&self) -> Result<Operand> {
        let from_register = self.opcode & FROM_REGISTER != 0;
        let unused_is_zero = if from_register { self.immediate == 0 } else { self.source == 0 };
        match (unused_is_zero, from_register) {
            (false, _) => Err(Errno::INVAL),
            (true, true) => Ok(Operand::Register),
            (true, false) => Ok(Operand::Immediate),
        }
    }

    fn load_immediate(&self, next: &Self) -> Result<Kind> {
        // A source register here would name a map.
        let plain = self.source == 0 && self.offset == 0;
        let upper_half = next.opcode == 0 && next.destination == 0 && next.source == 0 && next.offset == 0;
        if !plain || !upper_half {
            return Err(Errno::INVAL);
        }
        Ok(Kind::LoadImmediate(u64::from(self.immediate as u32) | u64::from(next.immediate as u32) << 32))
    }

    fn arithmetic(&self) -> Result<Kind> {
        let wide = self.opcode & 7 == CLASS_ALU64;
        if self.offset != 0 {
            return Err(Errno::INVAL);
        }
        let operation = match self.opcode >> 4 {
            0x0 => Arithmetic::Add,
            0x1 => Arithmetic::Subtract,
            0x2 => Arithmetic::Multiply,
            0x3 => Arithmetic::Divide,
            0x4 => Arithmetic::Or,
            0x5 => Arithmetic::And,
            0x6 => Arithmetic::ShiftLeft,
            0x7 => Arithmetic::ShiftRight,
            0x8 if self.opcode & FROM_REGISTER == 0 && self.immediate == 0 && self.source == 0 => Arithmetic::Negate,
            0x9 => Arithmetic::Modulo,
            0xa => Arithmetic::ExclusiveOr,
            0xb => Arithmetic::Move,
            0xc => Arithmetic::SignedShiftRight,
            0xd if !wide && self.source == 0 && matches!(self.immediate, 16 | 32 | 64) => {
                let bits = self.immediate as u32;
                return Ok(if self.opcode & FROM_REGISTER == 0 { Kind::ToLittleEndian(bits) } else { Kind::ToBigEndian(bits) });
            }
            _ => return Err(Errno::INVAL),
        };
        let operand = self.operand()?;
        if matches!(operand, Operand::Immediate) {
            let divides = matches!(operation, Arithmetic::Divide | Arithmetic::Modulo);
            let shifts = matches!(operation, Arithmetic::ShiftLeft | Arithmetic::ShiftRight | Arithmetic::SignedShiftRight);
            let width = if wide { 64 } else { 32 };
            if divides && self.immediate == 0 || shifts && !(0..width).contains(&self.immediate) {
                return Err(Errno::INVAL);
            }
        }
        Ok(Kind::Arithmetic { operation, operand, wide })
    }

    fn jump(&self) -> Result<Kind> {
        let wide = self.opcode & 7 == CLASS_JMP;
        let condition = match self.opcode >> 4 {
            0x0 | 0x9 => {
                let bare = wide && self.opcode & FROM_REGISTER == 0 && self.destination == 0 && self.source == 0 && self.immediate == 0;
                return match (bare, self.opcode >> 4) {
                    (true, 0x0) => Ok(Kind::Jump),
                    (true, _) if self.offset == 0 => Ok(Kind::Exit),
                    _ => Err(Errno::INVAL),
                };
            }
            0x1 => Condition::Equal,
            0x2 => Condition::Greater,
            0x3 => Condition::GreaterOrEqual,
            0x4 => Condition::AnyBit,
            0x5 => Condition::NotEqual,
            0x6 => Condition::SignedGreater,
            0x7 => Condition::SignedGreaterOrEqual,
            0xa => Condition::Less,
            0xb => Condition::LessOrEqual,
            0xc => Condition::SignedLess,
            0xd => Condition::SignedLessOrEqual,
            _ => return Err(Errno::INVAL),
        };
        Ok(Kind::Branch { condition, operand: self.operand()?, wide })
    }
}
