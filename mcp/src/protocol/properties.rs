//! What holds for any bytes, one function for each fuzz target in `fuzz/`.
//!
//! Each takes any input, and panics if something does not hold. Most compare with the definition,
//! written down once more in the plainest way: all at once, with copies, without limits on memory. The
//! inputs in `tests/corpus` go through them in `tests`.

#![cfg_attr(not(shared_fate_fuzz), allow(unreachable_pub, reason = "public for the fuzz targets alone"))]

mod challenge;
#[cfg(feature = "http")]
mod event_stream;
mod exchange;
mod headers;
mod lines;
mod message;
#[cfg(feature = "oauth")]
mod oauth;
mod object;
#[cfg(test)]
mod tests;

pub use challenge::challenge;
#[cfg(feature = "http")]
pub use event_stream::event_stream;
pub use exchange::exchange;
pub use headers::headers;
pub use lines::lines;
pub use message::message;
#[cfg(feature = "oauth")]
pub use oauth::oauth;
pub use object::object;

use super::bytes::BOM;

/// Decisions are taken from the front of an input; 0 once it has ended.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> u8 {
        let Some((byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *byte
    }

    fn below(&mut self, end: u8) -> u8 {
        self.byte() % end
    }

    /// All that is left, whole, cut here and there, and byte by byte.
    fn cut(mut self) -> [Vec<&'a [u8]>; 3] {
        let count = self.below(8);
        let cuts: Vec<u8> = (0..count).map(|_| self.byte()).collect();
        let text = self.0;
        let mut at: Vec<usize> = cuts.into_iter().map(|cut| usize::from(cut) * text.len() / 255).collect();
        at.extend([0, text.len()]);
        at.sort_unstable();
        let pieces = at.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
        [vec![text], pieces, text.chunks(1).collect()]
    }

    /// Texts that are separated by a zero byte, which JSON and headers do not have.
    fn texts(&self) -> Option<Vec<&'a str>> {
        self.0.split(|byte| *byte == 0).map(|text| std::str::from_utf8(text).ok()).collect()
    }
}

/// The text behind the byte order mark; nothing as long as there is but a part of the mark.
fn without_mark(text: &[u8]) -> &[u8] {
    if BOM.starts_with(text) { &[] } else { text.strip_prefix(BOM).unwrap_or(text) }
}
