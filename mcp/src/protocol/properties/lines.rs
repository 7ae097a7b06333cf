//! Lines are those of the definition, however they are cut, and within their limit.

use super::super::lines::{Line, LineDecoder};
use super::super::message::recover_id::Scan;
use super::{Input, without_mark};

#[derive(Debug, PartialEq)]
enum Seen {
    Complete(Vec<u8>),
    Oversized(Vec<u8>),
    Endless,
}

/// A byte for the limit, cuts, a stream.
pub fn lines(input: &[u8]) {
    let mut input = Input(input);
    // Oversized lines are shown up to 256 bytes.
    let max = match input.byte() {
        255 => 5000,
        max => usize::from(max % 32),
    };
    let chunkings = input.cut();
    let (expected, rest, oversized) = defined(max, &chunkings[0].concat());
    let is_endless = oversized.as_ref().is_some_and(|(_, is_endless)| *is_endless);
    let oversized = oversized.map(|(seen, _)| seen);
    // An oversized line that has no end yet is reported as soon as it is known whose reply it is.
    let mut early = None;
    for chunks in &chunkings {
        let (mut seen, partial) = decoded(max, chunks);
        if is_endless {
            assert_eq!(seen.pop(), Some(Seen::Endless), "{chunks:?}");
        }
        let reported = seen.len() > expected.len();
        if reported {
            assert_eq!(seen.pop(), oversized, "{chunks:?}");
        }
        assert_eq!(*early.get_or_insert(reported), reported, "{chunks:?}");
        assert_eq!((&seen, &partial), (&expected, &rest), "{chunks:?}");
    }
}

fn decoded(max: usize, chunks: &[&[u8]]) -> (Vec<Seen>, Vec<u8>) {
    let mut decoder = LineDecoder::new(max);
    let mut seen = Vec::new();
    for chunk in chunks {
        decoder.feed(chunk, |line| {
            seen.push(match line {
                Line::Complete(line) => Seen::Complete(line.to_owned()),
                Line::Oversized { prefix, .. } => Seen::Oversized(prefix.to_owned()),
                Line::Endless => Seen::Endless,
            });
        });
        assert!(decoder.partial().len() <= max + 1);
    }
    (seen, decoder.partial().to_owned())
}

/// The lines, what is left, and what may be said of that: what it is reported as, and whether it is endless, too.
fn defined(max: usize, text: &[u8]) -> (Vec<Seen>, Vec<u8>, Option<(Seen, bool)>) {
    let mut lines: Vec<_> = without_mark(text).split(|byte| *byte == b'\n').collect();
    let rest = lines.pop().unwrap_or_default();
    let oversized = |line: &[u8]| Seen::Oversized(line[..max.min(256)].to_owned());
    let mut seen = Vec::new();
    for whole in lines {
        let line = whole.strip_suffix(b"\r").unwrap_or(whole);
        if line.len() > max {
            seen.push(oversized(line));
            if is_endless(max, whole) {
                seen.push(Seen::Endless);
            }
        } else if !line.iter().all(u8::is_ascii_whitespace) {
            seen.push(Seen::Complete(line.to_owned()));
        }
    }
    // A CR may belong to its end.
    if rest.strip_suffix(b"\r").unwrap_or(rest).len() > max {
        return (seen, Vec::new(), Some((oversized(rest), is_endless(max, rest))));
    }
    (seen, rest.to_owned(), None)
}

/// Whether a line goes on for too long: for five times as long as it may be, or for a hundred times if what stands before
/// that place makes it a reply to us.
fn is_endless(max: usize, line: &[u8]) -> bool {
    let mut scan = Scan::default();
    scan.feed(&line[..line.len().min(5 * max + 1)]);
    line.len() > max * if scan.id().is_some() { 100 } else { 5 }
}
