//! `Driver`: the verdict first, then the drop; what its end means.

mod support;

use futures::channel::oneshot;
use futures::future::FusedFuture;
use shared_fate::{Cause, Session, SupervisedExt};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::task::Poll;
use std::thread;
use support::{Outcome, Script, TestWaker, Why, no_deadlock, script, waiter};

type Text = Session<Why>;

#[test]
fn r01_the_verdict_is_published_before_the_driver_is_dropped() {
    type End = fn(&Text, Script<Outcome>);
    let ends: [(&str, Script<Outcome>, End); 5] = [
        ("Failed", script![Pending, Ready(Err(Why("reset")))], |session, script| {
            let (task, mut driver) = (TestWaker::new(), pin!(session.drive(script)));
            task.pending(&mut driver);
            task.ready(&mut driver);
        }),
        ("Finished", script![Ready(Ok(()))], |session, script| {
            TestWaker::new().ready(&mut pin!(session.drive(script)));
        }),
        ("Panicked", Script::each(|_| panic!("oh")), |session, script| {
            TestWaker::new().ready(&mut pin!(session.drive(script)));
        }),
        ("Dropped", Script::never(), |session, script| drop(session.drive(script))),
        ("Closed", Script::never(), |session, script| {
            let (task, mut driver) = (TestWaker::new(), pin!(session.drive(script)));
            task.pending(&mut driver);
            session.close();
            task.ready(&mut driver);
        }),
    ];
    for (name, script, end) in ends {
        let session = Text::new();
        let (task, mut ended) = waiter(&session);
        let task = Arc::new(task);
        let at_drop = Arc::new(Mutex::new(None));
        let script = script.on_drop({
            let (session, task, at_drop) = (session.clone(), Arc::clone(&task), Arc::clone(&at_drop));
            move || *at_drop.lock().unwrap() = Some((session.cause(), task.wakes()))
        });
        let log = script.log();
        end(&session, script);
        assert_eq!(log.drops(), 1, "{name}: dropped before `poll` returns");
        let (cause, wakes) = at_drop.lock().unwrap().take().unwrap();
        assert!(format!("{:?}", cause.unwrap()).starts_with(name), "{name}: published");
        assert_eq!((wakes, task.wakes()), (1, 1), "{name}: the waiters were woken before, and once");
        assert!(format!("{:?}", task.ready(&mut ended)).starts_with(name));
    }
}

#[test]
fn r01_a_caller_that_sees_the_echo_can_see_the_cause() {
    // The driver owns the reply channel. The caller looks as early as can be: inside the drop that
    // makes the echo, before anything else of the driver's poll has happened.
    for outcome in [Some(Err(Why("reset"))), Some(Ok(())), None] {
        let session = Text::new();
        let (reply, answer) = oneshot::channel::<u8>();
        let task = TestWaker::new();
        let mut request = Box::pin(answer.try_supervised(session.clone()));
        task.pending(&mut request);
        let (tell, seen) = mpsc::channel();
        let script = outcome.map_or_else(Script::never, |outcome| script![Ready(outcome)]);
        let mut driver = Box::pin(session.drive(script.on_drop(move || {
            drop(reply);
            tell.send(task.ready(&mut request)).unwrap();
        })));
        if outcome.is_some() {
            TestWaker::new().ready(&mut driver);
        }
        drop(driver);
        let error = seen.try_recv().unwrap().unwrap_err();
        assert_eq!(error.request_error(), Some(&oneshot::Canceled), "this is the echo");
        match outcome {
            Some(Err(text)) => assert_eq!(error.cause().unwrap().error(), Some(&text)),
            Some(Ok(())) => assert!(error.cause().unwrap().is_finished()),
            None => assert!(matches!(error.cause(), Some(Cause::Dropped))),
        }
    }
}

/// Drops a reply sender and looks, right then, at what a caller could see.
struct Echo(Option<oneshot::Sender<u8>>, Text, Arc<Mutex<Option<bool>>>);

impl Drop for Echo {
    fn drop(&mut self) {
        self.0 = None;
        *self.2.lock().unwrap() = Some(self.1.is_ended());
    }
}

