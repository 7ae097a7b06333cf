//! What a server writes to its standard error: the end of it is kept, and each line told to whoever wants to know.

use super::tail::Tail;
use crate::sync::contain;
use memchr::memchr;
use std::sync::Arc;

/// A line that is longer is told in parts of this length, in bytes; a part ends before a character that does not fit.
pub(super) const LONGEST_LINE: usize = 8 * 1024;

pub(super) type StderrHook = Arc<dyn Fn(&str) + Send + Sync>;

pub(super) struct Stderr {
    tail: Tail,
    hook: Option<StderrHook>,
    /// The line that has begun. Empty without a hook.
    line: Vec<u8>,
}

impl Stderr {
    /// Keeps the last `kept` bytes.
    pub(super) fn new(kept: usize, hook: Option<StderrHook>) -> Self {
        Self { tail: Tail::new(kept), hook, line: Vec::new() }
    }

    /// Sets how many bytes are kept, before anything has come.
    pub(super) fn keep(&mut self, kept: usize) {
        self.tail = Tail::new(kept);
    }

    pub(super) fn push(&mut self, mut bytes: &[u8]) {
        self.tail.push(bytes);
        if self.hook.is_none() {
            return;
        }
        while !bytes.is_empty() {
            let room = LONGEST_LINE - self.line.len();
            let end = memchr(b'\n', &bytes[..bytes.len().min(room + 1)]);
            let taken = end.unwrap_or_else(|| bytes.len().min(room));
            self.line.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken + usize::from(end.is_some())..];
            if end.is_some() {
                self.tell();
            } else if self.line.len() == LONGEST_LINE && !bytes.is_empty() {
                let rest = self.line.split_off(whole_characters(&self.line));
                self.tell();
                self.line.extend_from_slice(&rest);
            }
        }
    }

    /// Nothing more comes.
    pub(super) fn end(&mut self) {
        if !self.line.is_empty() {
            self.tell();
        }
    }

    pub(super) fn tail(&self) -> String {
        self.tail.text()
    }

    fn tell(&mut self) {
        let line = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
        let line = String::from_utf8_lossy(line);
        if let Some(hook) = &self.hook {
            // It is the application's; the panic hook has reported it.
            contain(|| hook(&line));
        }
        self.line.clear();
    }
}

/// How many bytes there are before the character that is cut off at the end, if one is.
fn whole_characters(line: &[u8]) -> usize {
    let end = line.utf8_chunks().last().map_or(&[][..], |last| last.invalid());
    match std::str::from_utf8(end) {
        Err(error) if error.error_len().is_none() => line.len() - end.len(),
        _ => line.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::Mutex;

    fn told(parts: &[&[u8]]) -> Vec<String> {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&lines);
        let mut stderr =
            Stderr::new(10, Some(Arc::new(move |line: &str| heard.lock().push(line.to_owned()))));
        parts.iter().for_each(|part| stderr.push(part));
        stderr.end();
        stderr.end();
        std::mem::take(&mut lines.lock())
    }

    #[test]
    fn lines_are_told_whatever_the_parts_they_come_in() {
        let text = b"one\n\ntwo\r\n\xff\xc3\xbc\nno end";
        let lines = ["one", "", "two", "\u{fffd}\u{fc}", "no end"];
        assert_eq!(told(&[text]), lines);
        for at in 0..text.len() {
            assert_eq!(told(&[&text[..at], &text[at..]]), lines, "{at}");
        }
        let bytes: Vec<_> = text.chunks(1).collect();
        assert_eq!(told(&bytes), lines);
        assert!(told(&[]).is_empty());
    }

    #[test]
    fn a_line_as_long_as_may_be_is_one_and_a_longer_one_comes_in_parts() {
        for parts in [1, 1000, LONGEST_LINE, LONGEST_LINE + 1] {
            for (length, expected) in [
                (LONGEST_LINE, vec![LONGEST_LINE]),
                (LONGEST_LINE + 1, vec![LONGEST_LINE, 1]),
                (2 * LONGEST_LINE, vec![LONGEST_LINE; 2]),
            ] {
                let text = format!("{}\n", "x".repeat(length));
                let chunks: Vec<_> = text.as_bytes().chunks(parts).collect();
                let lengths: Vec<_> = told(&chunks).iter().map(String::len).collect();
                assert_eq!(lengths, expected, "{parts} {length}");
            }
        }
    }

    #[test]
    fn a_line_is_cut_at_the_beginning_of_a_character() {
        for character in ["\u{fc}", "\u{20ac}", "\u{1f600}"] {
            for before in LONGEST_LINE - 5..=LONGEST_LINE {
                let text = format!("{}{character}{}", "x".repeat(before), "y".repeat(10));
                for chunk in [1, 1000, LONGEST_LINE, text.len()] {
                    let parts: Vec<_> = text.as_bytes().chunks(chunk).collect();
                    let told = told(&parts);
                    assert_eq!(told.concat(), text, "{before} {chunk}");
                    let fits = before + character.len() <= LONGEST_LINE;
                    let first = if fits { LONGEST_LINE } else { before };
                    assert_eq!((told.len(), told[0].len()), (2, first), "{character} {before} {chunk}");
                }
            }
        }
        // What is no character is no reason to cut earlier.
        for odd in [&b"\xff"[..], b"\xbf", b"\xe2\x82x", b"\xf0\x9fx"] {
            let text = [&vec![b'x'; LONGEST_LINE - odd.len()], odd, b"y"].concat();
            let told = told(&[&text]);
            assert_eq!(told, [String::from_utf8_lossy(&text[..LONGEST_LINE]).as_ref(), "y"]);
        }
    }

    #[test]
    fn without_a_hook_no_line_is_kept() {
        let mut stderr = Stderr::new(3, None);
        stderr.push(b"a line without an end");
        assert!(stderr.line.capacity() == 0);
        assert_eq!(stderr.tail(), "end");
    }
}
