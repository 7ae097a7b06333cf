//! Picks named members out of a JSON object in one pass, without copying and without looking into
//! them.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The members of the object `json` called `names`, `None` where absent; of duplicates the last
/// one.
///
/// Other members are skipped. Fails if `json` is not exactly one object. Nesting costs no stack:
/// both a raw value and a skipped one are scanned with a loop.
pub(crate) fn members<'de, const N: usize>(
    json: &'de str,
    names: [&'static str; N],
) -> Result<[Option<&'de RawValue>; N], serde_json::Error> {
    let mut parser = serde_json::Deserializer::from_str(json);
    let found = parser.deserialize_map(Members { names })?;
    parser.end()?;
    Ok(found)
}

struct Members<const N: usize> {
    names: [&'static str; N],
}

impl<'de, const N: usize> Visitor<'de> for Members<N> {
    type Value = [Option<&'de RawValue>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = [None; N];
        while let Some(index) = map.next_key_seed(IndexIn(&self.names))? {
            match index {
                Some(index) => found[index] = Some(map.next_value()?),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(found)
    }
}

/// Reads a key as its position among the names.
struct IndexIn<'a>(&'a [&'static str]);

impl<'de> DeserializeSeed<'de> for IndexIn<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, key: D) -> Result<Self::Value, D::Error> {
        key.deserialize_str(self)
    }
}

impl Visitor<'_> for IndexIn<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member name")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().position(|name| *name == key))
    }
}
