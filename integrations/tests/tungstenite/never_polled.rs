//! The driver is never polled. A session has no clock, so the call hangs as it does without one; but a timeout can tell
//! why.

use crate::kit::{Then, With, connect, serve};
use futures::future::join_all;
use shared_fate_integrations::runtimes::Runtimes;
use shared_fate_integrations::seen::{Seen, Whose};
use shared_fate_integrations::table::Table;

#[test]
fn it_is_told() {
    let runtimes = Runtimes::new();
    let heading = "tungstenite by hand: the driver is never polled, or the server says nothing";
    let mut table = Table::new(heading, &["why", "with", "leads", "the driver"]);
    let cases = [(With::Plain, false), (With::Reader, false), (With::Plain, true), (With::Reader, true)];
    let rows = runtimes.block_on(join_all(cases.map(|(with, is_polled)| {
        let runtimes = &runtimes;
        async move {
            let server = runtimes.servers().spawn(serve()).await.unwrap();
            let on = if is_polled { runtimes.drivers() } else { runtimes.idle() };
            let client = connect(with, Then::Nothing, server.address, on.clone());
            let client = runtimes.drivers().spawn(client).await.unwrap();
            let seen = Seen::of(client.session.as_ref(), client.call("first")).await;
            let state = client.session.map(|session| format!("{:?}", session.driver_state()));
            (with, is_polled, seen, state)
        }
    })));
    for (with, is_polled, seen, state) in rows {
        let why = if is_polled { "no answer" } else { "never polled" };
        let state = state.unwrap_or_default();
        table.row(&[&why, &format!("{with:?}"), &"HANG", &state]);
        assert_eq!(seen.whose, Whose::Hang, "{why}, {with:?}");
        if with == With::Reader {
            assert_eq!(state, if is_polled { "Running" } else { "NeverPolled" });
        }
    }
    println!("{table}");
}
