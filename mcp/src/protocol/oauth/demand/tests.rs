//! Unit tests of `protocol::oauth::demand`.

use super::*;
use crate::protocol::www_authenticate::challenges;

fn demand(header: &str) -> Demand {
    Demand::of(&challenges(header), &OAuthLimits::default())
}

#[test]
fn oa_10_any_challenge_of_ours_may_say_where_the_metadata_is() {
    let found = demand(
        r#"Basic realm="x", scope="no", Bearer error="invalid_token", DPoP resource_metadata="https://h.example/prm", scope="a b a""#,
    );
    assert_eq!(found.resource_metadata.as_deref(), Some("https://h.example/prm"));
    assert_eq!(found.scope, ["a", "b"]);
    assert_eq!(found.error.as_deref(), Some("invalid_token"));
    assert!(!found.is_step_up());
    assert_eq!(demand(r#"bEARER resource_metadata=""#), Demand::default());
    assert_eq!(demand(r#"Negotiate resource_metadata="https://evil.example""#), Demand::default());
}

#[test]
fn oa_55_insufficient_scope_is_a_step_up() {
    assert!(demand(r#"Bearer error="insufficient_scope", scope="w""#).is_step_up());
    assert!(!demand("Bearer").is_step_up());
}
