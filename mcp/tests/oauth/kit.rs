//! One server that is an MCP server and its authorization server, and a person who agrees.

use crate::fault::http::{Call, SESSION, Server};
use crate::fault::run::Run;
use serde_json::{Value, json};
use shared_fate_mcp::oauth::{AuthError, AuthErrorKind, OAuth, OAuthBuilder, Status, consent_fn};
use shared_fate_mcp::{Client, Driver, Error, ErrorKind, Http};
use smol::channel::{Receiver, Sender};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

pub(crate) const REDIRECT_URI: &str = "http://127.0.0.1:1/callback";

/// What the token endpoint does to a refresh.
#[derive(Clone, Default)]
pub(crate) enum Then {
    #[default]
    Answer,
    /// Answers with this: status, one more header, body. In the body `$TOKEN` stands for the refresh token.
    Say(&'static str, &'static str, String),
    /// Does what is asked, and answers when this is open.
    Hold(crate::fault::Gate),
    /// Does what is asked, and hangs up.
    HangUp,
}

/// The authorization server's books.
#[derive(Default)]
pub(crate) struct Books {
    numbers: usize,
    /// Codes, and what they were given out for.
    codes: HashMap<String, HashMap<String, String>>,
    /// Access tokens that are good, with their scopes.
    access: HashMap<String, String>,
    /// Refresh tokens that have not been used, with their scopes.
    refresh: HashMap<String, String>,
    used: HashSet<String>,
    /// Whether a refresh token was used twice: then all of them are gone.
    pub(crate) is_revoked: bool,
    pub(crate) refreshes: usize,
    pub(crate) codes_exchanged: usize,
    pub(crate) registrations: usize,
    pub(crate) revocations: usize,
    /// How many requests to the MCP server were refused for want of a token.
    pub(crate) refused: usize,
    pub(crate) expires_in: Option<Value>,
    pub(crate) then: Then,
    pub(crate) discovery: Option<&'static str>,
    /// Everything that no text may show.
    pub(crate) secrets: Vec<String>,
    /// Forms that came to the token endpoint.
    pub(crate) forms: Vec<HashMap<String, String>>,
    /// Called, without the lock, after each refusal.
    pub(crate) on_refusal: Option<Arc<dyn Fn(usize) + Send + Sync>>,
    /// What a person who is asked does.
    pub(crate) denies: bool,
    /// No token is good for `admin`, whatever is asked for.
    pub(crate) is_stingy: bool,
    /// The MCP server takes no token, however new.
    pub(crate) spoil: bool,
    /// Calls with a good token get no answer.
    pub(crate) mute: bool,
    pub(crate) asked: usize,
    /// The MCP server gives no session id, so there is no session to delete.
    pub(crate) has_no_session: bool,
    /// Redirects to this machine have to be to its name.
    pub(crate) only_localhost: bool,
    /// What the older transport has to say.
    stream: Option<(Sender<String>, Receiver<String>)>,
}

impl Books {
    fn secret(&mut self, kind: &str) -> String {
        self.numbers += 1;
        let secret = format!("5ecret-{kind}-{}-{:p}", self.numbers, self);
        self.secrets.push(secret.clone());
        secret
    }

    fn grant(&mut self, scope: &str) -> Value {
        let (access, refresh) = (self.secret("access"), self.secret("refresh"));
        if !self.spoil {
            self.access.insert(access.clone(), scope.to_owned());
        }
        self.refresh.insert(refresh.clone(), scope.to_owned());
        let mut answer = json!({
            "access_token": access,
            "token_type": "bearer",
            "refresh_token": refresh,
            "scope": scope,
        });
        if let Some(expires_in) = &self.expires_in {
            answer["expires_in"] = expires_in.clone();
        }
        answer
    }

    /// The access tokens that were given out are good no more.
    pub(crate) fn expire(&mut self) {
        self.access.clear();
    }

    /// All tokens are good no more.
    pub(crate) fn revoke(&mut self) {
        self.access.clear();
        self.refresh.clear();
    }
}

/// The server, with its books.
pub(crate) struct Both {
    pub(crate) server: Server,
    pub(crate) books: Arc<Mutex<Books>>,
}

