//! Every executor: a driver on one thread, two hundred requests on another.

mod support;

use futures::StreamExt;
use futures::channel::{mpsc, oneshot};
use futures::executor::{LocalPool, block_on};
use futures::future::{self, AbortHandle, Abortable, Aborted, FutureExt, join_all};
use futures::task::SpawnExt;
use shared_fate::{Cause, Session, SupervisedExt};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use support::{Outcome, Why, no_deadlock};

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// An executor: the first task on one thread, the others on another, until all are done.
type Executor = fn(Task, Vec<Task>);

const REQUESTS: usize = 200;

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Fails,
    Panics,
    Dropped,
    Finishes,
}

const ENDS: [End; 4] = [End::Fails, End::Panics, End::Dropped, End::Finishes];

/// Waits until every request is there, answers every other one, and comes to its end.
async fn connection(
    mut queue: mpsc::UnboundedReceiver<oneshot::Sender<usize>>,
    end: End,
    abort: AbortHandle,
) -> Outcome {
    let mut pending = Vec::new();
    while pending.len() < REQUESTS {
        pending.push(queue.next().await.expect("the requests are there"));
    }
    let mut left = Vec::new();
    for (number, reply) in pending.into_iter().enumerate() {
        if number % 2 == 0 {
            reply.send(number).expect("the caller waits");
        } else {
            left.push(reply);
        }
    }
    match end {
        End::Fails => Err(Why("connection reset")),
        End::Panics => panic!("a bad driver"),
        End::Dropped => {
            abort.abort();
            future::pending().await
        }
        End::Finishes => Ok(()),
    }
}

fn is(cause: &Cause<Why>, end: End) -> bool {
    match end {
        End::Fails => cause.error() == Some(&Why("connection reset")),
        End::Panics => cause.panic_message().is_some_and(|message| message.as_str() == "a bad driver"),
        End::Dropped => cause.is_dropped(),
        End::Finishes => cause.is_finished(),
    }
}

#[derive(Default)]
struct Counts {
    answered: AtomicUsize,
    ended: AtomicUsize,
}

fn request(
    session: Session<Why>,
    queue: mpsc::UnboundedSender<oneshot::Sender<usize>>,
    counts: Arc<Counts>,
    end: End,
) -> Task {
    Box::pin(async move {
        let request = async {
            let (reply, answer) = oneshot::channel();
            queue.unbounded_send(reply).expect("the driver listens");
            answer.await
        };
        match request.supervised(&session).await {
            Ok(Ok(number)) => {
                assert_eq!(number % 2, 0);
                counts.answered.fetch_add(1, SeqCst);
            }
            // An async block drops its locals, and so echoes, before it resolves; `supervised` passes
            // on what the request says. Then the verdict follows.
            Ok(Err(oneshot::Canceled)) => {
                assert!(is(&session.ended().await, end));
                counts.ended.fetch_add(1, SeqCst);
            }
            Err(ended) => {
                assert!(ended.request_started() && is(ended.cause(), end), "{end:?}: {ended:?}");
                counts.ended.fetch_add(1, SeqCst);
            }
        }
    })
}

fn body(executor: Executor) {
    for end in ENDS {
        no_deadlock(move || {
            let session = Session::new();
            let (queue, receive) = mpsc::unbounded();
            let (abort, registration) = AbortHandle::new_pair();
            let driver = session.drive(connection(receive, end, abort));
            let driver: Task = Box::pin(async move {
                // Nothing unwinds here: an aborted driver is dropped, and any other gives its cause.
                match Abortable::new(driver, registration).await {
                    Ok(cause) => assert!(is(&cause, end)),
                    Err(Aborted) => assert_eq!(end, End::Dropped),
                }
            });
            let counts = Arc::new(Counts::default());
            let requests = (0..REQUESTS)
                .map(|_| request(session.clone(), queue.clone(), Arc::clone(&counts), end))
                .collect();
            executor(driver, requests);
            assert_eq!(counts.answered.load(SeqCst), REQUESTS / 2, "an answer that was sent is delivered");
            assert_eq!(counts.ended.load(SeqCst), REQUESTS / 2);
            assert!(is(&session.cause().unwrap(), end));
        });
    }
}

#[test]
fn r14_on_tokio_with_many_threads() {
    body(|driver, requests| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        let driver = runtime.spawn(driver);
        let requests: Vec<_> = requests.into_iter().map(|request| runtime.spawn(request)).collect();
        runtime.block_on(async {
            driver.await.unwrap();
            for request in requests {
                request.await.unwrap();
            }
        });
    });
}

#[test]
fn r14_on_tokio_with_one_thread() {
    body(|driver, requests| {
        let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
        let driver = thread::spawn(move || runtime().block_on(driver));
        runtime().block_on(async {
            let requests: Vec<_> = requests.into_iter().map(tokio::spawn).collect();
            for request in requests {
                request.await.unwrap();
            }
        });
        driver.join().unwrap();
    });
}

#[test]
fn r14_on_smol() {
    body(|driver, requests| {
        let executor = Arc::new(smol::Executor::new());
        let (stop, stopped) = smol::channel::unbounded::<()>();
        let threads = [(); 2].map(|()| {
            let (executor, stopped) = (Arc::clone(&executor), stopped.clone());
            thread::spawn(move || smol::block_on(executor.run(stopped.recv())).unwrap_err())
        });
        let tasks: Vec<_> =
            std::iter::once(driver).chain(requests).map(|task| executor.spawn(task)).collect();
        smol::block_on(join_all(tasks));
        drop(stop);
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

#[test]
fn r14_on_the_executors_of_futures() {
    body(|driver, requests| {
        let driver = thread::spawn(move || block_on(driver));
        let mut pool = LocalPool::new();
        for request in requests {
            pool.spawner().spawn(request).unwrap();
        }
        pool.run();
        driver.join().unwrap();
    });
}

#[test]
fn r14_on_pollster() {
    body(|driver, requests| {
        let driver = thread::spawn(move || pollster::block_on(driver));
        pollster::block_on(join_all(requests));
        driver.join().unwrap();
    });
}

#[test]
fn r14_on_no_executor_with_the_driver_in_the_same_task() {
    for end in ENDS {
        no_deadlock(move || {
            let session = Session::new();
            let (queue, receive) = mpsc::unbounded();
            let (abort, registration) = AbortHandle::new_pair();
            let driver = Abortable::new(connection(receive, end, abort), registration);
            // Nothing outside can drop a driver that runs inline, so the abort is a way to finish here.
            let driver = session.drive(driver.map(|result| result.unwrap_or(Ok(()))));
            let counts = Arc::new(Counts::default());
            let seen = if end == End::Dropped { End::Finishes } else { end };
            let requests =
                (0..REQUESTS).map(|_| request(session.clone(), queue.clone(), Arc::clone(&counts), seen));
            pollster::block_on(driver.run_until(join_all(requests)));
            assert_eq!(counts.answered.load(SeqCst), REQUESTS / 2);
            assert_eq!(counts.ended.load(SeqCst), REQUESTS / 2);
        });
    }
}
