//! The end of what a server has printed.

/// At most so many bytes.
#[derive(Debug)]
pub(super) struct Tail {
    bytes: Vec<u8>,
    limit: usize,
}

impl Tail {
    pub(super) fn new(limit: usize) -> Self {
        Self { bytes: Vec::new(), limit }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        // Of what is longer than all that is kept, only the end need be copied.
        self.bytes.extend_from_slice(&bytes[bytes.len().saturating_sub(self.limit)..]);
        // Cut now and then, not every time: the cost stays linear.
        if self.bytes.len() > self.limit.saturating_mul(2) {
            self.bytes.drain(..self.bytes.len() - self.limit);
        }
    }

    pub(super) fn text(&self) -> String {
        let from = self.bytes.len().saturating_sub(self.limit);
        let mut text = String::from_utf8_lossy(&self.bytes[from..]).into_owned();
        // What stands for a damaged character is longer than that.
        let mut from = text.len().saturating_sub(self.limit);
        while !text.is_char_boundary(from) {
            from += 1;
        }
        text.split_off(from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_kept_and_no_more() {
        for limit in [0, 1, 5, 100] {
            let mut tail = Tail::new(limit);
            for part in ["one", "", "two", "a longer piece", "\u{fc}\u{fc}"] {
                tail.push(part.as_bytes());
            }
            let all = "onetwoa longer piece\u{fc}\u{fc}";
            let text = tail.text();
            assert!(text.len() <= limit, "{limit}: {text:?}");
            assert!(limit < 5 || all.ends_with(text.trim_start_matches('\u{fffd}')), "{limit}: {text:?}");
            assert!(tail.bytes.len() <= 2 * limit);
        }
        let mut tail = Tail::new(usize::MAX);
        tail.push(b"all");
        assert_eq!(tail.text(), "all");
        let mut tail = Tail::new(3);
        tail.push(b"\xff\xff\xff\xff");
        assert_eq!(tail.text(), "\u{fffd}");
    }
}
