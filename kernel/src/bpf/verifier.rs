//! The check that a program must pass before it is loaded: whatever it is given, it ends, and touches nothing but its registers, its
//! stack and its context.
//!
//! Stricter than Linux's: jumps go forwards only, so each instruction runs at most once and one pass in their order sees every state. What
//! is known of each register is carried along; where paths meet, what both agree on stays.

use super::instruction::{Arithmetic, FRAME_POINTER, Instruction, Kind, Operand, REGISTERS, STACK_BYTES};
use crate::errno::{Errno, Result};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;

/// What the check knows of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    /// Nothing was put there on some path: not to be read.
    Unset,
    /// A number, at most this.
    Number { max: u64 },
    /// An address so many bytes into the context.
    Context(i64),
    /// An address so far from the frame pointer, which points at the stack's end.
    Stack(i64),
}

impl Value {
    fn meet(self, other: Self) -> Self {
        match (self, other) {
            (Self::Number { max: a }, Self::Number { max: b }) => Self::Number { max: a.max(b) },
            (a, b) if a == b => a,
            _ => Self::Unset,
        }
    }
}

/// What is known before an instruction runs.
#[derive(Clone)]
struct State {
    registers: [Value; REGISTERS],
    /// Which bytes of the stack were written, a bit each.
    written: [u64; STACK_BYTES / 64],
}

impl State {
    fn meet(&mut self, other: &Self) {
        for (own, other) in self.registers.iter_mut().zip(other.registers) {
            *own = own.meet(other);
        }
        for (own, other) in self.written.iter_mut().zip(other.written) {
            *own &= other;
        }
    }
}

/// What a type of program is allowed.
pub trait Rules {
    /// Whether the context may be read there, so many bytes.
    fn may_read_context(&self, offset_bytes: i64, size_bytes: usize) -> bool;

    /// The greatest value that it may return.
    fn greatest_result(&self) -> u64;
}

/// Why a program was refused: the errno, and a line for the log that `bpf(2)` hands out.
pub struct Refusal {
    /// `EINVAL` for what is no program, `EACCES` for what it must not do.
    pub errno: Errno,
    /// For people.
    pub message: String,
}

/// Checks a program.
pub fn verify(program: &[Instruction], rules: &dyn Rules) -> Result<(), Refusal> {
    let mut registers = [Value::Unset; REGISTERS];
    registers[1] = Value::Context(0);
    registers[FRAME_POINTER] = Value::Stack(0);
    let mut check = Check { program, rules, arriving: BTreeMap::new() };
    let mut state = Some(Box::new(State { registers, written: [0; STACK_BYTES / 64] }));
    let mut at = 0;
    while at < program.len() {
        // What comes from the instruction before, and from jumps.
        let from_jumps = check.arriving.remove(&at);
        let mut here = match (state.take(), from_jumps) {
            (Some(mut state), Some(other)) => {
                state.meet(&other);
                state
            }
            (Some(state), None) | (None, Some(state)) => state,
            (None, None) => return Err(refuse(Errno::INVAL, at, "unreachable insn")),
        };
        let kind = program[at].kind(program.get(at + 1)).map_err(|errno| refuse(errno, at, "unknown or invalid instruction"))?;
        let behind = if matches!(kind, Kind::LoadImmediate(_)) { at + 2 } else { at + 1 };
        let falls_through = check.step(at, kind, &mut here).map_err(|(errno, why)| refuse(errno, at, why))?;
        if falls_through {
            if behind >= program.len() {
                return Err(refuse(Errno::INVAL, at, "last insn is not an exit or jmp"));
            }
            state = Some(here);
        }
        at = behind;
    }
    Ok(())
}

fn refuse(errno: Errno, at: usize, why: &str) -> Refusal {
    Refusal { errno, message: format!("{at}: {why}\n") }
}

type Step<T = ()> = Result<T, (Errno, &'static str)>;

struct Check<'a> {
    program: &'a [Instruction],
    rules: &'a dyn Rules,
    /// What jumps bring to instructions further on.
    arriving: BTreeMap<usize, Box<State>>,
}

