//! How often a caller gets the root cause when its driver dies on another thread.
//!
//! A driver fails with a cause, and its reply channel goes down with it: the echo. In half of the runs it
//! answers first, and that answer must not be lost. `cargo bench --bench echo -- [<runs>]`

use futures::channel::oneshot;
use futures::future::{Either, FutureExt, select};
use shared_fate::{Session, SupervisedExt};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What the driver fails with.
#[derive(Clone, Debug)]
struct InternalServerError;

impl std::fmt::Display for InternalServerError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("500 Internal Server Error")
    }
}

impl std::error::Error for InternalServerError {}

/// What the caller got.
#[derive(Clone, Copy, PartialEq)]
enum Got {
    Cause,
    Echo,
    Reply,
}

/// A connection as people write them: an async block that owns its pending reply.
async fn connection(
    started: Arc<AtomicBool>,
    reply: oneshot::Sender<u8>,
    answers: bool,
) -> Result<(), InternalServerError> {
    while !started.load(Ordering::SeqCst) {
        tokio::task::yield_now().await;
    }
    let reply = match answers {
        true => {
            let _ = reply.send(7);
            None
        }
        false => Some(reply),
    };
    let result = Err(InternalServerError);
    // An async block drops what it owns before it returns.
    drop(reply);
    result
}

/// The request: tells the driver that a reply is awaited, and awaits it.
async fn request(started: Arc<AtomicBool>, reply: oneshot::Receiver<u8>) -> Result<u8, oneshot::Canceled> {
    started.store(true, Ordering::SeqCst);
    reply.await
}

fn of_reply(reply: Result<u8, oneshot::Canceled>) -> Got {
    if reply.is_ok() { Got::Reply } else { Got::Echo }
}

/// One run on this runtime; whether the driver answers before it fails.
type Strategy = fn(&tokio::runtime::Runtime, bool) -> Got;

fn main() {
    // Under `cargo test` nobody wants to wait.
    let usual = if std::env::args().any(|argument| argument == "--bench") { 10_000 } else { 20 };
    let runs = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(usual);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let strategies: [(&str, Strategy); 4] = [
        ("select(request, join_handle.shared())", |runtime, answers| {
            let (driver, call) = pair(answers);
            let driver = runtime.spawn(driver).map(|joined| joined.unwrap()).shared();
            match pollster::block_on(select(pin!(call), driver)) {
                Either::Left((reply, _)) => of_reply(reply),
                Either::Right(_) => Got::Cause,
            }
        }),
        ("select(join_handle.shared(), request)", |runtime, answers| {
            let (driver, call) = pair(answers);
            let driver = runtime.spawn(driver).map(|joined| joined.unwrap()).shared();
            match pollster::block_on(select(driver, pin!(call))) {
                Either::Left(_) => Got::Cause,
                Either::Right((reply, _)) => of_reply(reply),
            }
        }),
        ("request.supervised(&session)", |runtime, answers| {
            let (driver, call) = pair(answers);
            let session = Session::new();
            runtime.spawn(session.drive(driver));
            match pollster::block_on(call.supervised(&session)) {
                Ok(reply) => of_reply(reply),
                Err(_) => Got::Cause,
            }
        }),
        ("request.try_supervised(&session)", |runtime, answers| {
            let (driver, call) = pair(answers);
            let session = Session::new();
            runtime.spawn(session.drive(driver));
            match pollster::block_on(call.try_supervised(&session)) {
                Ok(_) => Got::Reply,
                Err(error) if error.cause().is_some_and(|cause| cause.error().is_some()) => Got::Cause,
                Err(_) => Got::Echo,
            }
        }),
    ];
    println!("{runs} runs each, driver and caller on two threads\n");
    println!("| the caller uses | gets the cause | loses a reply that had arrived |");
    println!("|---|---|---|");
    for (name, strategy) in strategies {
        let count = |answers, wanted: fn(Got) -> bool| {
            (0..runs).filter(|_| wanted(strategy(&runtime, answers))).count() as f64 * 100.0 / f64::from(runs)
        };
        let caused = count(false, |got| got == Got::Cause);
        let lost = count(true, |got| got != Got::Reply);
        println!("| `{name}` | {caused:.2} % | {lost:.2} % |");
        if name.contains("try_supervised") {
            assert!(caused == 100.0 && lost == 0.0, "the promise of the crate");
        }
    }
}

type Call = std::pin::Pin<Box<dyn Future<Output = Result<u8, oneshot::Canceled>> + Send>>;
type Connection = std::pin::Pin<Box<dyn Future<Output = Result<(), InternalServerError>> + Send>>;

fn pair(answers: bool) -> (Connection, Call) {
    let started = Arc::new(AtomicBool::new(false));
    let (sender, receiver) = oneshot::channel();
    (Box::pin(connection(Arc::clone(&started), sender, answers)), Box::pin(request(started, receiver)))
}
