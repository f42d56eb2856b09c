//! Messages as `sendmsg(2)` and `recvmsg(2)` know them: bytes, an address, flags, and what rides along (`SCM_RIGHTS`,
//! `SCM_CREDENTIALS`; `unix(7)`, `cmsg(3)`).

use crate::errno::{Errno, Result};
use crate::fs::OpenFile;
use crate::fs::fd_table::Fd;
use crate::mm::IoBuffer;
use crate::task::pid::{self, Pid};
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
        const ERRQUEUE = net::MSG_ERRQUEUE;
        const CMSG_CLOEXEC = net::MSG_CMSG_CLOEXEC;
        const _ = !0;
    }
}

/// `struct ucred`: a process, and ids of the initial user namespace.
#[derive(Clone)]
#[allow(missing_docs)]
pub struct UserCredentials {
    /// `None`: unknown.
    pub process: Option<Arc<Pid>>,
    pub uid: u32,
    pub gid: u32,
}

impl PartialEq for UserCredentials {
    fn eq(&self, other: &Self) -> bool {
        let identity = |of: &Self| of.process.as_ref().map(Arc::as_ptr);
        identity(self) == identity(other) && self.uid == other.uid && self.gid == other.gid
    }
}

impl UserCredentials {
    /// Nobody: what is told of a sender that did not say who it was. 65534 is the overflow id.
    pub const NOBODY: Self = Self { process: None, uid: 65534, gid: 65534 };

    /// The current thread's (real ids, as `SCM_CREDENTIALS` has them).
    pub fn of_current() -> Self {
        let thread = current();
        let credentials = thread.credentials();
        Self { process: Some(thread.process.id.clone()), uid: credentials.uid, gid: credentials.gid }
    }

    /// As `SO_PEERCRED` records them: effective ids.
    pub fn effective_of_current() -> Self {
        let thread = current();
        let credentials = thread.credentials();
        let (uid, gid) = (credentials.effective_uid, credentials.effective_gid);
        Self { process: Some(thread.process.id.clone()), uid, gid }
    }

    /// `struct ucred` in the numbers of the current thread's namespaces.
    pub fn encode(&self) -> [u8; 12] {
        let namespace = current().credentials().user_namespace.clone();
        let pid = self.process.as_ref().map_or(0, |process| process.number());
        let mut bytes = [0; 12];
        bytes[0..4].copy_from_slice(&pid.to_ne_bytes());
        bytes[4..8].copy_from_slice(&namespace.shown_uid(self.uid).to_ne_bytes());
        bytes[8..12].copy_from_slice(&namespace.shown_gid(self.gid).to_ne_bytes());
        bytes
    }

    /// What a program says that it is: `EINVAL` for ids that its user namespace does not know, `EPERM` unless they are its own or it is
    /// privileged, `ESRCH` for a process that is not there.
    fn claim(bytes: &[u8]) -> Result<Self> {
        let word = |at: usize| -> Result<u32> {
            let word = bytes.get(at..at + 4).and_then(|word| word.try_into().ok()).ok_or(Errno::INVAL)?;
            Ok(u32::from_ne_bytes(word))
        };
        let thread = current();
        let own = thread.credentials();
        let pid = word(0)?;
        let uid = own.user_namespace.uid_to_global(word(4)?).ok_or(Errno::INVAL)?;
        let gid = own.user_namespace.gid_to_global(word(8)?).ok_or(Errno::INVAL)?;
        let is_own = pid == thread.process.id.number();
        let capable = |capability| own.capable_in(capability, &own.user_namespace);
        let pid_ok = is_own || own.capable_in(Capabilities::SYS_ADMIN, &thread.process.id.namespace().owner);
        let uid_ok = [own.uid, own.effective_uid, own.saved_uid].contains(&uid) || capable(Capabilities::SETUID);
        let gid_ok = [own.gid, own.effective_gid, own.saved_gid].contains(&gid) || capable(Capabilities::SETGID);
        if !(pid_ok && uid_ok && gid_ok) {
            return Err(Errno::PERM);
        }
        let process = if is_own { thread.process.id.clone() } else { pid::find(pid).ok_or(Errno::SRCH)? };
        Ok(Self { process: Some(process), uid, gid })
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
                        self.credentials = Some(UserCredentials::claim(data)?);
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
    /// What else goes into the control part: level, type, value.
    control: Vec<(u32, u32, Vec<u8>)>,
}

impl<'a, 'b> Incoming<'a, 'b> {
    /// Nothing received yet.
    pub fn new(data: &'a mut IoBuffer<'b>, flags: MessageFlags) -> Self {
        let out_flags = MessageFlags::empty();
        Self { data, flags, address: Vec::new(), out_flags, files: Vec::new(), credentials: None, control: Vec::new() }
    }

    /// Adds an entry of a level of its own to the control part.
    pub fn add_control(&mut self, level: u32, kind: u32, value: Vec<u8>) {
        self.control.push((level, kind, value));
    }

    /// Writes what came along as a row of `struct cmsghdr` of at most `room_bytes`, giving descriptors to the caller. What does not fit
    /// is dropped and `MSG_CTRUNC` set.
    pub fn put_control(&mut self, room_bytes: usize) -> Vec<u8> {
        let mut control = Vec::new();
        for (level, kind, value) in core::mem::take(&mut self.control) {
            self.put_entry(&mut control, room_bytes, level, kind, &value);
        }
        if let Some(credentials) = self.credentials.take() {
            self.put_entry(&mut control, room_bytes, net::SOL_SOCKET, net::SCM_CREDENTIALS, &credentials.encode());
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
                self.put_entry(&mut control, room_bytes, net::SOL_SOCKET, net::SCM_RIGHTS, &data);
            }
        }
        control
    }

    fn put_entry(&mut self, control: &mut Vec<u8>, room_bytes: usize, level: u32, kind: u32, data: &[u8]) {
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
        control.extend_from_slice(&level.to_ne_bytes());
        control.extend_from_slice(&kind.to_ne_bytes());
        control.extend_from_slice(&data[..len_bytes - HEADER_BYTES]);
        control.resize(align(control.len()).min(room_bytes), 0);
    }
}

/// Gives each file a descriptor, as far as the limit allows.
fn install(files: &[Arc<OpenFile>], close_on_exec: bool) -> Vec<Fd> {
    let table = current().files();
    let limit = current().process.descriptor_limit();
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
