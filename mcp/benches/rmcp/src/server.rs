//! One server, three ways to it. Over stdio and HTTP it is a process of its own.

use crate::counting::as_server;
use crate::wire::{Answer, answer};
use std::env;
use std::future::{Future, poll_fn};
use std::hint::black_box;
use std::io::{self, BufRead as _, Read as _, Write as _};
use std::net::Ipv4Addr;
use std::pin::{Pin, pin};
use std::process;
use std::task::{Context, Poll};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::net::{TcpSocket, TcpStream};

/// Answers the whole lines in `input`, and leaves the rest.
pub(crate) fn answer_lines(input: &mut Vec<u8>, output: &mut Vec<u8>) -> Option<()> {
    let mut done = 0;
    while let Some(len) = input[done..].iter().position(|byte| *byte == b'\n') {
        match answer(std::str::from_utf8(&input[done..done + len]).expect("UTF-8")) {
            Answer::Reply(line) => {
                output.extend_from_slice(line.as_bytes());
                output.push(b'\n');
            }
            Answer::Nothing | Answer::Status(_) => {}
            Answer::Die => return None,
        }
        done += len + 1;
    }
    input.drain(..done);
    Some(())
}

pub(crate) fn stdio() -> io::Result<()> {
    let (mut stdin, mut stdout) = (io::stdin().lock(), io::stdout().lock());
    let (mut input, mut output, mut chunk) = (Vec::new(), Vec::new(), vec![0; 64 * 1024]);
    loop {
        let read = stdin.read(&mut chunk)?;
        if read == 0 {
            return Ok(());
        }
        input.extend_from_slice(&chunk[..read]);
        if answer_lines(&mut input, &mut output).is_none() {
            process::exit(7);
        }
        stdout.write_all(&output)?;
        stdout.flush()?;
        output.clear();
    }
}

pub(crate) async fn memory(mut stream: DuplexStream) {
    let (mut input, mut output) = (Vec::with_capacity(64 * 1024), Vec::new());
    loop {
        if !matches!(stream.read_buf(&mut input).await, Ok(1..)) {
            return;
        }
        if answer_lines(&mut input, &mut output).is_none() || stream.write_all(&output).await.is_err() {
            return;
        }
        output.clear();
    }
}

/// A future whose instructions are not counted: callgrind knows [`server_part`] by name.
pub(crate) async fn uncounted(future: impl Future<Output = ()>) {
    let mut future = pin!(future);
    poll_fn(|cx| as_server(|| server_part(future.as_mut(), cx))).await;
}

/// Runs a part that is not the client's: callgrind knows this function by name, too.
#[inline(never)]
pub(crate) fn left_out(part: &mut dyn FnMut()) {
    as_server(part);
    black_box(());
}

#[inline(never)]
fn server_part(future: Pin<&mut dyn Future<Output = ()>>, cx: &mut Context<'_>) -> Poll<()> {
    let poll = future.poll(cx);
    // No tail call: this function has to be left for the count to go on.
    black_box(());
    poll
}

/// Prints its port, and serves until standard input ends.
pub(crate) fn http() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let socket = TcpSocket::new_v4()?;
        socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        // More than are opened at once: who finds no room in the queue comes back a second later.
        let listener = socket.listen(4096)?;
        println!("{}", listener.local_addr()?.port());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                tokio::spawn(connection(stream));
            }
        });
        let mut nothing = [0];
        while tokio::io::stdin().read(&mut nothing).await? > 0 {}
        process::exit(0)
    })
}

/// An HTTP server in a process of its own, until this is dropped.
pub(crate) struct Process {
    child: process::Child,
    pub(crate) port: String,
}

impl Process {
    pub(crate) fn http() -> Self {
        let mut command = process::Command::new(env::current_exe().expect("this program"));
        command.args(["server", "http"]).stdin(process::Stdio::piped()).stdout(process::Stdio::piped());
        let mut child = command.spawn().expect("a server");
        let mut port = String::new();
        let stdout = child.stdout.take().expect("piped");
        io::BufReader::new(stdout).read_line(&mut port).expect("a port");
        Self { child, port: port.trim().to_owned() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn connection(mut stream: TcpStream) -> Option<()> {
    let mut input: Vec<u8> = Vec::with_capacity(16 * 1024);
    loop {
        let (head, length) = loop {
            let found = input.windows(4).position(|window| window == b"\r\n\r\n");
            if let Some(head) = found {
                let text = std::str::from_utf8(&input[..head]).ok()?;
                let length = text.lines().find_map(|line| {
                    let (name, value) = line.split_once(':')?;
                    name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
                });
                let length: usize = length.unwrap_or(0);
                if input.len() >= head + 4 + length {
                    break (head + 4, length);
                }
            }
            if !matches!(stream.read_buf(&mut input).await, Ok(1..)) {
                return None;
            }
        };
        let answer = match input.starts_with(b"POST") {
            true => answer(std::str::from_utf8(&input[head..head + length]).ok()?),
            false => Answer::Status("405 Method Not Allowed"),
        };
        let is_request = input[head..head + length].windows(5).any(|window| window == br#""id":"#);
        input.drain(..head + length);
        let output = match answer {
            Answer::Reply(body) => format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            ),
            Answer::Nothing if is_request => continue,
            Answer::Nothing => "HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n".to_owned(),
            Answer::Status(status) => format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n"),
            Answer::Die => return None,
        };
        stream.write_all(output.as_bytes()).await.ok()?;
    }
}
