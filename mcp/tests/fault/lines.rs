//! Servers that speak one message a line: over a socket pair in a thread, or in a process.

use super::answer;
use super::child::{self, receive};
use futures::AsyncWrite;
use serde_json::Value;
use shared_fate_mcp::Stdio;
use smol::Async;
use smol::channel::{self, Receiver, Sender};
use std::io::{self, BufRead, BufReader, Write};
#[cfg(windows)]
use std::net::TcpStream as Socket;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
#[cfg(unix)]
use std::os::unix::net::UnixStream as Socket;
use std::path::Path;
use std::pin::Pin;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::thread;

/// The two ends of a connection within this machine.
#[cfg(unix)]
pub(crate) fn sockets() -> (Socket, Socket) {
    Socket::pair().unwrap()
}

/// The two ends of a connection within this machine.
#[cfg(windows)]
pub(crate) fn sockets() -> (Socket, Socket) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = Socket::connect(listener.local_addr().unwrap()).unwrap();
    let (theirs, _) = listener.accept().unwrap();
    for end in [&ours, &theirs] {
        end.set_nodelay(true).unwrap();
    }
    (ours, theirs)
}

/// The server's side, for the handler and for the test. Clones are the same server.
#[derive(Clone)]
pub(crate) struct Peer {
    to: Arc<To>,
}

enum To {
    Socket(Socket),
    Process(TcpStream),
}

impl Peer {
    /// One message.
    pub(crate) fn say(&self, message: &Value) {
        self.write(format!("{message}\n"));
    }

    /// Any bytes. A client that is gone is no concern of the server's.
    pub(crate) fn write(&self, bytes: impl AsRef<[u8]>) {
        match &*self.to {
            To::Socket(socket) => drop((&*socket).write_all(bytes.as_ref())),
            To::Process(_) => self.order(child::WRITE, bytes.as_ref()),
        }
    }

    /// What a well-behaved server answers.
    pub(crate) fn normal(&self, message: &Value) {
        if let Some(answer) = answer(message) {
            self.say(&answer);
        }
    }

    /// Ends the output; a process exits with 0.
    pub(crate) fn hang_up(&self) {
        match &*self.to {
            To::Socket(socket) => drop(socket.shutdown(Shutdown::Write)),
            To::Process(_) => self.exit(0),
        }
    }

    pub(crate) fn write_error(&self, bytes: impl AsRef<[u8]>) {
        self.order(child::WRITE_ERROR, bytes.as_ref());
    }

    /// Writes these bytes again and again, beside everything else that the process does.
    pub(crate) fn flood(&self, bytes: impl AsRef<[u8]>) {
        self.order(child::FLOOD, bytes.as_ref());
    }

    pub(crate) fn exit(&self, status: u8) {
        self.order(child::EXIT, &[status]);
    }

    /// Starts a process that holds standard output and error.
    pub(crate) fn fork(&self) {
        self.order(child::FORK, b"");
    }

    /// Starts a server of its own, as a client does.
    pub(crate) fn host(&self) {
        self.order(child::HOST, b"");
    }

    fn order(&self, order: u8, payload: &[u8]) {
        let To::Process(control) = &*self.to else { panic!("only a process can do that") };
        let _ = child::send(control, order, payload);
    }
}

/// What the test sees of a server.
pub(crate) struct Server {
    pub(crate) peer: Peer,
    received: Arc<Mutex<Vec<Value>>>,
    arrivals: Receiver<Value>,
    stalls: Receiver<()>,
    ended: Receiver<()>,
    processes: Receiver<Process>,
    /// Where processes report.
    control: Option<SocketAddr>,
}

impl Drop for Server {
    /// Ends the thread that waits for processes.
    fn drop(&mut self) {
        self.processes.close();
        if let Some(control) = self.control {
            let _ = TcpStream::connect(control);
        }
    }
}

