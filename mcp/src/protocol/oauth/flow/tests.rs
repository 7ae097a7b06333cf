//! Unit tests of `protocol::oauth::flow`, and a world to run flows in: servers that answer by a table, a person who agrees,
//! keys that sign everything.
//!
//! Whatever is secret has `s3cret` in it, so that one look finds it where it should not be.

mod client;
mod discovery;
mod ends;
mod machine;
mod person;
mod proofs;
mod scenarios;
mod scopes;
mod tokens;

use super::*;
use crate::protocol::oauth::config::{Client, Dpop, Nonces};
use crate::protocol::oauth::failure::Reason;
use crate::protocol::oauth::form;
use crate::protocol::oauth::step::SignWith;
use crate::protocol::oauth::stored::{AuthMethod, RegistrationKind, Scheme, Tokens};
use serde_json::{Value, json};
use std::collections::VecDeque;

const SERVER: &str = "https://mcp.example/mcp";
const PRM: &str = "https://mcp.example/.well-known/oauth-protected-resource/mcp";
const ROOT_PRM: &str = "https://mcp.example/.well-known/oauth-protected-resource";
const ISSUER: &str = "https://as.example";
const METADATA: &str = "https://as.example/.well-known/oauth-authorization-server";
const OPENID: &str = "https://as.example/.well-known/openid-configuration";
const TOKEN: &str = "https://as.example/token";
const REGISTER: &str = "https://as.example/register";
const REVOKE: &str = "https://as.example/revoke";
const CALLBACK: &str = "http://127.0.0.1:4000/callback";
const NOW: UnixTime = UnixTime(1_000_000);

type Script = VecDeque<Result<Answer, Unreachable>>;

struct World {
    config: Config,
    server: String,
    known: Known,
    /// By URL; the last answer is repeated. Any other URL is answered with 404.
    answers: Vec<(String, Script)>,
    receivers: VecDeque<&'static str>,
    /// What the person brings back for a state.
    back: fn(&str) -> String,
    subject: &'static str,
    seed: u8,
    fetched: Vec<Fetch>,
    visits: Vec<String>,
    signed: Vec<(String, SignWith)>,
    nonces: Nonces,
    subjects: usize,
}

fn json(body: &Value) -> Answer {
    Answer { status: 200, body: body.to_string().into_bytes(), ..Answer::default() }
}

fn status(status: u16) -> Answer {
    Answer { status, ..Answer::default() }
}

fn error(code: &str) -> Answer {
    Answer { status: 400, ..json(&json!({ "error": code })) }
}

fn down() -> Unreachable {
    Unreachable { forbidden: None, sent: false, source: Arc::new(Reason("connection refused")) }
}

fn prm(extra: &Value) -> Answer {
    json(&merged(json!({ "resource": SERVER, "authorization_servers": [ISSUER] }), extra))
}

fn metadata(extra: &Value) -> Answer {
    let document = json!({
        "issuer": ISSUER, "authorization_endpoint": "https://as.example/authorize", "token_endpoint": TOKEN,
        "registration_endpoint": REGISTER, "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["none"],
    });
    json(&merged(document, extra))
}

fn token(extra: &Value) -> Answer {
    let answer = json!({ "access_token": "access-s3cret-1", "token_type": "Bearer", "expires_in": 3600 });
    json(&merged(answer, extra))
}

/// With the members of `extra`; one that is null there is taken out.
fn merged(mut document: Value, extra: &Value) -> Value {
    for (name, value) in extra.as_object().into_iter().flatten() {
        match value {
            Value::Null => drop(document.as_object_mut().unwrap().remove(name)),
            value => document[name] = value.clone(),
        }
    }
    document
}

