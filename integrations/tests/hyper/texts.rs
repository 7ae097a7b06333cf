//! What people read: each text once.

use crate::kit::{Client, Server, Version, With, connect, serve};
use hyper::body::Incoming;
use hyper::{Error, Response};
use shared_fate::{Failed, SupervisedExt};
use shared_fate_integrations::panicking;
use shared_fate_integrations::proxy::{Fault, Proxy};
use shared_fate_integrations::runtimes::Runtimes;
use shared_fate_integrations::table::Table;
use shared_fate_integrations::texts::{each_text_once, has};
use std::io;

type Failure = Failed<Error, dyn std::error::Error + Send + Sync>;

/// What happens to a connection over HTTP/1.
#[derive(Clone, Copy, PartialEq)]
enum Event {
    Reset,
    /// With no request in flight.
    ResetWhileIdle,
    Panic,
}

#[test]
fn each_is_said_once() {
    panicking::keep_quiet();
    let runtimes = Runtimes::new();
    let mut table = Table::new("hyper, HTTP/1: what is printed, by hand and by anyhow", &["", "text"]);
    let mut says = |what: &str, error: Failure, expected: &str| {
        let line = each_text_once(error);
        table.row(&[&what, &line]);
        assert_eq!(line, expected, "{what}");
    };

    let error = runtimes.block_on(failure(&runtimes, With::Monitor, Event::Panic, |error| {
        !error.request_leads() && error.request_error().is_some()
    }));
    says(
        "the cause leads, and the request has an error",
        error,
        "the session ended (and the request failed: dispatch task is gone: \
         runtime dropped the dispatch task): the session's driver panicked: the decoder tripped",
    );

    let error = runtimes.block_on(failure(&runtimes, With::Drive, Event::Reset, |error| {
        error.cause().is_some() && error.request_error().is_some()
    }));
    assert!(error.request_leads() && has::<io::Error>(&error));
    says(
        "the driver is done, and the request leads",
        error,
        "the request failed (the session's driver finished): connection error: Connection reset by peer \
         (os error 104)",
    );

    let error = runtimes.block_on(failure(&runtimes, With::Monitor, Event::ResetWhileIdle, |_| true));
    assert!(error.request_error().is_none() && has::<io::Error>(&error) && has::<Error>(&error));
    says(
        "the driver's error only",
        error,
        "the session had ended before the request was started: the session failed: connection error: \
         Connection reset by peer (os error 104)",
    );

    let error = runtimes
        .block_on(failure(&runtimes, With::Tap, Event::Reset, |error| error.request_error().is_some()));
    assert!(!error.request_leads() && has::<io::Error>(&error));
    says(
        "the tap's error, and the same in the request's",
        error,
        "the session ended (and the request failed: connection error): \
         the session failed: Connection reset by peer (os error 104)",
    );

    println!("{table}");
}

/// The first error of its kind: which side is there is a race.
async fn failure(
    runtimes: &Runtimes,
    with: With,
    event: Event,
    is_meant: impl Fn(&Failure) -> bool,
) -> Failure {
    let mut server = runtimes.servers().spawn(serve(Version::H1)).await.unwrap();
    let proxy = runtimes.servers().spawn(Proxy::before(server.address)).await.unwrap().unwrap();
    for _ in 0..100 {
        let error = run(runtimes, &mut server, &proxy, with, event).await.unwrap_err();
        if is_meant(&error) {
            return error;
        }
    }
    panic!("there was no such error in a hundred runs");
}

async fn run(
    runtimes: &Runtimes,
    server: &mut Server,
    proxy: &Proxy,
    with: With,
    event: Event,
) -> Result<Response<Incoming>, Failure> {
    let drivers = runtimes.drivers();
    let client = drivers.spawn(connect(Version::H1, with, proxy.address(), drivers.clone())).await;
    let Client { mut sender, session, driver, decoder } = client.unwrap();
    let session = session.expect("it is not plain");
    if event == Event::ResetWhileIdle {
        let warm_up = sender.send("/");
        let arrived = server.arrivals.recv().await.unwrap();
        _ = arrived.send(());
        warm_up.await.expect("an answer");
        proxy.strike(Fault::Reset).await;
        _ = driver.await;
        return sender.send("/").try_supervised(&session).await;
    }
    let happen = async {
        let arrived = server.arrivals.recv().await.unwrap();
        if event == Event::Panic {
            decoder.arm();
            _ = arrived.send(());
        } else {
            proxy.strike(Fault::Reset).await;
        }
    };
    tokio::join!(sender.send("/").try_supervised(&session), happen).0
}
