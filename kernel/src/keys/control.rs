//! What `add_key(2)`, `request_key(2)` and `keyctl(2)` do with single keys.

pub use super::control_links::*;
use super::key::{Key, KeyAttributes, KeyType, Need, PERMISSION_MASK, POSSESSOR_SHIFT, USER_SHIFT};
use super::keyring::Wanted;
use super::possession::{self, Lookup, look_up};
use super::quota::Charge;
use crate::errno::{Errno, Result};
use crate::task::{Capabilities, current};
use alloc::{format, sync::Arc, vec::Vec};

/// `add_key(2)`: makes a key in a keyring, or changes the one of that type and description there. Its number.
pub fn add(type_name: &[u8], description: &[u8], payload: Vec<u8>, keyring: i32) -> Result<i32> {
    let keyring = look_up(keyring, Lookup::Create, Need::WRITE)?.key;
    let key_type = KeyType::from_name(type_name).ok_or(Errno::NODEV)?;
    keyring.require_keyring()?;
    key_type.check_payload(&payload)?;
    if description.is_empty() {
        return Err(Errno::INVAL);
    }
    key_type.check_description(description)?;
    let credentials = current().credentials();
    let old = keyring.links.get(key_type, description).filter(|_| key_type.is_updatable());
    if let Some(old) = old.filter(|old| old.validate().is_ok()) {
        old.check(&credentials, possession::possesses(&old), Need::WRITE)?;
        old.set_payload(payload)?;
        return Ok(old.serial);
    }
    let (uid, gid) = (credentials.filesystem_uid, credentials.filesystem_gid);
    let permissions = permissions_of_new(key_type);
    let charge = Charge::take(uid, description, key_type == KeyType::Keyring, payload.len(), true)?;
    let key = Key::new(key_type, description, payload, KeyAttributes { uid, gid, permissions }, charge);
    keyring.links.add(&keyring, &key)?;
    Ok(key.serial)
}

/// The possessor may do all but what makes no sense for the type; the owner may look at it.
fn permissions_of_new(key_type: KeyType) -> u32 {
    let mut possessor = Need::VIEW | Need::SEARCH | Need::LINK | Need::SETATTR | Need::WRITE;
    possessor.set(Need::READ, key_type.is_readable());
    possessor.bits() << POSSESSOR_SHIFT | Need::VIEW.bits() << USER_SHIFT
}

/// `request_key(2)`: finds a key among those that the thread has, and links it into `destination` (0: nowhere). There is nobody who
/// could make one (`/sbin/request-key`), so `ENOKEY` otherwise.
pub fn request(type_name: &[u8], description: &[u8], destination: i32) -> Result<i32> {
    let destination = if destination == 0 { None } else { Some(look_up(destination, Lookup::Create, Need::WRITE)?.key) };
    let key_type = KeyType::from_name(type_name).ok_or(Errno::NOKEY)?;
    let key = possession::search_own(&Wanted::Named(key_type, description))?;
    if let Some(keyring) = destination {
        keyring.require_keyring()?;
        keyring.links.add(&keyring, &key)?;
    }
    Ok(key.serial)
}

/// `KEYCTL_GET_KEYRING_ID`: the real number of a keyring.
pub fn keyring_number(number: i32, create: bool) -> Result<i32> {
    let lookup = if create { Lookup::Create } else { Lookup::Valid };
    look_up(number, lookup, Need::SEARCH).map(|reached| reached.key.serial)
}

/// `KEYCTL_JOIN_SESSION_KEYRING`: a new session keyring, or the one of that name if it may be searched.
pub fn join_session(name: Option<&[u8]>) -> Result<i32> {
    let known = name.and_then(possession::find_by_name);
    if let Some(known) = known {
        possession::change(|keyrings| keyrings.session = Some(known.clone()));
        return Ok(known.serial);
    }
    possession::new_session(name).map(|keyring| keyring.serial)
}

/// `KEYCTL_UPDATE`.
pub fn update(number: i32, payload: Vec<u8>) -> Result<()> {
    let key = look_up(number, Lookup::Valid, Need::WRITE)?.key;
    if !key.key_type.is_updatable() {
        return Err(Errno::OPNOTSUPP);
    }
    key.key_type.check_payload(&payload)?;
    key.set_payload(payload)
}

/// `KEYCTL_REVOKE`.
pub fn revoke(number: i32) -> Result<()> {
    let key = match look_up(number, Lookup::Valid, Need::WRITE) {
        Err(Errno::ACCES) => look_up(number, Lookup::Valid, Need::SETATTR)?.key,
        other => other?.key,
    };
    key.revoke();
    Ok(())
}

/// `KEYCTL_INVALIDATE`.
pub fn invalidate(number: i32) -> Result<()> {
    look_up(number, Lookup::Valid, Need::SEARCH)?.key.invalidate();
    Ok(())
}

