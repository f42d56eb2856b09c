//! The vDSO: what every program finds in its memory (`vdso(7)`), and that its clocks are the kernel's.

use abi::{Errno, Outcome, in_child, spawn, syscall};
use std::collections::BTreeMap;
use std::ffi::CStr;
use std::fs;

/// Seconds and a part of one, as `struct timespec` and `struct timeval` have them.
type Time = [i64; 2];
type ClockGettime = extern "C" fn(i32, *mut Time) -> i32;

const CLOCKS: [i32; 5] = [libc::CLOCK_REALTIME, libc::CLOCK_MONOTONIC, libc::CLOCK_MONOTONIC_RAW, libc::CLOCK_BOOTTIME, libc::CLOCK_TAI];

fn base() -> u64 {
    // SAFETY: reads the auxiliary vector.
    unsafe { libc::getauxval(libc::AT_SYSINFO_EHDR) }
}

/// A value in the vDSO's image.
fn at<T: Copy>(offset: u64) -> T {
    // SAFETY: the callers follow the image's own tables.
    unsafe { ((base() + offset) as *const T).read_unaligned() }
}

fn text_at(offset: u64) -> &'static str {
    // SAFETY: likewise; strings in the image end with NUL.
    unsafe { CStr::from_ptr((base() + offset) as *const libc::c_char) }.to_str().expect("text")
}

/// The dynamic section by tag.
fn dynamic() -> BTreeMap<u64, u64> {
    let (table, count) = (at::<u64>(32), u64::from(at::<u16>(56)));
    let headers = (0..count).map(|index| table + index * 56);
    let section = headers.clone().find(|&header| at::<u32>(header) == 2).expect("PT_DYNAMIC");
    let start = at::<u64>(section + 16);
    (0..).map(|index| (at::<u64>(start + index * 16), at::<u64>(start + index * 16 + 8))).take_while(|entry| entry.0 != 0).collect()
}

/// All functions by name, as offsets.
fn functions() -> BTreeMap<&'static str, u64> {
    let tables = dynamic();
    let (symbols, strings, hash) = (tables[&6], tables[&5], tables[&4]);
    let count = u64::from(at::<u32>(hash + 4));
    let all = (1..count).map(|index| symbols + index * 24);
    all.map(|symbol| (text_at(strings + u64::from(at::<u32>(symbol))), at::<u64>(symbol + 8))).collect()
}

fn function<F: Copy>(name: &str) -> F {
    let address = base() + functions()[name];
    // SAFETY: the image's symbol table says that a C function of this type is there.
    unsafe { std::mem::transmute_copy(&address) }
}

fn by_vdso(clock: i32) -> Outcome<i128> {
    let mut time = [0; 2];
    match function::<ClockGettime>("__vdso_clock_gettime")(clock, &mut time) {
        0 => Ok(nanoseconds(time)),
        error => Err(Errno(-error)),
    }
}

fn by_call(clock: i32) -> Outcome<i128> {
    let mut time = [0; 2];
    syscall!(SYS_clock_gettime, clock, &raw mut time).map(|_| nanoseconds(time))
}

fn nanoseconds(time: Time) -> i128 {
    i128::from(time[0]) * 1_000_000_000 + i128::from(time[1])
}

/// The vDSO's time lies between two of the kernel's.
#[track_caller]
fn assert_agrees(clock: i32) {
    let before = by_call(clock).expect("clock_gettime");
    let between = by_vdso(clock).expect("the vDSO's clock_gettime");
    let after = by_call(clock).expect("clock_gettime");
    assert!((before..=after).contains(&between), "clock {clock}: {before} {between} {after}");
}

/// Start, end and rights of an area of memory by its name.
fn area(name: &str) -> (u64, u64, String) {
    let maps = fs::read_to_string("/proc/self/maps").expect("maps");
    let line = maps.lines().find(|line| line.ends_with(name)).unwrap_or_else(|| panic!("{name} is not in {maps}"));
    let (range, rest) = line.split_once(' ').expect("a range");
    let (start, end) = range.split_once('-').expect("an end");
    let address = |text| u64::from_str_radix(text, 16).expect("an address");
    (address(start), address(end), rest.split(' ').next().expect("rights").to_owned())
}

#[test]
fn every_program_finds_it_in_its_memory() {
    let (start, _, rights) = area("[vdso]");
    assert_eq!((start, rights.as_str()), (base(), "r-xp"));
    assert_eq!(area("[vvar]").2, "r--p");
    assert_eq!(at::<[u8; 4]>(0), *b"\x7fELF");
}

#[test]
fn it_says_its_name_its_version_and_its_functions() {
    let tables = dynamic();
    let strings = tables[&5];
    assert_eq!(text_at(strings + tables[&14]), "linux-vdso.so.1");
    for name in ["clock_gettime", "gettimeofday", "time", "clock_getres"] {
        assert!(functions().contains_key(name) && functions().contains_key(format!("__vdso_{name}").as_str()), "{name}");
    }
    // The second entry of DT_VERDEF names the version that the C library asks for.
    let first = tables[&0x6fff_fffc];
    let second = first + u64::from(at::<u32>(first + 16));
    let name = at::<u32>(second + u64::from(at::<u32>(second + 12)));
    assert_eq!(text_at(strings + u64::from(name)), "LINUX_2.6");
}

#[test]
fn its_clocks_are_those_of_the_kernel() {
    for clock in CLOCKS {
        assert_agrees(clock);
    }
}

