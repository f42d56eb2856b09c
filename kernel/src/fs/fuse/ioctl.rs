//! `ioctl(2)` on files: only such whose request says by itself what is read and written (restricted, as Linux does it).

use super::handle::Handle;
use super::node::Node;
use super::protocol::{Features, Fields, IOCTL_DIRECTORY, IOCTL_RETRY, Message, Opcode};
use super::request::Question;
use crate::errno::{Errno, Result};
use crate::fs::OpenFile;
use crate::mm::user;
use alloc::vec;

/// `_IOC_WRITE`: the program hands something over.
const GIVES: u32 = 1;
/// `_IOC_READ`: the program gets something.
const TAKES: u32 = 2;

/// Hands a request on. `ENOTTY` for a server without, `EIO` for one that wants other buffers.
pub fn ioctl(_file: &OpenFile, node: &Node, handle: &Handle, is_directory: bool, request: u32, argument: u64) -> Result<usize> {
    if is_directory && !node.connection().has(Features::HAS_IOCTL_DIR) {
        return Err(Errno::NOTTY);
    }
    let (direction, len_bytes) = (request >> 30, (request >> 16 & 0x3fff) as usize);
    let given_bytes = if direction & GIVES != 0 { len_bytes } else { 0 };
    let taken_bytes = if direction & TAKES != 0 { len_bytes } else { 0 };
    let mut given = vec![0; given_bytes];
    user::read_bytes(argument, &mut given)?;
    let flags = if is_directory { IOCTL_DIRECTORY } else { 0 };
    let body = Message::default().u64(handle.number).u32(flags).u32(request).u64(argument);
    let body = body.u32(given_bytes as u32).u32(taken_bytes as u32).data(&given)?;
    let question = Question::new(Opcode::Ioctl, node.number, body).answer_between(16, 16 + taken_bytes);
    let answer = node.connection().call_optional(question)?.ok_or(Errno::NOTTY)?;
    let mut fields = Fields(&answer);
    let (result, out_flags) = (fields.u32() as i32, fields.u32());
    fields.u64();
    if out_flags & IOCTL_RETRY != 0 {
        return Err(Errno::IO);
    }
    if result < 0 {
        return Err(Errno::from_code(result.checked_neg().filter(|code| *code < 512).unwrap_or(Errno::IO.code())));
    }
    user::write_bytes(argument, fields.0)?;
    Ok(result as usize)
}