#[test]
fn r01_what_a_driver_drops_inside_its_last_poll_precedes_the_verdict() {
    // Nothing outside can precede it: an async block drops its locals, and what it awaited, before it
    // returns. So `try_supervised` waits for that poll to be over (`turns.rs`). Code that looks by other
    // means should drive the connection itself, or report from inside.
    let ended_at_the_echo = |build: &dyn Fn(Echo, Text) -> Pin<Box<dyn Future<Output = Outcome>>>| {
        let (session, seen) = (Text::new(), Arc::default());
        let (reply, _answer) = oneshot::channel();
        let inner = build(Echo(Some(reply), session.clone(), Arc::clone(&seen)), session.clone());
        TestWaker::new().ready(&mut pin!(session.drive(inner)));
        assert_eq!(session.cause().unwrap().error(), Some(&Why("reset")));
        let seen = *seen.lock().unwrap();
        seen.unwrap()
    };
    assert!(
        !ended_at_the_echo(&|echo, _| Box::pin(async move {
            let _connection = echo;
            Err(Why("reset"))
        })),
        "if this fails, no request need wait any more"
    );
    assert!(
        ended_at_the_echo(&|echo, session| Box::pin(async move {
            let _connection = echo;
            session.fail(Why("reset"));
            Err(Why("reset"))
        })),
        "reported from inside"
    );
    assert!(
        ended_at_the_echo(&|echo, _| {
            let mut echo = Some(echo);
            Box::pin(std::future::poll_fn(move |_| {
                assert!(echo.as_mut().is_some());
                Poll::Ready(Err(Why("reset")))
            }))
        }),
        "a future that keeps what it owns until it is dropped"
    );
}

#[test]
fn r06_a_drivers_output_says_how_the_session_ended() {
    let task = TestWaker::new();
    let session = Text::new();
    let cause = task.ready(&mut pin!(session.drive(script![Ready(Ok(()))])));
    assert_eq!((&cause, session.cause()), (&Cause::Finished, Some(cause.clone())));
    assert!(!cause.is_closed(), "a driver that finished is no owner that closed");

    let session = Text::new();
    let cause = task.ready(&mut pin!(session.drive(script![Ready(Err(Why("reset")))])));
    assert_eq!((cause.error(), session.cause()), (Some(&Why("reset")), Some(cause.clone())));
}

#[test]
fn r18_a_monitored_driver_that_is_done_ends_nothing() {
    let task = TestWaker::new();
    let session = Text::new();
    let (waiting, mut ended) = waiter(&session);
    let script = script![Ready(Ok(()))];
    let log = script.log();
    let mut driver = pin!(session.monitor(script));
    assert_eq!(task.ready(&mut driver), Cause::Finished, "the driver's own end");
    assert!(driver.is_terminated());
    assert_eq!((log.polls(), log.drops()), (1, 1));
    assert!(!session.is_ended());
    assert_eq!((waiting.wakes(), waiting.registered()), (0, 1));
    // When the session ends, a driver that is polled again gives its cause.
    session.fail(Why("later"));
    assert_eq!(task.ready(&mut driver).error(), Some(&Why("later")));
    assert_eq!(waiting.ready(&mut ended).error(), Some(&Why("later")));

    // Every other end is as with `drive`.
    let session = Text::new();
    assert_eq!(
        task.ready(&mut pin!(session.monitor(script![Ready(Err(Why("reset")))]))).error(),
        Some(&Why("reset"))
    );
    let session = Text::new();
    assert!(task.ready(&mut pin!(session.monitor(Script::each(|_| panic!("oh"))))).is_panicked());
    let session = Text::new();
    drop(session.monitor(Script::never()));
    assert_eq!(session.cause(), Some(Cause::Dropped));
}

#[test]
fn r20_a_mapping_says_what_a_drivers_end_means() {
    let task = TestWaker::new();
    let end = |cause: Option<Cause<Why>>| {
        let session = Text::new();
        let output = task.ready(&mut pin!(session.drive_map(script![Ready(())], |()| cause)));
        (output, session.cause())
    };
    assert_eq!(end(Some(Cause::Finished)), (Cause::Finished, Some(Cause::Finished)));
    let gone = Cause::from(Why("the connection is gone"));
    assert_eq!(end(Some(gone.clone())), (gone.clone(), Some(gone)));
    assert_eq!(end(None), (Cause::Finished, None), "done");
}

