//! `/dev/fuse` (10:229): what a server holds. Each open is a descriptor of its own, which mount(2) or `FUSE_DEV_IOC_CLONE` connects
//! (`guest-fuse.md` section 1).

use super::connection::{Connection, Delivery, Readiness};
use super::notify;
use super::protocol::{ANSWER_HEADER_BYTES, Fields, INTERRUPT_BIT};
use crate::errno::{Errno, Result};
use crate::fs::{FileOps, OpenFile, OpenFlags, Path, PollEvents, PollTable, internal};
use crate::mm::{IoBuffer, UserPointer};
use crate::sync::SpinLock;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// `FUSE_DEV_IOC_CLONE`: `_IOR(229, 0, uint32_t)`.
const CLONE: u32 = 0x8004_e500;
/// Longest notification that is taken; answers are measured by their requests.
const MAX_NOTIFICATION_BYTES: usize = 16 << 20;

/// An open `/dev/fuse`.
pub struct Device {
    link: SpinLock<Option<Link>>,
}

#[derive(Clone)]
struct Link {
    connection: Arc<Connection>,
    /// Tells the devices of a connection apart.
    number: u64,
}

/// Opens the device (`dev::registry`).
pub fn open(_device: u64, _path: &Path, _flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
    Ok(Arc::new(Device { link: SpinLock::new(None) }))
}

impl Device {
    /// The connection, once there is one.
    pub fn connection(&self) -> Option<Arc<Connection>> {
        self.link.lock().as_ref().map(|link| link.connection.clone())
    }

    /// Joins a connection: `false` if there is one already.
    pub fn connect(&self, connection: &Arc<Connection>) -> bool {
        let mut link = self.link.lock();
        if link.is_some() {
            return false;
        }
        *link = Some(Link { connection: connection.clone(), number: connection.attach_device() });
        true
    }

    /// `EPERM` before there is a connection.
    fn link(&self) -> Result<Link> {
        self.link.lock().clone().ok_or(Errno::PERM)
    }

    /// The next message, handed to `store` in pieces; its length.
    fn receive(&self, file: &OpenFile, room_bytes: usize, store: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<usize> {
        let link = self.link()?;
        let delivery = link.connection.next_for_server(link.number, room_bytes, file.is_nonblocking())?;
        match delivery {
            Delivery::Notice(message) => store(&message).map(|()| message.len()),
            Delivery::Told(request) => {
                store(&request.header())?;
                store(request.body()).map(|()| request.len_bytes())
            }
            Delivery::Request(request) => {
                let stored = store(&request.header()).and_then(|()| store(request.body()));
                // What the server could not take is not asked again.
                stored.inspect_err(|_| link.connection.answer(&request, Err(Errno::IO)))?;
                Ok(request.len_bytes())
            }
        }
    }

    /// Takes one answer or notification of `len_bytes`.
    fn send(&self, len_bytes: usize, fetch: &mut dyn FnMut(&mut [u8]) -> Result<()>) -> Result<usize> {
        let link = self.link()?;
        if len_bytes < ANSWER_HEADER_BYTES {
            return Err(Errno::INVAL);
        }
        let mut header = [0; ANSWER_HEADER_BYTES];
        fetch(&mut header)?;
        let mut fields = Fields(&header);
        let (len, error, unique) = (fields.u32(), fields.u32() as i32, fields.u64());
        if len as usize != len_bytes {
            return Err(Errno::INVAL);
        }
        let body_bytes = len_bytes - ANSWER_HEADER_BYTES;
        if unique == 0 {
            let body = fetch_body(body_bytes, MAX_NOTIFICATION_BYTES, fetch)?;
            return notify::notify(&link.connection, error, &body).map(|()| len_bytes);
        }
        if error > 0 || error <= -512 {
            return Err(Errno::INVAL);
        }
        let request = link.connection.find_sent(link.number, unique)?;
        if unique & INTERRUPT_BIT != 0 {
            if body_bytes != 0 {
                return Err(Errno::INVAL);
            }
            link.connection.interrupt_answered(&request, error);
            return Ok(len_bytes);
        }
        let result = if error != 0 {
            if body_bytes == 0 { Ok(Err(Errno::from_code(-error))) } else { Err(Errno::INVAL) }
        } else if request.answer_bytes.contains(&body_bytes) {
            fetch_body(body_bytes, usize::MAX, fetch).map(Ok)
        } else {
            Err(Errno::INVAL)
        };
        match result {
            Ok(result) => {
                link.connection.answer(&request, result);
                Ok(len_bytes)
            }
            Err(error) => {
                log::warn!("fuse: a server's answer to {:?} does not fit: {len_bytes} bytes ({error:?})", request.opcode);
                link.connection.answer(&request, Err(Errno::IO));
                Err(error)
            }
        }
    }

    /// `FUSE_DEV_IOC_CLONE`: joins the connection of another descriptor.
    fn join(&self, file: &OpenFile, argument: u64) -> Result<usize> {
        let number = UserPointer::<u32>::new(argument).read()?;
        let other = internal::file_of(number as i32).map_err(|_| Errno::INVAL)?;
        if core::ptr::eq(&*other, file) {
            return Err(Errno::INVAL);
        }
        let connection = other.downcast::<Self>().and_then(Self::connection).ok_or(Errno::INVAL)?;
        if self.connect(&connection) { Ok(0) } else { Err(Errno::INVAL) }
    }
}

fn fetch_body(len_bytes: usize, most: usize, fetch: &mut dyn FnMut(&mut [u8]) -> Result<()>) -> Result<Vec<u8>> {
    if len_bytes > most {
        return Err(Errno::INVAL);
    }
    let mut body = Vec::new();
    body.try_reserve_exact(len_bytes).map_err(|_| Errno::NOMEM)?;
    body.resize(len_bytes, 0);
    fetch(&mut body)?;
    Ok(body)
}

impl FileOps for Device {
    fn read(&self, file: &OpenFile, buffer: &mut IoBuffer<'_>, _offset: u64) -> Result<usize> {
        let room_bytes = buffer.remaining();
        self.receive(file, room_bytes, &mut |piece| if piece.is_empty() { Ok(()) } else { buffer.put_all(piece).map(drop) })
    }

