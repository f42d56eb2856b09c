//! `NETLINK_GENERIC` (`linux/genetlink.h`): the controller, which names the families, and is the only one.

use super::request::{Handled, Request};
use super::wire::Message;
use crate::errno::Errno;
use linux_raw_sys::netlink;

/// Number and name of the controller (`GENL_ID_CTRL`), and the version that Linux 6.6 shows.
const CONTROLLER: u16 = netlink::NLMSG_MIN_TYPE as u16;
const NAME: &[u8] = b"nlctrl";
const VERSION: u32 = 2;
/// Bytes of `struct genlmsghdr`.
const FIXED_BYTES: usize = 4;
/// `CTRL_CMD_*` and `CTRL_ATTR_*`, which linux-raw-sys lacks (`linux/genetlink.h`).
const NEW_FAMILY: u8 = 1;
const GET_FAMILY: u8 = 3;
mod attribute {
    pub const FAMILY_ID: u32 = 1;
    pub const FAMILY_NAME: u32 = 2;
    pub const VERSION: u32 = 3;
    pub const HEADER_SIZE: u32 = 4;
    pub const MAX_ATTRIBUTE: u32 = 5;
    pub const OPERATIONS: u32 = 6;
    pub const OPERATION_ID: u32 = 1;
    pub const OPERATION_FLAGS: u32 = 2;
}
/// The greatest attribute of the controller.
const MAX_ATTRIBUTE: u32 = 10;
/// `GENL_CMD_CAP_DO`, `GENL_CMD_CAP_DUMP`, `GENL_CMD_CAP_HASPOL`.
const OPERATION_FLAGS: u32 = 0x2 | 0x4 | 0x8;

/// Answers one request: `ENOENT` for families that there are not.
pub(super) fn handle(request: &Request<'_>) -> Handled {
    if request.header.kind != CONTROLLER {
        return Err(Errno::NOENT.into());
    }
    if request.payload.len() < FIXED_BYTES {
        return Err(Errno::INVAL.into());
    }
    if request.byte(0) != GET_FAMILY {
        return Err(Errno::OPNOTSUPP.into());
    }
    if request.header.has(netlink::NLM_F_DUMP) {
        return request.dump(alloc::vec![describe(request, netlink::NLM_F_MULTI).finish()]);
    }
    let attributes = request.attributes(FIXED_BYTES)?;
    let by_number = attributes.get(attribute::FAMILY_ID).and_then(|id| id.first_chunk()).map(|id| u16::from_ne_bytes(*id));
    match (by_number, attributes.text(attribute::FAMILY_NAME)) {
        (Some(CONTROLLER), _) | (None, Some(NAME)) => request.reply(describe(request, 0)),
        (None, None) => Err(Errno::INVAL.into()),
        _ => Err(Errno::NOENT.into()),
    }
}

fn describe(request: &Request<'_>, flags: u32) -> Message {
    let mut message = request.answer(u32::from(CONTROLLER), flags).fixed(&[NEW_FAMILY, VERSION as u8, 0, 0]);
    message.text(attribute::FAMILY_NAME, NAME);
    message.attribute(attribute::FAMILY_ID, &CONTROLLER.to_ne_bytes());
    message.number(attribute::VERSION, VERSION);
    message.number(attribute::HEADER_SIZE, 0);
    message.number(attribute::MAX_ATTRIBUTE, MAX_ATTRIBUTE);
    message.nested(attribute::OPERATIONS, true, |operations| {
        operations.nested(1, true, |operation| {
            operation.number(attribute::OPERATION_ID, u32::from(GET_FAMILY));
            operation.number(attribute::OPERATION_FLAGS, OPERATION_FLAGS);
        });
    });
    message
}
