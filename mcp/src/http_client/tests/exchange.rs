//! Requests that succeed, and how long a head may be.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};

use bytes::Bytes;
use futures::future::join;
use http::Request;

use super::super::connection::LONGEST_HEAD;
use super::super::failure::Stage;
use super::kit::{Server, call, engine, event, post, read, run};

#[test]
fn posts_and_keeps_the_connection() {
    let (seen, received) = mpsc::channel();
    let server = Server::start(move |mut peer| {
        while let Some(request) = peer.request() {
            peer.respond(b"{\"ok\":true}");
            seen.send(request).unwrap();
        }
    });
    run(async {
        let engine = engine();
        for _ in 0..5 {
            let response = engine.send(post(&server.url("/mcp?a=b"), "{\"n\":1}")).await.unwrap();
            assert_eq!(response.status(), 200);
            assert_eq!(read(response).await.unwrap(), b"{\"ok\":true}");
        }
    });
    assert_eq!(server.connections(), 1);
    let request = received.recv().unwrap();
    assert!(request.head.starts_with("POST /mcp?a=b HTTP/1.1\r\n"), "{}", request.head);
    assert!(request.head.contains(&format!("\r\nhost: {}\r\n", server.address)), "{}", request.head);
    assert_eq!(request.body, b"{\"n\":1}");
}

#[test]
fn user_and_password_of_the_url_are_not_sent() {
    let (seen, received) = mpsc::channel();
    let server = Server::start(move |mut peer| {
        let request = peer.request().unwrap();
        peer.respond("");
        seen.send(request.head).unwrap();
    });
    let url = server.url("?q").replace("http://", "http://user:secret@");
    run(call(&engine(), post(&url, "{}"))).unwrap();
    let head = received.recv().unwrap();
    assert!(head.starts_with("POST /?q HTTP/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("\r\nhost: {}\r\n", server.address)), "{head}");
    assert!(!head.contains("secret") && !head.contains("user"), "{head}");
}

#[test]
fn a_response_without_a_body_frees_the_connection_unread() {
    let server = Server::start(|mut peer| {
        while peer.request().is_some() {
            peer.write("HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n");
        }
    });
    run(async {
        let engine = engine();
        let mut kept = Vec::new();
        for _ in 0..3 {
            kept.push(engine.send(post(&server.url("/"), "{}")).await.unwrap());
        }
    });
    assert_eq!(server.connections(), 1);
}

#[test]
fn large_bodies_go_both_ways() {
    let server = Server::echo();
    let body = Bytes::from_iter((0..=u8::MAX).cycle().take(4_000_000));
    let answer = run(call(&engine(), post(&server.url("/"), body.clone()))).unwrap();
    assert!(answer == body);
}

#[test]
fn concurrent_requests_have_connections_of_their_own_and_leave_them_to_the_next() {
    let both_here = Arc::new(Barrier::new(2));
    let rounds = Arc::new(AtomicUsize::new(0));
    let server = Server::start(move |mut peer| {
        while let Some(request) = peer.request() {
            if rounds.fetch_add(1, Ordering::SeqCst) < 2 {
                both_here.wait();
            }
            peer.respond(request.body);
        }
    });
    run(async {
        let engine = engine();
        let one = call(&engine, post(&server.url("/"), "1"));
        let two = call(&engine, post(&server.url("/"), "2"));
        let (one, two) = join(one, two).await;
        assert_eq!((one.unwrap(), two.unwrap()), (b"1".to_vec(), b"2".to_vec()));
        assert_eq!(server.connections(), 2);
        let one = call(&engine, post(&server.url("/"), "1"));
        let two = call(&engine, post(&server.url("/"), "2"));
        let (one, two) = join(one, two).await;
        assert_eq!((one.unwrap(), two.unwrap()), (b"1".to_vec(), b"2".to_vec()));
    });
    assert_eq!(server.connections(), 2);
}

#[test]
fn connection_close_is_obeyed() {
    let (closed, was_closed) = event();
    let server = Server::start(move |mut peer| {
        peer.request().unwrap();
        peer.write("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok");
        peer.wait_until_closed();
        closed.set();
    });
    let engine = engine();
    for _ in 0..2 {
        assert_eq!(run(call(&engine, post(&server.url("/"), "{}"))).unwrap(), b"ok");
        was_closed.wait();
    }
    assert_eq!(server.connections(), 2);
}

#[test]
fn a_body_may_end_with_the_connection() {
    let server = Server::start(|mut peer| {
        peer.request().unwrap();
        peer.write("HTTP/1.0 200 OK\r\n\r\nall of it");
    });
    assert_eq!(run(call(&engine(), post(&server.url("/"), "{}"))).unwrap(), b"all of it");
}

#[test]
fn interim_responses_and_trailers_are_skipped() {
    let server = Server::start(|mut peer| {
        while peer.request().is_some() {
            peer.write("HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n");
            peer.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: t\r\n\r\n");
            peer.write("2\r\nok\r\n0\r\nt: 1\r\n\r\n");
        }
    });
    run(async {
        let engine = engine();
        for _ in 0..3 {
            assert_eq!(call(&engine, post(&server.url("/"), "{}")).await.unwrap(), b"ok");
        }
    });
    assert_eq!(server.connections(), 1);
}

#[test]
fn the_callers_host_field_stays() {
    let (seen, received) = mpsc::channel();
    let server = Server::start(move |mut peer| {
        let request = peer.request().unwrap();
        peer.respond("");
        seen.send(request.head).unwrap();
    });
    let request = Request::get(server.url("/")).header("host", "other").body(Bytes::new()).unwrap();
    run(call(&engine(), request)).unwrap();
    let head = received.recv().unwrap();
    assert!(head.contains("\r\nhost: other\r\n"), "{head}");
    assert_eq!(head.matches("host:").count(), 1, "{head}");
}

/// A response head of exactly this length, with as many fields as hyper takes.
fn head(length: usize) -> String {
    const FIELDS: usize = 98;
    let first = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n";
    let field = |length: usize| format!("set-cookie: {}\r\n", "x".repeat(length - "set-cookie: \r\n".len()));
    let room = length - first.len() - "\r\n".len();
    let fields = field(room / FIELDS).repeat(FIELDS);
    let head = [first, &fields, &field(room - fields.len()), "\r\n"].concat();
    assert_eq!(head.len(), length);
    head
}

#[test]
fn a_head_may_be_as_long_as_its_limit() {
    for length in [16 * 1024, 32 * 1024, LONGEST_HEAD] {
        let server = Server::start(move |mut peer| {
            while peer.request().is_some() {
                peer.write(head(length) + "ok");
            }
        });
        run(async {
            let engine = engine();
            for _ in 0..2 {
                assert_eq!(call(&engine, post(&server.url("/"), "{}")).await.unwrap(), b"ok", "{length}");
            }
        });
        assert_eq!(server.connections(), 1, "{length}");
    }
}

#[test]
fn a_head_past_its_limit_is_refused_before_it_ends() {
    let server = Server::start(|mut peer| {
        peer.request();
        peer.write(&head(LONGEST_HEAD + 1)[..LONGEST_HEAD]);
        peer.wait_until_closed();
    });
    let failure = run(call(&engine(), post(&server.url("/"), "{}"))).unwrap_err();
    assert_eq!((failure.stage, failure.sent, failure.is_parse()), (Stage::Head, true, true));
    assert_eq!(failure.into_cause().to_string(), "message head is too large");
}