impl Check<'_> {
    /// Runs one instruction on what is known. Whether the one behind it can follow.
    fn step(&mut self, at: usize, kind: Kind, state: &mut State) -> Step<bool> {
        let insn = self.program[at];
        let (destination, source) = (usize::from(insn.destination), usize::from(insn.source));
        match kind {
            Kind::Arithmetic { operation, operand, wide } => arithmetic(state, &insn, operation, operand, wide)?,
            Kind::ToLittleEndian(bits) | Kind::ToBigEndian(bits) => {
                number_in(state, destination)?;
                put(state, destination, Value::Number { max: u64::MAX >> (64 - bits) })?;
            }
            Kind::LoadImmediate(value) => put(state, destination, Value::Number { max: value })?,
            Kind::Load(size) => {
                let value = self.load(state, state.registers[source], i64::from(insn.offset), size)?;
                put(state, destination, value)?;
            }
            Kind::Store(size, operand) => {
                if let Operand::Register = operand {
                    // An address on the stack would be read back as a number.
                    number_in(state, source)?;
                }
                store(state, state.registers[destination], i64::from(insn.offset), size)?;
            }
            Kind::Jump => {
                self.jump(at, &insn, state)?;
                return Ok(false);
            }
            Kind::Branch { operand, .. } => {
                number_in(state, destination)?;
                if let Operand::Register = operand {
                    number_in(state, source)?;
                }
                self.jump(at, &insn, state)?;
            }
            Kind::Exit => {
                let fits = match state.registers[0] {
                    Value::Number { max } => max <= self.rules.greatest_result(),
                    Value::Unset => return Err(UNREADABLE),
                    Value::Context(_) | Value::Stack(_) => false,
                };
                if !fits {
                    return Err((Errno::INVAL, "At program exit the register R0 has a value that is out of range"));
                }
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn jump(&mut self, at: usize, insn: &Instruction, state: &State) -> Step {
        let target = usize::try_from(at as i64 + 1 + i64::from(insn.offset)).map_err(|_| (Errno::INVAL, "jump out of range"))?;
        if target >= self.program.len() {
            return Err((Errno::INVAL, "jump out of range"));
        }
        if insn.offset < 0 {
            return Err((Errno::INVAL, "back-edge"));
        }
        if self.is_second_half(target) {
            return Err((Errno::INVAL, "jump into the middle of ldimm64 insn"));
        }
        match self.arriving.get_mut(&target) {
            Some(other) => other.meet(state),
            None => {
                self.arriving.insert(target, Box::new(state.clone()));
            }
        }
        Ok(())
    }

    /// Whether the instruction is the upper half of a 64-bit immediate: it alone has opcode 0, which is none.
    fn is_second_half(&self, at: usize) -> bool {
        self.program[at].opcode == 0
    }

    fn load(&self, state: &State, base: Value, offset: i64, size: usize) -> Step<Value> {
        match base {
            Value::Context(start) if self.rules.may_read_context(start + offset, size) => {
                Ok(Value::Number { max: u64::MAX >> (64 - 8 * size) })
            }
            Value::Context(_) => Err((Errno::ACCES, "invalid bpf_context access")),
            Value::Stack(start) => {
                let first = stack_index(start + offset, size)?;
                let whole = (first..first + size).all(|byte| state.written[byte / 64] & 1 << (byte % 64) != 0);
                if whole { Ok(Value::Number { max: u64::MAX >> (64 - 8 * size) }) } else { Err((Errno::ACCES, "invalid read from stack")) }
            }
            Value::Number { .. } => Err((Errno::ACCES, "invalid mem access 'scalar'")),
            Value::Unset => Err(UNREADABLE),
        }
    }
}

const UNREADABLE: (Errno, &str) = (Errno::ACCES, "a register is read that was not written (!read_ok)");

/// The number in a register: at most this.
fn number_in(state: &State, register: usize) -> Step<u64> {
    match state.registers[register] {
        Value::Number { max } => Ok(max),
        Value::Unset => Err(UNREADABLE),
        Value::Context(_) | Value::Stack(_) => Err((Errno::ACCES, "pointer used as a number")),
    }
}

fn put(state: &mut State, register: usize, value: Value) -> Step {
    if register == FRAME_POINTER {
        return Err((Errno::ACCES, "frame pointer is read only"));
    }
    state.registers[register] = value;
    Ok(())
}

fn store(state: &mut State, base: Value, offset: i64, size: usize) -> Step {
    let Value::Stack(start) = base else {
        let why = if base == Value::Unset { UNREADABLE } else { (Errno::ACCES, "write to what cannot be written") };
        return Err(why);
    };
    let first = stack_index(start + offset, size)?;
    for byte in first..first + size {
        state.written[byte / 64] |= 1 << (byte % 64);
    }
    Ok(())
}

/// The place in the stack of an access so far from the frame pointer: aligned and within.
fn stack_index(offset: i64, size: usize) -> Step<usize> {
    let index = usize::try_from(offset + STACK_BYTES as i64).ok().filter(|index| index + size <= STACK_BYTES);
    index.filter(|index| index.is_multiple_of(size)).ok_or((Errno::ACCES, "invalid stack access"))
}

fn arithmetic(state: &mut State, insn: &Instruction, operation: Arithmetic, operand: Operand, wide: bool) -> Step {
    let (destination, source) = (usize::from(insn.destination), usize::from(insn.source));
    let own = state.registers[destination];
    let other = match operand {
        Operand::Register => state.registers[source],
        Operand::Immediate if wide => Value::Number { max: insn.wide_immediate() },
        Operand::Immediate => Value::Number { max: u64::from(insn.immediate as u32) },
    };
    if other == Value::Unset || own == Value::Unset && operation != Arithmetic::Move {
        return Err(UNREADABLE);
    }
    let result = match (operation, own, other) {
        (Arithmetic::Move, _, Value::Number { max }) => {
            if wide {
                other
            } else {
                Value::Number { max: narrow(max) }
            }
        }
        (Arithmetic::Move, _, _) if wide => other,
        (Arithmetic::Add | Arithmetic::Subtract, Value::Context(_) | Value::Stack(_), _) if wide => {
            moved(own, insn, operation, operand).ok_or((Errno::ACCES, "pointer arithmetic that cannot be followed"))?
        }
        (_, Value::Number { max: a }, Value::Number { max: b }) => {
            let max = greatest(operation, a, b, insn, operand, wide);
            Value::Number { max: if wide { max } else { narrow(max) } }
        }
        _ => return Err((Errno::ACCES, "pointer arithmetic that cannot be followed")),
    };
    put(state, destination, result)
}

/// The greatest number that the lower half of one that is at most `max` can be.
fn narrow(max: u64) -> u64 {
    max.min(u64::from(u32::MAX))
}

/// A pointer moved by an immediate.
fn moved(pointer: Value, insn: &Instruction, operation: Arithmetic, operand: Operand) -> Option<Value> {
    let Operand::Immediate = operand else { return None };
    let by = i64::from(insn.immediate) * if operation == Arithmetic::Add { 1 } else { -1 };
    // Far outside nothing can be reached anyhow, and the sums stay small.
    let within = |offset: &i64| offset.unsigned_abs() <= 1 << 29;
    Some(match pointer {
        Value::Context(offset) => Value::Context(Some(offset + by).filter(within)?),
        Value::Stack(offset) => Value::Stack(Some(offset + by).filter(within)?),
        other => other,
    })
}

/// The greatest result of numbers that are at most `a` and `b`, as far as it is worth to know.
fn greatest(operation: Arithmetic, a: u64, b: u64, insn: &Instruction, operand: Operand, wide: bool) -> u64 {
    let width = if wide { 64 } else { 32 };
    match (operation, operand) {
        // A narrow operation sees the lower halves: only those of numbers that fit are bounded.
        _ if !wide && a.max(b) > u64::from(u32::MAX) && operation != Arithmetic::And => u64::MAX,
        (Arithmetic::And, _) if !wide => narrow(a).min(narrow(b)),
        (Arithmetic::And, _) => a.min(b),
        (Arithmetic::ShiftRight, Operand::Immediate) => a >> (insn.immediate.clamp(0, width - 1)),
        (Arithmetic::ShiftRight | Arithmetic::Divide | Arithmetic::Modulo, _) => a,
        (Arithmetic::Add, _) => a.saturating_add(b),
        (Arithmetic::Or | Arithmetic::ExclusiveOr, _) => match (a | b).checked_ilog2() {
            Some(bit) => u64::MAX >> (63 - bit),
            None => 0,
        },
        _ => u64::MAX,
    }
}
