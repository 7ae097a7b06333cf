//! Refreshes: one for all, none lost, and what the token endpoint's moods do to what is stored.

use crate::check::story;
use crate::fault::Gate;
use crate::fault::run::{everywhere, in_parallel, once};
use crate::kit::{Both, Then, auth, call, needs_login, with_client, works};
use futures::future::join_all;
use serde_json::json;
use shared_fate_mcp::oauth::{AuthErrorKind, AuthStep, MemoryStore, OAuthLimits, OAuthTimeouts};
use shared_fate_mcp::{Client, Delivery, ErrorKind};
use std::sync::Arc;
use std::time::{Duration, Instant};

#[test]
fn oa_70_71_rotated_tokens_follow_one_another() {
    everywhere(async |run| {
        let both = Both::start();
        let oauth = both.builder().build();
        let connected = both.signed_in(&oauth).await;
        with_client(run, connected, async |client| {
            for _ in 0..10 {
                both.books().expire();
                call(client).await.unwrap();
            }
        })
        .await;
        let books = both.books();
        assert_eq!((books.refreshes, books.asked, books.is_revoked), (10, 1, false));
        let refresh = books.forms.last().unwrap();
        assert_eq!((&*refresh["grant_type"], refresh.get("scope")), ("refresh_token", None));
        assert!(refresh.contains_key("resource") && refresh.contains_key("client_secret"));
    });
}

#[test]
fn oa_78_79_a_token_that_is_over_is_refreshed_before_it_is_sent() {
    once(async |run| {
        let both = Both::start();
        // Some servers write the number as a string.
        both.books().expires_in = Some(json!("0"));
        let oauth = both.builder().build();
        let connected = both.signed_in(&oauth).await;
        let refreshes = with_client(run, connected, async |client| {
            let before = both.books().refreshes;
            call(client).await.unwrap();
            both.books().refreshes - before
        })
        .await;
        assert!(refreshes >= 1);
        // A token that is over as soon as it is given out is sent all the same.
        let sent = both.server.requests().iter().filter(|request| request.target == "/mcp").count();
        assert!(both.books().refreshes <= sent);
        assert_eq!(both.seen(|it| (it.refused, it.is_revoked)), (0, false));
    });
}

#[test]
fn oa_72_a_hundred_calls_whose_token_is_over_cost_one_refresh() {
    const CALLS: usize = 100;
    in_parallel(async |run| {
        let both = Both::start();
        let oauth = both.builder().build();
        let connected = both.signed_in(&oauth).await;
        with_client(run, connected, async |client| {
            let gate = Gate::default();
            let opened = gate.clone();
            {
                let mut books = both.books();
                books.expire();
                books.then = Then::Hold(gate);
                let before = books.refused;
                // The refresh is answered when every call knows that its token is over.
                books.on_refusal = Some(Arc::new(move |count| {
                    if count == before + CALLS {
                        opened.open();
                    }
                }));
            }
            let calls = join_all((0..CALLS).map(|_| call(client))).await;
            assert!(calls.iter().all(Result::is_ok));
            assert_eq!(both.seen(|it| (it.refreshes, it.is_revoked)), (1, false));
        })
        .await;
    });
}

