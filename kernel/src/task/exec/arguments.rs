//! The strings of an exec: arguments and environment, copied out of the caller's memory within Linux's limits.

use crate::errno::{Errno, Result};
use crate::mm::user::{self, UserPointer};
use crate::task::Thread;
use alloc::vec::Vec;

/// Longest single string with its NUL (`MAX_ARG_STRLEN`).
const MAX_STRING_BYTES: usize = 32 * 4096;
/// What is always allowed for all strings and pointers together (`ARG_MAX`).
const MIN_TOTAL_BYTES: u64 = 131_072;
/// Never more than three quarters of the default stack limit of 8 MiB.
const MAX_TOTAL_BYTES: u64 = (8 << 20) / 4 * 3;

/// Strings without their NULs.
pub type Strings = Vec<Vec<u8>>;

/// Everything that ends up at the top of the new stack.
pub struct Arguments {
    /// argv.
    pub arguments: Strings,
    /// envp.
    pub environment: Strings,
    /// Bytes that may be used for strings and pointers.
    budget: Budget,
}

/// A quarter of the stack's limit, for strings and for the pointers to them (`execve(2)`, "Limits on size of arguments and environment").
#[derive(Clone, Copy)]
pub struct Budget {
    left_bytes: u64,
}

impl Budget {
    /// What the thread's process may pass.
    pub fn of(thread: &Thread) -> Self {
        let quarter = thread.process.stack_limit_bytes() / 4;
        Self { left_bytes: quarter.clamp(MIN_TOTAL_BYTES, MAX_TOTAL_BYTES) }
    }

    fn take(&mut self, string: &[u8]) -> Result<()> {
        let needed = string.len() as u64 + 1 + size_of::<u64>() as u64;
        self.left_bytes = self.left_bytes.checked_sub(needed).ok_or(Errno::TOOBIG)?;
        Ok(())
    }
}

impl Arguments {
    /// Copies both arrays. `E2BIG`, `EFAULT`. NULL stands for an empty array (a Linux particularity).
    pub fn read(thread: &Thread, arguments: u64, environment: u64) -> Result<Self> {
        let mut budget = Budget::of(thread);
        let mut arguments = read_array(arguments, &mut budget)?;
        if arguments.is_empty() {
            // Since Linux 5.18 argc is at least 1.
            budget.take(b"")?;
            arguments.push(Vec::new());
        }
        let environment = read_array(environment, &mut budget)?;
        Ok(Self { arguments, environment, budget })
    }

    /// From the kernel's own strings (the first process).
    pub fn from_kernel(thread: &Thread, arguments: Strings, environment: Strings) -> Self {
        Self { arguments, environment, budget: Budget::of(thread) }
    }

    /// What a `#!` line does: the script's name takes the place of the first argument, the interpreter and its one argument come before it.
    pub fn prepend_interpreter(&mut self, interpreter: &[u8], argument: Option<&[u8]>, script: &[u8]) -> Result<()> {
        let mut head = Vec::from([interpreter.to_vec()]);
        head.extend(argument.map(<[u8]>::to_vec));
        head.push(script.to_vec());
        for string in &head {
            self.budget.take(string)?;
        }
        let first = usize::from(!self.arguments.is_empty());
        self.arguments.splice(..first, head);
        Ok(())
    }
}

fn read_array(address: u64, budget: &mut Budget) -> Result<Strings> {
    let mut strings = Vec::new();
    if address == 0 {
        return Ok(strings);
    }
    let array = UserPointer::<u64>::new(address);
    loop {
        let pointer = array.at(strings.len()).read()?;
        if pointer == 0 {
            return Ok(strings);
        }
        let string = user::read_c_string(pointer, MAX_STRING_BYTES, Errno::TOOBIG)?;
        budget.take(&string)?;
        strings.try_reserve(1).map_err(|_| Errno::NOMEM)?;
        strings.push(string);
    }
}
