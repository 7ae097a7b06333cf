//! Unit tests of `protocol::event_stream`.

use proptest::prelude::*;

use super::*;

/// What a decoder has made of its chunks.
#[derive(Debug, PartialEq, Eq)]
struct Decoded {
    events: Vec<Event>,
    cursor: Option<String>,
    retry: Option<u64>,
    fed: Result<(), EventTooLarge>,
    rest: Option<Rest>,
}

fn decode_within(max: usize, chunks: &[&[u8]]) -> Decoded {
    let mut decoder = EventDecoder::new(max);
    let mut events = Vec::new();
    let mut fed = Ok(());
    for chunk in chunks {
        fed = decoder.feed(chunk, |event| events.push(event));
    }
    let cursor = decoder.last_event_id().map(str::to_owned);
    let retry = decoder.retry_millis();
    Decoded { events, cursor, retry, fed, rest: decoder.rest() }
}

fn decode(text: &str) -> Decoded {
    let decoded = decode_within(usize::MAX, &[text.as_bytes()]);
    assert_eq!(decoded.fed, Ok(()));
    decoded
}

fn events(text: &str) -> Vec<Event> {
    decode(text).events
}

fn cursor(text: &str) -> Option<String> {
    decode(text).cursor
}

fn event(name: Option<&str>, data: &str) -> Event {
    Event { name: name.map(str::to_owned), data: data.as_bytes().to_vec() }
}

fn message(data: &str) -> Event {
    event(None, data)
}

#[test]
fn sse_01_lines_end_with_lf_cr_or_crlf() {
    for text in ["data:a\n\ndata:b\n\n", "data:a\r\rdata:b\r\r", "data:a\r\n\r\ndata:b\r\n\r\n"] {
        assert_eq!(events(text), [message("a"), message("b")], "{text:?}");
    }
    assert_eq!(events("data:a\n\rdata:b\r\n\n"), [message("a"), message("b")]);
}

#[test]
fn sse_01_cr_and_lf_in_different_chunks_end_one_line() {
    let chunks: [&[u8]; 5] = [b"data:a\r", b"", b"\ndata:b\r", b"\n", b"\r\n"];
    assert_eq!(decode_within(99, &chunks).events, [message("a\nb")]);
}

#[test]
fn sse_01_one_byte_order_mark_is_dropped() {
    assert_eq!(events("\u{feff}data:a\n\n"), [message("a")]);
    assert_eq!(events("\u{feff}\u{feff}data:a\n\n"), []);
    assert_eq!(events("data:a\n\n\u{feff}data:b\n\n"), [message("a")]);
    let chunks: [&[u8]; 4] = [b"\xEF", b"\xBB", b"\xBFdata:a\n", b"\n"];
    assert_eq!(decode_within(99, &chunks).events, [message("a")]);
}

#[test]
fn sse_01_data_is_not_decoded() {
    let decoded = decode_within(99, &[b"data:\xC3", b"\xA9\xFF\n\n"]);
    assert_eq!(decoded.events, [Event { name: None, data: b"\xC3\xA9\xFF".to_vec() }]);
}

#[test]
fn sse_02_fields_are_split_at_the_first_colon() {
    for (text, data) in [
        ("data:a:b\n\n", "a:b"),
        ("data: a\n\n", "a"),
        ("data:  a \n\n", " a "),
        ("data:\ta\n\n", "\ta"),
        ("data\n\n", ""),
        ("data:\n\n", ""),
        (":c\ndata:a\n: data:x\n:\n\n", "a"),
        ("data:a\nDATA:x\n data:x\nfoo:x\nbar\n\n", "a"),
    ] {
        assert_eq!(events(text), [message(data)], "{text:?}");
    }
}

#[test]
fn sse_03_data_lines_are_joined_and_a_blank_line_dispatches() {
    assert_eq!(events("data:a\ndata\ndata: b\n\n"), [message("a\n\nb")]);
    assert_eq!(events("data\ndata\n\n"), [message("\n")]);
    assert_eq!(events("\n\ndata:a\n\n\n\ndata:b\n\n"), [message("a"), message("b")]);
}

