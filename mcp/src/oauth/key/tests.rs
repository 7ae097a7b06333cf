//! Unit tests of `oauth::key`, with keys that OpenSSL made for these tests alone.

use super::*;
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};

fn pem(name: &str) -> &'static str {
    match name {
        "ec" => include_str!("keys/ec.pem"),
        "ed" => include_str!("keys/ed.pem"),
        "rsa" => include_str!("keys/rsa.pem"),
        "rsa1024" => include_str!("keys/rsa1024.pem"),
        "p384" => include_str!("keys/p384.pem"),
        "sec1" => include_str!("keys/sec1.pem"),
        "pkcs1" => include_str!("keys/pkcs1.pem"),
        "enc" => include_str!("keys/enc.pem"),
        _ => include_str!("keys/x.pem"),
    }
}

fn der(name: &str) -> Vec<u8> {
    let body: String = pem(name).lines().filter(|line| !line.starts_with('-')).collect();
    base64::decode(&body).unwrap()
}

fn refusal<T>(result: Result<T, Error>) -> String {
    result.err().expect("it is refused").to_string()
}

#[test]
fn oa_81_what_is_signed_can_be_verified() {
    let verified = |name: &str, algorithm: &'static dyn VerificationAlgorithm| {
        let key = SigningKey::from_pem(pem(name)).unwrap();
        let public = match &*key.pair {
            Pair::Ecdsa(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Rsa(pair) => pair.public().as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.public_key().as_ref().to_vec(),
        };
        let signature = key.sign(b"header.claims").unwrap();
        UnparsedPublicKey::new(algorithm, public).verify(b"header.claims", &signature).unwrap();
        (key.algorithm, signature.len())
    };
    assert_eq!(verified("ec", &signature::ECDSA_P256_SHA256_FIXED), (Algorithm::Es256, 64));
    assert_eq!(verified("rsa", &signature::RSA_PKCS1_2048_8192_SHA256), (Algorithm::Rs256, 256));
    assert_eq!(verified("ed", &signature::ED25519), (Algorithm::EdDsa, 64));
}

#[test]
fn oa_81_keys_of_other_forms_say_how_to_convert_them() {
    for (name, why) in [
        ("sec1", "SEC 1"),
        ("pkcs1", "PKCS#1"),
        ("enc", "encrypted"),
        ("p384", "not P-256"),
        ("rsa1024", "less than 2048 bits"),
        ("x", "none of P-256, RSA and Ed25519"),
    ] {
        let error = refusal(SigningKey::from_pem(pem(name)));
        assert!(error.contains(why), "{name}: {error}");
        let error = refusal(SigningKey::from_der(&der(name)));
        assert!(error.contains(why), "{name}: {error}");
    }
    for text in ["", "hello", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"] {
        assert!(refusal(SigningKey::from_pem(text)).contains("BEGIN PRIVATE KEY"), "{text}");
    }
    for body in ["", "AAAA", "*"] {
        let text = format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----");
        assert!(refusal(SigningKey::from_pem(&text)).contains("damaged"), "{body}");
    }
}

#[test]
fn oa_81_a_key_is_found_among_other_things() {
    let text = format!(
        "subject=/CN=x\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n{}\n{}",
        pem("sec1"),
        pem("ec").replace('\n', "\r\n")
    );
    let key = SigningKey::from_pem(&text).unwrap().id("k1");
    assert_eq!(key.id.as_deref(), Some("k1"));
    let body = pem("ec").lines().nth(1).unwrap();
    assert!(!format!("{key:?} {key:#?}").contains(&body[..16]));
}

#[test]
fn oa_81_no_bytes_panic() {
    for name in ["ec", "ed", "rsa", "sec1", "pkcs1", "enc"] {
        let whole = der(name);
        for cut in 0..whole.len().min(300) {
            assert!(SigningKey::from_der(&whole[..cut]).is_err(), "{name} of {cut} bytes");
            let mut changed = whole.clone();
            changed[cut] ^= 0xff;
            // It may still be a key: some bytes are not checked.
            let _ = SigningKey::from_der(&changed);
        }
    }
}

#[test]
fn oa_90_a_key_for_proofs_signs_what_its_public_half_verifies() {
    let key = new_proof_key().unwrap();
    let signature = sign_proof(&key.pkcs8, b"a proof").unwrap();
    let point = [&[4][..], &key.x, &key.y].concat();
    UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point)
        .verify(b"a proof", &signature)
        .unwrap();
    assert_ne!(new_proof_key().unwrap(), key);
    assert!(sign_proof(&Secret::new("AAAA"), b"x").is_err());
    assert_ne!(random().unwrap(), random().unwrap());
}
