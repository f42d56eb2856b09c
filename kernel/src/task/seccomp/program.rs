//! Classic BPF as seccomp admits it: 32-bit words, an accumulator, an index register and sixteen words of memory; jumps go forwards.

use super::CALL_DATA_BYTES;
use crate::errno::{Errno, Result};
use alloc::vec::Vec;
use linux_raw_sys::ptrace as abi;

/// Bytes of `struct sock_filter`.
pub const INSTRUCTION_BYTES: usize = 8;
/// Most instructions of one program.
pub const MAX_INSTRUCTIONS: usize = abi::BPF_MAXINSNS as usize;
const MEMORY_WORDS: usize = abi::BPF_MEMWORDS as usize;

/// `struct sock_filter`, with what it does worked out.
#[derive(Clone, Copy, Debug)]
enum Operation {
    LoadCallData(usize),
    Load(Source),
    LoadIndex(Source),
    Store(usize),
    StoreIndex(usize),
    Compute(Arithmetic, Operand),
    Negate,
    Jump(usize),
    Branch { condition: Condition, operand: Operand, if_true: usize, if_false: usize },
    Return(Operand),
    AccumulatorToIndex,
    IndexToAccumulator,
}

#[derive(Clone, Copy, Debug)]
enum Source {
    Immediate(u32),
    Memory(usize),
}

/// The second operand: a constant, the index register; of a return the accumulator.
#[derive(Clone, Copy, Debug)]
enum Operand {
    Constant(u32),
    Register,
}

#[derive(Clone, Copy, Debug)]
enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    And,
    Or,
    ExclusiveOr,
    ShiftLeft,
    ShiftRight,
}

#[derive(Clone, Copy, Debug)]
enum Condition {
    Equal,
    Greater,
    GreaterOrEqual,
    AnyBit,
}

/// A program that was checked: every jump leads to an instruction further on, and the last one returns.
pub struct Program(Vec<Operation>);

const LOAD_WORD: u32 = abi::BPF_LD | abi::BPF_W;
const LOAD_INDEX_WORD: u32 = abi::BPF_LDX | abi::BPF_W;
const FROM_INDEX: u32 = abi::BPF_X;
const OPERATION_MASK: u32 = 0xf0;
const CLASS_MASK: u32 = 0x07;

impl Program {
    /// Checks a program. `EINVAL` for an instruction that is unknown or not for seccomp, a jump or a place out of range, memory that is read
    /// before it was written, and a program that does not end with a return.
    pub fn new(bytes: &[u8]) -> Result<Self> {
        let count = bytes.len() / INSTRUCTION_BYTES;
        if count == 0 || count > MAX_INSTRUCTIONS {
            return Err(Errno::INVAL);
        }
        let mut operations = Vec::new();
        operations.try_reserve_exact(count).map_err(|_| Errno::NOMEM)?;
        for (at, bytes) in bytes.chunks_exact(INSTRUCTION_BYTES).enumerate() {
            operations.push(decode(bytes, count - at - 1)?);
        }
        if !matches!(operations.last(), Some(Operation::Return(_))) {
            return Err(Errno::INVAL);
        }
        check_memory(&operations)?;
        Ok(Self(operations))
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    /// How much it counts against the limit of a chain: a return of a constant is two instructions of the machine that Linux translates to.
    pub fn cost(&self) -> usize {
        self.len() + self.0.iter().filter(|operation| matches!(operation, Operation::Return(Operand::Constant(_)))).count()
    }

    /// What it says about a call. Each instruction runs at most once.
    pub fn run(&self, call: &[u8; CALL_DATA_BYTES]) -> u32 {
        let (mut accumulator, mut index) = (0u32, 0u32);
        let mut memory = [0u32; MEMORY_WORDS];
        let mut at = 0;
        while let Some(operation) = self.0.get(at) {
            at += 1;
            match *operation {
                Operation::LoadCallData(offset) => accumulator = word(call, offset),
                Operation::Load(source) => accumulator = value(source, &memory),
                Operation::LoadIndex(source) => index = value(source, &memory),
                Operation::Store(place) => memory[place] = accumulator,
                Operation::StoreIndex(place) => memory[place] = index,
                Operation::Compute(arithmetic, operand) => match compute(arithmetic, accumulator, second(operand, index)) {
                    Some(result) => accumulator = result,
                    // Division by zero ends the program, and the thread.
                    None => return abi::SECCOMP_RET_KILL_THREAD,
                },
                Operation::Negate => accumulator = accumulator.wrapping_neg(),
                Operation::Jump(distance) => at += distance,
                Operation::Branch { condition, operand, if_true, if_false } => {
                    let taken = holds(condition, accumulator, second(operand, index));
                    at += if taken { if_true } else { if_false };
                }
                Operation::Return(operand) => return second(operand, accumulator),
                Operation::AccumulatorToIndex => index = accumulator,
                Operation::IndexToAccumulator => accumulator = index,
            }
        }
        abi::SECCOMP_RET_KILL_PROCESS
    }
}

fn word(bytes: &[u8; CALL_DATA_BYTES], offset: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[offset..offset + 4]);
    u32::from_ne_bytes(word)
}