#[test]
fn its_clocks_do_not_go_back() {
    let mut last = 0;
    for _ in 0..100_000 {
        let now = by_vdso(libc::CLOCK_MONOTONIC).expect("the time");
        assert!(now >= last);
        last = now;
    }
}

#[test]
fn it_asks_the_kernel_for_other_clocks() {
    assert_agrees(libc::CLOCK_PROCESS_CPUTIME_ID);
    assert_agrees(libc::CLOCK_THREAD_CPUTIME_ID);
    assert_eq!(by_vdso(1000), Err(Errno(libc::EINVAL)));
    let coarse = by_vdso(libc::CLOCK_MONOTONIC_COARSE).expect("a coarse clock");
    let fine = by_vdso(libc::CLOCK_MONOTONIC).expect("the time");
    assert!(coarse <= fine && fine - coarse < 100_000_000, "{coarse} {fine}");
}

#[test]
fn time_of_day_and_seconds_agree() {
    let gettimeofday = function::<extern "C" fn(*mut Time, *mut [i32; 2]) -> i32>("__vdso_gettimeofday");
    let seconds = function::<extern "C" fn(*mut i64) -> i64>("__vdso_time");
    let (mut time, mut zone, mut also) = ([0; 2], [7; 2], 0);
    let before = by_call(libc::CLOCK_REALTIME).expect("clock_gettime") / 1000;
    assert_eq!(gettimeofday(&mut time, std::ptr::null_mut()), 0);
    let after = by_call(libc::CLOCK_REALTIME).expect("clock_gettime") / 1000;
    let now = i128::from(time[0]) * 1_000_000 + i128::from(time[1]);
    assert!((before..=after).contains(&now), "{before} {now} {after}");
    assert_eq!((gettimeofday(&mut time, &mut zone), zone), (0, [0, 0]));
    assert_eq!((gettimeofday(std::ptr::null_mut(), &mut zone), zone), (0, [0, 0]));
    let first = seconds(&mut also);
    assert_eq!(first, also);
    assert!((0..=1).contains(&(seconds(std::ptr::null_mut()) - first)));
    let getres = function::<ClockGettime>("__vdso_clock_getres");
    assert_eq!((getres(libc::CLOCK_MONOTONIC, &mut time), time), (0, [0, 1]));
}

#[test]
fn a_clock_that_is_set_is_seen_at_once() {
    let before = by_vdso(libc::CLOCK_REALTIME).expect("the time");
    let set = |ns: i128| {
        let time: Time = [(ns / 1_000_000_000) as i64, (ns % 1_000_000_000) as i64];
        syscall!(SYS_clock_settime, libc::CLOCK_REALTIME, &raw const time).expect("clock_settime");
    };
    set(before + 1_000_000_000_000);
    let after = by_vdso(libc::CLOCK_REALTIME).expect("the time");
    assert_agrees(libc::CLOCK_REALTIME);
    set(after - 1_000_000_000_000);
    assert!(after - before >= 1_000_000_000_000, "{before} {after}");
}

#[test]
fn in_a_time_namespace_it_shows_the_clocks_of_that() {
    in_child(|| {
        let outside = by_vdso(libc::CLOCK_MONOTONIC).expect("the time");
        syscall!(SYS_unshare, libc::CLONE_NEWTIME).expect("unshare");
        fs::write("/proc/self/timens_offsets", "monotonic 5000 0\nboottime 9000 0\n").expect("offsets");
        assert!(by_vdso(libc::CLOCK_MONOTONIC).expect("the time") - outside < 1_000_000_000_000, "only children are inside");
        let child = spawn(move || {
            let inside = by_vdso(libc::CLOCK_MONOTONIC).expect("the time");
            assert!(inside - outside > 4_999_000_000_000, "{outside} {inside}");
            CLOCKS.into_iter().for_each(assert_agrees);
            // So do its children, and who comes back.
            spawn(|| CLOCKS.into_iter().for_each(assert_agrees)).join();
        });
        child.join();
        let inside = fs::File::open("/proc/self/ns/time_for_children").expect("the namespace");
        let first = fs::File::open("/proc/self/ns/time").expect("the namespace");
        use std::os::fd::AsRawFd;
        syscall!(SYS_setns, inside.as_raw_fd(), libc::CLONE_NEWTIME).expect("setns");
        assert!(by_vdso(libc::CLOCK_MONOTONIC).expect("the time") - outside > 4_999_000_000_000);
        CLOCKS.into_iter().for_each(assert_agrees);
        syscall!(SYS_setns, first.as_raw_fd(), libc::CLONE_NEWTIME).expect("setns");
        assert!(by_vdso(libc::CLOCK_MONOTONIC).expect("the time") - outside < 1_000_000_000_000);
        CLOCKS.into_iter().for_each(assert_agrees);
    });
}

#[test]
fn a_program_may_give_it_up_and_may_not_change_the_time() {
    in_child(|| {
        let (page, _, _) = area("[vvar]");
        let (start, end, _) = area("[vdso]");
        assert_eq!(syscall!(SYS_mprotect, page, 4096, libc::PROT_READ | libc::PROT_WRITE), Err(Errno(libc::EACCES)));
        syscall!(SYS_munmap, start, end - start).expect("munmap");
        let maps = fs::read_to_string("/proc/self/maps").expect("maps");
        assert!(!maps.contains("[vdso]") && maps.contains("[vvar]"), "{maps}");
    });
}
