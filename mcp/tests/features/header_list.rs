//! The list of tools that a call fetches for its headers alone (PAR-08, PAR-09): the list holds no call up.

use crate::check::on;
use crate::fault::clock::Clock;
use crate::fault::http::{Call, Server};
use crate::fault::run::{everywhere, once};
use crate::kit::{millis, refusal, reply, seconds, tell};
use crate::modern::{connect, modern, modern_answer};
use futures::future::join;
use serde_json::{Value, json};
use shared_fate_mcp::{CallOptions, Client, Delivery, Error, Limits};
use std::sync::atomic::{AtomicUsize, Ordering};

/// For how many seconds the client remembers that the list could not be had.
const MEMORY: u64 = 60;

/// A tool whose argument `region` is repeated as a header.
pub(crate) fn tool(name: impl Into<String>) -> Value {
    let region = json!({ "type": "string", "x-mcp-header": "Region" });
    json!({ "name": name.into(), "inputSchema": { "type": "object", "properties": { "region": region } } })
}

pub(crate) fn page(call: &mut Call, tools: &[Value], next: Option<&str>) {
    let mut result = json!({ "tools": tools });
    if let Some(next) = next {
        result["nextCursor"] = json!(next);
    }
    let reply = reply(&call.request.body["id"], result);
    call.json(&[], &reply.to_string());
}

pub(crate) fn refuse(call: &mut Call) {
    let refusal = refusal(&call.request.body["id"], -32020, "Header mismatch: Mcp-Param-Region").to_string();
    call.respond("400 Bad Request", &["Content-Type: application/json"], &refusal);
}

/// Ways in which a server serves no whole list. Where there is a first page, it has the tool `known`.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Broken {
    Silent,
    FirstPageOnly,
    Status,
    Error,
    NoList,
    SameCursor,
    PagesForEver,
}

impl Broken {
    const ALL: [Self; 7] = [
        Self::Silent,
        Self::FirstPageOnly,
        Self::Status,
        Self::Error,
        Self::NoList,
        Self::SameCursor,
        Self::PagesForEver,
    ];

    /// Whether there is a page at all.
    fn has_pages(self) -> bool {
        matches!(self, Self::FirstPageOnly | Self::SameCursor | Self::PagesForEver)
    }

    /// Whether a request of its list is never answered.
    fn hangs(self) -> bool {
        matches!(self, Self::Silent | Self::FirstPageOnly)
    }

    /// Serves one page, after `before` others.
    fn serve(self, call: &mut Call, before: usize) {
        let cursor = call.request.body["params"]["cursor"].as_str().map(str::to_owned);
        match (self, cursor) {
            (Self::Silent, _) | (Self::FirstPageOnly, Some(_)) => call.hold(),
            (Self::Status, _) => call.respond("500 Internal Server Error", &[], "no"),
            (Self::Error, _) => {
                let refusal = refusal(&call.request.body["id"], -32601, "no such method").to_string();
                call.json(&[], &refusal);
            }
            (Self::NoList, _) => {
                let reply = reply(&call.request.body["id"], json!({ "tools": 7 }));
                call.json(&[], &reply.to_string());
            }
            (Self::SameCursor, _) | (Self::FirstPageOnly, None) => page(call, &[tool("known")], Some("a")),
            (Self::PagesForEver, None) => page(call, &[tool("known")], Some("0")),
            (Self::PagesForEver, Some(_)) => {
                page(call, &[tool(format!("n{before}"))], Some(&before.to_string()));
            }
        }
    }
}

/// A server that leaves requests for its list to `list`, with the number of those before. A `strict` server refuses calls
/// without the header.
pub(crate) fn server(strict: bool, list: impl Fn(&mut Call, usize) + Send + Sync + 'static) -> Server {
    let before = AtomicUsize::new(0);
    Server::start(move |call| match call.request.rpc() {
        "tools/list" => list(call, before.fetch_add(1, Ordering::SeqCst)),
        "tools/call" if strict && call.request.header("mcp-param-region").is_none() => refuse(call),
        _ => modern(call),
    })
}

pub(crate) fn lists(server: &Server) -> usize {
    server.requests().iter().filter(|it| it.rpc() == "tools/list").count()
}

/// The headers of the calls of a tool so far.
pub(crate) fn regions(server: &Server, tool: &str) -> Vec<Option<String>> {
    let calls = server.requests().into_iter().filter(|it| it.tool() == tool);
    calls.map(|it| it.header("mcp-param-region").map(str::to_owned)).collect()
}

pub(crate) async fn call(client: &Client, tool: &str) -> Result<(), Error> {
    client.call_tool(tool, json!({ "region": "eu" })).await.map(drop)
}

fn assert_refused(result: Result<(), Error>) {
    let error = result.unwrap_err();
    assert_eq!(error.rpc().map(|rpc| rpc.code()), Some(-32020), "{error:#}");
    assert_eq!(error.delivery(), Delivery::Answered);
}

fn few_pages() -> Limits {
    let mut limits = Limits::default();
    limits.pages = 4;
    limits
}

#[test]
fn par_09_a_server_without_a_whole_list_gets_its_calls_at_once() {
    everywhere(async |run| {
        for broken in Broken::ALL {
            let server = server(false, move |call, before| broken.serve(call, before));
            let clock = Clock::new();
            let (client, driver) = connect(on(&clock).limits(few_pages()), &server).await;
            run.drive(driver, async {
                for _ in 0..3 {
                    call(&client, "known").await.unwrap();
                }
                assert_eq!(regions(&server, "known"), [None, None, None], "{broken:?}");
                assert_eq!(lists(&server), 0, "{broken:?}: nobody has asked for the list");
                client.close().await;
            })
            .await;
        }
    });
}