impl Both {
    pub(crate) fn start() -> Self {
        let books = Arc::new(Mutex::new(Books::default()));
        let kept = Arc::clone(&books);
        let server = Server::start(move |call| answer(call, &kept));
        Self { server, books }
    }

    pub(crate) fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap()
    }

    /// What `look` finds in the books.
    pub(crate) fn seen<T>(&self, look: impl FnOnce(&Books) -> T) -> T {
        look(&self.books())
    }

    /// Settings with a person who agrees.
    pub(crate) fn builder(&self) -> OAuthBuilder {
        let books = Arc::clone(&self.books);
        OAuth::builder().consent(consent_fn(REDIRECT_URI, move |url| {
            let redirected = agree(&url, &books);
            async move { Ok(redirected) }
        }))
    }

    pub(crate) fn http(&self, oauth: &OAuth) -> Http {
        self.server.transport().oauth(oauth)
    }

    /// A client that has signed in.
    pub(crate) async fn signed_in(&self, oauth: &OAuth) -> (Client, Driver) {
        let http = self.http(oauth);
        oauth.login(&http).await.unwrap();
        Client::connect(http).await.unwrap()
    }

    pub(crate) async fn status(&self, oauth: &OAuth) -> Option<Status> {
        oauth.status(&self.http(oauth)).await.unwrap()
    }
}

/// A call that the server answers only if it has a token.
pub(crate) async fn call(client: &Client) -> Result<(), Error> {
    client.call_tool("echo", json!({})).await.map(drop)
}

pub(crate) fn auth(error: &Error) -> &AuthError {
    match error.kind() {
        ErrorKind::Auth(error) => error,
        _ => panic!("{error:#}"),
    }
}

pub(crate) fn needs_login(error: &Error) -> bool {
    matches!(auth(error).kind(), AuthErrorKind::LoginRequired { .. })
}

/// Runs a client with its driver, and closes it.
pub(crate) async fn with_client<T>(
    run: Run,
    (client, driver): (Client, Driver),
    app: impl AsyncFnOnce(&Client) -> T,
) -> T {
    run.drive(driver, async {
        let output = app(&client).await;
        client.close().await;
        output
    })
    .await
}

/// Runs a client with its driver for one call, which succeeds.
pub(crate) async fn works(run: Run, connected: (Client, Driver)) {
    with_client(run, connected, async |client| call(client).await.unwrap()).await;
}

/// What a person brings back who is sent to `url`.
pub(crate) fn agree(url: &str, books: &Mutex<Books>) -> String {
    let mut books = books.lock().unwrap();
    let fields = fields(url.split_once('?').unwrap().1);
    books.asked += 1;
    books.secrets.push(fields["state"].clone());
    assert_eq!((&*fields["code_challenge_method"], &*fields["response_type"]), ("S256", "code"));
    let (redirect, state) = (fields["redirect_uri"].clone(), fields["state"].clone());
    if books.denies {
        return format!("{redirect}?error=access_denied&state={state}");
    }
    let code = books.secret("code");
    books.codes.insert(code.clone(), fields);
    format!("{redirect}?code={code}&state={state}")
}

pub(crate) fn fields(form: &str) -> HashMap<String, String> {
    let decoded = |text: &str| {
        let mut bytes = text.bytes();
        let mut plain = Vec::new();
        while let Some(byte) = bytes.next() {
            plain.push(match byte {
                b'%' => {
                    let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
                    u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
                }
                byte => byte,
            });
        }
        String::from_utf8(plain).unwrap()
    };
    let pairs = form.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (decoded(name), decoded(value))).collect()
}