fn value(source: Source, memory: &[u32; MEMORY_WORDS]) -> u32 {
    match source {
        Source::Immediate(value) => value,
        Source::Memory(place) => memory[place],
    }
}

fn second(operand: Operand, register: u32) -> u32 {
    match operand {
        Operand::Constant(constant) => constant,
        Operand::Register => register,
    }
}

fn compute(arithmetic: Arithmetic, a: u32, b: u32) -> Option<u32> {
    Some(match arithmetic {
        Arithmetic::Add => a.wrapping_add(b),
        Arithmetic::Subtract => a.wrapping_sub(b),
        Arithmetic::Multiply => a.wrapping_mul(b),
        Arithmetic::Divide => a.checked_div(b)?,
        Arithmetic::And => a & b,
        Arithmetic::Or => a | b,
        Arithmetic::ExclusiveOr => a ^ b,
        Arithmetic::ShiftLeft => a.wrapping_shl(b),
        Arithmetic::ShiftRight => a.wrapping_shr(b),
    })
}

fn holds(condition: Condition, a: u32, b: u32) -> bool {
    match condition {
        Condition::Equal => a == b,
        Condition::Greater => a > b,
        Condition::GreaterOrEqual => a >= b,
        Condition::AnyBit => a & b != 0,
    }
}

/// Decodes one instruction behind which `behind` others stand.
fn decode(bytes: &[u8], behind: usize) -> Result<Operation> {
    let code = u32::from(u16::from_ne_bytes([bytes[0], bytes[1]]));
    let (if_true, if_false) = (usize::from(bytes[2]), usize::from(bytes[3]));
    let constant = u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
    let place = || usize::try_from(constant).ok().filter(|place| *place < MEMORY_WORDS).ok_or(Errno::INVAL);
    let operand = if code & FROM_INDEX != 0 { Operand::Register } else { Operand::Constant(constant) };
    Ok(match code & CLASS_MASK {
        abi::BPF_LD => match code {
            _ if code == LOAD_WORD | abi::BPF_ABS => {
                let offset = constant as usize;
                if offset + 4 > CALL_DATA_BYTES || !offset.is_multiple_of(4) {
                    return Err(Errno::INVAL);
                }
                Operation::LoadCallData(offset)
            }
            _ if code == LOAD_WORD | abi::BPF_LEN => Operation::Load(Source::Immediate(CALL_DATA_BYTES as u32)),
            _ if code == abi::BPF_LD | abi::BPF_IMM => Operation::Load(Source::Immediate(constant)),
            _ if code == abi::BPF_LD | abi::BPF_MEM => Operation::Load(Source::Memory(place()?)),
            _ => return Err(Errno::INVAL),
        },
        abi::BPF_LDX => match code {
            _ if code == LOAD_INDEX_WORD | abi::BPF_LEN => Operation::LoadIndex(Source::Immediate(CALL_DATA_BYTES as u32)),
            _ if code == abi::BPF_LDX | abi::BPF_IMM => Operation::LoadIndex(Source::Immediate(constant)),
            _ if code == abi::BPF_LDX | abi::BPF_MEM => Operation::LoadIndex(Source::Memory(place()?)),
            _ => return Err(Errno::INVAL),
        },
        abi::BPF_ST if code == abi::BPF_ST => Operation::Store(place()?),
        abi::BPF_STX if code == abi::BPF_STX => Operation::StoreIndex(place()?),
        abi::BPF_ALU => decode_arithmetic(code, constant, operand)?,
        abi::BPF_JMP => {
            let operation = decode_jump(code, constant, operand, if_true, if_false)?;
            let farthest = match operation {
                Operation::Jump(distance) => distance,
                _ => if_true.max(if_false),
            };
            if farthest >= behind {
                return Err(Errno::INVAL);
            }
            operation
        }
        abi::BPF_RET if code == abi::BPF_RET | abi::BPF_K => Operation::Return(Operand::Constant(constant)),
        abi::BPF_RET if code == abi::BPF_RET | abi::BPF_A => Operation::Return(Operand::Register),
        abi::BPF_MISC if code == abi::BPF_MISC | abi::BPF_TAX => Operation::AccumulatorToIndex,
        abi::BPF_MISC if code == abi::BPF_MISC | abi::BPF_TXA => Operation::IndexToAccumulator,
        _ => return Err(Errno::INVAL),
    })
}

