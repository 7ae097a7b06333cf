//! `Supervised` and `TrySupervised`: the request's own output, or at once the session's cause.

mod support;

use futures::channel::oneshot;
use futures::future::FusedFuture;
use shared_fate::{Cause, Failed, Session, SupervisedExt};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::Poll;
use support::{Outcome, Script, TestWaker, Why, script};

type Text = Session<Why>;

#[test]
fn r02_a_request_that_is_ready_at_once_costs_no_registration() {
    let session = Text::new();
    let request = script![Ready(7)];
    let log = request.log();
    let task = TestWaker::new();
    let mut request = pin!(request.supervised(&session));
    assert_eq!(task.ready(&mut request).unwrap(), 7);
    assert!(request.is_terminated());
    assert_eq!((log.polls(), log.drops()), (1, 1));
    assert_eq!((task.clones(), task.wakes()), (0, 0));
}

#[test]
fn r02_a_reply_that_arrives_with_the_end_is_delivered() {
    let session = Text::new();
    let (reply, request) = oneshot::channel();
    let task = TestWaker::new();
    let mut request = pin!(request.supervised(&session));
    task.pending(&mut request);
    session.fail(Why("reset"));
    reply.send(7).unwrap();
    assert_eq!(task.ready(&mut request).unwrap(), Ok(7), "the session ended first, and yet");
    // A reply that was there before the end is delivered, too.
    let session = Text::new();
    let request = script![Pending, Ready(Ok::<_, ()>(8))];
    let mut request = pin!(request.try_supervised(&session));
    task.pending(&mut request);
    session.fail(Why("reset"));
    assert_eq!(task.ready(&mut request).unwrap(), 8);
}

#[test]
fn r02_a_reply_that_arrives_while_the_request_is_polled_and_before_the_end() {
    // The request says `Pending`; then, on another thread, the reply comes, and then the end; then the
    // session is looked at. The reply was first. Here that thread's work is done inside the poll.
    for polls_before in [0, 1] {
        let session = Text::new();
        let (inside, mut polls) = (session.clone(), 0);
        let request = Script::each(move |_| {
            polls += 1;
            match polls {
                polls if polls <= polls_before => Poll::Pending,
                polls if polls == polls_before + 1 => {
                    inside.fail(Why("reset"));
                    Poll::Pending
                }
                _ => Poll::Ready(7),
            }
        });
        let log = request.log();
        let task = TestWaker::new();
        let mut request = pin!(request.supervised(&session));
        for _ in 0..polls_before {
            task.pending(&mut request);
        }
        woken_if_registered(&task, &mut request);
        assert_eq!(task.ready(&mut request).unwrap(), 7);
        assert_eq!((log.polls(), log.drops(), task.registered()), (polls_before + 2, 1, 0));
    }
}

/// An end from inside a poll is found by that poll when it registers; a request that is registered is woken.
fn woken_if_registered<F: Future>(task: &TestWaker, request: &mut Pin<&mut F>) {
    if task.registered() > 0 {
        task.pending(request);
        assert_eq!(task.wakes(), 1);
    }
}

#[test]
fn r02_pending_then_one_wake_then_the_cause() {
    let session = Text::new();
    let request = script![Pending::<u8>];
    let log = request.log();
    let task = TestWaker::new();
    let mut request = pin!(request.supervised(&session));
    for _ in 0..16 {
        task.pending(&mut request);
    }
    assert_eq!((task.clones(), task.wakes(), log.polls()), (1, 0, 16), "one registration");
    session.fail(Why("reset"));
    assert_eq!(task.wakes(), 1);
    let ended = task.ready(&mut request).unwrap_err();
    assert!(ended.request_started());
    assert_eq!(ended.into_cause().error(), Some(&Why("reset")));
    assert_eq!((log.polls(), log.drops()), (17, 1));
    assert_eq!((task.wakes(), task.registered()), (1, 0));
    assert!(request.is_terminated());
    assert!(support::panic_of(|| task.poll(&mut request)).contains("polled after completion"));
}

