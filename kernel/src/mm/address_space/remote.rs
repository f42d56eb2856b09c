//! Another process's memory: `/proc/PID/mem`, `process_vm_readv(2)`, exec's argument copies.

use super::{Access, AddressSpace};
use crate::errno::{Errno, Result};

const WORD_BYTES: usize = size_of::<u64>();

/// How many of a word's bytes, in memory order, come before the first that is 0.
fn bytes_before_nul(word: u64) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    // The lowest byte that is 0 has its high bit set here, and none below it has.
    let zeros = word.wrapping_sub(ONES) & !word & (ONES << 7);
    zeros.trailing_zeros() as usize / 8
}

impl AddressSpace {
    /// Reads this program's memory, as far as it can be read. `EFAULT` if not a single byte can.
    pub fn read_remote(&self, address: u64, bytes: &mut [u8]) -> Result<usize> {
        let mut done = 0;
        while done < bytes.len() {
            let rest = &mut bytes[done..];
            let at = address.wrapping_add(done as u64);
            // SAFETY: `with_page` gives `count` bytes of a page that is kept meanwhile.
            let copied = self.with_page(at, rest.len(), Access::Read, |page, count| unsafe {
                core::ptr::copy_nonoverlapping(page, rest.as_mut_ptr(), count);
                count
            });
            match copied {
                Ok(count) => done += count,
                Err(_) if done > 0 => break,
                Err(_) => return Err(Errno::FAULT),
            }
        }
        Ok(done)
    }

    /// Writes this program's memory, as far as it can be written. `EFAULT` if not a single byte can.
    pub fn write_remote(&self, address: u64, bytes: &[u8]) -> Result<usize> {
        let mut done = 0;
        while done < bytes.len() {
            let rest = &bytes[done..];
            let at = address.wrapping_add(done as u64);
            // SAFETY: as in `read_remote`; programs may change the bytes at the same time, which copies bear.
            let copied = self.with_page(at, rest.len(), Access::Write, |page, count| unsafe {
                core::ptr::copy_nonoverlapping(rest.as_ptr(), page, count);
                count
            });
            match copied {
                Ok(count) => done += count,
                Err(_) if done > 0 => break,
                Err(_) => return Err(Errno::FAULT),
            }
        }
        Ok(done)
    }

    /// Copies a NUL-terminated string without its NUL; `None` if there is no NUL within `max_bytes` bytes (the NUL included).
    pub fn read_string(&self, address: u64, max_bytes: usize) -> Result<Option<alloc::vec::Vec<u8>>> {
        let mut text = alloc::vec::Vec::new();
        while text.len() < max_bytes {
            let at = address.wrapping_add(text.len() as u64);
            let room = max_bytes - text.len();
            let ended = self.with_page(at, room, Access::Read, |page, count| {
                text.try_reserve(count).map_err(|_| Errno::NOMEM)?;
                let mut done = 0;
                while count - done >= WORD_BYTES {
                    // SAFETY: as in `read_remote`; the program may change the bytes, so each is read once.
                    let word = unsafe { page.add(done).cast::<u64>().read_unaligned() };
                    let len_bytes = bytes_before_nul(word);
                    text.extend_from_slice(&word.to_le_bytes()[..len_bytes]);
                    if len_bytes < WORD_BYTES {
                        return Ok(true);
                    }
                    done += WORD_BYTES;
                }
                // SAFETY: as above.
                let byte = |index: usize| unsafe { page.add(index).read_volatile() };
                let before = text.len();
                text.extend((done..count).map(byte).take_while(|&byte| byte != 0));
                Ok(text.len() - before < count - done)
            });
            if ended.map_err(|_| Errno::FAULT)?? {
                return Ok(Some(text));
            }
        }
        Ok(None)
    }
}