/// What an earlier flow left behind.
fn stored() -> Stored {
    Stored {
        issuer: ISSUER.to_owned(),
        token_endpoint: TOKEN.to_owned(),
        revocation_endpoint: Some(REVOKE.to_owned()),
        resource: Some("https://mcp.example/as-it-was".to_owned()),
        registration: Registration {
            kind: RegistrationKind::Dynamic,
            id: "stored-id".to_owned(),
            secret: Some(Secret::new("stored-s3cret")),
            secret_expires: None,
            method: AuthMethod::Post,
            redirect_uri: Some(CALLBACK.to_owned()),
        },
        tokens: Some(Tokens {
            access: Secret::new("access-s3cret-0"),
            scheme: Scheme::Bearer,
            refresh: Some(Secret::new("refresh-s3cret-0")),
            obtained: UnixTime(1),
            expires: Some(UnixTime(2)),
            others: Default::default(),
        }),
        requested: vec!["asked".to_owned()],
        granted: vec!["given".to_owned()],
        proof_key: None,
        uncertain: true,
        others: Default::default(),
    }
}

fn configured(id: &str) -> Client {
    let secret = Some(Secret::new("client-s3cret"));
    Client { id: id.to_owned(), secret, key: None, issuer: None, owner: Arc::default() }
}

fn unauthorized(scope: &str) -> Why {
    Why::Unauthorized(Demand { scope: words(scope), ..Demand::default() })
}

