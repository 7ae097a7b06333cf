//! `docs/errors.md`: every failure is provoked, and what the caller sees is compared with the page, word for
//! word. With `ERROR_REFERENCE=write` the page is written anew.
#![cfg(all(target_os = "linux", feature = "mcp-stdio", feature = "mcp-http", feature = "mcp-tls"))]

mod fault;

use fault::http::{Call, Server};
use fault::lines::{self, Peer};
use fault::run::once;
use fault::{answer, text_result, tool};
use futures::future::join;
use serde_json::{Value, json};
use shared_fate::Cause;
use shared_fate::mcp::{
    BoxFuture, Builder, CallOptions, Client, ConnectError, Connecting, Error, ErrorKind, Http, HttpError,
    Limits, Memory, Mode, Net, RpcError, Sse, Stdio, TokenProvider,
};
use std::fmt::Write as _;
use std::io::{self, Read, Write as _};
use std::net::TcpListener;
use std::pin::Pin;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use std::{env, fs, thread};

const HEAD: &str = "\
# Error reference

What the caller of a failed call, or of `connect`, sees. Each failure is provoked by `tests/error_reference.rs`, and
this page is its output (`ERROR_REFERENCE=write cargo test --all-features --test error_reference`).

The first line of each is `{error:#}`, the whole chain. Where that is longer than `{error}`, the latter is the second
line. Then the kind (`Error::kind`), the delivery (`Error::delivery`), and whether `Error::is_retryable`.
The words and numbers of the operating system are those of Linux.

";

/// The page.
struct Page(String);

impl Page {
    fn section(&mut self, title: &str) {
        write!(self.0, "## {title}\n\n").unwrap();
    }

    fn add(&mut self, what: &str, error: &Error) {
        let (short, long) = (error.to_string(), format!("{error:#}"));
        write!(self.0, "**{what}**\n\n```text\n{long}\n").unwrap();
        if short != long {
            writeln!(self.0, "{short}").unwrap();
        }
        let retryable = if error.is_retryable() { "retryable" } else { "not retryable" };
        let (kind, delivery) = (kind(error), error.delivery());
        write!(self.0, "```\n\n`{kind}`, `{delivery:?}`, {retryable}").unwrap();
        if let Some(wait) = error.http().and_then(|http| http.retry_after()) {
            write!(self.0, "; `retry_after()` is {wait:?}").unwrap();
        }
        if let Some(challenge) = error.http().and_then(|http| http.www_authenticate().first()) {
            write!(self.0, "; `www_authenticate()` is `{challenge}`").unwrap();
        }
        self.0 += "\n\n";
    }
}

/// The kind's name; of a session's end, with the cause's.
fn kind(error: &Error) -> String {
    let name = format!("{:?}", error.kind());
    let name = name.split(['(', '{', ' ']).next().unwrap_or_default().to_owned();
    match (error.kind(), error.session_cause()) {
        (ErrorKind::InvalidInput(input), _) => format!("{name}({input:?})").replace("\\\"", "\""),
        (ErrorKind::Io(io), _) => format!("{name}({:?})", io.stage()),
        (_, Some(Cause::Failed(cause))) => format!("{name}(Failed({}))", kind(cause)),
        (_, Some(Cause::Panicked(_))) => format!("{name}(Panicked)"),
        (_, Some(cause)) => format!("{name}({cause:?})"),
        _ => name,
    }
}

fn legacy() -> Builder {
    Client::builder().mode(Mode::Legacy)
}

fn small() -> Builder {
    let mut limits = Limits::default();
    limits.body = 1024;
    limits.event = 1024;
    limits.line = 1024;
    legacy().limits(limits)
}

/// A call over HTTP to which the server does `fault`.
async fn over_http(fault: impl Fn(&mut Call) + Send + Sync + 'static) -> Error {
    call_over_http(small(), CallOptions::default(), fault).await
}

