//! What happened to others: the bug history of `futures::Shared` and of tokio's own wakers, and the
//! measured baselines of drivers in the wild. Each test opens with the story, then shows our types.

mod support;

use futures::FutureExt;
use futures::channel::{mpsc, oneshot};
use shared_fate::{Cause, Session, Supervised, SupervisedExt};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use support::{Outcome, Script, TestWaker, Why, no_deadlock, panic_of, script};

type Text = Session<Why>;

#[test]
fn futures_rs_2706_a_wake_during_one_waiters_poll_is_not_spent_on_it() {
    // Shared: its inner future wakes while A polls it. B polls meanwhile and gets `Pending`. A, told to
    // poll again, is dropped instead; the wake was A's, and B sleeps for ever.
    // Ours: nobody polls for anybody. The session ends while A polls; A is dropped before it polls
    // again; B has its own place in the table and its own wake.
    let session = Text::new();
    let (a_task, b_task) = (TestWaker::new(), TestWaker::new());
    let mut b = pin!(Script::<u8>::never().supervised(&session));
    let b_polls = Arc::new(AtomicUsize::new(0));
    {
        let ending = session.clone();
        let b_polls = Arc::clone(&b_polls);
        let (b, b_task) = (&mut b, &b_task);
        let a = async move {
            // Inside A's poll: B polls and waits, then the end comes.
            b_task.pending(b);
            b_polls.fetch_add(1, SeqCst);
            ending.fail(Why("reset"));
            std::future::pending::<u8>().await
        };
        let mut a = Box::pin(a);
        a_task.pending(&mut a);
        drop(a);
    }
    assert_eq!((b_polls.load(SeqCst), b_task.wakes()), (1, 1));
    assert_eq!(b_task.ready(&mut b).unwrap_err().cause().error(), Some(&Why("reset")));
}

#[test]
fn futures_rs_2706_a_lost_branch_beside_a_driver_polled_inline() {
    // A lost branch, with the driver in the picture: the application drops the branch that was woken (a
    // timeout, a lost `select`), in the task that also polls the driver.
    // Ours: `run_until` polls the driver whatever branch the application takes.
    let session = Text::new();
    let (reply, answer) = oneshot::channel::<u8>();
    let mut reply = Some(reply);
    let mut polls = 0;
    let driver = session.drive(Script::<Outcome>::each(move |cx| {
        polls += 1;
        match polls {
            1 => cx.waker().wake_by_ref(),
            2 => reply.take().unwrap().send(7).unwrap(),
            _ => {}
        }
        Poll::Pending
    }));
    let app = async {
        let lost = session.ended().now_or_never();
        assert!(lost.is_none());
        let mut branch = Box::pin(std::future::pending::<u8>().supervised(&session));
        assert!(futures::poll!(&mut branch).is_pending());
        drop(branch);
        answer.supervised(&session).await
    };
    let task = TestWaker::new();
    let mut run = pin!(driver.run_until(app));
    task.pending(&mut run);
    assert_eq!(task.wakes(), 1, "the driver's own");
    // Now it is the driver's turn to go first, so this poll finds the reply that it brings.
    assert_eq!(task.ready(&mut run).unwrap().unwrap(), 7);
    assert_eq!(task.wakes(), 2, "the reply");
}

#[test]
fn futures_rs_304_and_339_the_waiter_that_polled_last_is_dropped() {
    // Shared: the inner future holds the waker of the clone that polled it last. That clone is
    // dropped; the inner future's wake goes to a task that has lost interest, the others hang.
    // Ours: the driver holds its own task's waker. Requests come and go without taking it along.
    let session = Text::new();
    let (send, mut receive) = mpsc::unbounded::<()>();
    let driver_task = TestWaker::new();
    let mut driver = pin!(session.drive(async move {
        while futures::StreamExt::next(&mut receive).await.is_some() {}
        Err(Why("end of input"))
    }));
    driver_task.pending(&mut driver);
    let tasks = [TestWaker::new(), TestWaker::new(), TestWaker::new()];
    let mut requests = tasks.each_ref().map(|_| Box::pin(Script::<u8>::never().supervised(&session)));
    for (task, request) in tasks.iter().zip(&mut requests) {
        task.pending(request);
    }
    let [first, second, last] = requests;
    drop(last);
    drop(send);
    assert_eq!(driver_task.wakes(), 1);
    driver_task.ready(&mut driver);
    assert_eq!(tasks.each_ref().map(TestWaker::wakes), [1, 1, 0]);
    for (task, mut request) in tasks.iter().zip([first, second]) {
        assert_eq!(task.ready(&mut request).unwrap_err().cause().error(), Some(&Why("end of input")));
    }
}

