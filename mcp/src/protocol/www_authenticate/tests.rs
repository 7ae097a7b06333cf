//! Unit tests of `protocol::www_authenticate`.

use super::*;
use proptest::prelude::*;

fn read(header: &str) -> Vec<(String, Vec<(String, String)>)> {
    challenges(header).into_iter().map(|challenge| (challenge.scheme, challenge.params)).collect()
}

fn one(scheme: &str, params: &[(&str, &str)]) -> (String, Vec<(String, String)>) {
    (
        scheme.to_owned(),
        params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
    )
}

#[test]
fn sec_04_the_challenge_of_an_mcp_server() {
    let header = concat!(
        r#"Bearer error="insufficient_scope", scope="files:read files:write", "#,
        r#"resource_metadata="https://x.example/.well-known/oauth-protected-resource", "#,
        r#"Error_Description="say \"please\"""#
    );
    let found = challenges(header);
    assert_eq!(found.len(), 1);
    let bearer = &found[0];
    assert_eq!(bearer.scheme(), "Bearer");
    assert_eq!(bearer.param("error"), Some("insufficient_scope"));
    assert_eq!(bearer.param("scope"), Some("files:read files:write"));
    let metadata = "https://x.example/.well-known/oauth-protected-resource";
    assert_eq!(bearer.param("resource_metadata"), Some(metadata));
    assert_eq!(bearer.param("error_description"), Some("say \"please\""));
    assert_eq!(bearer.param("realm"), None);
}

#[test]
fn sec_04_several_challenges_and_bare_values() {
    assert_eq!(
        read(r#"Basic realm="a, b", Negotiate dG9rZW4=, Bearer, Digest qop=auth,nonce = "n""#),
        [
            one("Basic", &[("realm", "a, b")]),
            one("Negotiate", &[("", "dG9rZW4=")]),
            one("Bearer", &[]),
            one("Digest", &[("qop", "auth"), ("nonce", "n")]),
        ]
    );
}

#[test]
fn sec_04_damage_costs_no_more_than_itself() {
    assert_eq!(read(""), []);
    assert_eq!(read("=x, Bearer"), [one("Bearer", &[])]);
    assert_eq!(read("realm=x, Bearer scope=y"), [one("Bearer", &[("scope", "y")])]);
    assert_eq!(read("Bearer realm=\"open"), [one("Bearer", &[("realm", "open")])]);
    assert_eq!(read("Bearer realm=\"a\\"), [one("Bearer", &[("realm", "a")])]);
}

proptest! {
    #[test]
    fn sec_04_any_text_is_read(header in r#"[a-z =,"\\/é\t]{0,60}"#) {
        challenges(&header);
    }
}
