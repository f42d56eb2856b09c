//! The functions of the vDSO, which run in programs: clocks without a system call (`vdso(7)`). `build.rs` compiles this file by itself,
//! for addresses that nobody knows yet, and with nothing but `core`; the kernel only carries the result.

use super::clock_page::ClockPage;
use core::arch::asm;
use core::arch::x86_64::{_mm_lfence, _rdtsc};

const CLOCK_REALTIME: i32 = 0;
const CLOCK_MONOTONIC: i32 = 1;
const CLOCK_MONOTONIC_RAW: i32 = 4;
const CLOCK_BOOTTIME: i32 = 7;
const CLOCK_TAI: i32 = 11;
const NS_PER_SECOND: u64 = 1_000_000_000;

const CALL_GETTIMEOFDAY: u64 = 96;
const CALL_TIME: u64 = 201;
const CALL_CLOCK_GETTIME: u64 = 228;
const CALL_CLOCK_GETRES: u64 = 229;

/// `struct timespec`, and `struct timeval` with microseconds.
#[repr(C)]
pub struct Time {
    seconds: i64,
    fraction: i64,
}

/// `struct timezone`.
#[repr(C)]
pub struct TimeZone {
    minutes_west: i32,
    dst_time: i32,
}

/// The page before the image (`vdso.ld`).
#[inline]
fn clock_page() -> &'static ClockPage {
    let page: *const ClockPage;
    // SAFETY: an address is worked out, nothing more.
    unsafe { asm!("lea {}, [rip + vdso_clock_page]", out(reg) page, options(nomem, nostack, preserves_flags)) };
    // SAFETY: the kernel maps the page there, readable, for as long as the program has the vDSO; it is changed through atomics only.
    unsafe { &*page }
}

/// Nanoseconds of a clock, unless the kernel has to be asked.
#[inline]
fn now_ns(clock: i32) -> Option<u64> {
    let page = clock_page().read();
    if page.multiplier == 0 {
        return None;
    }
    // SAFETY: every x86-64 processor has both. The fence keeps the counter from being read early.
    let cycles = unsafe {
        _mm_lfence();
        _rdtsc()
    };
    let monotonic_ns = page.monotonic_ns(cycles);
    match clock {
        CLOCK_REALTIME | CLOCK_TAI => monotonic_ns.checked_add_signed(page.realtime_offset_ns),
        CLOCK_MONOTONIC | CLOCK_MONOTONIC_RAW | CLOCK_BOOTTIME => Some(monotonic_ns),
        _ => None,
    }
}

#[inline]
fn ask_kernel(number: u64, first: u64, second: u64) -> i64 {
    let answer;
    // SAFETY: as the program itself would make the call; it changes the memory that the program hands over, and rcx and r11.
    unsafe {
        asm!("syscall", inlateout("rax") number => answer, in("rdi") first, in("rsi") second, out("rcx") _, out("r11") _, options(nostack))
    };
    answer
}

/// `clock_gettime(2)`.
///
/// # Safety
/// As of the C function: `time` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __vdso_clock_gettime(clock: i32, time: *mut Time) -> i32 {
    match now_ns(clock) {
        Some(ns) => {
            let now = Time { seconds: (ns / NS_PER_SECOND) as i64, fraction: (ns % NS_PER_SECOND) as i64 };
            // SAFETY: the caller's promise.
            unsafe { time.write(now) };
            0
        }
        None => ask_kernel(CALL_CLOCK_GETTIME, clock as i64 as u64, time as u64) as i32,
    }
}

/// `gettimeofday(2)`.
///
/// # Safety
/// As of the C function: what is not null can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __vdso_gettimeofday(time: *mut Time, zone: *mut TimeZone) -> i32 {
    let now = now_ns(CLOCK_REALTIME).filter(|_| zone.is_null() && !time.is_null());
    match now {
        Some(ns) => {
            let now = Time { seconds: (ns / NS_PER_SECOND) as i64, fraction: (ns % NS_PER_SECOND / 1000) as i64 };
            // SAFETY: the caller's promise.
            unsafe { time.write(now) };
            0
        }
        None => ask_kernel(CALL_GETTIMEOFDAY, time as u64, zone as u64) as i32,
    }
}

/// `time(2)`.
///
/// # Safety
/// As of the C function: what is not null can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __vdso_time(time: *mut i64) -> i64 {
    let Some(ns) = now_ns(CLOCK_REALTIME) else { return ask_kernel(CALL_TIME, time as u64, 0) };
    let seconds = (ns / NS_PER_SECOND) as i64;
    if !time.is_null() {
        // SAFETY: the caller's promise.
        unsafe { time.write(seconds) };
    }
    seconds
}

/// `clock_getres(2)`: rarely called, so the kernel answers.
///
/// # Safety
/// As of the C function: what is not null can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __vdso_clock_getres(clock: i32, resolution: *mut Time) -> i32 {
    ask_kernel(CALL_CLOCK_GETRES, clock as i64 as u64, resolution as u64) as i32
}
