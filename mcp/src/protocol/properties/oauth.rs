//! Whatever servers and people answer, a flow ends, and what it stores can be read again.
//!
//! The first line of an input says what there is; each line after it is the next answer: a status and a body, or what a
//! person comes back with, in which `{}` stands for the state that they were sent away with. After the last one nobody
//! answers any more.

use super::super::oauth::config::{
    Algorithm, AssertionKey, Client, Config, Dpop, GrantKind, IdentityProvider, Known, Resource, UnixTime,
    Why,
};
use super::super::oauth::demand::Demand;
use super::super::oauth::flow::Flow;
use super::super::oauth::redirect;
use super::super::oauth::secret::{Entropy, Secret};
use super::super::oauth::step::{Answer, Step, Unreachable};
use super::super::oauth::stored::{ProofKey, Stored};
use std::sync::Arc;

/// A flow, as lines; or what a store has kept.
pub fn oauth(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let stored = Stored::from_text(text);
    if let Ok(stored) = &stored {
        assert_eq!(Stored::from_text(&stored.to_text()).as_ref(), Ok(stored));
    }
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    let has = |word| first.split(' ').any(|it| it == word);
    let proof_key = ProofKey { pkcs8: Secret::new("key"), x: [1; 32], y: [2; 32] };
    let known = Known { stored: stored.ok(), person: true, proof_key: Some(proof_key), ..Known::default() };
    let demand = Demand { error: has("more").then(|| "insufficient_scope".to_owned()), ..Demand::default() };
    let why = match first.split(' ').next() {
        Some("refresh") => Why::Refresh,
        Some("logout") => Why::Logout,
        Some("unauthorized") => Why::Unauthorized(demand),
        _ => Why::Login,
    };
    let resource = Resource { url: "https://mcp.example/mcp".to_owned(), revision: None };
    let mut flow = Flow::begin(Arc::new(config(has)), resource, why, known, Entropy::new([7; 32]));
    let (mut fetches, mut visits) = (0, 0);
    for _ in 0..70 {
        match flow.step(UnixTime(1_000_000)) {
            Step::Fetch(fetch) => {
                fetches += 1;
                assert!(!format!("{fetch:?}").contains('?'), "no query");
                match lines.next().map(|line| line.split_once(' ').unwrap_or((line, ""))) {
                    Some((status, body)) => flow.answered(Answer {
                        status: status.parse().unwrap_or(200),
                        location: (!body.starts_with('{')).then(|| body.to_owned()),
                        dpop_nonce: has("nonce").then(|| "n".to_owned()),
                        date: has("date").then_some(UnixTime(1)),
                        body: body.as_bytes().to_vec(),
                        ..Answer::default()
                    }),
                    None => {
                        let source = Arc::new(std::fmt::Error);
                        flow.unreachable(Unreachable { forbidden: None, sent: has("sent"), source });
                    }
                }
            }
            Step::Sign(_) => flow.signed(b"signature"),
            Step::Receiver { refused: false } => flow.receiver("http://127.0.0.1:1/callback"),
            Step::Receiver { refused: true } => flow.receiver("http://localhost:1/callback"),
            Step::Visit { url } => {
                visits += 1;
                let state = url.expose().split("&state=").nth(1).and_then(|rest| rest.split('&').next());
                let back = lines.next().unwrap_or_default().replace("{}", state.expect("there is a state"));
                if redirect::belongs(url.expose(), &back) {
                    assert!(back.contains('?') && back.contains('='));
                }
                flow.redirected(Secret::new(back));
            }
            Step::Subject { .. } => flow.subject(Secret::new(lines.next().unwrap_or_default())),
            Step::Done(stored) => {
                assert_eq!(Stored::from_text(&stored.to_text()).as_ref(), Ok(&*stored));
                break;
            }
            Step::Failed(failure) => {
                let _ = format!("{} {} {failure:?}", failure.kind, failure.step);
                break;
            }
        }
    }
    assert!(matches!(flow.step(UnixTime(0)), Step::Done(_) | Step::Failed(_)), "it ends");
    assert!(fetches <= 16 && visits <= 2);
}

fn config(has: impl Fn(&'static str) -> bool) -> Config {
    let provider = IdentityProvider {
        token_endpoint: "https://idp.example/token".to_owned(),
        client_id: "id".to_owned(),
        client_secret: None,
    };
    let key = has("key").then_some(AssertionKey { algorithm: Algorithm::Es256, id: None });
    let client = Client {
        id: "client".to_owned(),
        secret: has("secret").then(|| Secret::new("s")),
        key,
        issuer: None,
        owner: Default::default(),
    };
    Config {
        grant: match () {
            () if has("machine") => GrantKind::ClientCredentials,
            () if has("identity") => GrantKind::IdentityAssertion(provider),
            () if has("assertion") => GrantKind::JwtBearer,
            () => GrantKind::AuthorizationCode,
        },
        client: has("client").then_some(client),
        client_metadata_url: has("document").then(|| "https://app.example/client".to_owned()),
        dpop: if has("proofs") { Dpop::Auto } else { Dpop::Off },
        insecure_http: has("insecure"),
        assume_pkce: has("pkce"),
        guess_endpoints: has("guess"),
        ..Config::default()
    }
}
