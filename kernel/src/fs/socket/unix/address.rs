//! Names of Unix sockets: paths, abstract names, and who is bound to what.
//!
//! A path leads to a socket inode, and the bound socket is found by that inode. Abstract names are a table of their own, one for each
//! network namespace and type of socket (a datagram socket and a stream socket may have the same abstract name).

use super::{Kind, UnixSocket};
use crate::errno::{Errno, Result};
use crate::fs::permission::{self, Access};
use crate::fs::walk::{self, LookupFlags};
use crate::fs::{FileType, Inode, Path, names};
use crate::sync::{Lazy, SpinLock};
use crate::task::current;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::{format, vec::Vec};
use core::sync::atomic::{AtomicU32, Ordering};
use linux_raw_sys::general::{AT_FDCWD, S_IFSOCK};
use linux_raw_sys::net::{AF_UNIX, UNIX_PATH_MAX};

/// Permissions of a socket's file before the umask.
const SOCKET_MODE: u32 = 0o777;
/// Bytes of `sun_family`.
const FAMILY_BYTES: usize = 2;

/// What a socket is bound to.
pub(super) struct Address {
    /// `sun_path` as `getsockname` shows it: a path with its NUL, or an abstract name with the NUL in front.
    sun_path: Vec<u8>,
    /// For paths: the socket's file, whose inode is the key of [`BOUND_INODES`].
    place: Option<(Path, Arc<Inode>)>,
}

impl Address {
    /// `struct sockaddr_un`.
    pub(super) fn encode(&self) -> Vec<u8> {
        [&(AF_UNIX as u16).to_ne_bytes()[..], &self.sun_path].concat()
    }

    /// The name as `/proc/net/unix` shows it: NULs of abstract names become `@`.
    pub(super) fn shown(&self) -> Vec<u8> {
        match self.sun_path.first() {
            Some(0) => self.sun_path.iter().map(|byte| if *byte == 0 { b'@' } else { *byte }).collect(),
            _ => self.sun_path.strip_suffix(b"\0").unwrap_or(&self.sun_path).to_vec(),
        }
    }
}

/// The address of a socket without a name: the family alone.
pub(super) fn unnamed() -> Vec<u8> {
    (AF_UNIX as u16).to_ne_bytes().to_vec()
}

