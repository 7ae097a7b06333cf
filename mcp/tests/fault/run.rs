//! One test body, every executor, both ways of driving.

use shared_fate_mcp::Driver;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// A body that takes longer has failed. Tests for windows mostly run under wine, where everything is slow.
pub(crate) const PATIENCE: Duration = Duration::from_secs(if cfg!(windows) { 300 } else { 30 });

/// What a body runs on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    executor: Executor,
    /// The driver is spawned; else it is polled beside the body.
    spawned: bool,
    /// Sockets and pipes are tokio's.
    tokio_io: bool,
}

thread_local! {
    static TOKIO_IO: Cell<bool> = const { Cell::new(false) };
}

/// Whether the body that runs on this thread is to use sockets and pipes of tokio's.
pub(crate) fn on_tokio_io() -> bool {
    TOKIO_IO.get()
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Executor {
    TokioMulti,
    TokioCurrent,
    Smol,
    Futures,
    Pollster,
}

impl Run {
    const ALL: &'static [Self] = &[
        Self::new(Executor::TokioMulti, true),
        Self::new(Executor::TokioMulti, false),
        Self::new(Executor::TokioCurrent, true),
        Self::new(Executor::TokioCurrent, false),
        Self::new(Executor::Smol, true),
        Self::new(Executor::Smol, false),
        Self::new(Executor::Futures, false),
        Self::new(Executor::Pollster, false),
        #[cfg(feature = "tokio")]
        Self { tokio_io: true, ..Self::new(Executor::TokioMulti, true) },
        #[cfg(feature = "tokio")]
        Self { tokio_io: true, ..Self::new(Executor::TokioCurrent, false) },
    ];

    const fn new(executor: Executor, spawned: bool) -> Self {
        Self { executor, spawned, tokio_io: false }
    }

    /// Runs `app` and the driver. A spawned driver must come to its end after `app`.
    pub(crate) async fn drive<T>(self, driver: Driver, app: impl Future<Output = T>) -> T {
        match self.executor {
            _ if !self.spawned => driver.run_until(app).await,
            Executor::TokioMulti | Executor::TokioCurrent => {
                let task = tokio::spawn(driver);
                let output = app.await;
                task.await.unwrap();
                output
            }
            _ => {
                let task = smol::spawn(driver);
                let output = app.await;
                task.await;
                output
            }
        }
    }

    fn block_on(self, body: impl Future<Output = ()>) {
        TOKIO_IO.set(self.tokio_io);
        let tokio = |mut builder: tokio::runtime::Builder| {
            // Elsewhere the runtime is without I/O and timers: the client needs none of tokio's.
            if self.tokio_io {
                builder.enable_all();
            }
            builder.worker_threads(2).build().unwrap()
        };
        match self.executor {
            Executor::TokioMulti => tokio(tokio::runtime::Builder::new_multi_thread()).block_on(body),
            Executor::TokioCurrent => tokio(tokio::runtime::Builder::new_current_thread()).block_on(body),
            Executor::Smol => smol::block_on(body),
            Executor::Futures => futures::executor::block_on(body),
            Executor::Pollster => pollster::block_on(body),
        }
    }
}

/// Runs `body` on every executor, the driver spawned where that is possible and beside it.
pub(crate) fn everywhere(body: impl AsyncFn(Run) + Send + 'static) {
    on(Run::ALL, body);
}

/// Runs `body` once, on an executor that has neither timers nor I/O.
pub(crate) fn once(body: impl AsyncFn(Run) + Send + 'static) {
    on(&const { [Run::new(Executor::Pollster, false)] }, body);
}

/// Runs `body` on tokio's thread pool, the driver spawned: drivers and calls in different threads.
pub(crate) fn in_parallel(body: impl AsyncFn(Run) + Send + 'static) {
    on(&const { [Run::new(Executor::TokioMulti, true)] }, body);
}

fn on(runs: &'static [Run], body: impl AsyncFn(Run) + Send + 'static) {
    let (done, results) = mpsc::channel();
    thread::spawn(move || {
        for run in runs {
            let result = catch_unwind(AssertUnwindSafe(|| run.block_on(body(*run))));
            let failed = result.is_err();
            let _ = done.send(result);
            if failed {
                return;
            }
        }
    });
    for run in runs {
        match results.recv_timeout(PATIENCE) {
            Ok(Ok(())) => {}
            Ok(Err(panic)) => {
                eprintln!("the test failed on {run:?}");
                resume_unwind(panic);
            }
            Err(RecvTimeoutError::Timeout) => panic!("the test hangs on {run:?}"),
            Err(RecvTimeoutError::Disconnected) => panic!("the test's thread is gone"),
        }
    }
}
