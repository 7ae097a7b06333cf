//! Unit tests of `protocol::oauth::base64`.

use super::*;

#[test]
fn the_urls_alphabet_without_padding() {
    // RFC 7515, appendix C.
    assert_eq!(encode(&[3, 236, 255, 224, 193]), "A-z_4ME");
    for text in ["A-z_4ME", "A+z/4ME", "A+z/4ME="] {
        assert_eq!(decode(text).unwrap(), [3, 236, 255, 224, 193], "{text}");
    }
    for text in ["A", "A-z_4ME==x", "A z_", "A-z_4ME===", "ä", "AAAAA"] {
        assert_eq!(decode(text), None, "{text}");
    }
}

#[test]
fn whatever_is_written_is_read_again() {
    proptest::proptest!(|(bytes: Vec<u8>)| {
        proptest::prop_assert_eq!(decode(&encode(&bytes)), Some(bytes));
    });
}
