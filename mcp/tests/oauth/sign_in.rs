//! The way in: a login, a call that causes one, more scopes, out again.

use crate::fault::run::{everywhere, once};
use crate::kit::{Both, REDIRECT_URI, agree, auth, call, needs_login, with_client, works};
use serde_json::json;
use shared_fate_mcp::error::InvalidInput;
use shared_fate_mcp::http::Sse;
use shared_fate_mcp::oauth::{AuthErrorKind, AuthEvent, ClientId, MemoryStore, OAuth, Prompt, consent_fn};
use shared_fate_mcp::{Client, Delivery, ErrorKind, Event, Http, Mode};
use std::sync::{Arc, Mutex};

#[test]
fn oa_01_after_a_login_every_request_has_the_token() {
    everywhere(async |run| {
        let both = Both::start();
        let oauth = both.builder().build();
        assert_eq!(both.status(&oauth).await, None);
        let http = both.server.transport().header("x-api-key", "k3y").unwrap().oauth(&oauth);
        oauth.login(&http).await.unwrap();
        let status = both.status(&oauth).await.unwrap();
        assert!(status.has_access && status.has_refresh && status.expires.is_none());
        let connected = Client::connect(http).await.unwrap();
        works(run, connected).await;
        let requests = both.server.requests();
        let sent = requests.iter().filter(|request| request.target == "/mcp");
        let methods: Vec<_> = sent.clone().map(|request| &*request.method).collect();
        assert!(methods.contains(&"GET") && methods.contains(&"DELETE") && methods.contains(&"POST"));
        for request in sent {
            let token = request.header("authorization").unwrap();
            assert!(token.starts_with("Bearer 5ecret-access-"));
            assert_eq!(request.header("x-api-key"), Some("k3y"));
        }
        assert!(requests.iter().all(|request| !request.target.contains("5ecret-access")));
        let books = both.books();
        assert_eq!((books.codes_exchanged, books.registrations, books.refused), (1, 1, 0));
    });
}

#[test]
fn oa_02_a_call_signs_in_when_it_may() {
    everywhere(async |run| {
        let both = Both::start();
        let events = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&events);
        let oauth = both.builder().prompt(Prompt::OnCall).build();
        let connected = Client::builder()
            .mode(Mode::Legacy)
            .on_event(move |event| {
                if let Event::Auth(event) = event {
                    seen.lock().unwrap().push(event.clone().into_owned());
                }
            })
            .connect(both.http(&oauth))
            .await
            .unwrap();
        works(run, connected).await;
        assert_eq!(both.books().asked, 1);
        let events = events.lock().unwrap();
        match &events[..] {
            [AuthEvent::Asking { host, .. }, AuthEvent::Granted { issuer, scopes, .. }] => {
                assert_eq!(
                    (host, &scopes[..]),
                    (&both.server.address().to_string(), &["basic".to_owned()][..])
                );
                assert!(issuer.ends_with(&both.server.address().to_string()));
            }
            events => panic!("{events:?}"),
        }
    });
}

/// The revision that the session has agreed on, where a sign-in asks the server something.
#[test]
fn a_sign_in_within_a_session_says_the_revision() {
    everywhere(async |run| {
        let both = Both::start();
        let oauth = both.builder().prompt(Prompt::OnCall).build();
        let revisions = || {
            let of_metadata = |target: &str| target.starts_with("/.well-known/oauth-protected-resource");
            let requests = both.server.requests().into_iter().filter(|it| of_metadata(&it.target));
            requests.map(|it| it.header("mcp-protocol-version").map(str::to_owned)).collect::<Vec<_>>()
        };
        oauth.login(&both.http(&oauth)).await.unwrap();
        let before = revisions();
        assert!(!before.is_empty() && before.iter().all(Option::is_none), "{before:?}");
        let connected = Client::builder().mode(Mode::Legacy).connect(both.http(&oauth)).await.unwrap();
        both.books().revoke();
        works(run, connected).await;
        let after = &revisions()[before.len()..];
        assert!(!after.is_empty(), "another sign-in");
        assert!(after.iter().all(|it| it.as_deref() == Some("2025-11-25")), "{after:?}");
    });
}

#[test]
fn oa_68_what_a_login_does_is_told_to_the_clients_that_have_the_handle() {
    everywhere(async |run| {
        let both = Both::start();
        let (told, events) = smol::channel::unbounded();
        let oauth = both.builder().build();
        let http = both.http(&oauth);
        // No client is there yet that could be told.
        oauth.login(&http).await.unwrap();
        let builder = Client::builder().on_event(move |event| {
            if let Event::Auth(event) = event {
                told.try_send(event.clone().into_owned()).unwrap();
            }
        });
        let connected = builder.connect(both.http(&oauth)).await.unwrap();
        with_client(run, connected, async |client| {
            for again in [false, true] {
                if again {
                    oauth.login(&http).await.unwrap();
                }
                assert!(matches!(events.recv().await.unwrap(), AuthEvent::Asking { .. }));
                assert!(matches!(events.recv().await.unwrap(), AuthEvent::Granted { .. }));
            }
            client.ping().await.unwrap();
            assert!(events.is_empty());
        })
        .await;
    });
}

