//! What a server writes to its standard error: the end of it is kept, and each line told to whoever wants to know.

use super::tail::Tail;
use crate::sync::contain;
use memchr::memchr;
use std::sync::Arc;

/// A line that is longer is told in parts of this length, in bytes.
pub(super) const LONGEST_LINE: usize = 8 * 1024;

pub(super) type StderrHook = Arc<dyn Fn(&str) + Send + Sync>;

pub(super) struct Stderr {
    tail: Tail,
    hook: Option<StderrHook>,
    /// The line that has begun. Empty without a hook.
    line: Vec<u8>,
}

impl Stderr {
    /// Keeps so many bytes.
    pub(super) fn new(kept: usize, hook: Option<StderrHook>) -> Self {
        Self { tail: Tail::new(kept), hook, line: Vec::new() }
    }

    /// Before anything has come.
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
            if end.is_some() || (self.line.len() == LONGEST_LINE && !bytes.is_empty()) {
                self.tell();
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
    fn without_a_hook_no_line_is_kept() {
        let mut stderr = Stderr::new(3, None);
        stderr.push(b"a line without an end");
        assert!(stderr.line.capacity() == 0);
        assert_eq!(stderr.tail(), "end");
    }
}
