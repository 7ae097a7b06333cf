//! What errors say (R19): the side that leads is on the chain, the other one in the text, each text once.

mod support;

use shared_fate::{Cause, Failed, Session, SupervisedExt};
use std::error::Error;
use std::fmt;
use std::io;
use std::pin::pin;
use support::{TestWaker, Why, script};

/// An error with a source.
#[derive(Debug, Clone, PartialEq)]
struct Above(&'static str, Why);

impl fmt::Display for Above {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for Above {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.1)
    }
}

/// An error that repeats its source in its own text, as many do.
#[derive(Debug)]
struct Repeats(Why);

impl fmt::Display for Repeats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the query failed: {}", self.0)
    }
}

impl Error for Repeats {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

/// A chain printer by hand.
fn print(error: &(dyn Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |&error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// A request that is pending once, then fails; its session ends in between.
fn fail<R: Error + Send + 'static, E: Error + Send + Sync + 'static>(
    request: R,
    end: impl FnOnce(&Session<E>),
) -> Failed<R, E> {
    let session = Session::new();
    let task = TestWaker::new();
    let mut request = pin!(script![Pending, Ready(Err::<(), _>(request))].try_supervised(&session));
    task.pending(&mut request);
    end(&session);
    task.ready(&mut request).unwrap_err()
}

#[track_caller]
fn says(error: &(impl Error + 'static), text: &str, texts: &[&str]) {
    assert_eq!(print(error), text);
    assert_eq!(format!("{error:#}"), text, "the alternate form prints the same");
    for part in texts {
        assert_eq!(text.matches(part).count(), 1, "{part:?} in {text:?}");
    }
}

#[test]
fn r19_a_cause_that_says_something_leads() {
    let error =
        fail(Above("db error", Why("closed")), |session| _ = session.fail(Above("i/o error", Why("reset"))));
    says(
        &error,
        "the session ended (and the request failed: db error: closed): \
         the session failed: i/o error: reset",
        &["db error", "closed", "i/o error", "reset", "the session failed"],
    );
    assert!(!error.request_leads());
    let cause = error.source().unwrap().downcast_ref::<Cause<Above>>().unwrap();
    assert_eq!(cause.source().unwrap().downcast_ref::<Above>(), error.cause().unwrap().error());
    let (request, ended) = error.into_parts();
    assert_eq!(request, Some(Above("db error", Why("closed"))));
    assert!(ended.unwrap().into_cause().is_failed());
}

#[test]
fn r19_the_requests_own_error_leads_where_the_session_ended_in_good_order() {
    for (end, told) in
        [(Cause::Closed, "the session was closed"), (Cause::Finished, "the session's driver finished")]
    {
        let error = fail::<_, Why>(Above("db error", Why("reset")), |session| _ = session.end(end));
        says(&error, &format!("the request failed ({told}): db error: reset"), &["db error", "reset", told]);
        assert!(error.request_leads());
        assert!(error.source().unwrap().downcast_ref::<Above>().is_some());
        assert!(error.cause().unwrap().is_orderly());
    }
}

#[test]
fn r19_panics_and_drops_lead() {
    let error = fail::<_, Why>(Why("closed"), |session| drop(session.drive(std::future::pending())));
    says(
        &error,
        "the session ended (and the request failed: closed): \
         the session's driver was dropped",
        &["closed", "dropped"],
    );
    let error = fail::<_, Why>(Why("closed"), |session| {
        let driver = session.drive(std::future::poll_fn(|_| panic!("oops")));
        drop(pollster::block_on(driver));
    });
    says(
        &error,
        "the session ended (and the request failed: closed): \
         the session's driver panicked: oops",
        &["closed", "oops"],
    );
}

#[test]
fn r19_a_text_that_both_sides_have_is_printed_once() {
    let error = fail(Above("broken pipe", Why("reset")), |session| _ = session.fail(Why("reset")));
    says(
        &error,
        "the session ended (and the request failed: broken pipe): \
         the session failed: reset",
        &["broken pipe", "reset"],
    );
    // The whole other side is there already.
    let error = fail(Why("reset"), |session| _ = session.fail(Above("i/o error", Why("reset"))));
    says(&error, "the session ended: the session failed: i/o error: reset", &["reset"]);
}

#[test]
fn r19_an_error_that_repeats_its_source_is_printed_once_on_the_other_side() {
    let error = fail(Repeats(Why("reset")), |session| _ = session.fail(Why("hung up")));
    says(
        &error,
        "the session ended (and the request failed: the query failed: reset): \
         the session failed: hung up",
        &["reset", "hung up"],
    );
    // On the chain it is printed as it prints itself; `{:#}` leaves the repetition out.
    let error = fail::<_, Why>(Repeats(Why("reset")), |_| {});
    assert_eq!(format!("{error:#}"), "the request failed: the query failed: reset");
    assert!(error.cause().is_none() && error.request_leads() && error.request_started());
}

#[test]
fn r19_without_an_error_of_its_own() {
    let session = Session::new();
    session.fail(io::Error::other("reset"));
    let request = async { Ok::<(), io::Error>(()) }.try_supervised(&session);
    let error: Failed<io::Error> = pollster::block_on(request).unwrap_err();
    says(
        &error,
        "the session had ended before the request was started: the session failed: reset",
        &["reset"],
    );
    assert!(!error.request_started() && error.request_error().is_none() && !error.request_leads());
    let ended = pollster::block_on(std::future::pending::<()>().supervised(&session)).unwrap_err();
    says(
        &ended,
        "the session had ended before the request was started: the session failed: reset",
        &["reset"],
    );
    says(ended.cause(), "the session failed: reset", &["reset"]);
    assert_eq!(error.into_parts().1.unwrap().request_started(), ended.request_started());
}

/// Which errors may be echoes is the caller's to say. All others wait for nothing and lead.
#[test]
fn r04_an_error_that_is_no_echo_is_the_requests_own() {
    let task = TestWaker::new();
    let session = Session::new();
    let own = script![Pending, Ready(Err::<(), _>(Why("not found")))];
    let mut request = pin!(own.try_supervised_if(&session, |error| *error == Why("closed")));
    task.pending(&mut request);
    session.fail(Why("reset"));
    let error = task.ready(&mut request).unwrap_err();
    assert!(error.request_leads());
    says(&error, "the request failed (the session failed: reset): not found", &["not found", "reset"]);
    let echo = script![Pending, Ready(Err::<(), _>(Why("closed")))];
    let session = Session::new();
    let mut request = pin!(echo.try_supervised_if(&session, |error| *error == Why("closed")));
    task.pending(&mut request);
    session.fail(Why("reset"));
    let error = task.ready(&mut request).unwrap_err();
    assert!(!error.request_leads() && error.request_error() == Some(&Why("closed")));
}

/// An error of its own is returned while a driver is being polled; one that may be an echo waits.
#[test]
fn r04_only_what_may_be_an_echo_waits_for_a_driver() {
    let session = Session::new();
    let (entered, inside) = std::sync::mpsc::channel();
    let (leave, left) = std::sync::mpsc::channel::<()>();
    let mut driver = Box::pin(session.drive(support::Script::each(move |_| {
        entered.send(()).unwrap();
        left.recv().unwrap();
        std::task::Poll::Ready(Err(Why("reset")))
    })));
    let driver = std::thread::spawn(move || pollster::block_on(driver.as_mut()));
    inside.recv().unwrap();
    let task = TestWaker::new();
    let is_echo = |error: &Why| *error == Why("closed");
    let mut own = pin!(script![Ready(Err::<(), _>(Why("not found")))].try_supervised_if(&session, is_echo));
    assert!(task.ready(&mut own).unwrap_err().cause().is_none());
    let mut echo = pin!(script![Ready(Err::<(), _>(Why("closed")))].try_supervised_if(&session, is_echo));
    task.pending(&mut echo);
    leave.send(()).unwrap();
    assert!(driver.join().unwrap().is_failed());
    assert_eq!(task.ready(&mut echo).unwrap_err().cause().unwrap().error(), Some(&Why("reset")));
}

#[test]
fn r08_causes_compare_and_convert() {
    assert_eq!(Cause::from(Why("a")), Cause::from(Box::new(Why("a"))));
    assert_ne!(Cause::from(Why("a")), Cause::from(Why("b")));
    let session = Session::<Why>::new();
    session.close();
    let one = pollster::block_on(std::future::pending::<()>().supervised(&session));
    let two = pollster::block_on(std::future::pending::<()>().supervised(&session));
    assert_eq!(one, two);
    assert_eq!(Cause::<Why>::from(one.unwrap_err()), Cause::Closed);
}

/// An error without a text leaves no colon behind.
#[test]
fn r19_an_error_without_a_text() {
    let session = Session::new();
    session.fail(Why(""));
    assert_eq!(format!("{:#}", session.cause().unwrap()), "the session failed");
    let error = fail(Above("", Why("closed")), |session| _ = session.fail(Why("reset")));
    says(
        &error,
        "the session ended (and the request failed: closed): the session failed: reset",
        &["closed", "reset"],
    );
}

/// Requests of both kinds in one function, and errors that are none.
#[test]
fn r08_question_marks_in_ordinary_places() {
    type Boxed = Box<dyn Error + Send + Sync>;
    async fn both(session: &Session<Why>) -> Result<u32, Failed<Why>> {
        let one = async { 1 }.supervised(session).await?;
        Ok(one + async { Ok::<_, Why>(2) }.try_supervised(session).await?)
    }
    async fn boxed(session: &Session<Why>) -> Result<u32, Box<dyn Error>> {
        let request = async { Err::<u32, Boxed>("not found".into()) };
        Ok(request.try_supervised(session).await.map_err(|failed| failed.map_request(io::Error::other))?)
    }
    let session = Session::new();
    assert_eq!(pollster::block_on(both(&session)), Ok(3));
    assert_eq!(pollster::block_on(boxed(&session)).unwrap_err().source().unwrap().to_string(), "not found");
    session.fail(Why("reset"));
    let error = pollster::block_on(both(&session)).unwrap_err();
    assert!(!error.request_started() && error.cause().unwrap().is_failed());
    let error =
        fail(Why("closed"), |session| _ = session.fail(Why("reset"))).map_request(|why| Above("above", why));
    assert!(!error.request_leads() && error.request_error() == Some(&Above("above", Why("closed"))));
}