fn answer(call: &mut Call, books: &Mutex<Books>) {
    let target = call.request.target.clone();
    let path = target.split('?').next().unwrap();
    let base = format!("http://{}", call.request.header("host").unwrap());
    if !["/mcp", "/sse"].contains(&path) {
        for forbidden in ["authorization", "x-api-key", "mcp-session-id", "cookie"] {
            let header = call.request.header(forbidden).filter(|value| !value.starts_with("Basic "));
            assert_eq!(header, None, "{path} is given {forbidden}");
        }
        assert_eq!(call.request.header("accept"), Some("application/json"));
    }
    let discovery = books.lock().unwrap().discovery;
    match path {
        "/mcp" => mcp(call, books, &base),
        "/sse" => sse(call, books, &base),
        _ if path.starts_with("/.well-known/") && discovery.is_some() => {
            call.respond(discovery.unwrap_or_default(), &[], "");
        }
        "/.well-known/oauth-protected-resource/sse" => {
            let document = json!({ "resource": format!("{base}/sse"), "authorization_servers": [base] });
            call.json(&[], &document.to_string());
        }
        "/.well-known/oauth-protected-resource/mcp" => {
            let document = json!({ "resource": format!("{base}/mcp"), "authorization_servers": [base] });
            call.json(&[], &document.to_string());
        }
        "/.well-known/oauth-authorization-server" => {
            let document = json!({
                "issuer": base,
                "authorization_endpoint": format!("{base}/authorize"),
                "token_endpoint": format!("{base}/token"),
                "registration_endpoint": format!("{base}/register"),
                "revocation_endpoint": format!("{base}/revoke"),
                "code_challenge_methods_supported": ["S256"],
                "token_endpoint_auth_methods_supported": ["client_secret_post"],
            });
            call.json(&[], &document.to_string());
        }
        "/register" if is_refused(call, books) => {
            let answer = r#"{"error":"invalid_redirect_uri"}"#;
            call.json_as("400 Bad Request", answer);
        }
        "/register" => {
            let answer = {
                let mut books = books.lock().unwrap();
                books.registrations += 1;
                let (id, secret) = (format!("client-{}", books.registrations), books.secret("client"));
                let mut answer = call.request.body.clone();
                answer["client_id"] = json!(id);
                answer["client_secret"] = json!(secret);
                answer["token_endpoint_auth_method"] = json!("client_secret_post");
                answer
            };
            call.json_as("201 Created", &answer.to_string());
        }
        "/token" => token(call, books, &base),
        "/revoke" => {
            let form = fields(&call.text());
            let mut books = books.lock().unwrap();
            books.revocations += 1;
            books.refresh.remove(&form["token"]);
            drop(books);
            call.respond("200 OK", &[], "");
        }
        _ => call.respond("404 Not Found", &[], ""),
    }
}

fn is_refused(call: &mut Call, books: &Mutex<Books>) -> bool {
    books.lock().unwrap().only_localhost && !call.text().contains("http://localhost:")
}

