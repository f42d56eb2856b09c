//! What `keyctl(2)` does with keyrings: link, unlink, move, clear, search, restrict.

use super::control::keyring;
use super::key::{KeyType, Need};
use super::keyring::{self, Wanted};
use super::possession::{Lookup, look_up};
use crate::errno::{Errno, Result};
use crate::task::current;
use alloc::sync::Arc;

/// `KEYCTL_MOVE_EXCL`: a key of the same type and description is not pushed out.
pub const MOVE_EXCLUSIVE: u32 = 1;

/// `KEYCTL_CLEAR`.
pub fn clear(number: i32) -> Result<()> {
    let keyring = keyring(number, Lookup::Create, Need::WRITE)?;
    keyring.links.clear(&keyring);
    Ok(())
}

/// `KEYCTL_LINK`.
pub fn link(number: i32, into: i32) -> Result<()> {
    let target = look_up(into, Lookup::Create, Need::WRITE)?.key;
    let key = look_up(number, Lookup::Create, Need::LINK)?.key;
    target.require_keyring()?;
    target.links.add(&target, &key)
}

/// `KEYCTL_UNLINK`: `ENOENT` if it is not in there.
pub fn unlink(number: i32, from: i32) -> Result<()> {
    let source = look_up(from, Lookup::Valid, Need::WRITE)?.key;
    let key = look_up(number, Lookup::Partial, Need::empty())?.key;
    source.require_keyring()?;
    if source.links.remove(&source, &key) { Ok(()) } else { Err(Errno::NOENT) }
}

/// `KEYCTL_MOVE`: `ENOENT` if it is not in the first, `EEXIST` with [`MOVE_EXCLUSIVE`].
pub fn move_key(number: i32, from: i32, into: i32, flags: u32) -> Result<()> {
    if flags & !MOVE_EXCLUSIVE != 0 {
        return Err(Errno::INVAL);
    }
    let key = look_up(number, Lookup::Create, Need::LINK)?.key;
    let source = look_up(from, Lookup::Valid, Need::WRITE)?.key;
    let target = look_up(into, Lookup::Create, Need::WRITE)?.key;
    source.require_keyring()?;
    target.require_keyring()?;
    if Arc::ptr_eq(&source, &target) {
        return Ok(());
    }
    if !source.links.keys().iter().any(|other| Arc::ptr_eq(other, &key)) {
        return Err(Errno::NOENT);
    }
    if flags & MOVE_EXCLUSIVE != 0 && target.links.get(key.key_type, &key.description).is_some() {
        return Err(Errno::EXIST);
    }
    target.links.add(&target, &key)?;
    source.links.remove(&source, &key);
    Ok(())
}

/// `KEYCTL_SEARCH`: the number of what is found in the keyring and below, which is linked into `destination` (0: nowhere). `ENOKEY`.
pub fn search(number: i32, type_name: &[u8], description: &[u8], destination: i32) -> Result<i32> {
    let reached = look_up(number, Lookup::Valid, Need::SEARCH)?;
    let destination = if destination == 0 { None } else { Some(look_up(destination, Lookup::Create, Need::WRITE)?.key) };
    let key_type = KeyType::from_name(type_name).ok_or(Errno::NOKEY)?;
    let credentials = current().credentials();
    let found = keyring::search(&reached.key, reached.possessed, &Wanted::Named(key_type, description), &credentials);
    let key = found.map_err(|error| if error == Errno::AGAIN { Errno::NOKEY } else { error })?;
    if let Some(target) = destination {
        key.check(&credentials, reached.possessed, Need::LINK)?;
        target.require_keyring()?;
        target.links.add(&target, &key)?;
    }
    Ok(key.serial)
}

/// `KEYCTL_RESTRICT_KEYRING` without a type: nothing can be linked any more. `EEXIST` if it is restricted already.
pub fn restrict(number: i32) -> Result<()> {
    let keyring = keyring(number, Lookup::Valid, Need::SETATTR)?;
    if keyring.links.close() { Ok(()) } else { Err(Errno::EXIST) }
}
