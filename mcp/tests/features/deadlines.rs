//! Deadlines of lists and notifications, calls from handlers, and how options set them. `faults/deadlines.rs` has the
//! deadlines of single calls.

use crate::check::on;
use crate::fault::clock::Clock;
use crate::fault::http::Server;
use crate::fault::lines::{normal, pair};
use crate::fault::run::once;
use crate::fault::tool;
use crate::kit::{http, reply, seconds};
use serde_json::json;
use shared_fate_mcp::{CallOptions, Client, ErrorKind, RpcError};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn to_01_a_call_that_asks_for_progress_has_the_default_deadlines() {
    once(async |_| {
        let clock = Clock::new();
        let (stdio, server) = pair(normal);
        let (client, driver) = on(&clock).connect(stdio).await.unwrap();
        driver
            .run_until(async {
                let watched = client.with_options(CallOptions::default().on_progress(|_| {}));
                let mut call = pin!(watched.call_tool("held", ()));
                assert!(futures::poll!(&mut call).is_pending());
                server.arrival(|message| tool(message) == "held").await;
                clock.advance(seconds(601));
                assert!(call.await.unwrap_err().is_timeout());
            })
            .await;
    });
}

#[test]
fn to_02_liv_24_a_list_has_one_limit_for_all_of_its_pages() {
    once(async |_| {
        let clock = Clock::new();
        let (time, pages) = (clock.clone(), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&pages);
        let (stdio, _server) = pair(move |peer, message| match message["method"].as_str() {
            Some("tools/list") => {
                let page = count.fetch_add(1, Ordering::SeqCst);
                time.advance(seconds(4));
                peer.say(&reply(&message["id"], json!({ "tools": [], "nextCursor": page.to_string() })));
            }
            _ => normal(peer, message),
        });
        let (client, driver) = on(&clock).connect(stdio).await.unwrap();
        driver
            .run_until(async {
                let hasty = client.with_options(CallOptions::timeout(seconds(5)));
                let error = hasty.list_tools().await.unwrap_err();
                let pages = pages.load(Ordering::SeqCst);
                assert!(error.is_timeout(), "{error:#}, after {pages} pages of 4 s");
                assert!(pages <= 2);
            })
            .await;
    });
}

#[test]
fn to_04_a_notification_that_is_not_accepted_ends_at_the_silence_limit() {
    once(async |_| {
        let clock = Clock::new();
        let server = Server::start(|call| match call.request.rpc() {
            "x" => call.hold(),
            _ => call.normal(),
        });
        let (client, driver) = on(&clock).connect(http(&server)).await.unwrap();
        driver
            .run_until(async {
                let mut notify = pin!(client.notify("x", ()));
                assert!(futures::poll!(&mut notify).is_pending());
                server.arrival(|request| request.rpc() == "x").await;
                assert!(futures::poll!(&mut notify).is_pending());
                clock.advance(seconds(61));
                assert!(notify.await.unwrap_err().is_timeout());
            })
            .await;
    });
}

#[test]
fn to_03_a_deadline_is_kept_while_the_application_calls_from_a_handler() {
    once(async |_| {
        let clock = Clock::new();
        let (stdio, server) = pair(normal);
        let client_in_handler = Arc::new(std::sync::OnceLock::<Client>::new());
        let inner = Arc::clone(&client_in_handler);
        let builder = on(&clock).on_request("x", move |_| {
            let client = inner.get().unwrap().with_options(CallOptions::timeout(seconds(1)));
            async move { Err(RpcError::new(1, client.call_tool("held", ()).await.unwrap_err().to_string())) }
        });
        let (client, driver) = builder.connect(stdio).await.unwrap();
        client_in_handler.set(client.clone()).unwrap();
        driver
            .run_until(async {
                server.peer.say(&json!({ "jsonrpc": "2.0", "id": "q", "method": "x" }));
                server.arrival(|message| tool(message) == "held").await;
                clock.advance(seconds(2));
                let answer = server.arrival(|message| message["id"] == "q").await;
                assert_eq!(answer["error"]["message"], "no reply within 1s");
                client.close().await;
            })
            .await;
    });
}

#[test]
fn to_02_what_the_options_leave_open_stays_and_none_is_a_limit_that_is_off() {
    once(async |_| {
        let clock = Clock::new();
        let (stdio, server) = pair(normal);
        let (client, driver) = on(&clock).connect(stdio).await.unwrap();
        let default = CallOptions::default;
        let patient = client.with_options(default().silence(None).total(None));
        let hasty = client.with_options(CallOptions::timeout(seconds(5)));
        driver
            .run_until(async {
                // The client, the options of the call, and the limit that ends it: its seconds, and whether it is the total.
                for (client, options, ends) in [
                    (&client, default(), Some((60, false))),
                    (&client, default().silence(seconds(7)), Some((7, false))),
                    (&client, default().silence(None), Some((600, true))),
                    (&client, default().total(seconds(7)), Some((7, true))),
                    (&client, default().total(None), Some((60, false))),
                    (&client, CallOptions::timeout(seconds(3600)), Some((3600, true))),
                    (&hasty, default(), Some((5, true))),
                    (&hasty, default().total(None).silence(seconds(9)), Some((9, false))),
                    (&patient, default().meta("x", &1).unwrap(), None),
                    (&patient, default().total(seconds(8)), Some((8, true))),
                ] {
                    let what = format!("{options:?}");
                    let client = client.with_options(options);
                    let mut call = pin!(client.call_tool("held", ()));
                    assert!(futures::poll!(&mut call).is_pending());
                    server.arrival(|message| tool(message) == "held").await;
                    let Some((after, total)) = ends else {
                        clock.advance(seconds(1_000_000));
                        assert!(futures::poll!(&mut call).is_pending());
                        continue;
                    };
                    clock.advance(seconds(after - 1));
                    assert!(futures::poll!(&mut call).is_pending(), "{what}");
                    clock.advance(seconds(1));
                    clock.advance(seconds(1));
                    match call.await.unwrap_err().kind() {
                        ErrorKind::Timeout(error) => {
                            assert_eq!((error.after(), error.is_total()), (seconds(after), total), "{what}");
                        }
                        other => panic!("{other:?}"),
                    }
                }
                client.close().await;
            })
            .await;
    });
}

#[test]
fn prg_01_meta_01_options_are_added_to_those_of_the_client() {
    once(async |_| {
        let (stdio, server) = pair(normal);
        let (client, driver) = on(&Clock::new()).connect(stdio).await.unwrap();
        driver
            .run_until(async {
                let first = CallOptions::default().on_progress(|_| {}).meta("a", &1).unwrap();
                let second = CallOptions::default().meta("a", &2).unwrap().meta("b", &3).unwrap();
                client.with_options(first).with_options(second).ping().await.unwrap();
                let ping = server.arrival(|message| message["method"] == "ping").await;
                assert_eq!(ping["params"]["_meta"], json!({ "progressToken": 2, "a": 2, "b": 3 }));
                client.close().await;
            })
            .await;
    });
}
