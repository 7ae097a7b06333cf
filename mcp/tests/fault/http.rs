//! An HTTP server on raw sockets, with a thread for each connection.
//!
//! The handler gets every request and decides about every byte of the answer. The last byte of a
//! request's body is left unread until the answer: closing the socket before that resets the
//! connection, which is the only way to send an RST that the standard library knows.

use super::answer;
use super::run::{PATIENCE, on_tokio_io};
use serde_json::Value;
use shared_fate_mcp::Http;
use smol::channel::{self, Receiver, Sender};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// The session id that [`Call::normal`] gives, a secret.
pub(crate) const SESSION: &str = "session-5ecre7";

/// A server; it stops when this is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    arrivals: Receiver<Request>,
    closings: Receiver<()>,
}

struct Shared {
    stopped: AtomicBool,
    forgetful: AtomicBool,
    connections: AtomicUsize,
    open: AtomicUsize,
    requests: Mutex<Vec<Request>>,
    arrived: Sender<Request>,
    closed: Sender<()>,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The number of its connection, from 0.
    pub(crate) connection: usize,
    pub(crate) method: String,
    pub(crate) target: String,
    headers: Vec<(String, String)>,
    /// The body as JSON; null if there is none, or if it is not JSON.
    pub(crate) body: Value,
    /// The body as text. Until its last byte is read, a closing brace stands in that place.
    pub(crate) text: String,
}

impl Request {
    /// The only header of that name, in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(key, _)| key == name);
        let value = found.next().map(|(_, value)| &**value);
        assert!(found.next().is_none(), "{name} comes twice");
        value
    }

    pub(crate) fn rpc(&self) -> &str {
        self.body["method"].as_str().unwrap_or_default()
    }

    pub(crate) fn tool(&self) -> &str {
        super::tool(&self.body)
    }
}

impl Server {
    /// Starts a server that gives a session id, and treats requests as `handler` says.
    pub(crate) fn start(handler: impl Fn(&mut Call) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (arrived, arrivals) = channel::unbounded();
        let (closed, closings) = channel::unbounded();
        let shared = Arc::new(Shared {
            stopped: AtomicBool::new(false),
            forgetful: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            requests: Mutex::default(),
            arrived,
            closed,
        });
        let accepting = Arc::clone(&shared);
        let handler = Arc::new(handler);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&accepting);
                let handler = Arc::clone(&handler);
                let number = shared.connections.fetch_add(1, Ordering::SeqCst);
                shared.open.fetch_add(1, Ordering::SeqCst);
                thread::spawn(move || {
                    serve(stream.unwrap(), number, &shared, &*handler);
                    shared.open.fetch_sub(1, Ordering::SeqCst);
                    let _ = shared.closed.try_send(());
                });
            }
        });
        Self { address, shared, arrivals, closings }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// A client's transport to this server, with the sockets of this run.
    pub(crate) fn transport(&self) -> Http {
        transport(&self.url())
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections there ever were.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// All requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// From now on the server keeps no requests.
    pub(crate) fn forget(&self) {
        self.arrivals.close();
        self.shared.forgetful.store(true, Ordering::SeqCst);
    }

    /// The next request for which `wanted` holds. Those before it are skipped.
    pub(crate) async fn arrival(&self, wanted: impl Fn(&Request) -> bool) -> Request {
        loop {
            let request = self.arrivals.recv().await.unwrap();
            if wanted(&request) {
                return request;
            }
        }
    }

    /// Resolves when the client has closed all of its connections.
    pub(crate) async fn deserted(&self) {
        while self.shared.open.load(Ordering::SeqCst) > 0 {
            self.closings.recv().await.unwrap();
        }
    }
}

/// A client's transport to `url`, with the sockets of this run.
pub(crate) fn transport(url: &str) -> Http {
    let http = Http::new(url).unwrap();
    #[cfg(feature = "tokio")]
    if on_tokio_io() {
        return http.net(shared_fate_mcp::runtime::TokioNet);
    }
    assert!(!on_tokio_io());
    http
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(stream: TcpStream, connection: usize, shared: &Shared, handler: &dyn Fn(&mut Call)) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut reader = BufReader::with_capacity(1, stream);
    while let Some((request, unread)) = read_request(&mut reader, connection) {
        if !shared.forgetful.load(Ordering::SeqCst) {
            shared.requests.lock().unwrap().push(request.clone());
        }
        let _ = shared.arrived.try_send(request.clone());
        let stream = reader.get_ref().try_clone().unwrap();
        let mut call = Call { request, stream, unread, keep: false };
        handler(&mut call);
        if !call.keep {
            return;
        }
    }
}

