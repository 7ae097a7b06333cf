//! A stream once more, after it has ended, the server's own or a call's: what the answer to that request means, and which
//! ends count (SES-14, RES-08).

use crate::check::{on, violation};
use crate::fault::clock::Clock;
use crate::fault::http::{Call, Request, Server};
use crate::fault::run::everywhere;
use crate::kit::{Feed, Log, http, millis, seconds, tell};
use crate::resume::{RETRY, breaks_off, gets as resumptions, is_resumption, resumed};
use futures::future::join;
use serde_json::json;
use shared_fate_mcp::error::{HttpError, Violation};
use shared_fate_mcp::http::TokenProvider;
use shared_fate_mcp::runtime::BoxFuture;
use shared_fate_mcp::{Client, Limits, Timeouts};
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

fn is_get(request: &Request) -> bool {
    request.method == "GET"
}

fn gets(server: &Server) -> Vec<Option<String>> {
    let requests = server.requests().into_iter().filter(is_get);
    requests.map(|get| get.header("last-event-id").map(str::to_owned)).collect()
}

/// A stream that ends at once.
fn ends(call: &mut Call, id: &str) {
    call.events();
    call.write(format!("{id}retry: 250\ndata:\n\n"));
}

/// A stream that lasts, and says so.
fn lasts(call: &mut Call) {
    call.events();
    call.event(&tell("notifications/tools/list_changed", json!({})).to_string());
    call.hold();
}

/// The stream is asked for again, and once more; then this is told, while calls are answered.
async fn until_told(what: &str, log: &Log, clock: &Clock, client: &Client) {
    clock.pass(millis(250)).await;
    clock.pass(seconds(2)).await;
    while log.count(what) == 0 {
        client.ping().await.unwrap();
    }
}

#[test]
fn ses_14_a_404_for_a_place_in_the_stream_does_not_end_the_session() {
    everywhere(async |run| {
        let opened = AtomicUsize::new(0);
        let server = Server::start(move |call| match is_get(&call.request) {
            true if call.request.header("last-event-id").is_some() => call.respond("404 Not Found", &[], ""),
            true if opened.fetch_add(1, Ordering::SeqCst) == 0 => ends(call, "id: 1\n"),
            true => lasts(call),
            false => call.normal(),
        });
        let (clock, log) = (Clock::new(), Log::default());
        let (client, driver) = log.events(on(&clock)).connect(http(&server)).await.unwrap();
        run.drive(driver, async {
            until_told("ToolsChanged", &log, &clock, &client).await;
            client.close().await;
            server.deserted().await;
        })
        .await;
        assert_eq!((gets(&server).len(), log.count("StreamLost")), (3, 0), "{:?}", log.lines());
    });
}

#[test]
fn ses_14_a_conflict_with_the_stream_that_has_just_ended_passes() {
    everywhere(async |run| {
        for passes in [true, false] {
            let asked = AtomicUsize::new(0);
            let server = Server::start(move |call| match is_get(&call.request) {
                true => match asked.fetch_add(1, Ordering::SeqCst) {
                    0 => ends(call, ""),
                    2 if passes => lasts(call),
                    _ => call.respond("409 Conflict", &[], "only one stream"),
                },
                false => call.normal(),
            });
            let (clock, log) = (Clock::new(), Log::default());
            let (client, driver) = log.events(on(&clock)).connect(http(&server)).await.unwrap();
            run.drive(driver, async {
                until_told(if passes { "ToolsChanged" } else { "StreamLost" }, &log, &clock, &client).await;
                client.close().await;
                server.deserted().await;
            })
            .await;
            assert_eq!((gets(&server).len(), log.lines().len()), (3, 1), "{:?}", log.lines());
        }
    });
}

/// Fails once it is told to.
struct Hiccup(Arc<AtomicBool>);

impl TokenProvider for Hiccup {
    fn token<'a>(
        &'a self,
        _: Option<&'a HttpError>,
    ) -> BoxFuture<'a, Result<String, Box<dyn Error + Send + Sync>>> {
        let fails = self.0.swap(false, Ordering::SeqCst);
        Box::pin(
            async move { if fails { Err("the keyring is locked".into()) } else { Ok("t0ken".to_owned()) } },
        )
    }
}

#[test]
fn ses_14_a_token_that_cannot_be_had_for_once_does_not_cost_the_stream() {
    everywhere(async |run| {
        let (fails, opened) = (Arc::new(AtomicBool::new(false)), AtomicBool::new(false));
        let failing = Arc::clone(&fails);
        let server = Server::start(move |call| match is_get(&call.request) {
            true if !opened.swap(true, Ordering::SeqCst) => {
                failing.store(true, Ordering::SeqCst);
                ends(call, "");
            }
            true => lasts(call),
            false => call.normal(),
        });
        let (clock, log) = (Clock::new(), Log::default());
        let transport = http(&server).token_provider(Hiccup(fails));
        let (client, driver) = log.events(on(&clock)).connect(transport).await.unwrap();
        run.drive(driver, async {
            until_told("ToolsChanged", &log, &clock, &client).await;
            client.close().await;
            server.deserted().await;
        })
        .await;
        assert_eq!((gets(&server).len(), log.count("StreamLost")), (2, 0), "{:?}", log.lines());
    });
}

#[test]
fn res_08_a_stream_that_a_proxy_closes_again_and_again_is_resumed_for_as_long_as_the_call_lasts() {
    everywhere(async |run| {
        let feed = Feed::new();
        let served = feed.clone();
        let server = Server::start(move |call| match (call.request.tool(), resumed(call)) {
            ("polled", _) => breaks_off(call),
            (_, Some(_)) => served.serve(call),
            _ => call.normal(),
        });
        let clock = Clock::new();
        let timeouts = Timeouts::default().silence(None).total(None);
        let builder = on(&clock).timeouts(timeouts).limits(Limits::default().resumptions(2));
        let (client, driver) = builder.connect(http(&server)).await.unwrap();
        run.drive(driver, async {
            let lasting = async {
                clock.pass(millis(RETRY)).await;
                // A stream that lasts a millisecond less counts as a failure.
                let rounds = [20_000, 20_000, 20_000, 20_000, 19_999, 20_000, 19_999];
                for lasts in rounds {
                    server.arrival(is_resumption).await;
                    clock.advance(millis(lasts));
                    feed.write("");
                    clock.pass(if lasts == 20_000 { millis(RETRY) } else { seconds(2) }).await;
                }
                server.arrival(is_resumption).await;
                feed.write("");
            };
            let (result, ()) = join(client.call_tool("polled", ()), lasting).await;
            assert_eq!(*violation(&result.unwrap_err()), Violation::StreamEnded);
            assert_eq!(resumptions(&server), 8);
            client.close().await;
        })
        .await;
    });
}
