//! Unit tests of `protocol::oauth::jwt`.

use super::*;
use crate::protocol::oauth::config::Algorithm;

fn parts(input: &str) -> (Value, Value) {
    let (header, claims) = input.split_once('.').unwrap();
    let read = |part| serde_json::from_slice(&base64::decode(part).unwrap()).unwrap();
    (read(header), read(claims))
}

#[test]
fn oa_81_an_assertion_says_who_asks_whom_and_is_good_for_a_minute() {
    let mut key = AssertionKey { algorithm: Algorithm::Es256, id: None };
    let input = assertion(&key, "client", "https://as.example/", UnixTime(1000), &[1; 16]);
    let (header, claims) = parts(&input);
    assert_eq!(header, json!({ "alg": "ES256", "typ": "JWT" }));
    let expected = json!({
        "iss": "client", "sub": "client", "aud": "https://as.example/", "jti": base64::encode(&[1; 16]), "iat": 1000, "exp": 1060,
    });
    assert_eq!(claims, expected);
    for (algorithm, name) in [(Algorithm::Rs256, "RS256"), (Algorithm::EdDsa, "EdDSA")] {
        key = AssertionKey { algorithm, id: Some("k1".to_owned()) };
        let (header, _) = parts(&assertion(&key, "c", "i", UnixTime(0), &[]));
        assert_eq!(header, json!({ "alg": name, "typ": "JWT", "kid": "k1" }));
    }
    assert_eq!(seal("a.b", &[3, 236, 255, 224, 193]), "a.b.A-z_4ME");
}
