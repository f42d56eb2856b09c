//! What compiled code expects a C library to have: memory functions, and two names that the prebuilt `alloc` mentions though nothing
//! unwinds here.

/// Copies forwards in 8-byte words, then bytes.
///
/// # Safety
/// As `memcpy(3)`.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, len_bytes: usize) -> *mut u8 {
    // SAFETY: the caller names `len_bytes` readable and writable bytes that do not overlap; `rep movs` touches no others.
    unsafe {
        core::arch::asm!(
            "rep movsq",
            "mov rcx, {rest}",
            "rep movsb",
            rest = in(reg) len_bytes % 8,
            inout("rcx") len_bytes / 8 => _,
            inout("rdi") to => _,
            inout("rsi") from => _,
            options(nostack, preserves_flags),
        );
    }
    to
}

/// # Safety
/// As `memmove(3)`.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, len_bytes: usize) -> *mut u8 {
    if (to as usize).wrapping_sub(from as usize) >= len_bytes {
        // SAFETY: a copy forwards never overwrites what it has yet to read when `to` is below `from` or behind its end.
        return unsafe { memcpy(to, from, len_bytes) };
    }
    // SAFETY: copies backwards, so that the overlapping part is read before it is overwritten. The direction flag is reset.
    unsafe {
        core::arch::asm!(
            "std",
            "rep movsb",
            "add rdi, -7",
            "add rsi, -7",
            "mov rcx, {words}",
            "rep movsq",
            "cld",
            words = in(reg) len_bytes / 8,
            inout("rcx") len_bytes % 8 => _,
            inout("rdi") to.wrapping_add(len_bytes).wrapping_sub(1) => _,
            inout("rsi") from.wrapping_add(len_bytes).wrapping_sub(1) => _,
            options(nostack),
        );
    }
    to
}

/// # Safety
/// As `memset(3)`.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, len_bytes: usize) -> *mut u8 {
    // SAFETY: the caller names `len_bytes` writable bytes.
    unsafe {
        core::arch::asm!(
            "rep stosq",
            "mov rcx, {rest}",
            "rep stosb",
            rest = in(reg) len_bytes % 8,
            inout("rcx") len_bytes / 8 => _,
            inout("rdi") to => _,
            in("rax") u64::from(byte as u8) * 0x0101_0101_0101_0101,
            options(nostack, preserves_flags),
        );
    }
    to
}

/// # Safety
/// As `memcmp(3)`.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, len_bytes: usize) -> i32 {
    let mut done = 0;
    while done + 8 <= len_bytes {
        // SAFETY: both have 8 bytes from `done` on.
        let (a, b) = unsafe { (left.add(done).cast::<u64>().read_unaligned(), right.add(done).cast::<u64>().read_unaligned()) };
        if a != b {
            return if a.swap_bytes() < b.swap_bytes() { -1 } else { 1 };
        }
        done += 8;
    }
    while done < len_bytes {
        // SAFETY: both have a byte at `done`. Volatile, lest the loop be recognised as a call of this very function.
        let (a, b) = unsafe { (left.add(done).read_volatile(), right.add(done).read_volatile()) };
        if a != b {
            return i32::from(a) - i32::from(b);
        }
        done += 1;
    }
    0
}

/// # Safety
/// As `bcmp(3)`.
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(left: *const u8, right: *const u8, len_bytes: usize) -> i32 {
    // SAFETY: the same contract.
    unsafe { memcmp(left, right, len_bytes) }
}

/// # Safety
/// As `strlen(3)`.
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(text: *const u8) -> usize {
    let mut len_bytes = 0;
    // SAFETY: the caller's string ends with a NUL; nothing is read behind it. Volatile: see `memcmp`.
    while unsafe { text.add(len_bytes).read_volatile() } != 0 {
        len_bytes += 1;
    }
    len_bytes
}

/// Named by the landing pads of the prebuilt `alloc`; `panic = "abort"` never comes here.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() -> ! {
    panic!("unwinding in a kernel that does not unwind");
}

/// See [`rust_eh_personality`].
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    panic!("unwinding in a kernel that does not unwind");
}
