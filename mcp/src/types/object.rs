//! `object!`: a JSON object as a struct, in one pass and without losing what it does not know.
//!
//! serde's own `flatten` would buffer every member as a value tree first; a tool list costs several
//! times as much that way.

use super::*;
use std::time::Duration;

/// What a server allows to be done with its result. What it does not say is taken to be zero, and private.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheHint {
    /// For how long it may be used again.
    pub ttl: Duration,
    /// Whether it may be shared between users.
    pub public: bool,
}

/// The members of an object that this crate does not know, in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Extra(Vec<(Box<str>, Json)>);

impl Extra {
    /// The member of that name.
    pub fn get(&self, name: &str) -> Option<&Json> {
        self.iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Json)> {
        self.0.iter().map(|(key, value)| (&**key, value))
    }

    /// For how long, and for whom, the server allows the result with these members to be kept (`ttlMs`,
    /// `cacheScope`). This crate keeps nothing.
    pub fn cache_hint(&self) -> CacheHint {
        let ttl = self.get("ttlMs").and_then(|ttl| ttl.parse::<f64>().ok());
        let ttl = ttl.and_then(|millis| Duration::try_from_secs_f64(millis / 1000.0).ok());
        let public = self.get("cacheScope").is_some_and(|scope| scope.text() == r#""public""#);
        CacheHint { ttl: ttl.unwrap_or_default(), public }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn push(&mut self, key: &str, value: Json) {
        self.0.push((key.into(), value));
    }
}

impl<'de> Deserialize<'de> for Extra {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        object! {
            /// An object of which nothing is known.
            struct Unknown {}
        }
        Unknown::deserialize(deserializer).map(|unknown| unknown.extra)
    }
}

/// What a member is when it is absent, and when it need not be written.
pub(super) trait Member: Sized {
    fn absent<E: de::Error>(name: &'static str) -> Result<Self, E> {
        Err(E::missing_field(name))
    }

    fn is_absent(&self) -> bool {
        false
    }
}

impl<T> Member for Option<T> {
    fn absent<E: de::Error>(_: &'static str) -> Result<Self, E> {
        Ok(None)
    }

    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

impl Member for bool {
    fn absent<E: de::Error>(_: &'static str) -> Result<Self, E> {
        Ok(false)
    }

    fn is_absent(&self) -> bool {
        !*self
    }
}

impl Member for String {}
impl Member for Content {}

impl<T> Member for Vec<T> {
    fn absent<E: de::Error>(_: &'static str) -> Result<Self, E> {
        Ok(Self::new())
    }
}

macro_rules! object {
    (
        $(#[$meta:meta])*
        $visibility:vis struct $name:ident {
            $($(#[$member_meta:meta])* $member:ident: $json:literal => $type:ty,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        $visibility struct $name {
            $($(#[$member_meta])* pub $member: $type,)*
            /// The members that this crate does not know.
            pub extra: Extra,
        }

        impl $name {
            /// Reads the members that `map` still has to those that are in `extra` already.
            fn read<'de, A: MapAccess<'de>>(mut map: A, mut extra: Extra) -> Result<Self, A::Error> {
                $(let mut $member: Option<$type> = None;)*
                while let Some(key) = map.next_key::<$crate::protocol::json::object::Key<'de>>()? {
                    match &*key.0 {
                        $($json => $member = Some(map.next_value()?),)*
                        key => extra.push(key, map.next_value()?),
                    }
                }
                Ok(Self {
                    $($member: match $member {
                        Some(value) => value,
                        None => $crate::types::object::Member::absent($json)?,
                    },)*
                    extra,
                })
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct ObjectVisitor;

                impl<'de> Visitor<'de> for ObjectVisitor {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str(concat!("an object (", stringify!($name), ")"))
                    }

                    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<$name, A::Error> {
                        $name::read(map, Extra::default())
                    }
                }

                deserializer.deserialize_map(ObjectVisitor)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut map = serializer.serialize_map(None)?;
                $(if !$crate::types::object::Member::is_absent(&self.$member) {
                    map.serialize_entry($json, &self.$member)?;
                })*
                for (key, value) in self.extra.iter() {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    };
}
pub(super) use object;
