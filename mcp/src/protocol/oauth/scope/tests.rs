//! Unit tests of `protocol::oauth::scope`.

use super::*;

fn words(text: &str) -> Vec<String> {
    read(text, &OAuthLimits::default())
}

#[test]
fn a_list_keeps_its_order_and_has_nothing_twice() {
    assert_eq!(words("b a  b c"), ["b", "a", "c"]);
    assert_eq!(words(" "), [""; 0]);
    assert_eq!(words("ok q\"uote back\\slash ü tab\tbed"), ["ok"], "RFC 6749, 3.3");
    let all = union(words("a b").into_iter().chain(words("c a")), &OAuthLimits::default());
    assert_eq!(parameter(&all).as_deref(), Some("a b c"));
    assert_eq!(parameter(&[]), None);
    assert!(is_within(&words("c a"), &all) && is_within(&[], &all) && !is_within(&words("a d"), &all));
}

#[test]
fn lim_a_list_has_128_scopes_of_256_bytes() {
    let many: Vec<_> = (0..129).map(|index| index.to_string()).collect();
    assert_eq!(words(&many[..128].join(" ")), many[..128]);
    assert_eq!(words(&many.join(" ")), many[..128]);
    let (longest, longer) = ("x".repeat(256), "x".repeat(257));
    assert_eq!(words(&format!("{longer} {longest}")), [longest]);
}
