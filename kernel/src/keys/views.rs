//! `/proc/keys` and `/proc/key-users`.

use super::key::{Key, KeyType, Need};
use super::{possession, quota};
use crate::errno::Result;
use crate::fs::OpenFile;
use crate::fs::generated::Text;
use crate::task::current;
use crate::{put, put_line};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;

/// `/proc/keys`: the keys that the reader may view.
pub fn keys(_file: &OpenFile, text: &mut Text) -> Result<()> {
    let credentials = current().credentials();
    for key in Key::all() {
        if key.check(&credentials, possession::possesses(&key), Need::VIEW).is_ok() {
            put_key(&key, text);
        }
    }
    Ok(())
}

fn put_key(key: &Arc<Key>, text: &mut Text) {
    let namespace = current().credentials().user_namespace.clone();
    let (revoked, invalidated) = key.ends();
    let flag = |on: bool, letter: char| if on { letter } else { '-' };
    let attributes = key.attributes();
    let users = Arc::strong_count(key);
    put!(text, "{:08x} I{}-Q--{} {users:>5} ", key.serial, flag(revoked, 'R'), flag(invalidated, 'i'));
    put!(text, "{:>4} {:08x} ", time_left(key), attributes.permissions);
    // The user's keyrings have no group.
    let gid = if attributes.gid == u32::MAX { -1 } else { i64::from(namespace.shown_gid(attributes.gid)) };
    put!(text, "{:>5} {gid:>5} {:<9.9} ", namespace.shown_uid(attributes.uid), key.key_type.name());
    text.bytes(&key.description);
    match (key.key_type, key.links.len()) {
        (KeyType::Keyring, 0) => put_line!(text, ": empty"),
        (KeyType::Keyring, len) => put_line!(text, ": {len}"),
        _ => put_line!(text, ": {}", key.payload_len()),
    }
}

/// In the largest unit of which there is one at least.
fn time_left(key: &Key) -> String {
    const UNITS: [(i64, char); 4] = [(60, 's'), (60, 'm'), (24, 'h'), (7, 'd')];
    let Some(mut left) = key.seconds_left() else { return "perm".to_string() };
    if left <= 0 {
        return "expd".to_string();
    }
    for (size, letter) in UNITS {
        if left < size {
            return format!("{left}{letter}");
        }
        left /= size;
    }
    format!("{left}w")
}

/// `/proc/key-users`: what each user has, and may have.
pub fn users(_file: &OpenFile, text: &mut Text) -> Result<()> {
    let namespace = current().credentials().user_namespace.clone();
    for (uid, usage) in quota::users() {
        let Some(shown) = namespace.uid_from_global(uid) else { continue };
        let (max_keys, max_bytes) = quota::limits(uid);
        let (keys, bytes) = (usage.keys, usage.bytes);
        put_line!(text, "{shown:>5}: {:>5} {keys}/{keys} {keys}/{max_keys} {bytes}/{max_bytes}", keys + 1);
    }
    Ok(())
}
