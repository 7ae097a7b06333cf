//! Private keys: how they are read, and what is signed with them. The mathematics is ring's.

use crate::error::{AuthError, Error};
use crate::protocol::oauth::base64;
use crate::protocol::oauth::config::Algorithm;
use crate::protocol::oauth::failure::{AuthErrorKind, AuthStep, Failure};
use crate::protocol::oauth::secret::Secret;
use crate::protocol::oauth::stored::ProofKey;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use std::fmt;
use std::sync::Arc;
use zeroize::Zeroizing;

/// A client's private key, with which it proves who it is (`private_key_jwt`, RFC 7523): P-256 (ES256), RSA of 2048 bits
/// or more (RS256), or Ed25519 (EdDSA). Clones are the same key. `Debug` shows nothing of it.
///
/// ```no_run
/// use shared_fate_mcp::oauth::{ClientId, Grant, OAuth, SigningKey};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let key = SigningKey::from_pem(&std::fs::read_to_string("client.pem")?)?.id("2026-11");
/// let oauth = OAuth::builder().grant(Grant::ClientCredentials).client(ClientId::new("my-service").key(key)).build();
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct SigningKey {
    pub(super) algorithm: Algorithm,
    pub(super) id: Option<String>,
    pair: Arc<Pair>,
}

enum Pair {
    Ecdsa(EcdsaKeyPair),
    Rsa(RsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

const SEC1: &str =
    "it is SEC 1 (`EC PRIVATE KEY`), not PKCS#8; `openssl pkcs8 -topk8 -nocrypt -in key.pem` converts it";
const PKCS1: &str =
    "it is PKCS#1 (`RSA PRIVATE KEY`), not PKCS#8; `openssl pkcs8 -topk8 -nocrypt -in key.pem` converts it";
const ENCRYPTED: &str = "it is encrypted; `openssl pkcs8 -in key.pem` takes that away";
const DAMAGED: &str = "it is damaged";

impl SigningKey {
    /// Reads a key in PEM: PKCS#8 (`BEGIN PRIVATE KEY`). What stands around it, such as a certificate, is left out.
    ///
    /// # Errors
    ///
    /// When there is none, or it is of another form, curve or size. For another form the text says how to convert it.
    pub fn from_pem(pem: &str) -> Result<Self, Error> {
        let mut last = "there is no `BEGIN PRIVATE KEY` in the text";
        for block in pem.split("-----BEGIN ").skip(1) {
            let Some((label, rest)) = block.split_once("-----") else { continue };
            match label {
                "PRIVATE KEY" => {
                    let body = rest.split("-----").next().unwrap_or_default();
                    let text: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
                    let der = base64::decode(&Zeroizing::new(text)).ok_or_else(|| refused(DAMAGED))?;
                    let der = Zeroizing::new(der);
                    return Self::from_der(&der);
                }
                "EC PRIVATE KEY" => last = SEC1,
                "RSA PRIVATE KEY" => last = PKCS1,
                "ENCRYPTED PRIVATE KEY" => last = ENCRYPTED,
                _ => {}
            }
        }
        Err(refused(last))
    }

    /// Reads a key in DER: PKCS#8.
    ///
    /// # Errors
    ///
    /// As for [`from_pem`](Self::from_pem).
    pub fn from_der(der: &[u8]) -> Result<Self, Error> {
        let (algorithm, pair) = read(der).map_err(refused)?;
        Ok(Self { algorithm, id: None, pair: Arc::new(pair) })
    }

    /// The name by which the authorization server finds the public key (`kid`).
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// The signature as JOSE has it: `r` and `s` for ES256.
    pub(super) fn sign(&self, input: &[u8]) -> Result<Vec<u8>, &'static str> {
        let random = SystemRandom::new();
        let failed = |_| "it cannot sign";
        match &*self.pair {
            Pair::Ecdsa(pair) => Ok(pair.sign(&random, input).map_err(failed)?.as_ref().to_vec()),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, input, &mut signature).map_err(failed)?;
                Ok(signature)
            }
            Pair::Ed25519(pair) => Ok(pair.sign(input).as_ref().to_vec()),
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("algorithm", &self.algorithm)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// The failure of a flow whose key is of no use.
pub(super) fn failure(why: &'static str) -> Failure {
    Failure::new(AuthErrorKind::Key(why), AuthStep::ClientCredentials)
}

fn refused(why: &'static str) -> Error {
    AuthError::new(failure(why)).into()
}

/// The identifiers of algorithms and curves, as DER has them, with the byte for their length.
mod oid {
    pub(super) const EC: &[u8] = b"\x07\x2a\x86\x48\xce\x3d\x02\x01";
    pub(super) const P256: &[u8] = b"\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
    pub(super) const RSA: &[u8] = b"\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01";
    pub(super) const ED25519: &[u8] = b"\x03\x2b\x65\x70";
}

fn read(der: &[u8]) -> Result<(Algorithm, Pair), &'static str> {
    // SEQUENCE { INTEGER version, and what tells the three forms apart.
    let inner = content(der, 0x30).ok_or(DAMAGED)?;
    let algorithm = match inner {
        [2, 1, _, 0x30, ..] => content(&inner[3..], 0x30).ok_or(DAMAGED)?,
        [2, 1, 1, 4, ..] => return Err(SEC1),
        [2, 1, 0, 2, ..] => return Err(PKCS1),
        [0x30, ..] => return Err(ENCRYPTED),
        _ => return Err(DAMAGED),
    };
    let Some((6, algorithm)) = algorithm.split_first().map(|(&tag, rest)| (tag, rest)) else {
        return Err(DAMAGED);
    };
    if let Some(curve) = algorithm.strip_prefix(oid::EC) {
        if curve.strip_prefix(b"\x06").is_none_or(|curve| !curve.starts_with(oid::P256)) {
            return Err("its curve is not P-256");
        }
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &SystemRandom::new());
        return pair.map(|pair| (Algorithm::Es256, Pair::Ecdsa(pair))).map_err(|_| DAMAGED);
    }
    if algorithm.starts_with(oid::RSA) {
        let pair = RsaKeyPair::from_pkcs8(der);
        return pair.map(|pair| (Algorithm::Rs256, Pair::Rsa(pair))).map_err(|error| {
            match error.to_string().as_str() {
                "TooSmall" => "it is RSA of less than 2048 bits",
                "TooLarge" => "it is RSA of more than 4096 bits",
                _ => DAMAGED,
            }
        });
    }
    if algorithm.starts_with(oid::ED25519) {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der);
        return pair.map(|pair| (Algorithm::EdDsa, Pair::Ed25519(pair))).map_err(|_| DAMAGED);
    }
    Err("its algorithm is none of P-256, RSA and Ed25519")
}

