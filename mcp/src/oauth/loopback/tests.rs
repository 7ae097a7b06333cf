//! Browsers, and others who ask the port for something.

use super::*;
use std::io::{Read, Write};
use std::sync::Mutex;
use std::thread;

const URL: &str = "https://as.example/authorize?response_type=code&state=5tate";

fn exchange(authority: &str, request: &str) -> String {
    let mut socket = TcpStream::connect(authority).unwrap();
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    // Who is not answered is hung up on.
    let _ = socket.read_to_string(&mut answer);
    answer
}

fn get(authority: &str, target: &str) -> String {
    exchange(authority, &format!("GET {target} HTTP/1.1\r\nHost: {authority}\r\n\r\n"))
}

/// Runs a visit while `browse` is done elsewhere with the receiver's authority.
fn visit<T: Send + 'static>(
    loopback: &Loopback,
    browse: impl FnOnce(String) -> T + Send + 'static,
) -> (String, Result<String, BoxError>, T) {
    let ready = pollster::block_on(loopback.begin()).unwrap();
    let redirect_uri = ready.redirect_uri().to_owned();
    let authority = redirect_uri["http://".len()..].split('/').next().unwrap().to_owned();
    let browser = thread::spawn(move || browse(authority));
    let result = pollster::block_on(ready.visit(URL.to_owned()));
    (redirect_uri, result, browser.join().unwrap())
}

#[test]
fn oa_67_the_browser_comes_back_to_the_address_that_was_sent() {
    let shown = Arc::new(Mutex::new(Vec::new()));
    let urls = Arc::clone(&shown);
    let loopback = Loopback::new(move |url| urls.lock().unwrap().push(url.to_owned()));
    let (redirect_uri, result, answer) =
        visit(&loopback, |authority| get(&authority, "/callback?code=c0de&state=5tate&iss=x"));
    assert_eq!(result.unwrap(), format!("{redirect_uri}?code=c0de&state=5tate&iss=x"));
    assert_eq!(*shown.lock().unwrap(), [URL]);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK") && head.contains("default-src 'none'"), "{head}");
    assert!(head.contains("referrer-policy: no-referrer") && head.contains("connection: close"));
    assert!(head.contains(&format!("content-length: {}", body.len())), "{} bytes", body.len());
    assert!(!answer.contains("c0de") && !answer.contains("5tate"));
}

#[test]
fn oa_67_whatever_else_is_asked_gets_404_and_ends_nothing() {
    let (_, result, ()) = visit(&Loopback::new(|_| ()), |authority| {
        for request in [
            "GET /callback?code=c&state=other HTTP/1.1\r\nHost: $\r\n\r\n",
            "GET /callback?code=c HTTP/1.1\r\nHost: $\r\n\r\n",
            "GET /callback?code=c&state=5tate&state=5tate HTTP/1.1\r\nHost: $\r\n\r\n",
            "GET /favicon.ico?state=5tate HTTP/1.1\r\nHost: $\r\n\r\n",
            "GET /callback/x?state=5tate HTTP/1.1\r\nHost: $\r\n\r\n",
            "POST /callback?state=5tate HTTP/1.1\r\nHost: $\r\n\r\n",
            "GET /callback?state=5tate HTTP/1.1\r\nHost: evil.example\r\n\r\n",
            "GET /callback?state=5tate HTTP/1.1\r\nHost: $\r\nHost: $\r\n\r\n",
            "GET /callback?state=5tate HTTP/1.1\r\n\r\n",
        ] {
            let answer = exchange(&authority, &request.replace('$', &authority));
            assert!(answer.starts_with("HTTP/1.1 404 "), "{request}: {answer}");
        }
        get(&authority, "/callback?state=5tate&code=x");
    });
    assert!(result.unwrap().ends_with("?state=5tate&code=x"));
}

#[test]
fn oa_67_connections_that_say_nothing_hold_nobody_up() {
    let (_, result, silent) = visit(&Loopback::new(|_| ()), |authority| {
        // One less than there may be.
        let silent: Vec<_> = (1..MOST).map(|_| TcpStream::connect(&authority).unwrap()).collect();
        get(&authority, "/callback?state=5tate&code=x");
        silent
    });
    result.unwrap();
    assert_eq!(silent.len(), MOST - 1);
}

#[test]
fn oa_67_so_much_of_a_request_is_read_and_no_more() {
    let request = |authority: &str, length: usize| {
        let start = format!("GET /callback?state=5tate HTTP/1.1\r\nHost: {authority}\r\nX: ");
        let end = "\r\n\r\n";
        let fill = "x".repeat(length - start.len() - end.len());
        format!("{start}{fill}{end}")
    };
    let (_, result, answer) = visit(&Loopback::new(|_| ()), move |authority| {
        let answer = exchange(&authority, &request(&authority, LONGEST_HEAD + 1));
        exchange(&authority, &request(&authority, LONGEST_HEAD));
        answer
    });
    result.unwrap();
    assert!(!answer.contains("200 OK"), "{answer}");
}

#[test]
fn oa_67_a_port_that_is_taken_is_named_at_once() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let loopback = Loopback::new(|_| ()).port(port);
    let error = pollster::block_on(loopback.begin()).err().unwrap();
    assert!(error.to_string().contains(&port.to_string()), "{error}");
    drop(taken);
    let ready = pollster::block_on(loopback.path("back").begin()).unwrap();
    assert_eq!(ready.redirect_uri(), format!("http://127.0.0.1:{port}/back"));
    let loopback = Loopback::new(|_| ()).host(LoopbackHost::Localhost);
    let (redirect_uri, result, _) =
        visit(&loopback, |authority| get(&authority, "/callback?state=5tate&code=x"));
    assert!(redirect_uri.starts_with("http://localhost:") && result.unwrap().starts_with(&redirect_uri));
}

#[test]
fn oa_67_a_pasted_line_will_do() {
    let loopback =
        Loopback::new(|_| ()).or_paste(|| async { Ok("  http://127.0.0.1:1/callback?state=x\n".to_owned()) });
    let (_, result, ()) = visit(&loopback, |_| ());
    assert_eq!(result.unwrap(), "http://127.0.0.1:1/callback?state=x");
    let loopback = Loopback::new(|_| ()).or_paste(|| async { Err("the terminal is gone".into()) });
    let (_, result, ()) = visit(&loopback, |_| ());
    assert_eq!(result.unwrap_err().to_string(), "the terminal is gone");
}

#[test]
fn oa_67_with_the_question_the_port_is_free_again() {
    let ready = pollster::block_on(Loopback::new(|_| ()).begin()).unwrap();
    let port: u16 =
        ready.redirect_uri()["http://127.0.0.1:".len()..].split('/').next().unwrap().parse().unwrap();
    drop(ready.visit(URL.to_owned()));
    TcpListener::bind(("127.0.0.1", port)).unwrap();
}

#[test]
fn oa_67_what_passes_does_not_end_the_wait() {
    for kind in [io::ErrorKind::ConnectionReset, io::ErrorKind::ConnectionAborted, io::ErrorKind::Interrupted]
    {
        assert!(is_of_one_connection(&kind.into()));
    }
    assert!(!is_of_one_connection(&io::ErrorKind::InvalidInput.into()));
    // EMFILE of unixes, and of windows.
    let code = if cfg!(windows) { 10024 } else { 24 };
    assert!(is_for_want_of_something(&io::Error::from_raw_os_error(code)));
    // EBADF, WSAEBADF.
    let code = if cfg!(windows) { 10009 } else { 9 };
    assert!(!is_for_want_of_something(&io::Error::from_raw_os_error(code)));
}
