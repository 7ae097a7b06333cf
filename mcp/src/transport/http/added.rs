//! The headers of the application: which it may add; and [`Added`], those of single requests. An answer, or the stream of all
//! answers, may repeat their values, and no text may show those.

use crate::error::{Error, InvalidInput};
use crate::sync::Mutex;
use ::http::header::{HeaderMap, HeaderName, HeaderValue};
use std::collections::VecDeque;
use std::sync::Arc;

/// What belongs to the transport (HT-18), and to HTTP itself.
const RESERVED: [&str; 13] = [
    "accept",
    "accept-encoding",
    "connection",
    "content-length",
    "content-type",
    "host",
    "last-event-id",
    "mcp-method",
    "mcp-name",
    "mcp-protocol-version",
    "mcp-session-id",
    "proxy-authorization",
    "transfer-encoding",
];

/// A header of the application's.
pub(super) fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), Error> {
    let invalid = |why| Error::invalid(InvalidInput::Header(why));
    let name: HeaderName = name.parse().map_err(|_| invalid("its name is not allowed in HTTP"))?;
    if RESERVED.contains(&name.as_str()) || name.as_str().starts_with("mcp-param-") {
        return Err(invalid("it belongs to the transport"));
    }
    let mut value = HeaderValue::from_str(value).map_err(|_| invalid("its value is not allowed in HTTP"))?;
    value.set_sensitive(true);
    Ok((name, value))
}

/// How many values are remembered. What is secret is added again and again, and so stays among them.
const REMEMBERED: usize = 64;

/// The values that were added last. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Added(Arc<Mutex<VecDeque<HeaderValue>>>);

impl Added {
    pub(super) fn add(&self, headers: &mut HeaderMap, added: &[(String, String)]) -> Result<(), Error> {
        for (name, value) in added {
            let (name, value) = header(name, value)?;
            headers.insert(name, value.clone());
            let left_over = {
                let mut values = self.0.lock();
                let known = values.iter().position(|known| *known == value);
                let known = known.and_then(|place| values.remove(place));
                values.push_back(value);
                known.or_else(|| (values.len() > REMEMBERED).then(|| values.pop_front()).flatten())
            };
            drop(left_over);
        }
        Ok(())
    }

    pub(super) fn values(&self) -> Vec<HeaderValue> {
        self.0.lock().iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_64_values_are_remembered_and_one_that_comes_again_stays() {
        let added = Added::default();
        let add = |value: String| {
            let mut headers = HeaderMap::new();
            added.add(&mut headers, &[("x-a".to_owned(), value.clone())]).unwrap();
            assert_eq!(headers["x-a"], value);
        };
        add("secret".to_owned());
        for number in 0..63 {
            add(number.to_string());
        }
        assert!(added.values().contains(&HeaderValue::from_static("secret")));
        add("secret".to_owned());
        add("63".to_owned());
        let values = added.values();
        assert_eq!(values.len(), 64);
        assert!(values.contains(&HeaderValue::from_static("secret")));
        assert!(!values.contains(&HeaderValue::from_static("0")));
    }
}
