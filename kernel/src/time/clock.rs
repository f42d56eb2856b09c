//! Clocks: monotonic and real time. The processor's time-stamp counter counts; the timer chip of the PC tells how fast; the battery
//! clock tells when it all began.

use super::vdso::{self, Clock, SHIFT};
use crate::sync::Once;
use core::arch::x86_64::_rdtsc;
use core::sync::atomic::{AtomicI64, Ordering};
use x86_64::instructions::port::Port;

/// Nanoseconds in a second.
pub const NS_PER_SECOND: u64 = 1_000_000_000;
/// The 8254 counts at this rate.
const PIT_HZ: u64 = 1_193_182;
/// How long counting is compared for: 10 ms.
const CALIBRATION_TICKS: u16 = (PIT_HZ / 100) as u16;
/// How many readings of the counters are compared, and how often calibration is tried.
const READINGS: usize = 8;
const MOST_CALIBRATIONS: usize = 16;

/// How counters turn into nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Rates {
    /// Of the time-stamp counter.
    clock: Clock,
    /// Ticks of the APIC timer per nanosecond, times 2^32.
    timer_multiplier: u64,
}

static RATES: Once<Rates> = Once::new();
/// Nanoseconds between the monotonic clock's zero and 1970.
static REALTIME_OFFSET_NS: AtomicI64 = AtomicI64::new(0);

/// Nanoseconds since boot (`CLOCK_MONOTONIC`, and `CLOCK_BOOTTIME`: nothing suspends). Before calibration it stands still.
pub fn monotonic_ns() -> u64 {
    let Some(rates) = RATES.get() else { return 0 };
    rates.clock.monotonic_ns(read_tsc())
}

/// Nanoseconds since 1970 (`CLOCK_REALTIME`).
pub fn realtime_ns() -> i128 {
    i128::from(monotonic_ns()) + i128::from(REALTIME_OFFSET_NS.load(Ordering::Relaxed))
}

/// The monotonic time at which the real-time clock will show `realtime_ns`, as things stand (absolute timers of `CLOCK_REALTIME`).
pub fn realtime_to_monotonic_ns(realtime_ns: i128) -> u64 {
    let monotonic = realtime_ns - i128::from(REALTIME_OFFSET_NS.load(Ordering::Relaxed));
    monotonic.clamp(0, i128::from(u64::MAX)) as u64
}

/// Sets the real-time clock (`clock_settime`).
pub fn set_realtime_ns(realtime_ns: i128) {
    let offset = realtime_ns - i128::from(monotonic_ns());
    REALTIME_OFFSET_NS.store(offset.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64, Ordering::Relaxed);
    vdso::clock_changed();
}

/// What programs need to tell the time by themselves.
pub(in crate::time) fn for_programs() -> Clock {
    let clock = RATES.get().map_or(Clock::default(), |rates| rates.clock);
    Clock { realtime_offset_ns: REALTIME_OFFSET_NS.load(Ordering::Relaxed), ..clock }
}

/// Ticks of the APIC timer in so many nanoseconds, at least 1.
pub(in crate::time) fn timer_ticks(duration_ns: u64) -> u32 {
    let multiplier = RATES.get().map_or(0, |rates| rates.timer_multiplier);
    ((u128::from(duration_ns) * u128::from(multiplier)) >> SHIFT).clamp(1, u128::from(u32::MAX)) as u32
}

/// Waits busily.
pub fn spin_ns(duration_ns: u64) {
    let end = monotonic_ns().saturating_add(duration_ns);
    while RATES.get().is_some() && monotonic_ns() < end {
        core::hint::spin_loop();
    }
}

/// Measures the counters and reads the battery clock. The APIC is set up.
pub fn init() {
    let rates = calibrate();
    RATES.call_once(|| rates);
    set_realtime_ns(i128::from(read_battery_clock()) * i128::from(NS_PER_SECOND));
}

fn read_tsc() -> u64 {
    // SAFETY: every x86-64 processor has the counter.
    unsafe { _rdtsc() }
}

/// All counters at one moment.
struct Reading {
    tsc: u64,
    /// Of channel 2, which counts down.
    pit: u16,
    /// Of the APIC timer, which counts down.
    timer: u32,
    /// Cycles that reading took.
    taken: u64,
}

/// Channel 2 of the 8254, which counts down from its largest value once, silently.
struct Channel2 {
    gate: Port<u8>,
    command: Port<u8>,
    count: Port<u8>,
}

