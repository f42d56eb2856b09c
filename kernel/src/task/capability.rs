//! `capget(2)`, `capset(2)`, and the parts of `prctl(2)` that are about capabilities.

use crate::errno::{Errno, Result};
use crate::task::credentials::securebits;
use crate::task::{Capabilities, Credentials, current, pid};
use alloc::sync::Arc;
use linux_raw_sys::general::CAP_LAST_CAP;

/// The three sets that the calls pass.
#[derive(Clone, Copy)]
#[allow(missing_docs)]
pub struct Sets {
    pub effective: Capabilities,
    pub permitted: Capabilities,
    pub inheritable: Capabilities,
}

/// `capget(2)`: the sets of a thread, 0 for the caller. `ESRCH`, `EINVAL`.
pub fn get(number: i32) -> Result<Sets> {
    let credentials = match number {
        0 => current().credentials(),
        1.. => pid::find_thread(number as u32)?.credentials(),
        _ => return Err(Errno::INVAL),
    };
    Ok(Sets { effective: credentials.effective, permitted: credentials.permitted, inheritable: credentials.inheritable })
}

/// `capset(2)`: only for the calling thread. Sets may not grow beyond what is permitted (`capabilities(7)`, "Programmatically adjusting").
pub fn set(number: i32, sets: Sets) -> Result<()> {
    let thread = current();
    if number != 0 && number as u32 != thread.pid().number() {
        return Err(Errno::PERM);
    }
    let old = thread.credentials();
    let may_add = old.capable_in(Capabilities::SETPCAP, &old.user_namespace);
    let inheritable_limit = old.inheritable | if may_add { old.bounding | old.permitted } else { old.permitted };
    let allowed = inheritable_limit.contains(sets.inheritable)
        && (old.inheritable | old.bounding).contains(sets.inheritable)
        && old.permitted.contains(sets.permitted)
        && sets.permitted.contains(sets.effective);
    if !allowed {
        return Err(Errno::PERM);
    }
    let mut new = Credentials::clone(&old);
    new.effective = sets.effective;
    new.permitted = sets.permitted;
    new.inheritable = sets.inheritable;
    new.ambient &= sets.permitted & sets.inheritable;
    thread.set_credentials(Arc::new(new));
    Ok(())
}

fn one(number: u64) -> Result<Capabilities> {
    if number > u64::from(CAP_LAST_CAP) { Err(Errno::INVAL) } else { Ok(Capabilities::from_bits_truncate(1 << number)) }
}

fn change(edit: impl FnOnce(&mut Credentials)) {
    let thread = current();
    let mut new = Credentials::clone(&thread.credentials());
    edit(&mut new);
    thread.set_credentials(Arc::new(new));
}

/// `PR_CAPBSET_READ`.
pub fn in_bounding_set(number: u64) -> Result<bool> {
    Ok(current().credentials().bounding.contains(one(number)?))
}

/// `PR_CAPBSET_DROP`: `EPERM` without `CAP_SETPCAP`.
pub fn drop_from_bounding_set(number: u64) -> Result<()> {
    let credentials = current().credentials();
    if !credentials.capable_in(Capabilities::SETPCAP, &credentials.user_namespace) {
        return Err(Errno::PERM);
    }
    let capability = one(number)?;
    change(|new| new.bounding.remove(capability));
    Ok(())
}

/// `PR_CAP_AMBIENT_IS_SET`.
pub fn is_ambient(number: u64) -> Result<bool> {
    Ok(current().credentials().ambient.contains(one(number)?))
}

/// `PR_CAP_AMBIENT_RAISE`: only what is permitted and inheritable.
pub fn raise_ambient(number: u64) -> Result<()> {
    let capability = one(number)?;
    let credentials = current().credentials();
    let allowed = credentials.permitted.contains(capability)
        && credentials.inheritable.contains(capability)
        && credentials.securebits & securebits::NO_AMBIENT_RAISE == 0;
    if !allowed {
        return Err(Errno::PERM);
    }
    change(|new| new.ambient.insert(capability));
    Ok(())
}

/// `PR_CAP_AMBIENT_LOWER`.
pub fn lower_ambient(number: u64) -> Result<()> {
    let capability = one(number)?;
    change(|new| new.ambient.remove(capability));
    Ok(())
}

/// `PR_CAP_AMBIENT_CLEAR_ALL`.
pub fn clear_ambient() {
    change(|new| new.ambient = Capabilities::empty());
}

/// `PR_SET_SECUREBITS`: locked bits stay, locks stay, and it takes `CAP_SETPCAP`.
pub fn set_securebits(bits: u64) -> Result<()> {
    let credentials = current().credentials();
    let old = u64::from(credentials.securebits);
    let locked = (old & u64::from(securebits::LOCKS)) >> 1;
    let known = u64::from(securebits::ALL | securebits::LOCKS);
    let refused = locked & (old ^ bits) != 0
        || old & u64::from(securebits::LOCKS) & !bits != 0
        || bits & !known != 0
        || !credentials.capable_in(Capabilities::SETPCAP, &credentials.user_namespace);
    if refused {
        return Err(Errno::PERM);
    }
    change(|new| new.securebits = bits as u32);
    Ok(())
}

/// `PR_SET_KEEPCAPS`.
pub fn set_keep_capabilities(keep: u64) -> Result<()> {
    if keep > 1 {
        return Err(Errno::INVAL);
    }
    if current().credentials().securebits & (securebits::KEEP_CAPS << 1) != 0 {
        return Err(Errno::PERM);
    }
    change(|new| {
        new.securebits &= !securebits::KEEP_CAPS;
        if keep == 1 {
            new.securebits |= securebits::KEEP_CAPS;
        }
    });
    Ok(())
}

/// `PR_SET_NO_NEW_PRIVS`: cannot be taken back.
pub fn set_no_new_privileges() {
    change(|new| new.no_new_privileges = true);
}
