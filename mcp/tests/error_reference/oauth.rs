//! What keeps a request from getting a token.

use crate::fault::http::{Call, Server};
use crate::kit::legacy;
use crate::page::Page;
use serde_json::{Value, json};
use shared_fate_mcp::http::{AsyncIo, Connecting, Net};
use shared_fate_mcp::oauth::{
    ClientId, Grant, MemoryStore, OAuth, OAuthBuilder, OAuthTimeouts, Prompt, SigningKey, StoreKey, Stored,
    Swapped, TokenStore, consent_fn,
};
use shared_fate_mcp::runtime::BoxFuture;
use shared_fate_mcp::{Error, Http};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::time::Duration;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A network in which every name leads to one address, except for one that leads into a private network.
struct Names(SocketAddr);

impl Net for Names {
    fn connect<'a>(&'a self, _: &'a str, _: u16) -> Connecting<'a> {
        let port = self.0.port();
        Box::pin(async move { AsyncIo.connect("127.0.0.1", port).await })
    }

    fn connect_to<'a>(
        &'a self,
        host: &'a str,
        port: u16,
        allowed: &'a (dyn Fn(IpAddr) -> bool + Sync),
    ) -> Connecting<'a> {
        match host {
            "inner.example" => AsyncIo.connect_to("10.0.0.1", port, allowed),
            _ => self.connect(host, port),
        }
    }

    /// The time that a person has is over at once.
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        match duration >= OAuthTimeouts::default().person {
            true => Box::pin(std::future::ready(())),
            false => AsyncIo.sleep(duration),
        }
    }
}

/// Adds the error of connecting to a server whose documents are right, but for what `change` makes of them. That is called
/// with the path and the document, and may return another status.
async fn signing_in(
    page: &mut Page,
    what: &str,
    builder: OAuthBuilder,
    change: impl Fn(&str, &mut Value) -> Option<u16> + Send + Sync + 'static,
) {
    let error = connecting(builder, change).await;
    page.add(what, &error);
}

async fn connecting(
    builder: OAuthBuilder,
    change: impl Fn(&str, &mut Value) -> Option<u16> + Send + Sync + 'static,
) -> Error {
    let server = Server::start(move |call| answer(call, &change));
    let http = Http::new("http://localhost:8080/mcp").unwrap().net(Names(server.address()));
    legacy().connect(http.oauth(&builder.build())).await.map(drop).unwrap_err()
}

fn answer(call: &mut Call, change: &dyn Fn(&str, &mut Value) -> Option<u16>) {
    let base = "http://localhost:8080";
    let path = call.request.target.split('?').next().unwrap_or_default().to_owned();
    let mut document = match &*path {
        "/mcp" => json!({ "error": "invalid_token" }),
        "/.well-known/oauth-protected-resource/mcp" => {
            json!({ "resource": format!("{base}/mcp"), "authorization_servers": [base] })
        }
        "/.well-known/oauth-authorization-server" => json!({
            "issuer": base,
            "authorization_endpoint": format!("{base}/authorize"),
            "token_endpoint": format!("{base}/token"),
            "registration_endpoint": format!("{base}/register"),
            "code_challenge_methods_supported": ["S256"],
        }),
        "/register" => json!({ "client_id": "client", "token_endpoint_auth_method": "none" }),
        "/token" => json!({ "access_token": "token", "token_type": "Bearer" }),
        _ => Value::Null,
    };
    let wanted = if path == "/mcp" {
        401
    } else if document.is_null() {
        404
    } else {
        200
    };
    let status = change(&path, &mut document).unwrap_or(wanted);
    let status = format!("{status} {}", if status == 200 { "OK" } else { "X" });
    match &*path {
        "/mcp" => call.respond(&status, &["WWW-Authenticate: Bearer"], ""),
        _ => call.json_as(&status, &document.to_string()),
    }
}

/// Settings with a person who brings `back` back; `$STATE` in it stands for the state.
fn person(back: &'static str) -> OAuthBuilder {
    let consent = consent_fn("http://127.0.0.1:1/callback", move |url: String| async move {
        let state = url.split("state=").nth(1).and_then(|rest| rest.split('&').next()).unwrap_or_default();
        Ok(format!("http://127.0.0.1:1/callback?{}", back.replace("$STATE", state)))
    });
    OAuth::builder().consent(consent).prompt(Prompt::OnCall)
}

const AGREES: &str = "code=c0de-1&state=$STATE";

fn set(at: &'static str, member: &'static str, value: Value) -> impl Fn(&str, &mut Value) -> Option<u16> {
    move |path, document| {
        if path.contains(at) {
            document[member] = value.clone();
        }
        None
    }
}

