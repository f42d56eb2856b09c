//! Effective capabilities of the calling thread, by capget and capset of version 3.

use crate::Outcome;

/// May mount.
pub const CAP_SYS_ADMIN: u32 = 21;
/// `_LINUX_CAPABILITY_VERSION_3` of capget(2).
const VERSION_3: u32 = 0x2008_0522;

/// The two 32-bit halves of effective, permitted and inheritable capabilities, as the kernel takes them.
type Sets = [[u32; 3]; 2];

fn get() -> Outcome<Sets> {
    let mut header = [VERSION_3, 0];
    let mut sets: Sets = Default::default();
    crate::syscall!(SYS_capget, &raw mut header, &raw mut sets)?;
    Ok(sets)
}

/// Whether the thread has the capability in effect.
pub fn is_effective(capability: u32) -> bool {
    let sets = get().expect("capget");
    sets[capability as usize / 32][0] & 1 << (capability % 32) != 0
}

/// Raises or drops an effective capability of the thread; permitted ones stay.
pub fn set_effective(capability: u32, on: bool) -> Outcome {
    let mut sets = get()?;
    let (half, bit) = (&mut sets[capability as usize / 32][0], 1 << (capability % 32));
    *half = if on { *half | bit } else { *half & !bit };
    let header = [VERSION_3, 0];
    crate::syscall!(SYS_capset, &raw const header, &raw const sets)
}
