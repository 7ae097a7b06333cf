//! A session through each of some real proxies, to servers on this machine. Run by `.ci/proxies`.
//!
//! ```text
//! proxies <hosts> (<expected> <proxy>)…
//! ```
//!
//! The hosts, separated by commas, are names and addresses of this machine that are not loopback: loopback is never reached
//! through a proxy. Each proxy is a URL, or `env` for those of the environment. What is expected is `ok`, or a part of
//! the error's text, or several of which one has to be there, with a `|` between them. There is a server of `http` and one
//! of `https`. The exit status is 0 only if everything came as expected.

use rustls::pki_types::PrivatePkcs8KeyDer;
use serde_json::{Value, json};
use shared_fate_mcp::http::Proxy;
use shared_fate_mcp::{Client, Error, Http, Mode};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::Arc;
use std::{env, io, thread};

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let [hosts, expectations @ ..] = &*arguments else { panic!("which hosts?") };
    let hosts: Vec<_> = hosts.split(',').map(str::to_owned).collect();

    let made = rcgen::generate_simple_self_signed(hosts.clone()).expect("names and addresses");
    let root = made.cert.der().to_vec();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let tls = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|config| {
            config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key.into())
        })
        .expect("a certificate and its key");
    let ports = [("http", serve(None)), ("https", serve(Some(Arc::new(tls))))];

    let mut failed = false;
    for expectation in expectations.chunks(2) {
        let [expected, proxy] = expectation else { panic!("what is expected of which proxy?") };
        for host in &hosts {
            for (scheme, port) in &ports {
                let url = format!("{scheme}://{host}:{port}/mcp");
                let came = match async_io::block_on(session(&url, proxy, &root)) {
                    Ok(()) => "ok".to_owned(),
                    Err(error) => format!("{error:#}"),
                };
                let as_expected = expected.split('|').any(|part| came.contains(part));
                failed |= !as_expected;
                println!(
                    "{} {scheme}://{host} through {proxy}: {came}",
                    if as_expected { "ok:" } else { "FAILED:" }
                );
            }
        }
    }
    ExitCode::from(u8::from(failed))
}

async fn session(url: &str, proxy: &str, root: &[u8]) -> Result<(), Error> {
    let proxy = if proxy == "env" { Proxy::from_env()? } else { Proxy::new(proxy)? };
    let http = Http::new(url)?.root_certificate(root).proxy(proxy);
    let (client, driver) = Client::builder().mode(Mode::Legacy).connect(http).await?;
    let calls = async {
        // Long enough for several pieces, on a connection that is used again.
        for length in [1, 200_000, 1] {
            let sent = "x".repeat(length);
            let came = client.call_tool("echo", json!({ "text": sent })).await?.text();
            assert!(came == sent, "what came is not what was sent");
        }
        client.close().await;
        Ok(())
    };
    driver.run_until(calls).await
}

/// Starts a server on all addresses of this machine, and returns its port.
fn serve(tls: Option<Arc<rustls::ServerConfig>>) -> u16 {
    let listener = TcpListener::bind("0.0.0.0:0").expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let tls = tls.clone();
            // How a connection ends is the client's business.
            thread::spawn(move || match tls {
                None => answer_all(stream),
                Some(tls) => {
                    let session = rustls::ServerConnection::new(tls).map_err(io::Error::other)?;
                    answer_all(rustls::StreamOwned::new(session, stream))
                }
            });
        }
    });
    port
}

fn answer_all(stream: impl Read + Write) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut length, mut line, mut is_post, mut is_last) = (0, String::new(), false, false);
        loop {
            line.clear();
            if stream.read_line(&mut line)? == 0 {
                return Ok(());
            }
            is_post |= line.starts_with("POST /mcp ");
            match line.to_ascii_lowercase().split_once(':') {
                Some(("content-length", value)) => length = value.trim().parse().map_err(io::Error::other)?,
                // tinyproxy relies on that: it would relay unchanged whatever follows on the same connection.
                Some(("connection", value)) => is_last = value.trim() == "close",
                _ if line.trim().is_empty() => break,
                _ => {}
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        let answer = match serde_json::from_slice::<Value>(&body) {
            Ok(message) if is_post => answer(&message),
            _ => "HTTP/1.1 405 X\r\nContent-Length: 0\r\n\r\n".to_owned(),
        };
        stream.get_mut().write_all(answer.as_bytes())?;
        stream.get_mut().flush()?;
        if is_last {
            return Ok(());
        }
    }
}

fn answer(message: &Value) -> String {
    let result = match message["method"].as_str() {
        Some("initialize") => json!({
            "protocolVersion": "2025-11-25",
            "capabilities": { "tools": {} },
            "serverInfo": { "name": "proxies", "version": "1" },
        }),
        Some("tools/call") => {
            json!({ "content": [{ "type": "text", "text": message["params"]["arguments"]["text"] }] })
        }
        _ => return "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n".to_owned(),
    };
    let body = json!({ "jsonrpc": "2.0", "id": message["id"], "result": result }).to_string();
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")
}
