//! Odd servers over a pipe.

use crate::fault::lines::{Peer, normal, pair};
use crate::fault::run::once;
use crate::fault::{answer, tool};
use crate::{Expect, client};
use serde_json::{Value, json};
use shared_fate_mcp::error::Violation;
use shared_fate_mcp::{Client, Limits, Stdio};
use std::io::ErrorKind;
use std::pin::pin;
use std::process::Command;

type Framing = fn(&Value) -> String;
type Row = (&'static str, fn(&Peer, &Value), Expect);

fn reply(message: &Value) -> String {
    answer(message).unwrap().to_string()
}

const NOTE: &str = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}}"#;

/// Where the server was seen, what it does with a call of the tool `odd`, and what a user expects.
const ROWS: &[Row] = &[
    (
        "eko 276: two messages on one line",
        |peer, it| peer.write(format!("{NOTE}{}\n", reply(it))),
        Expect::Fine,
    ),
    (
        "eko 276: the reply comes first",
        |peer, it| peer.write(format!("{} {NOTE}\n", reply(it))),
        Expect::Fine,
    ),
    (
        "two replies on one line, and no version in either",
        |peer, it| {
            let mut reply = answer(it).unwrap();
            reply.as_object_mut().unwrap().remove("jsonrpc");
            peer.write(format!("{}{reply}\n", r#"{"id":999,"result":{}}"#));
        },
        Expect::Fine,
    ),
    (
        "log4j on standard output: a time stamp before the message",
        |peer, it| peer.write(format!("12:00:01 [main] DEBUG - {}\n", reply(it))),
        Expect::Fine,
    ),
    (
        "a shell prompt in colours around the message",
        |peer, it| peer.write(format!("\u{1b}[32m{}\u{1b}[0m\n", reply(it))),
        Expect::Fine,
    ),
    (
        "a server that prints its last reply without a line end",
        |peer, it| {
            peer.write(reply(it));
            peer.hang_up();
        },
        Expect::Fine,
    ),
    (
        "Codex 4223: an event for each piece of output",
        |peer, it| {
            peer.write("{\"jsonrpc\":\"2.0\",\"method\":\"codex/event\",\"params\":{}}\n".repeat(12_000));
            peer.write(reply(it) + "\n");
        },
        Expect::Fine,
    ),
    (
        "as many pings as are read in one go",
        |peer, it| {
            peer.write("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n".repeat(25_000));
            peer.write(reply(it) + "\n");
        },
        Expect::Fine,
    ),
    (
        "windows: lines end with CR LF, and there are empty ones",
        |peer, it| peer.write(format!("\r\n\r\n{}\r\n\r\n", reply(it))),
        Expect::Fine,
    ),
    (
        "the id comes back as a string",
        |peer, it| {
            let mut reply = answer(it).unwrap();
            reply["id"] = json!(it["id"].to_string());
            peer.say(&reply);
        },
        Expect::Fine,
    ),
    (
        "the id comes back as a float",
        |peer, it| {
            let reply = reply(it);
            let id = it["id"].to_string();
            peer.write(reply.replace(&format!("\"id\":{id}"), &format!("\"id\":{id}.0")) + "\n");
        },
        Expect::Fine,
    ),
    (
        "every member that JSON-RPC knows is written",
        |peer, it| {
            let mut reply = answer(it).unwrap();
            reply["error"] = Value::Null;
            reply["method"] = Value::Null;
            peer.say(&reply);
        },
        Expect::Fine,
    ),
    (
        "also in notifications, of which there are more than may be garbage",
        |peer, it| {
            peer.write((NOTE.replacen('{', r#"{"id":null,"#, 1) + "\n").repeat(12_000));
            peer.say(&answer(it).unwrap());
        },
        Expect::Fine,
    ),
    (
        "an error that is a string",
        |peer, it| peer.say(&json!({ "jsonrpc": "2.0", "id": it["id"], "error": "the disk is full" })),
        Expect::Says("the disk is full"),
    ),
    (
        "an error of 100 kB that is to be printed from right to left",
        |peer, it| {
            let message = "the disk is full \u{202e}".to_owned() + &"x".repeat(100_000);
            let error = json!({ "code": -1, "message": message });
            peer.say(&json!({ "jsonrpc": "2.0", "id": it["id"], "error": error }));
        },
        Expect::Says("the disk is full  xxx"),
    ),
];

#[test]
fn each_row_is_as_a_user_expects() {
    once(async |_| {
        for (from, serve, expect) in ROWS.iter().copied() {
            let (stdio, _server) = pair(move |peer, message| match tool(message) {
                "odd" => serve(peer, message),
                _ => normal(peer, message),
            });
            let (client, driver) = client().connect(stdio).await.unwrap();
            let result = driver.run_until(client.call_tool("odd", ())).await;
            if let Err(error) = &result {
                assert!(error.to_string().len() < 1200 && format!("{error:?}").len() < 1500, "{from}");
            }
            expect.check(from, result);
        }
    });
}

/// No reply could ever be read, and a deadline would not say why.
#[test]
fn another_framing_is_told_at_once() {
    let lsp = |it: &Value| format!("Content-Length: {}\r\n\r\n{}", reply(it).len(), reply(it));
    let pretty = |it: &Value| serde_json::to_string_pretty(&answer(it).unwrap()).unwrap() + "\n";
    let framings: [(Framing, &str); 2] =
        [(lsp, "Content-Length: "), (pretty, "\\\"jsonrpc\\\": \\\"2.0\\\"")];
    let logs = [
        "",
        "[info] starting\n",
        "{\"level\":\"info\"}\n",
        "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":1}\n",
    ];
    for ((framing, quoted), log) in framings.into_iter().flat_map(|it| logs.map(|log| (it, log))) {
        once(async move |_| {
            let (stdio, _server) = pair(move |peer, message| peer.write(log.to_owned() + &framing(message)));
            let story = format!("{:#}", client().connect(stdio).await.unwrap_err());
            assert!(story.contains(&Violation::Framing.to_string()) && story.contains(quoted), "{story}");
        });
    }
}

/// launchdarkly mcp-server 82, and others that say on either output why they end, in the last line or before it.
#[test]
#[cfg(unix)] // a shell script
fn the_reason_of_a_childs_death_is_found() {
    for (script, reason) in [
        ("echo 'Error: API_KEY is not set'; exit 1", "Error: API_KEY is not set"),
        ("echo 'Error: API_KEY is not set' >&2; exit 1", "Error: API_KEY is not set"),
        ("echo 'Error: no API_KEY'; echo 'bye' >&2; exit 1", "Error: no API_KEY"),
        ("printf 'Error: no line end'; exit 1", "Error: no line end"),
        ("echo '[ERROR] API_KEY is not set'; exit 1", "API_KEY is not set"),
        ("printf '[2026-01-01 10:00] API_KEY is not set'; exit 1", "API_KEY is not set"),
        (r#"echo '{"level":"error","msg":"API_KEY is not set"}'; exit 1"#, "API_KEY is not set"),
        (r#"printf '{"msg":"API_KEY is not set"}'; exit 1"#, "API_KEY is not set"),
        (r#"echo '"API_KEY is not set"'; exit 1"#, "API_KEY is not set"),
        (
            "printf 'Error: Cannot find module\\n    at x.js:1\\n\\nNode.js v22\\n' >&2; exit 1",
            "Error: Cannot find module",
        ),
    ] {
        once(async move |_| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            let error = client().connect(Stdio::spawn(command).unwrap()).await.unwrap_err();
            let story = format!("{error:#}");
            assert!(story.contains(reason), "{script}: {story}");
        });
    }
}

/// It is waited for for a moment, so this is the one clock here that goes on by itself.
#[test]
#[cfg(unix)] // a shell script
fn the_reason_is_told_of_a_child_that_reads_no_more_and_stays() {
    once(async move |_| {
        let mut command = Command::new("sh");
        // The answer to the probe leads to a request that it does not read.
        let answer = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no"}}"#;
        let script = "read line; exec 0<&-; echo 'Error: API_KEY is not set' >&2; echo \"$0\"; exec sleep 60";
        command.args(["-c", script, answer]);
        let error = Client::builder().connect(Stdio::spawn(command).unwrap()).await.unwrap_err();
        assert_eq!(error.io_kind(), Some(ErrorKind::BrokenPipe));
        assert!(format!("{error:#}").contains("API_KEY is not set"), "{error:#}");
    });
}

/// A line of up to five times the limit is skipped; a longer one ends the session.
#[test]
fn a_line_without_an_end_ends_the_session() {
    once(async |_| {
        for (length, ends) in [(5_000, false), (5_001, true)] {
            let mut limits = Limits::default();
            limits.line = 1_000;
            let (stdio, server) = pair(move |peer, message| match tool(message) {
                "odd" => peer.write("x".repeat(length)),
                "after" => peer.write(format!("\n{}\n", reply(message))),
                _ => normal(peer, message),
            });
            let (client, driver) = client().limits(limits).connect(stdio).await.unwrap();
            let calls = async {
                let mut odd = pin!(client.call_tool("odd", ()));
                if ends {
                    return odd.await;
                }
                assert!(futures::poll!(&mut odd).is_pending());
                server.arrival(|message| tool(message) == "odd").await;
                let after = client.call_tool("after", ()).await;
                assert!(futures::poll!(&mut odd).is_pending());
                after
            };
            match driver.run_until(calls).await {
                Ok(result) => assert_eq!((result.text(), ends), ("fine".to_owned(), false)),
                Err(error) => {
                    let story = format!("{error:#}");
                    assert!(ends && story.contains(&Violation::Framing.to_string()), "{story}");
                }
            }
        }
    });
}