/// A server process.
pub(crate) struct Process {
    pub(crate) id: u32,
    pub(crate) parent: u32,
    /// Closed when the process is gone.
    alive: Receiver<()>,
}

impl Process {
    #[cfg(unix)]
    pub(crate) fn kill(&self) {
        let id = rustix::process::Pid::from_raw(self.id.try_into().unwrap()).unwrap();
        rustix::process::kill_process(id, rustix::process::Signal::KILL).unwrap();
    }

    #[cfg(windows)]
    pub(crate) fn kill(&self) {
        let killed = Command::new("taskkill").args(["/F", "/PID", &self.id.to_string()]).output().unwrap();
        assert!(killed.status.success(), "{killed:?}");
    }

    /// Resolves when the process runs no more.
    pub(crate) async fn ended(&self) {
        let _ = self.alive.recv().await;
    }

    /// Resolves when nothing is left of the process, not even a zombie.
    pub(crate) async fn gone(&self) {
        self.ended().await;
        gone(self.id).await;
    }
}

/// Resolves when there is no such process any more, as far as the system tells.
pub(crate) async fn gone(id: u32) {
    while exists(id) {
        smol::future::yield_now().await;
        thread::yield_now();
    }
}

/// Whether there is such a process, a zombie maybe. Only Linux says so.
pub(crate) fn exists(id: u32) -> bool {
    cfg!(target_os = "linux") && Path::new(&format!("/proc/{id}")).exists()
}

impl Server {
    /// All messages so far.
    pub(crate) fn received(&self) -> Vec<Value> {
        self.received.lock().unwrap().clone()
    }

    /// From now on the server keeps no messages.
    pub(crate) fn forget(&self) {
        self.arrivals.close();
    }

    /// The next message for which `wanted` holds. Those before it are skipped.
    pub(crate) async fn arrival(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let message = self.arrivals.recv().await.unwrap();
            if wanted(&message) {
                return message;
            }
        }
    }

    /// Resolves when a line has begun of which the server reads no more: a process, or a socket that is full.
    pub(crate) async fn stalled(&self) {
        self.stalls.recv().await.unwrap();
    }

    /// Resolves when the client has closed its side (a process: its standard input).
    pub(crate) async fn input_ended(&self) {
        let _ = self.ended.recv().await;
    }

    /// The next process that was started.
    pub(crate) async fn process(&self) -> Process {
        self.processes.recv().await.unwrap()
    }
}

/// A server in a thread. `handler` gets every message.
pub(crate) fn pair(handler: impl FnMut(&Peer, &Value) + Send + 'static) -> (Stdio, Server) {
    let (ours, theirs) = sockets();
    let input = theirs.try_clone().unwrap();
    let peer = Peer { to: Arc::new(To::Socket(theirs)) };
    let (server, mut sink) = Sink::new(peer, handler);
    let reader = Async::new(ours.try_clone().unwrap()).unwrap();
    let writer = Writer { socket: Async::new(ours).unwrap(), stalled: sink.stalled.clone() };
    let stdio = Stdio::over(reader, writer);
    thread::spawn(move || {
        for line in BufReader::new(input).split(b'\n') {
            let Ok(line) = line else { break };
            sink.line(&line);
        }
        let _ = sink.ended.try_send(());
    });
    (stdio, server)
}

/// What the client writes to; it tells when the socket is full.
struct Writer {
    socket: Async<Socket>,
    stalled: Sender<()>,
}

impl AsyncWrite for Writer {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(cx, bytes);
        if written.is_pending() {
            let _ = self.stalled.try_send(());
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(cx)
    }
}

pub(crate) fn spawn(command: Command) -> Stdio {
    Stdio::spawn(command).unwrap()
}

/// A server in a process.
pub(crate) fn process(handler: impl FnMut(&Peer, &Value) + Send + 'static) -> (Stdio, Server) {
    process_as(child::command(), handler)
}

