//! Maps keyed by our own request ids.
//!
//! The ids come from a counter and nobody else chooses them, so that spreading them evenly is all that
//! a hash has to do. The standard one, which also withstands chosen keys, took a twentieth of a call.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

pub(crate) type ById<T> = HashMap<u64, T, BuildHasherDefault<IdHasher>>;

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    /// By an odd number: neighbouring ids differ in the low bits, which choose the place, as well as in
    /// the high ones, which are compared first.
    fn write_u64(&mut self, id: u64) {
        self.0 = id.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("keys are u64");
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::hash::{BuildHasher as _, Hash as _};

    #[test]
    fn neighbours_share_neither_a_place_nor_a_tag() {
        let hash = |id: u64| BuildHasherDefault::<IdHasher>::default().hash_one(id);
        for start in [1, 1 << 20, u64::MAX - 2000] {
            let hashes = (start..start + 1024).map(hash);
            let places: HashSet<_> = hashes.clone().map(|hash| hash & 1023).collect();
            assert_eq!(places.len(), 1024, "ids from {start}");
            let tags: HashSet<_> = hashes.map(|hash| hash >> 57).collect();
            assert_eq!(tags.len(), 128, "ids from {start}");
        }
    }

    #[test]
    #[should_panic = "keys are u64"]
    fn other_keys_are_refused() {
        "seven".hash(&mut IdHasher::default());
    }
}