#[test]
fn sse_03_an_unfinished_event_is_discarded() {
    assert_eq!(events("data:a\n\nid:1\ndata:b\n"), [message("a")]);
    assert_eq!(cursor("data:a\n\nid:1\ndata:b\n"), None);
    assert_eq!(events("data:a"), []);
}

#[test]
fn sse_03_what_is_unfinished_at_the_end_is_for_people() {
    for (text, name, last) in [
        ("data:a\n", None, "a"),
        ("data:a", None, "a"),
        ("data:a\n\nevent:x\ndata:b\ndata", Some("x"), "b\n"),
    ] {
        assert_eq!(decode(text).rest, Some(Rest::Unfinished(event(name, last))), "{text:?}");
    }
    for (text, foreign) in [
        ("foo", "foo\n"),
        (":comment\n{\r\n  \"a\": 1\r\n}\r\n", "{\n  \"a\": 1\n}\n"),
        ("<p>\n\n</p>", "<p>\n</p>\n"),
    ] {
        assert_eq!(decode(text).rest, Some(Rest::Foreign(foreign.into())), "{text:?}");
    }
    for text in
        ["", ":comment", "data:a\n\n", "id:1\nfoo", "event:x\n", "foo\nretry:1\n", "foo\ndata:a\n\nfoo"]
    {
        assert_eq!(decode(text).rest, None, "{text:?}");
    }
    let mut decoder = EventDecoder::new(99);
    decoder.feed(b"id:1\n\nid:2\ndata:a", |_| {}).expect("within the limit");
    assert!(decoder.rest().is_some());
    assert_eq!((decoder.rest(), decoder.last_event_id()), (None, Some("1")));
}

#[test]
fn sse_08_what_is_no_stream_of_events_is_kept_up_to_the_limit() {
    for (max, last) in [(8, "foo\nfoo\n"), (7, "foo\n")] {
        let decoded = decode_within(max, &[b"foo\n\nfoo"]);
        assert_eq!((decoded.rest, decoded.fed), (Some(Rest::Foreign(last.into())), Ok(())));
    }
    let mut decoder = EventDecoder::new(99);
    decoder.feed(b"foo\n\n", |_| {}).expect("within the limit");
    assert!(decoder.held() >= 4);
    decoder.feed(b"data\n\n", |_| {}).expect("within the limit");
    assert_eq!(decoder.held(), 0);
}

#[test]
fn sse_04_the_type_belongs_to_one_event() {
    assert_eq!(
        events("event: endpoint\ndata:a\n\ndata:b\n\nevent:message\ndata:c\nevent:\n\n"),
        [event(Some("endpoint"), "a"), message("b"), message("c")]
    );
    assert_eq!(events("event:ping\n\ndata:a\n\n"), [message("a")]);
    let decoded = decode_within(99, &[b"event:\xFF\ndata:a\n\n"]);
    assert_eq!(decoded.events, [event(Some("\u{fffd}"), "a")]);
}

#[test]
fn sse_05_an_id_sets_the_cursor_when_its_event_is_dispatched() {
    assert_eq!(cursor("id: 1\ndata:a\n"), None);
    assert_eq!(cursor("id: 1\ndata:a\n\n"), Some("1".into()));
    assert_eq!(cursor("id:1\nid:2\ndata:a\n\ndata:b\n\n"), Some("2".into()));
    assert_eq!(cursor("id:1\n\nid:2\n"), Some("1".into()));
}

#[test]
fn sse_05_an_event_without_data_sets_the_cursor() {
    let decoded = decode("id: 1\ndata:\n\n");
    assert_eq!((decoded.events, decoded.cursor), (vec![message("")], Some("1".into())));
    let decoded = decode("id: 1\n\n");
    assert_eq!((decoded.events, decoded.cursor), (vec![message("")], Some("1".into())));
}