/// A server in a process, started by a shell script that gets the command as `"$0" "$@"`.
pub(crate) fn process_in_shell(
    script: &str,
    handler: impl FnMut(&Peer, &Value) + Send + 'static,
) -> (Stdio, Server) {
    let puppet = child::command();
    let mut command = Command::new("sh");
    command.arg("-c").arg(script).arg(puppet.get_program()).args(puppet.get_args());
    process_as(command, handler)
}

/// A server in a process that `command` starts.
pub(crate) fn process_as(
    mut command: Command,
    handler: impl FnMut(&Peer, &Value) + Send + 'static,
) -> (Stdio, Server) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    command.env(child::CONTROL, listener.local_addr().unwrap().to_string());
    let stdio = spawn(command);
    let (mut control, _) = listener.accept().unwrap();
    control.set_nodelay(true).unwrap();
    let peer = Peer { to: Arc::new(To::Process(control.try_clone().unwrap())) };
    let (mut server, mut sink) = Sink::new(peer, handler);
    server.control = Some(listener.local_addr().unwrap());
    let started = sink.started.clone();
    thread::spawn(move || {
        let mut life = None;
        while let Some((report, payload)) = receive(&mut control) {
            match report {
                child::HELLO => life = Some(hello(&sink.started, &payload)),
                child::LINE => sink.line(&payload),
                child::STALLED => drop(sink.stalled.try_send(())),
                child::INPUT_ENDED => drop(sink.ended.try_send(())),
                other => panic!("unknown report {other}"),
            }
        }
        drop(life);
    });
    // Whatever the process starts reports here, too.
    thread::spawn(move || {
        for control in listener.incoming() {
            if started.is_closed() {
                return;
            }
            let started = started.clone();
            let mut control = control.unwrap();
            thread::spawn(move || {
                let Some((child::HELLO, payload)) = receive(&mut control) else { return };
                let life = hello(&started, &payload);
                while receive(&mut control).is_some() {}
                drop(life);
            });
        }
    });
    (stdio, server)
}

/// Where a server's reports go.
struct Sink<H> {
    peer: Peer,
    handler: H,
    received: Arc<Mutex<Vec<Value>>>,
    arrived: Sender<Value>,
    stalled: Sender<()>,
    ended: Sender<()>,
    started: Sender<Process>,
}

impl<H: FnMut(&Peer, &Value)> Sink<H> {
    fn new(peer: Peer, handler: H) -> (Server, Self) {
        let (arrived, arrivals) = channel::unbounded();
        let (stalled, stalls) = channel::bounded(1);
        let (ended_sender, ended) = channel::unbounded();
        let (started, processes) = channel::unbounded();
        let received: Arc<Mutex<Vec<Value>>> = Arc::default();
        let server = Server {
            peer: peer.clone(),
            received: Arc::clone(&received),
            arrivals,
            stalls,
            ended,
            processes,
            control: None,
        };
        (server, Self { peer, handler, received, arrived, stalled, ended: ended_sender, started })
    }

    fn line(&mut self, line: &[u8]) {
        let message: Value = serde_json::from_slice(line).expect("the client writes JSON");
        if !self.arrived.is_closed() {
            // The message is noted first: whoever hears of its arrival finds it there.
            self.received.lock().unwrap().push(message.clone());
            let _ = self.arrived.try_send(message.clone());
        }
        (self.handler)(&self.peer, &message);
    }
}

/// Takes in that a process has started. It is alive as long as the value is.
fn hello(started: &Sender<Process>, payload: &[u8]) -> Sender<()> {
    let text = std::str::from_utf8(payload).unwrap();
    let (id, parent) = text.split_once(' ').unwrap();
    let (life, alive) = channel::unbounded();
    let _ = started.try_send(Process { id: id.parse().unwrap(), parent: parent.parse().unwrap(), alive });
    life
}

/// Answers everything but calls of the tool `held`: those are the test's to answer.
pub(crate) fn normal(peer: &Peer, message: &Value) {
    if super::tool(message) != "held" {
        peer.normal(message);
    }
}