#[test]
fn r02_try_supervised_pends_then_one_wake_then_the_cause() {
    let session = Text::new();
    let request = script![Pending::<Result<u8, &str>>];
    let log = request.log();
    let task = TestWaker::new();
    let mut request = pin!(request.try_supervised(&session));
    task.pending(&mut request);
    assert!(!request.is_terminated());
    session.fail(Why("reset"));
    assert_eq!(task.wakes(), 1);
    let error = task.ready(&mut request).unwrap_err();
    assert_eq!(error.cause().unwrap().error(), Some(&Why("reset")));
    assert_eq!((error.request_error(), error.request_started()), (None, true));
    assert_eq!((log.polls(), log.drops(), task.wakes(), task.registered()), (2, 1, 1, 0));
    assert!(request.is_terminated());
}

#[test]
fn r03_on_a_dead_session_the_request_is_never_polled() {
    let session = Text::new();
    session.fail(Why("before"));
    let task = TestWaker::new();
    let request = Script::<u8>::untouched();
    let log = request.log();
    let ended = task.ready(&mut pin!(request.supervised(&session))).unwrap_err();
    assert!(!ended.request_started());
    assert_eq!(ended.to_string(), "the session had ended before the request was started");
    assert_eq!((log.polls(), log.drops()), (0, 1), "dropped, too, before the output is returned");

    let request = Script::<Result<u8, &str>>::untouched();
    let log = request.log();
    let error = task.ready(&mut pin!(request.try_supervised(&session))).unwrap_err();
    assert!(!error.request_started());
    assert_eq!((error.request_error(), log.polls(), log.drops()), (None, 0, 1));
    assert_eq!((task.clones(), task.wakes()), (0, 0));
}

#[test]
fn r03_a_session_that_ends_between_making_and_polling_a_request() {
    let session = Text::new();
    let mut request = pin!(Script::<u8>::untouched().supervised(&session));
    session.close();
    assert!(!TestWaker::new().ready(&mut request).unwrap_err().request_started());
}

#[test]
fn r04_the_cause_beats_its_echo_and_neither_is_lost() {
    let session = Text::new();
    let ending = session.clone();
    let task = TestWaker::new();
    let request = script![Pending].then(move |_| {
        ending.fail(Why("500 Internal Server Error"));
        Poll::Ready(Err::<u8, _>("channel closed"))
    });
    let log = request.log();
    let mut request = pin!(request.try_supervised(&session));
    task.pending(&mut request);
    let error = task.ready(&mut request).unwrap_err();
    assert_eq!(error.cause().unwrap().error(), Some(&Why("500 Internal Server Error")));
    assert_eq!(error.request_error(), Some(&"channel closed"));
    assert!(error.request_started());
    assert_eq!((log.polls(), log.drops(), task.registered()), (2, 1, 0));
}

#[test]
fn r04_a_request_that_fails_by_itself_keeps_its_error() {
    let session = Text::new();
    let task = TestWaker::new();
    let error =
        task.ready(&mut pin!(script![Ready(Err::<u8, _>("404"))].try_supervised(&session))).unwrap_err();
    assert_eq!(error.request_error(), Some(&"404"));
    assert!(error.cause().is_none() && error.session_ended().is_none() && error.request_started());
    assert!(error.request_leads());
    assert!(!session.is_ended(), "and its session lives");
    // A success is a success, whatever has become of the session.
    let mut request = pin!(script![Pending, Ready(Ok::<_, ()>(7))].try_supervised(&session));
    task.pending(&mut request);
    session.close();
    assert_eq!(task.ready(&mut request).unwrap(), 7);
}

