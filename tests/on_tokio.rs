//! The core on tokio: its channels and sockets, more than 128 requests in one task, and applications that use up
//! the budget of their task.
//!
//! tokio gives a task 128 operations a poll; after that its channels and sockets say `Pending`, whatever they hold.

mod support;

use futures::future::join_all;
use futures::stream::{FuturesUnordered, StreamExt};
use shared_fate::stream::SupervisedStreamExt;
use shared_fate::{Session, SupervisedExt};
use std::future::Future;
use std::pin::Pin;
use std::task::Poll;
use support::Why;
use tokio::sync::{mpsc, oneshot};

const CALLS: usize = 300;

type Reply = Pin<Box<dyn Future<Output = Result<usize, oneshot::error::RecvError>> + Send>>;

/// With the feature the plain request. Without it what the crate page says to do then.
fn request(reply: oneshot::Receiver<usize>) -> Reply {
    if cfg!(feature = "tokio") { Box::pin(reply) } else { Box::pin(tokio::task::unconstrained(reply)) }
}

/// How many of the calls have lost a reply that had arrived.
fn lost<T, E>(results: &[Result<T, E>]) -> usize {
    results.iter().filter(|result| result.is_err()).count()
}

/// Polls `requests` once, before the peer answers, and hands them on.
fn started<F: Future>(requests: impl Iterator<Item = F>) -> Vec<Pin<Box<F>>> {
    let mut requests: Vec<_> = requests.map(Box::pin).collect();
    for request in &mut requests {
        let cx = &mut std::task::Context::from_waker(std::task::Waker::noop());
        assert!(request.as_mut().poll(cx).is_pending());
    }
    requests
}

/// One task with many calls. `wait` is how it waits for them.
async fn calls_in_one_task<F, T, E, W>(
    supervise: impl Fn(Reply, Session<Why>) -> F,
    wait: impl FnOnce(Vec<Pin<Box<F>>>) -> W,
) -> usize
where
    F: Future<Output = Result<T, E>>,
    W: Future<Output = Vec<Result<T, E>>>,
{
    let session = Session::new();
    let (senders, replies): (Vec<_>, Vec<_>) = (0..CALLS).map(|_| oneshot::channel()).unzip();
    let calls = started(replies.into_iter().map(|reply| supervise(request(reply), session.clone())));
    // On another thread, so that the replies are there and the session has ended when the task goes on.
    let peer = std::thread::spawn(move || {
        for (number, sender) in senders.into_iter().enumerate() {
            sender.send(number).unwrap();
        }
        session.fail(Why("the peer hung up"));
    });
    peer.join().unwrap();
    let results = wait(calls).await;
    assert_eq!(results.len(), CALLS);
    lost(&results)
}

async fn unordered<F: Future>(calls: Vec<F>) -> Vec<F::Output> {
    calls.into_iter().collect::<FuturesUnordered<_>>().collect().await
}

async fn joined<F: Future>(calls: Vec<F>) -> Vec<F::Output> {
    join_all(calls).await
}

async fn select_loop<F: Future>(calls: Vec<F>) -> Vec<F::Output> {
    let mut calls: FuturesUnordered<_> = calls.into_iter().collect();
    let (_work, mut other_work) = mpsc::unbounded_channel::<()>();
    let mut results = Vec::new();
    while results.len() < CALLS {
        tokio::select! {
            biased;
            Some(()) = other_work.recv() => unreachable!("there is no other work"),
            Some(result) = calls.next() => results.push(result),
        }
    }
    results
}

/// One after the other, in the order in which they were made.
async fn in_sequence<F: Future>(calls: Vec<F>) -> Vec<F::Output> {
    let mut results = Vec::new();
    for call in calls {
        results.push(call.await);
    }
    results
}

macro_rules! r02_no_reply_is_lost {
    ($($name:ident: $supervise:ident, $wait:ident;)*) => {$(
        #[tokio::test]
        async fn $name() {
            assert_eq!(calls_in_one_task(|request, session| request.$supervise(session), $wait).await, 0);
        }
    )*};
}

r02_no_reply_is_lost! {
    r02_join_all_supervised: supervised, joined;
    r02_join_all_try_supervised: try_supervised, joined;
    r02_futures_unordered_supervised: supervised, unordered;
    r02_futures_unordered_try_supervised: try_supervised, unordered;
    r02_select_loop_supervised: supervised, select_loop;
    r02_select_loop_try_supervised: try_supervised, select_loop;
    r02_in_sequence_supervised: supervised, in_sequence;
    r02_in_sequence_try_supervised: try_supervised, in_sequence;
}

/// A supervisor that is a future, which cannot be asked again.
#[tokio::test]
async fn r02_a_future_as_the_supervisor_loses_no_reply() {
    let token = tokio_util::sync::CancellationToken::new();
    let (senders, replies): (Vec<_>, Vec<_>) = (0..CALLS).map(|_| oneshot::channel()).unzip();
    let calls = replies.into_iter().map(|reply| request(reply).supervised(token.clone().cancelled_owned()));
    let calls = started(calls);
    for (number, sender) in senders.into_iter().enumerate() {
        sender.send(number).unwrap();
    }
    token.cancel();
    assert_eq!(lost(&joined(calls).await), 0);
}

