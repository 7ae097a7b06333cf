//! Timers, sockets and pipes of tokio's: what they save, and what happens where there is no runtime. (The tests that run
//! everywhere, by `fault::run`, show that they do as well as those of `async-io`.)
#![cfg(all(target_os = "linux", feature = "stdio", feature = "http", feature = "tokio"))]

mod fault;
#[path = "features/script.rs"]
mod script;

use fault::clock::Clock;
use fault::http::Server;
use fault::lines::{gone, normal, pair};
use fault::run::PATIENCE;
use futures::future::join;
use shared_fate::Cause;
use shared_fate_mcp::error::IoStage;
use shared_fate_mcp::runtime::{TokioIo, TokioNet, TokioTimer};
use shared_fate_mcp::{CallOptions, Client, Delivery, ErrorKind, Http, Memory, Mode, Stdio, Timeouts};
use std::io::{self, BufRead, BufReader, Write};
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Runs `test` in a thread, and fails if it hangs.
fn in_time(test: impl FnOnce() + Send + 'static) {
    let (done, is_done) = mpsc::channel();
    let thread = thread::spawn(move || {
        test();
        let _ = done.send(());
    });
    match is_done.recv_timeout(PATIENCE) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("the test hangs"),
        _ => thread.join().unwrap(),
    }
}

fn threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    // A thread that has ended meanwhile has no name.
    tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok()).collect()
}

const SHELL: &str = r#"
    while read -r line; do
        id=${line#*\"id\":}; id=${id%%,*}
        case "$line" in
            *'"initialize"'*) result='{"protocolVersion":"2025-11-25","capabilities":{}}' ;;
            *'"ping"'*) result='{}' ;;
            *'"tools/call"'*) echo 'disk full' >&2; exit 7 ;;
            *) continue ;;
        esac
        printf '{"jsonrpc":"2.0","id":%s,"result":%s}\n' "$id" "$result"
    done
"#;

fn shell() -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", SHELL]);
    command
}

/// A session over HTTP and one with a process, with calls that succeed, fail and time out.
async fn sessions(tokio: bool) {
    let server = Server::start(|call| match call.request.tool() {
        "held" => call.hold(),
        _ => call.normal(),
    });
    let http = Http::new(&format!("http://localhost:{}/mcp", server.address().port())).unwrap();
    let builder = Client::builder().mode(Mode::Legacy);
    let builder = if tokio { builder.on_tokio() } else { builder };
    let stdio = Stdio::spawn(shell());

    let (client, driver) = builder.clone().connect(http).await.unwrap();
    let app = async {
        client.ping().await.unwrap();
        let hasty = client.with_options(CallOptions::timeout(Duration::from_millis(5)));
        assert!(hasty.call_tool("held", ()).await.unwrap_err().is_timeout());
        client.close().await;
    };
    driver.run_until(app).await;

    let (client, driver) = builder.connect(stdio.unwrap()).await.unwrap();
    let app = async {
        client.ping().await.unwrap();
        client.call_tool("die", ()).await.unwrap_err()
    };
    let error = driver.run_until(app).await;
    let Some(Cause::Failed(cause)) = error.session_cause() else { panic!("{error:#}") };
    let ErrorKind::ServerExited(exited) = cause.kind() else { panic!("{error:#}") };
    assert_eq!(exited.status().unwrap().code(), Some(7));
    assert_eq!(exited.stderr(), "disk full\n");
}

/// The runtime's reactor has had no turn since the answer came, and the interval is over: the pipe itself is asked.
#[test]
fn png_02_an_answer_that_the_reactor_has_not_heard_of_is_not_missed() {
    in_time(|| {
        runtime().block_on(async {
            let (clock, interval) = (Clock::new(), Duration::from_secs(1));
            let builder = Client::builder().mode(Mode::Legacy).on_tokio().timer(clock.clone());
            let builder = builder.timeouts(Timeouts::default().keep_alive(interval));
            let noting = r#"*'"ping"'*) say '"result":{}'; echo '"answered"' >> "$NOTES" ;;"#;
            let (stdio, notes) = script::script(noting);
            let (client, mut driver) = builder.connect(stdio).await.unwrap();
            assert!(futures::poll!(&mut driver).is_pending());
            // Each interval sends a ping, and finds the answer to the one before.
            for pings in 1..=3 {
                clock.advance(interval);
                for _ in 0..3 {
                    assert!(futures::poll!(&mut driver).is_pending());
                    assert!(!client.session().is_ended());
                }
                let answered = || notes.processes()[0].iter().filter(|it| *it == "answered").count();
                while answered() < pings {
                    thread::yield_now();
                }
            }
        });
    });
}

const ALONE: &str = "SHARED_FATE_TEST_ALONE";

