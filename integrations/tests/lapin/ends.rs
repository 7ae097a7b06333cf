//! The runtime goes, or the observer does, while the connection is fine.

use crate::VARIABLE;
use crate::kit::{Client, DECLARE, connect, declare};
use shared_fate::DriverState;
use shared_fate_integrations::proxy::Fault;
use shared_fate_integrations::runtimes::{Runtimes, runtime};
use shared_fate_integrations::seen::{AnySession, Counts, Seen, Whose};
use shared_fate_integrations::servers;
use shared_fate_integrations::table::Table;
use std::net::SocketAddr;

/// How many runs there are under a session.
const RUNS: usize = 300;

/// How many runs there are of the plain crate. Each of them hangs, twice.
const HANGS: usize = 2;

#[test]
fn the_runtime_is_gone() {
    let Some(server) = servers::address(VARIABLE) else { return };
    let runtimes = Runtimes::new();
    let columns = ["call", "with", "runs", "leads", "says", ""];
    let mut table = Table::new("lapin: the runtime is gone", &columns);
    let before = runtimes.block_on(runs(&runtimes, server, false, HANGS));
    let after = runtimes.block_on(runs(&runtimes, server, true, RUNS));
    for (n, call) in ["first", "later"].iter().enumerate() {
        table.counts(&[call, "Plain"], &before[n]);
        table.counts(&[call, "Observer"], &after[n]);
    }
    println!("{table}");
    for (before, after) in before.into_iter().zip(after) {
        assert_eq!(before.of(Whose::Hang), HANGS);
        assert_eq!(after.count(is_dropped), RUNS);
    }
}

const DROPPED: &str = "the session's driver was dropped";

fn is_dropped(seen: &Seen) -> bool {
    seen.whose == Whose::Session && seen.says == DROPPED
}

async fn runs(runtimes: &Runtimes, server: SocketAddr, with_session: bool, count: usize) -> [Counts; 2] {
    let mut counts = [Counts::default(), Counts::default()];
    for _ in 0..count {
        let (first, later) = gone(runtimes, server, with_session).await;
        counts[0].add(first);
        counts[1].add(later);
    }
    counts
}

async fn gone(runtimes: &Runtimes, server: SocketAddr, with_session: bool) -> (Seen, Seen) {
    let doomed = runtime();
    let session = with_session.then(AnySession::new);
    let client = connect(runtimes, server, session, doomed.handle(), doomed.handle()).await;
    let Client { channels: [one, two], session, hold, .. } = &client;
    let happen = async {
        hold.are_passed_on(DECLARE).await;
        doomed.shutdown_background();
    };
    let (first, ()) = tokio::join!(Seen::of(session.as_ref(), declare(one)), happen);
    let later = Seen::of(session.as_ref(), declare(two)).await;
    (first, later)
}

/// What becomes of the observer alone.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Observer {
    Aborted,
    NeverPolled,
}

/// lapin goes on without the observer. To abort the observer ends the session, and nothing else. An observer that is
/// never polled does no harm, and tells nothing.
#[test]
fn the_observer_alone() {
    let Some(server) = servers::address(VARIABLE) else { return };
    let runtimes = Runtimes::new();
    let columns = ["observer", "call", "runs", "leads", "says", ""];
    let mut table = Table::new("lapin: what becomes of the observer alone", &columns);
    for observer in [Observer::Aborted, Observer::NeverPolled] {
        let [mut fine, mut broken] = [Counts::default(), Counts::default()];
        for _ in 0..20 {
            let (first, then) = runtimes.block_on(alone(&runtimes, server, observer));
            fine.add(first);
            broken.add(then);
        }
        table.counts(&[&format!("{observer:?}"), "the connection is fine"], &fine);
        table.counts(&[&format!("{observer:?}"), "RST"], &broken);
        if observer == Observer::Aborted {
            assert_eq!((fine.count(is_dropped), broken.count(is_dropped)), (20, 20));
        } else {
            // As without a session.
            assert_eq!((fine.of(Whose::Answered), broken.of(Whose::Request)), (20, 20));
        }
    }
    println!("{table}");
}

async fn alone(runtimes: &Runtimes, server: SocketAddr, what: Observer) -> (Seen, Seen) {
    let observers = if what == Observer::Aborted { runtimes.drivers() } else { runtimes.idle() };
    let client = connect(runtimes, server, Some(AnySession::new()), runtimes.drivers(), observers).await;
    let Client { channels: [one, two], session, observer, proxy, hold, connection } = client;
    if what == Observer::Aborted {
        let observer = observer.expect("there is a session");
        observer.abort();
        _ = observer.await;
    } else {
        assert_eq!(session.as_ref().map(AnySession::driver_state), Some(DriverState::NeverPolled));
    }
    hold.open();
    let fine = Seen::of(session.as_ref(), declare(&one)).await;
    hold.close();
    let broken = Seen::of(session.as_ref(), declare(&two));
    let ((), broken) = tokio::join!(proxy.strike(Fault::Reset), broken);
    drop(connection);
    (fine, broken)
}
