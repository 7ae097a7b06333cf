//! What strangers wrote, made fit for an error's text: short, and nothing in it but what can be seen.

/// Whether a character does something to the text around it, instead of being seen: control characters, and Unicode's
/// format characters and separators of lines and paragraphs (`Cf`, `Zl`, `Zp`), which can reverse what follows them.
pub(crate) fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}'
            | '\u{8e2}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}'
            | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0001}' | '\u{e0020}'..='\u{e007f}')
}

/// As much of `text` as there is room for in `max` bytes.
pub(crate) fn beginning(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// At most `max` bytes of `text` as readable text.
pub(crate) fn excerpt(text: &[u8], max: usize) -> String {
    const MORE: char = '…';
    let cut = String::from_utf8_lossy(&text[..text.len().min(max)]);
    let mut cut: String =
        cut.chars().map(|c| if is_unseen(c) && c != '\n' { '\u{fffd}' } else { c }).collect();
    // What stands for a damaged or an unseen character is longer than that.
    if text.len() > max || cut.len() > max {
        cut.truncate(beginning(&cut, max.saturating_sub(MORE.len_utf8())).len());
        cut.push(MORE);
    }
    cut.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_seen_is_replaced() {
        for unseen in [
            '\u{0}', '\u{1b}', '\u{ad}', '\u{200b}', '\u{202e}', '\u{2028}', '\u{2029}', '\u{2066}',
            '\u{feff}',
        ] {
            assert_eq!(excerpt(format!("a{unseen}b").as_bytes(), 100), "a\u{fffd}b", "{unseen:?}");
        }
        for seen in ["a\nb", "naïve", "日本", "🦀", "a b"] {
            assert_eq!(excerpt(seen.as_bytes(), 100), seen);
        }
    }

    #[test]
    fn an_excerpt_is_no_longer_than_it_may_be() {
        for max in 3..40 {
            for text in [
                "plain text that is long enough for all",
                "\u{202e}\u{202e}\u{202e}\u{202e}\u{202e}",
                "ää ää ää ää ää ää ää",
            ] {
                let short = excerpt(text.as_bytes(), max);
                assert!(short.len() <= max, "{max}: {short:?}");
                assert_eq!(
                    short.ends_with('…'),
                    text.len() > max || short.len() < text.len(),
                    "{max}: {short:?}"
                );
            }
        }
    }
}