/// Runs in a process of its own: the thread of `async-io` never ends once it is there.
#[test]
fn no_thread_of_async_io_is_started() {
    let test = "no_thread_of_async_io_is_started";
    if std::env::var_os(ALONE).is_none() {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let output = command.args([test, "--exact", "--nocapture"]).env(ALONE, "1").output().unwrap();
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
        assert!(text(&output.stdout).contains("1 passed"));
        return;
    }
    in_time(|| {
        let helpers =
            || threads().iter().any(|name| name.starts_with("async-io") || name.starts_with("blocking"));
        runtime().block_on(sessions(true));
        assert!(!helpers(), "{:?}", threads());
        // The check finds the thread where there is one.
        runtime().block_on(sessions(false));
        assert!(helpers(), "{:?}", threads());
    });
}

/// The timer that a runtime has armed does not go off while the runtime does not run. A call elsewhere must not rely on that
/// timer, or its deadline is lost.
#[test]
fn a_deadline_holds_whichever_runtime_armed_a_timer_before() {
    in_time(|| {
        let (stdio, _server) = pair(normal);
        let builder = Client::builder().mode(Mode::Legacy).timer(TokioTimer);
        let (client, driver) = pollster::block_on(builder.connect(stdio)).unwrap();
        let driving = thread::spawn(|| pollster::block_on(driver));
        let (one, two) = (runtime(), runtime());
        let within = |limit| client.with_options(CallOptions::timeout(Duration::from_millis(limit)));
        let held = async |limit| within(limit).call_tool("held", ()).await;
        // A call in each is given up, and leaves a timer behind.
        let given_up = async |limit| assert!(futures::poll!(Box::pin(held(limit))).is_pending());
        one.block_on(given_up(100));
        two.block_on(given_up(101));
        pollster::block_on(given_up(102));
        for _ in 0..2 {
            assert!(pollster::block_on(held(103)).unwrap_err().is_timeout());
            assert!(two.block_on(held(103)).unwrap_err().is_timeout());
            assert!(one.block_on(held(103)).unwrap_err().is_timeout());
        }
        drop((one, two));
        assert!(pollster::block_on(held(1)).unwrap_err().is_timeout());
        pollster::block_on(client.close());
        driving.join().unwrap();
    });
}

/// Calls of two runtimes wait at the same time. One runtime dies with its call, and the other call ends at its deadline.
#[test]
fn a_runtime_that_dies_takes_no_deadline_with_it() {
    in_time(|| {
        let (stdio, server) = pair(normal);
        let builder = Client::builder().mode(Mode::Legacy).timer(TokioTimer);
        let (client, driver) = pollster::block_on(builder.connect(stdio)).unwrap();
        let driving = thread::spawn(|| pollster::block_on(driver));
        let within = |limit| client.with_options(CallOptions::timeout(Duration::from_millis(limit)));
        let dying = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let held = within(600_000);
        dying.spawn(async move { held.call_tool("held", ()).await });
        pollster::block_on(server.arrival(|message| fault::tool(message) == "held"));
        let living = runtime();
        let held = within(50);
        living.block_on(async {
            let dies = async { dying.shutdown_background() };
            let (result, ()) = join(held.call_tool("held", ()), dies).await;
            assert!(result.unwrap_err().is_timeout());
        });
        pollster::block_on(client.close());
        driving.join().unwrap();
    });
}

/// On another clock the call takes longer than [`in_time`] allows.
#[test]
fn deadlines_are_on_tokios_paused_clock() {
    in_time(|| {
        let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let (memory, server) = Memory::pair();
            let serve = async {
                while let Some(message) = server.receive().await {
                    let message = serde_json::from_slice(&message).unwrap();
                    if fault::tool(&message) != "held" {
                        if let Some(answer) = fault::answer(&message) {
                            server.send(answer.to_string()).await.unwrap();
                        }
                    }
                }
            };
            let app = async {
                let builder = Client::builder().mode(Mode::Legacy).timer(TokioTimer);
                let (client, driver) = builder.connect(memory).await.unwrap();
                let begun = tokio::time::Instant::now();
                let error = driver.run_until(client.call_tool("held", ())).await.unwrap_err();
                assert!(error.is_timeout());
                assert!(begun.elapsed() >= Duration::from_secs(60));
            };
            join(serve, app).await;
        });
    });
}

#[test]
fn outside_a_runtime_http_fails_and_says_so() {
    let server = Server::start(fault::http::Call::normal);
    let http = Http::new(&server.url()).unwrap().net(TokioNet);
    let error = pollster::block_on(Client::builder().timer(TokioTimer).connect(http)).unwrap_err();
    let ErrorKind::Io(io) = error.kind() else { panic!("{error:#}") };
    assert_eq!(io.stage(), IoStage::Connect);
    assert_eq!(error.io_kind(), Some(io::ErrorKind::Unsupported));
    assert_eq!(error.delivery(), Delivery::NotSent);
    assert!(!error.is_retryable());
    assert!(format!("{error:#}").ends_with(": there is no tokio runtime here"), "{error:#}");
    assert!(server.requests().is_empty());
}

