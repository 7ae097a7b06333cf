//! [`Json`]: JSON text, read from every deserializer.
//!
//! serde_json hands its own text over as a `RawValue`, without looking into it. Every other deserializer (a value tree, the
//! buffer behind `untagged` and `flatten`, other formats) has no text: there the value is written anew. Both ways begin
//! alike, and only the visitor learns which one it is: serde_json answers a `RawValue`'s request with a map, all others
//! with a newtype.

use super::transcode::Transcoded;
use crate::error::{Error, FormError, InvalidInput};
use serde::de::value::{MapAccessDeserializer, MapDeserializer};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, forward_to_deserialize_any};
use serde_json::Value;
use serde_json::value::RawValue;
use std::fmt;

/// JSON text, kept as it was written.
///
/// It costs its text and nothing more, whatever is in it. It is an ordinary serde type: it reads from text, readers and
/// [`Value`]s, also inside of untagged, flattened and internally tagged types.
///
/// ```
/// use serde_json::{Value, json};
/// use shared_fate_mcp::types::Json;
///
/// let json = Json::from(json!({ "a": [1, 2] }));
/// assert_eq!(json.text(), r#"{"a":[1,2]}"#);
/// assert_eq!(json.to_value()?["a"][0], 1);
///
/// let error = json.parse::<Vec<u8>>().unwrap_err();
/// assert!(error.to_string().contains("Vec<u8>"));
/// # Ok::<(), shared_fate_mcp::types::FormError>(())
/// ```
#[derive(Clone, Serialize)]
#[serde(transparent)]
pub struct Json(Box<RawValue>);

impl Json {
    /// Any serializable value as JSON text.
    ///
    /// # Errors
    ///
    /// When the value cannot be made JSON, for instance a map whose keys are not strings.
    pub fn new<T: Serialize + ?Sized>(value: &T) -> Result<Self, Error> {
        let raw = serde_json::value::to_raw_value(value)
            .map_err(|_| Error::invalid(InvalidInput::Params("they cannot be made JSON")))?;
        Ok(Self(raw))
    }

    /// The JSON text. A string has its quotes.
    pub fn text(&self) -> &str {
        self.0.get()
    }

    /// Whether it is `null`.
    pub fn is_null(&self) -> bool {
        self.text() == "null"
    }

    pub(crate) fn into_raw(self) -> Box<RawValue> {
        self.0
    }

    pub(crate) fn as_raw(&self) -> &RawValue {
        &self.0
    }

    /// The value in it, as a type of the caller's.
    ///
    /// # Errors
    ///
    /// When it does not have `T`'s form. The error names the type.
    pub fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, FormError> {
        serde_json::from_str(self.text()).map_err(FormError::new::<T>)
    }

    /// The value in it, as a tree.
    ///
    /// # Errors
    ///
    /// When it is nested deeper than serde_json goes (128 levels).
    pub fn to_value(&self) -> Result<Value, FormError> {
        self.parse()
    }
}

impl Default for Json {
    /// `null`.
    fn default() -> Self {
        Self(RawValue::NULL.to_owned())
    }
}

impl From<Box<RawValue>> for Json {
    fn from(raw: Box<RawValue>) -> Self {
        Self(raw)
    }
}

impl From<Value> for Json {
    fn from(value: Value) -> Self {
        Self::from(&value)
    }
}

impl From<&Value> for Json {
    fn from(value: &Value) -> Self {
        Self(
            serde_json::value::to_raw_value(value)
                .expect("a tree has strings for keys, and no other numbers than JSON's"),
        )
    }
}

impl TryFrom<Json> for Value {
    type Error = FormError;

    fn try_from(json: Json) -> Result<Self, FormError> {
        json.to_value()
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl PartialEq for Json {
    /// By value: `{"a":1,"b":2}` and `{ "b": 2, "a": 1 }` are equal. Texts that are equal are not looked into.
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
            || matches!((self.to_value(), other.to_value()), (Ok(this), Ok(other)) if this == other)
    }
}

impl Eq for Json {}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(EitherWay(deserializer)).map(Self)
    }
}

/// Passes a `RawValue`'s request on, and puts [`Answer`] before the `RawValue`'s visitor.
struct EitherWay<D>(D);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for EitherWay<D> {
    type Error = D::Error;

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        raw: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_newtype_struct(name, Answer { name, raw })
    }

    fn deserialize_any<V: Visitor<'de>>(self, raw: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(raw)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct seq
        tuple tuple_struct map struct enum identifier ignored_any
    }
}

struct Answer<V> {
    name: &'static str,
    raw: V,
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Answer<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    /// serde_json's own text.
    fn visit_map<A: MapAccess<'de>>(self, text: A) -> Result<V::Value, A::Error> {
        self.raw.visit_map(text)
    }

    /// Anything else is written as text, and handed over as serde_json would.
    fn visit_newtype_struct<D: Deserializer<'de>>(self, value: D) -> Result<V::Value, D::Error> {
        let Transcoded(text) = Transcoded::deserialize(value)?;
        let text = MapDeserializer::new([(self.name, text)].into_iter());
        MapAccessDeserializer::new(text).deserialize_any(self.raw)
    }
}