/// What is in an element with this tag, if all of it is there.
fn content(der: &[u8], tag: u8) -> Option<&[u8]> {
    let (&[found, length], rest) = der.split_first_chunk::<2>()?;
    if found != tag {
        return None;
    }
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81 => (usize::from(*rest.first()?), rest.get(1..)?),
        0x82 => (usize::from(u16::from_be_bytes([*rest.first()?, *rest.get(1)?])), rest.get(2..)?),
        _ => return None,
    };
    rest.get(..length)
}

/// A new key for proofs of possession (RFC 9449).
pub(super) fn new_proof_key() -> Result<ProofKey, &'static str> {
    let random = SystemRandom::new();
    let failed = |_| "none can be made";
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).map_err(failed)?;
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random)
        .map_err(|_| "none can be made")?;
    // 4, x, y: an uncompressed point.
    let point = pair.public_key().as_ref();
    let coordinate =
        |from: usize| point.get(from..from + 32).and_then(|bytes| bytes.try_into().ok()).unwrap_or([0; 32]);
    Ok(ProofKey { pkcs8: Secret::new(base64::encode(pkcs8.as_ref())), x: coordinate(1), y: coordinate(33) })
}

/// Signs with a key for proofs.
pub(super) fn sign_proof(pkcs8: &Secret, input: &[u8]) -> Result<Vec<u8>, &'static str> {
    let der = Zeroizing::new(base64::decode(pkcs8.expose()).ok_or(DAMAGED)?);
    SigningKey::from_der(&der).map_err(|_| DAMAGED)?.sign(input)
}

/// 256 random bits of the system's.
pub(super) fn random() -> Result<[u8; 32], &'static str> {
    let mut bytes = [0; 32];
    let filled = ring::rand::SecureRandom::fill(&SystemRandom::new(), &mut bytes);
    filled.map(|()| bytes).map_err(|_| "the system has no randomness")
}

#[cfg(test)]
mod tests;
