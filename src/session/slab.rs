//! A table whose places are given back and taken again.

/// The end of the free list.
const NONE: u32 = u32::MAX;

pub(super) struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: u32,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: NONE }
    }
}

enum Slot<T> {
    Free { next: u32 },
    Taken(T),
}

impl<T> Slab<T> {
    #[inline]
    pub(super) fn insert(&mut self, value: T) -> u32 {
        let number = self.free;
        let Some(slot) = self.slots.get_mut(number as usize) else { return self.push(value) };
        match std::mem::replace(slot, Slot::Taken(value)) {
            Slot::Free { next } => self.free = next,
            Slot::Taken(_) => unreachable!("a slot on the free list is free"),
        }
        number
    }

    #[cold]
    fn push(&mut self, value: T) -> u32 {
        let number = u32::try_from(self.slots.len()).ok().filter(|&number| number != NONE);
        let number = number.expect("fewer than 2^32 waiters");
        self.slots.push(Slot::Taken(value));
        number
    }

    /// The value in a place, which may have been emptied and taken by somebody else since.
    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        match self.slots.get_mut(number as usize)? {
            Slot::Taken(value) => Some(value),
            Slot::Free { .. } => None,
        }
    }

    #[inline]
    pub(super) fn replace(&mut self, number: u32, value: T) -> T {
        let slot =
            self.slots.get_mut(number as usize).map(|slot| std::mem::replace(slot, Slot::Taken(value)));
        match slot {
            Some(Slot::Taken(value)) => value,
            Some(Slot::Free { .. }) | None => unreachable!("a taken seat has a slot until the session ends"),
        }
    }

    /// `None` if the table has been emptied since.
    #[inline]
    pub(super) fn remove(&mut self, number: u32) -> Option<T> {
        let slot = self.slots.get_mut(number as usize)?;
        let removed = std::mem::replace(slot, Slot::Free { next: self.free });
        self.free = number;
        match removed {
            Slot::Taken(value) => Some(value),
            Slot::Free { .. } => unreachable!("a seat gives its slot back once"),
        }
    }

    pub(super) fn into_values(self) -> impl Iterator<Item = T> {
        self.slots.into_iter().filter_map(|slot| match slot {
            Slot::Taken(value) => Some(value),
            Slot::Free { .. } => None,
        })
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.slots.iter().filter(|slot| matches!(slot, Slot::Taken(_))).count()
    }
}
