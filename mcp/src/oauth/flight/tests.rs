//! Unit tests of `oauth::flight`: what comes of tokens, nonces and entries when something else happens meanwhile.

use super::*;
use crate::oauth::account::{Account, Credentials};
use crate::oauth::run::unix_now;
use crate::oauth::{OAuth, StoreKey, TokenStore};
use crate::protocol::oauth::stored;
use crate::protocol::oauth::stored::tests::{bare, tokens};
use futures::future::join;
use http::{HeaderMap, HeaderValue};
use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::pin::pin;

const URL: &str = "http://127.0.0.1:1/mcp";

async fn credentials(account: &Account) -> Result<Credentials, AuthError> {
    account.credentials(&EngineConfig::default, &|_| ()).await
}

/// With a stored token that has expired, and that this server refreshes.
fn expired(server: &TcpListener) -> (Stored, OAuth, Arc<Account>) {
    let tokens = stored::Tokens { expires: Some(unix_now()), ..tokens(unix_now(), Some("refresh")) };
    let token_endpoint = format!("http://{}/token", server.local_addr().unwrap());
    let stored = Stored { tokens: Some(tokens), token_endpoint, ..bare() };
    let oauth = OAuth::builder().build();
    let account = oauth.account(URL);
    let Tokens { parts, key, .. } = &*account.tokens;
    pollster::block_on(parts.store.swap(key, None, Some(&stored))).unwrap();
    (stored, oauth, account)
}

/// Waits until a refresh has arrived.
fn read_refresh(server: &TcpListener) -> TcpStream {
    let (mut socket, mut request) = (server.accept().unwrap().0, Vec::new());
    while !request.windows(21).any(|it| it == b"refresh_token=refresh") {
        let mut chunk = [0; 1024];
        let length = socket.read(&mut chunk).unwrap();
        assert!(length > 0, "the request has no refresh token");
        request.extend_from_slice(&chunk[..length]);
    }
    socket
}

fn answer(mut socket: TcpStream, head: &str, body: &str) -> TcpStream {
    write!(socket, "HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    socket
}

#[test]
fn oa_74_a_refresh_that_was_given_up_leaves_its_token_in_doubt() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let (stored, _oauth, account) = expired(&server);
    // The connection stays open, and there is no answer.
    let asked = blocking::unblock(move || {
        let mut socket = server.accept().unwrap().0;
        socket.read_exact(&mut [0; 1]).map(|()| (server, socket)).unwrap()
    });
    let is_uncertain = || account.tokens.state.lock().stored.as_ref().is_some_and(|it| it.uncertain);
    pollster::block_on(async {
        let (mut waiting, mut asked) = (pin!(credentials(&account)), pin!(asked));
        let (server, _socket) = poll_fn(|cx| {
            assert!(waiting.as_mut().poll(cx).is_pending());
            asked.as_mut().poll(cx)
        })
        .await;
        assert!(!is_uncertain());
        let shared = account.flights.table.lock().flying[0].shared.clone();
        shared.give_up();
        assert!(is_uncertain());
        // After a refusal, for whatever reason, the token is tried no more.
        let refusing = blocking::unblock(move || {
            answer(read_refresh(&server), "400 Bad Request", r#"{"error":"invalid_request"}"#)
        });
        let (refreshed, _socket) = join(credentials(&account), refusing).await;
        assert!(refreshed.is_ok());
        assert!(!account.tokens.state.lock().can_refresh());
    });
    account.tokens.install(Some(stored), false);
    account.tokens.doubt(&bare());
    assert!(!is_uncertain(), "the doubt is about other tokens");
}

#[test]
fn oa_94_nonces_that_a_flight_hears_are_kept_beside_those_heard_meanwhile() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let (stored, _oauth, account) = expired(&server);
    let hear = |account: &Account, nonce: &'static str| {
        let mut answer = HeaderMap::new();
        answer.insert("dpop-nonce", HeaderValue::from_static(nonce));
        account.heard(URL, &answer);
    };
    hear(&account, "mcp-1");
    let meanwhile = Arc::clone(&account);
    let answering = blocking::unblock(move || {
        let socket = read_refresh(&server);
        hear(&meanwhile, "mcp-2");
        let body = r#"{"access_token":"new","token_type":"Bearer"}"#;
        answer(socket, "200 OK\r\nDPoP-Nonce: as-1", body)
    });
    let refreshed = join(credentials(&account), answering);
    let (refreshed, _socket) = pollster::block_on(refreshed);
    assert_eq!(refreshed.unwrap().authorization.unwrap(), "Bearer new");
    let state = account.tokens.state.lock();
    assert_eq!(state.nonces.of(&stored.token_endpoint), Some("as-1"));
    assert_eq!(state.nonces.of(URL), Some("mcp-2"));
}

/// A store whose entry changes before each swap.
struct Restless;

impl TokenStore for Restless {
    fn load<'a>(&'a self, _: &'a StoreKey) -> BoxFuture<'a, Result<Option<Stored>, BoxError>> {
        Box::pin(async { Ok(None) })
    }

    fn swap<'a>(
        &'a self,
        _: &'a StoreKey,
        _: Option<&'a Stored>,
        _: Option<&'a Stored>,
    ) -> BoxFuture<'a, Result<Swapped, BoxError>> {
        Box::pin(async { Ok(Swapped::Other(Some(bare()))) })
    }
}

#[test]
fn oa_07_a_logout_ends_even_if_the_entry_changes_all_the_time() {
    let oauth = OAuth::builder().store(Restless).build();
    let account = oauth.account(URL);
    let connect = EngineConfig::default;
    let logout = account.flights.fly(Purpose::Logout, &connect, None);
    let error = pollster::block_on(logout).unwrap_err();
    assert!(matches!(error.kind(), AuthErrorKind::Store), "{error}");
}

#[test]
fn oa_77_what_is_refused_for_no_known_reason_is_tried_three_times() {
    let oauth = OAuth::builder().build();
    let account = oauth.account(URL);
    let limit = account.tokens.parts.config.limits.refreshes;
    let mut state = account.tokens.state.lock();
    let odd = Some(Refusal::Other);
    for (refusal, is_worn_out) in [(odd, false), (None, false), (odd, false), (odd, true), (None, true)] {
        assert_eq!((state.is_worn_out_by(refusal, limit), limit), (is_worn_out, 3));
    }
}