#[test]
fn futures_rs_330_a_waiter_that_is_held_but_not_polled_starves_nobody() {
    // Shared: a task holds a clone in a branch that it does not poll. The clone was the one elected to
    // drive the inner future; nobody else may, and everybody starves.
    // Ours: nobody is elected. A request that is woken and never polled again is its own loss.
    let session = Text::new();
    let (idle_task, task) = (TestWaker::new(), TestWaker::new());
    let mut idle = Box::pin(Script::<u8>::never().supervised(&session));
    let mut request = pin!(Script::<u8>::never().supervised(&session));
    idle_task.pending(&mut idle);
    task.pending(&mut request);
    TestWaker::new().ready(&mut pin!(session.drive(script![Ready(Err(Why("reset")))])));
    assert_eq!((idle_task.wakes(), task.wakes()), (1, 1));
    assert!(task.ready(&mut request).is_err());
    drop(idle);
}

#[test]
fn futures_rs_2136_a_driver_that_always_wakes_itself_yields() {
    // Shared (#2130, #2136): the inner future wakes itself in every poll; `Shared::poll` polled again
    // at once, and again, and never returned to the executor.
    // Ours: one poll of `Driver` or `run_until` is one poll of the inner future, and of the application.
    let session = Text::new();
    let busy = || {
        Script::<Outcome>::each(|cx| {
            cx.waker().wake_by_ref();
            Poll::Pending
        })
    };
    let task = TestWaker::new();
    let script = busy();
    let log = script.log();
    let mut driver = pin!(session.drive(script));
    for polls in 1..=3 {
        task.pending(&mut driver);
        assert_eq!((log.polls(), task.wakes()), (polls, polls));
    }
    let session = Text::new();
    let (script, app) = (busy(), script![Pending, Pending, Ready(7)]);
    let (log, app_log) = (script.log(), app.log());
    let mut run = pin!(session.drive(script).run_until(app));
    task.pending(&mut run);
    task.pending(&mut run);
    assert_eq!((log.polls(), app_log.polls()), (2, 2));
    assert_eq!(task.ready(&mut run), 7);
    // A request that always wakes itself neither spins nor hides the end.
    let session = Text::new();
    let mut request = pin!(busy().supervised(&session));
    task.pending(&mut request);
    session.close();
    assert!(task.ready(&mut request).is_err());
}

#[test]
fn futures_rs_2852_what_returns_ready_does_not_wake_itself() {
    // Shared: the poll that completes the inner future wakes every registered waiter, the poller's own
    // task too, which is then polled after it is done.
    // Ours: a driver that resolves has left the table before the end is published.
    for outcome in [Ok(()), Err(Why("reset"))] {
        let session = Text::new();
        let (own, other) = (TestWaker::new(), TestWaker::new());
        let mut ended = pin!(session.ended());
        other.pending(&mut ended);
        let mut driver = pin!(session.drive(script![Pending, Pending, Ready(outcome)]));
        own.pending(&mut driver);
        own.pending(&mut driver);
        own.ready(&mut driver);
        assert_eq!((own.wakes(), other.wakes()), (0, 1));
        assert_eq!((own.registered(), own.clones()), (0, 1));
    }
    // By panic, and by `run_until`, whose application is done while the driver waits.
    let session = Text::new();
    let own = TestWaker::new();
    let mut driver = pin!(session.drive(script![Pending::<Outcome>].then(|_| panic!("oh"))));
    own.pending(&mut driver);
    assert!(own.ready(&mut driver).is_panicked());
    assert_eq!(own.wakes(), 0);
    let session = Text::new();
    let mut run = pin!(session.drive(Script::<Outcome>::never()).run_until(script![Pending, Ready(7)]));
    own.pending(&mut run);
    assert_eq!(own.ready(&mut run), 7);
    assert_eq!((own.wakes(), own.registered()), (0, 0));
}

