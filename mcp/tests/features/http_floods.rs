//! HTTP servers that never stop sending: no poll lasts as long as they go on, and nobody else waits for them.

use crate::check::on;
use crate::fault::clock::Clock;
use crate::fault::http::{Call, Server};
use crate::fault::run::once;
use crate::kit::{Log, http, millis, seconds};
use shared_fate_mcp::CallOptions;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Sends rounds of interim answers until `go_on` says no. There are many rounds, and not endlessly many: a client that takes
/// all of them in one go shall fail its test soon.
fn endless_interim_answers(call: &mut Call, mut go_on: impl FnMut(usize) -> bool) {
    let some = "HTTP/1.1 100 Continue\r\n\r\n".repeat(1000);
    for round in 0..ROUNDS {
        call.write(&some);
        if !go_on(round) {
            return;
        }
    }
}

const ROUNDS: usize = 3000;

#[test]
fn liv_07_endless_interim_answers_do_not_keep_a_call_from_its_deadline() {
    once(async |_| {
        let (clock, stop) = (Clock::new(), Arc::new(AtomicBool::new(false)));
        let (time, stopped) = (clock.clone(), Arc::clone(&stop));
        let server = Server::start(move |call| match call.request.tool() {
            "flood" => {
                call.take();
                endless_interim_answers(call, |round| {
                    if round == 10 {
                        pollster::block_on(time.pass(seconds(60)));
                    }
                    !stopped.load(Ordering::SeqCst)
                });
            }
            _ => call.normal(),
        });
        let (client, driver) = on(&clock).connect(http(&server)).await.unwrap();
        driver
            .run_until(async {
                let error = client.call_tool("flood", ()).await.unwrap_err();
                stop.store(true, Ordering::SeqCst);
                assert!(error.is_timeout(), "{error:#}");
            })
            .await;
    });
}

#[test]
fn liv_20_endless_interim_answers_on_the_servers_stream_hold_up_nobody() {
    once(async |_| {
        let (clock, stop, sent) = (Clock::new(), Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let (time, stopped, counter) = (clock.clone(), Arc::clone(&stop), Arc::clone(&sent));
        let server = Server::start(move |call| match &*call.request.method {
            "GET" => {
                call.take();
                endless_interim_answers(call, |round| {
                    counter.store(round, Ordering::SeqCst);
                    if round == 10 {
                        // The client is handed out before the stream has an answer.
                        pollster::block_on(time.pass(millis(300)));
                    }
                    !stopped.load(Ordering::SeqCst)
                });
            }
            _ => call.normal(),
        });
        let (client, driver) = on(&clock).connect(http(&server)).await.unwrap();
        driver
            .run_until(async {
                // The driver has its turn meanwhile.
                smol::future::yield_now().await;
                let sent = sent.load(Ordering::SeqCst);
                assert!(sent < ROUNDS - 100, "the flood came first: {sent} rounds of it");
                stop.store(true, Ordering::SeqCst);
                client.ping().await.unwrap();
            })
            .await;
    });
}

#[test]
fn ses_14_res_08_a_stream_that_says_come_back_at_once_is_no_hot_loop() {
    once(async |_| {
        let server = Server::start(|call| match &*call.request.method {
            "GET" => {
                call.events();
                call.write("id: 1\nretry: 0\ndata:\n\n");
            }
            _ => call.normal(),
        });
        let (clock, log) = (Clock::new(), Log::default());
        let (client, driver) = log.events(on(&clock)).connect(http(&server)).await.unwrap();
        let gets = || server.requests().iter().filter(|request| request.method == "GET").count();
        driver
            .run_until(async {
                for _ in 0..200 {
                    client.ping().await.unwrap();
                }
                // The stream is not opened again before time has passed.
                assert_eq!(gets(), 1);
                clock.pass(millis(100)).await;
                // The pause grows while streams end at once, whatever is on them.
                for (round, pause) in (2..).zip([2, 4, 8, 16, 30, 30, 30]) {
                    clock.asleep(seconds(pause)).await;
                    assert_eq!(gets(), round);
                    clock.advance(seconds(pause));
                    while gets() == round {
                        client.ping().await.unwrap();
                    }
                }
            })
            .await;
        // A stream that ends at once is no event.
        assert!(log.lines().is_empty(), "{:?}", log.lines());
    });
}

#[test]
fn liv_06_a_deadline_is_kept_among_thousands_of_small_events() {
    once(async |_| {
        let clock = Clock::new();
        let time = clock.clone();
        let server = Server::start(move |call| match call.request.tool() {
            "flood" => {
                call.events();
                let some = ": on it\n\nid: 1\n\ndata: {\"method\":\"x\"}\n\n".repeat(500);
                for round in 0..200 {
                    call.write(&some);
                    if round == 10 {
                        pollster::block_on(time.pass(millis(100)));
                    }
                }
            }
            _ => call.normal(),
        });
        let (client, driver) = on(&clock).connect(http(&server)).await.unwrap();
        driver
            .run_until(async {
                let hasty = client.with_options(CallOptions::timeout(millis(100)));
                assert!(hasty.call_tool("flood", ()).await.unwrap_err().is_timeout());
                client.ping().await.unwrap();
            })
            .await;
    });
}
