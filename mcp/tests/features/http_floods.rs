//! HTTP servers that never stop: no poll goes on for as long as they do, and nobody else waits for them.

use crate::check::on;
use crate::fault::clock::Clock;
use crate::fault::http::{Call, Server};
use crate::fault::run::once;
use crate::kit::{Log, http, millis, seconds};
use shared_fate_mcp::CallOptions;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Interim answers until `go_on` says no; much, and not without end: a client that takes all of it in
/// one go shall fail its test soon.
fn endless_interim_answers(call: &mut Call, mut go_on: impl FnMut(usize) -> bool) -> bool {
    let some = "HTTP/1.1 100 Continue\r\n\r\n".repeat(1000);
    for round in 0..3000 {
        call.write(&some);
        if !go_on(round) {
            return false;
        }
    }
    true
}

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
        let (clock, stop, over) = (Clock::new(), Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let (time, stopped, is_over) = (clock.clone(), Arc::clone(&stop), Arc::clone(&over));
        let server = Server::start(move |call| match &*call.request.method {
            "GET" => {
                call.take();
                let to_the_end = endless_interim_answers(call, |round| {
                    if round == 10 {
                        // The client is handed out without that stream's answer.
                        pollster::block_on(time.pass(millis(300)));
                    }
                    !stopped.load(Ordering::SeqCst)
                });
                is_over.store(to_the_end, Ordering::SeqCst);
            }
            _ => call.normal(),
        });
        let (client, driver) = on(&clock).connect(http(&server)).await.unwrap();
        driver
            .run_until(async {
                client.ping().await.unwrap();
                assert!(!over.load(Ordering::SeqCst), "connected only when the flood was over");
                stop.store(true, Ordering::SeqCst);
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
                // No time has passed.
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
        // A server may well have it so.
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
