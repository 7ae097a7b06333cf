//! Calls that are started one after the other and never answered: each expires.

use super::clock::Clock;
use super::tasks::Tasks;
use crate::client::ARGUMENTS;
use crate::fed::Fed;
use std::time::Duration;

/// Of each call: polls, wakes and timers. And the polls of the driver.
pub(super) fn run(n: usize, apart: usize) -> String {
    let clock = Clock::new();
    let builder = Fed::builder().timer(clock.clone());
    let (client, driver) = pollster::block_on(builder.connect(Fed::silent())).expect("a handshake");
    let mut tasks = Tasks::with_capacity(n + 1);
    tasks.push(async move {
        let _ = driver.await;
    });
    tasks.run();
    let apart = Duration::from_millis(u64::try_from(apart).expect("a small number"));
    let before = clock.made();
    for call in 0..n {
        let start = apart * u32::try_from(call).expect("a small number");
        while clock.tick(Some(start)) {
            tasks.run();
        }
        let client = client.clone();
        tasks.push(async move {
            let error = client.call_tool("held", &*ARGUMENTS).await.expect_err("nobody answers");
            assert!(error.is_timeout(), "{error}");
        });
        tasks.run();
    }
    while !tasks.is_over(1) {
        assert!(clock.tick(None), "somebody waits");
        tasks.run();
    }
    let (polls, wakes) = tasks.from(1);
    let each = |count: f64| count / n as f64;
    let timers = clock.made() - before;
    format!(
        "{} {} {} {}",
        each(polls as f64),
        each(wakes as f64),
        each(timers as f64),
        each(tasks.of(0).0 as f64)
    )
}