/// What a program passed as `struct sockaddr_un`.
pub(super) enum Name<'a> {
    /// The family alone: choose one (`unix(7)`, "Autobind feature").
    Automatic,
    /// An abstract name, with its leading NUL: all bytes count.
    Abstract(&'a [u8]),
    /// A path, without its NUL.
    Path(&'a [u8]),
}

impl<'a> Name<'a> {
    /// `EINVAL` for other families and wrong lengths.
    pub(super) fn parse(address: &'a [u8]) -> Result<Self> {
        let family = address.first_chunk::<FAMILY_BYTES>().map(|family| u32::from(u16::from_ne_bytes(*family)));
        if family != Some(AF_UNIX) || address.len() > FAMILY_BYTES + UNIX_PATH_MAX as usize {
            return Err(Errno::INVAL);
        }
        Ok(match &address[FAMILY_BYTES..] {
            [] => Self::Automatic,
            name @ [0, ..] => Self::Abstract(name),
            path => Self::Path(path.split(|byte| *byte == 0).next().unwrap_or(path)),
        })
    }
}

type Table<K> = Lazy<SpinLock<BTreeMap<K, Weak<UnixSocket>>>>;

static ABSTRACT: Table<AbstractKey> = Lazy::new(|| SpinLock::new(BTreeMap::new()));

/// The network namespace by its cookie, the type, the name.
type AbstractKey = (u64, Kind, Vec<u8>);

fn abstract_key(socket: &UnixSocket, name: &[u8]) -> AbstractKey {
    (socket.network.cookie, socket.kind, name.to_vec())
}

/// By the inode's address: the bound socket holds the inode, so the address stays its own.
static BOUND_INODES: Table<usize> = Lazy::new(|| SpinLock::new(BTreeMap::new()));

/// Gives `socket` the name; `EADDRINUSE` if it is taken.
pub(super) fn bind(socket: &Arc<UnixSocket>, name: &Name<'_>) -> Result<Arc<Address>> {
    match name {
        Name::Automatic => bind_automatically(socket),
        Name::Abstract(name) => enter_abstract(socket, name),
        Name::Path(path) => {
            let in_use = |error| if error == Errno::EXIST { Errno::ADDRINUSE } else { error };
            // The umask counts here even where a directory's default list counts for other files.
            let mode = SOCKET_MODE & !names::umask();
            names::make_node(AT_FDCWD, path, S_IFSOCK | mode, 0).map_err(in_use)?;
            let place = walk::lookup(AT_FDCWD, path, LookupFlags::empty())?;
            let inode = place.dentry().inode().ok_or(Errno::NOENT)?;
            let address = Arc::new(Address { sun_path: [path, &b"\0"[..]].concat(), place: Some((place, inode.clone())) });
            BOUND_INODES.lock().insert(Arc::as_ptr(&inode).addr(), Arc::downgrade(socket));
            Ok(address)
        }
    }
}

fn enter_abstract(socket: &Arc<UnixSocket>, name: &[u8]) -> Result<Arc<Address>> {
    let mut table = ABSTRACT.lock();
    let key = abstract_key(socket, name);
    if table.get(&key).is_some_and(|bound| bound.strong_count() > 0) {
        return Err(Errno::ADDRINUSE);
    }
    table.insert(key, Arc::downgrade(socket));
    Ok(Arc::new(Address { sun_path: name.to_vec(), place: None }))
}

/// An abstract name of five hexadecimal digits.
fn bind_automatically(socket: &Arc<UnixSocket>) -> Result<Arc<Address>> {
    const NAMES: u32 = 1 << 20;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..NAMES {
        let number = NEXT.fetch_add(1, Ordering::Relaxed) % NAMES;
        match enter_abstract(socket, format!("\0{number:05x}").as_bytes()) {
            Err(Errno::ADDRINUSE) => {}
            result => return result,
        }
    }
    Err(Errno::NOSPC)
}

/// The socket's name is free again. (The file of a path stays, as always.)
pub(super) fn unbind(socket: &UnixSocket, address: &Address) {
    match &address.place {
        Some((_, inode)) => BOUND_INODES.lock().remove(&Arc::as_ptr(inode).addr()),
        None => ABSTRACT.lock().remove(&abstract_key(socket, &address.sun_path)),
    };
}

/// The socket that a name leads `from` to: `ECONNREFUSED` if nobody is bound to it, `EACCES` without write permission, `EPROTOTYPE` if it is of
/// another type.
pub(super) fn find(from: &UnixSocket, name: &Name<'_>) -> Result<Arc<UnixSocket>> {
    match name {
        Name::Automatic => Err(Errno::INVAL),
        Name::Abstract(name) => {
            let found = ABSTRACT.lock().get(&abstract_key(from, name)).and_then(Weak::upgrade);
            found.ok_or(Errno::CONNREFUSED)
        }
        Name::Path(path) => {
            let place = walk::lookup(AT_FDCWD, path, LookupFlags::FOLLOW)?;
            let inode = place.inode().ok_or(Errno::NOENT)?;
            permission::check(&inode, &current().credentials(), Access::WRITE)?;
            if inode.file_type != FileType::Socket {
                return Err(Errno::CONNREFUSED);
            }
            let found = BOUND_INODES.lock().get(&Arc::as_ptr(&inode).addr()).and_then(Weak::upgrade);
            let found = found.ok_or(Errno::CONNREFUSED)?;
            if found.kind == from.kind { Ok(found) } else { Err(Errno::PROTOTYPE) }
        }
    }
}
