//! How many keys, and bytes in them, a user may have (`keyrings(7)`, "/proc/sys/kernel/keys").

use crate::errno::{Errno, Result};
use crate::fs::procfs::sysctl::Number;
use crate::sync::SpinLock;
use alloc::collections::BTreeMap;

/// `/proc/sys/kernel/keys/maxkeys`.
pub static MAX_KEYS: Number = Number::new(200, 1, i32::MAX as i64);
/// `/proc/sys/kernel/keys/maxbytes`.
pub static MAX_BYTES: Number = Number::new(20_000, 1, i32::MAX as i64);
/// `/proc/sys/kernel/keys/root_maxkeys`.
pub static ROOT_MAX_KEYS: Number = Number::new(1_000_000, 1, i32::MAX as i64);
/// `/proc/sys/kernel/keys/root_maxbytes`.
pub static ROOT_MAX_BYTES: Number = Number::new(25_000_000, 1, i32::MAX as i64);

/// What a user has.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub struct Usage {
    pub keys: i64,
    pub bytes: i64,
}

static USERS: SpinLock<BTreeMap<u32, Usage>> = SpinLock::new(BTreeMap::new());

/// All users that have keys.
pub fn users() -> BTreeMap<u32, Usage> {
    USERS.lock().clone()
}

/// The most keys and bytes that a user may have.
pub fn limits(uid: u32) -> (i64, i64) {
    if uid == 0 { (ROOT_MAX_KEYS.get(), ROOT_MAX_BYTES.get()) } else { (MAX_KEYS.get(), MAX_BYTES.get()) }
}

/// Adds to what a user has, or takes away. `enforced`: `EDQUOT` beyond the limits.
fn change(uid: u32, keys: i64, bytes: i64, enforced: bool) -> Result<()> {
    let (max_keys, max_bytes) = limits(uid);
    let mut users = USERS.lock();
    let usage = users.entry(uid).or_default();
    let (new_keys, new_bytes) = (usage.keys + keys, usage.bytes + bytes);
    let grows = keys > 0 || bytes > 0;
    if enforced && grows && (new_keys > max_keys || new_bytes > max_bytes) {
        if usage.keys == 0 {
            users.remove(&uid);
        }
        return Err(Errno::DQUOT);
    }
    (usage.keys, usage.bytes) = (new_keys, new_bytes);
    if new_keys == 0 {
        users.remove(&uid);
    }
    Ok(())
}

/// What one key costs its owner.
pub struct Charge {
    uid: u32,
    /// For the description.
    fixed_bytes: i64,
    payload_bytes: i64,
}

/// What each key in a keyring costs the keyring.
pub const LINK_BYTES: usize = 4;
/// What a keyring costs beside its description.
const KEYRING_BYTES: i64 = 32;

impl Charge {
    /// For a key with such a description and payload. Keyrings that the kernel makes are not refused (`enforced`).
    pub fn take(uid: u32, description: &[u8], is_keyring: bool, payload_bytes: usize, enforced: bool) -> Result<Self> {
        let fixed_bytes = description.len() as i64 + 1 + if is_keyring { KEYRING_BYTES } else { 0 };
        let payload_bytes = payload_bytes as i64;
        change(uid, 1, fixed_bytes + payload_bytes, enforced)?;
        Ok(Self { uid, fixed_bytes, payload_bytes })
    }

    /// The payload will have this length. `EDQUOT`.
    pub fn change_payload(&mut self, payload_bytes: usize) -> Result<()> {
        change(self.uid, 0, payload_bytes as i64 - self.payload_bytes, true)?;
        self.payload_bytes = payload_bytes as i64;
        Ok(())
    }

    /// The payload has become shorter.
    pub fn set_payload(&mut self, payload_bytes: usize) {
        // What shrinks is never refused.
        let _ = change(self.uid, 0, payload_bytes as i64 - self.payload_bytes, false);
        self.payload_bytes = payload_bytes as i64;
    }

    /// Another user pays. `EDQUOT`.
    pub fn move_to(&mut self, uid: u32) -> Result<()> {
        let bytes = self.fixed_bytes + self.payload_bytes;
        change(uid, 1, bytes, true)?;
        let _ = change(core::mem::replace(&mut self.uid, uid), -1, -bytes, false);
        Ok(())
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let _ = change(self.uid, -1, -(self.fixed_bytes + self.payload_bytes), false);
    }
}