fn step_up(scope: &str) -> Why {
    let error = Some("insufficient_scope".to_owned());
    Why::StepUp(Demand { scope: words(scope), error, ..Demand::default() })
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

impl World {
    /// Where nobody answers.
    fn empty() -> Self {
        Self {
            config: Config::default(),
            server: SERVER.to_owned(),
            known: Known { person: true, ..Known::default() },
            answers: Vec::new(),
            receivers: [CALLBACK].into(),
            back: |state| format!("code=code-s3cret&state={state}"),
            subject: "subject-s3cret",
            seed: 7,
            fetched: Vec::new(),
            visits: Vec::new(),
            signed: Vec::new(),
            nonces: Nonces::default(),
            subjects: 0,
        }
    }

    /// Where everything is where it should be.
    fn good() -> Self {
        Self::empty()
            .on(PRM, prm(&json!({})))
            .on(METADATA, metadata(&json!({})))
            .on(REGISTER, Answer { status: 201, ..json(&json!({ "client_id": "registered-id" })) })
            .on(TOKEN, token(&json!({})))
    }

    /// One more answer of this URL's.
    fn then(mut self, url: &str, answer: Answer) -> Self {
        self.script(url).push_back(Ok(answer));
        self
    }

    /// The only answer of this URL's, as often as it is asked.
    fn on(mut self, url: &str, answer: Answer) -> Self {
        *self.script(url) = [Ok(answer)].into();
        self
    }

    fn unreachable(mut self, url: &str, why: Unreachable) -> Self {
        *self.script(url) = [Err(why)].into();
        self
    }

    fn script(&mut self, url: &str) -> &mut Script {
        if !self.answers.iter().any(|(known, _)| known == url) {
            self.answers.push((url.to_owned(), Script::new()));
        }
        &mut self.answers.iter_mut().find(|(known, _)| known == url).unwrap().1
    }

    fn knowing(mut self, stored: Stored) -> Self {
        self.known.stored = Some(stored);
        self
    }

    fn set(mut self, set: impl FnOnce(&mut Config)) -> Self {
        set(&mut self.config);
        self
    }

    fn begin(&self, why: Why) -> Flow {
        let resource = Resource { url: self.server.clone(), revision: Some("2025-11-25") };
        let config = Arc::new(self.config.clone());
        Flow::begin(config, resource, why, self.known.clone(), Entropy::new([self.seed; 32]))
    }

    fn run(&mut self, why: Why) -> Result<Stored, Box<Failure>> {
        let mut flow = self.begin(why);
        let (mut done, mut steps) = (None, 0);
        while done.is_none() {
            steps += 1;
            assert!(steps < 100, "the flow does not end");
            let step = flow.step(NOW);
            self.shows_nothing(&format!("{step:?} {flow:?}"));
            match step {
                Step::Fetch(fetch) => {
                    let script = self.script(&fetch.url);
                    let next = if script.len() > 1 { script.pop_front() } else { script.front().cloned() };
                    self.fetched.push(fetch);
                    match next.unwrap_or(Ok(status(404))) {
                        Ok(answer) => flow.answered(answer),
                        Err(why) => flow.unreachable(why),
                    }
                }
                Step::Sign(sign) => {
                    self.signed.push((sign.input.expose().to_owned(), sign.with));
                    flow.signed(format!("signature {}", self.signed.len()).as_bytes());
                }
                Step::Receiver { refused } => {
                    if refused || self.receivers.len() > 1 && !self.visits.is_empty() {
                        self.receivers.pop_front();
                    }
                    match self.receivers.front() {
                        Some(uri) => flow.receiver(uri),
                        None => flow.no_receiver(),
                    }
                }
                Step::Visit { url } => {
                    self.visits.push(url.expose().to_owned());
                    let back = (self.back)(&self.visited("state").unwrap());
                    flow.redirected(Secret::new(format!("{CALLBACK}?{back}")));
                }
                Step::Subject { issuer } => {
                    assert_eq!(issuer, ISSUER);
                    self.subjects += 1;
                    flow.subject(Secret::new(self.subject));
                }
                Step::Done(stored) => done = Some(Ok(*stored)),
                Step::Failed(failure) => {
                    let source = failure.source.as_ref().map(ToString::to_string);
                    self.shows_nothing(&format!("{} {} {source:?} {failure:?}", failure.kind, failure.step));
                    done = Some(Err(Box::new(failure)));
                }
            }
        }
        self.nonces = flow.nonces().clone();
        done.unwrap()
    }

    /// Whether a text has nothing secret in it.
    fn shows_nothing(&self, text: &str) {
        assert!(!text.contains("s3cret"), "{text}");
        let states = self.visits.iter().flat_map(|url| form::decode(url)).filter(|(name, _)| name == "state");
        for (_, state) in states {
            assert!(!text.contains(&state), "{text}");
        }
        for fetch in &self.fetched {
            for (name, value) in form_of(fetch) {
                assert!(name != "code_verifier" || !text.contains(&value), "{text}");
            }
        }
    }

    /// Runs, and has to fail.
    fn fails(&mut self, why: Why) -> AuthErrorKind {
        self.run(why).unwrap_err().kind
    }

    /// What was fetched, in order.
    fn asked(&self) -> Vec<String> {
        self.fetched.iter().map(|fetch| format!("{} {}", fetch.method, fetch.url)).collect()
    }

    fn count(&self, url: &str) -> usize {
        self.fetched.iter().filter(|fetch| fetch.url == url).count()
    }

    /// The last request to a URL.
    fn last(&self, url: &str) -> &Fetch {
        self.fetched.iter().rfind(|fetch| fetch.url == url).unwrap_or_else(|| panic!("{url} was not asked"))
    }

    /// A field of the last form that a URL was sent.
    fn sent(&self, url: &str, name: &str) -> Option<String> {
        value(&form_of(self.last(url)), name)
    }

    /// A field of the last URL that the person was sent to.
    fn visited(&self, name: &str) -> Option<String> {
        let (_, query) = self.visits.last().expect("nobody was sent anywhere").split_once('?').unwrap();
        value(&form::decode(query), name)
    }
}

fn form_of(fetch: &Fetch) -> Vec<(String, String)> {
    form::decode(fetch.body.as_ref().map_or("", Secret::expose))
}

/// The only value of a field.
fn value(fields: &[(String, String)], name: &str) -> Option<String> {
    let mut values = fields.iter().filter(|(field, _)| field == name).map(|(_, value)| value.clone());
    let value = values.next();
    assert_eq!(values.next(), None, "{name} is there twice");
    value
}

fn header<'a>(fetch: &'a Fetch, name: &str) -> Option<&'a str> {
    fetch.headers.iter().find(|(header, _)| *header == name).map(|(_, value)| value.expose())
}
