//! A key: type, description, owner, permissions, payload, and the ways in which it ends.

use super::keyring::Links;
use super::quota::Charge;
use crate::dev::random;
use crate::errno::{Errno, Result};
use crate::sync::SpinLock;
use crate::task::Credentials;
use crate::time::clock::{self, NS_PER_SECOND};
use alloc::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    vec::Vec,
};
use bitflags::bitflags;

/// Longest payload of a user or logon key.
pub const MAX_PAYLOAD_BYTES: usize = 32767;

bitflags! {
    /// One byte of a key's permission mask (`keyctl_setperm(3)`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[allow(missing_docs)]
    pub struct Need: u32 {
        const VIEW = 1;
        const READ = 2;
        const WRITE = 4;
        const SEARCH = 8;
        const LINK = 16;
        const SETATTR = 32;
    }
}

/// Where the byte of each class of users stands in the mask.
pub const POSSESSOR_SHIFT: u32 = 24;
pub const USER_SHIFT: u32 = 16;
pub const GROUP_SHIFT: u32 = 8;
/// All bits that a mask may have.
pub const PERMISSION_MASK: u32 = 0x3f3f_3f3f;

/// The types that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum KeyType {
    Keyring,
    User,
    /// As [`Self::User`], but no program can read it.
    Logon,
}

impl KeyType {
    /// By its name.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        match name {
            b"keyring" => Some(Self::Keyring),
            b"user" => Some(Self::User),
            b"logon" => Some(Self::Logon),
            _ => None,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Keyring => "keyring",
            Self::User => "user",
            Self::Logon => "logon",
        }
    }

    /// Whether `KEYCTL_READ` works.
    pub fn is_readable(self) -> bool {
        self != Self::Logon
    }

    /// Whether adding a key of the same description changes the old one.
    pub fn is_updatable(self) -> bool {
        self != Self::Keyring
    }

    /// Checks a payload: `EINVAL`.
    pub fn check_payload(self, payload: &[u8]) -> Result<()> {
        let fits = match self {
            Self::Keyring => payload.is_empty(),
            Self::User | Self::Logon => (1..=MAX_PAYLOAD_BYTES).contains(&payload.len()),
        };
        if fits { Ok(()) } else { Err(Errno::INVAL) }
    }

    /// Checks a description: those of logon keys have a prefix and a colon. `EINVAL`.
    pub fn check_description(self, description: &[u8]) -> Result<()> {
        let has_prefix = description.iter().position(|byte| *byte == b':').is_some_and(|at| at > 0);
        if self != Self::Logon || has_prefix { Ok(()) } else { Err(Errno::INVAL) }
    }
}

/// A key.
pub struct Key {
    /// Its number, unique while it lives.
    pub serial: i32,
    /// Its type.
    pub key_type: KeyType,
    /// Its description, without NUL.
    pub description: Vec<u8>,
    state: SpinLock<State>,
    /// What a keyring holds.
    pub links: Links,
    pub(super) charge: SpinLock<Charge>,
}

struct State {
    attributes: KeyAttributes,
    payload: Vec<u8>,
    /// Seconds since 1970 from which on it is expired.
    expires_at: Option<i64>,
    end: Option<End>,
}

/// Owner and permissions; ids are those of the initial user namespace.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct KeyAttributes {
    pub uid: u32,
    pub gid: u32,
    pub permissions: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Revoked,
    Invalidated,
}

/// All keys by number.
static KEYS: SpinLock<BTreeMap<i32, Weak<Key>>> = SpinLock::new(BTreeMap::new());

/// Numbers below are the special ones.
const LOWEST_SERIAL: i32 = 3;

impl Key {
    /// A new key that no keyring holds yet. The payload has been checked.
    pub fn new(key_type: KeyType, description: &[u8], payload: Vec<u8>, attributes: KeyAttributes, charge: Charge) -> Arc<Self> {
        let make = |serial| Self {
            serial,
            key_type,
            description: description.to_vec(),
            state: SpinLock::new(State { attributes, payload, expires_at: None, end: None }),
            links: Links::default(),
            charge: SpinLock::new(charge),
        };
        let mut keys = KEYS.lock();
        let serial = loop {
            let number = (random::next_u64() >> 33) as i32;
            if number >= LOWEST_SERIAL && !keys.contains_key(&number) {
                break number;
            }
        };
        let key = Arc::new(make(serial));
        keys.insert(serial, Arc::downgrade(&key));
        key
    }

    /// The key of a number. `ENOKEY`.
    pub fn find(serial: i32) -> Result<Arc<Self>> {
        let known = KEYS.lock().get(&serial).cloned();
        known.and_then(|key| key.upgrade()).ok_or(Errno::NOKEY)
    }

