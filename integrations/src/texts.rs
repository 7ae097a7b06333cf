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
/// There are libraries whose errors say their source in their own text, too. Then a printer of chains says it twice,
/// and only the `{:#}` is looked at.
///
/// Returns what anyhow prints.
pub fn each_text_once(error: impl Error + Send + Sync + 'static) -> String {
    let by_hand: Vec<String> = chain(&error).map(ToString::to_string).collect();
    // What is not ours.
    let is_ours = |text: &&String| ["the session", "the request"].iter().any(|ours| text.starts_with(ours));
    let library = by_hand.iter().skip_while(is_ours).map(String::as_str).collect::<Vec<_>>().join(": ");
    let library_repeats = said_twice(&library).is_some();
    is_said_once(&format!("{error:#}"));
    let line = format!("{:#}", anyhow::Error::new(error));
    if !library_repeats {
        is_said_once(&by_hand.join(": "));
        is_said_once(&line);
    }
    line
}

/// Panics if a text comes twice in a line.
fn is_said_once(line: &str) {
    assert_eq!(said_twice(line), None, "said twice in: {line}");
}

/// A text that comes twice in a line. Texts are what is between colons, not those of a path, and parentheses.
fn said_twice(line: &str) -> Option<&str> {
    let mut texts: Vec<&str> =
        line.split(['(', ')']).flat_map(|text| text.split(": ")).map(str::trim).collect();
    texts.retain(|text| !text.is_empty());
    texts.sort_unstable();
    texts.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
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