#[test]
fn outside_a_runtime_a_process_cannot_be_talked_to_and_is_stopped() {
    in_time(|| {
        let stdio = Stdio::spawn(shell()).unwrap();
        let id: String = format!("{stdio:?}").chars().filter(char::is_ascii_digit).collect();
        let error = pollster::block_on(Client::builder().on_tokio().connect(stdio)).map(drop).unwrap_err();
        assert_eq!(error.io_kind(), Some(io::ErrorKind::Unsupported), "{error:#}");
        assert_eq!(error.delivery(), Delivery::NotSent);
        assert!(!error.is_retryable());
        assert!(format!("{error:#}").ends_with(": there is no tokio runtime here"), "{error:#}");
        pollster::block_on(gone(id.parse().unwrap()));
    });
}

/// The pipes of a process that is started again are opened in the same way: where there is no runtime, it is an error.
#[test]
fn reconnecting_needs_a_runtime_too() {
    in_time(|| {
        let runtime = runtime();
        let stdio = Stdio::spawn(shell()).unwrap();
        let builder = Client::builder().mode(Mode::Legacy).on_tokio();
        let (client, driver) = runtime.block_on(builder.connect(stdio)).unwrap();
        runtime.block_on(driver.run_until(client.ping())).unwrap();
        let error = pollster::block_on(client.reconnect()).map(drop).unwrap_err();
        assert_eq!(error.io_kind(), Some(io::ErrorKind::Unsupported), "{error:#}");
        let (client, driver) = runtime.block_on(client.reconnect()).unwrap();
        runtime.block_on(driver.run_until(client.ping())).unwrap();
    });
}

async fn serve(stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin) {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while stream.read_line(&mut line).await.unwrap() > 0 {
        if let Some(answer) = fault::answer(&serde_json::from_str(&line).unwrap()) {
            stream.write_all(format!("{answer}\n").as_bytes()).await.unwrap();
        }
        line.clear();
    }
}

#[test]
fn io_22_any_pair_of_tokio_streams_is_a_transport() {
    in_time(|| {
        runtime().block_on(async {
            // The buffer is so small that no message fits.
            let (ours, theirs) = tokio::io::duplex(16);
            let (reader, writer) = tokio::io::split(ours);
            let stdio = Stdio::over(TokioIo::new(reader), TokioIo::new(writer));
            let app = async {
                let (client, driver) = Client::builder().timer(TokioTimer).connect(stdio).await.unwrap();
                let app = async {
                    assert_eq!(client.call_tool("echo", ()).await.unwrap().text(), "fine");
                    client.close().await;
                };
                driver.run_until(app).await;
            };
            // `close` shuts the stream down, which ends the server.
            join(serve(theirs), app).await;
        });
    });
}

const MANY: usize = 300;

/// 300 calls in one task, more than a task of tokio's may do in one poll. The server answers all and hangs up.
#[test]
fn a_server_that_answers_300_calls_and_hangs_up_loses_none_over_a_socket() {
    for spawned in [false, true] {
        in_time(move || {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let server = thread::spawn(move || {
                let (mut socket, _) = listener.accept().unwrap();
                let mut replies = String::new();
                let mut calls = 0;
                for line in BufReader::new(socket.try_clone().unwrap()).lines() {
                    let message = serde_json::from_str(&line.unwrap()).unwrap();
                    let Some(answer) = fault::answer(&message) else { continue };
                    if message["method"] != "tools/call" {
                        writeln!(socket, "{answer}").unwrap();
                        continue;
                    }
                    replies += &format!("{answer}\n");
                    calls += 1;
                    if calls == MANY {
                        break;
                    }
                }
                socket.write_all(replies.as_bytes()).unwrap();
            });
            let lost = runtime().block_on(async {
                let socket = tokio::net::TcpStream::connect(address).await.unwrap();
                let (reader, writer) = socket.into_split();
                let stdio = Stdio::over(TokioIo::new(reader), TokioIo::new(writer));
                let builder = Client::builder().mode(Mode::Legacy).timer(TokioTimer);
                let (client, driver) = builder.connect(stdio).await.unwrap();
                let app = lost_of_many(&client);
                if !spawned {
                    return driver.run_until(app).await;
                }
                let driver = tokio::spawn(driver);
                let lost = app.await;
                driver.await.unwrap();
                lost
            });
            assert_eq!(lost, 0, "of {MANY}; the driver is spawned: {spawned}");
            server.join().unwrap();
        });
    }
}

#[test]
fn a_server_that_answers_300_calls_and_hangs_up_loses_none_over_http() {
    in_time(|| {
        let all = std::sync::Barrier::new(MANY);
        let server = Server::start(move |call| {
            if call.request.rpc() != "tools/call" {
                return call.normal();
            }
            all.wait();
            call.normal();
            call.finish();
        });
        let http = Http::new(&server.url()).unwrap().net(TokioNet);
        let lost = runtime().block_on(async {
            let builder = Client::builder().mode(Mode::Legacy).timer(TokioTimer);
            let (client, driver) = builder.connect(http).await.unwrap();
            driver.run_until(lost_of_many(&client)).await
        });
        assert_eq!(lost, 0, "of {MANY}");
    });
}

async fn lost_of_many(client: &Client) -> usize {
    let calls = (0..MANY).map(|_| client.call_tool("hello", ()));
    let replies = futures::future::join_all(calls).await;
    replies.iter().filter(|reply| reply.is_err()).count()
}