#[test]
fn futures_rs_2261_a_waiter_made_polled_and_dropped_within_one_poll() {
    // Shared: a clone made, polled and dropped inside one poll of its task takes the task's waker with
    // it; the original, polled before, is never told.
    // Ours: a place in the table belongs to one future. The short-lived one takes its own away.
    let session = Text::new();
    let task = TestWaker::new();
    let mut polled_once = false;
    let mut kept = pin!(Script::<u8>::never().supervised(&session));
    let mut both = pin!(std::future::poll_fn(|cx| {
        if !std::mem::replace(&mut polled_once, true) {
            assert!(kept.as_mut().poll(cx).is_pending());
        }
        let mut short = pin!(session.ended());
        match short.as_mut().poll(cx) {
            Poll::Ready(_) => kept.as_mut().poll(cx),
            Poll::Pending => Poll::Pending,
        }
    }));
    task.pending(&mut both);
    assert_eq!((task.clones(), task.registered()), (2, 1));
    session.fail(Why("reset"));
    assert_eq!(task.wakes(), 1);
    assert!(task.ready(&mut both).is_err());
}

#[test]
fn future_shared_rs_a_waiter_dropped_from_inside_the_drivers_poll() {
    // `future_shared.rs`: the inner future drops a clone of its own `Shared` inside its poll.
    // Ours: the driver drops a request of its session, and then ends, all inside one poll.
    no_deadlock(|| {
        type Request = Pin<Box<Supervised<Script<u8>, Text>>>;
        let session = Text::new();
        let slot: Arc<Mutex<Option<Request>>> = Arc::default();
        let (task, sibling_task) = (TestWaker::new(), TestWaker::new());
        let mut request = Box::pin(Script::never().supervised(session.clone()));
        let mut sibling = pin!(Script::<u8>::never().supervised(&session));
        task.pending(&mut request);
        sibling_task.pending(&mut sibling);
        *slot.lock().unwrap() = Some(request);
        let inside = Arc::clone(&slot);
        let mut driver = pin!(session.drive(Script::each(move |_| {
            *inside.lock().unwrap() = None;
            Poll::Ready(Err(Why("reset")))
        })));
        TestWaker::new().ready(&mut driver);
        assert_eq!((task.wakes(), task.registered(), sibling_task.wakes()), (0, 0, 1));
        assert!(sibling_task.ready(&mut sibling).is_err());
    });
}

#[test]
fn tokio_5429_a_waker_whose_drop_calls_back_is_replaced() {
    // tokio: `Notified` is polled with a second waker; the first one is dropped under the list's lock,
    // and its drop notifies: deadlock.
    // Ours: the old waker is dropped after the lock.
    no_deadlock(|| {
        let session = Text::new();
        let (first, second) = (
            TestWaker::on_drop({
                let session = session.clone();
                move || {
                    session.fail(Why("from a waker's drop"));
                }
            }),
            TestWaker::new(),
        );
        let mut ended = pin!(session.ended());
        first.pending(&mut ended);
        second.pending(&mut ended);
        assert_eq!((first.registered(), second.wakes()), (0, 1));
        assert_eq!(second.ready(&mut ended).error(), Some(&Why("from a waker's drop")));
    });
}

#[test]
fn m01_a_driver_bound_to_a_name_and_never_polled() {
    // tokio-postgres: `let (client, _connection) = …`: the query hangs for ever, `is_closed()` says
    // false. No library can poll for its user; what we can do is `#[must_use]`, an end as soon as the
    // name goes out of scope, and `run_until`, which leaves nothing to forget.
    let session = Text::new();
    let task = TestWaker::new();
    let mut request = pin!(Script::<u8>::never().supervised(&session));
    {
        let _driver = session.drive(Script::<Outcome>::untouched());
        task.pending(&mut request);
    }
    assert_eq!(task.wakes(), 1);
    assert!(matches!(task.ready(&mut request).unwrap_err().cause(), Cause::Dropped));
}

