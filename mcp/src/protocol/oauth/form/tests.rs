//! Unit tests of `protocol::oauth::form`.

use super::*;

#[test]
fn a_form_has_unreserved_characters_plain_and_all_others_as_bytes() {
    let text = Form::new("a b").with("x+y", "1&2=3%").maybe("z", None).maybe("ü", Some("~._-é")).into_text();
    assert_eq!(text, "grant_type=a%20b&x%2By=1%262%3D3%25&%C3%BC=~._-%C3%A9");
}

#[test]
fn a_query_is_read_as_it_may_be_written() {
    let read = decode("a=1+2%20&b&=c&&d=%zz%4&e=%C3%BC%ff");
    let read: Vec<_> = read.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(read, [("a", "1 2 "), ("b", ""), ("", "c"), ("d", "%zz%4"), ("e", "ü\u{fffd}")]);
}

#[test]
fn whatever_is_written_is_read_again() {
    proptest::proptest!(|(name in ".{1,20}", value in ".*")| {
        proptest::prop_assert_eq!(decode(&Form::default().with(&name, &value).into_text()), [(name, value)]);
    });
}
