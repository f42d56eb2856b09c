//! System calls: keys.

use super::{Arguments, Entry};
use crate::errno::{Errno, Result};
use crate::keys::control;
use crate::mm::PAGE_SIZE_BYTES;
use crate::mm::user::{self, read_c_string};
use crate::task::current;
use alloc::{vec, vec::Vec};
use linux_raw_sys::general as sys;

pub(super) const TABLE: &[Entry] = &[
    Entry(sys::__NR_add_key, "add_key", add_key),
    Entry(sys::__NR_request_key, "request_key", request_key),
    Entry(sys::__NR_keyctl, "keyctl", keyctl),
];

/// Longest type name with its NUL.
const TYPE_MAX_BYTES: usize = 32;
/// Longest description with its NUL (`KEY_MAX_DESC_SIZE`).
const DESCRIPTION_MAX_BYTES: usize = 4096;
/// No payload is longer.
const PAYLOAD_MAX_BYTES: u64 = (1 << 20) - 1;

/// What `KEYCTL_CAPABILITIES` tells (`linux/keyctl.h`): capabilities themselves, invalidate, restrict, move; keyring names per user namespace.
const CAPABILITIES: [u8; 2] = [0x01 | 0x20 | 0x40 | 0x80, 0x01];

/// A type's name. `EPERM` for the kernel's own, which begin with a dot.
fn read_type(address: u64) -> Result<Vec<u8>> {
    let name = read_c_string(address, TYPE_MAX_BYTES, Errno::INVAL)?;
    match name.first() {
        None => Err(Errno::INVAL),
        Some(b'.') => Err(Errno::PERM),
        Some(_) => Ok(name),
    }
}

fn read_description(address: u64) -> Result<Vec<u8>> {
    read_c_string(address, DESCRIPTION_MAX_BYTES, Errno::INVAL)
}

fn read_payload(address: u64, len: u64) -> Result<Vec<u8>> {
    let mut payload = Vec::new();
    payload.try_reserve_exact(len as usize).map_err(|_| Errno::NOMEM)?;
    payload.resize(len as usize, 0);
    user::read_bytes(address, &mut payload)?;
    Ok(payload)
}

fn add_key(&[key_type, description, payload, len, keyring, ..]: &Arguments) -> Result<u64> {
    if len > PAYLOAD_MAX_BYTES {
        return Err(Errno::INVAL);
    }
    let key_type = read_type(key_type)?;
    let description = if description == 0 { Vec::new() } else { read_description(description)? };
    if description.first() == Some(&b'.') && key_type == b"keyring" {
        return Err(Errno::PERM);
    }
    let payload = if len == 0 { Vec::new() } else { read_payload(payload, len)? };
    control::add(&key_type, &description, payload, keyring as i32).map(|serial| serial as u64)
}

fn request_key(&[key_type, description, callout, destination, ..]: &Arguments) -> Result<u64> {
    let key_type = read_type(key_type)?;
    let description = read_description(description)?;
    if callout != 0 {
        read_c_string(callout, PAGE_SIZE_BYTES, Errno::INVAL)?;
    }
    control::request(&key_type, &description, destination as i32).map(|serial| serial as u64)
}

/// Copies `answer` only if all of it fits; tells its length in any case.
fn answer(answer: &[u8], address: u64, room: u64) -> Result<u64> {
    if address != 0 && answer.len() as u64 <= room {
        user::write_bytes(address, answer)?;
    }
    Ok(answer.len() as u64)
}

/// A user or group id of the caller's namespace; -1 is none. `EINVAL` without a mapping.
fn id(number: u64, to_global: impl FnOnce(u32) -> Option<u32>) -> Result<Option<u32>> {
    match number as u32 {
        u32::MAX => Ok(None),
        number => to_global(number).map(Some).ok_or(Errno::INVAL),
    }
}

/// The operations by their numbers in `linux/keyctl.h`. `EOPNOTSUPP` for those that are not there.
fn keyctl(&[operation, first, second, third, fourth, ..]: &Arguments) -> Result<u64> {
    let key = first as i32;
    let done = |()| 0;
    let number = |serial: i32| serial as u64;
    match operation as u32 {
        0 => control::keyring_number(key, second as i32 != 0).map(number),
        1 => join_session(first),
        2 => {
            if third > PAGE_SIZE_BYTES as u64 {
                return Err(Errno::INVAL);
            }
            let payload = if second == 0 { Vec::new() } else { read_payload(second, third)? };
            control::update(key, payload).map(done)
        }
        3 => control::revoke(key).map(done),
        4 => {
            let namespace = current().credentials().user_namespace.clone();
            let (uid, gid) = (id(second, |id| namespace.uid_to_global(id))?, id(third, |id| namespace.gid_to_global(id))?);
            control::change_owner(key, uid, gid).map(done)
        }
        5 => control::set_permissions(key, second as u32).map(done),
        6 => answer(&control::describe(key)?, second, third),
        7 => control::clear(key).map(done),
        8 => control::link(key, second as i32).map(done),
        9 => control::unlink(key, second as i32).map(done),
        10 => {
            let (key_type, description) = (read_type(second)?, read_description(third)?);
            control::search(key, &key_type, &description, fourth as i32).map(number)
        }
        11 => answer(&control::read(key)?, second, third),
        // To give a key that is asked for its value, or refuse it, takes the right that only a helper of `request_key` has.
        12 | 13 | 19 | 20 => Err(Errno::PERM),
        14 => control::set_default_destination(key).map(|old| i64::from(old) as u64),
        15 => control::set_timeout(key, second as u32).map(done),
        16 => assume_authority(key),
        17 => answer(&control::security_label(key)?, second, third),
        18 => control::session_to_parent().map(done),
        21 => control::invalidate(key).map(done),
        29 if second == 0 => control::restrict(key).map(done),
        30 => control::move_key(key, second as i32, third as i32, fourth as u32).map(done),
        31 => capabilities(first, second),
        _ => Err(Errno::OPNOTSUPP),
    }
}

/// `KEYCTL_JOIN_SESSION_KEYRING`: names that begin with a dot are the kernel's.
fn join_session(name: u64) -> Result<u64> {
    let name = if name == 0 { None } else { Some(read_description(name)?) };
    if name.as_ref().is_some_and(|name| name.first() == Some(&b'.')) {
        return Err(Errno::PERM);
    }
    control::join_session(name.as_deref()).map(|serial| serial as u64)
}

/// `KEYCTL_ASSUME_AUTHORITY`: there is no key under construction that anybody could have authority over.
fn assume_authority(key: i32) -> Result<u64> {
    match key {
        0 => Ok(0),
        ..0 => Err(Errno::INVAL),
        _ => Err(Errno::NOKEY),
    }
}

/// `KEYCTL_CAPABILITIES`: as much as there is room for, zeros behind.
fn capabilities(address: u64, room: u64) -> Result<u64> {
    let mut bytes = vec![0; usize::try_from(room).unwrap_or(PAGE_SIZE_BYTES).min(PAGE_SIZE_BYTES)];
    for (to, from) in bytes.iter_mut().zip(CAPABILITIES) {
        *to = from;
    }
    user::write_bytes(address, &bytes)?;
    Ok(CAPABILITIES.len() as u64)
}
