//! What the three kinds have in common: keys, ids, owners and permissions (`sysvipc(7)`).

use super::{IpcNamespace, now_s};
use crate::errno::{Errno, Result};
use crate::mm::UserPointer;
use crate::sync::SpinLock;
use crate::task::{Capabilities, current};
use alloc::collections::BTreeMap;
use alloc::sync::Arc;

/// `IPC_*` (`<sys/ipc.h>`).
pub const IPC_CREAT: u32 = 0o1000;
const IPC_EXCL: u32 = 0o2000;
/// The key that nobody finds.
pub const IPC_PRIVATE: i32 = 0;
/// An id is a place and how often places were used again.
const PLACES: u32 = 1 << 15;
const SEQUENCES: u32 = 1 << 16;
/// Places are used again only after so many.
const SHORTEST_CYCLE: u32 = 64;
/// Bytes of `struct ipc64_perm`.
const HEADER_BYTES: usize = 48;

/// What is asked of an object, as the bits for others.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read.
    Read,
    /// Change.
    Write,
    /// Both.
    ReadWrite,
}

impl Access {
    fn bits(self) -> u32 {
        match self {
            Self::Read => 0o4,
            Self::Write => 0o2,
            Self::ReadWrite => 0o6,
        }
    }
}

/// Whose an object is, and who may do what.
#[derive(Clone, Debug)]
pub struct Header {
    /// The key; [`IPC_PRIVATE`] once it is removed.
    pub key: i32,
    /// The id.
    pub id: i32,
    uid: u32,
    gid: u32,
    creator_uid: u32,
    creator_gid: u32,
    /// Permissions, and above them flags of the kind.
    pub mode: u32,
    /// When it was made or changed.
    pub changed_s: i64,
    sequence: u32,
}

impl Header {
    /// `EACCES` if the caller may not do this.
    pub fn check(&self, namespace: &IpcNamespace, access: Access) -> Result<()> {
        self.check_bits(namespace, access.bits())
    }

    /// `bits` as for others.
    fn check_bits(&self, namespace: &IpcNamespace, bits: u32) -> Result<()> {
        let credentials = current().credentials();
        let granted = match () {
            () if [self.uid, self.creator_uid].contains(&credentials.effective_uid) => self.mode >> 6,
            () if credentials.in_effective_group(self.gid) || credentials.in_effective_group(self.creator_gid) => self.mode >> 3,
            () => self.mode,
        };
        let refused = bits & !granted & 0o7 != 0 && !credentials.capable_in(Capabilities::IPC_OWNER, &namespace.owner);
        if refused { Err(Errno::ACCES) } else { Ok(()) }
    }

    /// `EPERM` unless the caller owns or made it, or administers the namespace.
    pub fn check_owner(&self, namespace: &IpcNamespace) -> Result<()> {
        let credentials = current().credentials();
        let owns = [self.uid, self.creator_uid].contains(&credentials.effective_uid);
        if owns || credentials.capable_in(Capabilities::SYS_ADMIN, &namespace.owner) { Ok(()) } else { Err(Errno::PERM) }
    }

    /// As the caller sees it: owner and group, then those of its maker.
    pub fn shown_ids(&self) -> [u32; 4] {
        let credentials = current().credentials();
        let namespace = &credentials.user_namespace;
        [
            namespace.shown_uid(self.uid),
            namespace.shown_gid(self.gid),
            namespace.shown_uid(self.creator_uid),
            namespace.shown_gid(self.creator_gid),
        ]
    }

    /// `struct ipc64_perm`.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let [uid, gid, creator_uid, creator_gid] = self.shown_ids();
        let mut bytes = [0; HEADER_BYTES];
        let words = [self.key as u32, uid, gid, creator_uid, creator_gid, self.mode, self.sequence & 0xffff];
        for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }

    /// `IPC_SET`: owner, group and permissions.
    pub fn change(&mut self, change: Change) -> Result<()> {
        let credentials = current().credentials();
        let namespace = &credentials.user_namespace;
        self.uid = namespace.uid_to_global(change.uid).ok_or(Errno::INVAL)?;
        self.gid = namespace.gid_to_global(change.gid).ok_or(Errno::INVAL)?;
        self.mode = (self.mode & !0o777) | (change.mode & 0o777);
        self.changed_s = now_s();
        Ok(())
    }
}

/// What `IPC_SET` takes from `struct ipc64_perm`.
pub struct Change {
    uid: u32,
    gid: u32,
    mode: u32,
}

impl Change {
    /// Reads it from where a structure begins.
    pub fn read(address: u64) -> Result<Self> {
        let [_, uid, gid, _, _, mode] = UserPointer::<[u32; 6]>::new(address).read()?;
        Ok(Self { uid, gid, mode })
    }
}

/// One of the three kinds.
pub trait Object: Send + Sync {
    /// Whose it is.
    fn header(&self) -> &SpinLock<Header>;
}

/// What a `…get` call asks for.
#[derive(Clone, Copy)]
pub struct Request {
    /// The key.
    pub key: i32,
    /// `IPC_CREAT`, `IPC_EXCL`, permissions.
    pub flags: u32,
    /// How many objects there may be.
    pub most: u64,
}

/// The objects of one kind in a namespace.
pub struct Table<T> {
    objects: BTreeMap<u32, Arc<T>>,
    last_place: Option<u32>,
    sequence: u32,
}

