//! Unit tests of `protocol::oauth::mask`.

use super::*;

#[test]
fn what_a_server_repeats_is_masked_before_it_is_cut() {
    let mut mask = Mask::default();
    mask.add(&Secret::new("s/cret"));
    mask.add(&Secret::new("s/cret-and-more"));
    mask.add(&Secret::new("abc"));
    let masked = |text: &str| {
        let mut text = text.to_owned();
        mask.apply(&mut text);
        text
    };
    assert_eq!(masked("got s/cret, s%2Fcret, s/cret-and-more, abc"), "got ***, ***, ***, abc");
    assert_eq!(masked("a\u{1b}[31m\nb\u{202e}"), "a\u{fffd}[31m\u{fffd}b\u{fffd}");
    assert_eq!(masked(&"ü".repeat(500)), "ü".repeat(500));
    assert_eq!(masked(&"ü".repeat(501)), "ü".repeat(499) + "…");
    let late = "x".repeat(497) + "s/cret";
    assert_eq!(masked(&late), "x".repeat(497) + "***");
}