#[test]
fn oa_76_what_may_pass_takes_nothing_away() {
    once(async |run| {
        let store = Arc::new(MemoryStore::new());
        let both = Both::start();
        let page = "<html>down for maintenance</html>".to_owned();
        let slow = json!({ "error": "temporarily_unavailable" }).to_string();
        for (status, header, body, retry_after) in [
            ("503 Service Unavailable", "Retry-After: 7", page.clone(), Some(7)),
            ("429 Too Many Requests", "Retry-After: 3600", String::new(), Some(3600)),
            ("500 Internal Server Error", "X-A: b", page.clone(), None),
            ("200 OK", "X-A: b", page, None),
            ("400 Bad Request", "X-A: b", slow, None),
        ] {
            let oauth = both.builder().store(Arc::clone(&store)).build();
            let connected = both.signed_in(&oauth).await;
            with_client(run, connected, async |client| {
                both.books().expire();
                both.books().then = Then::Say(status, header, body);
                let (forms, begun) = (both.books().forms.len(), Instant::now());
                let error = call(client).await.unwrap_err();
                assert!(error.is_retryable(), "{status}: {}", story(&error));
                assert_eq!((auth(&error).step(), error.delivery()), (AuthStep::Refresh, Delivery::Answered));
                match auth(&error).kind() {
                    AuthErrorKind::Unavailable { retry_after: found, .. } => {
                        assert_eq!(*found, retry_after, "{status}");
                    }
                    kind => panic!("{status}: {kind}"),
                }
                // The endpoint is left alone for a while: a second, if it does not say for how long. On a slow machine
                // that may be over by now.
                let error = call(client).await.unwrap_err();
                if retry_after.is_some() || begun.elapsed() < Duration::from_secs(1) {
                    assert!(matches!(
                        auth(&error).kind(),
                        AuthErrorKind::Unavailable { retry_after: Some(1..), .. }
                    ));
                    assert_eq!(both.books().forms.len(), forms + 1);
                }
                both.books().then = Then::Answer;
            })
            .await;
            // Another process does not know that it should wait.
            let other = both.builder().store(Arc::clone(&store)).build();
            let connected = Client::connect(both.http(&other)).await.unwrap();
            works(run, connected).await;
        }
        assert!(!both.books().is_revoked);
    });
}

#[test]
fn oa_77_a_grant_that_is_gone_needs_a_login() {
    everywhere(async |run| {
        let both = Both::start();
        let oauth = both.builder().build();
        let connected = both.signed_in(&oauth).await;
        with_client(run, connected, async |client| {
            both.books().revoke();
            let error = call(client).await.unwrap_err();
            assert!(needs_login(&error), "{error:#}");
            let status = both.status(&oauth).await.unwrap();
            assert!(!status.has_access && !status.has_refresh);
            let forms = both.books().forms.len();
            assert!(needs_login(&call(client).await.unwrap_err()));
            assert_eq!(both.books().forms.len(), forms, "nobody is asked again");
            oauth.login(&both.http(&oauth)).await.unwrap();
            call(client).await.unwrap();
        })
        .await;
    });
}

#[test]
fn oa_77_an_odd_refusal_takes_nothing_away() {
    once(async |run| {
        let store = Arc::new(MemoryStore::new());
        let both = Both::start();
        let refusal = json!({ "error": "invalid_request" }).to_string();
        let mut oauth = both.builder().store(Arc::clone(&store)).build();
        oauth.login(&both.http(&oauth)).await.unwrap();
        both.books().expire();
        both.books().then = Then::Say("400 Bad Request", "X-A: b", refusal);
        let error = Client::connect(both.http(&oauth)).await.unwrap_err();
        assert!(
            matches!(auth(&error).kind(), AuthErrorKind::Refused(answer) if answer.error == "invalid_request")
        );
        assert!(both.status(&oauth).await.unwrap().has_refresh, "it is kept");
        oauth = both.builder().store(Arc::clone(&store)).build();
        both.books().then = Then::Answer;
        let connected = Client::connect(both.http(&oauth)).await.unwrap();
        works(run, connected).await;
    });
}

#[test]
fn oa_77_what_may_have_been_used_already_is_refused_once() {
    once(async |_| {
        let store = Arc::new(MemoryStore::new());
        let both = Both::start();
        let new = || both.builder().store(Arc::clone(&store)).build();
        let oauth = new();
        oauth.login(&both.http(&oauth)).await.unwrap();
        both.books().expire();
        both.books().then = Then::HangUp;
        let error = Client::connect(both.http(&oauth)).await.unwrap_err();
        assert!(error.is_retryable(), "{}", story(&error));
        // Another process finds in the store that the refresh token may have been used.
        let refusal = json!({ "error": "invalid_request" }).to_string();
        both.books().then = Then::Say("400 Bad Request", "X-A: b", refusal);
        let other = new();
        let error = Client::connect(both.http(&other)).await.unwrap_err();
        assert!(needs_login(&error), "{}", story(&error));
    });
}