#[test]
fn oa_40_without_leave_to_ask_a_login_is_required_at_once() {
    everywhere(async |run| {
        let both = Both::start();
        for oauth in [both.builder().build(), OAuth::builder().build()] {
            let error = Client::connect(both.http(&oauth)).await.unwrap_err();
            assert!(needs_login(&error) && !error.is_retryable(), "{error:#}");
            assert_eq!((error.delivery(), error.http().unwrap().status()), (Delivery::Answered, 401));
        }
        assert_eq!(both.books().asked, 0);
        assert!(both.server.requests().iter().all(|request| request.target == "/mcp"), "no document is read");
        // The next login asks for what the server wanted.
        let oauth = both.builder().build();
        let http = both.http(&oauth);
        drop(Client::connect(http).await.unwrap_err());
        let connected = both.signed_in(&oauth).await;
        works(run, connected).await;
        assert_eq!(both.status(&oauth).await.unwrap().scopes, ["basic"]);
    });
}

#[test]
fn oa_52_54_more_scopes_are_asked_for_once_and_with_those_there_are() {
    once(async |run| {
        let both = Both::start();
        let oauth = both.builder().prompt(Prompt::OnCall).build();
        let connected = Client::connect(both.http(&oauth)).await.unwrap();
        with_client(run, connected, async |client| {
            call(client).await.unwrap();
            client.call_tool("admin", json!({})).await.unwrap();
            client.call_tool("admin", json!({})).await.unwrap();
        })
        .await;
        assert_eq!(both.status(&oauth).await.unwrap().scopes, ["basic", "admin"]);
        let books = both.books();
        assert_eq!((books.asked, books.codes_exchanged, books.refreshes), (2, 2, 0));
    });
}

#[test]
fn oa_05_nothing_secret_goes_in_the_clear() {
    once(async |_| {
        let both = Both::start();
        let oauth = both.builder().build();
        let http = Http::new("http://mcp.example/mcp").unwrap().oauth(&oauth);
        let error = oauth.login(&http).await.unwrap_err();
        assert!(matches!(auth(&error).kind(), AuthErrorKind::Insecure { .. }), "{error:#}");
        assert_eq!(error.delivery(), Delivery::NotSent);
    });
}

#[test]
fn oa_41_settings_that_cannot_be_used_are_refused_at_once() {
    let refused = |error: shared_fate_mcp::Error| {
        assert!(matches!(error.kind(), ErrorKind::InvalidInput(InvalidInput::OAuth(_))), "{error:#}");
    };
    for url in ["http://a.example/client.json", "https://a.example", "https://a.example/", "client.json"] {
        refused(OAuth::builder().client_metadata_url(url).unwrap_err());
    }
    for name in ["state", "redirect_uri", "resource", "code_challenge", ""] {
        refused(OAuth::builder().authorize_parameter(name, "x").unwrap_err());
    }
    let builder = OAuth::builder().client_metadata_url("https://a.example/client.json").unwrap();
    let oauth = builder.authorize_parameter("access_type", "offline").unwrap().build();
    let document = oauth.client_metadata_document(&["http://127.0.0.1/callback"]).unwrap();
    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    assert_eq!(document["client_id"], "https://a.example/client.json");
    assert_eq!(document["redirect_uris"], json!(["http://127.0.0.1/callback"]));
    assert_eq!(OAuth::builder().build().client_metadata_document(&[]), None);
}

#[test]
fn oa_07_after_a_logout_there_is_nothing_left() {
    once(async |_| {
        let both = Both::start();
        let oauth = both.builder().build();
        let http = both.http(&oauth);
        oauth.login(&http).await.unwrap();
        oauth.logout(&http).await.unwrap();
        assert_eq!(both.status(&oauth).await, None);
        let revocations = both.books().revocations;
        assert!(revocations > 0);
        oauth.logout(&http).await.unwrap();
        assert_eq!(both.books().revocations, revocations, "there is nothing to revoke");
        let error = Client::connect(http).await.unwrap_err();
        assert!(needs_login(&error));
    });
}

#[test]
fn oa_01_the_older_transport_signs_in_and_sends_the_token_too() {
    everywhere(async |run| {
        let both = Both::start();
        let oauth = both.builder().prompt(Prompt::OnCall).build();
        let sse = Sse::new(&both.server.url().replace("/mcp", "/sse")).unwrap();
        #[cfg(feature = "tokio")]
        let sse =
            if crate::fault::run::on_tokio_io() { sse.net(shared_fate_mcp::runtime::TokioNet) } else { sse };
        let connected = Client::builder().mode(Mode::Legacy).connect(sse.oauth(&oauth)).await.unwrap();
        with_client(run, connected, async |client| {
            call(client).await.unwrap();
            both.books().expire();
            call(client).await.unwrap();
        })
        .await;
        assert_eq!(both.seen(|it| (it.asked, it.refreshes, it.is_revoked)), (1, 1, false));
    });
}

