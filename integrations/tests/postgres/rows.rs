//! Rows that are read slowly: all or some of them have arrived, and then something happens to the connection.

use crate::kit::{Admin, Client, SERVER, With, connect};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use shared_fate::SupervisedExt;
use shared_fate::stream::SupervisedStreamExt;
use shared_fate_integrations::proxy::{Fault, Proxy};
use shared_fate_integrations::runtimes::{LIMIT, Runtimes};
use shared_fate_integrations::servers;
use shared_fate_integrations::table::Table;
use shared_fate_integrations::texts::innermost;
use std::collections::BTreeMap;
use std::iter::empty;
use std::net::SocketAddr;
use tokio::time::timeout;
use tokio_postgres::{Error, RowStream};

const RUNS: usize = 300;

/// So many rows. The server sends them in one go.
const ROWS: usize = 100;
const ALL: &str = "SELECT generate_series(1, 100)";

/// The server sends some of the rows, and then nothing for a minute.
const SOME: &str =
    "SELECT repeat('x', 1000), CASE i WHEN 50 THEN pg_sleep(60) END FROM generate_series(1, 100) AS i";

/// A plain stream repeats its error for ever. So often is it asked.
const REPEATS: usize = 10;

/// What happens after the first row is read, and before the others are.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Then {
    /// The client is dropped, and the driver is done.
    Dropped,
    /// The connection is reset. Not all rows have arrived.
    CutShort,
    /// The connection is reset. All rows have arrived.
    Reset,
}

/// What is supervised, or explained.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Supervised {
    Nothing,
    Stream,
    /// Each row is a request.
    Rows,
    ExplainedStream,
    ExplainedRows,
}

/// What a reader gets.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Read {
    /// `None` for some.
    rows: Option<usize>,
    /// How often an error comes after the rows, at most [`REPEATS`] times.
    errors: usize,
    says: String,
}

const CASES: [(Then, With, Supervised); 14] = [
    (Then::Dropped, With::Plain, Supervised::Nothing),
    (Then::Dropped, With::Monitor, Supervised::Stream),
    (Then::Dropped, With::Monitor, Supervised::Rows),
    (Then::Dropped, With::Monitor, Supervised::ExplainedStream),
    (Then::Dropped, With::Monitor, Supervised::ExplainedRows),
    // `drive` says that no request is answered any more, and here it is not so.
    (Then::Dropped, With::Drive, Supervised::Rows),
    (Then::CutShort, With::Plain, Supervised::Nothing),
    (Then::CutShort, With::Monitor, Supervised::Stream),
    (Then::CutShort, With::Monitor, Supervised::ExplainedStream),
    (Then::Reset, With::Plain, Supervised::Nothing),
    // This crate fails its stream itself, and `None` means that it is complete: it is explained, and not supervised.
    (Then::Reset, With::Monitor, Supervised::ExplainedStream),
    (Then::Reset, With::Monitor, Supervised::ExplainedRows),
    // Supervised, all rows are there, and then comes the cause: a stream that was cut short might look the same.
    (Then::Reset, With::Monitor, Supervised::Stream),
    // A request that is begun after the session's end is not polled, also where its row has arrived.
    (Then::Reset, With::Monitor, Supervised::Rows),
];

