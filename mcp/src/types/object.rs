//! `object!`: a JSON object as a struct, in one pass and without losing what it does not know.
//!
//! serde's own `flatten` would buffer every member as a value tree first; a tool list costs several
//! times as much that way.

use super::Json;
use super::decoding::charge;
use super::member::{Read, null_and_wrappers, odd_scalars};
use super::transcode::Transcoded;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// However long a server allows a result to be kept.
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// How long and for whom a server allows its result to be kept. By default it is zero, and private.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheHint {
    /// For how long it may be used again: a year at most.
    pub ttl: Duration,
    /// Whether it may be shared between users.
    pub public: bool,
}

/// The members of an object that this crate does not know, in their order. A member that this crate knows is here, too, if
/// it has another form than the schema says; it is written in the place of the field until it is [removed](Self::remove).
///
/// Two are equal if they have the same members, in any order.
#[derive(Clone, Debug, Default)]
pub struct Extra(Vec<(Box<str>, Json)>);

impl PartialEq for Extra {
    fn eq(&self, other: &Self) -> bool {
        if self.0.is_empty() || other.0.is_empty() {
            return self.0.len() == other.0.len();
        }
        self.iter().collect::<BTreeMap<_, _>>() == other.iter().collect()
    }
}

impl Eq for Extra {}

impl Extra {
    /// The member of that name; of duplicates the last one.
    pub fn get(&self, name: &str) -> Option<&Json> {
        self.0.iter().rev().find(|(key, _)| **key == *name).map(|(_, value)| value)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Json)> {
        self.0.iter().map(|(key, value)| (&**key, value))
    }

    /// Takes a member out.
    pub fn remove(&mut self, name: &str) -> Option<Json> {
        let at = self.0.iter().rposition(|(key, _)| **key == *name)?;
        Some(self.0.remove(at).1)
    }

    /// Whether a member of another form was kept in the place of one that is known: it is written then.
    pub(super) fn has(&self, name: &str) -> bool {
        !self.0.is_empty() && self.get(name).is_some()
    }

    /// Sets a member: in its place if it is there, at the end if not.
    pub fn insert(&mut self, name: &str, value: Json) {
        match self.0.iter_mut().rev().find(|(key, _)| **key == *name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name.into(), value)),
        }
    }

    /// For how long, and for whom, the server allows the result with these members to be kept (`ttlMs`,
    /// `cacheScope`). This crate keeps nothing.
    pub fn cache_hint(&self) -> CacheHint {
        let ttl = self.get("ttlMs").and_then(|ttl| ttl.parse::<f64>().ok());
        let ttl = ttl.and_then(|millis| Duration::try_from_secs_f64(millis / 1000.0).ok());
        // Who adds it to the time of day gets one.
        let ttl = ttl.map(|ttl| ttl.min(YEAR));
        let public = self.get("cacheScope").is_some_and(|scope| scope.text() == r#""public""#);
        CacheHint { ttl: ttl.unwrap_or_default(), public }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds one more.
    pub(super) fn push<E: serde::de::Error>(&mut self, key: &str, value: Json) -> Result<(), E> {
        let mut bytes = key.len() + value.text().len();
        if self.0.len() == self.0.capacity() {
            bytes += size_of::<(Box<str>, Json)>() * self.0.len().max(4);
        }
        charge(bytes)?;
        self.0.push((key.into(), value));
        Ok(())
    }

    /// Writes all of them.
    pub(super) fn write<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        self.iter().try_for_each(|(key, value)| map.serialize_entry(key, value))
    }
}

object! {
    /// An object of which nothing is known.
    struct Unknown {}
}

impl<'de> Deserialize<'de> for Extra {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Unknown::deserialize(deserializer).map(|unknown| unknown.extra)
    }
}

impl Serialize for Extra {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        self.write(&mut map)?;
        map.end()
    }
}

impl<K: AsRef<str>> FromIterator<(K, Json)> for Extra {
    fn from_iter<I: IntoIterator<Item = (K, Json)>>(members: I) -> Self {
        Self(members.into_iter().map(|(key, value)| (key.as_ref().into(), value)).collect())
    }
}

/// An object that is read member by member.
pub(super) trait Object: Sized {
    const NAME: &'static str;

    /// The names of its members.
    #[cfg(test)]
    const MEMBERS: &'static [&'static str];

    /// Reads the members that `map` still has to those that are in `extra` already.
    fn read_members<'de, A: MapAccess<'de>>(map: A, extra: Extra) -> Result<Self, A::Error>;

    /// The member that it lacks and cannot be used without.
    fn missing(&self) -> Option<&'static str>;
}

/// Visits an object, leniently or not.
pub(super) struct ObjectVisitor<T>(pub(super) std::marker::PhantomData<T>);

