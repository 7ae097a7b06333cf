//! `kill -9` of the server, with requests in flight.

use crate::faults::{CALLS, Calls, calls, check};
use crate::kit::{DECLARE, connect};
use futures::future::join_all;
use shared_fate_integrations::broker;
use shared_fate_integrations::runtimes::Runtimes;
use shared_fate_integrations::seen::AnySession;
use shared_fate_integrations::table::Table;
use shared_fate_integrations::waits::Resolved;
use std::process::Command;

/// Clients of each kind, all at once: it takes seconds to start this server.
const CLIENTS: usize = 50;

#[test]
fn the_server_is_killed() {
    let Some((server, process)) = broker::doomed("INTEGRATIONS_RABBITMQ_DOOMED") else { return };
    let runtimes = Runtimes::new();
    let [before, after] = runtimes.block_on(async {
        let mut clients = Vec::new();
        for with_session in [false, true].into_iter().cycle().take(2 * CLIENTS) {
            let session = with_session.then(AnySession::new);
            let drivers = runtimes.drivers();
            clients.push(connect(&runtimes, server, session, drivers, drivers).await);
        }
        let happen = async {
            for client in &clients {
                client.hold.are_passed_on(2 * DECLARE).await;
            }
            let killed = Command::new("kill").args(["-9", &process]).status();
            assert!(killed.is_ok_and(|status| status.success()), "kill -9 {process}");
        };
        let resolved = Resolved::default();
        let (seen, ()) =
            tokio::join!(join_all(clients.iter().map(|client| calls(client, &resolved))), happen);
        let mut counts = [Calls::default(), Calls::default()];
        for (client, seen) in clients.iter().zip(seen) {
            for (counts, seen) in counts[usize::from(client.session.is_some())].iter_mut().zip(seen) {
                counts.add(seen);
            }
        }
        counts
    });
    let mut table = Table::new("lapin: the server is killed", &["call", "with", "runs", "leads", "says", ""]);
    for (n, call) in CALLS.iter().enumerate() {
        table.counts(&[call, "Plain"], &before[n]);
        table.counts(&[call, "Observer"], &after[n]);
    }
    println!("{table}");
    check("killed", "connection aborted", before, after);
}
