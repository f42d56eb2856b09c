//! Runs a program that the verifier admitted. Addresses that the program handles are not the kernel's: they are translated, and checked
//! once more, at each access.

use super::instruction::{Arithmetic, Condition, FRAME_POINTER, Instruction, Kind, Operand, REGISTERS, STACK_BYTES};

/// Where programs see their context, and their stack.
const CONTEXT_ADDRESS: u64 = 0x1000_0000;
const STACK_ADDRESS: u64 = 0x2000_0000;

struct Machine<'a> {
    registers: [u64; REGISTERS],
    stack: [u8; STACK_BYTES],
    context: &'a [u8],
}

/// Runs `program` on `context`: its result. `None` if it does what the verifier should have refused.
///
/// Cost: each instruction runs at most once.
pub fn run(program: &[Instruction], context: &[u8]) -> Option<u64> {
    let mut machine = Machine { registers: [0; REGISTERS], stack: [0; STACK_BYTES], context };
    machine.registers[1] = CONTEXT_ADDRESS;
    machine.registers[FRAME_POINTER] = STACK_ADDRESS + STACK_BYTES as u64;
    let mut at = 0;
    loop {
        let insn = program.get(at)?;
        let kind = insn.kind(program.get(at + 1)).ok()?;
        at += 1;
        match kind {
            Kind::Exit => return Some(machine.registers[0]),
            Kind::LoadImmediate(value) => {
                *machine.register(insn.destination)? = value;
                at += 1;
            }
            Kind::Jump => at = at.checked_add_signed(insn.offset.into())?,
            Kind::Branch { condition, operand, wide } => {
                if machine.holds(insn, condition, operand, wide)? {
                    at = at.checked_add_signed(insn.offset.into())?;
                }
            }
            other => machine.step(insn, other)?,
        }
    }
}

impl Machine<'_> {
    fn register(&mut self, number: u8) -> Option<&mut u64> {
        self.registers.get_mut(usize::from(number))
    }

    fn operands(&mut self, insn: &Instruction, operand: Operand) -> Option<(u64, u64)> {
        let second = match operand {
            Operand::Immediate => insn.wide_immediate(),
            Operand::Register => *self.register(insn.source)?,
        };
        Some((*self.register(insn.destination)?, second))
    }

    fn step(&mut self, insn: &Instruction, kind: Kind) -> Option<()> {
        match kind {
            Kind::Arithmetic { operation, operand, wide } => {
                let (a, b) = self.operands(insn, operand)?;
                let result = if wide { compute_wide(operation, a, b) } else { u64::from(compute_narrow(operation, a as u32, b as u32)) };
                *self.register(insn.destination)? = result;
            }
            // Registers hold numbers in the order of this processor, which is the little one.
            Kind::ToLittleEndian(bits) => *self.register(insn.destination)? &= u64::MAX >> (64 - bits),
            Kind::ToBigEndian(bits) => {
                let register = self.register(insn.destination)?;
                *register = register.swap_bytes() >> (64 - bits);
            }
            Kind::Load(size) => {
                let address = self.register(insn.source)?.wrapping_add_signed(insn.offset.into());
                *self.register(insn.destination)? = self.load(address, size)?;
            }
            Kind::Store(size, operand) => {
                let (base, value) = self.operands(insn, operand)?;
                self.store(base.wrapping_add_signed(insn.offset.into()), size, value)?;
            }
            Kind::LoadImmediate(_) | Kind::Jump | Kind::Branch { .. } | Kind::Exit => return None,
        }
        Some(())
    }

    fn load(&self, address: u64, size: usize) -> Option<u64> {
        let (bytes, start): (&[u8], u64) =
            if address >= STACK_ADDRESS { (&self.stack, STACK_ADDRESS) } else { (self.context, CONTEXT_ADDRESS) };
        let index = usize::try_from(address.checked_sub(start)?).ok()?;
        let bytes = bytes.get(index..index.checked_add(size)?)?;
        Some(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    fn store(&mut self, address: u64, size: usize, value: u64) -> Option<()> {
        let index = usize::try_from(address.checked_sub(STACK_ADDRESS)?).ok()?;
        let bytes = self.stack.get_mut(index..index.checked_add(size)?)?;
        bytes.copy_from_slice(value.to_le_bytes().get(..size)?);
        Some(())
    }

    fn holds(&mut self, insn: &Instruction, condition: Condition, operand: Operand, wide: bool) -> Option<bool> {
        let (mut a, mut b) = self.operands(insn, operand)?;
        let (mut signed_a, mut signed_b) = (a as i64, b as i64);
        if !wide {
            (signed_a, signed_b) = (i64::from(a as i32), i64::from(b as i32));
            (a, b) = (u64::from(a as u32), u64::from(b as u32));
        }
        Some(match condition {
            Condition::Equal => a == b,
            Condition::NotEqual => a != b,
            Condition::Greater => a > b,
            Condition::GreaterOrEqual => a >= b,
            Condition::Less => a < b,
            Condition::LessOrEqual => a <= b,
            Condition::AnyBit => a & b != 0,
            Condition::SignedGreater => signed_a > signed_b,
            Condition::SignedGreaterOrEqual => signed_a >= signed_b,
            Condition::SignedLess => signed_a < signed_b,
            Condition::SignedLessOrEqual => signed_a <= signed_b,
        })
    }
}

/// Division by zero gives 0, the remainder then is the number itself; shifts look at as many bits as the width needs.
fn compute_wide(operation: Arithmetic, a: u64, b: u64) -> u64 {
    match operation {
        Arithmetic::Add => a.wrapping_add(b),
        Arithmetic::Subtract => a.wrapping_sub(b),
        Arithmetic::Multiply => a.wrapping_mul(b),
        Arithmetic::Divide => a.checked_div(b).unwrap_or(0),
        Arithmetic::Modulo => a.checked_rem(b).unwrap_or(a),
        Arithmetic::Or => a | b,
        Arithmetic::And => a & b,
        Arithmetic::ExclusiveOr => a ^ b,
        Arithmetic::ShiftLeft => a.wrapping_shl(b as u32),
        Arithmetic::ShiftRight => a.wrapping_shr(b as u32),
        Arithmetic::SignedShiftRight => (a as i64).wrapping_shr(b as u32) as u64,
        Arithmetic::Negate => a.wrapping_neg(),
        Arithmetic::Move => b,
    }
}

/// As [`compute_wide`] on the lower halves: only shifts differ, in what they look at and what they fill with.
fn compute_narrow(operation: Arithmetic, a: u32, b: u32) -> u32 {
    match operation {
        Arithmetic::ShiftLeft => a.wrapping_shl(b),
        Arithmetic::ShiftRight => a.wrapping_shr(b),
        Arithmetic::SignedShiftRight => (a as i32).wrapping_shr(b) as u32,
        other => compute_wide(other, a.into(), b.into()) as u32,
    }
}
