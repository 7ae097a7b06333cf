//! Input of the caller's that cannot be used: nothing is sent, and nothing is hurt.

use crate::check::{on, story};
use crate::fault::clock::Clock;
use crate::fault::lines::{normal, pair};
use crate::fault::run::{everywhere, once};
use serde_json::json;
use shared_fate_mcp::error::{InvalidInput, IoStage};
use shared_fate_mcp::{Delivery, Error, ErrorKind, Http, Stdio};
use std::collections::HashMap;
use std::io;
use std::process::Command;

fn invalid(error: &Error) -> &InvalidInput {
    story(error);
    assert_eq!(error.delivery(), Delivery::NotSent);
    assert!(!error.is_retryable());
    match error.kind() {
        ErrorKind::InvalidInput(input) => input,
        _ => panic!("no invalid input: {error:#}"),
    }
}

#[test]
fn urls_that_cannot_be_used() {
    for url in [
        "",
        " ",
        "/",
        "/mcp",
        "localhost",
        "localhost:8080",
        "localhost:8080/mcp",
        "//localhost/mcp",
        "http:",
        "http:/localhost",
        "http://",
        "http:///mcp",
        "http://:80/",
        "ftp://localhost/",
        "file:///etc/passwd",
        "ws://localhost/",
        "http://me:passw0rd@localhost/",
        "http://t0ken@localhost/",
        "http://a b/",
        "http://localhost/a b",
        "http://localhost/\r\nX: y",
        "http://[::1/",
        "http://exämple/",
        "http://localhost:99999999999/",
        "http://localhost:65536/?qu3ry",
        "http://localhost:x/",
    ] {
        let Err(error) = Http::new(url) else { panic!("{url:?} is none") };
        assert!(matches!(invalid(&error), InvalidInput::Url(_)), "{url}");
    }
    for url in
        ["http://localhost", "HTTP://LOCALHOST:80?x", "http://[::1]:8080/mcp#part", "http://127.0.0.1/"]
    {
        Http::new(url).unwrap_or_else(|error| panic!("{url}: {error:#}"));
    }
    assert_eq!(Http::new("https://localhost/").is_ok(), cfg!(feature = "tls"));
}

#[test]
fn headers_that_cannot_be_used() {
    let http = || Http::new("http://localhost/").unwrap();
    for (name, value) in [
        ("", "x"),
        ("a b", "x"),
        ("a:b", "x"),
        ("a\r\nb", "x"),
        ("x-ä", "x"),
        ("x-tenant", "t0ken\r\nInjected: yes"),
        ("x-tenant", "t0ken\n"),
        ("x-tenant", "t0ken\0"),
        ("Accept", "t0ken"),
        ("CONTENT-TYPE", "t0ken"),
        ("content-length", "1"),
        ("Host", "t0ken"),
        ("Connection", "upgrade"),
        ("Transfer-Encoding", "chunked"),
        ("Last-Event-ID", "t0ken"),
        ("MCP-Session-Id", "t0ken"),
        ("Mcp-Protocol-Version", "t0ken"),
        ("Mcp-Method", "t0ken"),
        ("Mcp-Name", "t0ken"),
    ] {
        let error = http().header(name, value).map(drop).unwrap_err();
        assert!(matches!(invalid(&error), InvalidInput::Header(_)), "{name}: {value}");
    }
    for token in ["t0ken\r\nX: y", "t0ken\n", "\0"] {
        let error = http().bearer(token).map(drop).unwrap_err();
        assert!(matches!(invalid(&error), InvalidInput::Header(_)));
    }
    http().header("X-Tenant", "blue\tgreen").unwrap().header("origin", "http://localhost").unwrap();
}