#[test]
fn r09_the_loser_is_dropped_inside_the_poll_that_decides() {
    // Observed from the loser's drop: the output is not out yet, and the waiter is unregistered.
    let session = Text::new();
    let task = Arc::new(TestWaker::new());
    let registered = Arc::new(AtomicUsize::new(usize::MAX));
    let request = script![Pending::<u8>].on_drop({
        let (task, registered) = (Arc::clone(&task), Arc::clone(&registered));
        move || registered.store(task.registered(), SeqCst)
    });
    let mut request = Box::pin(request.supervised(&session));
    task.pending(&mut request);
    session.close();
    assert_eq!(registered.load(SeqCst), usize::MAX, "not dropped by the call that ends the session");
    let output = task.ready(&mut request);
    assert_eq!(registered.load(SeqCst), 0);
    assert!(output.is_err());
}

#[test]
fn r10_cancelling_is_dropping() {
    let session = Text::new();
    let (task, sibling_task) = (TestWaker::new(), TestWaker::new());
    let (request, sibling) = (Script::<u8>::never(), script![Pending, Ready(1)]);
    let (log, sibling_log) = (request.log(), sibling.log());
    let mut sibling = pin!(sibling.supervised(&session));
    sibling_task.pending(&mut sibling);
    {
        let mut request = pin!(request.supervised(&session));
        task.pending(&mut request);
        assert_eq!(task.registered(), 1);
    }
    assert_eq!((log.polls(), log.drops()), (1, 1));
    assert_eq!((task.registered(), task.wakes(), sibling_task.wakes()), (0, 0, 0));
    assert!(!session.is_ended());
    assert_eq!(sibling_task.ready(&mut sibling).unwrap(), 1);
    assert_eq!((sibling_log.drops(), sibling_task.registered()), (1, 0));
    session.close();
    assert_eq!((task.wakes(), sibling_task.wakes()), (0, 0), "nothing is left to wake");
}

#[test]
fn r10_a_request_that_panics_unregisters_when_it_is_dropped() {
    let session = Text::new();
    let task = TestWaker::new();
    let request = script![Pending::<u8>].then(|_| panic!("a bad request"));
    let mut request = Box::pin(request.supervised(&session));
    task.pending(&mut request);
    assert_eq!(support::panic_of(|| task.poll(&mut request)), "a bad request");
    drop(request);
    assert_eq!((task.registered(), session.is_ended()), (0, false));
}

#[test]
fn r07_a_request_that_ends_its_session_from_inside_its_own_poll() {
    for polls_before in [0, 1, 3] {
        let session = Text::new();
        let inside = session.clone();
        let mut polls = 0;
        let request = Script::<u8>::each(move |_| {
            polls += 1;
            if polls > polls_before {
                assert_eq!(inside.fail(Why("by the request")), polls == polls_before + 1);
            }
            Poll::Pending
        });
        let log = request.log();
        let task = TestWaker::new();
        let mut request = pin!(request.supervised(&session));
        for _ in 0..polls_before {
            task.pending(&mut request);
        }
        woken_if_registered(&task, &mut request);
        let ended = task.ready(&mut request).unwrap_err();
        assert!(ended.request_started());
        assert_eq!(ended.cause().error(), Some(&Why("by the request")));
        // Asked once more, since the end came while it was polled.
        assert_eq!((log.polls(), log.drops(), task.registered()), (polls_before + 2, 1, 0));
    }
}

#[test]
fn r10_a_request_may_change_tasks_while_it_waits() {
    let session = Text::new();
    let tasks = [TestWaker::new(), TestWaker::new(), TestWaker::new()];
    let mut request = Box::pin(Script::<u8>::never().supervised(session.clone()));
    for task in &tasks {
        // Each on a thread of its own: places are dealt out by thread, and kept.
        std::thread::scope(|scope| {
            let request = &mut request;
            scope.spawn(move || task.pending(request)).join().unwrap();
        });
    }
    assert_eq!(tasks.each_ref().map(TestWaker::registered), [0, 0, 1]);
    session.close();
    assert_eq!(tasks.each_ref().map(TestWaker::wakes), [0, 0, 1]);
    assert!(tasks[0].ready(&mut request).is_err());
}

