//! Where mounts, peer groups and namespaces live: an arena of fixed-size chunks, addressed by slot.
//!
//! Chunks, not one growing vector, so that a big forest neither copies itself when it grows nor holds twice what
//! it needs. A slot number is reused; its generation is not, so that an id that outlives its object is seen to be
//! stale. All memory is taken by [`Arena::reserve`]: an insertion after it cannot fail.

use alloc::vec::Vec;
use core::marker::PhantomData;
use core::num::NonZeroU32;

use crate::seam::OutOfMemory;

/// Objects in one chunk: a few pages of mounts.
const CHUNK: usize = 64;

/// A place in an [`Arena`] of `T`, without a generation: for links inside the forest, which never outlive their target.
pub(crate) struct Slot<T> {
    /// The index, plus one, so that an `Option<Slot>` takes four bytes.
    one_based: NonZeroU32,
    of: PhantomData<fn() -> T>,
}

impl<T> Slot<T> {
    pub(crate) fn new(index: u32) -> Self {
        Self { one_based: NonZeroU32::MIN.saturating_add(index), of: PhantomData }
    }

    pub(crate) fn index(self) -> u32 {
        self.one_based.get() - 1
    }
}

impl<T> Clone for Slot<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Slot<T> {}

impl<T> PartialEq for Slot<T> {
    fn eq(&self, other: &Self) -> bool {
        self.one_based == other.one_based
    }
}

impl<T> Eq for Slot<T> {}

impl<T> core::fmt::Debug for Slot<T> {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "#{}", self.index())
    }
}

#[derive(Clone, Debug)]
enum Content<T> {
    Vacant { next_vacant: Option<Slot<T>> },
    Occupied(T),
}

#[derive(Clone, Debug)]
struct Entry<T> {
    generation: u32,
    content: Content<T>,
}

/// Chunks of entries and the list of vacant ones among them.
#[derive(Debug)]
pub(crate) struct Arena<T> {
    chunks: Vec<Vec<Entry<T>>>,
    /// Entries in use or vacant; the next fresh one has this index.
    touched: usize,
    first_vacant: Option<Slot<T>>,
    vacant: usize,
}

impl<T> Arena<T> {
    pub(crate) const fn new() -> Self {
        Self { chunks: Vec::new(), touched: 0, first_vacant: None, vacant: 0 }
    }

    /// How many objects are here.
    pub(crate) fn len(&self) -> usize {
        self.touched - self.vacant
    }

    /// Bytes of memory held, used or not.
    pub(crate) fn footprint_bytes(&self) -> usize {
        self.chunks.capacity() * size_of::<Vec<Entry<T>>>() + self.chunks.len() * CHUNK * size_of::<Entry<T>>()
    }

    /// Bytes that [`reserve`](Self::reserve) of so many would ask the allocator for.
    pub(crate) fn shortfall_bytes(&self, additional: usize) -> usize {
        let room = self.vacant + self.chunks.len() * CHUNK - self.touched;
        additional.saturating_sub(room).div_ceil(CHUNK) * CHUNK * size_of::<Entry<T>>()
    }

    /// Makes the next `additional` insertions infallible.
    pub(crate) fn reserve(&mut self, additional: usize) -> Result<(), OutOfMemory> {
        while self.vacant + self.chunks.len() * CHUNK - self.touched < additional {
            let mut chunk = Vec::new();
            chunk.try_reserve_exact(CHUNK)?;
            self.chunks.try_reserve(1)?;
            self.chunks.push(chunk);
        }
        Ok(())
    }

    /// Puts an object in. [`reserve`](Self::reserve) was called for it.
    pub(crate) fn insert(&mut self, value: T) -> Slot<T> {
        if let Some(slot) = self.first_vacant {
            let entry = self.entry_mut(slot);
            if let Content::Vacant { next_vacant } = entry.content {
                entry.content = Content::Occupied(value);
                self.first_vacant = next_vacant;
                self.vacant -= 1;
                return slot;
            }
        }
        let slot = Slot::new(self.touched as u32);
        self.chunks[self.touched / CHUNK].push(Entry { generation: 0, content: Content::Occupied(value) });
        self.touched += 1;
        slot
    }

    /// Takes an object out. Its slot gets a new generation.
    pub(crate) fn remove(&mut self, slot: Slot<T>) -> Option<T> {
        let next_vacant = self.first_vacant;
        let entry = self.entry_mut(slot);
        if matches!(entry.content, Content::Vacant { .. }) {
            return None;
        }
        entry.generation = entry.generation.wrapping_add(1);
        let content = core::mem::replace(&mut entry.content, Content::Vacant { next_vacant });
        self.first_vacant = Some(slot);
        self.vacant += 1;
        match content {
            Content::Occupied(value) => Some(value),
            Content::Vacant { .. } => None,
        }
    }