async fn call_over_http(
    builder: Builder,
    options: CallOptions,
    fault: impl Fn(&mut Call) + Send + Sync + 'static,
) -> Error {
    let server = Server::start(move |call| match call.request.tool() {
        "broken" => fault(call),
        _ => call.normal(),
    });
    let (client, driver) = builder.connect(Http::new(&server.url()).unwrap()).await.unwrap();
    let client = client.with_options(options);
    driver.with(client.call_tool("broken", ())).await.unwrap_err()
}

/// Connecting over HTTP, where the server does `fault` to `method`.
async fn handshake(method: &'static str, fault: impl Fn(&mut Call) + Send + Sync + 'static) -> Error {
    let server = Server::start(move |call| match call.request.rpc() {
        rpc if rpc == method => fault(call),
        _ => call.normal(),
    });
    legacy().connect(Http::new(&server.url()).unwrap()).await.map(drop).unwrap_err()
}

async fn connect_to(url: &str) -> Error {
    legacy().connect(Http::new(url).unwrap()).await.map(drop).unwrap_err()
}

/// A call over a pipe to which the server does `fault`.
async fn over_a_pipe(fault: fn(&Peer, &Value)) -> Error {
    call_over_a_pipe(small(), CallOptions::default(), fault).await
}

async fn call_over_a_pipe(builder: Builder, options: CallOptions, fault: fn(&Peer, &Value)) -> Error {
    let (stdio, _server) = lines::pair(move |peer, message| match tool(message) {
        "broken" => fault(peer, message),
        _ => peer.normal(message),
    });
    let (client, driver) = builder.connect(stdio).await.unwrap();
    let client = client.with_options(options);
    driver.with(client.call_tool("broken", ())).await.unwrap_err()
}

/// A call while the server's process does `fault`, and the one after it.
async fn in_a_process(fault: fn(&Peer)) -> (Error, Error) {
    let (stdio, _server) = lines::process(move |peer, message| match tool(message) {
        "broken" => fault(peer),
        _ => peer.normal(message),
    });
    let (client, driver) = legacy().connect(stdio).await.unwrap();
    driver
        .with(async {
            let error = client.call_tool("broken", ()).await.unwrap_err();
            (error, client.ping().await.unwrap_err())
        })
        .await
}

fn reply(message: &Value, result: &Value) -> String {
    json!({ "jsonrpc": "2.0", "id": message["id"], "result": result }).to_string()
}

/// A server in memory that answers as `answer` says.
async fn in_memory<T>(
    builder: Builder,
    answer: impl Fn(&Value) -> Option<Value>,
    app: impl AsyncFn(Client) -> T,
) -> Result<T, Error> {
    let (transport, server) = Memory::pair();
    let serve = async {
        while let Some(message) = server.receive().await {
            if let Some(answer) = answer(&serde_json::from_slice(&message).unwrap()) {
                let _ = server.send(answer.to_string()).await;
            }
        }
    };
    let call = async {
        let (client, driver) = builder.connect(transport).await?;
        let output = driver
            .with(async {
                let output = app(client.clone()).await;
                client.close().await;
                output
            })
            .await;
        Ok(output)
    };
    join(serve, call).await.1
}

/// A network whose names are unknown, in the words of one resolver on every system.
struct NoNames;

impl Net for NoNames {
    fn connect<'a>(&'a self, _: &'a str, _: u16) -> Connecting<'a> {
        let error = io::Error::other("failed to lookup address information: Name or service not known");
        Box::pin(std::future::ready(Err(ConnectError::Dns(error))))
    }

    fn sleep(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::pending())
    }
}

/// A network in which connecting never ends, and time flies.
struct Stuck;

impl Net for Stuck {
    fn connect<'a>(&'a self, _: &'a str, _: u16) -> Connecting<'a> {
        Box::pin(std::future::pending())
    }

    fn sleep(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::ready(()))
    }
}

struct NoTokens;

impl TokenProvider for NoTokens {
    fn token<'a>(
        &'a self,
        _: Option<&'a HttpError>,
    ) -> BoxFuture<'a, Result<String, Box<dyn std::error::Error + Send + Sync>>> {
        Box::pin(std::future::ready(Err("the keyring is locked".into())))
    }
}