#[test]
fn oa_77_the_last_odd_refusal_takes_nothing_away_either() {
    once(async |run| {
        let store = Arc::new(MemoryStore::new());
        let both = Both::start();
        let mut limits = OAuthLimits::default();
        limits.refreshes = 1;
        let oauth = both.builder().store(Arc::clone(&store)).limits(limits).build();
        oauth.login(&both.http(&oauth)).await.unwrap();
        both.books().expire();
        let refusal = json!({ "error": "invalid_request" }).to_string();
        both.books().then = Then::Say("400 Bad Request", "X-A: b", refusal);
        let forms = both.books().forms.len();
        for _ in 0..2 {
            let error = Client::connect(both.http(&oauth)).await.unwrap_err();
            assert!(needs_login(&error), "{}", story(&error));
            assert_eq!(both.books().forms.len(), forms + 1, "it is not tried again");
        }
        // The authorization server has changed its mind, and another process asks it.
        both.books().then = Then::Answer;
        let other = both.builder().store(store).build();
        let connected = Client::connect(both.http(&other)).await.unwrap();
        works(run, connected).await;
        // The handle that has given up finds the new tokens in the store.
        let connected = Client::connect(both.http(&oauth)).await.unwrap();
        works(run, connected).await;
        assert_eq!(both.seen(|it| (it.refreshes, it.asked, it.is_revoked)), (1, 1, false));
    });
}

#[test]
fn oa_15_a_token_that_is_refused_as_soon_as_it_is_there_is_not_got_for_ever() {
    once(async |run| {
        let both = Both::start();
        let oauth = both.builder().prompt(shared_fate_mcp::oauth::Prompt::OnCall).build();
        let connected = both.signed_in(&oauth).await;
        with_client(run, connected, async |client| {
            // Whatever is given out from now on is good for nothing.
            both.books().expire();
            both.books().spoil = true;
            let error = call(client).await.unwrap_err();
            assert!(matches!(auth(&error).kind(), AuthErrorKind::TokenRejected { .. }), "{}", story(&error));
            assert_eq!(both.seen(|it| (it.refreshes, it.asked)), (1, 2));
        })
        .await;
    });
}

#[test]
fn oa_76_a_token_endpoint_that_hangs_up_or_never_answers_is_a_failure_that_passes() {
    once(async |_| {
        let both = Both::start();
        let soon = Duration::from_millis(1);
        // Which time runs out: none, that of one exchange, that of all exchanges together.
        for (exchange, flow) in [(None, None), (Some(soon), None), (Some(Duration::MAX), Some(soon))] {
            let gate = Gate::default();
            let then = if exchange.is_some() { Then::Hold(gate.clone()) } else { Then::HangUp };
            let mut timeouts = OAuthTimeouts::default();
            timeouts.exchange = exchange.unwrap_or(timeouts.exchange);
            timeouts.flow = flow.unwrap_or(timeouts.flow);
            // A handle with the same tokens and less patience.
            let store = Arc::new(MemoryStore::new());
            let patient = both.builder().store(Arc::clone(&store)).build();
            patient.login(&both.http(&patient)).await.unwrap();
            let hasty = both.builder().store(store).timeouts(timeouts).build();
            both.books().expire();
            both.books().then = then;
            let error = Client::connect(both.http(&hasty)).await.unwrap_err();
            assert!(error.is_retryable(), "{}", story(&error));
            assert!(std::error::Error::source(&error).is_some());
            assert!(matches!(error.kind(), ErrorKind::Auth(_)));
            gate.open();
            both.books().then = Then::Answer;
        }
    });
}

#[test]
fn oa_15_a_refresh_that_brings_the_same_token_again_is_the_last_of_that_request() {
    once(async |run| {
        let both = Both::start();
        let oauth = both.builder().build();
        let connected = both.signed_in(&oauth).await;
        with_client(run, connected, async |client| {
            let token = both.seen(|it| it.secrets.iter().rfind(|it| it.contains("access")).cloned()).unwrap();
            let same = json!({ "access_token": token, "token_type": "bearer" }).to_string();
            both.books().expire();
            both.books().then = Then::Say("200 OK", "X-A: b", same);
            let forms = both.books().forms.len();
            for time in 1..=2 {
                let error = call(client).await.unwrap_err();
                assert!(needs_login(&error), "{}", story(&error));
                assert_eq!(both.books().forms.len(), forms + time);
            }
            oauth.login(&both.http(&oauth)).await.unwrap();
            call(client).await.unwrap();
        })
        .await;
    });
}
