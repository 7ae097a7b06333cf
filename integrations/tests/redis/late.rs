//! An answer has arrived, the connection is reset, and then the caller looks.

use crate::kit::{Client, SERVER, WITH, With, connect, echo};
use futures::poll;
use shared_fate_integrations::proxy::{Fault, Proxy};
use shared_fate_integrations::runtimes::Runtimes;
use shared_fate_integrations::seen::{Counts, Seen, Whose};
use shared_fate_integrations::servers;
use shared_fate_integrations::table::Table;
use std::net::SocketAddr;
use std::pin::pin;

const RUNS: usize = 300;

#[test]
fn all() {
    let Some(server) = servers::address(SERVER) else { return };
    let runtimes = Runtimes::new();
    let columns = ["with", "runs", "leads", "says", ""];
    let mut table = Table::new("redis: an answer has arrived, then the connection is reset", &columns);
    let seen = WITH.map(|with| {
        let mut counts = Counts::default();
        for _ in 0..RUNS {
            counts.add(runtimes.block_on(run(&runtimes, server, with)));
        }
        table.counts(&[&format!("{with:?}")], &counts);
        counts
    });
    println!("{table}");
    assert!(seen.iter().all(|counts| counts.of(Whose::Answered) == RUNS));
}

async fn run(runtimes: &Runtimes, server: SocketAddr, with: With) -> Seen {
    let proxy = runtimes.servers().spawn(Proxy::before(server)).await.unwrap().unwrap();
    let drivers = runtimes.drivers();
    let mut client: Client = drivers.spawn(connect(with, proxy.address(), drivers.clone())).await.unwrap();
    let driver = std::mem::replace(&mut client.driver, drivers.spawn(async {}));
    let first = echo("first");
    let mut late = pin!(client.call(&first));
    assert!(poll!(&mut late).is_pending());
    // Answers come in order.
    assert_eq!(client.call(&echo("second")).await.whose, Whose::Answered);
    proxy.strike(Fault::Reset).await;
    driver.await.expect("it does not panic");
    late.await
}