/// Accepts TLS with a certificate of an authority that nobody knows.
fn tls_server() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let accepting = listener.try_clone().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    let config = Arc::new(config);
    thread::spawn(move || {
        for stream in accepting.incoming() {
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let _ = rustls::StreamOwned::new(connection, stream.unwrap()).read(&mut [0]);
        }
    });
    listener
}

#[test]
fn the_error_reference_is_what_callers_see() {
    once(async |_| {
        let mut page = Page(HEAD.to_owned());
        input(&mut page).await;
        connecting(&mut page).await;
        statuses(&mut page).await;
        replies(&mut page).await;
        limits(&mut page).await;
        deadlines(&mut page).await;
        handshakes(&mut page).await;
        ends(&mut page).await;
        let page = page.0.trim_end().to_owned() + "\n";
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/errors.md");
        if env::var("ERROR_REFERENCE").is_ok_and(|it| it == "write") {
            fs::write(path, &page).unwrap();
        }
        let committed = fs::read_to_string(path).unwrap();
        for (line, (found, expected)) in page.lines().zip(committed.lines()).enumerate() {
            assert_eq!(found, expected, "docs/errors.md, line {}", line + 1);
        }
        assert_eq!(page.len(), committed.len(), "docs/errors.md is of another length");
    });
}

async fn input(page: &mut Page) {
    page.section("Input that cannot be used");
    for (what, url) in [
        ("A URL that is none", "http://"),
        ("A URL without a scheme", "localhost/mcp"),
        ("A URL with another scheme", "ftp://localhost/mcp"),
        ("A URL with credentials in it", "http://me:secret@localhost/mcp"),
    ] {
        page.add(what, &Http::new(url).unwrap_err());
    }
    let http = || Http::new("http://localhost/mcp").unwrap();
    page.add("A header value with a line break", &http().header("x-tenant", "a\r\nb: c").unwrap_err());
    page.add("A header name with a blank", &http().header("x tenant", "a").unwrap_err());
    page.add("A header that the transport sets itself", &http().header("mcp-session-id", "1").unwrap_err());
    page.add("A token with a line break", &http().bearer("a\nb").unwrap_err());
    let error = in_memory(legacy(), answer, async |client| {
        let array = client.call_tool("echo", [1, 2]).await.unwrap_err();
        let method = client.request("", ()).await.unwrap_err();
        let roots = client.set_roots([]).await.unwrap_err();
        let listen = client.listen(&Default::default()).await.map(drop).unwrap_err();
        let again = client.reconnect().await.map(drop).unwrap_err();
        [array, method, roots, listen, again]
    });
    let [array, method, roots, listen, again] = error.await.unwrap();
    page.add("Arguments that are not a JSON object", &array);
    page.add("A method without a name", &method);
    page.add("`set_roots` on a client made without roots", &roots);
    page.add("`listen` with a server of an older revision", &listen);
    page.add("`reconnect` where the transport cannot be had again", &again);
}