#[test]
fn oa_99_what_goes_on_behind_calls_never_asks() {
    once(async |run| {
        let both = Both::start();
        let oauth = both.builder().prompt(Prompt::OnCall).build();
        let connected = Client::builder().mode(Mode::Legacy).connect(both.http(&oauth)).await.unwrap();
        with_client(run, connected, async |client| {
            assert_eq!(both.books().asked, 1);
            both.books().revoke();
            assert!(needs_login(&client.ping().await.unwrap_err()), "a ping");
            assert!(needs_login(&client.notify("notifications/x", ()).await.unwrap_err()), "a notification");
            // Such a session begins without the caller's doing.
            assert!(needs_login(&client.reconnect().await.map(drop).unwrap_err()), "a reconnection");
            assert_eq!(both.books().asked, 1);
            call(client).await.unwrap();
            assert_eq!(both.books().asked, 2);
        })
        .await;
    });
}

#[test]
fn oa_42_a_client_that_was_used_at_one_server_is_not_shown_to_anothers_issuer() {
    once(async |_| {
        let (one, other) = (Both::start(), Both::start());
        let store = Arc::new(MemoryStore::new());
        let handle = || {
            let books =
                [&one, &other].map(|it| (it.server.address().port().to_string(), Arc::clone(&it.books)));
            let consent = consent_fn(REDIRECT_URI, move |url| {
                let (_, books) = books.iter().find(|(port, _)| url.contains(port)).unwrap();
                let redirected = agree(&url, books);
                async move { Ok(redirected) }
            });
            let client = ClientId::new("mine").secret("5ecret-of-one");
            OAuth::builder().client(client).consent(consent).store(Arc::clone(&store)).build()
        };
        let is_refused = async |oauth: &OAuth| {
            let error = oauth.login(&other.http(oauth)).await.unwrap_err();
            assert!(matches!(auth(&error).kind(), AuthErrorKind::ClientOfOtherIssuer { .. }), "{error:#}");
            assert_eq!(other.seen(|it| (it.asked, it.forms.len())), (0, 0));
        };
        let oauth = handle();
        oauth.login(&one.http(&oauth)).await.unwrap();
        is_refused(&oauth).await;
        // A handle that has only read what is stored refuses it, too.
        let reader = handle();
        assert!(one.status(&reader).await.is_some());
        is_refused(&reader).await;
        // The client's issuer is not forgotten with the tokens.
        oauth.logout(&one.http(&oauth)).await.unwrap();
        is_refused(&oauth).await;
        oauth.login(&one.http(&oauth)).await.unwrap();
    });
}

#[test]
fn oa_54_a_login_is_no_dead_end_where_less_is_granted_than_was_asked_for() {
    once(async |run| {
        let both = Both::start();
        let oauth = both.builder().build();
        let http = both.http(&oauth);
        let connected = both.signed_in(&oauth).await;
        with_client(run, connected, async |client| {
            let admin = async || client.call_tool("admin", json!({})).await.map(drop);
            assert!(needs_login(&admin().await.unwrap_err()));
            both.books().is_stingy = true;
            oauth.login(&http).await.unwrap();
            // Another login of the same person would bring no more.
            for _ in 0..2 {
                let error = admin().await.unwrap_err();
                let kind = auth(&error).kind();
                assert!(
                    matches!(kind, AuthErrorKind::InsufficientScope { wanted, .. } if wanted == &["admin"])
                );
            }
            // A login is possible all the same: another person may sign in.
            oauth.login(&http).await.unwrap();
            assert_eq!(both.books().asked, 3);
            both.books().is_stingy = false;
            assert!(needs_login(&admin().await.unwrap_err()));
            oauth.login(&http).await.unwrap();
            admin().await.unwrap();
        })
        .await;
    });
}

#[test]
fn oa_07_after_a_logout_nothing_is_asked_for_that_a_call_wanted_before() {
    once(async |run| {
        let both = Both::start();
        let oauth = both.builder().build();
        let http = both.http(&oauth);
        let connected = both.signed_in(&oauth).await;
        with_client(run, connected, async |client| {
            assert!(needs_login(&client.call_tool("admin", json!({})).await.unwrap_err()));
            oauth.logout(&http).await.unwrap();
            oauth.login(&http).await.unwrap();
            let scopes = both.status(&oauth).await.unwrap().scopes;
            assert!(!scopes.contains(&"admin".to_owned()), "{scopes:?}");
        })
        .await;
    });
}