#[test]
fn r08_what_a_failed_request_says() {
    use std::error::Error;
    let session = Session::<std::io::Error>::new();
    session.fail(std::io::Error::other("reset by peer"));
    let mut request = pin!(Script::<Result<(), std::fmt::Error>>::untouched().try_supervised(&session));
    let error = TestWaker::new().ready(&mut request).unwrap_err();
    let source = error.source().unwrap();
    assert!(source.downcast_ref::<Cause<std::io::Error>>().is_some());
    assert_eq!(source.source().unwrap().to_string(), "reset by peer");
    assert_eq!(error.to_string(), "the session had ended before the request was started");
    let session = Session::<std::io::Error>::new();
    let mut request = pin!(script![Ready(Err::<(), _>(std::fmt::Error))].try_supervised(&session));
    let own: Failed<std::fmt::Error, std::io::Error> = TestWaker::new().ready(&mut request).unwrap_err();
    assert_eq!(own.to_string(), "the request failed");
    assert!(own.source().unwrap().is::<std::fmt::Error>());
}

#[test]
fn r19_the_cause_leads_unless_the_end_was_orderly() {
    use std::error::Error;
    type End = fn(&Text);
    let ends: [(End, bool); 5] = [
        (|session| assert!(session.fail(Why("reset"))), false),
        (|session| drop(TestWaker::new().ready(&mut pin!(session.drive(panics())))), false),
        (|session| drop(session.drive(std::future::pending())), false),
        (|session| drop(TestWaker::new().ready(&mut pin!(session.drive(std::future::ready(Ok(())))))), true),
        (|session| assert!(session.close()), true),
    ];
    for (end, request_leads) in ends {
        let session = Text::new();
        let task = TestWaker::new();
        let mut request = pin!(script![Pending, Ready(Err::<(), _>(Why("echo")))].try_supervised(&session));
        task.pending(&mut request);
        end(&session);
        let cause = session.cause().unwrap();
        let error = task.ready(&mut request).unwrap_err();
        assert_eq!((error.request_leads(), cause.is_orderly()), (request_leads, request_leads), "{cause:?}");
        assert_eq!((error.request_error(), error.cause()), (Some(&Why("echo")), Some(&cause)));
        let source = error.source().unwrap();
        assert_eq!(source.is::<Why>(), request_leads, "{cause:?}");
        assert_eq!(source.is::<Cause<Why>>(), !request_leads, "{cause:?}");
        let (own, ended) = error.into_parts();
        assert_eq!((own, ended.unwrap().into_cause()), (Some(Why("echo")), cause));
    }
}

fn panics() -> Script<Outcome> {
    Script::each(|_| panic!("a bad driver"))
}

#[test]
fn r04_an_error_that_is_no_echo_leads_whatever_the_cause_is() {
    for ends_first in [false, true] {
        let session = Text::new();
        let (task, inside) = (TestWaker::new(), session.clone());
        let request = script![Pending].then(move |_| {
            inside.fail(Why("reset"));
            Poll::Ready(Err::<u8, _>("404"))
        });
        let mut request = pin!(request.try_supervised_if(&session, |error| *error == "channel closed"));
        task.pending(&mut request);
        if ends_first {
            session.fail(Why("reset"));
        }
        let error = task.ready(&mut request).unwrap_err();
        assert!(error.request_leads());
        assert_eq!(error.request_error(), Some(&"404"));
        assert_eq!(error.cause().unwrap().error(), Some(&Why("reset")), "and the cause goes along");
        assert_eq!(task.registered(), 0);
    }
    // An error that may be an echo is treated as `try_supervised` treats it.
    let session = Text::new();
    let (task, inside) = (TestWaker::new(), session.clone());
    let request = Script::each(move |_| {
        inside.fail(Why("reset"));
        Poll::Ready(Err::<u8, _>("channel closed"))
    });
    let mut request = pin!(request.try_supervised_if(&session, |error| *error == "channel closed"));
    let error = task.ready(&mut request).unwrap_err();
    assert!(!error.request_leads());
    assert_eq!(error.cause().unwrap().error(), Some(&Why("reset")));
}
