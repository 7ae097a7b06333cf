//! A handler that blocks the thread that runs the driver: no call waits for that thread.

use crate::check::on;
use crate::fault::Gate;
use crate::fault::clock::Clock;
use crate::fault::http::Server;
use crate::fault::run::{Run, in_parallel};
use crate::kit::{Feed, http, seconds};
use serde_json::json;
use shared_fate_mcp::{CallOptions, Client, Error, RpcError};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Hands out a call of a second that the server holds, while a handler blocks the thread that runs the driver.
async fn beside_a_blocked_driver(
    run: Run,
    then: impl AsyncFn(&Client, &Clock, Pin<&mut dyn Future<Output = Error>>, Gate),
) {
    let (clock, gate, feed) = (Clock::new(), Gate::default(), Feed::new());
    let (held, events) = (gate.clone(), feed.clone());
    let (entered, inside) = smol::channel::bounded(1);
    let server = Server::start(move |call| match call.request.tool() {
        "held" => call.hold(),
        _ if call.request.method == "GET" => events.serve(call),
        _ => call.normal(),
    });
    // Such a handler may ask the user on the terminal.
    let builder = on(&clock).on_request("x", move |_| {
        entered.try_send(()).unwrap();
        held.wait();
        std::future::ready(Err(RpcError::new(1, "no")))
    });
    let (client, driver) = builder.connect(http(&server)).await.unwrap();
    run.drive(driver, async {
        feed.say(&json!({ "jsonrpc": "2.0", "id": "q", "method": "x" }));
        inside.recv().await.unwrap();
        // Calls over HTTP need no driver.
        client.ping().await.unwrap();
        let hasty = client.with_options(CallOptions::timeout(seconds(1)));
        let mut call = pin!(async { hasty.call_tool("held", ()).await.unwrap_err() });
        assert!(futures::poll!(&mut call).is_pending());
        server.arrival(|request| request.tool() == "held").await;
        then(&client, &clock, call, gate).await;
        feed.end();
        client.close().await;
    })
    .await;
}

#[test]
fn liv_23_rev_07_a_handler_that_blocks_its_thread_keeps_no_call_from_its_deadline() {
    in_parallel(async |run| {
        beside_a_blocked_driver(run, async |_, clock, mut call, gate| {
            clock.advance(seconds(2));
            let ended = futures::poll!(&mut call);
            gate.open();
            assert!(matches!(ended, Poll::Ready(error) if error.is_timeout()));
        })
        .await;
    });
}

/// Remembers that it was woken.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn liv_19_liv_23_the_end_of_the_session_ends_a_call_beside_a_blocked_driver() {
    in_parallel(async |run| {
        beside_a_blocked_driver(run, async |client, _, mut call, gate| {
            let woken = Arc::<Woken>::default();
            let waker = Waker::from(Arc::clone(&woken));
            let mut cx = Context::from_waker(&waker);
            let early = call.as_mut().poll(&mut cx);
            woken.0.store(false, Ordering::SeqCst);
            client.session().close();
            let woken = woken.0.load(Ordering::SeqCst);
            let ended = call.as_mut().poll(&mut cx);
            gate.open();
            assert!(early.is_pending() && woken);
            assert!(matches!(ended, Poll::Ready(error) if error.is_session_ended()));
        })
        .await;
    });
}
