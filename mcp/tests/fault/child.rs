//! The server process: a puppet of the test that started it.
//!
//! The test binary starts itself again and asks libtest for [`puppet`] alone. No second binary has
//! to be built or found, and as libtest announces itself on standard output, every session begins
//! with a line that is no message, as with many real servers.
//!
//! The process does nothing by itself: over a socket it reports what it reads, and is told what to
//! do. So the test decides what happens when, and the end of the socket is the proof that a process
//! is gone.

use std::env;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
#[cfg(unix)]
use std::os::unix::process::parent_id;
use std::process::{self, Command, Stdio};
use std::thread;

/// The address of the test's socket.
pub(crate) const CONTROL: &str = "FAULT_CONTROL";
/// How many lines the process reads from standard input; all of them if this is not set. When the next line
/// begins, the process reports that and reads no more.
pub(crate) const READS: &str = "FAULT_READS";
/// Set for a process that stays when its standard input ends.
pub(crate) const STUBBORN: &str = "FAULT_STUBBORN";
/// Set for a process that only holds the pipes it was given.
pub(crate) const HOLDER: &str = "FAULT_HOLDER";

/// Reports: the process's and its parent's id, a line, the beginning of a line that is not read, the end of
/// standard input.
pub(crate) const HELLO: u8 = b'h';
pub(crate) const LINE: u8 = b'l';
pub(crate) const STALLED: u8 = b's';
pub(crate) const INPUT_ENDED: u8 = b'z';

/// Orders: write, write to standard error, write again and again, exit, start a process that holds
/// the pipes, start a server of its own.
pub(crate) const WRITE: u8 = b'w';
pub(crate) const WRITE_ERROR: u8 = b'e';
pub(crate) const FLOOD: u8 = b'f';
pub(crate) const EXIT: u8 = b'x';
pub(crate) const FORK: u8 = b'g';
pub(crate) const HOST: u8 = b'o';

/// One report or order.
pub(crate) fn send(mut socket: &TcpStream, kind: u8, payload: &[u8]) -> io::Result<()> {
    let mut frame = vec![kind];
    frame.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes());
    frame.extend_from_slice(payload);
    socket.write_all(&frame)
}

/// The next report or order; `None` at the end of the socket.
pub(crate) fn receive(socket: &mut impl Read) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 5];
    socket.read_exact(&mut head).ok()?;
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
    let mut payload = vec![0; length as usize];
    socket.read_exact(&mut payload).ok()?;
    Some((head[0], payload))
}

/// This binary as a server.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    // With one test thread libtest begins a line of output before it runs the test.
    command.args(["--exact", "fault::child::puppet", "--nocapture", "--test-threads=2"]);
    command
}

/// Only tests that start a shell script ask for the parent, and windows has no shell.
#[cfg(windows)]
fn parent_id() -> u32 {
    0
}

#[test]
fn puppet() {
    let Ok(control) = env::var(CONTROL) else { return };
    let control = TcpStream::connect(control).unwrap();
    send(&control, HELLO, format!("{} {}", process::id(), parent_id()).as_bytes()).unwrap();
    if env::var(HOLDER).is_err() {
        let reports = control.try_clone().unwrap();
        thread::spawn(move || report_input(&reports));
    }
    obey(control);
    process::exit(99);
}

fn report_input(reports: &TcpStream) {
    let limit = env::var(READS).ok().map_or(usize::MAX, |limit| limit.parse().unwrap());
    let mut input = BufReader::with_capacity(1024, io::stdin());
    for _ in 0..limit {
        let mut line = Vec::new();
        if input.read_until(b'\n', &mut line).unwrap() == 0 {
            let _ = send(reports, INPUT_ENDED, b"");
            if env::var(STUBBORN).is_err() {
                process::exit(0);
            }
            return;
        }
        if send(reports, LINE, &line).is_err() {
            return;
        }
    }
    if input.fill_buf().is_ok_and(|begin| !begin.is_empty()) {
        let _ = send(reports, STALLED, b"");
    }
}

fn obey(mut control: TcpStream) {
    let mut hosted = Vec::new();
    while let Some((order, payload)) = receive(&mut control) {
        match order {
            WRITE => write_all(&payload),
            WRITE_ERROR => io::stderr().write_all(&payload).unwrap(),
            FLOOD => drop(thread::spawn(move || {
                loop {
                    write_all(&payload);
                    thread::yield_now();
                }
            })),
            EXIT => process::exit(payload[0].into()),
            FORK => {
                let child = command().env(HOLDER, "1").stdin(Stdio::null()).spawn();
                // The child is not waited for: it outlives this process.
                drop(child.unwrap());
            }
            HOST => {
                let mut server = command();
                // On windows the system ends the server with its host; elsewhere the end of its input does.
                if cfg!(windows) {
                    server.env(STUBBORN, "1");
                }
                hosted.push(shared_fate_mcp::Stdio::spawn(server).unwrap());
            }
            other => panic!("unknown order {other}"),
        }
    }
}

fn write_all(bytes: &[u8]) {
    let mut output = io::stdout().lock();
    if output.write_all(bytes).and_then(|()| output.flush()).is_err() {
        process::exit(98);
    }
}
