//! What fails before there is an answer.

use crate::fault::answer;
use crate::fault::http::{Call, Vacant};
use crate::kit::{connect_to, in_memory, legacy, over_http};
use crate::page::Page;
use shared_fate_mcp::error::HttpError;
use shared_fate_mcp::http::{AsyncIo, ConnectError, Connecting, Net, Proxy};
use shared_fate_mcp::runtime::BoxFuture;
use shared_fate_mcp::{Error, Http, Stdio, TokenProvider};
use std::io::{self, Read, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

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

/// A network in which connecting never ends, and every timer is over at once.
struct Stuck;

impl Net for Stuck {
    fn connect<'a>(&'a self, _: &'a str, _: u16) -> Connecting<'a> {
        Box::pin(std::future::pending())
    }

    fn sleep(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::ready(()))
    }
}

/// A network in which every name leads to one address.
struct At(SocketAddr);

impl Net for At {
    fn connect<'a>(&'a self, _: &'a str, _: u16) -> Connecting<'a> {
        let port = self.0.port();
        Box::pin(async move { AsyncIo.connect("127.0.0.1", port).await })
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        AsyncIo.sleep(duration)
    }
}

/// The error of connecting through a proxy that gives `answer` to whatever it reads first.
async fn through_proxy(server: &str, proxy: &str, answer: &'static [u8]) -> Error {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let net = At(listener.local_addr().unwrap());
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(answer);
        let _ = stream.read(&mut [0; 4096]);
    });
    let http = Http::new(server).unwrap().net(net).proxy(Proxy::new(proxy).unwrap());
    legacy().connect(http).await.map(drop).unwrap_err()
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

/// The form of a certificate; what is in it is not looked at.
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

fn tls_config() -> rustls::ClientConfig {
    rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
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

pub(crate) async fn input(page: &mut Page) {
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
    let proxy = |url| Error::from(Proxy::new(url).unwrap_err());
    page.add("A proxy's URL with another scheme", &proxy("socks4://user:secret@proxy.example"));
    page.add("A proxy that is reached over TLS", &proxy("https://proxy.example"));
    page.add(
        "A client's certificate without its key",
        &http().client_certificate(CERTIFICATE, "").unwrap_err(),
    );
    let both = http().root_certificate([1]).tls_config(tls_config());
    let error = legacy().connect(both).await.map(drop).unwrap_err();
    page.add("A TLS configuration beside another option about certificates", &error);
    page.add("An extension without a prefix", &legacy().extension("x", &()).unwrap_err());
    page.add("A token with a line break", &http().bearer("a\nb").unwrap_err());
    let error = in_memory(legacy(), answer, async |client| {
        let array = client.call_tool("echo", [1, 2]).await.unwrap_err();
        let method = client.request("", ()).await.unwrap_err();
        let roots = client.set_roots([]).await.unwrap_err();
        let again = client.reconnect().await.map(drop).unwrap_err();
        let task = client.run_tool_as_task("echo", (), None).await.unwrap_err();
        [array, method, roots, again, task]
    });
    let [array, method, roots, again, task] = error.await.unwrap();
    page.add("Arguments that are not a JSON object", &array);
    page.add("A method without a name", &method);
    page.add("`set_roots` on a client made without roots", &roots);
    page.add("A task with a server that makes none", &task);
    page.add("`reconnect` where the transport cannot be had again", &again);
}

pub(crate) async fn connecting(page: &mut Page) {
    page.section("Connecting");
    page.add("Command not found", &Stdio::spawn(Command::new("/no/such/server")).unwrap_err());
    page.add("Command not executable", &Stdio::spawn(Command::new("/etc/passwd")).unwrap_err());
    let on_tokio = || legacy().on_tokio();
    let stdio = Stdio::spawn(Command::new("cat")).unwrap();
    let error = on_tokio().connect(stdio).await.map(drop).unwrap_err();
    page.add("`Builder::on_tokio` outside a tokio runtime: a process", &error);
    let http = Http::new("http://localhost/mcp").unwrap();
    let error = on_tokio().connect(http).await.map(drop).unwrap_err();
    page.add("`Builder::on_tokio` outside a tokio runtime: HTTP", &error);
    let vacant = Vacant::new();
    page.add("Connection refused", &connect_to(&format!("http://{}/mcp", vacant.address)).await);
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
    let gone = At(vacant.address);
    let proxy = Proxy::new("http://proxy.example:3128").unwrap();
    let http = Http::new("http://server.example/mcp").unwrap().net(gone).proxy(proxy.clone());
    page.add("The proxy refuses connections", &legacy().connect(http).await.map(drop).unwrap_err());
    let http = Http::new("http://server.example/mcp").unwrap().net(NoNames).proxy(proxy);
    page.add("The proxy's name is unknown", &legacy().connect(http).await.map(drop).unwrap_err());
    let (https, socks) = ("https://server.example/mcp", "socks5://user:secret@proxy.example");
    for (what, url, proxy, answer) in [
        ("The proxy wants credentials", https, "http://proxy.example:3128", &b"HTTP/1.1 407 X\r\n\r\n"[..]),
        (
            "The proxy, to which the request is handed, does not accept the credentials",
            "http://server.example/mcp",
            "http://user:secret@proxy.example:3128",
            b"HTTP/1.1 407 X\r\nContent-Length: 0\r\n\r\n",
        ),
        ("The proxy refuses", https, "http://proxy.example:3128", b"HTTP/1.1 403 Filtered\r\n\r\n"),
        ("The proxy makes no sense", https, "http://proxy.example:3128", b"220 mail.example ESMTP\r\n"),
        ("A SOCKS5 proxy does not accept the credentials", https, socks, b"\x05\x02\x01\x01"),
        ("A SOCKS5 proxy cannot reach the server", https, socks, b"\x05\x00\x05\x05\x00\x01"),
        ("A SOCKS5 proxy is none", https, socks, b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    ] {
        page.add(what, &through_proxy(url, proxy, answer).await);
    }
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
