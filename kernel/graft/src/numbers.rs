//! Smallest-free-number allocation: mount ids (O6) and peer group ids (O7).
//!
//! A bitmap with summary levels: a bit is set when everything below it is taken. Taking and giving back a number
//! costs one step per level, and levels grow by the 64th root of the numbers in use.

use alloc::vec::Vec;

use crate::seam::OutOfMemory;

/// Enough for 2^30 numbers.
const LEVELS: usize = 5;

/// A set of numbers in use, from which the smallest free one can be drawn.
#[derive(Clone, Debug, Default)]
pub(crate) struct Numbers {
    /// `levels[0]` has a bit for each number; a bit of `levels[n + 1]` tells that a word of `levels[n]` is full.
    levels: [Vec<u64>; LEVELS],
    in_use: usize,
}

impl Numbers {
    /// Bytes of memory held.
    pub(crate) fn footprint_bytes(&self) -> usize {
        self.levels.iter().map(|level| level.capacity() * size_of::<u64>()).sum()
    }

    /// Makes the next `additional` calls of [`take`](Self::take) infallible.
    pub(crate) fn reserve(&mut self, additional: usize) -> Result<(), OutOfMemory> {
        // The smallest free number is never above the count of those in use.
        let mut units = self.in_use + additional;
        for level in &mut self.levels {
            let words = units / 64 + 1;
            if level.len() < words {
                level.try_reserve(words - level.len())?;
                level.resize(words, 0);
            }
            units = words;
        }
        Ok(())
    }

    /// Draws the smallest free number. [`reserve`](Self::reserve) was called for it.
    pub(crate) fn take(&mut self) -> u32 {
        let mut position = 0;
        for level in self.levels.iter().rev() {
            // Above the lowest level a clear bit may stand for words that are not there yet; `reserve` made sure that
            // the first clear bit stands for one that is.
            position = match level.get(position) {
                Some(word) => position * 64 + word.trailing_ones() as usize,
                None => position * 64,
            };
        }
        let number = position;
        for level in &mut self.levels {
            let word = &mut level[position / 64];
            *word |= 1 << (position % 64);
            if *word != u64::MAX {
                break;
            }
            position /= 64;
        }
        self.in_use += 1;
        number as u32
    }

    /// Gives a number back.
    pub(crate) fn give_back(&mut self, number: u32) {
        let mut position = number as usize;
        for level in &mut self.levels {
            let Some(word) = level.get_mut(position / 64) else {
                return;
            };
            *word &= !(1 << (position % 64));
            position /= 64;
        }
        self.in_use -= 1;
    }

    /// How many numbers are in use.
    pub(crate) fn in_use(&self) -> usize {
        self.in_use
    }

    /// Whether a number is in use.
    pub(crate) fn contains(&self, number: u32) -> bool {
        let number = number as usize;
        self.levels[0].get(number / 64).is_some_and(|word| word & (1 << (number % 64)) != 0)
    }
}

/// Two sets are equal when the same numbers are in use, whatever room they have.
impl PartialEq for Numbers {
    fn eq(&self, other: &Self) -> bool {
        let words = |numbers: &Self, index: usize| numbers.levels[0].get(index).copied().unwrap_or(0);
        let longest = self.levels[0].len().max(other.levels[0].len());
        self.in_use == other.in_use && (0..longest).all(|index| words(self, index) == words(other, index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_free_number_comes_first() {
        let mut numbers = Numbers::default();
        numbers.reserve(10_000).unwrap();
        for expected in 0..10_000 {
            assert_eq!(numbers.take(), expected);
        }
        for freed in [9_999, 64, 4_097, 63] {
            numbers.give_back(freed);
            assert!(!numbers.contains(freed));
        }
        numbers.reserve(5).unwrap();
        let drawn: Vec<u32> = (0..5).map(|_| numbers.take()).collect();
        assert_eq!(drawn, [63, 64, 4_097, 9_999, 10_000]);
        assert_eq!(numbers.in_use(), 10_001);
    }
}
