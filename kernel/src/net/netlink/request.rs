//! Requests to the kernel: how a datagram is taken apart, and acknowledgements (`netlink(7)`).

use super::NetlinkSocket;
use super::wire::{Attributes, HEADER_BYTES, Header, Message, align};
use crate::errno::{Errno, Result};
use crate::net::NetworkNamespace;
use crate::task::Capabilities;
use alloc::sync::Arc;
use alloc::vec::Vec;
use linux_raw_sys::netlink;

/// A request that is being answered.
pub(super) struct Request<'a> {
    pub(super) socket: &'a NetlinkSocket,
    pub(super) header: Header,
    pub(super) payload: &'a [u8],
}

/// What a handler has done.
pub(super) enum Answer {
    /// All; an acknowledgement follows if it was asked for.
    Done,
    /// A dump was begun, which has an end of its own.
    Dump,
}

/// Why a request is refused: the errno, and words for those who asked for more (`NETLINK_EXT_ACK`).
pub(super) struct Refusal {
    pub(super) errno: Errno,
    pub(super) words: &'static str,
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        Self { errno, words: "" }
    }
}

/// A refusal with words.
pub(super) fn refuse<T>(errno: Errno, words: &'static str) -> Result<T, Refusal> {
    Err(Refusal { errno, words })
}

pub(super) type Handled = Result<Answer, Refusal>;

impl Request<'_> {
    pub(super) fn network(&self) -> &Arc<NetworkNamespace> {
        &self.socket.network
    }

    /// `EPERM` unless both whoever opened the socket and whoever sends has the capability over the network namespace.
    pub(super) fn require(&self, capability: Capabilities) -> Result<()> {
        let network = self.network();
        if !self.socket.opener.capable_in(capability, &network.owner) {
            return Err(Errno::PERM);
        }
        network.require(capability)
    }

    /// The attributes behind the fixed part.
    pub(super) fn attributes(&self, fixed_bytes: usize) -> Result<Attributes<'_>> {
        Attributes::behind(self.payload, fixed_bytes)
    }

    /// A byte of the fixed part.
    pub(super) fn byte(&self, at: usize) -> u8 {
        self.payload.get(at).copied().unwrap_or(0)
    }

    /// A 32-bit number of the fixed part.
    pub(super) fn word(&self, at: usize) -> u32 {
        self.payload.get(at..at + 4).and_then(|word| word.try_into().ok()).map_or(0, u32::from_ne_bytes)
    }

    /// A message that answers this one.
    pub(super) fn answer(&self, kind: u32, flags: u32) -> Message {
        Message::new(kind as u16, flags as u16, self.header.sequence, self.socket.port())
    }

    /// Answers with one message.
    pub(super) fn reply(&self, message: Message) -> Handled {
        self.socket.receive_from_kernel(message.finish(), 0);
        Ok(Answer::Done)
    }

    /// Answers with a row of messages, which were made with `NLM_F_MULTI`, and a closing one. `EBUSY` while another row is not read.
    pub(super) fn dump(&self, messages: Vec<Vec<u8>>) -> Handled {
        self.dump_until(messages, None)
    }

    /// A row of messages that ends with an error.
    pub(super) fn dump_until(&self, messages: Vec<Vec<u8>>, error: Option<Errno>) -> Handled {
        /// What programs must have room for in one datagram, the least that Linux hands out.
        const DATAGRAM_BYTES: usize = 3776;
        let mut datagrams: Vec<Vec<u8>> = Vec::new();
        for message in messages {
            match datagrams.last_mut() {
                Some(last) if last.len() + message.len() <= DATAGRAM_BYTES => last.extend_from_slice(&message),
                _ => datagrams.push(message),
            }
        }
        let end =
            self.answer(netlink::NLMSG_DONE, netlink::NLM_F_MULTI).fixed(&error.map_or(0, |error| -error.code()).to_ne_bytes()).finish();
        datagrams.push(end);
        self.socket.begin_dump(datagrams)?;
        Ok(Answer::Dump)
    }

    fn acknowledge(&self, outcome: &Result<(), Refusal>, original: &[u8]) {
        let (code, words) = match outcome {
            Ok(()) => (0, ""),
            Err(refusal) => (-refusal.errno.code(), refusal.words),
        };
        let (caps, extends) = self.socket.acknowledgement_options();
        let is_capped = code == 0 || caps;
        let has_words = extends && !words.is_empty();
        let mut flags = if is_capped { netlink::NLM_F_CAPPED } else { 0 };
        flags |= if has_words { netlink::NLM_F_ACK_TLVS } else { 0 };
        let shown = if is_capped { &original[..HEADER_BYTES] } else { original };
        let mut message = self.answer(netlink::NLMSG_ERROR, flags).fixed(&[&code.to_ne_bytes()[..], shown].concat());
        if has_words {
            message.text(netlink::nlmsgerr_attrs::NLMSGERR_ATTR_MSG as u32, words.as_bytes());
        }
        self.socket.receive_from_kernel(message.finish(), 0);
    }
}

/// Handles each message of a datagram that was sent to the kernel.
pub(super) fn process(socket: &NetlinkSocket, datagram: &[u8], handle: fn(&Request<'_>) -> Handled) {
    let mut rest = datagram;
    while let Some(header) = Header::decode(rest) {
        let original = &rest[..header.len_bytes];
        let request = Request { socket, header, payload: &original[HEADER_BYTES..] };
        let is_control = u32::from(header.kind) < netlink::NLMSG_MIN_TYPE;
        let handled = if header.has(netlink::NLM_F_REQUEST) && !is_control { handle(&request) } else { Ok(Answer::Done) };
        let outcome = match handled {
            Ok(Answer::Dump) => None,
            Ok(Answer::Done) => header.has(netlink::NLM_F_ACK).then_some(Ok(())),
            Err(refusal) => Some(Err(refusal)),
        };
        if let Some(outcome) = outcome {
            request.acknowledge(&outcome, original);
        }
        rest = rest.get(align(header.len_bytes)..).unwrap_or_default();
    }
}
