//! What a host sees of its servers: names in errors, standard error, and events in a channel.

use crate::check::{cause, on};
use crate::fault::clock::Clock;
use crate::fault::http::{Server, Vacant, transport};
use crate::fault::lines::{normal, pair, process};
use crate::fault::run::{everywhere, once};
use crate::fault::tool;
use crate::kit::{refusal, seconds, tell};
use crate::modern::modern;
use crate::script::script;
use futures::future::join;
use serde_json::{Value, json};
use shared_fate_mcp::error::InvalidInput;
use shared_fate_mcp::{CallOptions, Error, ErrorKind, Event, Mode, Reconnecting, Stdio};
use smol::channel;
use std::process::Command;
use std::sync::{Arc, Mutex};

/// Checks that the message begins with the server's name, and that the whole chain has it once.
fn names(error: &Error, server: &str) {
    assert_eq!(error.server(), Some(server), "{error:#}");
    let (short, long) = (error.to_string(), format!("{error:#}"));
    assert!(short.starts_with(&format!("{server}: ")), "{short}");
    assert_eq!(long.matches(server).count(), 1, "{long}");
}

#[test]
fn errors_over_http_name_the_origin_and_the_step() {
    everywhere(async |run| {
        let server = Server::start(|call| match call.request.tool() {
            "500" => call.respond("500 Internal Server Error", &[], "busy"),
            "html" => call.respond("200 OK", &["Content-Type: text/html"], "<p>"),
            "refused" => {
                let refusal = refusal(&call.request.body["id"], -32602, "no such tool").to_string();
                call.json(&[], &refusal);
            }
            "odd" => {
                call.json(
                    &[],
                    &format!(r#"{{"jsonrpc":"2.0","id":{},"result":7}}"#, call.request.body["id"]),
                );
            }
            "held" => call.hold(),
            _ => call.normal(),
        });
        let origin = format!("http://{}", server.address());
        let clock = Clock::new();
        let http = transport(&format!("{origin}/mcp?k3y=s3cret"));
        let (client, driver) = on(&clock).connect(http).await.unwrap();
        run.drive(driver, async {
            for (tool, step) in [
                ("500", "the server answered with HTTP status 500"),
                ("html", "the reply is neither JSON nor an event stream"),
                ("refused", "the server answered with an error"),
                ("odd", "the result does not have the form"),
            ] {
                let error = client.call_tool(tool, ()).await.unwrap_err();
                names(&error, &origin);
                assert!(error.to_string()[origin.len()..].starts_with(&format!(": {step}")), "{error:#}");
            }
            let hasty = client.with_options(CallOptions::timeout(seconds(3)));
            let (error, ()) = join(hasty.call_tool("held", ()), clock.pass(seconds(3))).await;
            names(&error.unwrap_err(), &origin);
            // An error of the caller's own names no server.
            let error = client.call_tool("echo", [1]).await.unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::InvalidInput(InvalidInput::Params(_))));
            assert_eq!(error.server(), None);
            client.close().await;
            names(&client.ping().await.unwrap_err(), &origin);
            names(&client.notify("x", ()).await.unwrap_err(), &origin);
            names(&client.list_tools().await.unwrap_err(), &origin);
        })
        .await;
    });
}

#[test]
#[cfg(unix)] // a shell script
fn errors_of_a_process_name_its_program() {
    everywhere(async |run| {
        let (stdio, _) = script("*'\"exit\"'*) exit 7 ;;");
        let (client, driver) = on(&Clock::new()).connect(stdio).await.unwrap();
        run.drive(driver, async {
            let error = client.call_tool("exit", ()).await.unwrap_err();
            names(&error, "sh");
            assert!(format!("{error:#}").contains("exit status 7"));
            // All calls share the cause. Each call's error adds the name.
            assert_eq!(cause(&error).server(), None);
        })
        .await;
        let (stdio, _) = script("*'\"initialize\"'*) exit 8 ;;");
        let error = on(&Clock::new()).connect(stdio).await.map(drop).unwrap_err();
        names(&error, "sh");
    });
}

#[test]
fn of_several_servers_that_are_down_each_is_named() {
    once(async |_| {
        let vacant = Vacant::new();
        let gone = vacant.address;
        let url = format!("http://{gone}/mcp");
        let (server, driver) = Reconnecting::new(on(&Clock::new()), move || Ok(transport(&url)));
        let error = driver.run_until(server.call_tool("x", ())).await.unwrap_err();
        assert!(
            format!("{error:#}").starts_with(&format!("there is no session: http://{gone}: connecting "))
        );
        let error = Stdio::spawn(Command::new("/no/such/server")).unwrap_err();
        assert!(format!("{error:#}").contains("/no/such/server"), "{error:#}");
        // A server that has no name is not named.
        let (stdio, server) = pair(normal);
        server.peer.hang_up();
        let error = on(&Clock::new()).connect(stdio).await.map(drop).unwrap_err();
        assert_eq!(error.server(), None);
    });
}

