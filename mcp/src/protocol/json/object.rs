//! JSON objects as ordered members, for what must be passed on as it came.

use serde::de::{Deserializer, MapAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// A member's name, or another string: borrowed where the text allows.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(transparent)]
pub(crate) struct Key<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

/// An object's members in their order, unread.
#[derive(Debug, Default)]
pub(crate) struct Object<'a>(Vec<(Key<'a>, Cow<'a, RawValue>)>);

impl<'a> Object<'a> {
    /// The members of the object `json`; `None` if it is not exactly one object.
    pub(crate) fn read(json: &'a str) -> Option<Self> {
        serde_json::from_str(json).ok()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&RawValue> {
        // Of duplicates the last one, as everywhere.
        self.0.iter().rev().find(|(key, _)| key.0 == name).map(|(_, value)| &**value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &RawValue)> {
        self.0.iter().map(|(key, value)| (&*key.0, &**value))
    }

    /// Sets a member: in its place if it is there, at the end if not.
    pub(crate) fn set(&mut self, name: &'a str, value: Cow<'a, RawValue>) {
        match self.0.iter_mut().rev().find(|(key, _)| key.0 == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((Key(Cow::Borrowed(name)), value)),
        }
    }

    /// Adds the members that `map` still has.
    pub(crate) fn extend<'de: 'a, A: MapAccess<'de>>(&mut self, mut map: A) -> Result<(), A::Error> {
        while let Some((key, value)) = map.next_entry()? {
            self.add(key, value);
        }
        Ok(())
    }

    /// Adds one more member.
    pub(crate) fn add(&mut self, key: Key<'a>, value: &'a RawValue) {
        self.0.push((key, Cow::Borrowed(value)));
    }

    /// Adds a member that is not there yet.
    pub(crate) fn push(&mut self, name: &str, value: Box<RawValue>) {
        self.0.push((Key(Cow::Owned(name.to_owned())), Cow::Owned(value)));
    }

    pub(crate) fn write(&self) -> Box<RawValue> {
        serde_json::value::to_raw_value(self).expect("names are strings, values are JSON")
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor;

        impl<'de> Visitor<'de> for ObjectVisitor {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                let mut object = Object::default();
                object.extend(map)?;
                Ok(object)
            }
        }

        deserializer.deserialize_map(ObjectVisitor)
    }
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(&key.0, &**value)?;
        }
        map.end()
    }
}

/// The object `json` in the form of `T`; `None` if it is anything else. A derived form alone would also be read from an
/// array, member by member.
pub(crate) fn read_object<'a, T: Deserialize<'a>>(json: &'a str) -> Option<T> {
    let is_object = json.trim_ascii_start().starts_with('{');
    is_object.then(|| serde_json::from_str(json).ok()).flatten()
}

#[cfg(test)]
mod tests;
