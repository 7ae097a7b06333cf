//! Server processes: how they end, and what does not stop them from being ended.

use crate::check::{cause, on, story};
use crate::fault::child::{self, READS, STUBBORN};
use crate::fault::clock::Clock;
use crate::fault::lines::{Peer, Process, Server, gone, normal, process, process_as, process_in_shell};
use crate::fault::run::{Run, everywhere, once};
use futures::future::{join, join3};
use serde_json::json;
use shared_fate::Cause;
use shared_fate_mcp::error::{ExitStatus, IoStage, ServerExited};
use shared_fate_mcp::{Client, Delivery, Driver, Error, ErrorKind, Stdio};
use std::io;
use std::time::Duration;

/// How long a server that closed its output is given to exit.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// The default of every step of a close.
const GRACE: Duration = Duration::from_secs(2);

async fn connect(stdio: Stdio, clock: &Clock) -> (Client, Driver) {
    on(clock).connect(stdio).await.unwrap()
}

fn exited(error: &Error) -> &ServerExited {
    match cause(error).kind() {
        ErrorKind::ServerExited(exited) => exited,
        _ => panic!("the server did not exit: {error:#}"),
    }
}

fn status(error: &Error) -> ExitStatus {
    exited(error).status().unwrap_or_else(|| panic!("no exit status: {error:#}"))
}

/// Two calls wait when the server does `fault`. Both fail with what `check` says; a later call is not
/// sent; and when the client is closed, no process is left.
async fn ends(
    run: Run,
    (stdio, server): (Stdio, Server),
    fault: impl AsyncFn(&Peer, &Process, &Clock),
    check: fn(&Error),
) {
    let clock = Clock::new();
    let (client, driver) = connect(stdio, &clock).await;
    let process = server.process().await;
    run.drive(driver, async {
        let ending = async {
            for _ in 0..2 {
                server.arrival(|message| message["params"]["name"] == "held").await;
            }
            fault(&server.peer, &process, &clock).await;
        };
        let (one, two, ()) = join3(client.call_tool("held", ()), client.call_tool("held", ()), ending).await;
        for result in [one, two] {
            let error = result.unwrap_err();
            story(&error);
            check(&error);
            assert_eq!(error.delivery(), Delivery::MaybeSent);
            assert!(!error.is_retryable());
        }
        let error = client.ping().await.unwrap_err();
        check(&error);
        assert_eq!(error.delivery(), Delivery::NotSent);
        assert_eq!(client.pending_calls(), 0);
        // The clock stands still, so closing waits for no time to pass.
        client.close().await;
        process.gone().await;
    })
    .await;
    assert!(clock.sleeping() <= 1, "no timer but the alarm's");
}

#[test]
fn liv_11_exit_with_a_status_and_last_words() {
    everywhere(async |run| {
        let fault = async |peer: &Peer, _: &Process, _: &Clock| {
            peer.write_error("starting\nfatal: disk full\n\n");
            peer.exit(7);
        };
        ends(run, process(normal), fault, |error| {
            assert_eq!(status(error).code(), Some(7));
            assert!(!status(error).success());
            assert!(exited(error).stderr().contains("starting\nfatal: disk full\n"));
            let program = error.server().unwrap();
            let expected = "the session ended: the server process ended with exit status 7; \
                            its last words: \"fatal: disk full\"";
            assert_eq!(story(error), format!("{program}: {expected}"));
        })
        .await;
    });
}

#[test]
fn liv_11_exit_with_success() {
    everywhere(async |run| {
        let fault = async |peer: &Peer, _: &Process, _: &Clock| peer.exit(0);
        ends(run, process(normal), fault, |error| {
            assert!(status(error).success());
        })
        .await;
    });
}