async fn connecting(page: &mut Page) {
    page.section("Connecting");
    page.add("Command not found", &Stdio::spawn(Command::new("/no/such/server")).unwrap_err());
    page.add("Command not executable", &Stdio::spawn(Command::new("/etc/passwd")).unwrap_err());
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    page.add("Connection refused", &connect_to(&format!("http://{gone}/mcp")).await);
    let http = Http::new("http://server.invalid/mcp").unwrap().net(NoNames);
    page.add(
        "The name is unknown (the resolver's words)",
        &legacy().connect(http).await.map(drop).unwrap_err(),
    );
    let server = tls_server();
    let url = format!("https://localhost:{}/mcp", server.local_addr().unwrap().port());
    let mut other = rcgen::CertificateParams::default();
    other.distinguished_name.push(rcgen::DnType::CommonName, "another authority");
    let root = other.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().to_vec();
    let http = Http::new(&url).unwrap().root_certificate(root.clone());
    let error = legacy().connect(http).await.map(drop).unwrap_err();
    page.add("The certificate is of an unknown authority", &error);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://localhost:{}/mcp", listener.local_addr().unwrap().port());
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        let _ = stream.read(&mut [0; 4096]);
    });
    let http = Http::new(&url).unwrap().root_certificate(root);
    let error = legacy().connect(http).await.map(drop).unwrap_err();
    page.add("https to a server that does not speak TLS", &error);
    let http = Http::new("http://server.invalid/mcp").unwrap().net(Stuck);
    page.add("Connecting takes too long", &legacy().connect(http).await.map(drop).unwrap_err());
    let http = Http::new("http://server.invalid/mcp").unwrap().token_provider(NoTokens);
    page.add("The caller's token provider fails", &legacy().connect(http).await.map(drop).unwrap_err());
    page.add(
        "The server does not speak HTTP",
        &over_http(|call| {
            call.take();
            call.write("220 mail.example ESMTP\r\n");
        })
        .await,
    );
    page.add("The connection is reset before the answer", &over_http(Call::reset).await);
    page.add("The connection is closed before the answer", &over_http(Call::take).await);
    page.add(
        "The connection breaks in the middle of the answer",
        &over_http(|call| {
            call.head("200 OK", &["Content-Type: application/json", "Content-Length: 1000"]);
            call.write("{\"jsonrpc\"");
        })
        .await,
    );
}

async fn statuses(page: &mut Page) {
    page.section("HTTP statuses");
    page.add("400", &over_http(|call| call.respond("400 Bad Request", &[], "no such parameter")).await);
    page.add(
        "401",
        &over_http(|call| {
            let challenge = "WWW-Authenticate: Bearer resource_metadata=\"https://localhost/.well-known/x\"";
            call.respond("401 Unauthorized", &[challenge], "");
        })
        .await,
    );
    page.add("403", &over_http(|call| call.respond("403 Forbidden", &[], "not for you")).await);
    let server = Server::start(|call| match (call.request.rpc(), call.request.tool()) {
        ("initialize", _) => {
            let answer = call.answer();
            call.json(&[], &answer);
        }
        (_, "broken") => call.respond("404 Not Found", &[], "no such page"),
        _ => call.normal(),
    });
    let (client, driver) = legacy().connect(Http::new(&server.url()).unwrap()).await.unwrap();
    page.add("404, without a session id", &driver.with(client.call_tool("broken", ())).await.unwrap_err());
    let expired = over_http(|call| call.respond("404 Not Found", &[], "session not found")).await;
    page.add("404 to a request with a session id: the session ends", &expired);
    page.add("405", &over_http(|call| call.respond("405 Method Not Allowed", &[], "")).await);
    page.add(
        "429 with `Retry-After: 30`",
        &over_http(|call| {
            call.respond("429 Too Many Requests", &["Retry-After: 30"], "slow down");
        })
        .await,
    );
    page.add(
        "500 with a JSON-RPC error",
        &over_http(|call| {
            let error = json!({ "code": -32603, "message": "the database is locked" });
            let body = json!({ "jsonrpc": "2.0", "id": call.request.body["id"], "error": error });
            call.respond("500 X", &["Content-Type: application/json"], &body.to_string());
        })
        .await,
    );
    page.add(
        "500 with a web page",
        &over_http(|call| {
            call.respond("500 X", &["Content-Type: text/html"], "<html>\n<h1>Internal Server Error</h1>");
        })
        .await,
    );
    page.add("503", &over_http(|call| call.respond("503 X", &["Retry-After: 5"], "")).await);
    page.add(
        "Redirect to another origin",
        &over_http(|call| {
            call.respond("307 X", &["Location: http://elsewhere.invalid/mcp"], "");
        })
        .await,
    );
    page.add("Redirect without a target", &over_http(|call| call.respond("308 X", &[], "")).await);
    page.add(
        "302: not followed, it would make a GET of the POST",
        &over_http(|call| {
            call.respond("302 Found", &["Location: /elsewhere"], "");
        })
        .await,
    );
    page.add("Redirect loop", &over_http(|call| call.respond("307 X", &["Location: /mcp"], "")).await);
}

