//! `Driver`: the verdict first, then the drop; panics contained; driven inline without a spawn.

mod support;

use futures::channel::oneshot;
use futures::future::FusedFuture;
use shared_fate::{Cause, Ended, Session, SupervisedExt};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::task::Poll;
use std::thread;
use support::{Script, TestWaker, no_deadlock, panic_of, script};

type Text = Session<&'static str>;
type Outcome = Result<(), &'static str>;

/// A waiter with a task of its own.
fn waiter(session: &Text) -> (TestWaker, Pin<Box<Ended<&'static str>>>) {
    let (task, mut ended) = (TestWaker::new(), Box::pin(session.ended()));
    task.pending(&mut ended);
    (task, ended)
}

#[test]
fn r01_the_verdict_is_published_before_the_driver_is_dropped() {
    type End = fn(&Text, Script<Outcome>);
    let ends: [(&str, Script<Outcome>, End); 5] = [
        ("Failed", script![Pending, Ready(Err("reset"))], |session, script| {
            let (task, mut driver) = (TestWaker::new(), pin!(session.drive(script)));
            task.pending(&mut driver);
            task.ready(&mut driver);
        }),
        ("Closed", script![Ready(Ok(()))], |session, script| {
            TestWaker::new().ready(&mut pin!(session.drive(script)));
        }),
        ("Panicked", Script::each(|_| panic!("oh")), |session, script| {
            let mut driver = pin!(session.drive(script));
            panic_of(|| TestWaker::new().poll(&mut driver));
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
fn r01_a_caller_who_sees_the_echo_can_see_the_cause() {
    // The driver owns the reply channel. The caller looks as early as can be: inside the drop that
    // makes the echo, before anything else of the driver's poll has happened.
    for outcome in [Some(Err("reset")), Some(Ok(())), None] {
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
            Some(Ok(())) => assert!(error.cause().unwrap().is_closed()),
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
    // Nobody outside can precede it: an async block drops its locals, and what it awaited, before it
    // returns. So `try_supervised` waits for that poll to be over (`rounds.rs`); who looks by other
    // means should drive the connection itself, or report from inside.
    let ended_at_the_echo = |build: &dyn Fn(Echo, Text) -> Pin<Box<dyn Future<Output = Outcome>>>| {
        let (session, seen) = (Text::new(), Arc::default());
        let (reply, _answer) = oneshot::channel();
        let inner = build(Echo(Some(reply), session.clone(), Arc::clone(&seen)), session.clone());
        TestWaker::new().ready(&mut pin!(session.drive(inner)));
        assert_eq!(session.cause().unwrap().error(), Some(&"reset"));
        let seen = *seen.lock().unwrap();
        seen.unwrap()
    };
    assert!(
        !ended_at_the_echo(&|echo, _| Box::pin(async move {
            let _connection = echo;
            Err("reset")
        })),
        "if this fails, nobody need wait any more"
    );
    assert!(
        ended_at_the_echo(&|echo, session| Box::pin(async move {
            let _connection = echo;
            session.fail("reset");
            Err("reset")
        })),
        "reported from inside"
    );
    assert!(
        ended_at_the_echo(&|echo, _| {
            let mut echo = Some(echo);
            Box::pin(std::future::poll_fn(move |_| {
                assert!(echo.as_mut().is_some());
                Poll::Ready(Err("reset"))
            }))
        }),
        "a future that keeps what it owns until it is dropped"
    );
}

#[test]
fn r06_a_drivers_output_says_how_the_session_ended() {
    let task = TestWaker::new();
    let session = Text::new();
    task.ready(&mut pin!(session.drive(script![Ready(())])));
    assert!(session.cause().unwrap().is_closed());

    let session = Text::new();
    task.ready(&mut pin!(session.drive(script![Ready(Outcome::Ok(()))])));
    assert!(session.cause().unwrap().is_closed());

    let session = Text::new();
    task.ready(&mut pin!(session.drive(script![Ready(Outcome::Err("reset"))])));
    assert_eq!(session.cause().unwrap().error(), Some(&"reset"));
}

#[test]
fn r07_close_makes_every_driver_resolve_unpolled() {
    let session = Text::new();
    let tasks = [TestWaker::new(), TestWaker::new()];
    let scripts = [(); 2].map(|()| script![Pending::<()>]);
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
        task.ready(driver);
        assert!(driver.is_terminated());
        assert_eq!((log.polls(), log.drops()), (2, 1));
        task.ready(driver);
        assert_eq!((task.wakes(), task.registered()), (1, 0));
    }
}

#[test]
fn r07_the_first_of_two_drivers_ends_the_other() {
    let session = Text::new();
    let (reader, writer) = (script![Pending::<Outcome>], script![Ready(Outcome::Err("broken pipe"))]);
    let log = reader.log();
    let task = TestWaker::new();
    let (mut reader, mut writer) = (pin!(session.drive(reader)), pin!(session.drive(writer)));
    task.pending(&mut reader);
    TestWaker::new().ready(&mut writer);
    assert_eq!(task.wakes(), 1);
    task.ready(&mut reader);
    assert_eq!((log.polls(), log.drops()), (1, 1));
    assert_eq!(session.cause().unwrap().error(), Some(&"broken pipe"));
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
                assert!(if fail { inside.fail("reset") } else { inside.close() });
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
    session.fail("before");
    let script = Script::<()>::untouched();
    let log = script.log();
    let mut driver = pin!(session.drive(script));
    TestWaker::new().ready(&mut driver);
    assert_eq!((log.polls(), log.drops()), (0, 1));
    assert_eq!(driver.session().cause().unwrap().error(), Some(&"before"));
}

#[test]
fn r06_a_runtime_that_shuts_down_tells_the_waiters() {
    type Shutdown = fn(Pin<Box<dyn Future<Output = ()> + Send>>);
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
            let script = Script::<()>::never();
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
        let driver = tokio::spawn(session.drive(Script::<()>::never()));
        tokio::task::yield_now().await;
        driver.abort();
        assert!(matches!(session.ended().await, Cause::Dropped));
        assert!(driver.await.unwrap_err().is_cancelled());
        // And one that panics is reported by its executor as any task is.
        let session = Text::new();
        let driver = tokio::spawn(session.drive(Script::<()>::each(|_| panic!("oh"))));
        assert!(matches!(session.ended().await, Cause::Panicked(_)));
        assert!(driver.await.unwrap_err().is_panic());
    });
}

#[test]
fn r07_ended_from_another_thread_while_the_driver_runs() {
    for _ in 0..100 {
        let session = Text::new();
        let polls = Arc::new(AtomicUsize::new(0));
        let script = Script::<()>::each({
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
        running.join().unwrap();
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
    let map = |output: Result<u8, u8>| output.map(drop).map_err(|_| "reset");
    let mut driver = pin!(session.drive_map(connection, map));
    let own = TestWaker::new();
    own.pending(&mut driver);
    own.ready(&mut driver);
    assert_eq!((log.polls(), log.drops()), (2, 1));
    assert_eq!(*at_drop.lock().unwrap(), Some((true, 1)), "publish, then drop");
    assert_eq!(task.ready(&mut { ended }).error(), Some(&"reset"));
}

#[test]
fn r12_a_mapping_that_panics_is_the_drivers_panic() {
    let session = Text::new();
    let mut driver = pin!(session.drive_map(script![Ready(7)], |_| -> Outcome { panic!("a bad mapping") }));
    panic_of(|| TestWaker::new().poll(&mut driver));
    assert!(matches!(session.cause(), Some(Cause::Panicked(message)) if message.as_str() == "a bad mapping"));
}

#[test]
fn r06_a_driver_that_never_ends_by_itself() {
    let session = Text::new();
    let mut driver = pin!(session.drive(async {
        loop {
            std::future::pending::<()>().await;
        }
    }));
    let task = TestWaker::new();
    task.pending(&mut driver);
    assert!(session.close());
    task.ready(&mut driver);
}
