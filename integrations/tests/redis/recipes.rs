//! Recipes for redis: a request that reports what its driver does not tell; a driver that ends with the last handle.

use crate::kit::{Admin, Client, SERVER, With, connect, echo, wait};
use futures::poll;
use redis::aio::ConnectionLike;
use shared_fate::{Cause, SupervisedExt};
use shared_fate_integrations::proxy::{Fault, Proxy};
use shared_fate_integrations::runtimes::{LIMIT, Runtimes};
use shared_fate_integrations::seen::{Counts, Seen};
use shared_fate_integrations::servers;
use shared_fate_integrations::table::Table;
use std::net::SocketAddr;
use std::pin::pin;
use tokio::time::timeout;

const RUNS: usize = 300;

/// The driver does not tell its parse error. The request that has the error can report it.
#[test]
fn a_request_reports() {
    let Some(server) = servers::address(SERVER) else { return };
    let runtimes = Runtimes::new();
    let mut counts = [Counts::default(), Counts::default()];
    for _ in 0..RUNS {
        let seen = runtimes.block_on(garbage(&runtimes, server));
        for (counts, seen) in counts.iter_mut().zip(seen) {
            counts.add(seen);
        }
    }
    let mut table = Table::new(
        "redis: garbage, and the first request reports it",
        &["call", "runs", "leads", "says", ""],
    );
    table.counts(&["first"], &counts[0]);
    table.counts(&["later"], &counts[1]);
    println!("{table}");
    for counts in &counts {
        assert_eq!(counts.count(|seen| seen.says.contains("Parse error")), RUNS);
    }
}

async fn garbage(runtimes: &Runtimes, server: SocketAddr) -> [Seen; 2] {
    let admin = Admin::new(runtimes, server).await;
    let proxy = runtimes.servers().spawn(Proxy::before(server)).await.unwrap().unwrap();
    let drivers = runtimes.drivers();
    let connecting = connect(With::Driver, proxy.address(), drivers.clone());
    let client: Client = drivers.spawn(connecting).await.unwrap();
    let session = client.session.as_ref().expect("it is not plain");
    let command = wait();
    let request = async {
        let answer = client.connection.clone().req_packed_command(&command).await;
        answer.inspect_err(|error| _ = session.end(Cause::any(error.clone())))
    };
    let happen = async {
        admin.sees_waiting(&client, 0).await;
        proxy.strike(Fault::Garbage(b"this is no answer of redis\r\n")).await;
    };
    let (first, ()) = tokio::join!(Seen::result(request.try_supervised(session)), happen);
    let later = client.call(&echo("later")).await;
    admin.kill(client.id).await;
    [first, later]
}

/// The crate aborts its own task when the last handle is dropped. A driver that is spawned by hand ends then, too, also
/// with a command in flight whose caller has given up.
#[test]
fn the_driver_ends_with_the_last_handle() {
    let Some(server) = servers::address(SERVER) else { return };
    let runtimes = Runtimes::new();
    runtimes.block_on(async {
        let admin = Admin::new(&runtimes, server).await;
        let drivers = runtimes.drivers();
        for _ in 0..RUNS {
            let client: Client = drivers.spawn(connect(With::Tap, server, drivers.clone())).await.unwrap();
            let command = wait();
            {
                let mut call = pin!(client.call(&command));
                assert!(poll!(&mut call).is_pending());
                admin.sees_waiting(&client, 0).await;
            }
            let Client { connection, driver, .. } = client;
            drop(connection);
            timeout(LIMIT, driver).await.expect("the driver ends").expect("it does not panic");
        }
    });
}
