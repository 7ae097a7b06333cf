//! [`Added`]: the headers that the application adds to single requests. An answer, or the stream of all answers, may repeat
//! their values, and no text may show those.

use super::endpoint::header;
use crate::error::Error;
use crate::sync::Mutex;
use ::http::header::{HeaderMap, HeaderValue};
use std::collections::VecDeque;
use std::sync::Arc;

/// How many values are remembered. What is secret is added again and again, and so stays among them.
const REMEMBERED: usize = 64;

/// The values that were added last. Clones are the same.
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
