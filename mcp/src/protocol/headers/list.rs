//! Reads a page of `tools/list` for the headers alone: of each tool its name and its annotations, one tool after the
//! other, so that a page costs no more memory than its text.

use super::{HeaderArgument, header_arguments};
use crate::protocol::json::members::members;
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// Tells `each` the name of every tool and its annotated arguments, or what is wrong with them. A tool that is none is
/// skipped. Returns the cursor of the next page; `Err` for what is no page. What is absent, `null` or odd means what it does
/// where the page is typed: no tools, or no next page.
pub(crate) fn read_page(
    page: &str,
    limit: usize,
    mut each: impl FnMut(&str, Result<Vec<HeaderArgument>, &'static str>),
) -> Result<Option<String>, serde_json::Error> {
    let [tools, next] = members(page, ["tools", "nextCursor"])?;
    let next = next.and_then(|next| serde_json::from_str(next.get()).ok());
    let Some(tools) = tools.filter(|tools| tools.get() != "null") else { return Ok(next) };
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