impl Channel2 {
    fn started() -> Self {
        let mut channel = Self { gate: Port::new(0x61), command: Port::new(0x43), count: Port::new(0x42) };
        // SAFETY: the timer's and the speaker gate's ports, used by nobody else.
        unsafe {
            let gate_off = channel.gate.read() & !0b11;
            channel.gate.write(gate_off);
            // Channel 2, low then high byte, mode 0 (interrupt on terminal count), binary.
            channel.command.write(0b1011_0000);
            channel.count.write(0xff);
            channel.count.write(0xff);
            channel.gate.write(gate_off | 1);
        }
        channel
    }

    /// Whether it came to 0: then its count means nothing any more.
    fn has_ended(&mut self) -> bool {
        // SAFETY: as above; bit 5 shows the channel's output, which rises at the end.
        unsafe { self.gate.read() & 0x20 != 0 }
    }

    fn read(&mut self) -> Reading {
        let before = read_tsc();
        // SAFETY: as above; the command holds the count of channel 2 still for the two reads.
        let pit = unsafe {
            self.command.write(0b1000_0000);
            u16::from_le_bytes([self.count.read(), self.count.read()])
        };
        let timer = crate::arch::interrupts::timer_ticks_left();
        let taken = read_tsc() - before;
        Reading { tsc: before + taken / 2, pit, timer, taken }
    }

    /// The quickest of some readings: an emulator that had to wait for its host in the middle of one would spoil it.
    fn read_undisturbed(&mut self) -> Reading {
        let first = self.read();
        (1..READINGS).fold(first, |best, _| {
            let next = self.read();
            if next.taken < best.taken { next } else { best }
        })
    }
}

/// Compares the counters with the 8254. Begins anew where the host let the emulator wait for so long that the chip came to its end.
fn calibrate() -> Rates {
    let mut tries = 0;
    loop {
        tries += 1;
        crate::arch::interrupts::set_timer_ticks(u32::MAX);
        let mut chip = Channel2::started();
        let start = chip.read_undisturbed();
        let mut end = chip.read();
        while start.pit.saturating_sub(end.pit) < CALIBRATION_TICKS && !chip.has_ended() {
            end = chip.read();
        }
        let end = chip.read_undisturbed();
        let in_time = !chip.has_ended();
        crate::arch::interrupts::set_timer_ticks(0);
        if in_time || tries == MOST_CALIBRATIONS {
            return Rates::between(&start, &end);
        }
    }
}

impl Rates {
    fn between(start: &Reading, end: &Reading) -> Self {
        let elapsed_ns = u64::from(start.pit.saturating_sub(end.pit).max(1)) * NS_PER_SECOND / PIT_HZ;
        let cycles = end.tsc.saturating_sub(start.tsc).max(1);
        let ticks = start.timer.saturating_sub(end.timer).max(1);
        Self {
            clock: Clock {
                start_cycles: start.tsc,
                multiplier: ((u128::from(elapsed_ns) << SHIFT) / u128::from(cycles)) as u64,
                realtime_offset_ns: 0,
            },
            timer_multiplier: ((u128::from(ticks) << SHIFT) / u128::from(elapsed_ns)) as u64,
        }
    }
}

/// Seconds since 1970 from the CMOS clock (MC146818), which QEMU keeps in UTC.
fn read_battery_clock() -> i64 {
    let read = || [0u8, 2, 4, 7, 8, 9, 0x0b, 0x32].map(read_cmos);
    let mut now = read();
    // An update in between would tear the reading: two equal ones are whole.
    loop {
        let again = read();
        if again == now {
            break;
        }
        now = again;
    }
    let [second, minute, hour, day, month, year, mode, century] = now;
    let decode = |value: u8| i64::from(if mode & 4 == 0 { (value >> 4) * 10 + (value & 15) } else { value });
    let mut hours = decode(hour & 0x7f);
    if mode & 2 == 0 {
        hours = hours % 12 + if hour & 0x80 != 0 { 12 } else { 0 };
    }
    let century = if century == 0 { 20 } else { decode(century) };
    let days = days_since_1970(century * 100 + decode(year), decode(month), decode(day));
    ((days * 24 + hours) * 60 + decode(minute)) * 60 + decode(second)
}

fn read_cmos(register: u8) -> u8 {
    // SAFETY: the clock's index and data ports; bit 7 of the index (NMI mask) stays clear.
    unsafe {
        Port::<u8>::new(0x70).write(register);
        Port::<u8>::new(0x71).read()
    }
}

/// Days from 1970-01-01 in the Gregorian calendar, with years that begin in March so that the leap day comes last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year / 4 - year / 100 + year / 400;
    // 153 days in each five months from March on; 719468 days from 0000-03-01 to 1970-01-01.
    year * 365 + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468
}
