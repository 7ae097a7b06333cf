//! Unit tests of `protocol::oauth::dpop`.

use super::*;
use crate::protocol::oauth::secret::Secret;
use serde_json::Value;

/// The key of RFC 9449, 4.1.
fn key() -> ProofKey {
    let point = |text| base64::decode(text).unwrap().try_into().unwrap();
    ProofKey {
        pkcs8: Secret::new("private"),
        x: point("l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs"),
        y: point("9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA"),
    }
}

fn parts(input: &str) -> (Value, Value) {
    let (header, claims) = input.split_once('.').unwrap();
    let read = |part| serde_json::from_slice(&base64::decode(part).unwrap()).unwrap();
    (read(header), read(claims))
}

/// RFC 9449, 4.1 and 7.1: the shape of the two examples, and the second one's `ath`.
#[test]
fn oa_91_a_proof_has_the_shape_of_the_rfcs() {
    let url = "https://server.example.com/token?x=1#y";
    let mut proof =
        Proof { method: "POST", url, now: UnixTime(1562262616), jti: &[7; 16], nonce: None, token: None };
    let (header, claims) = parts(&proof.input(&key()));
    let jwk = json!({
        "kty": "EC", "crv": "P-256",
        "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs", "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA",
    });
    assert_eq!(header, json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": jwk }));
    let jti = base64::encode(&[7; 16]);
    let htu = "https://server.example.com/token";
    assert_eq!(claims, json!({ "jti": jti, "htm": "POST", "htu": htu, "iat": 1562262616 }));
    proof.token = Some("Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU");
    proof.nonce = Some("n-1");
    let (_, claims) = parts(&proof.input(&key()));
    assert_eq!(claims["ath"], "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo");
    assert_eq!(claims["nonce"], "n-1");
}

/// RFC 7636, appendix B.
#[test]
fn oa_25_the_challenge_of_a_verifier() {
    let octets = [
        116, 24, 223, 180, 151, 153, 224, 37, 79, 250, 96, 125, 216, 173, 187, 186, 22, 212, 37, 77, 105,
        214, 191, 240, 91, 88, 5, 88, 83, 132, 141, 121,
    ];
    let verifier = base64::encode(&octets);
    assert_eq!(verifier, "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    assert_eq!(sha256(&verifier), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
}

#[test]
fn oa_94_the_last_nonce_of_each_origin_is_remembered_and_the_oldest_goes() {
    let mut nonces = Nonces::default();
    for origin in 0..16 {
        nonces.heard(&format!("https://h{origin}.example/a"), &format!("n{origin}"), 16);
    }
    nonces.heard("HTTPS://H0.example:443/b", "newer", 16);
    assert_eq!(nonces.of("https://h0.example/c"), Some("newer"));
    assert_eq!(nonces.of("http://h0.example/c"), None);
    assert_eq!(nonces.of("https://h1.example"), Some("n1"), "at the limit");
    nonces.heard("https://one.example", "n", 16);
    assert_eq!(nonces.of("https://h1.example"), None, "one past it");
    assert_eq!(nonces.of("https://h0.example"), Some("newer"), "it was heard again");
    for junk in ["", "a b", "ü", &"x".repeat(1025)] {
        nonces.heard("https://one.example", junk, 16);
        assert_eq!(nonces.of("https://one.example"), Some("n"));
    }
    nonces.heard("no url", "n", 16);
}

#[test]
fn oa_94_nonces_that_a_flow_has_heard_take_no_other_ones_place() {
    let [one, other, third] = ["https://one.example", "https://other.example", "https://third.example"];
    let mut present = Nonces::default();
    present.heard(one, "one-1", 16);
    present.heard(other, "other-1", 16);
    let before = present.clone();
    let mut later = before.clone();
    later.heard(other, "other-2", 16);
    later.heard(third, "third-1", 16);
    // Meanwhile somebody else hears another nonce.
    present.heard(one, "one-2", 16);
    present.catch_up(&before, later.clone(), 16);
    for (url, nonce) in [(one, "one-2"), (other, "other-2"), (third, "third-1")] {
        assert_eq!(present.of(url), Some(nonce));
    }
    present.catch_up(&before, later, 2);
    assert_eq!(present.0.len(), 2);
}
