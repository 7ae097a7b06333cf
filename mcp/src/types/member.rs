//! How members are read: leniently, each for itself. What has another form than expected is kept as it came and never decides
//! over the object that it is a member of.

use super::Json;
use super::decoding::{charge, odd};
use super::transcode::Transcoded;
use crate::error::excerpt;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::Serialize;
use serde_json::value::RawValue;
use std::fmt;
use std::marker::PhantomData;

/// What a member, or an item of a list, has turned out to be.
pub(super) enum Read<T> {
    Value(T),
    /// `null` where the schema does not allow it: it is read as absence.
    Null,
    /// Something else.
    Odd(Json),
}

impl<T> Read<T> {
    pub(super) fn map<U>(self, value: impl FnOnce(T) -> U) -> Read<U> {
        match self {
            Self::Value(it) => Read::Value(value(it)),
            Self::Null => Read::Null,
            Self::Odd(json) => Read::Odd(json),
        }
    }

    pub(super) fn odd(text: String) -> Self {
        // Text that was just written is JSON.
        Self::Odd(RawValue::from_string(text).map(Json::from).unwrap_or_default())
    }
}

/// A type that members can have.
pub(super) trait Member: Sized {
    /// Whether an empty list of these need not be written.
    const LIST_IS_OPTIONAL: bool = false;

    /// Whether one of these may stand where a list belongs.
    const ONE_IS_A_LIST: bool = false;

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Read<Self>, D::Error>;

    /// Whether it need not be written.
    fn is_absent(&self) -> bool {
        false
    }

    /// Whether the member of this name may be so.
    fn suits(&self, _name: &str) -> bool {
        true
    }

    /// Whether an object that needs it cannot be used without it. `is_odd` is whether something else was there.
    fn is_missing(&self, is_odd: bool) -> bool {
        is_odd
    }
}

/// Scalars where a list or an object was expected.
macro_rules! odd_scalars {
    ($value:ty, $odd:expr) => {
        fn visit_bool<E>(self, value: bool) -> Result<$value, E> {
            Ok($odd($crate::types::transcode::Transcoded::of(&value)))
        }

        fn visit_u64<E>(self, value: u64) -> Result<$value, E> {
            Ok($odd($crate::types::transcode::Transcoded::of(&value)))
        }

        fn visit_i64<E>(self, value: i64) -> Result<$value, E> {
            Ok($odd($crate::types::transcode::Transcoded::of(&value)))
        }

        fn visit_f64<E>(self, value: f64) -> Result<$value, E> {
            Ok($odd($crate::types::transcode::Transcoded::of(&value)))
        }
    };
}
pub(super) use odd_scalars;

/// `null`, and the wrappers of other deserializers.
macro_rules! null_and_wrappers {
    ($value:ty, $null:expr) => {
        fn visit_unit<E>(self) -> Result<$value, E> {
            Ok($null)
        }

        fn visit_none<E>(self) -> Result<$value, E> {
            Ok($null)
        }

        fn visit_some<D: ::serde::Deserializer<'de>>(self, value: D) -> Result<$value, D::Error> {
            value.deserialize_any(self)
        }

        fn visit_newtype_struct<D: ::serde::Deserializer<'de>>(self, value: D) -> Result<$value, D::Error> {
            value.deserialize_any(self)
        }
    };
}
pub(super) use null_and_wrappers;

/// Reads a member; see [`Member::read`].
pub(super) struct Lenient<T>(PhantomData<T>);

impl<T> Lenient<T> {
    pub(super) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<'de, T: Member> DeserializeSeed<'de> for Lenient<T> {
    type Value = Read<T>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Read<T>, D::Error> {
        T::read(deserializer)
    }
}

/// A type that is made of one string, number or truth value.
pub(super) trait Scalar: Sized {
    /// See [`Member::LIST_IS_OPTIONAL`].
    const LIST_IS_OPTIONAL: bool = false;

    fn from_str(_: &str) -> Option<Self> {
        None
    }

    fn from_bool(_: bool) -> Option<Self> {
        None
    }

    fn from_u64(_: u64) -> Option<Self> {
        None
    }

    fn from_i64(_: i64) -> Option<Self> {
        None
    }

    fn from_f64(_: f64) -> Option<Self> {
        None
    }

    /// Whether it need not be written.
    fn is_default(&self) -> bool {
        false
    }

    /// Whether an object that needs it cannot be used with this value.
    fn is_useless(&self) -> bool {
        false
    }
}

/// Makes a scalar a member. (Not for all at once: `Box` might be a scalar, as far as the compiler knows.)
macro_rules! scalar_member {
    ($type:ty) => {
        impl $crate::types::member::Member for $type {
            const LIST_IS_OPTIONAL: bool = <Self as $crate::types::member::Scalar>::LIST_IS_OPTIONAL;

            fn read<'de, D: ::serde::Deserializer<'de>>(
                deserializer: D,
            ) -> Result<$crate::types::member::Read<Self>, D::Error> {
                $crate::types::member::read_scalar(deserializer)
            }

            fn is_absent(&self) -> bool {
                $crate::types::member::Scalar::is_default(self)
            }

            fn is_missing(&self, is_odd: bool) -> bool {
                is_odd || $crate::types::member::Scalar::is_useless(self)
            }
        }
    };
}
pub(super) use scalar_member;

scalar_member!(String);
scalar_member!(bool);
scalar_member!(f64);
scalar_member!(u64);

pub(super) fn read_scalar<'de, T: Scalar, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Read<T>, D::Error> {
    deserializer.deserialize_any(ScalarVisitor(PhantomData))
}

struct ScalarVisitor<T>(PhantomData<T>);

