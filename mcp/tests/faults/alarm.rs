//! The one alarm for the deadlines of all calls: it wakes whose time is up, and hardly anybody else; and
//! nobody's deadline depends on another call's task.

use crate::check::on;
use crate::fault::clock::Clock;
use crate::fault::lines::{normal, pair};
use crate::fault::run::once;
use shared_fate_mcp::{CallOptions, Client, Error};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A call that is never answered, with a limit.
fn held(client: &Client, limit: Duration) -> Pin<Box<dyn Future<Output = Result<(), Error>>>> {
    let client = client.with_options(CallOptions::timeout(limit));
    Box::pin(async move { client.call_tool("held", ()).await.map(drop) })
}

/// Notes which call is woken.
struct Wakes {
    call: usize,
    woken: Arc<Mutex<Vec<usize>>>,
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.woken.lock().unwrap().push(self.call);
    }
}

/// How often each of `n` calls, that expire so many milliseconds apart, is polled after its first time, and how often it
/// is woken.
async fn polls_and_wakes(n: usize, apart: u64) -> (f64, f64) {
    let (stdio, _server) = pair(normal);
    let clock = Clock::new();
    let (client, _driver) = on(&clock).connect(stdio).await.unwrap();
    let woken = Arc::new(Mutex::new(Vec::new()));
    let waker = |call| Waker::from(Arc::new(Wakes { call, woken: Arc::clone(&woken) }));
    let limits = (1..=n as u64).map(|call| millis(apart * call));
    let mut calls: Vec<_> =
        limits.enumerate().map(|(n, limit)| Some((waker(n), held(&client, limit)))).collect();
    for call in &mut calls {
        let (waker, call) = call.as_mut().unwrap();
        assert!(call.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
    }
    // A timer may take a millisecond more.
    clock.advance(millis(1));
    let (mut polls, mut wakes) = (0, 0);
    for now in 1..=n {
        clock.advance(millis(apart));
        loop {
            let mut woken = std::mem::take(&mut *woken.lock().unwrap());
            if woken.is_empty() {
                break;
            }
            wakes += woken.len();
            woken.sort_unstable();
            woken.dedup();
            for place in woken {
                let Some((waker, call)) = &mut calls[place] else { continue };
                polls += 1;
                if let Poll::Ready(result) = call.as_mut().poll(&mut Context::from_waker(waker)) {
                    assert!(result.unwrap_err().is_timeout());
                    assert!(apart * (place as u64 + 1) <= apart * now as u64 + 1, "call {place} is early");
                    calls[place] = None;
                }
            }
        }
        assert!(calls[now - 1].is_none(), "call {now} is late");
    }
    (f64::from(polls) / n as f64, wakes as f64 / n as f64)
}

#[test]
fn liv_23_deadlines_one_after_the_other_wake_no_crowd_however_many_there_are() {
    once(async |_| {
        let (few, _) = polls_and_wakes(1_000, 10).await;
        for (n, apart) in [(1_000, 10), (8_000, 10), (8_000, 1)] {
            let (polls, wakes) = polls_and_wakes(n, apart).await;
            let what = format!("{n} calls, {apart} ms apart: {polls:.2} polls and {wakes:.2} wakes each");
            eprintln!("{what}");
            // One for each deadline, and one when the alarm goes off for the first time.
            assert!(polls <= 3.0 && wakes <= 3.0 && (polls / few - 1.0).abs() <= 0.2, "{what}");
        }
    });
}

/// Remembers that it was woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A call in a task of its own.
struct Task {
    call: Pin<Box<dyn Future<Output = Result<(), Error>>>>,
    woken: Arc<Woken>,
}

impl Task {
    fn new(client: &Client, limit: Duration) -> Self {
        let woken = Arc::new(Woken(AtomicUsize::new(1)));
        Self { call: held(client, limit), woken }
    }

    /// Polls the call if it was woken, and returns whether it has timed out.
    fn run(&mut self) -> bool {
        if self.woken.0.swap(0, Ordering::SeqCst) == 0 {
            return false;
        }
        let waker = Waker::from(Arc::clone(&self.woken));
        match self.call.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Pending => false,
            Poll::Ready(result) => result.unwrap_err().is_timeout(),
        }
    }
}

/// Runs calls with limits of 1 s, 2 s and so on beside one with a limit of half a second, and returns when each has
/// timed out, in milliseconds. After the first deadline the calls that are `stuck` are polled no more; at their own
/// deadline they are dropped, or kept.
async fn times_beside(stuck: &[usize], dropped: bool) -> [Option<u64>; 5] {
    let (stdio, _server) = pair(normal);
    let clock = Clock::new();
    let (client, _driver) = on(&clock).connect(stdio).await.unwrap();
    let mut first = Task::new(&client, millis(500));
    let limits = [1000, 2000, 3000, 4000, 5000];
    let mut tasks = limits.map(|limit| Some(Task::new(&client, millis(limit))));
    let mut ended = [None; 5];
    for now in (0..=5500).step_by(50) {
        clock.advance(millis(if now == 0 { 1 } else { 50 }));
        first.run();
        for (n, slot) in tasks.iter_mut().enumerate() {
            let Some(task) = slot else { continue };
            if now >= 600 && stuck.contains(&n) {
                if dropped && now >= limits[n] {
                    *slot = None;
                }
            } else if task.run() {
                ended[n] = Some(now);
                *slot = None;
            }
        }
    }
    ended
}

#[test]
fn liv_23_a_task_that_is_stuck_keeps_no_other_call_from_its_deadline() {
    once(async |_| {
        // Each may be the call that watches the clock for the others.
        for stuck in [[0, 1], [0, 2], [1, 2], [1, 3], [2, 3]] {
            for dropped in [false, true] {
                let times = times_beside(&stuck, dropped).await;
                for (n, time) in times.iter().enumerate().filter(|(n, _)| !stuck.contains(n)) {
                    let limit = 1000 * (n as u64 + 1);
                    let in_time = time.is_some_and(|time| (limit..=limit + 300).contains(&time));
                    assert!(in_time, "{limit}: {time:?} beside {stuck:?}, dropped: {dropped}");
                }
            }
        }
    });
}