async fn replies(page: &mut Page) {
    page.section("Answers that are no reply");
    page.add("202", &over_http(|call| call.respond("202 Accepted", &[], "")).await);
    page.add("204", &over_http(|call| call.respond("204 No Content", &[], "")).await);
    page.add("200 with an empty body", &over_http(|call| call.json(&[], "")).await);
    page.add(
        "200 with a web page",
        &over_http(|call| {
            call.respond("200 OK", &["Content-Type: text/html; charset=utf-8"], "<html>");
        })
        .await,
    );
    page.add("200 without a content type", &over_http(|call| call.respond("200 OK", &[], "{}")).await);
    page.add("JSON that breaks off", &over_http(|call| call.json(&[], "{\"jsonrpc\":\"2.0\",")).await);
    page.add("JSON that is no message", &over_http(|call| call.json(&[], "[1]")).await);
    page.add(
        "The reply has a foreign id",
        &over_http(|call| {
            call.json(&[], "{\"jsonrpc\":\"2.0\",\"id\":4711,\"result\":{}}");
        })
        .await,
    );
    page.add(
        "The reply has both a result and an error",
        &over_http(|call| {
            let error = json!({ "code": 1, "message": "x" });
            let body =
                json!({ "jsonrpc": "2.0", "id": call.request.body["id"], "result": {}, "error": error });
            call.json(&[], &body.to_string());
        })
        .await,
    );
    page.add(
        "A notification in place of the reply",
        &over_http(|call| {
            call.json(&[], "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\"}");
        })
        .await,
    );
    page.add("The event stream ends before the reply", &over_http(Call::events).await);
    page.add(
        "It ends after an event with an id, and resuming it is refused",
        &over_http(|call| {
            call.events();
            call.write("id: 1\nretry: 1\ndata: \n\n");
        })
        .await,
    );
    let server = Server::start(|call| match (&*call.request.method, call.request.tool()) {
        ("GET", _) if call.request.header("last-event-id").is_some() => {
            call.respond("503 X", &[], "restarting")
        }
        (_, "broken") => {
            call.events();
            call.write("id: 1\nretry: 1\ndata: \n\n");
        }
        _ => call.normal(),
    });
    let mut once = Limits::default();
    once.resumptions = 1;
    let (client, driver) = legacy().limits(once).connect(Http::new(&server.url()).unwrap()).await.unwrap();
    let error = driver.with(client.call_tool("broken", ())).await.unwrap_err();
    page.add("It ends after an event with an id, and `Limits::resumptions` (1 here) did not help", &error);
    page.add(
        "An event that is no message",
        &over_http(|call| {
            call.events();
            call.event("hello");
        })
        .await,
    );
    page.add(
        "A JSON-RPC error",
        &over_http(|call| {
            let error =
                json!({ "code": -32602, "message": "no tool of that name", "data": { "name": "broken" } });
            let body = json!({ "jsonrpc": "2.0", "id": call.request.body["id"], "error": error });
            call.json(&[], &body.to_string());
        })
        .await,
    );
    page.add(
        "A result that does not have the method's form",
        &over_http(|call| {
            let body = reply(&call.request.body, &json!({ "content": "a string" }));
            call.json(&[], &body);
        })
        .await,
    );
    page.add(
        "A reply that is malformed, over a pipe",
        &over_a_pipe(|peer, message| {
            peer.say(&json!({ "jsonrpc": "2.0", "id": message["id"] }));
        })
        .await,
    );

    let cursor = in_memory(
        legacy(),
        |message| match message["method"].as_str() {
            Some("tools/list") => {
                let page = json!({ "tools": [], "nextCursor": "again" });
                Some(json!({ "jsonrpc": "2.0", "id": message["id"], "result": page }))
            }
            _ => answer(message),
        },
        async |client| client.list_tools().await.unwrap_err(),
    );
    page.add("The server repeats a page cursor", &cursor.await.unwrap());

    let modern = |result: Value| {
        move |message: &Value| {
            let result = match message["method"].as_str()? {
                "server/discover" => json!({ "supportedVersions": ["2026-07-28"], "capabilities": {} }),
                "tools/call" => result.clone(),
                _ => json!({}),
            };
            let id = message.get("id")?;
            Some(json!({ "jsonrpc": "2.0", "id": id, "result": result }))
        }
    };
    let asking = || {
        let request = json!({ "method": "sampling/createMessage", "params": { "messages": [] } });
        modern(json!({ "resultType": "input_required", "inputRequests": { "q": request } }))
    };
    let call = async |client: Client| client.call_tool("broken", ()).await.unwrap_err();
    let refusing =
        Client::builder().on_sampling(|_| std::future::ready(Err(RpcError::new(-1, "the user said no"))));
    page.add("The client's handler refuses", &in_memory(refusing, asking(), call).await.unwrap());
    let error = in_memory(Client::builder(), asking(), call).await.unwrap();
    page.add("The server asks for input that was not offered", &error);
    let answering = Client::builder().on_sampling(|_| {
        std::future::ready(Ok(shared_fate::mcp::types::Json::new(&json!({ "role": "assistant" })).unwrap()))
    });
    let error = in_memory(answering, asking(), call).await.unwrap();
    page.add("The server asks for input again and again", &error);
    let other = modern(json!({ "resultType": "riddle" }));
    page.add("A result of an unknown kind", &in_memory(Client::builder(), other, call).await.unwrap());
}

