//! Unit tests of `oauth::loopback`: browsers come back, and others ask the port for something.

use super::*;
use std::io::{Read, Write};
use std::sync::Mutex;
use std::task::Waker;
use std::thread;

const URL: &str = "https://as.example/authorize?response_type=code&state=5tate";

fn exchange(authority: &str, request: &str) -> String {
    let mut socket = TcpStream::connect(authority).unwrap();
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    // Without an answer the connection may be reset.
    let _ = socket.read_to_string(&mut answer);
    answer
}

fn get(authority: &str, target: &str) -> String {
    exchange(authority, &format!("GET {target} HTTP/1.1\r\nHost: {authority}\r\n\r\n"))
}

/// The host and port that a receiver listens to.
fn authority(ready: &dyn Visit) -> String {
    ready.redirect_uri()["http://".len()..].split('/').next().unwrap().to_owned()
}

/// Runs a visit while another thread does `browse` with the receiver's host and port. `browse` must not panic: the visit
/// would never end.
fn visit<T: Send + 'static>(
    loopback: &Loopback,
    browse: impl FnOnce(String) -> T + Send + 'static,
) -> (String, Result<String, BoxError>, T) {
    let ready = pollster::block_on(loopback.begin()).unwrap();
    let (redirect_uri, authority) = (ready.redirect_uri().to_owned(), authority(&*ready));
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
    let (_, result, answers) = visit(&Loopback::new(|_| ()), |authority| {
        let requests = [
            "GET /callback?code=c&state=other HTTP/1.1\r\nHost: $\r\n\r\n",
            "GET /callback?code=c HTTP/1.1\r\nHost: $\r\n\r\n",
            "GET /callback?code=c&state=5tate&state=5tate HTTP/1.1\r\nHost: $\r\n\r\n",
            "GET /favicon.ico?state=5tate HTTP/1.1\r\nHost: $\r\n\r\n",
            "GET /callback/x?state=5tate HTTP/1.1\r\nHost: $\r\n\r\n",
            "POST /callback?state=5tate HTTP/1.1\r\nHost: $\r\n\r\n",
            "GET /callback?state=5tate HTTP/1.1\r\nHost: evil.example\r\n\r\n",
            "GET /callback?state=5tate HTTP/1.1\r\nHost: $\r\nHost: $\r\n\r\n",
            "GET /callback?state=5tate HTTP/1.1\r\n\r\n",
        ];
        let answers =
            requests.map(|request| (request, exchange(&authority, &request.replace('$', &authority))));
        get(&authority, "/callback?state=5tate&code=x");
        answers
    });
    assert!(result.unwrap().ends_with("?state=5tate&code=x"));
    for (request, answer) in answers {
        assert!(answer.starts_with("HTTP/1.1 404 "), "{request}: {answer}");
    }
}

/// The others say nothing, and are listened to for an hour.
#[test]
fn oa_67_so_many_connections_are_listened_to_and_no_more() {
    let mut loopback = Loopback::new(|_| ());
    loopback.patience = Duration::from_secs(3600);
    for others in [MOST - 1, MOST] {
        let ready = pollster::block_on(loopback.begin()).unwrap();
        let authority = authority(&*ready);
        let mut silent: Vec<_> = (0..others).map(|_| TcpStream::connect(&authority).unwrap()).collect();
        let mut browser = TcpStream::connect(&authority).unwrap();
        write!(browser, "GET /callback?state=5tate HTTP/1.1\r\nHost: {authority}\r\n\r\n").unwrap();
        let mut visit = ready.visit(URL.to_owned());
        if others == MOST {
            let polled = visit.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(polled.is_pending(), "there is no room for the browser");
            silent.pop();
        }
        pollster::block_on(visit).unwrap();
    }
}

#[test]
fn oa_67_a_connection_that_says_nothing_is_hung_up_on() {
    let (sender, receiver) = async_channel::bounded(1);
    let mut loopback = Loopback::new(|_| ()).or_paste(move || {
        let receiver = receiver.clone();
        async move { Ok(receiver.recv().await?) }
    });
    loopback.patience = Duration::from_millis(1);
    let (_, result, ()) = visit(&loopback, move |authority| {
        exchange(&authority, "GET");
        sender.try_send("hung up".to_owned()).unwrap();
    });
    assert_eq!(result.unwrap(), "hung up");
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
}

#[test]
fn oa_67_the_redirect_uri_has_the_host_and_the_path_that_were_set() {
    let loopback = Loopback::new(|_| ()).host(LoopbackHost::Localhost).path("back");
    let (redirect_uri, result, _) = visit(&loopback, |authority| get(&authority, "/back?state=5tate&code=x"));
    assert!(redirect_uri.starts_with("http://localhost:") && redirect_uri.ends_with("/back"));
    assert_eq!(result.unwrap(), redirect_uri + "?state=5tate&code=x");
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
fn oa_67_when_the_question_is_dropped_nobody_listens_any_more() {
    let ready = pollster::block_on(Loopback::new(|_| ()).begin()).unwrap();
    let mut socket = TcpStream::connect(authority(&*ready)).unwrap();
    drop(ready.visit(URL.to_owned()));
    // The system ends connections that nobody has accepted.
    assert!(matches!(socket.read(&mut [0; 1]), Ok(0) | Err(_)));
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
