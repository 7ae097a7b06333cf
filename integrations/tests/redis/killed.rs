//! The server is killed: `kill -9`.

use crate::kit::{Admin, Client, PROGRAM, WITH, With, connect, echo, wait};
use shared_fate_integrations::runtimes::Runtimes;
use shared_fate_integrations::seen::{Counts, Seen, Whose};
use shared_fate_integrations::servers::{self, Server};
use shared_fate_integrations::table::Table;

const RUNS: usize = 20;

const CALLS: [&str; 4] = ["first", "second", "later", "idle, later"];

#[test]
fn all() {
    let Some(program) = servers::path(PROGRAM) else { return };
    let runtimes = Runtimes::new();
    let mut server = Server::redis(&program);
    let mut table = Table::new("redis: the server is killed", &["call", "with", "runs", "leads", "says", ""]);
    let seen = WITH.map(|with| {
        let mut counts: [Counts; CALLS.len()] = Default::default();
        for _ in 0..RUNS {
            let seen = runtimes.block_on(run(&runtimes, &mut server, with));
            for (counts, seen) in counts.iter_mut().zip(seen) {
                counts.add(seen);
            }
            server.start();
        }
        (with, counts)
    });
    for (n, call) in CALLS.iter().enumerate() {
        for (with, counts) in &seen {
            table.counts(&[call, &format!("{with:?}")], &counts[n]);
        }
    }
    println!("{table}");
    for (with, counts) in &seen[1..] {
        for (call, counts) in CALLS.iter().zip(counts) {
            assert_eq!(counts.of(Whose::Hang), 0, "{with:?}, {call}: a hang");
            let is_told = |seen: &Seen| {
                let says = ["the peer closed the connection", "(os error 104)"];
                seen.whose == Whose::Session && says.iter().any(|says| seen.says.contains(says))
            };
            assert!(*with == With::Driver || counts.count(is_told) == RUNS, "{call}: knows less");
        }
    }
}

async fn run(runtimes: &Runtimes, server: &mut Server, with: With) -> [Seen; CALLS.len()] {
    let admin = Admin::new(runtimes, server.address).await;
    let drivers = runtimes.drivers();
    let connect = || drivers.spawn(connect(with, server.address, drivers.clone()));
    let (busy, idle): (Client, Client) = (connect().await.unwrap(), connect().await.unwrap());
    assert_eq!(idle.call(&echo("before")).await.whose, Whose::Answered);
    let second = echo("second");
    let happen = async {
        admin.sees_waiting(&busy, second.get_packed_command().len()).await;
        server.kill();
    };
    let wait = wait();
    let (first, second, ()) = tokio::join!(busy.call(&wait), busy.call(&second), happen);
    let later = busy.call(&echo("later")).await;
    let Client { driver, .. } = &idle;
    while !driver.is_finished() {
        tokio::task::yield_now().await;
    }
    [first, second, later, idle.call(&echo("later")).await]
}