#[test]
fn sse_05_empty_id_clears_the_cursor() {
    assert_eq!(cursor("id:1\n\nid\n"), Some("1".into()));
    for text in ["id:1\n\nid\n\n", "id:1\n\nid:\n\n", "id:1\n\nid: \ndata:a\n\n"] {
        assert_eq!(cursor(text), Some(String::new()), "{text:?}");
        assert_eq!(events(text).len(), 2);
    }
}

#[test]
fn sse_05_an_id_with_nul_is_ignored() {
    assert_eq!(cursor("id:1\n\nid:a\0b\n\n"), Some("1".into()));
    assert_eq!(events("id:a\0b\n\n"), []);
}

#[test]
fn sec_07_an_id_unfit_for_a_header_is_ignored() {
    for id in ["a\x01", "\x1b[0m", "a\x7f"] {
        assert_eq!(cursor(&format!("id:1\n\nid:{id}\ndata:a\n\n")), Some("1".into()), "{id:?}");
    }
    assert_eq!(decode_within(99, &[b"id:\xFF\ndata:a\n\n"]).cursor, None);
    assert_eq!(cursor("id:a\tb \u{e9}\n\n"), Some("a\tb \u{e9}".into()));
}

#[test]
fn sse_06_retry_is_taken_at_once_and_counts_as_news() {
    assert_eq!(decode("retry: 1500\n").retry, Some(1500));
    let decoded = decode("retry:0020\n\nretry:7\n\n");
    assert_eq!((decoded.events, decoded.retry), (vec![message(""), message("")], Some(7)));
}

#[test]
fn sse_06_a_retry_that_is_no_number_is_ignored() {
    for value in ["", "-1", "+1", "1.5", "1s", " 1", "1 ", "\u{0661}"] {
        let decoded = decode(&format!("retry:5\n\nretry: {value}\n\n"));
        assert_eq!((decoded.retry, decoded.events.len()), (Some(5), 1), "{value:?}");
    }
}

#[test]
fn sse_06_retry_is_bounded() {
    for (value, expected) in [
        ("4294967295", MAX_RETRY_MILLIS),
        ("4294967296", MAX_RETRY_MILLIS),
        ("99999999999999999999999999", MAX_RETRY_MILLIS),
        ("4294967294", MAX_RETRY_MILLIS - 1),
        ("86400000", 86_400_000),
    ] {
        assert_eq!(decode(&format!("retry:{value}\n")).retry, Some(expected));
    }
}

#[test]
fn sse_07_events_that_carry_nothing_are_not_reported() {
    assert_eq!(events("\n\n:comment\n\nfoo:bar\n\nevent:x\n\nretry:x\n\n"), []);
}

#[test]
fn sse_08_an_event_may_be_as_long_as_the_limit() {
    let text: &[u8] = b":long comment\nevent:ab\r\ndata:12345\r\n:other comment\r\n\ndata:1\n\n";
    let counted = "event:ab".len() + "data:12345".len();
    for chunks in [vec![text], text.chunks(1).collect()] {
        let decoded = decode_within(counted, &chunks);
        assert_eq!(decoded.events, [event(Some("ab"), "12345"), message("1")]);
        assert_eq!(decoded.fed, Ok(()));
        let decoded = decode_within(counted - 1, &chunks);
        assert_eq!(decoded.events, []);
        assert_eq!(decoded.fed, Err(EventTooLarge { limit: counted - 1 }));
    }
}

