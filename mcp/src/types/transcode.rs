//! Any value as JSON text, out of a deserializer that has no text.

use super::decoding::charge;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The JSON text of a value.
pub(super) struct Transcoded(pub(super) String);

impl<'de> Deserialize<'de> for Transcoded {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut text = String::new();
        Write(&mut text).deserialize(deserializer)?;
        Ok(Self(text))
    }
}

impl Transcoded {
    /// Of a scalar.
    pub(super) fn of(value: &(impl Serialize + ?Sized)) -> String {
        serde_json::to_string(value).expect("scalars are JSON")
    }

    pub(super) fn of_seq<'de, A: SeqAccess<'de>>(items: A) -> Result<String, A::Error> {
        let mut text = String::new();
        Write(&mut text).visit_seq(items)?;
        charge(text.len())?;
        Ok(text)
    }

    pub(super) fn of_map<'de, A: MapAccess<'de>>(members: A) -> Result<String, A::Error> {
        let mut text = String::new();
        Write(&mut text).visit_map(members)?;
        charge(text.len())?;
        Ok(text)
    }
}

/// Appends a value.
struct Write<'a>(&'a mut String);

impl Write<'_> {
    fn scalar<E>(self, value: &(impl Serialize + ?Sized)) -> Result<(), E> {
        self.0.push_str(&Transcoded::of(value));
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Write<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Write<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that JSON has")
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.scalar(&value)
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.scalar(&value)
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.scalar(&value)
    }

    fn visit_i128<E>(self, value: i128) -> Result<(), E> {
        self.scalar(&value)
    }

    fn visit_u128<E>(self, value: u128) -> Result<(), E> {
        self.scalar(&value)
    }

    /// What is no number to JSON is `null` to serde_json.
    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.scalar(&value)
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.scalar(value)
    }

    fn visit_bytes<E: de::Error>(self, value: &[u8]) -> Result<(), E> {
        self.scalar(&*String::from_utf8_lossy(value))
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.scalar(&())
    }

    fn visit_none<E>(self) -> Result<(), E> {
        self.scalar(&())
    }

    fn visit_some<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        self.deserialize(value)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        self.deserialize(value)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Self(text) = self;
        text.push('[');
        let begin = text.len();
        loop {
            let before = text.len();
            if before > begin {
                text.push(',');
            }
            if items.next_element_seed(Write(text))?.is_none() {
                text.truncate(before);
                break;
            }
        }
        text.push(']');
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let Self(text) = self;
        text.push('{');
        let begin = text.len();
        loop {
            let before = text.len();
            if before > begin {
                text.push(',');
            }
            if members.next_key_seed(Key(text))?.is_none() {
                text.truncate(before);
                break;
            }
            text.push(':');
            members.next_value_seed(Write(text))?;
        }
        text.push('}');
        Ok(())
    }
}

/// Appends a member's name. Other formats have names that are no strings.
struct Key<'a>(&'a mut String);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<(), E> {
        Write(self.0).scalar(name)
    }

    fn visit_bool<E>(self, name: bool) -> Result<(), E> {
        Write(self.0).scalar(if name { "true" } else { "false" })
    }

    fn visit_i64<E>(self, name: i64) -> Result<(), E> {
        Write(self.0).scalar(&name.to_string())
    }

    fn visit_u64<E>(self, name: u64) -> Result<(), E> {
        Write(self.0).scalar(&name.to_string())
    }
}