/// A request, and whether the last byte of its body is left unread. `None` at the end of the connection.
fn read_request(reader: &mut BufReader<TcpStream>, connection: usize) -> Option<(Request, bool)> {
    let mut line = String::new();
    if reader.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next()?, words.next()?);
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length: usize = length.map_or(0, |(_, length)| length.parse().unwrap());
    let mut body = vec![b'}'; length];
    let unread = length > 0;
    if unread {
        reader.read_exact(&mut body[..length - 1]).ok()?;
    }
    let text = String::from_utf8_lossy(&body).into_owned();
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    Some((Request { connection, method, target, headers, body, text }, unread))
}

/// A request that waits for its answer. Unless it is answered properly, its connection is closed.
pub(crate) struct Call {
    pub(crate) request: Request,
    stream: TcpStream,
    unread: bool,
    keep: bool,
}

impl Call {
    /// The whole body as text, whatever it is.
    pub(crate) fn text(&mut self) -> String {
        if std::mem::take(&mut self.unread) {
            let mut last = [0];
            let _ = self.stream.read_exact(&mut last);
            self.request.text.pop();
            self.request.text.push(char::from(last[0]));
        }
        self.request.text.clone()
    }

    /// What a well-behaved server answers.
    pub(crate) fn normal(&mut self) {
        match answer(&self.request.body) {
            Some(answer) if self.request.rpc() == "initialize" => {
                let header = format!("Mcp-Session-Id: {SESSION}");
                self.json(&[&header], &answer.to_string());
            }
            Some(answer) => self.json(&[], &answer.to_string()),
            None if self.request.method == "DELETE" => self.respond("200 OK", &[], ""),
            None if self.request.method == "GET" => self.respond("405 Method Not Allowed", &[], ""),
            None => self.respond("202 Accepted", &[], ""),
        }
    }

    /// A whole answer with status 200.
    pub(crate) fn json(&mut self, headers: &[&str], body: &str) {
        let headers = [headers, &["Content-Type: application/json"]].concat();
        self.respond("200 OK", &headers, body);
    }

    /// A whole answer of JSON with this status.
    pub(crate) fn json_as(&mut self, status: &str, body: &str) {
        self.respond(status, &["Content-Type: application/json"], body);
    }

    /// A whole answer; the connection is kept.
    pub(crate) fn respond(&mut self, status: &str, headers: &[&str], body: &str) {
        let length = format!("Content-Length: {}", body.len());
        let headers = [headers, &[&*length]].concat();
        self.head(status, &headers);
        self.write(body);
        self.keep = true;
    }

    /// The head of an answer whose body ends with the connection, unless `headers` say otherwise.
    pub(crate) fn head(&mut self, status: &str, headers: &[&str]) {
        self.finish_reading();
        let mut head = format!("HTTP/1.1 {status}\r\n");
        for header in headers {
            head += header;
            head += "\r\n";
        }
        self.write(&(head + "\r\n"));
    }

    /// The head of an event stream.
    pub(crate) fn events(&mut self) {
        self.head("200 OK", &["Content-Type: text/event-stream"]);
    }

    /// Any bytes. If the client is gone, that is no concern of the server's.
    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref());
    }

    /// One event. `false` when the client has gone.
    pub(crate) fn event(&mut self, data: &str) -> bool {
        self.stream.write_all(format!("data: {data}\n\n").as_bytes()).is_ok()
    }

    /// The well-behaved answer to this request.
    pub(crate) fn answer(&self) -> String {
        answer(&self.request.body).unwrap().to_string()
    }

    /// Writes nothing more until the client hangs up.
    pub(crate) fn hold(&mut self) {
        self.finish_reading();
        let mut byte = [0];
        assert!(!matches!(self.stream.read(&mut byte), Ok(1..)), "a request before the answer");
    }

    /// The answer is whole, and another request may follow.
    pub(crate) fn keep(&mut self) {
        self.keep = true;
    }

    /// Reads the request to its end. What is written then is all of the answer.
    pub(crate) fn take(&mut self) {
        self.finish_reading();
    }

    /// Has the connection reset when the handler returns: the last byte of the request stays unread. To be
    /// called before anything else.
    pub(crate) fn reset(&mut self) {
        self.stream.peek(&mut [0]).unwrap();
    }

    /// Sends a part of an answer, then resets the connection.
    pub(crate) fn reset_after(&mut self, bytes: &str) {
        self.write(bytes);
        self.reset();
    }

    /// Ends the answer with a FIN, and stays to see the client's.
    pub(crate) fn finish(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    fn finish_reading(&mut self) {
        if std::mem::take(&mut self.unread) {
            let _ = self.stream.read_exact(&mut [0]);
        }
    }
}

/// An address at which nobody listens as long as this lives: a connection that is open there keeps the port.
pub(crate) struct Vacant {
    pub(crate) address: SocketAddr,
    _connection: [TcpStream; 2],
}

impl Vacant {
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = TcpStream::connect(address).unwrap();
        Self { address, _connection: [client, listener.accept().unwrap().0] }
    }
}
