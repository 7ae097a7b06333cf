//! Challenges that are written down properly are read as they were meant, and those that were read can be
//! written down.

use super::super::www_authenticate::{Challenge, challenges};
use super::Input;

/// A header's value.
pub fn challenge(input: &[u8]) {
    let Ok(header) = std::str::from_utf8(Input(input).0) else { return };
    let found = challenges(header);
    for challenge in &found {
        assert!(!challenge.scheme().is_empty() && challenge.scheme().chars().all(is_token));
        for (name, value) in &challenge.params {
            assert!(name.chars().all(|c| is_token(c) && !c.is_ascii_uppercase()));
            assert!(value.len() <= header.len());
        }
    }
    let proper: Vec<_> = found.iter().map(written).collect();
    assert_eq!(challenges(&proper.join(", ")), found, "{proper:?}");

    let params = header.split(',').enumerate().map(|(at, value)| (format!("p{at}"), value.to_owned()));
    let meant = Challenge { scheme: "Any".to_owned(), params: params.collect() };
    assert_eq!(challenges(&written(&meant)), [meant]);
}

fn written(challenge: &Challenge) -> String {
    let params = challenge.params.iter().map(|(name, value)| match &**name {
        "" => value.to_owned(),
        name => format!("{name}=\"{}\"", value.replace('\\', r"\\").replace('"', "\\\"")),
    });
    let params = params.collect::<Vec<_>>().join(", ");
    format!("{} {params}", challenge.scheme())
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}
