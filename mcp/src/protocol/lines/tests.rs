//! Unit tests of `protocol::lines`.

use proptest::prelude::*;

use super::*;

#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Complete(Vec<u8>),
    Oversized(Option<u64>, Vec<u8>),
    Endless,
}

fn feed(decoder: &mut LineDecoder, chunk: &[u8], seen: &mut Vec<Seen>) {
    decoder.feed(chunk, |line| {
        seen.push(match line {
            Line::Complete(line) => Seen::Complete(line.to_vec()),
            Line::Oversized { id, prefix } => Seen::Oversized(id, prefix.to_vec()),
            Line::Endless => Seen::Endless,
        });
    });
}

fn decode(max: usize, chunks: &[&[u8]]) -> (Vec<Seen>, Vec<u8>) {
    let mut decoder = LineDecoder::new(max);
    let mut seen = Vec::new();
    for chunk in chunks {
        feed(&mut decoder, chunk, &mut seen);
    }
    (seen, decoder.partial().to_vec())
}

fn complete(lines: &[&str]) -> Vec<Seen> {
    lines.iter().map(|line| Seen::Complete(line.as_bytes().to_vec())).collect()
}

#[test]
fn io_03_lf_and_crlf_end_a_line_and_blank_lines_are_skipped() {
    let (seen, partial) = decode(10, &[b"a\nb\r\n\n\r\n \t\r\n c \nd\re\n"]);
    assert_eq!(seen, complete(&["a", "b", " c ", "d\re"]));
    assert!(partial.is_empty());
}

#[test]
fn io_03_a_byte_order_mark_before_the_first_line_is_skipped() {
    assert_eq!(
        decode(1, &[b"\xEF\xBB\xBFa\n\xEF\n"]).0,
        [Seen::Complete(b"a".to_vec()), Seen::Complete(b"\xEF".to_vec()),]
    );
    let (seen, partial) = decode(9, &[b"\xEF", b"\xBB", b"a\n"]);
    assert_eq!((seen, partial), (vec![Seen::Complete(b"\xEF\xBBa".to_vec())], vec![]));
    assert_eq!(decode(9, &[b"\xEF\xBB\xBF\xEF\xBB\xBFa\n"]).0, complete(&["\u{feff}a"]));
}

#[test]
fn io_04_chunks_split_lines_and_characters_anywhere() {
    let (seen, partial) = decode(10, &[b"a\xC3", b"", b"\xA9b\r", b"\nc", b"\n\xC3"]);
    assert_eq!(seen, complete(&["a\u{e9}b", "c"]));
    assert_eq!(partial, b"\xC3");
}

#[test]
fn io_04_an_unterminated_tail_is_no_message() {
    let (seen, partial) = decode(10, &[b"a\n{\"id\"", b":7"]);
    assert_eq!((seen, partial.as_slice()), (complete(&["a"]), b"{\"id\":7".as_slice()));
}

#[test]
fn io_04_a_line_in_one_chunk_is_not_copied() {
    let chunk = b"first\nsecond\npart";
    let mut decoder = LineDecoder::new(10);
    let mut offsets = Vec::new();
    decoder.feed(chunk, |line| {
        if let Line::Complete(line) = line {
            offsets.push(line.as_ptr().addr() - chunk.as_ptr().addr());
        }
    });
    assert_eq!(offsets, [0, 6]);
}

#[test]
fn io_05_a_line_may_be_as_long_as_the_limit() {
    for end in ["\n", "\r\n"] {
        for chunks in [vec![format!("1234{end}")], vec!["123".into(), "4".into(), end.into()]] {
            let chunks: Vec<&[u8]> = chunks.iter().map(String::as_bytes).collect();
            assert_eq!(decode(4, &chunks).0, complete(&["1234"]));
            assert_eq!(decode(3, &chunks).0, [Seen::Oversized(None, b"123".to_vec())]);
        }
    }
    assert_eq!(decode(4, &[b"1234\r", b"\n"]).0, complete(&["1234"]));
    assert_eq!(decode(4, &[b"1234\r", b"5\n"]).0, [Seen::Oversized(None, b"1234".to_vec())]);
    assert_eq!(decode(4, &[b"1234\r\r\n"]).0, [Seen::Oversized(None, b"1234".to_vec())]);
}

