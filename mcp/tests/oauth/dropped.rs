//! Callers that go in the middle of a refresh, which costs no refresh token.

use crate::fault::Gate;
use crate::fault::clock::Clock;
use crate::fault::run::{in_parallel, once};
use crate::kit::{Both, Then, call, with_client, works};
use futures::future::{Either, join, select};
use shared_fate_mcp::oauth::{AuthEvent, FileStore, MemoryStore};
use shared_fate_mcp::{Client, Event};
use std::pin::pin;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

struct Woken(Mutex<Sender<()>>);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        let _ = self.0.lock().unwrap().send(());
    }
}

/// Polls a future so many times, each but the first after a wake: its output, if there is one by then.
fn poll_times<T>(future: impl Future<Output = T>, times: usize) -> Option<T> {
    let (sender, woken) = mpsc::channel();
    let waker = Waker::from(Arc::new(Woken(Mutex::new(sender))));
    let mut future = pin!(future);
    for time in 0..times {
        if time > 0 {
            woken.recv_timeout(Duration::from_secs(30)).expect("it is woken");
            while woken.try_recv().is_ok() {}
        }
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(output);
        }
    }
    None
}

/// For each number of polls, drops a call whose token is over after so many; the next call must succeed. Returns the
/// number with which the call is not dropped.
async fn drop_at_every_point(both: &Both, client: &Client) -> usize {
    for times in 1.. {
        both.books().expire();
        let before = both.books().refreshes;
        let done = poll_times(call(client), times);
        if let Some(result) = done {
            result.unwrap();
            return times;
        }
        call(client).await.unwrap();
        let refreshes = both.books().refreshes - before;
        assert!(refreshes <= 1, "{refreshes} refreshes after {times} polls");
        assert!(!both.books().is_revoked, "after {times} polls");
    }
    unreachable!("the call is done some time")
}

#[test]
fn oa_74_a_caller_dropped_anywhere_in_a_refresh_costs_no_token() {
    in_parallel(async |run| {
        let both = Both::start();
        let folder = crate::store::new_folder();
        let oauth = both.builder().store(FileStore::new(&folder).unwrap()).build();
        let connected = both.signed_in(&oauth).await;
        let points =
            with_client(run, connected, async |client| drop_at_every_point(&both, client).await).await;
        assert!(points > 3, "{points}");
        assert_eq!(both.seen(|it| (it.asked, it.is_revoked)), (1, false));
        std::fs::remove_dir_all(&folder).unwrap();
    });
}

#[test]
fn oa_74_what_no_driver_carries_on_the_next_call_does() {
    once(async |_| {
        let both = Both::start();
        let oauth = both.builder().build();
        let (client, driver) = both.signed_in(&oauth).await;
        // The driver is there, and never polled.
        let points = drop_at_every_point(&both, &client).await;
        assert!(points > 3, "{points}");
        assert_eq!(both.seen(|it| (it.asked, it.is_revoked)), (1, false));
        drop(driver);
    });
}

#[test]
fn oa_74_a_login_dropped_anywhere_costs_nothing_but_the_login() {
    once(async |_| {
        let both = Both::start();
        let oauth = both.builder().build();
        let http = both.http(&oauth);
        for times in 1.. {
            if let Some(done) = poll_times(oauth.login(&http), times) {
                done.unwrap();
                break;
            }
            oauth.login(&http).await.unwrap();
        }
        assert!(both.status(&oauth).await.unwrap().has_access);
    });
}

#[test]
fn oa_74_when_nobody_waits_a_driver_carries_the_refresh_on() {
    in_parallel(async |run| {
        let both = Both::start();
        let oauth = both.builder().build();
        let (tell, told) = smol::channel::unbounded();
        let builder = Client::builder().on_event(move |event| {
            if matches!(event, Event::Auth(event) if matches!(**event, AuthEvent::Refreshed { .. })) {
                tell.try_send(()).unwrap();
            }
        });
        oauth.login(&both.http(&oauth)).await.unwrap();
        let connected = builder.connect(both.http(&oauth)).await.unwrap();
        with_client(run, connected, async |client| {
            let gate = Gate::default();
            both.books().expire();
            both.books().then = Then::Hold(gate.clone());
            let arrived = both.server.arrival(|request| request.text.contains("grant_type=refresh_token"));
            {
                // A handshake is not cancelled when it is given up: a cancellation would wait for the refresh, too.
                let refreshing = pin!(Client::connect(both.http(&oauth)));
                match select(refreshing, pin!(arrived)).await {
                    Either::Left(_) => panic!("the refresh is held"),
                    Either::Right(_) => {}
                }
            }
            gate.open();
            // Nothing but the driver of the other client polls the refresh.
            told.recv().await.unwrap();
            call(client).await.unwrap();
            assert_eq!(both.seen(|it| (it.refreshes, it.is_revoked)), (1, false));
        })
        .await;
    });
}

#[test]
fn oa_74_closing_waits_for_the_refresh_under_way() {
    in_parallel(async |run| {
        let both = Both::start();
        both.books().has_no_session = true;
        let store = Arc::new(MemoryStore::new());
        let oauth = both.builder().store(Arc::clone(&store)).build();
        oauth.login(&both.http(&oauth)).await.unwrap();
        // The close may take any time: its clock stands still.
        let builder = Client::builder().timer(Clock::new());
        let (client, driver) = builder.connect(both.http(&oauth)).await.unwrap();
        run.drive(driver, async {
            let gate = Gate::default();
            both.books().expire();
            both.books().then = Then::Hold(gate.clone());
            let arrived = both.server.arrival(|request| request.text.contains("grant_type=refresh_token"));
            let calling = async {
                assert!(call(&client).await.unwrap_err().is_session_ended());
                gate.open();
            };
            let closing = async {
                arrived.await;
                client.close().await;
            };
            join(calling, closing).await;
        })
        .await;
        // The new token is in the store, and another process finds it there.
        both.books().then = Then::Answer;
        let other = both.builder().store(store).build();
        works(run, Client::connect(both.http(&other)).await.unwrap()).await;
        assert_eq!(both.seen(|it| (it.refreshes, it.is_revoked, it.asked)), (1, false, 1));
    });
}
