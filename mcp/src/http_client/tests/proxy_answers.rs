//! What a proxy can say before its tunnel is open: in any pieces, too much, or nonsense.

use std::collections::VecDeque;
use std::error::Error as _;
use std::io;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use super::super::net::ByteStream;
use super::super::proxy::{Proxy, ProxyError};
use super::kit::{Fake, Step, give, run};

/// A stream that gives these pieces, one in each poll, and then the end; and what was written to it.
struct Pieces {
    pieces: VecDeque<Vec<u8>>,
    /// Whether the next poll has nothing.
    pause: bool,
    written: Arc<Mutex<Vec<u8>>>,
}

fn pieces(pieces: impl IntoIterator<Item = Vec<u8>>) -> (Box<dyn ByteStream>, Arc<Mutex<Vec<u8>>>) {
    let written = Arc::new(Mutex::new(Vec::new()));
    let pieces = pieces.into_iter().filter(|piece| !piece.is_empty()).collect();
    let state = Pieces { pieces, pause: true, written: written.clone() };
    let read = |state: &mut Pieces, buffer: &mut [u8]| -> Step {
        state.pause = !state.pause;
        if !state.pause {
            return None;
        }
        let Some(piece) = state.pieces.front_mut() else { return Some(Ok(0)) };
        let length = piece.len().min(buffer.len());
        let step = give(buffer, &piece[..length]);
        piece.drain(..length);
        if piece.is_empty() {
            state.pieces.pop_front();
        }
        step
    };
    let write = |state: &mut Pieces, bytes: &[u8]| -> Step {
        // A byte at a time.
        state.written.lock().unwrap().extend(&bytes[..1]);
        Some(Ok(1))
    };
    (Box::new(Fake { state, read, write }), written)
}

/// What becomes of a tunnel where the proxy says this, in these pieces; then what is left of its words.
fn tunnel(url: &str, said: impl IntoIterator<Item = Vec<u8>>) -> Result<Vec<u8>, ProxyError> {
    let proxy = Proxy::new(url).unwrap();
    let server = proxy.server(true, "server.example", 443).unwrap();
    let (stream, _) = pieces(said);
    run(async {
        let mut stream = server.tunnel(stream, "server.example", 443).await?;
        let mut rest = Vec::new();
        futures::AsyncReadExt::read_to_end(&mut stream, &mut rest).await.unwrap();
        Ok(rest)
    })
}

const HTTP: &str = "http://user:secret@proxy.example:3128";
const SOCKS: &str = "socks5://user:secret@proxy.example";

#[test]
fn an_answer_may_come_in_any_pieces() {
    let socks: Vec<u8> = [&[5, 2, 1, 0, 5, 0, 0, 1][..], &[1, 2, 3, 4, 5, 6]].concat();
    for (url, said) in [
        (HTTP, &b"HTTP/1.1 200 OK\r\nVia: x\r\n\r\n"[..]),
        (HTTP, b"HTTP/1.1 102 X\r\n\r\nHTTP/1.0 299\nA: b\n\n"),
        (SOCKS, &socks),
        (SOCKS, &[5, 0, 5, 0, 0, 4, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18]),
        (SOCKS, b"\x05\x00\x05\x00\x00\x03\x00\x00\x01"),
    ] {
        for one in 0..=said.len() {
            for other in one..=said.len() {
                let pieces = [&said[..one], &said[one..other], &said[other..]];
                assert_eq!(tunnel(url, pieces.map(<[u8]>::to_vec)).unwrap(), b"", "{one} {other}");
            }
        }
        let all = said.iter().map(|&byte| vec![byte]);
        assert_eq!(tunnel(url, all).unwrap(), b"");
        // It breaks off anywhere.
        for end in 0..said.len() {
            let error = tunnel(url, [said[..end].to_vec()]).unwrap_err();
            let kind = error.source().and_then(|it| it.downcast_ref().map(io::Error::kind));
            assert_eq!(kind, Some(io::ErrorKind::UnexpectedEof), "{end}: {error}");
        }
    }
}

/// Behind the answer of SOCKS5 are the server's own bytes.
#[test]
fn no_byte_of_the_server_is_taken_for_the_proxys() {
    let said = b"\x05\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00the server".to_vec();
    assert_eq!(tunnel(SOCKS, [said]).unwrap(), b"the server");
}