/// `KEYCTL_CHOWN`: `None` leaves an id. Only a privileged thread gives keys away, or to groups that it is not in.
pub fn change_owner(number: i32, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
    if uid.is_none() && gid.is_none() {
        return Ok(());
    }
    let key = look_up(number, Lookup::Create, Need::SETATTR)?.key;
    let credentials = current().credentials();
    let mut attributes = key.attributes();
    if !credentials.capable(Capabilities::SYS_ADMIN) {
        let gives_away = uid.is_some_and(|uid| uid != attributes.uid);
        let foreign_group = gid.is_some_and(|gid| gid != attributes.gid && !credentials.in_group(gid));
        if gives_away || foreign_group {
            return Err(Errno::ACCES);
        }
    }
    if let Some(uid) = uid.filter(|uid| *uid != attributes.uid) {
        key.charge.lock().move_to(uid)?;
        attributes.uid = uid;
    }
    attributes.gid = gid.unwrap_or(attributes.gid);
    key.set_attributes(attributes);
    Ok(())
}

/// `KEYCTL_SETPERM`: for the owner.
pub fn set_permissions(number: i32, permissions: u32) -> Result<()> {
    if permissions & !PERMISSION_MASK != 0 {
        return Err(Errno::INVAL);
    }
    let key = look_up(number, Lookup::Create, Need::SETATTR)?.key;
    let credentials = current().credentials();
    let attributes = key.attributes();
    if attributes.uid != credentials.filesystem_uid && !credentials.capable(Capabilities::SYS_ADMIN) {
        return Err(Errno::ACCES);
    }
    key.set_attributes(KeyAttributes { permissions, ..attributes });
    Ok(())
}

/// `KEYCTL_DESCRIBE`: type, owner, group, permissions, description, with a NUL.
pub fn describe(number: i32) -> Result<Vec<u8>> {
    let key = look_up(number, Lookup::Valid, Need::VIEW)?.key;
    let namespace = current().credentials().user_namespace.clone();
    let KeyAttributes { uid, gid, permissions } = key.attributes();
    let (uid, gid) = (namespace.shown_uid(uid), namespace.shown_gid(gid));
    let mut text = format!("{};{uid};{gid};{permissions:08x};", key.key_type.name()).into_bytes();
    text.extend_from_slice(&key.description);
    text.push(0);
    Ok(text)
}

/// `KEYCTL_READ`: the payload; of a keyring the numbers of its keys. Whoever possesses a key may read it though read is not granted.
pub fn read(number: i32) -> Result<Vec<u8>> {
    let reached = look_up(number, Lookup::Partial, Need::empty())?;
    let key = &reached.key;
    let granted = key.check(&current().credentials(), reached.possessed, Need::READ);
    if granted.is_err() && !reached.possessed {
        return Err(Errno::ACCES);
    }
    if !key.key_type.is_readable() {
        return Err(Errno::OPNOTSUPP);
    }
    key.validate()?;
    if key.key_type == KeyType::Keyring {
        return Ok(key.links.keys().iter().flat_map(|key| key.serial.to_ne_bytes()).collect());
    }
    Ok(key.payload())
}

/// `KEYCTL_SET_TIMEOUT`: 0 for none.
pub fn set_timeout(number: i32, seconds: u32) -> Result<()> {
    let key = look_up(number, Lookup::Create, Need::SETATTR)?.key;
    key.set_timeout((seconds > 0).then_some(seconds));
    Ok(())
}

/// `KEYCTL_GET_SECURITY`: no security module has anything to say. The empty string, with its NUL.
pub fn security_label(number: i32) -> Result<Vec<u8>> {
    look_up(number, Lookup::Valid, Need::VIEW).map(|_| Vec::from([0]))
}

/// `KEYCTL_SET_REQKEY_KEYRING`: the one before; -1 only asks.
pub fn set_default_destination(wanted: i32) -> Result<i32> {
    let old = current().credentials().keyrings.default_destination;
    match wanted {
        -1 => {}
        // From the default to the requestor's keyring, but for the group's, which nobody has.
        0..=5 | 7 => {
            if let special @ 1..=3 = wanted {
                // The thread's and the process's keyring are made for it.
                look_up(-special, Lookup::Create, Need::empty())?;
            }
            possession::change(|keyrings| keyrings.default_destination = wanted);
        }
        _ => return Err(Errno::INVAL),
    }
    Ok(old)
}

/// `KEYCTL_SESSION_TO_PARENT`.
pub fn session_to_parent() -> Result<()> {
    possession::give_session_to_parent()
}

/// The keyring behind a number, if it grants `need`: `ENOTDIR`.
pub(super) fn keyring(number: i32, lookup: Lookup, need: Need) -> Result<Arc<Key>> {
    let key = look_up(number, lookup, need)?.key;
    key.require_keyring()?;
    Ok(key)
}