    fn write(&self, _file: &OpenFile, buffer: &mut IoBuffer<'_>, _offset: &mut u64) -> Result<usize> {
        let len_bytes = buffer.remaining();
        self.send(len_bytes, &mut |piece| if piece.is_empty() { Ok(()) } else { buffer.take_all(piece) })
    }

    fn splice_read(&self, file: &OpenFile, len_bytes: usize) -> Option<Result<Vec<u8>>> {
        let mut message = Vec::new();
        let received = self.receive(file, len_bytes, &mut |piece| {
            message.try_reserve(piece.len()).map_err(|_| Errno::NOMEM)?;
            message.extend_from_slice(piece);
            Ok(())
        });
        Some(received.map(|_| message))
    }

    fn splice_write(&self, _file: &OpenFile, bytes: &[u8]) -> Option<Result<usize>> {
        let mut rest = bytes;
        Some(self.send(bytes.len(), &mut |piece| {
            let (taken, left) = rest.split_at_checked(piece.len()).ok_or(Errno::INVAL)?;
            piece.copy_from_slice(taken);
            rest = left;
            Ok(())
        }))
    }

    fn takes_whole_splices(&self) -> bool {
        true
    }

    fn seekable(&self) -> bool {
        false
    }

    fn pollable(&self) -> bool {
        true
    }

    fn poll(&self, _file: &OpenFile, table: &mut PollTable<'_>) -> PollEvents {
        let Some(connection) = self.connection() else { return PollEvents::ERR };
        table.watch(&connection.readable);
        match connection.readiness() {
            Readiness::Ended => PollEvents::ERR,
            Readiness::Idle => PollEvents::WRITABLE,
            Readiness::Waiting => PollEvents::WRITABLE | PollEvents::READABLE,
        }
    }

    fn ioctl(&self, file: &OpenFile, request: u32, argument: u64) -> Result<usize> {
        if request == CLONE { self.join(file, argument) } else { Err(Errno::NOTTY) }
    }

    fn release(&self, _file: &OpenFile) {
        let link = self.link.lock().take();
        if let Some(link) = link {
            link.connection.detach_device(link.number);
        }
    }
}