#[test]
fn without_a_handshake_errors_name_the_server_too() {
    once(async |_| {
        let server = Server::start(|call| match call.request.tool() {
            "500" => call.respond("500 Internal Server Error", &[], "busy"),
            _ => modern(call),
        });
        let builder = on(&Clock::new()).mode(Mode::Stateless);
        let (client, driver) = builder.connect(transport(&server.url())).await.unwrap();
        let error = driver.run_until(client.call_tool("500", ())).await.unwrap_err();
        names(&error, &format!("http://{}", server.address()));
    });
}

#[test]
fn what_a_child_writes_to_its_standard_error_is_seen_while_it_lives() {
    everywhere(async |run| {
        let (lines, told) = channel::unbounded();
        let (stdio, server) = process(|peer, message: &Value| match tool(message) {
            "noisy" => {
                peer.write_error("one\ntw");
                peer.normal(message);
            }
            "exit" => {
                peer.write_error("no end");
                peer.exit(7);
            }
            _ => peer.normal(message),
        });
        let stdio = stdio.on_stderr(move |line| lines.try_send(line.to_owned()).unwrap());
        let (client, driver) = on(&Clock::new()).connect(stdio).await.unwrap();
        run.drive(driver, async {
            client.call_tool("noisy", ()).await.unwrap();
            assert_eq!(told.recv().await.unwrap(), "one");
            server.peer.write_error("o\r\n");
            assert_eq!(told.recv().await.unwrap(), "two");
            // A line without an end is told when the child is gone, and the error has it, too.
            let error = client.call_tool("exit", ()).await.unwrap_err();
            assert_eq!(told.recv().await.unwrap(), "no end");
            let ErrorKind::ServerExited(exited) = cause(&error).kind() else { panic!("{error:#}") };
            assert_eq!(exited.stderr(), "one\ntwo\r\nno end");
        })
        .await;
    });
}

/// The hook hears what a child writes when it is asked to stop, and what the next child writes. A panic in the hook goes no
/// further.
#[test]
#[cfg(unix)] // a shell script
fn the_hook_hears_the_end_and_the_next_child() {
    once(async |_| {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hears = Arc::clone(&heard);
        let (stdio, _) = script("*'\"exit\"'*) echo bye >&2; exit 7 ;;");
        let stdio = stdio.on_stderr(move |line| {
            hears.lock().unwrap().push(line.to_owned());
            panic!("a bug in the hook");
        });
        let (client, driver) = on(&Clock::new()).connect(stdio).await.unwrap();
        driver.run_until(client.call_tool("exit", ())).await.unwrap_err();
        let (client, driver) = client.reconnect().await.unwrap();
        driver.run_until(client.call_tool("exit", ())).await.unwrap_err();
        let said = std::mem::take(&mut *heard.lock().unwrap());
        assert_eq!(said.iter().filter(|line| *line == "bye").count(), 2, "{said:?}");
        let mut command = Command::new("sh");
        let polite = r#"while read -r line; do case "$line" in *'"initialize"'*) printf '{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2025-11-25","capabilities":{}}}\n' 1 ;; esac; done; echo stopped >&2"#;
        command.args(["-c", polite]);
        let hears = Arc::clone(&heard);
        let stdio =
            Stdio::spawn(command).unwrap().on_stderr(move |line| hears.lock().unwrap().push(line.into()));
        let (client, driver) = on(&Clock::new()).connect(stdio).await.unwrap();
        driver.run_until(client.close()).await;
        assert_eq!(*heard.lock().unwrap(), ["stopped"]);
    });
}

/// Every kind of event goes through a channel unchanged.
#[test]
fn an_event_can_be_kept() {
    everywhere(async |run| {
        let (events, told) = channel::unbounded::<(String, Event<'static>)>();
        let (stdio, server) = pair(normal);
        let builder = on(&Clock::new()).on_event(move |event| {
            events.try_send((format!("{event:?}"), event.clone().into_owned())).unwrap();
        });
        let (client, driver) = builder.connect(stdio).await.unwrap();
        run.drive(driver, async {
            let messages = [
                ("tools/list_changed", json!({})),
                ("prompts/list_changed", json!({})),
                ("resources/list_changed", json!({})),
                ("resources/updated", json!({ "uri": "file:///a" })),
                ("message", json!({ "level": "info", "data": [1] })),
                ("tasks/status", json!({ "taskId": "t", "status": "working", "createdAt": "", "lastUpdatedAt": "", "ttl": null })),
                ("elicitation/complete", json!({ "elicitationId": "e" })),
                ("news", json!({ "x": 1 })),
            ];
            for (method, params) in &messages {
                server.peer.say(&tell(&format!("notifications/{method}"), params.clone()));
            }
            server.peer.write("no message\n");
            let mut kinds = Vec::new();
            for _ in 0..=messages.len() {
                let (text, event) = told.recv().await.unwrap();
                assert_eq!(format!("{event:?}"), text);
                kinds.push(text.split([' ', '(']).next().unwrap().to_owned());
            }
            assert_eq!(
                kinds,
                [
                    "ToolsChanged", "PromptsChanged", "ResourcesChanged", "ResourceUpdated", "Log", "Task",
                    "ElicitationComplete", "Notification", "Stray",
                ]
            );
            client.close().await;
        })
        .await;
    });
}
