//! Every way to fail: at which stage, whether sent, and why.

use std::error::Error as _;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::Request;

use super::super::failure::{Failure, Stage};
use super::kit::{Peer, Server, Vacant, call, engine, event, post, run};

/// The failure of one request to a server that follows a script.
fn failure(script: impl Fn(Peer) + Send + Sync + 'static) -> Failure {
    let server = Server::start(script);
    let failure = run(call(&engine(), post(&server.url("/"), "{}"))).unwrap_err();
    assert_eq!(server.connections(), 1);
    failure
}

#[test]
fn a_request_the_peer_may_have_seen_is_not_repeated() {
    let requests = Arc::new(AtomicUsize::new(0));
    let count = requests.clone();
    let server = Server::start(move |mut peer| {
        while peer.request().is_some() {
            // On a used connection too, where others would take it for stale.
            if count.fetch_add(1, Ordering::SeqCst) == 1 {
                return;
            }
            peer.respond("ok");
        }
    });
    run(async {
        let engine = engine();
        call(&engine, post(&server.url("/"), "{}")).await.unwrap();
        let failure = call(&engine, post(&server.url("/"), "{}")).await.unwrap_err();
        assert_eq!((failure.stage, failure.sent), (Stage::Head, true));
        assert_eq!(failure.io_kind(), Some(ErrorKind::UnexpectedEof));
        assert_eq!(requests.load(Ordering::SeqCst), 2);
        assert_eq!(server.connections(), 1);
        // The failed connection is gone, the engine goes on.
        call(&engine, post(&server.url("/"), "{}")).await.unwrap();
        assert_eq!(server.connections(), 2);
    });
}

#[test]
fn refused() {
    let vacant = Vacant::new();
    let url = format!("http://{}/?secret", vacant.address);
    let failure = run(call(&engine(), post(&url, "{}"))).unwrap_err();
    assert_eq!((failure.stage, failure.sent), (Stage::Connect, false));
    assert_eq!(failure.io_kind(), Some(ErrorKind::ConnectionRefused));
    assert_eq!(failure.to_string(), "connecting failed");
    assert!(failure.source().unwrap().downcast_ref::<std::io::Error>().is_some());
}

#[test]
fn reset_before_the_head() {
    let failure = failure(Peer::reset);
    assert_eq!((failure.stage, failure.sent), (Stage::Head, true));
    assert_eq!(failure.io_kind(), Some(ErrorKind::ConnectionReset));
}

#[test]
fn end_before_the_head() {
    let failure = failure(|mut peer| drop(peer.request()));
    assert_eq!((failure.stage, failure.sent), (Stage::Head, true));
    assert_eq!(failure.io_kind(), Some(ErrorKind::UnexpectedEof));
    assert!(!failure.is_parse());
}

#[test]
fn end_within_the_head() {
    let failure = failure(|mut peer| {
        peer.request();
        peer.write("HTTP/1.1 200 OK\r\ncontent-le");
    });
    assert_eq!((failure.stage, failure.sent), (Stage::Head, true));
    assert_eq!(failure.io_kind(), Some(ErrorKind::UnexpectedEof));
}

#[test]
fn end_within_a_body_of_known_length() {
    let failure = failure(|mut peer| {
        peer.request();
        peer.write("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345");
    });
    assert_eq!((failure.stage, failure.sent), (Stage::Body, true));
    assert_eq!(failure.io_kind(), Some(ErrorKind::UnexpectedEof));
}

#[test]
fn end_within_a_chunked_body() {
    for cut in ["5\r\n12345\r\n", "5\r\n123", "5"] {
        let failure = failure(move |mut peer| {
            peer.request();
            peer.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
            peer.write(cut);
        });
        assert_eq!((failure.stage, failure.sent), (Stage::Body, true));
        assert_eq!(failure.io_kind(), Some(ErrorKind::UnexpectedEof), "{cut}");
    }
}