#[test]
fn what_a_proxy_can_say() {
    let name = |said: &[u8]| String::from_utf8_lossy(said).into_owned();
    for (url, said, text) in [
        (HTTP, &b"HTTP/1.1 403 Filtered: user:secret\r\n"[..], "refused with HTTP status 403"),
        (HTTP, b"HTTP/1.1 502 Bad Gateway\r\n\r\n<html>", "refused with HTTP status 502"),
        (HTTP, b"HTTP/1.1 302 \r\n", "refused with HTTP status 302"),
        (HTTP, b"HTTP/1.1 407 X\r\n", "does not accept the user name and the password"),
        (HTTP, b"HTTP/1.1 401 X\r\n", "does not accept the user name and the password"),
        ("proxy.example:3128", b"HTTP/1.1 407 X\r\n", "wants a user name and a password"),
        (HTTP, b"HTTP/1.1 200 OK\r\n\r\nx", "cannot be understood: it sends more than an answer"),
        (HTTP, b"HTTP/1.1 20 OK\r\n\r\n", "cannot be understood: its answer is not HTTP"),
        (HTTP, b"HTTP/1.1 2000 OK\r\n\r\n", "cannot be understood: its answer is not HTTP"),
        (HTTP, b"HTTP/1.1 099 OK\r\n\r\n", "cannot be understood: its answer is not HTTP"),
        (HTTP, b"HTTP/1.1  200 OK\r\n\r\n", "cannot be understood: its answer is not HTTP"),
        (HTTP, b"HTTP/2 200\r\n\r\n", "cannot be understood: its answer is not HTTP"),
        (HTTP, b"SSH-2.0-OpenSSH", "cannot be understood: its answer is not HTTP"),
        (HTTP, b"\x05\x00", "cannot be understood: its answer is not HTTP"),
        (HTTP, b"\r\n\r\n", "cannot be understood: its answer is not HTTP"),
        (SOCKS, b"HTTP/1.1 400 Bad Request\r\n\r\n", "cannot be understood: it does not speak SOCKS5"),
        (SOCKS, b"\x04\x00", "cannot be understood: it does not speak SOCKS5"),
        (SOCKS, b"\x05\x01", "cannot be understood: it chooses what it was not offered"),
        (
            "socks5://proxy.example:3128",
            b"\x05\x02",
            "cannot be understood: it chooses what it was not offered",
        ),
        ("socks5://proxy.example:3128", b"\x05\xff", "wants a user name and a password"),
        (SOCKS, b"\x05\xff", "does not accept the user name and the password"),
        (SOCKS, b"\x05\x02\x01\x01", "does not accept the user name and the password"),
        (SOCKS, b"\x05\x02\x05\xff", "does not accept the user name and the password"),
        (SOCKS, b"\x05\x02\x02\x00", "cannot be understood: it does not speak SOCKS5"),
        (SOCKS, b"\x05\x00\x01\x00", "cannot be understood: it does not speak SOCKS5"),
        (SOCKS, b"\x05\x00\x05\x00\x00\x02", "cannot be understood: its address is of no known kind"),
        (SOCKS, b"\x05\x00\x05\x01", "refused with SOCKS code 1: it failed"),
        (SOCKS, b"\x05\x00\x05\x02", "refused with SOCKS code 2: its rules do not allow the connection"),
        (SOCKS, b"\x05\x00\x05\x03", "refused with SOCKS code 3: the network cannot be reached"),
        (SOCKS, b"\x05\x00\x05\x04", "refused with SOCKS code 4: the host cannot be reached"),
        (SOCKS, b"\x05\x00\x05\x05", "refused with SOCKS code 5: the server refuses the connection"),
        (SOCKS, b"\x05\x00\x05\x06", "refused with SOCKS code 6: the server is too far away"),
        (SOCKS, b"\x05\x00\x05\x07", "refused with SOCKS code 7: it does not support what was asked of it"),
        (SOCKS, b"\x05\x00\x05\xfe", "refused with SOCKS code 254"),
    ] {
        let error = tunnel(url, [said.to_vec()]).unwrap_err();
        let shown = error.to_string();
        let (proxy, what) = shown.split_at(shown.find(error.proxy()).unwrap() + error.proxy().len() + 1);
        assert!(proxy.starts_with("the proxy proxy.example:"), "{shown}");
        assert_eq!(what, text, "{}", name(said));
        assert!(error.source().is_none());
        assert!(!format!("{error:?}").contains("secret"));
        let passing = [" 502", " 1:", " 3:", " 4:", " 5:", " 6:"];
        assert_eq!(error.is_passing(), passing.iter().any(|it| text.contains(it)), "{text}");
        assert_eq!(error.wants_credentials(), text.ends_with("password"));
        let status = text.split_once("status ").map(|(_, status)| status.parse().unwrap());
        assert_eq!(error.status(), {
            status.or_else(|| parse_status(said).filter(|_| text.contains("password")))
        });
        assert_eq!(error.socks_code().is_some(), text.contains("SOCKS code"));
    }
}