#[test]
fn commands_that_cannot_be_started() {
    let failed = |command: Command, kind: io::ErrorKind| {
        let error = Stdio::spawn(command).map(drop).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Io(io) if io.stage() == IoStage::Spawn));
        assert_eq!(error.io_kind(), Some(kind), "{error:#}");
        assert_eq!(error.delivery(), Delivery::NotSent);
        assert!(!error.is_retryable());
        assert!(story(&error).starts_with("the server could not be started: "), "{error:#}");
    };
    failed(Command::new("/no/such/server"), io::ErrorKind::NotFound);
    failed(Command::new("no-such-command-anywhere"), io::ErrorKind::NotFound);
    let plain = concat!(env!("CARGO_TARGET_TMPDIR"), "/not-a-program");
    std::fs::write(plain, "echo no").unwrap();
    if cfg!(unix) {
        failed(Command::new(plain), io::ErrorKind::PermissionDenied);
        failed(Command::new("/"), io::ErrorKind::PermissionDenied);
    }
    failed(
        Command::new(""),
        if cfg!(windows) { io::ErrorKind::InvalidInput } else { io::ErrorKind::NotFound },
    );
    failed(Command::new("nul\0"), io::ErrorKind::InvalidInput);
    let mut nowhere = Command::new("sh");
    nowhere.current_dir("/no/such/directory");
    failed(nowhere, io::ErrorKind::NotFound);
}

#[test]
fn calls_that_cannot_be_made() {
    everywhere(async |run| {
        let (stdio, server) = pair(normal);
        let (client, driver) = on(&Clock::new()).connect(stdio).await.unwrap();
        run.drive(driver, async {
            let params = [json!([1]), json!("t0ken"), json!(1), json!(true)];
            for params in &params {
                let results = [
                    client.call_tool("echo", params).await.map(drop),
                    client.get_prompt("greet", params).await.map(drop),
                    client.request("ping", params).await.map(drop),
                    client.notify("notifications/x", params).await,
                ];
                for result in results {
                    assert!(matches!(invalid(&result.unwrap_err()), InvalidInput::Params(_)));
                }
            }
            let not_json = HashMap::from([((1, 2), 3)]);
            let error = client.call_tool("echo", &not_json).await.unwrap_err();
            assert!(matches!(invalid(&error), InvalidInput::Params(_)));
            for result in [client.request("", ()).await.map(drop), client.notify("", ()).await] {
                assert!(matches!(invalid(&result.unwrap_err()), InvalidInput::Method(_)));
            }
            assert_eq!(client.pending_calls(), 0);
            client.call_tool("echo", ()).await.unwrap();
            client.call_tool("echo", json!({ "line\nbreak": "\r\n\u{2028}\0" })).await.unwrap();
            client.call_tool("", json!({})).await.unwrap();
            client.close().await;
        })
        .await;
        server.input_ended().await;
        assert_eq!(server.received().len(), 5);
    });
}

#[test]
fn words_of_the_server_are_made_readable() {
    once(async |_| {
        let (stdio, _server) = pair(|peer, message| {
            let error = json!({ "code": -1, "message": "two\nlines \u{1b}[31m" });
            peer.say(&json!({ "id": message["id"], "error": error }));
        });
        let error = on(&Clock::new()).connect(stdio).await.unwrap_err();
        assert_eq!(story(&error), "the server answered with an error: two lines  [31m (code -1)");
        assert_eq!(error.rpc().unwrap().message(), "two\nlines \u{1b}[31m");
    });
}

#[test]
#[cfg(unix)] // the program `env`
fn io_20_a_command_may_get_the_few_variables_that_it_needs() {
    let mut command = Command::new("env");
    command.env("SECRET", "5ecre7").env_clear().envs(Stdio::base_environment()).env("ITS_OWN", "1");
    let seen = String::from_utf8(command.output().unwrap().stdout).unwrap();
    let names: Vec<_> = seen.lines().filter_map(|line| line.split_once('=')).collect();
    assert!(names.contains(&("ITS_OWN", "1")) && names.iter().any(|(name, _)| *name == "PATH"), "{seen}");
    let few = ["HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER", "ITS_OWN"];
    assert!(names.iter().all(|(name, _)| few.contains(name)), "{seen}");
    // The environment of this test has more than that.
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
}
