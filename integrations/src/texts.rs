//! Errors, as those see them who print them.

use std::error::Error;

/// An error and its sources.
pub fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// The text of the last source.
pub fn innermost(error: &(dyn Error + 'static)) -> String {
    chain(error).last().map(ToString::to_string).unwrap_or_default()
}

/// Whether an error of this type can be reached.
pub fn has<E: Error + 'static>(error: &(dyn Error + 'static)) -> bool {
    chain(error).any(|error| error.is::<E>())
}

/// Prints an error by hand, through its own `{:#}`, and through anyhow's `{:#}`. Each prints each text once.
///
/// Some crates have errors that say what their source says. Who prints such a chain by hand or through anyhow prints
/// that twice, with and without a session.
///
/// Returns what anyhow prints.
pub fn each_text_once(error: impl Error + Send + Sync + 'static) -> String {
    let mut by_hand: Vec<String> = chain(&error).map(ToString::to_string).collect();
    let all = by_hand.len();
    by_hand.dedup();
    is_said_once(&by_hand.join(": "));
    is_said_once(&format!("{error:#}"));
    let line = format!("{:#}", anyhow::Error::new(error));
    if by_hand.len() == all {
        is_said_once(&line);
    }
    line
}

/// Panics if a text comes twice in a line. Texts are what is between colons and parentheses.
fn is_said_once(line: &str) {
    let mut texts: Vec<&str> = line.split([':', '(', ')']).map(str::trim).collect();
    texts.retain(|text| !text.is_empty());
    texts.sort_unstable();
    for pair in texts.windows(2) {
        assert_ne!(pair[0], pair[1], "said twice in: {line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn a_text_that_comes_once_is_fine() {
        let line = each_text_once(io::Error::from_raw_os_error(104));
        assert!(line.ends_with("(os error 104)"));
    }

    #[test]
    #[should_panic(expected = "said twice")]
    fn a_text_that_comes_twice_is_not() {
        each_text_once(io::Error::other("the session failed: reset (the request itself failed: reset)"));
    }
}