#[test]
fn par_08_09_a_refused_call_uses_the_pages_that_came() {
    everywhere(async |run| {
        for broken in Broken::ALL.into_iter().filter(|broken| broken.has_pages()) {
            let server = server(true, move |call, before| broken.serve(call, before));
            let (client, driver) = connect(on(&Clock::new()).limits(few_pages()), &server).await;
            run.drive(driver, async {
                call(&client, "known").await.unwrap();
                call(&client, "known").await.unwrap();
                let eu = || Some("eu".to_owned());
                assert_eq!(regions(&server, "known"), [None, eu(), eu()], "{broken:?}");
                client.close().await;
            })
            .await;
        }
    });
}

#[test]
fn par_08_09_a_list_that_cannot_be_had_is_remembered_as_such() {
    everywhere(async |run| {
        for broken in Broken::ALL.into_iter().filter(|broken| !broken.hangs()) {
            let server = server(true, move |call, before| broken.serve(call, before));
            let clock = Clock::new();
            let (client, driver) = connect(on(&clock).limits(few_pages()), &server).await;
            run.drive(driver, async {
                assert_refused(call(&client, "unknown").await);
                let once = lists(&server);
                assert!(matches!(once, 1 | 2 | 4), "{broken:?}: {once} pages");
                clock.advance(seconds(MEMORY - 1));
                for _ in 0..3 {
                    assert_refused(call(&client, "unknown").await);
                }
                assert_eq!(lists(&server), once, "{broken:?}");
                assert_eq!(regions(&server, "unknown").len(), 4, "{broken:?}: nothing is repeated in vain");
                // The trouble may have passed.
                clock.advance(seconds(1));
                assert_refused(call(&client, "unknown").await);
                assert_refused(call(&client, "unknown").await);
                assert_eq!(lists(&server), 2 * once, "{broken:?}");
                client.close().await;
            })
            .await;
        }
    });
}

#[test]
fn par_09_to_03_a_list_that_hangs_ends_with_the_calls_time_and_is_remembered() {
    everywhere(async |run| {
        for (options, limit) in [
            (CallOptions::timeout(seconds(5)), seconds(5)),
            (CallOptions::default().silence(seconds(7)).total(seconds(100)), seconds(7)),
        ] {
            let server = server(true, |call, before| Broken::FirstPageOnly.serve(call, before));
            let clock = Clock::new();
            let (client, driver) = connect(on(&clock), &server).await;
            run.drive(driver, async {
                let hasty = client.with_options(options);
                let (result, ()) = join(call(&hasty, "unknown"), async {
                    server.arrival(|it| it.body["params"]["cursor"] == "a").await;
                    clock.pass(limit).await;
                })
                .await;
                assert_refused(result);
                assert_eq!((lists(&server), client.pending_calls()), (2, 0), "the list was given up");
                // A call that would not wait for longer does not wait at all.
                assert_refused(call(&hasty, "unknown").await);
                assert_eq!(lists(&server), 2);
                // The page that has come is used.
                call(&hasty, "known").await.unwrap();
                assert_eq!(regions(&server, "known"), [Some("eu".to_owned())]);
                client.close().await;
                server.deserted().await;
            })
            .await;
        }
    });
}

#[test]
fn par_09_a_failed_list_is_tried_again_when_the_server_or_the_application_gives_reason() {
    once(async |run| {
        for told in [true, false] {
            let before = AtomicUsize::new(0);
            let server = Server::start(move |call| match call.request.rpc() {
                "tools/list" if before.fetch_add(1, Ordering::SeqCst) == 0 => {
                    call.respond("500 X", &[], "no");
                }
                "tools/list" if call.request.body["params"]["cursor"].is_null() => {
                    page(call, &[tool("other")], Some("a"));
                }
                "tools/list" => page(call, &[tool("known")], None),
                "tools/call" if call.request.tool() == "news" => {
                    call.events();
                    call.event(&tell("notifications/tools/list_changed", json!({})).to_string());
                    call.event(&modern_answer(&call.request.body).unwrap().to_string());
                }
                "tools/call" if call.request.header("mcp-param-region").is_none() => refuse(call),
                _ => modern(call),
            });
            let (client, driver) = connect(on(&Clock::new()), &server).await;
            run.drive(driver, async {
                for _ in 0..2 {
                    assert_refused(call(&client, "known").await);
                }
                assert_eq!(lists(&server), 1);
                match told {
                    true => call(&client, "news").await.unwrap(),
                    false => drop(client.list_tools_page(None).await.unwrap()),
                }
                call(&client, "known").await.unwrap();
                assert_eq!(lists(&server), if told { 3 } else { 4 });
                client.close().await;
            })
            .await;
        }
    });
}

#[test]
fn par_09_a_patient_call_tries_again_what_a_hasty_one_has_given_up() {
    once(async |run| {
        let server = server(true, |call, before| match before {
            0 => call.hold(),
            _ => page(call, &[tool("known")], None),
        });
        let clock = Clock::new();
        let (client, driver) = connect(on(&clock), &server).await;
        run.drive(driver, async {
            let hasty = client.with_options(CallOptions::timeout(millis(5)));
            let (result, ()) = join(call(&hasty, "known"), async {
                server.arrival(|it| it.rpc() == "tools/list").await;
                clock.pass(millis(5)).await;
            })
            .await;
            assert_refused(result);
            call(&client, "known").await.unwrap();
            assert_eq!(lists(&server), 2);
            client.close().await;
        })
        .await;
    });
}
