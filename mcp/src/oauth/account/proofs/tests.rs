//! Unit tests of `oauth::account::proofs`: what the MCP server's refusals do to the proofs that go with bound tokens.

use super::*;
use crate::http_client::EngineConfig;
use crate::oauth::{AuthErrorKind, OAuth};
use crate::protocol::oauth::base64;
use crate::protocol::oauth::config::UnixTime;
use crate::protocol::oauth::stored::tests::{bare, tokens};
use crate::protocol::oauth::stored::{Scheme, Stored, Tokens};
use crate::protocol::www_authenticate;
use serde_json::Value;
use std::sync::Arc;

const URL: &str = "http://127.0.0.1:1/mcp";

/// With a token that is bound to a key, and that nobody can refresh.
fn account() -> (OAuth, Arc<Account>) {
    let oauth = OAuth::builder().build();
    let account = oauth.account(URL);
    let stored = Stored {
        tokens: Some(Tokens { scheme: Scheme::Dpop, ..tokens(unix_now(), None) }),
        proof_key: Some(key::new_proof_key().unwrap()),
        ..bare()
    };
    account.tokens.install(Some(stored), false);
    (oauth, account)
}

fn sent(account: &Account) -> Credentials {
    let state = account.tokens.state.lock();
    account.remembered(&state).unwrap()
}

fn refused(account: &Account, error: &'static str, rounds: &mut Rounds) -> Result<(), AuthError> {
    let challenge = format!("DPoP error=\"{error}\"");
    let challenges = www_authenticate::challenges(&challenge);
    let connect = EngineConfig::default;
    pollster::block_on(account.refused(&sent(account), &challenges, rounds, false, &connect, &|_| ()))
        .map(drop)
}

/// The claims of a proof.
fn claims(account: &Account) -> Value {
    let proof = account.proof(&sent(account), "POST", URL).unwrap().unwrap();
    let claims = proof.to_str().unwrap().split('.').nth(1).unwrap();
    serde_json::from_slice(&base64::decode(claims).unwrap()).unwrap()
}

/// Whether a proof's time is so many seconds ahead of ours.
fn is_ahead(account: &Account, seconds: i64) -> bool {
    let before = unix_now().plus(seconds);
    let time = UnixTime(claims(account)["iat"].as_u64().unwrap());
    (before..=unix_now().plus(seconds)).contains(&time)
}

fn heard(account: &Account, name: &'static str, value: &'static str) {
    let mut answer = HeaderMap::new();
    answer.insert(name, HeaderValue::from_static(value));
    account.heard(URL, &answer);
}

#[test]
fn oa_95_a_proof_has_the_servers_time_when_ours_was_refused_once() {
    for (ahead, is_adjusted) in
        [(3600, true), (-3600, true), (31, true), (-31, true), (30, false), (-30, false)]
    {
        let (_oauth, account) = account();
        account.tokens.state.lock().ahead = ahead;
        assert!(is_ahead(&account, 0), "nobody has said that it is wrong");
        let mut rounds = Rounds::default();
        assert_eq!(refused(&account, "invalid_dpop_proof", &mut rounds).is_ok(), is_adjusted, "{ahead}");
        assert!(is_ahead(&account, if is_adjusted { ahead } else { 0 }), "{ahead}");
        assert_eq!(rounds.count, u32::from(!is_adjusted), "another proof is no round");
        assert!(refused(&account, "invalid_dpop_proof", &mut rounds).is_err(), "it is not the time");
        // A request that was sent before the clock was set is refused for the same reason.
        assert_eq!(refused(&account, "invalid_dpop_proof", &mut Rounds::default()).is_ok(), is_adjusted);
        // The machine's own clock is set right.
        account.tokens.state.lock().ahead = 0;
        assert_eq!(refused(&account, "invalid_dpop_proof", &mut Rounds::default()).is_ok(), is_adjusted);
        assert!(is_ahead(&account, 0));
    }
}

#[test]
fn oa_95_an_answers_date_says_how_far_ahead_the_server_is() {
    let (_oauth, account) = account();
    // RFC 9110, 5.6.7.
    let date = UnixTime(784_111_777);
    let before = unix_now();
    heard(&account, "date", "Sun, 06 Nov 1994 08:49:37 GMT");
    let ahead = account.tokens.state.lock().ahead;
    assert!((date.ahead_of(unix_now())..=date.ahead_of(before)).contains(&ahead), "{ahead}");
    for useless in ["", "yesterday"] {
        heard(&account, "date", useless);
        assert_eq!(account.tokens.state.lock().ahead, ahead);
    }
}

#[test]
fn oa_93_a_second_nonce_for_one_request_is_final() {
    let (_oauth, account) = account();
    heard(&account, "dpop-nonce", "nonce-1");
    let mut rounds = Rounds::default();
    refused(&account, "use_dpop_nonce", &mut rounds).unwrap();
    assert_eq!(claims(&account)["nonce"], "nonce-1");
    assert_eq!(rounds.count, 0, "another proof is no round");
    let error = refused(&account, "use_dpop_nonce", &mut rounds).unwrap_err();
    assert!(matches!(error.kind(), AuthErrorKind::TokenRejected { .. }), "{error}");
    assert_eq!(rounds.count, 0, "nothing was tried");
    refused(&account, "use_dpop_nonce", &mut Rounds::default()).unwrap();
}