#[test]
fn r07_close_makes_every_driver_resolve_unpolled() {
    let session = Text::new();
    let tasks = [TestWaker::new(), TestWaker::new()];
    let scripts = [(); 2].map(|()| script![Pending::<Outcome>]);
    let logs = scripts.each_ref().map(Script::log);
    let mut drivers = scripts.map(|script| Box::pin(session.drive(script)));
    for (task, driver) in tasks.iter().zip(&mut drivers) {
        task.pending(driver);
        task.pending(driver);
        assert_eq!(task.clones(), 1, "registered once");
    }
    assert!(session.close());
    assert_eq!(tasks.each_ref().map(TestWaker::wakes), [1, 1]);
    for ((task, driver), log) in tasks.iter().zip(&mut drivers).zip(&logs) {
        assert!(!driver.is_terminated());
        assert!(task.ready(driver).is_closed());
        assert!(driver.is_terminated());
        assert_eq!((log.polls(), log.drops()), (2, 1));
        assert!(task.ready(driver).is_closed());
        assert_eq!((task.wakes(), task.registered()), (1, 0));
    }
}

#[test]
fn r07_the_first_of_two_drivers_ends_the_other() {
    let session = Text::new();
    let (reader, writer) = (script![Pending::<Outcome>], script![Ready(Outcome::Err(Why("broken pipe")))]);
    let log = reader.log();
    let task = TestWaker::new();
    let (mut reader, mut writer) = (pin!(session.drive(reader)), pin!(session.drive(writer)));
    task.pending(&mut reader);
    TestWaker::new().ready(&mut writer);
    assert_eq!(task.wakes(), 1);
    task.ready(&mut reader);
    assert_eq!((log.polls(), log.drops()), (1, 1));
    assert_eq!(session.cause().unwrap().error(), Some(&Why("broken pipe")));
}

#[test]
fn r07_a_driver_that_ends_its_session_from_inside_its_poll() {
    for (polls_before, fail) in [(0, false), (0, true), (2, false), (2, true)] {
        let session = Text::new();
        let inside = session.clone();
        let mut polls = 0;
        let script = Script::<Outcome>::each(move |_| {
            polls += 1;
            if polls > polls_before {
                assert!(if fail { inside.fail(Why("reset")) } else { inside.close() });
            }
            Poll::Pending
        });
        let log = script.log();
        let (task, mut ended) = waiter(&session);
        let own = TestWaker::new();
        let mut driver = pin!(session.drive(script));
        for _ in 0..polls_before {
            own.pending(&mut driver);
        }
        own.ready(&mut driver);
        assert_eq!((log.polls(), log.drops()), (polls_before + 1, 1));
        assert_eq!(task.ready(&mut ended).is_closed(), !fail);
        assert_eq!((task.wakes(), own.registered()), (1, 0));
    }
}

#[test]
fn r07_a_driver_of_an_ended_session_is_never_polled() {
    let session = Text::new();
    session.fail(Why("before"));
    let script = Script::<Outcome>::untouched();
    let log = script.log();
    let mut driver = pin!(session.drive(script));
    assert_eq!(TestWaker::new().ready(&mut driver).error(), Some(&Why("before")));
    assert_eq!((log.polls(), log.drops()), (0, 1));
    assert_eq!(driver.session().cause().unwrap().error(), Some(&Why("before")));
}

#[test]
fn r06_a_runtime_that_shuts_down_tells_the_waiters() {
    type Shutdown = fn(Pin<Box<dyn Future<Output = Cause<Why>> + Send>>);
    let multi_thread: Shutdown = |driver| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let (started, wait) = mpsc::channel();
        runtime.spawn(async move {
            started.send(()).unwrap();
            driver.await;
        });
        wait.recv().unwrap();
        drop(runtime);
    };
    let current_thread: Shutdown = |driver| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.spawn(driver);
        runtime.block_on(tokio::task::yield_now());
        drop(runtime);
    };
    let smol: Shutdown = |driver| {
        let executor = smol::Executor::new();
        executor.spawn(driver).detach();
        assert!(executor.try_tick());
        drop(executor);
    };
    let never_polled: Shutdown = |driver| {
        let executor = smol::Executor::new();
        executor.spawn(driver).detach();
        drop(executor);
    };
    for shutdown in [multi_thread, current_thread, smol, never_polled] {
        no_deadlock(move || {
            let session = Text::new();
            let mut waiters: Vec<_> = (0..100).map(|_| waiter(&session)).collect();
            let script = Script::<Outcome>::never();
            let log = script.log();
            let outside = session.clone();
            // Its waiters are in another thread; its requests would be, too.
            let driver = Box::pin(session.drive(script));
            thread::spawn(move || shutdown(driver)).join().unwrap();
            assert!(matches!(outside.cause(), Some(Cause::Dropped)));
            assert_eq!(log.drops(), 1);
            for (task, ended) in &mut waiters {
                assert_eq!(task.wakes(), 1);
                assert!(matches!(task.ready(ended), Cause::Dropped));
            }
        });
    }
}