/// This is the one exception to R2, and the reason for the feature.
#[cfg(not(feature = "tokio"))]
#[tokio::test]
async fn r02_without_the_feature_a_spent_budget_loses_replies() {
    let session = Session::new();
    let (senders, replies): (Vec<_>, Vec<_>) = (0..CALLS).map(|_| oneshot::channel()).unzip();
    let calls = started(replies.into_iter().map(|reply| reply.supervised(session.clone())));
    for (number, sender) in senders.into_iter().enumerate() {
        sender.send(number).unwrap();
    }
    session.fail(Why("the peer hung up"));
    assert_eq!(lost(&joined(calls).await), CALLS - 128);
}

/// Two threads: the peer answers and hangs up while the task is at it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r02_a_peer_on_another_thread() {
    for _ in 0..20 {
        let session = Session::new();
        let (senders, replies): (Vec<_>, Vec<_>) = (0..CALLS).map(|_| oneshot::channel()).unzip();
        let ended = session.clone();
        tokio::spawn(async move {
            for (number, sender) in senders.into_iter().enumerate() {
                sender.send(number).unwrap();
            }
            ended.fail(Why("the peer hung up"));
        });
        // A request that had not been started when the session ended is not polled; all others have their reply.
        let calls = replies.into_iter().map(|reply| request(reply).supervised(&session));
        for result in join_all(calls).await {
            assert!(result.is_ok() || !result.unwrap_err().request_started());
        }
    }
}

#[tokio::test]
async fn r13_a_stream_delivers_all_items_and_then_the_cause() {
    let session = Session::new();
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let items = futures::stream::poll_fn(move |cx| receiver.poll_recv(cx));
    #[cfg(not(feature = "tokio"))]
    let items = unbudgeted(items);
    let mut items = std::pin::pin!(items.supervised(&session));
    assert!(futures::poll!(items.next()).is_pending());
    for number in 0..CALLS {
        sender.send(number).unwrap();
    }
    session.fail(Why("the peer hung up"));
    for number in 0..CALLS {
        assert_eq!(items.next().await.unwrap().unwrap(), number);
    }
    // The sender lives: what ends the stream is the session.
    let ended = items.next().await.unwrap().unwrap_err();
    assert_eq!(ended.cause().error(), Some(&Why("the peer hung up")));
    assert!(items.next().await.is_none());
    drop(sender);
}

#[tokio::test]
async fn r13_a_stream_of_results_delivers_all_items_and_then_the_cause() {
    let session = Session::new();
    let (sender, mut receiver) = mpsc::unbounded_channel::<Result<usize, Why>>();
    let items = futures::stream::poll_fn(move |cx| receiver.poll_recv(cx));
    #[cfg(not(feature = "tokio"))]
    let items = unbudgeted(items);
    let mut items = std::pin::pin!(items.try_supervised(&session));
    for number in 0..CALLS {
        sender.send(Ok(number)).unwrap();
    }
    sender.send(Err(Why("closed"))).unwrap();
    session.fail(Why("the peer hung up"));
    for number in 0..CALLS {
        assert_eq!(items.next().await.unwrap().unwrap(), number);
    }
    let failed = items.next().await.unwrap().unwrap_err();
    assert_eq!(failed.cause().unwrap().error(), Some(&Why("the peer hung up")));
    assert_eq!(failed.request_error(), Some(&Why("closed")));
    assert!(items.next().await.is_none());
}

/// What keeps a stream from losing items without the feature: each item is asked for outside of the budget.
#[cfg(not(feature = "tokio"))]
fn unbudgeted<T: futures::Stream + Unpin>(mut stream: T) -> impl futures::Stream<Item = T::Item> + Unpin {
    futures::stream::poll_fn(move |cx| {
        let next = tokio::task::unconstrained(stream.next());
        std::pin::pin!(next).poll(cx)
    })
}

/// Bytes that have arrived on 300 sockets, read by one task that has spent its budget when the session ends.
#[cfg(feature = "tokio")]
#[tokio::test]
async fn r02_bytes_that_have_arrived_on_sockets_are_not_lost() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..CALLS {
        let (one, other) = tokio::join!(TcpStream::connect(address), listener.accept());
        ours.push(one.unwrap());
        theirs.push(other.unwrap().0);
    }
    for (socket, peer) in ours.iter().zip(&mut theirs) {
        peer.write_all(&[7]).await.unwrap();
        socket.readable().await.unwrap();
    }
    let session = Session::<Why>::new();
    spend_the_budget().await;
    let read = |mut socket: TcpStream| async move { socket.read_u8().await };
    let calls = started(ours.into_iter().map(|socket| read(socket).try_supervised(&session)));
    session.fail(Why("the peer hung up"));
    assert_eq!(lost(&joined(calls).await), 0);
}