#[test]
fn sse_08_an_oversized_event_fails_before_its_end_and_for_good() {
    let mut decoder = EventDecoder::new(10);
    let mut events = Vec::new();
    assert_eq!(decoder.feed(b"data:a\n\ndata:12345", |event| events.push(event)), Ok(()));
    let too_large = Err(EventTooLarge { limit: 10 });
    assert_eq!(decoder.feed(b"6", |event| events.push(event)), too_large);
    assert_eq!(decoder.partial.capacity(), 0);
    assert_eq!(decoder.feed(b"\n\ndata:b\n\n", |event| events.push(event)), too_large);
    assert_eq!(events, [message("a")]);
    assert_eq!(EventTooLarge { limit: 10 }.to_string(), "event is longer than 10 bytes");
}

#[test]
fn sse_08_empty_data_lines_count() {
    let chunk = b"data\n".repeat(3);
    assert_eq!(decode_within(12, &[&chunk]).fed, Ok(()));
    assert_eq!(decode_within(11, &[&chunk]).fed, Err(EventTooLarge { limit: 11 }));
}

#[test]
fn sse_08_memory_is_bounded_and_given_back() {
    let max = 1 << 20;
    let mut decoder = EventDecoder::new(max);
    decoder.feed(b"data:", |_| {}).expect("within the limit");
    for _ in 0..max / 1024 - 1 {
        decoder.feed(&[b'x'; 1024], |_| {}).expect("within the limit");
        assert!(decoder.partial.capacity() <= max);
    }
    let mut len = 0;
    decoder.feed(b"\n\n", |event| len = event.data.len()).expect("within the limit");
    assert_eq!(len, max - 1024);
    assert!(decoder.partial.capacity() <= 64 * 1024);
}

#[test]
fn sse_08_all_that_is_held_is_counted() {
    const LONG: usize = 10_000;
    let held = |text: &[u8]| {
        let mut decoder = EventDecoder::new(usize::MAX);
        decoder.feed(text, |_| {}).expect("within the limit");
        decoder.held()
    };
    let line = |field: &str, end: &str| format!("{field}:{}{end}", "x".repeat(LONG)).into_bytes();
    for (field, after) in [("data", 0), ("event", 0), ("id", LONG)] {
        assert_eq!(held(&line(field, "\n")), LONG, "{field}");
        assert_eq!(held(&line(field, "\n\n")), after, "{field}: the last id is kept");
        assert!(held(&line(field, "")) >= LONG, "{field}");
    }
    assert_eq!(held(&[line("id", "\n\n"), line("id", "\n")].concat()), 2 * LONG);
    assert!(held(&[b"event:", [0xff; LONG].as_slice(), b"\n"].concat()) <= LONG, "no type grows");
}

#[test]
fn sse_10_endless_comments_cost_no_memory() {
    let mut decoder = EventDecoder::new(8);
    let mut count = 0;
    decoder.feed(b"data:a\n:", |_| count += 1).expect("comments do not count");
    for _ in 0..10_000 {
        decoder.feed(b"comment\n\n:comment\r\r\n: and so on", |_| count += 1).expect("comments do not count");
    }
    assert_eq!((count, decoder.partial.capacity()), (1, 0));
}

proptest! {
    #[test]
    fn sse_01_the_events_do_not_depend_on_the_chunks(
        pieces in prop::collection::vec(prop::sample::select(vec![
            b"data".as_slice(), b"data:", b"data: x", b"event:n", b"id:", b"id:7", b"id:\0", b"retry:5",
            b":", b" ", b"x", b"\n", b"\n\n", b"\r", b"\r\n", b"\xEF\xBB\xBF", b"\xEF\xBB", b"\xFF",
        ]), 0..40),
        bom: bool,
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        max in prop_oneof![Just(1000_usize), 0..30_usize],
    ) {
        let bytes = [if bom { b"\xEF\xBB\xBF".as_slice() } else { b"" }, &pieces.concat()].concat();
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let chunks: Vec<_> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        let single: Vec<_> = bytes.chunks(1).collect();
        let whole = decode_within(max, &[&bytes]);
        prop_assert_eq!(&decode_within(max, &chunks), &whole);
        if !bytes.is_empty() {
            prop_assert_eq!(&decode_within(max, &single), &whole);
        }
    }
}