    /// All keys, by number.
    pub fn all() -> Vec<Arc<Self>> {
        let keys: Vec<Weak<Self>> = KEYS.lock().values().cloned().collect();
        keys.iter().filter_map(Weak::upgrade).collect()
    }

    /// Whether it is a keyring: `ENOTDIR`.
    pub fn require_keyring(&self) -> Result<()> {
        if self.key_type == KeyType::Keyring { Ok(()) } else { Err(Errno::NOTDIR) }
    }

    /// Owner and permissions.
    pub fn attributes(&self) -> KeyAttributes {
        self.state.lock().attributes
    }

    /// Changes owner or permissions.
    pub fn set_attributes(&self, attributes: KeyAttributes) {
        self.state.lock().attributes = attributes;
    }

    /// Whether `credentials` have a right over it, as its possessor or not: `EACCES`.
    pub fn check(&self, credentials: &Credentials, possessed: bool, need: Need) -> Result<()> {
        let KeyAttributes { uid, gid, permissions } = self.attributes();
        let group_bits = permissions >> GROUP_SHIFT & 0x3f;
        let mut granted = match () {
            () if uid == credentials.filesystem_uid => permissions >> USER_SHIFT,
            () if group_bits != 0 && credentials.in_group(gid) => group_bits,
            () => permissions,
        };
        if possessed {
            granted |= permissions >> POSSESSOR_SHIFT;
        }
        if Need::from_bits_truncate(granted).contains(need) { Ok(()) } else { Err(Errno::ACCES) }
    }

    /// Whether it still is a key: `ENOKEY`, `EKEYREVOKED`, `EKEYEXPIRED`.
    pub fn validate(&self) -> Result<()> {
        let state = self.state.lock();
        match state.end {
            Some(End::Invalidated) => return Err(Errno::NOKEY),
            Some(End::Revoked) => return Err(Errno::KEYREVOKED),
            None => {}
        }
        if state.expires_at.is_some_and(|at| at <= now_seconds()) { Err(Errno::KEYEXPIRED) } else { Ok(()) }
    }

    /// `KEYCTL_REVOKE`: it stays where it is, of no use any more.
    pub fn revoke(&self) {
        let payload = {
            let mut state = self.state.lock();
            state.end.get_or_insert(End::Revoked);
            core::mem::take(&mut state.payload)
        };
        drop(payload);
        self.charge.lock().set_payload(0);
        if self.key_type == KeyType::Keyring {
            self.links.clear(self);
        }
    }

    /// `KEYCTL_INVALIDATE`: it is gone for everybody at once.
    pub fn invalidate(self: &Arc<Self>) {
        self.state.lock().end = Some(End::Invalidated);
        for keyring in Self::all().iter().filter(|key| key.key_type == KeyType::Keyring) {
            keyring.links.remove(keyring, self);
        }
        KEYS.lock().remove(&self.serial);
    }

    /// Whether it was revoked, whether it was invalidated.
    pub fn ends(&self) -> (bool, bool) {
        let end = self.state.lock().end;
        (end == Some(End::Revoked), end == Some(End::Invalidated))
    }

    /// `KEYCTL_SET_TIMEOUT`: `None` for ever.
    pub fn set_timeout(&self, seconds: Option<u32>) {
        self.state.lock().expires_at = seconds.map(|seconds| now_seconds() + i64::from(seconds));
    }

    /// Seconds until it expires.
    pub fn seconds_left(&self) -> Option<i64> {
        self.state.lock().expires_at.map(|at| at - now_seconds())
    }

    /// The payload.
    pub fn payload(&self) -> Vec<u8> {
        self.state.lock().payload.clone()
    }

    /// How long the payload is.
    pub fn payload_len(&self) -> usize {
        self.state.lock().payload.len()
    }

    /// Another payload, which lives for ever again. `EDQUOT`.
    pub fn set_payload(&self, payload: Vec<u8>) -> Result<()> {
        self.charge.lock().change_payload(payload.len())?;
        let old = {
            let mut state = self.state.lock();
            state.expires_at = None;
            core::mem::replace(&mut state.payload, payload)
        };
        drop(old);
        Ok(())
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        let mut keys = KEYS.lock();
        if keys.get(&self.serial).is_some_and(|known| known.strong_count() == 0) {
            keys.remove(&self.serial);
        }
    }
}

fn now_seconds() -> i64 {
    (clock::realtime_ns() / i128::from(NS_PER_SECOND)) as i64
}