#[test]
fn liv_11_killed_by_a_signal() {
    everywhere(async |run| {
        let fault = async |_: &Peer, process: &Process, _: &Clock| process.kill();
        ends(run, process(normal), fault, |error| {
            if cfg!(windows) {
                // There are no signals: whoever kills chooses the status.
                assert!(story(error).contains("the server process ended with exit status"));
                return;
            }
            assert_eq!((status(error).code(), status(error).signal()), (None, Some(9)));
            assert!(story(error).contains("signal 9 (SIGKILL)"));
        })
        .await;
    });
}

#[test]
#[cfg(unix)] // a shell script
fn liv_11_output_closed_but_alive() {
    everywhere(async |run| {
        // When the puppet is gone, the shell closes its output and stays.
        let server = process_in_shell(r#""$0" "$@"; exec >&-; cat >/dev/null"#, normal);
        let leader = std::cell::Cell::new(0);
        let fault = async |peer: &Peer, process: &Process, clock: &Clock| {
            leader.set(process.parent);
            peer.write_error("that is all\n");
            peer.exit(0);
            clock.pass(LAST_WORDS).await;
        };
        ends(run, server, fault, |error| {
            assert_eq!(exited(error).status(), None);
            assert!(story(error).contains("the server closed its output; its last words: \"that is all\""));
        })
        .await;
        gone(leader.get()).await;
    });
}

#[test]
fn liv_11_exit_while_a_grandchild_holds_the_pipes() {
    everywhere(async |run| {
        let (stdio, server) = process(normal);
        let clock = Clock::new();
        let (client, driver) = connect(stdio, &clock).await;
        let process = server.process().await;
        run.drive(driver, async {
            server.peer.fork();
            let grandchild = server.process().await;
            let ending = async {
                server.arrival(|message| message["params"]["name"] == "held").await;
                server.peer.exit(7);
            };
            let (held, ()) = join(client.call_tool("held", ()), ending).await;
            assert_eq!(status(&held.unwrap_err()).code(), Some(7));
            client.close().await;
            process.gone().await;
            grandchild.ended().await;
        })
        .await;
    });
}

#[test]
fn liv_11_a_reply_before_the_end_is_delivered() {
    everywhere(async |run| {
        let server = process(|peer, message| {
            peer.normal(message);
            if message["method"] == "tools/list" {
                peer.exit(3);
            }
        });
        let clock = Clock::new();
        let (client, driver) = connect(server.0, &clock).await;
        run.drive(driver, async {
            assert_eq!(client.list_tools().await.unwrap().len(), 1);
            let cause = client.session().ended().await;
            assert!(matches!(cause.error().unwrap().kind(), ErrorKind::ServerExited(_)));
            client.close().await;
        })
        .await;
    });
}

#[test]
#[cfg(unix)] // a shell script
fn io_16_a_write_that_fails_ends_the_session_though_output_is_open() {
    everywhere(async |run| {
        // When the puppet is gone, the shell closes its input, and then says so.
        let script = r#""$0" "$@"; exec <&-; FAULT_HOLDER=1 exec "$0" "$@""#;
        let (stdio, server) = process_in_shell(script, normal);
        let clock = Clock::new();
        let (client, driver) = connect(stdio, &clock).await;
        let first = server.process().await;
        run.drive(driver, async {
            let ending = async {
                server.arrival(|message| message["params"]["name"] == "held").await;
                server.peer.exit(0);
                let holder = server.process().await;
                join(client.ping(), clock.pass(LAST_WORDS)).await.0.unwrap_err();
                holder
            };
            let (held, holder) = join(client.call_tool("held", ()), ending).await;
            let error = held.unwrap_err();
            let cause = cause(&error);
            assert!(matches!(cause.kind(), ErrorKind::Io(io) if io.stage() == IoStage::Write), "{error:#}");
            assert_eq!(error.io_kind(), Some(io::ErrorKind::BrokenPipe));
            client.close().await;
            holder.gone().await;
            first.gone().await;
        })
        .await;
    });
}

#[test]
fn liv_12_a_server_that_stops_reading_keeps_no_call_from_its_deadline() {
    everywhere(async |run| {
        let mut command = child::command();
        command.env(READS, "2");
        let (stdio, server) = process_as(command, normal);
        let clock = Clock::new();
        let (client, driver) = connect(stdio, &clock).await;
        let process = server.process().await;
        run.drive(driver, async {
            // More than any pipe holds: the first request is begun and never finished, the second is not begun.
            let big = json!({ "text": "x".repeat(2_000_000) });
            let calls = join3(client.call_tool("big", &big), client.ping(), async {
                server.stalled().await;
                clock.pass(Duration::from_secs(60)).await;
            });
            let (big, small, ()) = calls.await;
            assert!(big.unwrap_err().is_timeout());
            let small = small.unwrap_err();
            assert!(small.is_timeout());
            assert_eq!(small.delivery(), Delivery::NotSent, "the request was not begun");
            assert_eq!(client.pending_calls(), 0);
            assert!(!client.session().is_ended());
            // The server's input cannot be closed, so the server is asked to end with SIGTERM.
            join(client.close(), clock.pass(GRACE)).await;
            process.gone().await;
        })
        .await;
    });
}

#[test]
fn liv_13_a_flood_of_output_while_we_write_is_no_deadlock() {
    everywhere(async |run| {
        let (stdio, server) = process(normal);
        let (client, driver) = connect(stdio, &Clock::new()).await;
        let process = server.process().await;
        run.drive(driver, async {
            // Notifications of a known kind: too many of an unknown kind end the session.
            let data = json!({ "level": "debug", "data": "y".repeat(900) });
            let line = format!(
                "{}\n",
                json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": data })
            );
            server.peer.flood(line.repeat(100));
            let big = json!({ "text": "x".repeat(500_000) });
            for _ in 0..3 {
                assert_eq!(client.call_tool("big", &big).await.unwrap().text(), "fine");
            }
            client.close().await;
            process.gone().await;
        })
        .await;
    });
}

#[test]
fn liv_19_an_orderly_close_ends_the_input_and_waits_for_the_exit() {
    everywhere(async |run| {
        let (stdio, server) = process(normal);
        let clock = Clock::new();
        let (client, driver) = connect(stdio, &clock).await;
        let process = server.process().await;
        run.drive(driver, async {
            let closing = async {
                server.arrival(|message| message["params"]["name"] == "held").await;
                join(client.close(), client.close()).await;
            };
            let (held, ()) = join(client.call_tool("held", ()), closing).await;
            let error = held.unwrap_err();
            assert!(matches!(error.session_cause(), Some(Cause::Closed)), "{error:#}");
            assert_eq!(error.delivery(), Delivery::MaybeSent);
            server.input_ended().await;
            assert_eq!(client.ping().await.unwrap_err().delivery(), Delivery::NotSent);
            client.close().await;
            process.gone().await;
        })
        .await;
        assert!(clock.sleeping() <= 1, "no timer but the alarm's");
    });
}

#[test]
fn liv_19_dropping_all_clients_closes_in_order() {
    everywhere(async |run| {
        let (stdio, server) = process(normal);
        let (client, driver) = connect(stdio, &Clock::new()).await;
        let process = server.process().await;
        run.drive(driver, async {
            client.ping().await.unwrap();
            drop(client);
            server.input_ended().await;
        })
        .await;
        process.gone().await;
    });
}

#[test]
fn liv_19_dropping_client_and_driver_kills() {
    everywhere(async |_| {
        let mut command = child::command();
        command.env(STUBBORN, "1");
        let (stdio, server) = process_as(command, normal);
        let (client, driver) = connect(stdio, &Clock::new()).await;
        let process = server.process().await;
        drop((client, driver));
        process.gone().await;
    });
}

#[test]
fn liv_19_dropping_client_and_driver_kills_what_the_server_has_started() {
    everywhere(async |_| {
        let (stdio, server) = process(normal);
        let (client, driver) = connect(stdio, &Clock::new()).await;
        let process = server.process().await;
        server.peer.fork();
        let grandchild = server.process().await;
        drop((client, driver));
        process.gone().await;
        grandchild.ended().await;
    });
}

#[test]
fn a_host_that_is_killed_leaves_no_server_behind() {
    once(async |_| {
        // The process starts a server of its own, so it is that server's host.
        let (_stdio, server) = process(normal);
        let host = server.process().await;
        server.peer.host();
        let hosted = server.process().await;
        host.kill();
        hosted.ended().await;
    });
}

#[test]
fn liv_26_a_child_that_ignores_the_end_of_its_input_is_asked_with_sigterm() {
    everywhere(async |run| {
        let mut command = child::command();
        command.env(STUBBORN, "1");
        let (stdio, server) = process_as(command, normal);
        let clock = Clock::new();
        let (client, driver) = connect(stdio, &clock).await;
        let process = server.process().await;
        run.drive(driver, async {
            join(client.close(), async {
                server.input_ended().await;
                clock.pass(GRACE).await;
            })
            .await;
            process.gone().await;
        })
        .await;
    });
}

#[test]
#[cfg(unix)] // a shell script
fn liv_26_a_child_that_ignores_everything_is_killed() {
    everywhere(async |run| {
        let mut command = std::process::Command::new("sh");
        let puppet = child::command();
        command.args(["-c", r#"trap "" TERM; exec "$0" "$@""#]).env(STUBBORN, "1");
        command.arg(puppet.get_program()).args(puppet.get_args());
        let (stdio, server) = process_as(command, normal);
        let clock = Clock::new();
        let (client, driver) = connect(stdio, &clock).await;
        let process = server.process().await;
        run.drive(driver, async {
            join(client.close(), async {
                server.input_ended().await;
                clock.pass(GRACE).await;
                clock.pass(GRACE).await;
            })
            .await;
            process.gone().await;
        })
        .await;
    });
}

#[test]
fn liv_26_dropping_a_close_kills() {
    everywhere(async |run| {
        let mut command = child::command();
        command.env(STUBBORN, "1");
        let (stdio, server) = process_as(command, normal);
        let (client, driver) = connect(stdio, &Clock::new()).await;
        let process = server.process().await;
        run.drive(driver, async {
            {
                let closing = std::pin::pin!(client.close());
                futures::future::select(closing, std::pin::pin!(server.input_ended())).await;
            }
            process.gone().await;
            client.close().await;
        })
        .await;
    });
}

#[test]
fn liv_27_a_child_that_exits_at_once_is_the_cause() {
    everywhere(async |_| {
        let [shell, option, script] = match cfg!(windows) {
            false => ["sh", "-c", "echo usage: server FILE >&2; exit 64"],
            true => ["cmd", "/C", "echo usage: server FILE>&2& exit 64"],
        };
        let mut command = std::process::Command::new(shell);
        command.args([option, script]);
        let error = on(&Clock::new()).connect(Stdio::spawn(command).unwrap()).await.unwrap_err();
        assert_eq!(status(&error).code(), Some(64));
        assert!(story(&error).contains("usage: server FILE"));
    });
}

#[test]
fn liv_27_a_child_that_never_answers_is_killed_in_time() {
    everywhere(async |_| {
        let mut command = child::command();
        command.env(STUBBORN, "1");
        let (stdio, server) = process_as(command, |_, _| {});
        let clock = Clock::new();
        let (connected, process) = join(on(&clock).connect(stdio), async {
            let process = server.process().await;
            server.arrival(|message| message["method"] == "initialize").await;
            clock.pass(Duration::from_secs(60)).await;
            process
        })
        .await;
        let error = connected.unwrap_err();
        assert!(error.is_timeout());
        assert_eq!(error.delivery(), Delivery::MaybeSent);
        process.gone().await;
        assert_eq!(server.received().len(), 1, "no cancellation of initialize");
        assert_eq!(clock.sleeping(), 0);
    });
}