fn decode_arithmetic(code: u32, constant: u32, operand: Operand) -> Result<Operation> {
    if code & !(CLASS_MASK | OPERATION_MASK | FROM_INDEX) != 0 {
        return Err(Errno::INVAL);
    }
    let by_constant = matches!(operand, Operand::Constant(_));
    let arithmetic = match code & OPERATION_MASK {
        abi::BPF_ADD => Arithmetic::Add,
        abi::BPF_SUB => Arithmetic::Subtract,
        abi::BPF_MUL => Arithmetic::Multiply,
        abi::BPF_DIV if !(by_constant && constant == 0) => Arithmetic::Divide,
        abi::BPF_AND => Arithmetic::And,
        abi::BPF_OR => Arithmetic::Or,
        abi::BPF_XOR => Arithmetic::ExclusiveOr,
        abi::BPF_LSH if !(by_constant && constant >= u32::BITS) => Arithmetic::ShiftLeft,
        abi::BPF_RSH if !(by_constant && constant >= u32::BITS) => Arithmetic::ShiftRight,
        abi::BPF_NEG if by_constant => return Ok(Operation::Negate),
        _ => return Err(Errno::INVAL),
    };
    Ok(Operation::Compute(arithmetic, operand))
}

fn decode_jump(code: u32, constant: u32, operand: Operand, if_true: usize, if_false: usize) -> Result<Operation> {
    if code & !(CLASS_MASK | OPERATION_MASK | FROM_INDEX) != 0 {
        return Err(Errno::INVAL);
    }
    let condition = match code & OPERATION_MASK {
        abi::BPF_JA if code == abi::BPF_JMP | abi::BPF_JA => return Ok(Operation::Jump(constant as usize)),
        abi::BPF_JEQ => Condition::Equal,
        abi::BPF_JGT => Condition::Greater,
        abi::BPF_JGE => Condition::GreaterOrEqual,
        abi::BPF_JSET => Condition::AnyBit,
        _ => return Err(Errno::INVAL),
    };
    Ok(Operation::Branch { condition, operand, if_true, if_false })
}

/// Memory must have been written on every path to where it is read. Jumps go forwards, so one pass sees all paths; what is known to be
/// written is a bit each.
fn check_memory(operations: &[Operation]) -> Result<()> {
    let mut arriving = Vec::new();
    arriving.try_reserve_exact(operations.len()).map_err(|_| Errno::NOMEM)?;
    arriving.resize(operations.len(), u16::MAX);
    let mut written = 0u16;
    for (at, operation) in operations.iter().enumerate() {
        written &= arriving[at];
        let mut jump = |distance: usize, written: u16| {
            if let Some(known) = arriving.get_mut(at + 1 + distance) {
                *known &= written;
            }
        };
        match *operation {
            Operation::Store(place) | Operation::StoreIndex(place) => written |= 1 << place,
            Operation::Load(Source::Memory(place)) | Operation::LoadIndex(Source::Memory(place)) if written & 1 << place == 0 => {
                return Err(Errno::INVAL);
            }
            // What follows is reached by jumps alone.
            Operation::Jump(distance) => {
                jump(distance, written);
                written = u16::MAX;
            }
            Operation::Branch { if_true, if_false, .. } => {
                jump(if_true, written);
                jump(if_false, written);
                written = u16::MAX;
            }
            Operation::Return(_) => written = u16::MAX,
            _ => {}
        }
    }
    Ok(())
}