#[test]
fn all() {
    let Some(server) = servers::address(SERVER) else { return };
    let runtimes = Runtimes::new();
    let columns = ["then", "with", "supervised", "runs", "rows", "errors", "says"];
    let mut table = Table::new(
        "tokio-postgres: one of 100 rows is read, something happens, and the reader goes on",
        &columns,
    );
    let mut wrong = Vec::new();
    for (then, with, supervised) in CASES {
        let mut counts = BTreeMap::<Read, usize>::new();
        let admin = runtimes.block_on(Admin::new(&runtimes, server));
        for _ in 0..RUNS {
            let read = runtimes.block_on(run(&runtimes, &admin, server, then, with, supervised));
            *counts.entry(read).or_default() += 1;
        }
        for (read, runs) in counts {
            let rows = read.rows.map_or("some".to_owned(), |rows| rows.to_string());
            let cells = [format!("{then:?}"), format!("{with:?}"), format!("{supervised:?}")];
            table.row(&[&cells[0], &cells[1], &cells[2], &runs, &rows, &read.errors, &read.says]);
            if !is_right(then, with, supervised, &read) {
                wrong.push((cells, read));
            }
        }
    }
    println!("{table}");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn is_right(then: Then, with: With, supervised: Supervised, read: &Read) -> bool {
    let is = |rows, errors, says| read.rows == rows && read.errors == errors && read.says.contains(says);
    let all = Some(ROWS);
    match (then, with, supervised) {
        (_, With::Drive, _) => true,
        (Then::Dropped, ..)
        | (Then::Reset, With::Plain, _)
        | (Then::Reset, _, Supervised::ExplainedStream | Supervised::ExplainedRows) => is(all, 0, ""),
        (Then::CutShort, With::Plain, _) => is(None, REPEATS, "connection closed"),
        // The cause comes once.
        (Then::CutShort, ..) => is(None, 1, "(os error 104)"),
        (Then::Reset, _, Supervised::Stream) => is(all, 1, "(os error 104)"),
        (Then::Reset, ..) => is(Some(1), REPEATS, "(os error 104)"),
    }
}

async fn run(
    runtimes: &Runtimes,
    admin: &Admin,
    server: SocketAddr,
    then: Then,
    with: With,
    supervised: Supervised,
) -> Read {
    let proxy = runtimes.servers().spawn(Proxy::before(server)).await.unwrap().unwrap();
    let drivers = runtimes.drivers();
    let client = drivers.spawn(connect(with, proxy.address(), drivers.clone())).await.unwrap();
    let sql = if then == Then::CutShort { SOME } else { ALL };
    let rows = client.handle.query_raw(sql, empty::<i32>()).await.expect("rows");
    let mut rows = under(rows, supervised, &client);
    assert!(rows.next().await.is_some_and(|row| row.is_ok()));

    let Client { handle, mut driver, name, .. } = client;
    match then {
        Then::Dropped => drop(handle),
        Then::CutShort => {
            admin.sees_asleep(&name).await;
            proxy.strike(Fault::Reset).await;
        }
        Then::Reset => {
            // The answer to this comes after the rows: the driver has both.
            handle.batch_execute("SELECT 1").await.expect("an answer");
            proxy.strike(Fault::Reset).await;
        }
    }
    // It may wait until there is room for more rows.
    if then != Then::CutShort {
        timeout(LIMIT, &mut driver).await.expect("the driver ends").expect("it does not panic");
    }
    let read = timeout(LIMIT, read(rows)).await.expect("no reader hangs");
    admin.clean(&name).await;
    read
}

fn under(rows: RowStream, supervised: Supervised, client: &Client) -> BoxStream<'static, Result<(), String>> {
    let rows = rows.map_ok(drop);
    let Some(session) = client.session.clone() else { return rows.map_err(|e| innermost(&e)).boxed() };
    match supervised {
        Supervised::Nothing => unreachable!("there is a session"),
        Supervised::Stream => {
            rows.try_supervised_if(session, Error::is_closed).map_err(|e| innermost(&e)).boxed()
        }
        Supervised::ExplainedStream => rows.explained_by(session).map_err(|e| innermost(&e)).boxed(),
        Supervised::Rows | Supervised::ExplainedRows => stream::unfold(rows.boxed(), move |mut rows| {
            let session = session.clone();
            async move {
                let row = rows.try_next();
                let row = match supervised {
                    Supervised::Rows => row.try_supervised_if(session, Error::is_closed).await,
                    _ => row.explained_by(session).await,
                };
                Some((row.map_err(|e| innermost(&e)).transpose()?, rows))
            }
        })
        .boxed(),
    }
}

async fn read(mut rows: BoxStream<'static, Result<(), String>>) -> Read {
    let mut read = Read { rows: None, errors: 0, says: String::new() };
    let mut count = 1;
    while let Some(row) = rows.next().await {
        match row {
            Ok(()) => count += 1,
            Err(says) => (read.errors, read.says) = (read.errors + 1, says),
        }
        if read.errors == REPEATS {
            break;
        }
    }
    read.rows = (count == 1 || count == ROWS).then_some(count);
    read
}