impl<T: Object> Table<T> {
    pub(super) fn new() -> Self {
        Self { objects: BTreeMap::new(), last_place: None, sequence: 0 }
    }

    /// `…get`: the id of the object with the key, or of a new one. `fits`: whether one that is there is what is asked for.
    pub fn get(
        &mut self,
        namespace: &IpcNamespace,
        request: Request,
        fits: impl FnOnce(&T) -> Result<()>,
        make: impl FnOnce(&Self, Header) -> Result<T>,
    ) -> Result<i32> {
        let found = self.objects.values().find(|object| request.key != IPC_PRIVATE && object.header().lock().key == request.key);
        if let Some(object) = found {
            if request.flags & (IPC_CREAT | IPC_EXCL) == IPC_CREAT | IPC_EXCL {
                return Err(Errno::EXIST);
            }
            fits(object)?;
            let header = object.header().lock().clone();
            let asked = (request.flags >> 6) | (request.flags >> 3) | request.flags;
            header.check_bits(namespace, asked & 0o7)?;
            return Ok(header.id);
        }
        if request.key != IPC_PRIVATE && request.flags & IPC_CREAT == 0 {
            return Err(Errno::NOENT);
        }
        self.add(request, make)
    }

    fn add(&mut self, request: Request, make: impl FnOnce(&Self, Header) -> Result<T>) -> Result<i32> {
        let credentials = current().credentials();
        let (place, sequence) = self.free_place(request.most);
        let header = Header {
            key: request.key,
            id: (sequence * PLACES + place.unwrap_or_default()) as i32,
            uid: credentials.effective_uid,
            gid: credentials.effective_gid,
            creator_uid: credentials.effective_uid,
            creator_gid: credentials.effective_gid,
            mode: request.flags & 0o777,
            changed_s: now_s(),
            sequence,
        };
        let id = header.id;
        // What is asked for is looked at before whether there is room.
        let object = make(self, header)?;
        let place = place.ok_or(Errno::NOSPC)?;
        self.last_place = Some(place);
        self.sequence = sequence;
        self.objects.insert(place, Arc::new(object));
        Ok(id)
    }

    /// The next free place round the table, and its sequence number: it grows whenever places are used again.
    fn free_place(&self, most: u64) -> (Option<u32>, u32) {
        let used = self.objects.len() as u32;
        if u64::from(used) >= most {
            return (None, self.sequence);
        }
        let cycle = (used + used / 2).max(SHORTEST_CYCLE).min(most.min(u64::from(PLACES)) as u32).max(used + 1);
        let first = self.last_place.map_or(0, |last| last + 1);
        let place = (first..cycle).chain(0..cycle).find(|place| !self.objects.contains_key(place));
        let again = place.is_some_and(|place| self.last_place.is_some_and(|last| place <= last));
        (place, if again { (self.sequence + 1) % SEQUENCES } else { self.sequence })
    }

    /// The object of an id. `EINVAL` if there is none.
    pub fn find(&self, id: i32) -> Result<Arc<T>> {
        let number = u32::try_from(id).map_err(|_| Errno::INVAL)?;
        let object = self.objects.get(&(number % PLACES)).ok_or(Errno::INVAL)?;
        if object.header().lock().id == id { Ok(object.clone()) } else { Err(Errno::INVAL) }
    }

    /// `IPC_STAT` by id, or `…_STAT` by place: the object and its id. `…_STAT_ANY` asks nobody (`unasked`).
    pub fn look_at(&self, namespace: &IpcNamespace, number: i32, by_place: bool, unasked: bool) -> Result<(i32, Arc<T>)> {
        let at = |place: u32| self.objects.get(&(place % PLACES)).cloned();
        let object = if by_place { u32::try_from(number).ok().and_then(at).ok_or(Errno::INVAL)? } else { self.find(number)? };
        let header = object.header().lock().clone();
        if !unasked {
            header.check(namespace, Access::Read)?;
        }
        Ok((header.id, object))
    }

    /// The last place that is used, 0 if none is.
    pub fn last_used(&self) -> u64 {
        self.objects.keys().next_back().map_or(0, |place| u64::from(*place))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// All of them by place.
    pub fn all(&self) -> impl Iterator<Item = &Arc<T>> {
        self.objects.values()
    }

    /// `IPC_RMID`: the object, which is found no more.
    pub fn take(&mut self, namespace: &IpcNamespace, id: i32) -> Result<Arc<T>> {
        let object = self.find(id)?;
        object.header().lock().check_owner(namespace)?;
        self.remove(id);
        Ok(object)
    }

    /// `IPC_SET`: gives the object another owner and other permissions.
    pub fn change(&self, namespace: &IpcNamespace, id: i32, change: Change) -> Result<Arc<T>> {
        let object = self.find(id)?;
        let mut header = object.header().lock();
        header.check_owner(namespace)?;
        header.change(change)?;
        drop(header);
        Ok(object)
    }

    /// Takes one out. To be dropped without the table's lock.
    pub fn remove(&mut self, id: i32) -> Option<Arc<T>> {
        self.objects.remove(&(u32::try_from(id).ok()? % PLACES))
    }
}

/// `IPC_NOWAIT`, for the calls that wait.
pub const fn nowait(flags: u32) -> bool {
    flags & 0o4000 != 0
}
