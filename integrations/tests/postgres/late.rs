//! An answer has arrived, the connection is reset, and then the caller looks.

use crate::kit::{Admin, Client, SERVER, With, connect};
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
    let mut table =
        Table::new("tokio-postgres: an answer has arrived, then the connection is reset", &columns);
    let seen = [With::Plain, With::Monitor].map(|with| {
        let admin = runtimes.block_on(Admin::new(&runtimes, server));
        let mut counts = Counts::default();
        for _ in 0..RUNS {
            counts.add(runtimes.block_on(run(&runtimes, &admin, server, with)));
        }
        table.counts(&[&format!("{with:?}")], &counts);
        counts
    });
    println!("{table}");
    assert!(seen.iter().all(|counts| counts.of(Whose::Answered) == RUNS));
}

async fn run(runtimes: &Runtimes, admin: &Admin, server: SocketAddr, with: With) -> Seen {
    let proxy = runtimes.servers().spawn(Proxy::before(server)).await.unwrap().unwrap();
    let drivers = runtimes.drivers();
    let mut client: Client = drivers.spawn(connect(with, proxy.address(), drivers.clone())).await.unwrap();
    let driver = std::mem::replace(&mut client.driver, drivers.spawn(async {}));
    let mut late = pin!(client.call("SELECT 1"));
    assert!(poll!(&mut late).is_pending());
    // Answers come in order.
    assert_eq!(client.call("SELECT 2").await.whose, Whose::Answered);
    proxy.strike(Fault::Reset).await;
    driver.await.expect("it does not panic");
    let seen = late.await;
    admin.clean(&client.name).await;
    seen
}