#[test]
fn reset_within_the_body() {
    let (arrived, has_arrived) = event();
    let has_arrived = std::sync::Mutex::new(has_arrived);
    let server = Server::start(move |mut peer| {
        peer.head();
        peer.write("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345");
        has_arrived.lock().unwrap().wait();
        peer.reset();
    });
    run(async {
        let response = engine().send(post(&server.url("/"), "unread")).await.unwrap();
        let mut body = response.into_body();
        assert_eq!(body.chunk().await.unwrap().unwrap(), "12345");
        arrived.set();
        let failure = body.chunk().await.unwrap().unwrap_err();
        assert_eq!((failure.stage, failure.sent), (Stage::Body, true));
        assert_eq!(failure.io_kind(), Some(ErrorKind::ConnectionReset));
        assert!(body.chunk().await.is_none());
    });
}

#[test]
fn garbage_instead_of_a_head() {
    let failure = failure(|mut peer| {
        peer.request();
        peer.write("220 mail.example ESMTP\r\n\r\n");
    });
    assert_eq!((failure.stage, failure.sent), (Stage::Head, true));
    assert!(failure.is_parse());
}

#[test]
fn a_head_that_never_ends() {
    let failure = failure(|mut peer| {
        use std::io::Write as _;
        peer.request();
        peer.write("HTTP/1.1 200 OK\r\n");
        while peer.stream.write_all(b"a: b\r\n").is_ok() {}
    });
    assert_eq!((failure.stage, failure.sent), (Stage::Head, true));
    assert!(failure.is_parse());
}

#[test]
fn urls_that_cannot_be_used() {
    for url in ["/relative", "ftp://host/", "http://host:99999/", "http://host:12x/", "http://:80/"] {
        let Ok(request) = Request::post(url).body(Bytes::new()) else {
            continue;
        };
        let failure = run(call(&engine(), request)).unwrap_err();
        assert_eq!((failure.stage, failure.sent), (Stage::BadUrl, false), "{url}");
        assert_eq!(failure.to_string(), "the url cannot be used");
        assert!(failure.source().is_some());
    }
}

#[cfg(not(feature = "tls"))]
#[test]
fn https_needs_its_feature() {
    let failure = run(call(&engine(), post("https://localhost/", "{}"))).unwrap_err();
    assert_eq!((failure.stage, failure.sent), (Stage::BadUrl, false));
    assert_eq!(failure.source().unwrap().to_string(), "https needs the feature `tls`");
}

mod peers_that_do_not_wait {
    //! What the peer does before the request is written, in a fixed order.

    use std::io;
    use std::sync::mpsc;

    use super::super::kit::{Scripted, engine_on, scripted};
    use super::*;

    fn failure(first: fn() -> io::Result<&'static str>) -> Failure {
        let (written, writes) = mpsc::channel();
        let net = Scripted::new(move |nth| {
            assert_eq!(nth, 0, "a new connection that fails is not replaced");
            scripted(vec![Some(first()), None], written.clone())
        });
        let failure = run(call(&engine_on(net), post("http://a/", "{}"))).unwrap_err();
        assert_eq!(writes.try_iter().count(), 0);
        assert_eq!((failure.stage, failure.sent), (Stage::Send, false));
        failure
    }

    #[test]
    fn one_that_talks_first() {
        let failure = failure(|| Ok("SSH-2.0-OpenSSH_9.9\r\n"));
        assert!(failure.is_parse());
        assert_eq!(failure.io_kind(), None);
    }

    #[test]
    fn one_that_hangs_up() {
        let failure = failure(|| Ok(""));
        assert_eq!(failure.io_kind(), Some(ErrorKind::UnexpectedEof));
        assert!(!failure.is_parse());
    }

    #[test]
    fn one_that_resets() {
        let failure = failure(|| Err(ErrorKind::ConnectionReset.into()));
        assert_eq!(failure.io_kind(), Some(ErrorKind::ConnectionReset));
        assert!(!failure.is_parse());
    }
}