impl<'de, T: Object + Serialize> Visitor<'de> for ObjectVisitor<T> {
    type Value = Read<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object ({})", T::NAME)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Read<T>, A::Error> {
        let object = T::read_members(map, Extra::default())?;
        Ok(match object.missing() {
            None => Read::Value(object),
            Some(_) => Read::odd(serde_json::to_string(&object).unwrap_or_default()),
        })
    }

    null_and_wrappers!(Read<T>, Read::Null);
    odd_scalars!(Read<T>, Read::odd);

    fn visit_str<E>(self, value: &str) -> Result<Read<T>, E> {
        Ok(Read::odd(Transcoded::of(value)))
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, items: A) -> Result<Read<T>, A::Error> {
        Transcoded::of_seq(items).map(Read::odd)
    }
}

macro_rules! object {
    (
        $(#[$meta:meta])*
        $visibility:vis struct $name:ident $(($omitted:ident))? $(needs $needed:ident: $needed_json:literal)? {
            $($(#[$member_meta:meta])* $member:ident: $json:literal => $type:ty,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq)]
        $visibility struct $name {
            $($(#[$member_meta])* pub $member: $type,)*
            /// The members that this crate does not know, and those of another form than the schema says.
            pub extra: $crate::types::Extra,
        }

        impl $crate::types::object::Object for $name {
            const NAME: &'static str = stringify!($name);

            #[cfg(test)]
            const MEMBERS: &'static [&'static str] = &[$($json),*];

            fn read_members<'de, A: ::serde::de::MapAccess<'de>>(
                mut map: A,
                extra: $crate::types::Extra,
            ) -> Result<Self, A::Error> {
                #[allow(clippy::needless_update, reason = "one object has no members of its own")]
                let mut object = Self { extra, ..Self::default() };
                while let Some(name) = map.next_key::<$crate::protocol::json::object::Key<'de>>()? {
                    match &*name.0 {
                        $($json => {
                            use $crate::types::member::{Lenient, Member, Read};
                            match map.next_value_seed(Lenient::<$type>::new())? {
                                Read::Value(value) => if Member::suits(&value, $json) {
                                    object.$member = value;
                                },
                                Read::Null => {}
                                Read::Odd(json) => {
                                    let start = $crate::types::member::start;
                                    $crate::types::decoding::odd(|| {
                                        format!("{}.{} has another form: {}", Self::NAME, $json, start(&json))
                                    });
                                    object.extra.push($json, json)?;
                                }
                            }
                        })*
                        name => {
                            let json = map.next_value()?;
                            object.extra.push(name, json)?;
                        }
                    }
                }
                Ok(object)
            }

            fn missing(&self) -> Option<&'static str> {
                $({
                    let is_odd = self.extra.get($needed_json).is_some();
                    if $crate::types::member::Member::is_missing(&self.$needed, is_odd) {
                        return Some($needed_json);
                    }
                })?
                None
            }
        }

        impl $name {
            /// Writes the members.
            #[allow(dead_code, reason = "content blocks write their members by themselves")]
            pub(super) fn write_members<M: ::serde::ser::SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
                $(if !$crate::types::member::Member::is_absent(&self.$member) && !self.extra.has($json) {
                    map.serialize_entry($json, &self.$member)?;
                })*
                self.extra.write(map)
            }
        }

        impl $crate::types::member::Member for $name {
            $(const LIST_IS_OPTIONAL: bool = stringify!($omitted).len() > 0;)?

            fn read<'de, D: ::serde::Deserializer<'de>>(
                deserializer: D,
            ) -> Result<$crate::types::member::Read<Self>, D::Error> {
                deserializer.deserialize_any($crate::types::object::ObjectVisitor(std::marker::PhantomData))
            }

            fn is_missing(&self, is_odd: bool) -> bool {
                is_odd || $crate::types::object::Object::missing(self).is_some()
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $name {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                use $crate::types::object::Object;
                let object = deserializer.deserialize_map($crate::types::object::StrictVisitor::<Self>::new())?;
                match object.missing() {
                    None => Ok(object),
                    Some(name) => Err(::serde::de::Error::missing_field(name)),
                }
            }
        }

        impl ::serde::Serialize for $name {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut map = serializer.serialize_map(None)?;
                self.write_members(&mut map)?;
                ::serde::ser::SerializeMap::end(map)
            }
        }
    };
}
pub(super) use object;

/// Visits an object that is wanted for itself: nothing but an object will do.
pub(super) struct StrictVisitor<T>(std::marker::PhantomData<T>);

impl<T> StrictVisitor<T> {
    pub(super) fn new() -> Self {
        Self(std::marker::PhantomData)
    }
}

impl<'de, T: Object> Visitor<'de> for StrictVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object ({})", T::NAME)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::read_members(map, Extra::default())
    }
}