async fn limits(page: &mut Page) {
    page.section("Limits (of 1024 bytes here)");
    fn long(message: &Value) -> String {
        reply(message, &text_result(&"x".repeat(2000)))
    }
    page.add(
        "A body that is too long",
        &over_http(|call| {
            let body = long(&call.request.body);
            call.json(&[], &body);
        })
        .await,
    );
    page.add(
        "An event that is too long",
        &over_http(|call| {
            let body = long(&call.request.body);
            call.events();
            call.event(&body);
        })
        .await,
    );
    page.add("A line that is too long", &over_a_pipe(|peer, message| peer.write(long(message) + "\n")).await);
    let mut limits = Limits::default();
    limits.pending_calls = 1;
    let (stdio, server) = lines::pair(lines::normal);
    let (client, driver) = legacy().limits(limits).connect(stdio).await.unwrap();
    let second = async {
        server.arrival(|message| tool(message) == "held").await;
        let error = client.ping().await.unwrap_err();
        client.close().await;
        error
    };
    let (_, error) = driver.with(join(client.call_tool("held", ()), second)).await;
    page.add("More pending calls than allowed (1 here)", &error);
    let mut limits = Limits::default();
    limits.stray = 3;
    let error = call_over_a_pipe(legacy().limits(limits), CallOptions::default(), |peer, _| {
        peer.write("Loading...\n".repeat(10));
    });
    page.add("A flood of messages that belong to nobody: the session ends", &error.await);
}

async fn deadlines(page: &mut Page) {
    page.section("Deadlines");
    let mut silence = CallOptions::default();
    silence.silence = Some(Duration::from_millis(50));
    page.add("Silence", &call_over_a_pipe(legacy(), silence.clone(), |_, _| ()).await);
    let total = CallOptions::timeout(Duration::from_millis(50));
    page.add("The call as a whole", &call_over_a_pipe(legacy(), total, |_, _| ()).await);
    page.add("Silence over HTTP", &call_over_http(legacy(), silence, Call::hold).await);
}

