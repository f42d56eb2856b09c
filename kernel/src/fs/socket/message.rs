//! Messages as `sendmsg(2)` and `recvmsg(2)` know them: bytes, an address, flags, and what rides along (`SCM_RIGHTS`,
//! `SCM_CREDENTIALS`; `unix(7)`, `cmsg(3)`).

use crate::errno::{Errno, Result};
use crate::fs::fd_table::Fd;
use crate::fs::{OpenFile, pending};
use crate::mm::IoBuffer;
use crate::task::{Capabilities, current};
use alloc::sync::Arc;
use alloc::vec::Vec;
use bitflags::bitflags;
use linux_raw_sys::net;

bitflags! {
    /// `MSG_*` (`send(2)`, `recv(2)`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[allow(missing_docs)]
    pub struct MessageFlags: u32 {
        const OOB = net::MSG_OOB;
        const PEEK = net::MSG_PEEK;
        const CTRUNC = net::MSG_CTRUNC;
        const TRUNC = net::MSG_TRUNC;
        const DONTWAIT = net::MSG_DONTWAIT;
        const EOR = net::MSG_EOR;
        const WAITALL = net::MSG_WAITALL;
        const NOSIGNAL = net::MSG_NOSIGNAL;
        const CMSG_CLOEXEC = net::MSG_CMSG_CLOEXEC;
        const _ = !0;
    }
}

/// `struct ucred`, in numbers of the initial namespaces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct UserCredentials {
    pub pid: u32,
    pub uid: u32,
    pub gid: u32,
}

impl UserCredentials {
    /// Nobody: what is told of a sender that did not say who it was. 65534 is the overflow id.
    pub const NOBODY: Self = Self { pid: 0, uid: 65534, gid: 65534 };

    /// The current thread's (real ids, as `SCM_CREDENTIALS` has them).
    pub fn of_current() -> Self {
        let thread = current();
        let credentials = thread.credentials();
        Self { pid: thread.process.pid, uid: credentials.uid, gid: credentials.gid }
    }

    /// As `SO_PEERCRED` records them: effective ids.
    pub fn effective_of_current() -> Self {
        let thread = current();
        let credentials = thread.credentials();
        Self { pid: thread.process.pid, uid: credentials.effective_uid, gid: credentials.effective_gid }
    }

    /// Whether the current thread may claim to be this: `EPERM` unless they are its own or it is privileged.
    fn check_claim(self) -> Result<()> {
        let thread = current();
        let own = thread.credentials();
        let pid_ok = self.pid == thread.process.pid || own.capable(Capabilities::SYS_ADMIN);
        let uid_ok = [own.uid, own.effective_uid, own.saved_uid].contains(&self.uid) || own.capable(Capabilities::SETUID);
        let gid_ok = [own.gid, own.effective_gid, own.saved_gid].contains(&self.gid) || own.capable(Capabilities::SETGID);
        if pid_ok && uid_ok && gid_ok { Ok(()) } else { Err(Errno::PERM) }
    }