fn nothing(_: &str, _: &mut Value) -> Option<u16> {
    None
}

fn refuses(at: &'static str, status: u16, answer: Value) -> impl Fn(&str, &mut Value) -> Option<u16> {
    move |path, document| {
        path.contains(at).then(|| {
            *document = answer.clone();
            status
        })
    }
}

const RESOURCE: &str = "oauth-protected-resource";
const SERVER: &str = "oauth-authorization-server";

/// A store that saves nothing.
struct Full(MemoryStore);

impl TokenStore for Full {
    fn load<'a>(&'a self, key: &'a StoreKey) -> BoxFuture<'a, Result<Option<Stored>, BoxError>> {
        self.0.load(key)
    }

    fn swap<'a>(
        &'a self,
        _: &'a StoreKey,
        _: Option<&'a Stored>,
        _: Option<&'a Stored>,
    ) -> BoxFuture<'a, Result<Swapped, BoxError>> {
        Box::pin(async { Err("the disk is full".into()) })
    }
}

pub(crate) async fn signing(page: &mut Page) {
    page.section("Signing in");
    signing_in(page, "Nobody may be asked", OAuth::builder(), nothing).await;
    signing_in(
        page,
        "The authorization server is in trouble",
        person(AGREES),
        refuses(SERVER, 503, json!({})),
    )
    .await;
    let none = |path: &str, _: &mut Value| path.starts_with("/.well-known/").then_some(404);
    signing_in(page, "Nothing says who gives out tokens", person(AGREES), none).await;
    let other = set(RESOURCE, "resource", json!("http://other.example/mcp"));
    signing_in(page, "The metadata is about another server", person(AGREES), other).await;
    let other = set(SERVER, "issuer", json!("http://other.example"));
    signing_in(page, "The authorization server is another one", person(AGREES), other).await;
    let odd = set(SERVER, "token_endpoint", json!(7));
    signing_in(page, "Its metadata cannot be used", person(AGREES), odd).await;
    let none = set(SERVER, "code_challenge_methods_supported", json!(["plain"]));
    signing_in(page, "It does not say that it knows PKCE", person(AGREES), none).await;
    let plain = set(SERVER, "token_endpoint", json!("http://as.example/token"));
    signing_in(page, "An endpoint is not https", person(AGREES), plain).await;
    let inner = set(SERVER, "registration_endpoint", json!("https://inner.example/register"));
    signing_in(page, "A document leads into a private network", person(AGREES), inner).await;
    let none = set(SERVER, "registration_endpoint", Value::Null);
    signing_in(page, "There is no way to be known there", person(AGREES), none).await;
    let client = ClientId::new("id").issuer("https://other.example");
    signing_in(page, "The client is another server's", person(AGREES).client(client), nothing).await;
    let refused = json!({ "error": "invalid_client_metadata", "error_description": "no native clients" });
    signing_in(page, "It does not register the client", person(AGREES), refuses("/register", 400, refused))
        .await;
    let consent = consent_fn("http://127.0.0.1:1/callback", |_| async { Err("there is no browser".into()) });
    let builder = OAuth::builder().consent(consent).prompt(Prompt::OnCall);
    signing_in(page, "The person cannot be asked", builder, nothing).await;
    let denies = "error=access_denied&error_description=not%20today&state=$STATE";
    signing_in(page, "The person says no", person(denies), nothing).await;
    signing_in(page, "What comes back belongs to another attempt", person("code=code&state=x"), nothing)
        .await;
    let consent = consent_fn("http://127.0.0.1:1/callback", |_| std::future::pending());
    let builder = OAuth::builder().consent(consent).prompt(Prompt::OnCall);
    signing_in(page, "The person does not answer", builder, nothing).await;
    let refused = json!({ "error": "invalid_grant", "error_description": "the code has expired" });
    signing_in(page, "The code is refused", person(AGREES), refuses("/token", 400, refused)).await;
    signing_in(page, "The answer has no token", person(AGREES), refuses("/token", 200, json!({}))).await;
    signing_in(page, "The server refuses each new token", person(AGREES), nothing).await;
    let builder = person(AGREES).store(Full(MemoryStore::new()));
    signing_in(page, "The store does not save", builder, nothing).await;
    let builder = OAuth::builder().grant(Grant::JwtBearer).client(ClientId::new("id"));
    signing_in(page, "Nobody yields an assertion", builder, nothing).await;
    page.add(
        "The key is of another form",
        &SigningKey::from_pem("-----BEGIN EC PRIVATE KEY-----").unwrap_err(),
    );
    page.add(
        "A setting cannot be used",
        &OAuth::builder().client_metadata_url("http://a.example/c").unwrap_err(),
    );
}