async fn handshakes(page: &mut Page) {
    page.section("The handshake");
    page.add("Refused", &handshake("initialize", |call| {
        let error = json!({ "code": -32602, "message": "Unsupported protocol version", "data": { "supported": ["1999"] } });
        let body = json!({ "jsonrpc": "2.0", "id": call.request.body["id"], "error": error });
        call.json(&[], &body.to_string());
    }).await);
    page.add(
        "A revision that this client does not speak",
        &handshake("initialize", |call| {
            let body =
                reply(&call.request.body, &json!({ "protocolVersion": "1999-12-31", "capabilities": {} }));
            call.json(&[], &body);
        })
        .await,
    );
    page.add(
        "A session id with characters that are not allowed",
        &handshake("initialize", |call| {
            let answer = call.answer();
            call.json(&["Mcp-Session-Id: a b"], &answer);
        })
        .await,
    );
    page.add(
        "`initialized` refused",
        &handshake("notifications/initialized", |call| {
            call.respond("503 X", &[], "warming up");
        })
        .await,
    );
    page.add(
        "No endpoint: neither Streamable HTTP nor HTTP+SSE",
        &handshake("initialize", |call| {
            call.respond("404 Not Found", &[], "no such page");
        })
        .await,
    );
    let sse = |endpoint: &'static str| {
        Server::start(move |call| {
            call.events();
            call.write(format!("event: endpoint\ndata: {endpoint}\n\n"));
            call.hold();
        })
    };
    let connect = async |server: Server| {
        legacy().connect(Sse::new(&server.url()).unwrap()).await.map(drop).unwrap_err()
    };
    page.add("HTTP+SSE: the endpoint is elsewhere", &connect(sse("http://elsewhere.invalid/post")).await);
    let server = Server::start(|call| call.respond("503 X", &[], "warming up"));
    page.add("HTTP+SSE: the event stream is refused", &connect(server).await);
    let server = Server::start(|call| call.respond("200 OK", &["Content-Type: text/html"], "<html>"));
    page.add("HTTP+SSE: what comes is no event stream", &connect(server).await);
    let server = Server::start(|call| call.events());
    page.add("HTTP+SSE: the event stream ends", &connect(server).await);
    let mut command = Command::new("sh");
    command.args(["-c", "read line; echo 'no config file' >&2; exit 3"]);
    let error = legacy().connect(Stdio::spawn(command).unwrap()).await.map(drop).unwrap_err();
    page.add("The process exits during the handshake", &error);
}

async fn ends(page: &mut Page) {
    page.section("The end of the session");
    let (error, later) = in_a_process(|peer| {
        peer.write_error("starting\nfatal: disk full\n");
        peer.exit(7);
    })
    .await;
    page.add("The process exits", &error);
    page.add("A call after that: nothing is sent to a server that is gone", &later);

    let (stdio, server) = lines::process(lines::normal);
    let (client, driver) = legacy().connect(stdio).await.unwrap();
    let process = server.process().await;
    let killing = async {
        server.arrival(|message| tool(message) == "held").await;
        process.kill();
    };
    let (result, ()) = driver.with(join(client.call_tool("held", ()), killing)).await;
    page.add("The process is killed", &result.unwrap_err());

    page.add("The other end of a pipe is closed", &over_a_pipe(|peer, _| peer.hang_up()).await);

    let (transport, server) = Memory::pair();
    let serve = async {
        while let Some(message) = server.receive().await {
            let message = serde_json::from_slice(&message).unwrap();
            if tool(&message) == "broken" {
                break;
            }
            if let Some(answer) = answer(&message) {
                server.send(answer.to_string()).await.unwrap();
            }
        }
        drop(server);
    };
    let call = async {
        let (client, driver) = legacy().connect(transport).await.unwrap();
        driver.with(client.call_tool("broken", ())).await.unwrap_err()
    };
    page.add("The server in memory is dropped", &join(serve, call).await.1);

    let (stdio, server) = lines::pair(lines::normal);
    let (client, driver) = legacy().connect(stdio).await.unwrap();
    let (alone, abort) = futures::future::abortable(driver);
    let aborting = async {
        server.arrival(|message| tool(message) == "held").await;
        abort.abort();
    };
    let driving = async {
        let _ = alone.await;
    };
    let (result, (), ()) = futures::future::join3(client.call_tool("held", ()), aborting, driving).await;
    page.add("The driver is dropped", &result.unwrap_err());

    let builder = legacy().on_event(|_| panic!("no luck today"));
    let error = call_over_a_pipe(builder, CallOptions::default(), |peer, _| peer.write("Loading...\n"));
    page.add("The driver panics", &error.await);

    let closed = in_memory(legacy(), answer, async |client| {
        client.close().await;
        client.ping().await.unwrap_err()
    });
    page.add("The client is closed", &closed.await.unwrap());
}