    /// The generation of a slot, with which a public id is made of it.
    pub(crate) fn generation(&self, slot: Slot<T>) -> u32 {
        self.entry(slot).generation
    }

    /// The slot of an object, if it is still the one with this generation.
    #[inline]
    pub(crate) fn find(&self, index: u32, generation: u32) -> Option<Slot<T>> {
        let entry = self.chunks.get(index as usize / CHUNK)?.get(index as usize % CHUNK)?;
        (entry.generation == generation && matches!(entry.content, Content::Occupied(_))).then(|| Slot::new(index))
    }

    /// The object of a slot, if it is still the one with this generation.
    #[inline]
    pub(crate) fn get(&self, index: u32, generation: u32) -> Option<&T> {
        let entry = self.chunks.get(index as usize / CHUNK)?.get(index as usize % CHUNK)?;
        match &entry.content {
            Content::Occupied(object) if entry.generation == generation => Some(object),
            _ => None,
        }
    }

    /// Every object with its slot, in slot order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Slot<T>, &T)> {
        self.chunks.iter().flatten().enumerate().filter_map(|(index, entry)| match &entry.content {
            Content::Occupied(value) => Some((Slot::new(index as u32), value)),
            Content::Vacant { .. } => None,
        })
    }

    /// Every object, to be changed, in slot order.
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.chunks.iter_mut().flatten().filter_map(|entry| match &mut entry.content {
            Content::Occupied(value) => Some(value),
            Content::Vacant { .. } => None,
        })
    }

    #[inline]
    fn entry(&self, slot: Slot<T>) -> &Entry<T> {
        let index = slot.index() as usize;
        &self.chunks[index / CHUNK][index % CHUNK]
    }

    fn entry_mut(&mut self, slot: Slot<T>) -> &mut Entry<T> {
        let index = slot.index() as usize;
        &mut self.chunks[index / CHUNK][index % CHUNK]
    }
}

/// A slot held by the forest is occupied: that is the forest's invariant, so a vacant one is a bug and no input's fault.
impl<T> core::ops::Index<Slot<T>> for Arena<T> {
    type Output = T;

    #[inline]
    fn index(&self, slot: Slot<T>) -> &T {
        match &self.entry(slot).content {
            Content::Occupied(value) => value,
            Content::Vacant { .. } => unreachable!("a link to the vacant slot {slot:?}"),
        }
    }
}

impl<T> core::ops::IndexMut<Slot<T>> for Arena<T> {
    fn index_mut(&mut self, slot: Slot<T>) -> &mut T {
        match &mut self.entry_mut(slot).content {
            Content::Occupied(value) => value,
            Content::Vacant { .. } => unreachable!("a link to the vacant slot {slot:?}"),
        }
    }
}

/// A clone has chunks of full capacity too, so that what was reserved stays reserved.
impl<T: Clone> Clone for Arena<T> {
    fn clone(&self) -> Self {
        let full = |chunk: &Vec<Entry<T>>| {
            let mut copy = Vec::with_capacity(CHUNK);
            copy.extend(chunk.iter().cloned());
            copy
        };
        Self { chunks: self.chunks.iter().map(full).collect(), touched: self.touched, first_vacant: self.first_vacant, vacant: self.vacant }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reused_slot_has_a_new_generation() {
        let mut arena = Arena::new();
        arena.reserve(2).unwrap();
        let first = arena.insert("first");
        let generation = arena.generation(first);
        assert_eq!(arena.remove(first), Some("first"));
        let second = arena.insert("second");
        assert_eq!(first, second);
        assert_eq!(arena.find(first.index(), generation), None);
        assert_eq!(arena.find(second.index(), arena.generation(second)), Some(second));
        assert_eq!(arena[second], "second");
    }

    #[test]
    fn reserve_covers_vacant_and_fresh_slots() {
        let mut arena = Arena::new();
        arena.reserve(CHUNK + 1).unwrap();
        let slots: Vec<_> = (0..CHUNK + 1).map(|n| arena.insert(n)).collect();
        arena.remove(slots[3]);
        assert_eq!(arena.len(), CHUNK);
        let before = arena.footprint_bytes();
        arena.reserve(CHUNK).unwrap();
        assert_eq!(arena.footprint_bytes(), before, "one vacant and 63 fresh slots were there already");
        assert_eq!(arena.iter().count(), CHUNK);
    }
}
