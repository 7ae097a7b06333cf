//! Calls in flight that are answered one by one: how many tasks a reply wakes.

use super::tasks::Tasks;
use crate::client::ARGUMENTS;
use crate::fed::{Fed, Ids};
use crate::wire::{RESULT, reply};
use shared_fate_mcp::transport::Inbox;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

/// Rounds of calls.
const ROUNDS: usize = 10;

/// The replies that the driver will find, and its waker.
#[derive(Default)]
struct Arriving {
    replies: Vec<String>,
    driver: Option<Waker>,
}

/// Of each call: polls, wakes, and polls of the driver.
pub(super) fn run(n: usize) -> String {
    let ids = Ids::default();
    let arriving = Arc::new(Mutex::new(Arriving::default()));
    let found = Arc::clone(&arriving);
    let transport = Fed::driven(Some(Arc::clone(&ids)), move |inbox: &Inbox, cx: &mut Context<'_>| {
        let mut found = found.lock().expect("no panic");
        found.driver = Some(cx.waker().clone());
        let replies = std::mem::take(&mut found.replies);
        drop(found);
        replies.iter().for_each(|reply| inbox.deliver(reply.as_bytes()));
    });
    let (client, driver) = pollster::block_on(Fed::builder().connect(transport)).expect("a handshake");
    let mut tasks = Tasks::with_capacity(ROUNDS * n + 1);
    tasks.push(async move {
        let _ = driver.await;
    });
    tasks.run();
    let idle = tasks.of(0).0;
    for round in 0..ROUNDS {
        for _ in 0..n {
            let client = client.clone();
            tasks.push(async move { drop(client.call_tool("echo", &*ARGUMENTS).await.expect("a reply")) });
        }
        tasks.run();
        let mut sent = std::mem::take(&mut *ids.lock().expect("no panic"));
        assert_eq!(sent.len(), n);
        // The replies come in another order than the requests.
        sent.rotate_left(n / 3);
        for id in sent {
            let mut arriving = arriving.lock().expect("no panic");
            arriving.replies.push(reply(&id.to_string(), RESULT));
            let driver = arriving.driver.take().expect("it has been polled");
            drop(arriving);
            driver.wake();
            tasks.run();
        }
        assert!(tasks.is_over(1 + round * n));
    }
    let (polls, wakes) = tasks.from(1);
    let each = |count: usize| count as f64 / (ROUNDS * n) as f64;
    format!("{} {} {}", each(polls), each(wakes), each(tasks.of(0).0 - idle))
}