    /// `struct ucred` as the current thread sees it.
    pub fn encode(self) -> [u8; 12] {
        let shown = pending::shown_credentials(self);
        let mut bytes = [0; 12];
        bytes[0..4].copy_from_slice(&shown.pid.to_ne_bytes());
        bytes[4..8].copy_from_slice(&shown.uid.to_ne_bytes());
        bytes[8..12].copy_from_slice(&shown.gid.to_ne_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self> {
        let word = |at: usize| -> Result<u32> {
            let word = bytes.get(at..at + 4).and_then(|word| word.try_into().ok()).ok_or(Errno::INVAL)?;
            Ok(u32::from_ne_bytes(word))
        };
        pending::meant_credentials(Self { pid: word(0)?, uid: word(4)?, gid: word(8)? })
    }
}

/// A message to be sent.
pub struct Outgoing<'a, 'b> {
    /// The bytes.
    pub data: &'a mut IoBuffer<'b>,
    /// Where to (`sockaddr` with its family), if the call says.
    pub address: Option<&'a [u8]>,
    /// How.
    pub flags: MessageFlags,
    /// Descriptors that ride along.
    pub files: Vec<Arc<OpenFile>>,
    /// Who the sender says it is.
    pub credentials: Option<UserCredentials>,
}

impl<'a, 'b> Outgoing<'a, 'b> {
    /// Bytes only.
    pub fn new(data: &'a mut IoBuffer<'b>, flags: MessageFlags) -> Self {
        Self { data, address: None, flags, files: Vec::new(), credentials: None }
    }

    /// Takes what the control part of the call says: a row of `struct cmsghdr`.
    pub fn take_control(&mut self, control: &[u8]) -> Result<()> {
        let mut rest = control;
        while rest.len() >= HEADER_BYTES {
            let header = ControlHeader::decode(rest)?;
            let data = rest.get(HEADER_BYTES..header.len_bytes).ok_or(Errno::INVAL)?;
            if header.level == net::SOL_SOCKET {
                match header.kind {
                    net::SCM_RIGHTS => self.take_files(data)?,
                    net::SCM_CREDENTIALS if data.len() == 12 => {
                        let claimed = UserCredentials::decode(data)?;
                        claimed.check_claim()?;
                        self.credentials = Some(claimed);
                    }
                    _ => return Err(Errno::INVAL),
                }
            }
            rest = rest.get(align(header.len_bytes)..).unwrap_or_default();
        }
        Ok(())
    }

    fn take_files(&mut self, data: &[u8]) -> Result<()> {
        /// `SCM_MAX_FD` (`unix(7)`).
        const MAX_FILES: usize = 253;
        let files = current().files();
        let count = data.len() / size_of::<Fd>();
        if self.files.len() + count > MAX_FILES {
            return Err(Errno::INVAL);
        }
        for fd in data.chunks_exact(size_of::<Fd>()) {
            let fd = Fd::from_ne_bytes([fd[0], fd[1], fd[2], fd[3]]);
            // O_PATH descriptors may be passed, too.
            self.files.push(files.get(fd)?);
        }
        Ok(())
    }
}

/// A message to be received into.
pub struct Incoming<'a, 'b> {
    /// Where the bytes go.
    pub data: &'a mut IoBuffer<'b>,
    /// How.
    pub flags: MessageFlags,
    /// From whom; empty if the sender has no address.
    pub address: Vec<u8>,
    /// `MSG_TRUNC` and `MSG_EOR` as found.
    pub out_flags: MessageFlags,
    /// Descriptors that came along.
    pub files: Vec<Arc<OpenFile>>,
    /// Who sent it, if the socket asks for that (`SO_PASSCRED`).
    pub credentials: Option<UserCredentials>,
}

impl<'a, 'b> Incoming<'a, 'b> {
    /// Nothing received yet.
    pub fn new(data: &'a mut IoBuffer<'b>, flags: MessageFlags) -> Self {
        let out_flags = MessageFlags::empty();
        Self { data, flags, address: Vec::new(), out_flags, files: Vec::new(), credentials: None }
    }

    /// Writes what came along as a row of `struct cmsghdr` of at most `room_bytes`, giving descriptors to the caller. What does not fit
    /// is dropped and `MSG_CTRUNC` set.
    pub fn put_control(&mut self, room_bytes: usize) -> Vec<u8> {
        let mut control = Vec::new();
        if let Some(credentials) = self.credentials {
            self.put_entry(&mut control, room_bytes, net::SCM_CREDENTIALS, &credentials.encode());
        }
        let files = core::mem::take(&mut self.files);
        if !files.is_empty() {
            let room = room_bytes.saturating_sub(control.len() + HEADER_BYTES) / size_of::<Fd>();
            let fits = room.min(files.len());
            let close_on_exec = self.flags.contains(MessageFlags::CMSG_CLOEXEC);
            let numbers = install(&files[..fits], close_on_exec);
            if numbers.len() < files.len() {
                self.out_flags |= MessageFlags::CTRUNC;
            }
            if !numbers.is_empty() {
                let data: Vec<u8> = numbers.iter().flat_map(|fd| fd.to_ne_bytes()).collect();
                self.put_entry(&mut control, room_bytes, net::SCM_RIGHTS, &data);
            }
        }
        control
    }

    fn put_entry(&mut self, control: &mut Vec<u8>, room_bytes: usize, kind: u32, data: &[u8]) {
        let room = room_bytes.saturating_sub(control.len());
        if room < HEADER_BYTES {
            self.out_flags |= MessageFlags::CTRUNC;
            return;
        }
        let mut len_bytes = HEADER_BYTES + data.len();
        if len_bytes > room {
            self.out_flags |= MessageFlags::CTRUNC;
            len_bytes = room;
        }
        control.extend_from_slice(&(len_bytes as u64).to_ne_bytes());
        control.extend_from_slice(&net::SOL_SOCKET.to_ne_bytes());
        control.extend_from_slice(&kind.to_ne_bytes());
        control.extend_from_slice(&data[..len_bytes - HEADER_BYTES]);
        control.resize(align(control.len()).min(room_bytes), 0);
    }
}

/// Gives each file a descriptor, as far as the limit allows.
fn install(files: &[Arc<OpenFile>], close_on_exec: bool) -> Vec<Fd> {
    let table = current().files();
    let limit = pending::descriptor_limit();
    files.iter().map_while(|file| table.insert(file.clone(), close_on_exec, 0, limit).ok()).collect()
}

/// Bytes of `struct cmsghdr`.
const HEADER_BYTES: usize = 16;

/// `CMSG_ALIGN`.
fn align(len_bytes: usize) -> usize {
    len_bytes.next_multiple_of(size_of::<u64>())
}

struct ControlHeader {
    len_bytes: usize,
    level: u32,
    kind: u32,
}

impl ControlHeader {
    /// `EINVAL` if the length is less than a header or more than there is.
    fn decode(bytes: &[u8]) -> Result<Self> {
        let part = |from: usize, to: usize| bytes.get(from..to).ok_or(Errno::INVAL);
        let len_bytes = u64::from_ne_bytes(part(0, 8)?.try_into().map_err(|_| Errno::INVAL)?);
        let level = u32::from_ne_bytes(part(8, 12)?.try_into().map_err(|_| Errno::INVAL)?);
        let kind = u32::from_ne_bytes(part(12, 16)?.try_into().map_err(|_| Errno::INVAL)?);
        let len_bytes = usize::try_from(len_bytes).ok().filter(|len| (HEADER_BYTES..=bytes.len()).contains(len));
        Ok(Self { len_bytes: len_bytes.ok_or(Errno::INVAL)?, level, kind })
    }
}
