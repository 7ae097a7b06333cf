//! Finds the `x-mcp-header` annotations of a tool's input schema in one pass, whatever its form: a
//! server chooses how long and how deep it is.

use super::{HeaderArgument, Property, is_token};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

/// How deep objects and arrays are looked into, which costs stack. Deeper schemas are taken to have no
/// annotations there.
const DEPTH: usize = 96;

const ANNOTATION: &str = "x-mcp-header";

/// How long an annotation and the names of the properties on the way to it may be together, in bytes. Common servers
/// take no longer header; and what is kept of a tool lives as long as the client.
const LENGTH: usize = 4 * 1024;

/// The annotated arguments, of which there may be so many; `Err` says why the schema is invalid (PAR-03).
pub(crate) fn header_arguments(schema: &str, limit: usize) -> Result<Vec<HeaderArgument>, &'static str> {
    let mut found = Found { limit, ..Found::default() };
    let root = Value { place: Place::Schema { is_property: false }, found: &mut found };
    // What is no JSON at all has no annotations.
    let _ = root.deserialize(&mut serde_json::Deserializer::from_str(schema));
    match found.invalid {
        Some(why) => Err(why),
        None => Ok(found.arguments),
    }
}

#[derive(Default)]
struct Found {
    limit: usize,
    arguments: Vec<HeaderArgument>,
    /// Their headers, in lower case.
    headers: HashSet<String>,
    /// The properties on the way.
    path: Vec<Step>,
    depth: usize,
    /// The first reason.
    invalid: Option<&'static str>,
}

/// A property on the way.
struct Step {
    name: String,
    /// Made when the first annotated argument below needs it.
    shared: Option<Arc<Property>>,
}

/// Where a value stands.
#[derive(Clone, Copy)]
enum Place {
    /// A schema that is reached through `properties` alone; the root is no property.
    Schema {
        is_property: bool,
    },
    /// What its `properties` are.
    Properties,
    /// A member of which the text counts.
    Text,
    Anywhere,
}

/// A value that has been read.
enum Read {
    Object,
    Text(String),
    Other,
}

struct Value<'a> {
    place: Place,
    found: &'a mut Found,
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = Read;

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<Read, D::Error> {
        if self.found.depth >= DEPTH {
            return value.deserialize_ignored_any(IgnoredAny).map(|_| Read::Other);
        }
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = Read;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Read, E> {
        Ok(Read::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Read, E> {
        Ok(Read::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Read, E> {
        Ok(Read::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Read, E> {
        Ok(Read::Other)
    }

    fn visit_unit<E>(self) -> Result<Read, E> {
        Ok(Read::Other)
    }

    fn visit_str<E>(self, text: &str) -> Result<Read, E> {
        Ok(match self.place {
            Place::Text => Read::Text(text.to_owned()),
            _ => Read::Other,
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Read, A::Error> {
        self.found.depth += 1;
        while items.next_element_seed(Value { place: Place::Anywhere, found: &mut *self.found })?.is_some() {}
        self.found.depth -= 1;
        Ok(Read::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Read, A::Error> {
        let Self { place, found } = self;
        found.depth += 1;
        // Of duplicates the last one, as everywhere.
        let (mut annotation, mut kind) = (None, None);
        while let Some(name) = members.next_key::<String>()? {
            let next = match (place, &*name) {
                (Place::Properties, _) => Place::Schema { is_property: true },
                (_, ANNOTATION) => Place::Text,
                (Place::Schema { .. }, "type") => Place::Text,
                (Place::Schema { .. }, "properties") => Place::Properties,
                _ => Place::Anywhere,
            };
            let is_annotation = name == ANNOTATION;
            let is_type = name == "type";
            if let Place::Properties = place {
                found.path.push(Step { name, shared: None });
            }
            let read = members.next_value_seed(Value { place: next, found: &mut *found })?;
            if let Place::Properties = place {
                found.path.pop();
            }
            match read {
                // An argument may have that name: then it is an object and no annotation.
                Read::Object => {}
                read if is_annotation => annotation = Some(read),
                read if is_type => kind = Some(read),
                _ => {}
            }
        }
        if let Some(annotation) = annotation {
            let is_property = matches!(place, Place::Schema { is_property: true });
            if let Err(why) = found.annotated(is_property, annotation, kind) {
                found.invalid.get_or_insert(why);
            }
        }
        found.depth -= 1;
        Ok(Read::Object)
    }
}

impl Found {
    fn annotated(
        &mut self,
        is_property: bool,
        annotation: Read,
        kind: Option<Read>,
    ) -> Result<(), &'static str> {
        if !is_property {
            return Err("x-mcp-header is not reached through properties alone");
        }
        let Read::Text(header) = annotation else { return Err("x-mcp-header is not a string") };
        let path: usize = self.path.iter().map(|step| step.name.len()).sum();
        if header.len() + path > LENGTH {
            return Err("x-mcp-header and the names on the way to it are longer than 4 KiB");
        }
        if header.is_empty() || !header.bytes().all(is_token) {
            return Err("x-mcp-header is not a header name");
        }
        if !matches!(kind, Some(Read::Text(kind)) if matches!(&*kind, "string" | "integer" | "boolean")) {
            return Err("x-mcp-header is on an argument that is no string, integer or boolean");
        }
        if !self.headers.insert(header.to_ascii_lowercase()) {
            return Err("two arguments have the same x-mcp-header");
        }
        if self.arguments.len() >= self.limit {
            return Err("more arguments have an x-mcp-header than the limit allows");
        }
        let path = self.shared_path().ok_or("x-mcp-header is not reached through properties alone")?;
        self.arguments.push(HeaderArgument { header, path });
        Ok(())
    }

    fn shared_path(&mut self) -> Option<Arc<Property>> {
        let mut above = None;
        for Step { name, shared } in &mut self.path {
            let here = shared.get_or_insert_with(|| Arc::new(Property { name: name.clone(), above }));
            above = Some(Arc::clone(here));
        }
        above
    }
}
