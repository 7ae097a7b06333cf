//! Reads a page of `tools/list` for the headers alone: of each tool its name and its annotations, one tool after the
//! other, so that a page costs no more memory than its text.

use super::{HeaderArgument, header_arguments};
use crate::protocol::json::members::members;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// Tells `each` the name of every tool and its annotated arguments, or what is wrong with them. A tool that is none is
/// skipped. Returns the cursor of the next page; `Err` for what is no page.
pub(crate) fn read_page(
    page: &str,
    limit: usize,
    mut each: impl FnMut(&str, Result<Vec<HeaderArgument>, &'static str>),
) -> Result<Option<String>, serde_json::Error> {
    let [tools, next] = members(page, ["tools", "nextCursor"])?;
    let tools = tools.ok_or_else(|| serde_json::Error::missing_field("tools"))?;
    let next = next.map_or(Ok(None), |next| serde_json::from_str(next.get()))?;
    let tool = |tool: &RawValue| {
        let Ok([Some(name), schema]) = members(tool.get(), ["name", "inputSchema"]) else { return };
        let Ok(name) = serde_json::from_str::<String>(name.get()) else { return };
        each(&name, header_arguments(schema.map_or("{}", RawValue::get), limit));
    };
    serde_json::Deserializer::from_str(tools.get()).deserialize_seq(Elements(tool))?;
    Ok(next)
}

struct Elements<F>(F);

impl<'de, F: FnMut(&RawValue)> Visitor<'de> for Elements<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut elements: A) -> Result<(), A::Error> {
        while let Some(element) = elements.next_element::<&'de RawValue>()? {
            (self.0)(element);
        }
        Ok(())
    }
}