#[test]
fn io_05_an_oversized_line_is_reported_at_once_and_only_once() {
    let mut decoder = LineDecoder::new(4);
    let mut seen = Vec::new();
    feed(&mut decoder, b"ok\n1234", &mut seen);
    assert_eq!(seen, complete(&["ok"]));
    feed(&mut decoder, b"5", &mut seen);
    assert_eq!(seen[1..], [Seen::Oversized(None, b"1234".to_vec())]);
    assert!(decoder.partial().is_empty());
    feed(&mut decoder, b"6789\r\r", &mut seen);
    feed(&mut decoder, b"0", &mut seen);
    assert_eq!(seen.len(), 2);
    feed(&mut decoder, b"\r\nnext\nlast", &mut seen);
    assert_eq!(seen[2..], complete(&["next"]));
    assert_eq!(decoder.partial(), b"last");
}

#[test]
fn io_05_the_prefix_of_an_oversized_line_is_short() {
    let line = [vec![b'x'; PREFIX], vec![b'y'; PREFIX], vec![b'\n']].concat();
    let expected = [Seen::Oversized(None, vec![b'x'; PREFIX])];
    assert_eq!(decode(PREFIX + 10, &[&line]).0, expected);
    assert_eq!(decode(PREFIX + 10, &[&line[..PREFIX + 5], &line[PREFIX + 5..]]).0, expected);
    assert_eq!(decode(PREFIX + 10, &[&line[..5], &line[5..]]).0, expected);
}

#[test]
fn io_05_memory_is_bounded_and_given_back() {
    let max = 1 << 20;
    let mut decoder = LineDecoder::new(max);
    let mut seen = Vec::new();
    for _ in 0..max / 1000 {
        feed(&mut decoder, &[b'x'; 1000], &mut seen);
        assert!(decoder.partial.capacity() <= max + 1);
    }
    assert!(decoder.partial.capacity() > max / 2);
    feed(&mut decoder, b"\n", &mut seen);
    assert!(decoder.partial.capacity() <= 64 * 1024);
    for _ in 0..max / 1000 + 2 {
        feed(&mut decoder, &[b'x'; 1000], &mut seen);
    }
    assert!(matches!(decoder.skipping, Skipping::Reported { .. }) && decoder.partial.capacity() <= 64 * 1024);
    assert!(matches!(seen[..], [Seen::Complete(_), Seen::Oversized(..)]));
}

