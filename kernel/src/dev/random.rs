//! Random numbers: the generator behind `getrandom(2)`, `/dev/random` and `/dev/urandom` (`random(4)`), and everything
//! in the kernel that needs unpredictable bytes.
//!
//! One ChaCha20 stream, keyed at first use from the processor's generator and its time stamp counter. What programs write is mixed into the
//! key, never trusted as the key. After each request the key is replaced from the stream, so that a later leak of the state tells nothing
//! about what was handed out before.

use crate::errno::{Errno, Result};
use crate::fs::{FileOps, OpenFile, OpenFlags, Path, PollEvents, PollTable};
use crate::mm::{IoBuffer, UserPointer};
use crate::sync::SpinLock;
use crate::task::{Capabilities, current};
use alloc::sync::Arc;
use linux_raw_sys::ioctl::{RNDADDENTROPY, RNDADDTOENTCNT, RNDCLEARPOOL, RNDGETENTCNT, RNDRESEEDCRNG, RNDZAPENTCNT};
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use x86_64::instructions::random::RdRand;

/// Bits that the pool is said to hold once seeded: Linux 6.6 shows this size and fill for ever.
pub const POOL_BITS: u32 = 256;

type Key = [u8; 32];

static GENERATOR: SpinLock<Option<ChaCha20Rng>> = SpinLock::new(None);

/// Fills `bytes` with unpredictable ones.
pub fn fill(bytes: &mut [u8]) {
    with_generator(|generator| generator.fill_bytes(bytes));
}

/// An unpredictable number.
pub fn next_u64() -> u64 {
    let mut bytes = [0; 8];
    fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

/// Mixes bytes of unknown worth into the key.
pub fn mix(bytes: &[u8]) {
    for chunk in bytes.chunks(size_of::<Key>()) {
        with_generator(|generator| {
            let mut key: Key = [0; 32];
            generator.fill_bytes(&mut key);
            key.iter_mut().zip(chunk).for_each(|(key, input)| *key ^= input);
            *generator = ChaCha20Rng::from_seed(key);
        });
    }
}

/// A version 4 UUID in its usual spelling (`/proc/sys/kernel/random/uuid`).
pub fn uuid() -> alloc::string::String {
    let mut bytes = [0u8; 16];
    fill(&mut bytes);
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let value = u128::from_be_bytes(bytes);
    alloc::format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        value >> 96,
        (value >> 80) & 0xffff,
        (value >> 64) & 0xffff,
        (value >> 48) & 0xffff,
        value & 0xffff_ffff_ffff
    )
}

/// Fills the whole buffer, as far as its memory goes (`getrandom(2)` and reads of both devices).
pub fn read_into(buffer: &mut IoBuffer<'_>) -> Result<usize> {
    let before = buffer.done();
    let mut block = [0u8; 1024];
    while buffer.remaining() > 0 {
        let wanted = buffer.remaining().min(block.len());
        fill(&mut block[..wanted]);
        match buffer.put(&block[..wanted]) {
            Ok(stored) if stored == wanted => {}
            Ok(_) => break,
            Err(error) if buffer.done() == before => return Err(error),
            Err(_) => break,
        }
    }
    Ok(buffer.done() - before)
}

fn with_generator<T>(use_it: impl FnOnce(&mut ChaCha20Rng) -> T) -> T {
    let mut generator = GENERATOR.lock();
    let generator = generator.get_or_insert_with(|| ChaCha20Rng::from_seed(hardware_key()));
    let result = use_it(generator);
    let mut key: Key = [0; 32];
    generator.fill_bytes(&mut key);
    *generator = ChaCha20Rng::from_seed(key);
    result
}

/// A key from RDRAND where the processor has it, and from the low bits of the time stamp counter around it in any case.
fn hardware_key() -> Key {
    let rdrand = RdRand::new();
    let mut key: Key = [0; 32];
    for word in key.chunks_exact_mut(8) {
        // SAFETY: every x86-64 processor has RDTSC, and CR4.TSD does not matter in ring 0.
        let mut value = unsafe { core::arch::x86_64::_rdtsc() };
        // RDRAND may run dry for a moment: the manual (SDM 7.3.17) advises ten attempts.
        if let Some(drawn) = rdrand.and_then(|rdrand| (0..10).find_map(|_| rdrand.get_u64())) {
            value = value.rotate_left(32) ^ drawn;
        }
        word.copy_from_slice(&value.to_le_bytes());
    }
    key
}

/// Opens `/dev/random` and `/dev/urandom`, which differ in nothing once the generator is seeded.
pub fn open(_device: u64, _path: &Path, _flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
    Ok(Arc::new(Random))
}

struct Random;

impl FileOps for Random {
    fn read(&self, _file: &OpenFile, buffer: &mut IoBuffer<'_>, _offset: u64) -> Result<usize> {
        read_into(buffer)
    }

    fn write(&self, _file: &OpenFile, buffer: &mut IoBuffer<'_>, _offset: &mut u64) -> Result<usize> {
        let before = buffer.done();
        let mut block = [0u8; 256];
        while buffer.remaining() > 0 {
            match buffer.take(&mut block) {
                Ok(0) => break,
                Ok(taken) => mix(&block[..taken]),
                Err(error) if buffer.done() == before => return Err(error),
                Err(_) => break,
            }
        }
        Ok(buffer.done() - before)
    }

    /// `noop_llseek` of Linux: the position stays where it is.
    fn seek(&self, _file: &OpenFile, position: u64, _offset: i64, _whence: u32) -> Option<Result<u64>> {
        Some(Ok(position))
    }

    fn poll(&self, _file: &OpenFile, _table: &mut PollTable<'_>) -> PollEvents {
        PollEvents::READABLE | PollEvents::WRITABLE
    }

    fn pollable(&self) -> bool {
        true
    }

    fn ioctl(&self, _file: &OpenFile, request: u32, argument: u64) -> Result<usize> {
        match request {
            RNDGETENTCNT => UserPointer::<i32>::new(argument).write(POOL_BITS as i32)?,
            RNDADDTOENTCNT => {
                require_admin()?;
                if UserPointer::<i32>::new(argument).read()? < 0 {
                    return Err(Errno::INVAL);
                }
            }
            RNDADDENTROPY => add_entropy(argument)?,
            RNDZAPENTCNT | RNDCLEARPOOL => require_admin()?,
            RNDRESEEDCRNG => {
                require_admin()?;
                mix(&hardware_key());
            }
            _ => return Err(Errno::INVAL),
        }
        Ok(0)
    }
}

/// `RNDADDENTROPY`: a `struct rand_pool_info`: bits, size in bytes, the bytes.
fn add_entropy(argument: u64) -> Result<()> {
    require_admin()?;
    let header = UserPointer::<i32>::new(argument);
    if header.read()? < 0 {
        return Err(Errno::INVAL);
    }
    let mut left = usize::try_from(header.at(1).read()?).map_err(|_| Errno::INVAL)?;
    let mut address = header.at(2).address();
    let mut block = [0u8; 256];
    while left > 0 {
        let part = left.min(block.len());
        crate::mm::user::read_bytes(address, &mut block[..part])?;
        mix(&block[..part]);
        address = address.wrapping_add(part as u64);
        left -= part;
    }
    Ok(())
}

fn require_admin() -> Result<()> {
    if current().credentials().capable(Capabilities::SYS_ADMIN) { Ok(()) } else { Err(Errno::PERM) }
}