#[test]
fn r06_an_aborted_driver_task_is_a_dropped_driver() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let session = Text::new();
        let driver = tokio::spawn(session.drive(Script::<Outcome>::never()));
        tokio::task::yield_now().await;
        driver.abort();
        assert!(matches!(session.ended().await, Cause::Dropped));
        assert!(driver.await.unwrap_err().is_cancelled());
        // A driver that panics is no task that panics: the executor gets the cause.
        let session = Text::new();
        let driver = tokio::spawn(session.drive(Script::<Outcome>::each(|_| panic!("oh"))));
        assert!(matches!(session.ended().await, Cause::Panicked(_)));
        assert!(driver.await.unwrap().is_panicked());
    });
}

#[test]
fn r07_ended_from_another_thread_while_the_driver_runs() {
    for _ in 0..100 {
        let session = Text::new();
        let polls = Arc::new(AtomicUsize::new(0));
        let script = Script::<Outcome>::each({
            let polls = Arc::clone(&polls);
            move |cx| {
                polls.fetch_add(1, SeqCst);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        });
        let log = script.log();
        let driver = session.drive(script);
        let running = thread::spawn(move || pollster::block_on(driver));
        while polls.load(SeqCst) < 3 {
            thread::yield_now();
        }
        session.close();
        assert!(running.join().unwrap().is_closed());
        assert_eq!((log.polls(), log.drops()), (polls.load(SeqCst), 1));
    }
}

#[test]
fn r01_a_mapped_driver_is_kept_until_the_verdict_is_out() {
    let session = Text::new();
    let (task, ended) = waiter(&session);
    let task = Arc::new(task);
    let at_drop = Arc::new(Mutex::new(None));
    let connection = script![Pending, Ready(Err::<u8, _>(7))].on_drop({
        let (session, task, at_drop) = (session.clone(), Arc::clone(&task), Arc::clone(&at_drop));
        move || *at_drop.lock().unwrap() = Some((session.is_ended(), task.wakes()))
    });
    let log = connection.log();
    let map = |output: Result<u8, u8>| output.err().map(|_| Why("reset").into());
    let mut driver = pin!(session.drive_map(connection, map));
    let own = TestWaker::new();
    own.pending(&mut driver);
    assert_eq!(own.ready(&mut driver).error(), Some(&Why("reset")));
    assert_eq!((log.polls(), log.drops()), (2, 1));
    assert_eq!(*at_drop.lock().unwrap(), Some((true, 1)), "publish, then drop");
    assert_eq!(task.ready(&mut { ended }).error(), Some(&Why("reset")));
}

#[test]
fn r12_a_mapping_that_panics_is_the_drivers_panic() {
    let session = Text::new();
    let mut driver = pin!(session.drive_map(script![Ready(7)], |_| panic!("a bad mapping")));
    let cause = TestWaker::new().ready(&mut driver);
    assert_eq!(cause.panic_message().unwrap().as_str(), "a bad mapping");
    assert_eq!(session.cause(), Some(cause));
}

#[test]
fn r06_a_driver_that_never_ends_by_itself() {
    let session = Text::new();
    let task = TestWaker::new();
    // R20: the session's type is known, so this infers.
    let mut driver = pin!(session.drive(async {
        loop {
            std::future::pending::<Outcome>().await?;
        }
    }));
    task.pending(&mut driver);
    let mut idle = pin!(session.drive(std::future::pending()));
    task.pending(&mut idle);
    // The output of a future that never resolves needs no meaning.
    let mut endless = pin!(session.drive_map(std::future::pending::<u8>(), |_| None));
    task.pending(&mut endless);
    assert!(session.close());
    assert!(task.ready(&mut driver).is_closed());
    assert!(task.ready(&mut idle).is_closed());
    assert!(task.ready(&mut endless).is_closed());
}