fn mcp(call: &mut Call, books: &Mutex<Books>, base: &str) {
    let token = call.request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
    let scope = token.and_then(|token| books.lock().unwrap().access.get(token).cloned());
    let path = call.request.target.clone();
    let metadata = format!("resource_metadata=\"{base}/.well-known/oauth-protected-resource{path}\"");
    match scope {
        Some(scope) if call.request.tool() == "admin" && !scope.split(' ').any(|it| it == "admin") => {
            let challenge =
                format!("WWW-Authenticate: Bearer error=\"insufficient_scope\", scope=\"admin\", {metadata}");
            call.respond("403 Forbidden", &[&challenge], r#"{"error":"insufficient_scope"}"#);
        }
        Some(_) if books.lock().unwrap().mute && !call.request.tool().is_empty() => call.hold(),
        Some(_) => {
            if !task(call, books) {
                call.normal();
            }
        }
        None => {
            let (hook, count) = {
                let mut books = books.lock().unwrap();
                books.refused += 1;
                (books.on_refusal.clone(), books.refused)
            };
            let error = token.map_or("", |_| "error=\"invalid_token\", ");
            let echo = format!(
                "{{\"error\":\"invalid_token\",\"error_description\":{:?}}}",
                token.unwrap_or("none")
            );
            let challenge = format!("WWW-Authenticate: Bearer {error}scope=\"basic\", {metadata}");
            call.respond("401 Unauthorized", &[&challenge], &echo);
            if let Some(hook) = hook {
                hook(count);
            }
        }
    }
}

/// Answers what concerns tasks, and returns whether it did. A task is made at once, and then no token is good any more;
/// the next question finds the task completed.
fn task(call: &mut Call, books: &Mutex<Books>) -> bool {
    let task = |status| json!({ "taskId": "t", "status": status, "createdAt": "", "lastUpdatedAt": "", "ttl": null });
    let result = match call.request.rpc() {
        "initialize" => json!({
            "protocolVersion": "2025-11-25",
            "capabilities": { "tools": {}, "tasks": { "requests": { "tools": { "call": {} } } } },
            "serverInfo": { "name": "tasks", "version": "0" },
        }),
        "tools/call" if call.request.body["params"]["task"].is_object() => {
            books.lock().unwrap().revoke();
            json!({ "task": task("working") })
        }
        "tasks/get" => task("completed"),
        "tasks/result" => crate::fault::text_result("done"),
        _ => return false,
    };
    let answer = json!({ "jsonrpc": "2.0", "id": call.request.body["id"], "result": result });
    let session = format!("Mcp-Session-Id: {SESSION}");
    let gives_session = call.request.rpc() == "initialize" && !books.lock().unwrap().has_no_session;
    let headers: &[&str] = if gives_session { &[&session] } else { &[] };
    call.json(headers, &answer.to_string());
    true
}

/// The older transport: what POSTs ask is answered on the stream.
fn sse(call: &mut Call, books: &Mutex<Books>, base: &str) {
    if !is_let_in(call, books) {
        return mcp(call, books, base);
    }
    let (answers, answered) = {
        let mut books = books.lock().unwrap();
        let (sender, receiver) = books.stream.get_or_insert_with(smol::channel::unbounded);
        (sender.clone(), receiver.clone())
    };
    if call.request.method == "POST" {
        if crate::fault::answer(&call.request.body).is_some() {
            answers.send_blocking(call.answer()).unwrap();
        }
        return call.respond("202 Accepted", &[], "");
    }
    call.events();
    call.write("event: endpoint\ndata: /sse\n\n");
    while let Ok(answer) = answered.recv_blocking() {
        if !call.event(&answer) {
            return;
        }
    }
}

fn is_let_in(call: &Call, books: &Mutex<Books>) -> bool {
    let token = call.request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
    token.is_some_and(|token| books.lock().unwrap().access.contains_key(token))
}

fn token(call: &mut Call, books: &Mutex<Books>, base: &str) {
    let form = fields(&call.text());
    let refuse = |call: &mut Call, error: &str| {
        // As with some servers, the answer repeats what came.
        let echo: Vec<_> = form.values().cloned().collect();
        let body = json!({ "error": error, "error_description": echo.join(" ") });
        call.json_as("400 Bad Request", &body.to_string());
    };
    let then = {
        let mut books = books.lock().unwrap();
        for name in ["code_verifier", "client_secret", "refresh_token", "code"] {
            books.secrets.extend(form.get(name).cloned());
        }
        books.forms.push(form.clone());
        match &*form["grant_type"] {
            "refresh_token" => books.then.clone(),
            _ => Then::Answer,
        }
    };
    if let Then::Say(status, header, body) = &then {
        let body = body.replace("$TOKEN", form.get("refresh_token").map_or("", |it| it));
        return call.respond(status, &[header, "Content-Type: application/json"], &body);
    }
    assert!([format!("{base}/mcp"), format!("{base}/sse")].contains(&form["resource"]));
    let answer = {
        let mut books = books.lock().unwrap();
        match &*form["grant_type"] {
            "authorization_code" => books.codes.remove(&form["code"]).map(|asked| {
                assert_eq!(asked["redirect_uri"], form["redirect_uri"]);
                books.codes_exchanged += 1;
                let mut scope = asked.get("scope").cloned().unwrap_or_default();
                if books.is_stingy {
                    scope = scope.replace("admin", "").trim().to_owned();
                }
                books.grant(&scope)
            }),
            "refresh_token" => {
                books.refreshes += 1;
                let token = &form["refresh_token"];
                let scope = books.refresh.remove(token);
                if books.used.contains(token) {
                    // That looks like a theft.
                    books.is_revoked = true;
                    books.revoke();
                }
                books.used.insert(token.clone());
                scope.filter(|_| !books.is_revoked).map(|scope| books.grant(&scope))
            }
            _ => None,
        }
    };
    match (answer, then) {
        (None, _) => refuse(call, "invalid_grant"),
        (Some(_), Then::HangUp) => {}
        (Some(answer), then) => {
            if let Then::Hold(gate) = then {
                gate.wait();
            }
            call.json(&["Cache-Control: no-store"], &answer.to_string());
        }
    }
}
