//! What keyrings hold, and how keys are found in them.

use super::key::{Key, KeyType, Need};
use super::quota::LINK_BYTES;
use crate::errno::{Errno, Result};
use crate::sync::SpinLock;
use crate::task::Credentials;
use alloc::{sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicBool, Ordering};

/// How deep keyrings may lie in keyrings.
const MAX_DEPTH: usize = 6;

/// The keys of a keyring; of each type and description at most one.
#[derive(Default)]
pub struct Links {
    keys: SpinLock<Vec<Arc<Key>>>,
    /// `KEYCTL_RESTRICT_KEYRING` without a type: nothing more can be linked.
    closed: AtomicBool,
}

/// One change of links at a time, so that no two together make a cycle.
static CHANGES: SpinLock<()> = SpinLock::new(());

impl Links {
    /// All, in the order in which they came.
    pub fn keys(&self) -> Vec<Arc<Key>> {
        self.keys.lock().clone()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.keys.lock().len()
    }

    /// The key with this type and description.
    pub fn get(&self, key_type: KeyType, description: &[u8]) -> Option<Arc<Key>> {
        self.keys.lock().iter().find(|key| key.key_type == key_type && key.description == description).cloned()
    }

    /// Lets nothing more in; `false` if that was so already.
    pub fn close(&self) -> bool {
        !self.closed.swap(true, Ordering::Relaxed)
    }

    /// Links `key` into `keyring`, whose links these are, in place of one with the same type and description.
    /// `EPERM` if it is restricted, `EDEADLK` for a cycle, `ELOOP` where it would be too deep, `EDQUOT`.
    pub fn add(&self, keyring: &Arc<Key>, key: &Arc<Key>) -> Result<()> {
        let replaced = {
            let _one_at_a_time = CHANGES.lock();
            if self.closed.load(Ordering::Relaxed) {
                return Err(Errno::PERM);
            }
            if key.key_type == KeyType::Keyring {
                check_no_cycle(keyring, key, 0)?;
            }
            let mut keys = self.keys.lock();
            let same = |other: &Arc<Key>| other.key_type == key.key_type && other.description == key.description;
            match keys.iter().position(same) {
                Some(index) => Some(core::mem::replace(&mut keys[index], key.clone())),
                None => {
                    keyring.charge.lock().change_payload((keys.len() + 1) * LINK_BYTES)?;
                    keys.push(key.clone());
                    None
                }
            }
        };
        drop(replaced);
        Ok(())
    }

    /// Unlinks `key`; gives whether it was there.
    pub fn remove(&self, keyring: &Key, key: &Arc<Key>) -> bool {
        let removed = {
            let mut keys = self.keys.lock();
            let index = keys.iter().position(|other| Arc::ptr_eq(other, key));
            let removed = index.map(|index| keys.remove(index));
            keyring.charge.lock().set_payload(keys.len() * LINK_BYTES);
            removed
        };
        removed.is_some()
    }

    /// Unlinks everything.
    pub fn clear(&self, keyring: &Key) {
        let removed = core::mem::take(&mut *self.keys.lock());
        keyring.charge.lock().set_payload(0);
        drop(removed);
    }
}

fn check_no_cycle(keyring: &Arc<Key>, key: &Arc<Key>, depth: usize) -> Result<()> {
    if Arc::ptr_eq(keyring, key) {
        return Err(Errno::DEADLK);
    }
    if depth >= MAX_DEPTH {
        return Err(Errno::LOOP);
    }
    let inner = key.links.keys();
    inner.iter().filter(|key| key.key_type == KeyType::Keyring).try_for_each(|key| check_no_cycle(keyring, key, depth + 1))
}

/// What is searched for.
pub enum Wanted<'a> {
    /// A type and a description.
    Named(KeyType, &'a [u8]),
    /// This very key, in whatever state it is.
    Key(&'a Arc<Key>),
}

impl Wanted<'_> {
    fn matches(&self, key: &Arc<Key>) -> bool {
        match self {
            Self::Named(key_type, description) => key.key_type == *key_type && key.description == *description,
            Self::Key(wanted) => Arc::ptr_eq(key, wanted),
        }
    }
}

/// Searches `keyring` and the keyrings in it, each of which must grant search. `EACCES`, `EAGAIN` if nothing is found; what is found
/// must grant search too and be valid, or its error counts unless another key is found.
pub fn search(keyring: &Arc<Key>, possessed: bool, wanted: &Wanted<'_>, credentials: &Credentials) -> Result<Arc<Key>> {
    keyring.require_keyring()?;
    keyring.check(credentials, possessed, Need::SEARCH)?;
    let mut search = Search { possessed, wanted, credentials, error: Errno::AGAIN };
    search.look_at(keyring, 0).ok_or(search.error)
}

struct Search<'a> {
    possessed: bool,
    wanted: &'a Wanted<'a>,
    credentials: &'a Credentials,
    /// Of what was found but cannot be had.
    error: Errno,
}

impl Search<'_> {
    fn look_at(&mut self, key: &Arc<Key>, depth: usize) -> Option<Arc<Key>> {
        if self.wanted.matches(key) {
            match self.usable(key) {
                Ok(()) => return Some(key.clone()),
                Err(error) => self.error = error,
            }
        }
        if key.key_type != KeyType::Keyring || depth > MAX_DEPTH || key.validate().is_err() {
            return None;
        }
        if depth > 0 && key.check(self.credentials, self.possessed, Need::SEARCH).is_err() {
            return None;
        }
        let keys = key.links.keys();
        // What lies here comes before what lies deeper.
        let (inner, plain): (Vec<_>, Vec<_>) = keys.into_iter().partition(|key| key.key_type == KeyType::Keyring);
        plain.iter().chain(&inner).find_map(|key| self.look_at(key, depth + 1))
    }

    fn usable(&self, key: &Arc<Key>) -> Result<()> {
        if let Wanted::Named(..) = self.wanted {
            key.validate()?;
        }
        key.check(self.credentials, self.possessed, Need::SEARCH)
    }
}