#[test]
fn m11_a_request_stranded_in_a_queue_whose_receiver_is_gone() {
    // tokio: the receiver is dropped between `reserve` and `send`. The send is a silent success and the
    // reply stays pending until the last `Sender` is dropped.
    let (send, receive) = tokio::sync::mpsc::channel::<oneshot::Sender<u8>>(1);
    let permit = send.clone().try_reserve_owned().unwrap();
    let session = Text::new();
    let driver = session.drive(Script::<Outcome>::never().on_drop(move || drop(receive)));
    let (reply, answer) = oneshot::channel();
    drop(driver);
    permit.send(reply);
    assert!(send.is_closed());

    let mut answer = pin!(answer);
    TestWaker::new().pending(&mut answer); // this is the hang
    let ended = TestWaker::new().ready(&mut pin!(answer.try_supervised(&session))).unwrap_err();
    assert!(matches!(ended.cause(), Some(Cause::Dropped)));

    // And where the request was waiting before.
    let (send, receive) = tokio::sync::mpsc::channel::<oneshot::Sender<u8>>(1);
    let permit = send.clone().try_reserve_owned().unwrap();
    let session = Text::new();
    let driver = session.drive(Script::<Outcome>::never().on_drop(move || drop(receive)));
    let (reply, answer) = oneshot::channel();
    let task = TestWaker::new();
    let mut request = pin!(answer.try_supervised(&session));
    task.pending(&mut request);
    drop(driver);
    permit.send(reply);
    assert_eq!(task.wakes(), 1);
    assert!(matches!(task.ready(&mut request).unwrap_err().cause(), Some(Cause::Dropped)));
    drop(send);
}

#[test]
fn m13_panic_of_the_driver_wakes_the_other_waiter_and_unwinds_in_no_caller() {
    // Shared as the driver: it panics while waiter A polls it. The panic unwinds in A, a caller; B is
    // woken 0 times and hangs.
    let cx = &mut Context::from_waker(Waker::noop());
    let peer = Script::<u8>::each(|_| panic!("the peer sent garbage")).shared();
    let mut a = pin!(peer.clone());
    assert_eq!(panic_of(|| a.as_mut().poll(cx)), "the peer sent garbage");

    // Ours, with the driver in a task of its own.
    let session = Text::new();
    let tasks = [TestWaker::new(), TestWaker::new()];
    let (mut a, mut b) =
        (pin!(Script::<u8>::never().supervised(&session)), pin!(Script::<u8>::never().supervised(&session)));
    tasks[0].pending(&mut a);
    tasks[1].pending(&mut b);
    let mut driver = pin!(session.drive(Script::<Outcome>::each(|_| panic!("the peer sent garbage"))));
    assert!(TestWaker::new().ready(&mut driver).is_panicked());
    assert_eq!(tasks.each_ref().map(TestWaker::wakes), [1, 1]);
    for (task, ended) in [(&tasks[0], tasks[0].ready(&mut a)), (&tasks[1], tasks[1].ready(&mut b))] {
        let Cause::Panicked(message) = ended.unwrap_err().into_cause() else { panic!("another cause") };
        assert_eq!((message.as_str(), task.wakes()), ("the peer sent garbage", 1));
    }

    // And polled inline by A's task: A is a caller, and gets a cause, not the panic.
    let session = Text::new();
    let mut b = pin!(Script::<u8>::never().supervised(&session));
    tasks[1].pending(&mut b);
    let app = Script::<u8>::never().supervised(&session);
    let driver = session.drive(Script::<Outcome>::each(|_| panic!("the peer sent garbage")));
    let mut a = pin!(driver.run_until(app));
    tasks[0].pending(&mut a);
    assert_eq!(tasks.each_ref().map(TestWaker::wakes), [2, 2]);
    assert!(matches!(tasks[0].ready(&mut a).unwrap_err().cause(), Cause::Panicked(_)));
    assert!(matches!(tasks[1].ready(&mut b).unwrap_err().cause(), Cause::Panicked(_)));
}