fn parse_status(said: &[u8]) -> Option<u16> {
    let status = said.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
    std::str::from_utf8(status).unwrap().parse().ok()
}

#[test]
fn an_answer_of_16_kib_is_read_and_no_longer_one() {
    let answer = |length: usize| {
        let head = "HTTP/1.1 200 OK\r\nx: ".to_owned();
        let filling = "y".repeat(length - head.len() - 4);
        [(head + &filling + "\r\n\r\n").into_bytes()]
    };
    assert!(tunnel(HTTP, answer(16 * 1024)).is_ok());
    let error = tunnel(HTTP, answer(16 * 1024 + 1)).unwrap_err();
    assert!(error.to_string().ends_with("its answer is longer than 16 KiB"), "{error}");
    // Nor many small ones.
    let interim = std::iter::repeat_n(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec(), 1000);
    assert!(tunnel(HTTP, interim).unwrap_err().to_string().ends_with("its answer is longer than 16 KiB"));
    // Nor a line that has no end.
    let line = std::iter::repeat_n(b"HTTP/1.1 200 OK".to_vec(), 2000);
    assert!(tunnel(HTTP, line).unwrap_err().to_string().ends_with("its answer is longer than 16 KiB"));
}

#[test]
fn socks5_takes_a_name_of_255_bytes() {
    let proxy = Proxy::new(SOCKS).unwrap();
    let server = proxy.server(true, "server.example", 443).unwrap();
    for length in [255, 256] {
        let (stream, written) = pieces([b"\x05\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00".to_vec()]);
        let result = run(server.tunnel(stream, &"n".repeat(length), 443)).map(drop);
        match result {
            Ok(()) => {
                assert_eq!((length, written.lock().unwrap()[4..9].to_vec()), (255, vec![5, 1, 0, 3, 255]));
            }
            Err(error) => {
                let text = "the proxy proxy.example:1080 takes no name of more than 255 bytes";
                assert_eq!((length, error.to_string().as_str()), (256, text));
                assert!(written.lock().unwrap().is_empty());
            }
        }
    }
}

proptest! {
    /// Whatever it says, it comes to an end; and what is no answer is not passed on as the server's.
    #[test]
    fn any_bytes_are_an_answer_or_an_error(
        beginning in prop::sample::select(vec![&b""[..], b"HTTP/1.1 ", b"HTTP/1.1 200 OK\r\n", b"\x05", b"\x05\x02\x01\x00\x05\x00"]),
        said in prop::collection::vec(any::<u8>(), 0..100),
        size in 1..20_usize,
    ) {
        let said = [beginning, &said].concat();
        for url in [HTTP, SOCKS] {
            if let Ok(rest) = tunnel(url, said.chunks(size).map(<[u8]>::to_vec)) {
                prop_assert!(said.ends_with(&rest));
                let answer = &said[..said.len() - rest.len()];
                let is_answer = match url {
                    // What is behind it and was read with it is refused; what comes later is the server's.
                    HTTP => answer.starts_with(b"HTTP/1.") && answer.ends_with(b"\n")
                        && (rest.is_empty() || answer.len() % size == 0),
                    _ => answer[0] == 5 && answer.len() >= 9,
                };
                prop_assert!(is_answer);
            }
        }
    }
}
