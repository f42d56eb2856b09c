//! The 16550 UART at COM1: the console's line.

use crate::arch::interrupts;
use crate::sync::SpinLock;
use core::sync::atomic::{AtomicUsize, Ordering};
use uart_16550::SerialPort;
use x86_64::instructions::port::Port;

/// I/O port of COM1.
const COM1: u16 = 0x3f8;
/// Bytes that the transmitter queues once it is empty.
const FIFO_BYTES: usize = 16;

static PORT: SpinLock<Option<SerialPort>> = SpinLock::new(None);

/// The function that received bytes go to, as an address; 0 while nobody listens.
static RECEIVER: AtomicUsize = AtomicUsize::new(0);

/// Sets the line up: 38400 baud as the crate does, FIFOs on, receive interrupt on.
pub fn init() {
    // SAFETY: COM1's ports belong to nobody else.
    let mut port = unsafe { SerialPort::new(COM1) };
    port.init();
    *PORT.lock() = Some(port);
}

/// Sends bytes as they are (no newline translation: that is the terminal's).
pub fn write_bytes(bytes: &[u8]) {
    if let Some(port) = PORT.lock().as_mut() {
        for burst in bytes.chunks(FIFO_BYTES) {
            let Some((&first, rest)) = burst.split_first() else { break };
            // The crate waits for the transmitter to be empty; then the FIFO has room for all of the burst.
            port.send_raw(first);
            let mut data = Port::<u8>::new(COM1);
            for &byte in rest {
                // SAFETY: the transmit register of the port that this file owns.
                unsafe { data.write(byte) };
            }
        }
    }
}

/// Breaks the port's lock, for a panic.
///
/// # Safety
/// Nobody who held the lock runs again.
pub unsafe fn force_unlock() {
    // SAFETY: the caller's.
    unsafe { PORT.force_unlock() };
}

/// Lets received bytes interrupt.
pub fn enable_receiving() {
    interrupts::set_handler(interrupts::SERIAL_VECTOR, receive);
}

/// From now on each received byte goes to `receiver`, from interrupt handling: it must not block.
pub fn set_receiver(receiver: fn(u8)) {
    RECEIVER.store(receiver as usize, Ordering::Release);
}

/// Takes in what has arrived. Called for the line's interrupt.
fn receive() {
    loop {
        let byte = PORT.lock().as_mut().and_then(|port| port.try_receive().ok());
        let Some(byte) = byte else { return };
        let receiver = RECEIVER.load(Ordering::Acquire);
        if receiver != 0 {
            // SAFETY: only `set_receiver` stores here, a function of this type.
            let receiver: fn(u8) = unsafe { core::mem::transmute(receiver) };
            receiver(byte);
        }
    }
}
