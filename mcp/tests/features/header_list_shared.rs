//! The list of tools that a call fetches for its headers alone (PAR-08, PAR-09): one list serves all calls that wait, and it
//! replaces the list before.

use crate::check::on;
use crate::fault::Gate;
use crate::fault::clock::Clock;
use crate::fault::http::Server;
use crate::fault::run::{everywhere, once};
use crate::header_list::{call, lists, page, refuse, regions, server, tool};
use crate::kit::Log;
use crate::modern::{connect, modern};
use futures::future::{Either, join_all, select};
use serde_json::json;
use shared_fate_mcp::error::InvalidInput;
use shared_fate_mcp::{Delivery, ErrorKind};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

#[test]
fn par_09_ten_calls_at_once_share_one_list() {
    everywhere(async |run| {
        for strict in [false, true] {
            const CALLS: usize = 10;
            let (refused, all_refused) = (AtomicUsize::new(0), Gate::default());
            let server = Server::start(move |call| match call.request.rpc() {
                "tools/list" => {
                    all_refused.wait();
                    page(call, &[tool("known")], None);
                }
                "tools/call" if strict && call.request.header("mcp-param-region").is_none() => {
                    refuse(call);
                    if refused.fetch_add(1, Ordering::SeqCst) + 1 == CALLS {
                        all_refused.open();
                    }
                }
                _ => modern(call),
            });
            let (client, driver) = connect(on(&Clock::new()), &server).await;
            run.drive(driver, async {
                for result in join_all((0..CALLS).map(|_| call(&client, "known"))).await {
                    result.unwrap();
                }
                assert_eq!(lists(&server), usize::from(strict));
                let calls = if strict { 2 * CALLS } else { CALLS };
                assert_eq!(regions(&server, "known").len(), calls, "each refused call is repeated once");
                call(&client, "known").await.unwrap();
                assert_eq!(
                    (lists(&server), regions(&server, "known").len()),
                    (usize::from(strict), calls + 1)
                );
                client.close().await;
            })
            .await;
        }
    });
}

#[test]
fn par_09_a_call_that_is_dropped_leaves_the_list_to_the_others() {
    everywhere(async |run| {
        let gate = Gate::default();
        let listed = gate.clone();
        let server = server(true, move |call, _| {
            listed.wait();
            page(call, &[tool("known")], None);
        });
        let (client, driver) = connect(on(&Clock::new()), &server).await;
        run.drive(driver, async {
            let other = {
                let first = pin!(call(&client, "known"));
                let Either::Right((_, first)) =
                    select(first, pin!(server.arrival(|it| it.rpc() == "tools/list"))).await
                else {
                    panic!("the list is held back");
                };
                let mut other = Box::pin(call(&client, "known"));
                let both = select(first, &mut other);
                let Either::Right((_, both)) =
                    select(both, pin!(server.arrival(|it| it.tool() == "known"))).await
                else {
                    panic!("the list is held back");
                };
                // When the list is the only request left, both wait for it.
                let waiting = poll_fn(|_| match client.pending_calls() {
                    1 => Poll::Ready(()),
                    _ => Poll::Pending,
                });
                let Either::Right(_) = select(both, waiting).await else { panic!("the list is held back") };
                other
            };
            gate.open();
            other.await.unwrap();
            client.close().await;
        })
        .await;
        assert_eq!(regions(&server, "known").len(), 3, "two were refused, one was repeated");
        assert_eq!(lists(&server), 1);
    });
}

#[test]
fn par_09_a_new_list_replaces_the_old_one() {
    once(async |run| {
        // Each list has one tool, of a new name. Its calls need the header.
        let newest = Arc::new(AtomicUsize::new(0));
        let name = |round: usize| format!("n{round}");
        let now = Arc::clone(&newest);
        let server = Server::start(move |call| match call.request.rpc() {
            "tools/list" => page(call, &[tool(name(now.load(Ordering::SeqCst)))], None),
            "tools/call"
                if call.request.tool() == name(now.load(Ordering::SeqCst))
                    && call.request.header("mcp-param-region").is_none() =>
            {
                refuse(call);
            }
            _ => modern(call),
        });
        let (client, driver) = connect(on(&Clock::new()), &server).await;
        run.drive(driver, async {
            const ROUNDS: usize = 200;
            for round in 0..ROUNDS {
                newest.store(round, Ordering::SeqCst);
                call(&client, &name(round)).await.unwrap();
            }
            assert_eq!(lists(&server), ROUNDS);
            for round in [0, ROUNDS - 2] {
                call(&client, &name(round)).await.unwrap();
                assert_eq!(regions(&server, &name(round)).last(), Some(&None), "the old list is gone");
            }
            client.close().await;
        })
        .await;
    });
}

#[test]
fn par_09_malformed_tools_are_skipped() {
    once(async |run| {
        let log = Log::default();
        let server = server(true, |call, _| {
            let tools = [
                json!(7),
                json!(null),
                json!([]),
                json!({}),
                json!({ "name": 7, "inputSchema": {} }),
                json!({ "name": "no schema" }),
                json!({ "name": "schema", "inputSchema": "none" }),
                json!({ "name": "wrong", "inputSchema": { "x-mcp-header": "A" } }),
                tool("known"),
            ];
            page(call, &tools, None);
        });
        let (client, driver) = connect(log.events(on(&Clock::new())), &server).await;
        run.drive(driver, async {
            call(&client, "known").await.unwrap();
            assert_eq!(log.count("ToolLeftOut"), 1);
            client.close().await;
        })
        .await;
    });
}

#[test]
fn par_07_08_a_refused_call_whose_header_cannot_be_sent_fails_with_the_reason() {
    once(async |run| {
        let server = server(true, |call, _| {
            let count = json!({ "type": "integer", "x-mcp-header": "Count" });
            let schema = json!({ "type": "object", "properties": { "count": count } });
            page(call, &[json!({ "name": "t", "inputSchema": schema })], None);
        });
        let (client, driver) = connect(on(&Clock::new()), &server).await;
        run.drive(driver, async {
            let error = client.call_tool("t", json!({ "count": 1_u64 << 53 })).await.unwrap_err();
            let ErrorKind::InvalidInput(InvalidInput::Params(_)) = error.kind() else {
                panic!("{error:#}");
            };
            assert_eq!(error.delivery(), Delivery::Answered);
            client.close().await;
        })
        .await;
    });
}
