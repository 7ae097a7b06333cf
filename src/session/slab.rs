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
//! 3. `quiet` is what `measure` says: above all numbers if there is a free place, since that may have to be cut off,
//!    too.

/// The end of the free list.
const NONE: u32 = u32::MAX;

/// A table of so few places keeps its memory.
const SMALL: usize = 64;

pub(super) struct Slab<T> {
    places: Vec<Place<T>>,
    free: u32,
    /// The last place is cut off, and that is all, if its number is not below this.
    quiet: u32,
}

pub(super) enum Place<T> {
    Free { next: u32, previous: u32 },
    Taken(T),
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: NONE, quiet: 0 }
    }
}

impl<T> Slab<T> {
    /// Whether the next value goes to the end, where there is memory for it.
    #[inline]
    pub(super) fn has_room_at_the_end(&self) -> bool {
        self.free == NONE && self.places.len() < self.places.capacity()
    }

    #[inline]
    pub(super) fn insert(&mut self, value: T) -> u32 {
        if self.free != NONE {
            return self.insert_free(value);
        }
        if self.places.len() == self.places.capacity() {
            self.grow();
        }
        // Fewer than 2^32 fit into memory: each has 16 bytes here and more in a future elsewhere.
        #[allow(clippy::cast_possible_truncation, reason = "see the line above")]
        let number = self.places.len() as u32;
        self.places.push(Place::Taken(value));
        number
    }

    #[inline(never)]
    fn grow(&mut self) {
        self.places.reserve(1);
        self.measure();
    }

    #[inline(never)]
    fn insert_free(&mut self, value: T) -> u32 {
        let number = self.free;
        if let Place::Free { next, .. } = std::mem::replace(self.place(number), Place::Taken(value)) {
            self.free = next;
            self.link(next, |previous| *previous = NONE);
            self.measure();
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

    /// Whether a removal is a pop and no more.
    #[inline]
    pub(super) fn just_pops(&self, number: u32) -> bool {
        // (On 32 bits the successor of the highest number is 0: an empty table has no last place.)
        (number as usize).wrapping_add(1) == self.places.len() && number >= self.quiet
    }

    /// `None` if the table has been emptied since. Otherwise the place must be taken: it is given back once.
    #[inline]
    pub(super) fn remove(&mut self, number: u32) -> Option<T> {
        if !self.just_pops(number) {
            return self.remove_among(number);
        }
        match self.pop() {
            Some(Place::Taken(value)) => Some(value),
            Some(Place::Free { .. }) | None => None,
        }
    }

    /// The removal of a value for which [`just_pops`](Self::just_pops) holds, with its place: whoever drops it need not
    /// look at it before.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<Place<T>> {
        self.places.pop()
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
        self.measure();
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
        // There is four times too much memory.
        if self.places.capacity() > SMALL.max(4 * self.places.len()) {
            self.places.shrink_to(SMALL.max(2 * self.places.len()));
        }
    }

    /// Comes after each change of the memory or of the list of free places.
    fn measure(&mut self) {
        self.quiet = match self.places.capacity() {
            _ if self.free != NONE => NONE,
            ..=SMALL => 0,
            capacity => u32::try_from(capacity.div_ceil(4)).unwrap_or(NONE),
        };
    }

    /// Changes the way back from a free place, if there is one of this number.
    fn link(&mut self, number: u32, change: impl FnOnce(&mut u32)) {
        if let Some(Place::Free { previous, .. }) = self.places.get_mut(number as usize) {
            change(previous);
        }
    }

    /// Whether it may have room: it has not had a value otherwise.
    #[inline]
    pub(super) fn has_memory(&self) -> bool {
        self.places.capacity() != 0
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
