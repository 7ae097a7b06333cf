//! A table whose places are given back and taken again.
//!
//! A place keeps its number as long as it is taken, so values never move. Free places at the end are cut off at once,
//! so the table is never larger than its highest value asks for, and the memory follows when it is four times
//! too large. A value that stays in a high place keeps everything below it.
//!
//! Invariants:
//!
//! 1. The last place is taken.
//! 2. All free places are on one list, linked in both directions: any of them can be cut off.

/// The end of the free list.
const NONE: u32 = u32::MAX;

/// A table of so few places keeps its memory.
const SMALL: usize = 64;

pub(super) struct Slab<T> {
    places: Vec<Place<T>>,
    free: u32,
}

enum Place<T> {
    Free { next: u32, previous: u32 },
    Taken(T),
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: NONE }
    }
}

impl<T> Slab<T> {
    #[inline]
    pub(super) fn insert(&mut self, value: T) -> u32 {
        if self.free != NONE {
            return self.insert_free(value);
        }
        // Fewer than 2^32 fit into memory: each has 16 bytes here and more in a future elsewhere.
        #[allow(clippy::cast_possible_truncation, reason = "see the line above")]
        let number = self.places.len() as u32;
        self.places.push(Place::Taken(value));
        number
    }

    #[inline(never)]
    fn insert_free(&mut self, value: T) -> u32 {
        let number = self.free;
        if let Place::Free { next, .. } = std::mem::replace(self.place(number), Place::Taken(value)) {
            self.free = next;
            self.link(next, |previous| *previous = NONE);
        }
        number
    }

    fn place(&mut self, number: u32) -> &mut Place<T> {
        &mut self.places[number as usize]
    }

    /// `None` if the place is free.
    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        match self.places.get_mut(number as usize)? {
            Place::Taken(value) => Some(value),
            Place::Free { .. } => None,
        }
    }

    /// Gives the old value back. The place must be taken.
    #[inline]
    pub(super) fn replace(&mut self, number: u32, value: T) -> T {
        match self.places.get_mut(number as usize).map(|place| std::mem::replace(place, Place::Taken(value)))
        {
            Some(Place::Taken(value)) => value,
            Some(Place::Free { .. }) | None => unreachable!("the place is taken"),
        }
    }

    /// `None` if the table has been emptied since. Otherwise the place must be taken: it is given back once.
    #[inline]
    pub(super) fn remove(&mut self, number: u32) -> Option<T> {
        // One at a time is the common case: there is nothing else to cut off.
        // (On 32 bits the successor of the highest number is 0: an empty table has no last place.)
        if (number as usize).wrapping_add(1) != self.places.len() || self.free != NONE {
            return self.remove_among(number);
        }
        let removed = self.places.pop();
        if self.places.capacity() > SMALL {
            self.shrink();
        }
        match removed {
            Some(Place::Taken(value)) => Some(value),
            Some(Place::Free { .. }) | None => None,
        }
    }

    #[inline(never)]
    fn remove_among(&mut self, number: u32) -> Option<T> {
        let place = self.places.get_mut(number as usize)?;
        let removed = std::mem::replace(place, Place::Free { next: self.free, previous: NONE });
        self.link(self.free, |previous| *previous = number);
        self.free = number;
        if number as usize + 1 == self.places.len() {
            self.trim();
        }
        match removed {
            Place::Taken(value) => Some(value),
            Place::Free { .. } => None,
        }
    }

    /// Cuts free places off the end. Each step undoes an insertion.
    fn trim(&mut self) {
        while let Some(&Place::Free { next, previous }) = self.places.last() {
            self.places.pop();
            match self.places.get_mut(previous as usize) {
                Some(Place::Free { next: link, .. }) => *link = next,
                _ => self.free = next,
            }
            self.link(next, |link| *link = previous);
        }
        self.shrink();
    }

    /// Gives memory back, if there is four times too much of it.
    #[inline(never)]
    fn shrink(&mut self) {
        if self.places.capacity() > SMALL.max(4 * self.places.len()) {
            self.places.shrink_to(SMALL.max(2 * self.places.len()));
        }
    }

    /// Changes the way back from a free place, if there is one of this number.
    fn link(&mut self, number: u32, change: impl FnOnce(&mut u32)) {
        if let Some(Place::Free { previous, .. }) = self.places.get_mut(number as usize) {
            change(previous);
        }
    }

    /// Whether there is no value.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.places.iter().filter_map(|place| match place {
            Place::Taken(value) => Some(value),
            Place::Free { .. } => None,
        })
    }

    pub(super) fn into_values(self) -> impl Iterator<Item = T> {
        self.places.into_iter().filter_map(|place| match place {
            Place::Taken(value) => Some(value),
            Place::Free { .. } => None,
        })
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.values().count()
    }

    #[cfg(all(test, not(any(shared_fate_loom, shared_fate_shuttle))))]
    pub(super) fn capacity(&self) -> usize {
        self.places.capacity()
    }
}
