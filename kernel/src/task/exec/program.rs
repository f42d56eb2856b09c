//! The file of an exec: may it be executed, what kind is it, which interpreter does a script name.

use crate::errno::{Errno, Result};
use crate::fs::open::{Executable, open_executable};
use crate::fs::walk::LookupFlags;
use crate::mm::IoBuffer;
use alloc::sync::Arc;

/// How much of a program is looked at to tell what it is (`BINPRM_BUF_SIZE`).
pub const HEAD_LEN_BYTES: usize = 256;

/// An interpreter's name, and the argument behind it on the `#!` line.
pub type ScriptInterpreter<'a> = (&'a [u8], Option<&'a [u8]>);

/// A file about to be executed.
pub struct Program {
    /// The file, with writers kept away.
    pub executable: Arc<Executable>,
    /// Its first bytes, zeros behind its end.
    pub head: [u8; HEAD_LEN_BYTES],
    /// How many of them the file has.
    pub head_len: usize,
}

impl Program {
    /// Opens what `name` leads to: a regular file that the caller may execute (`EACCES`, `ETXTBSY`, `ELOOP`…).
    pub fn open(directory_fd: i32, name: &[u8], flags: LookupFlags) -> Result<Self> {
        let executable = Arc::new(open_executable(directory_fd, name, flags)?);
        let mut program = Self { executable, head: [0; HEAD_LEN_BYTES], head_len: 0 };
        let mut head = [0; HEAD_LEN_BYTES];
        program.head_len = program.read_up_to(0, &mut head)?;
        program.head = head;
        Ok(program)
    }

    /// Reads as much as there is; gives how much that was.
    pub fn read_up_to(&self, offset: u64, bytes: &mut [u8]) -> Result<usize> {
        let mut done = 0;
        while done < bytes.len() {
            let mut buffer = IoBuffer::kernel(&mut bytes[done..]);
            let file = &self.executable.file;
            let count = file.ops.read(file, &mut buffer, offset.checked_add(done as u64).ok_or(Errno::INVAL)?)?;
            if count == 0 {
                break;
            }
            done += count;
        }
        Ok(done)
    }

    /// Reads exactly that much. `EIO` if the file is shorter.
    pub fn read_exact(&self, offset: u64, bytes: &mut [u8]) -> Result<()> {
        if self.read_up_to(offset, bytes)? == bytes.len() { Ok(()) } else { Err(Errno::IO) }
    }

    /// The interpreter that the first line of a script names, and its argument.
    ///
    /// `None` if the file does not begin with `#!`. `ENOEXEC` if no interpreter is named, or if its name does not fit into what is looked at.
    pub fn script_interpreter(&self) -> Result<Option<ScriptInterpreter<'_>>> {
        let Some(rest) = self.head.strip_prefix(b"#!") else { return Ok(None) };
        let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
        let line_end = rest.iter().position(|byte| *byte == b'\n');
        let line = match line_end {
            Some(end) => &rest[..end],
            None => {
                // A cut line will do for a long argument, not for a name that may go on.
                let text = &rest[..rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len())];
                let start = text.iter().position(|byte| !is_blank(byte)).ok_or(Errno::NOEXEC)?;
                let name_ends = text[start..].iter().any(is_blank) || text.len() < rest.len();
                if !name_ends {
                    return Err(Errno::NOEXEC);
                }
                text
            }
        };
        let start = line.iter().position(|byte| !is_blank(byte)).ok_or(Errno::NOEXEC)?;
        let end = line.iter().rposition(|byte| !is_blank(byte)).map_or(start, |last| last + 1);
        let line = &line[start..end];
        let line = &line[..line.iter().position(|byte| *byte == 0).unwrap_or(line.len())];
        if line.is_empty() {
            return Err(Errno::NOEXEC);
        }
        let name_end = line.iter().position(is_blank).unwrap_or(line.len());
        let argument = line[name_end..].trim_ascii_start();
        Ok(Some((&line[..name_end], (!argument.is_empty()).then_some(argument))))
    }
}