/// Spends the budget of the task that it is in.
async fn spend_the_budget() {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    for _ in 0..1_000 {
        sender.send(()).unwrap();
    }
    for _ in 0..128 {
        assert!(futures::poll!(std::pin::pin!(receiver.recv())).is_ready());
    }
    assert!(futures::poll!(std::pin::pin!(receiver.recv())).is_pending(), "the budget is spent");
}

#[test]
fn r02_a_nested_block_on_in_a_task_with_a_spent_budget_ends() {
    let nested = async {
        let session = Session::new();
        let (_sender, reply) = oneshot::channel::<usize>();
        let (_items, mut receiver) = mpsc::unbounded_channel::<usize>();
        spend_the_budget().await;
        let mut call = started([reply.supervised(&session)].into_iter()).remove(0);
        session.fail(Why("the peer hung up"));
        assert!(futures::executor::block_on(&mut call).unwrap_err().request_started());
        let items = futures::stream::poll_fn(move |cx| receiver.poll_recv(cx)).supervised(&session);
        assert!(futures::executor::block_on(std::pin::pin!(items).next()).unwrap().is_err());
    };
    support::no_deadlock(|| tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(nested));
}

/// In one task with an application that always has something to do, a driver gets its turn.
#[tokio::test]
async fn r14_a_busy_application_does_not_starve_its_driver() {
    let session = Session::<Why>::new();
    let (to_driver, mut inbox) = mpsc::unbounded_channel();
    let (first_turn, mut turns) = mpsc::unbounded_channel();
    to_driver.send(()).unwrap();
    let driver = session.drive(async move {
        inbox.recv().await.unwrap();
        first_turn.send(()).unwrap();
        std::future::pending().await
    });
    let (sender, mut queue) = mpsc::unbounded_channel();
    let app = async {
        for items in 1_usize.. {
            sender.send(()).unwrap();
            queue.recv().await.unwrap();
            if turns.try_recv().is_ok() {
                return items;
            }
            assert!(items < 200, "the driver starves");
        }
        unreachable!()
    };
    let items = driver.run_until(app).await;
    println!("the driver's first turn came after {items} items");
}

/// A driver's future that always has something to do. It panics if `other` has no turn for long.
async fn busy(other: &str) -> Result<(), Why> {
    let (sender, mut queue) = mpsc::unbounded_channel();
    for turns in 1_usize.. {
        sender.send(()).unwrap();
        queue.recv().await.unwrap();
        assert!(turns < 1_000, "{other} starves");
    }
    Ok(())
}

/// In one task with a driver that always has something to do, the application gets its turn.
#[tokio::test]
async fn r14_a_busy_driver_does_not_starve_its_application() {
    let session = Session::<Why>::new();
    let driver = session.drive(busy("the application"));
    let (answer, reply) = oneshot::channel();
    answer.send(7).unwrap();
    assert_eq!(driver.run_until(reply).await, Ok(7));
}

/// The bound of a driver that drains is heard, although the driver always has something to do.
#[tokio::test]
async fn r14_a_busy_driver_does_not_starve_the_bound_of_its_drain() {
    let session = Session::<Why>::new();
    let driver = session.drive(busy("the bound"));
    let (bound, over) = oneshot::channel();
    bound.send(()).unwrap();
    let bound = async { over.await.unwrap() };
    let ((), cause) = driver.run_until(async {}).drain_until(|| bound).await;
    assert!(cause.is_closed());
}

/// The bound is for the drain: a timer of tokio's runs from the moment in which it is made. The test turns the clock.
#[tokio::test(start_paused = true)]
async fn r21_the_bound_is_for_the_drain() {
    use tokio::time::{Duration, advance, timeout};

    let session = Session::<Why>::new();
    let (queue, mut messages) = mpsc::unbounded_channel::<u32>();
    let written = std::cell::Cell::new(0);
    let driver = session.drive(async {
        while messages.recv().await.is_some() {
            advance(Duration::from_millis(10)).await;
            written.set(written.get() + 1);
        }
        Ok(())
    });
    let app = async move {
        advance(Duration::from_secs(10)).await;
        (0..3).for_each(|number| queue.send(number).unwrap());
    };
    // It is over 5 s after this call.
    let bound = || {
        let limit = timeout(Duration::from_secs(5), std::future::pending());
        async { limit.await.unwrap_or_default() }
    };
    let ((), cause) = driver.run_until(app).drain_until(bound).await;
    assert!(cause.is_finished());
    assert_eq!(written.get(), 3);
}

/// A poll that merely waits does not ask again, whatever the budget.
#[tokio::test]
async fn r02_a_request_that_waits_is_polled_once_a_poll() {
    let session = Session::<Why>::new();
    let mut polls = 0;
    {
        let mut call = std::pin::pin!(
            std::future::poll_fn(|_| {
                polls += 1;
                Poll::<()>::Pending
            })
            .supervised(&session)
        );
        spend_the_budget().await;
        assert!(futures::poll!(call.as_mut()).is_pending());
        assert!(futures::poll!(call.as_mut()).is_pending());
    }
    assert_eq!(polls, 2);
}