/// An oversized line is a reply, and says whose only after the result.
#[test]
fn io_05_an_id_behind_what_is_oversized_is_found() {
    let big = "x".repeat(3 * PREFIX);
    let line = format!(r#"{{"jsonrpc":"2.0","result":{{"id":1,"a":["{big}",{{}}]}},"id":42}}"#);
    let expected = [Seen::Oversized(Some(42), line.as_bytes()[..PREFIX].to_vec())];
    for end in ["\n", "\r\n", " \n"] {
        let text = line.clone() + end;
        assert_eq!(decode(PREFIX, &[text.as_bytes()]).0, expected);
        for size in [1, 7, PREFIX, text.len() - 2] {
            assert_eq!(decode(PREFIX, &text.as_bytes().chunks(size).collect::<Vec<_>>()).0, expected);
        }
    }
}

#[test]
fn io_05_an_oversized_reply_is_reported_as_soon_as_it_is_known_whose_it_is() {
    let mut decoder = LineDecoder::new(20);
    let mut seen = Vec::new();
    feed(&mut decoder, br#"{"jsonrpc":"2.0","id":42,"#, &mut seen);
    feed(&mut decoder, br#""result":"#, &mut seen);
    assert_eq!(seen, [], "it may be a request");
    assert!(decoder.partial().is_empty());
    feed(&mut decoder, br#"{"#, &mut seen);
    assert_eq!(seen, [Seen::Oversized(Some(42), br#"{"jsonrpc":"2.0","id"#.to_vec())]);
    feed(&mut decoder, b"}}\nnext\n", &mut seen);
    assert_eq!(seen[1..], complete(&["next"]));
    seen.clear();
    feed(&mut decoder, br#"{"id":42,"params":"xxxxxxxxxxxx""#, &mut seen);
    feed(&mut decoder, br#","method":"ping"}"#, &mut seen);
    assert_eq!(seen, [Seen::Oversized(None, br#"{"id":42,"params":"x"#.to_vec())], "the peer's own request");
}

#[test]
fn io_05_no_limit_overflows() {
    assert_eq!(decode(usize::MAX, &[b"a", b"b\n"]).0, complete(&["ab"]));
    let nothing = Seen::Oversized(None, Vec::new());
    assert_eq!(decode(0, &[b"\r", b"\n", b"a\n"]).0, [nothing, Seen::Endless]);
}

/// The same with pieces of a reply somewhere in it.
fn with_a_reply(bytes: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let pieces = ["{", "}", r#""id":7"#, r#""result":"#, "{\"a\":[", "]}", r#""\"""#, ",", "1", "\n"];
    let pieces = prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..12);
    (pieces, any::<prop::sample::Index>()).prop_map(move |(pieces, at)| {
        let at = at.index(bytes.len() + 1);
        [&bytes[..at], pieces.concat().as_bytes(), &bytes[at..]].concat()
    })
}

proptest! {
    #[test]
    fn io_04_the_lines_do_not_depend_on_the_chunks(
        bytes in prop::collection::vec(prop::sample::select(b"\xEF\xBB\xBF\r\n\na bc".to_vec()), 0..60)
            .prop_flat_map(with_a_reply),
        bom: bool,
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        max in 0..8_usize,
    ) {
        let bytes = if bom { [b"\xEF\xBB\xBF".as_slice(), &bytes].concat() } else { bytes };
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let chunks: Vec<_> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        let single: Vec<_> = bytes.chunks(1).collect();
        let whole = decode(max, &[&bytes]);
        prop_assert_eq!(&decode(max, &chunks), &whole);
        prop_assert_eq!(&decode(max, &single), &whole);
    }
}

#[test]
fn a_reply_to_us_is_endless_at_a_hundred_times_the_limit() {
    for (length, endless) in [(1000, 0), (1001, 1)] {
        let text = format!(r#"{{"id":7,"result":"{}"#, "x".repeat(length - 18));
        for chunk in [1, 7, 999, 1001] {
            let chunks: Vec<_> = text.as_bytes().chunks(chunk).collect();
            let (seen, _) = decode(10, &chunks);
            assert!(matches!(seen[0], Seen::Oversized(Some(7), _)), "{length} bytes by {chunk}: {seen:?}");
            assert_eq!(seen.len() - 1, endless, "{length} bytes by {chunk}");
        }
    }
}

#[test]
fn a_line_is_endless_at_five_times_the_limit() {
    for (length, endless) in [(5, 0), (50, 0), (51, 1), (500, 1)] {
        let text = "x".repeat(length);
        for chunk in [1, 7, 50, 51, 500] {
            for end in ["", "\n"] {
                let text = text.clone() + end;
                let chunks: Vec<_> = text.as_bytes().chunks(chunk).collect();
                let (seen, _) = decode(10, &chunks);
                let count = seen.iter().filter(|seen| **seen == Seen::Endless).count();
                assert_eq!(count, endless, "{length} bytes by {chunk}, {end:?}");
            }
        }
    }
}

/// Whose reply a line is may be known only behind the place where it is too long.
#[test]
fn what_is_endless_does_not_depend_on_the_chunks() {
    let whole = |max, text: &str| {
        let (seen, _) = decode(max, &[text.as_bytes()]);
        assert_eq!(decode(max, &text.as_bytes().chunks(1).collect::<Vec<_>>()).0, seen, "{text}");
        seen
    };
    let nobody = |prefix: &str| Seen::Oversized(None, prefix.as_bytes().to_vec());
    assert_eq!(whole(0, "{\"id\":7}x\n"), [nobody(""), Seen::Endless]);
    // The id comes after five times the limit: the line is nobody's by then.
    assert_eq!(whole(4, "{\"result\":\"xxxxxxxx\",\"id\":7}\n"), [nobody("{\"re"), Seen::Endless]);
    // The id comes before, and then it turns out to be a request of the server's: it has been given more time by then.
    assert_eq!(whole(4, "{\"id\":7,\"params\":\"xxxxxxxx\",\"method\":\"ping\"}\n"), [nobody("{\"id")]);
    // The id comes before, then another one that is not ours, and then one that is. The last one wins.
    let ids = "{\"id\":7,\"x\":\"xxxxxxxx\",\"id\":\"x\",\"id\":8,\"result\":1}\n";
    assert_eq!(whole(4, ids), [Seen::Oversized(Some(8), b"{\"id".to_vec())]);
}