impl<T> ScalarVisitor<T> {
    fn found<E>(value: Option<T>, text: impl FnOnce() -> String) -> Result<Read<T>, E> {
        Ok(value.map_or_else(|| Read::odd(text()), Read::Value))
    }
}

impl<'de, T: Scalar> Visitor<'de> for ScalarVisitor<T> {
    type Value = Read<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Read<T>, E> {
        charge(text.len())?;
        Self::found(T::from_str(text), || Transcoded::of(text))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Read<T>, E> {
        Self::found(T::from_bool(value), || Transcoded::of(&value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Read<T>, E> {
        Self::found(T::from_u64(value), || Transcoded::of(&value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Read<T>, E> {
        Self::found(T::from_i64(value), || Transcoded::of(&value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Read<T>, E> {
        Self::found(T::from_f64(value), || Transcoded::of(&value))
    }

    null_and_wrappers!(Read<T>, Read::Null);

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Read<T>, A::Error> {
        Transcoded::of_seq(items).map(Read::odd)
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Read<T>, A::Error> {
        Transcoded::of_map(members).map(Read::odd)
    }
}

impl Scalar for String {
    fn from_str(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }

    fn is_useless(&self) -> bool {
        self.is_empty()
    }
}

impl Scalar for bool {
    /// Some servers write everything as a string.
    fn from_str(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn from_bool(value: bool) -> Option<Self> {
        Some(value)
    }

    fn is_default(&self) -> bool {
        !self
    }
}

impl Scalar for f64 {
    #[allow(clippy::cast_precision_loss, reason = "JSON's numbers are such to most who write them")]
    fn from_u64(value: u64) -> Option<Self> {
        Some(value as Self)
    }

    #[allow(clippy::cast_precision_loss, reason = "JSON's numbers are such to most who write them")]
    fn from_i64(value: i64) -> Option<Self> {
        Some(value as Self)
    }

    fn from_f64(value: f64) -> Option<Self> {
        Some(value)
    }
}

impl Scalar for u64 {
    fn from_u64(value: u64) -> Option<Self> {
        Some(value)
    }

    /// Some servers write `60000.0`.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the range is looked at first"
    )]
    fn from_f64(value: f64) -> Option<Self> {
        (value.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&value)).then_some(value as Self)
    }
}

impl<T: Member> Member for Option<T> {
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Read<Self>, D::Error> {
        T::read(deserializer).map(|read| read.map(Some))
    }

    fn suits(&self, name: &str) -> bool {
        self.as_ref().is_none_or(|it| it.suits(name))
    }

    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

impl<T: Member> Member for Box<T> {
    const LIST_IS_OPTIONAL: bool = T::LIST_IS_OPTIONAL;

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Read<Self>, D::Error> {
        charge(size_of::<T>())?;
        T::read(deserializer).map(|read| read.map(Self::new))
    }

    fn is_absent(&self) -> bool {
        (**self).is_absent()
    }

    fn is_missing(&self, is_odd: bool) -> bool {
        (**self).is_missing(is_odd)
    }
}

impl Member for Json {
    /// Any value, `null` too.
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Read<Self>, D::Error> {
        let json: Self = serde::Deserialize::deserialize(deserializer)?;
        charge(json.text().len())?;
        Ok(Read::Value(json))
    }

    /// `null` is a value, but for metadata: those are an object.
    fn suits(&self, name: &str) -> bool {
        name != "_meta" || !self.is_null()
    }

    fn is_missing(&self, _: bool) -> bool {
        self.is_null()
    }
}

impl<T: Member> Member for Vec<T> {
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Read<Self>, D::Error> {
        deserializer.deserialize_any(ListVisitor(PhantomData))
    }

    fn is_absent(&self) -> bool {
        T::LIST_IS_OPTIONAL && self.is_empty()
    }
}

struct ListVisitor<T>(PhantomData<T>);

impl<'de, T: Member> Visitor<'de> for ListVisitor<T> {
    type Value = Read<Vec<T>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    /// Items that cannot be read are left out.
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Read<Vec<T>>, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Lenient::new())? {
            match item {
                Read::Value(item) => {
                    if list.len() == list.capacity() {
                        // It doubles. (While it moves, the old one is there, too, which is not counted.)
                        charge(size_of::<T>() * list.len().max(4))?;
                    }
                    list.push(item);
                }
                Read::Null => odd(|| "an item of a list is null".to_owned()),
                Read::Odd(json) => odd(|| format!("an item of a list cannot be used: {}", start(&json))),
            }
        }
        Ok(Read::Value(list))
    }

    null_and_wrappers!(Self::Value, Read::Null);

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Self::Value, E> {
        one_scalar(value)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
        one_scalar(value)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
        one_scalar(value)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Self::Value, E> {
        one_scalar(value)
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Self::Value, E> {
        one_scalar(value)
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Read<Vec<T>>, A::Error> {
        match T::ONE_IS_A_LIST {
            true => one(T::read(MapAccessDeserializer::new(members))?),
            false => Transcoded::of_map(members).map(Read::odd),
        }
    }
}

fn one_scalar<'de, T, V, E>(value: V) -> Result<Read<Vec<T>>, E>
where
    T: Member,
    V: IntoDeserializer<'de, E> + Serialize,
    E: de::Error,
{
    match T::ONE_IS_A_LIST {
        true => one(T::read(value.into_deserializer())?),
        false => Ok(Read::odd(Transcoded::of(&value))),
    }
}

fn one<T, E>(item: Read<T>) -> Result<Read<Vec<T>>, E> {
    odd(|| "one value stands where a list belongs".to_owned());
    Ok(item.map(|item| vec![item]))
}

/// The beginning of what came.
pub(super) fn start(json: &Json) -> String {
    excerpt(json.text().as_bytes(), 100)
}
