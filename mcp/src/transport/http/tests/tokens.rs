//! One replacement for all whose token is refused (SEC-05), poll by poll.

use super::super::tokens::{Token, TokenProvider, Tokens};
use crate::error::{Error, ErrorKind, HttpError, IoStage};
use crate::runtime::timer::BoxFuture;
use futures::channel::oneshot;
use futures::task::noop_waker;
use std::error::Error as StdError;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

type Answer = Result<String, Box<dyn StdError + Send + Sync>>;

/// Whether a token was refused, and where the next goes.
type Question = (bool, oneshot::Sender<Answer>);

/// Gives what the test says, when it says so.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<Vec<Question>>>);

impl TokenProvider for Script {
    fn token<'a>(&'a self, refused: Option<&'a HttpError>) -> BoxFuture<'a, Answer> {
        let (sender, answer) = oneshot::channel();
        self.0.lock().unwrap().push((refused.is_some(), sender));
        Box::pin(async { answer.await.expect("the test answers") })
    }
}

impl Script {
    /// What was asked and is not answered: whether for a refused token.
    fn asked(&self) -> Vec<bool> {
        self.0.lock().unwrap().iter().map(|(refused, _)| *refused).collect()
    }

    fn give(&self, answer: Answer) {
        let (_, sender) = self.0.lock().unwrap().remove(0);
        let _ = sender.send(answer);
    }
}

#[derive(Debug, PartialEq)]
struct Locked;

impl fmt::Display for Locked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the keyring is locked")
    }
}

impl StdError for Locked {}

fn poll<T>(future: &mut Pin<Box<impl Future<Output = T> + ?Sized>>) -> Poll<T> {
    future.as_mut().poll(&mut Context::from_waker(&noop_waker()))
}

fn ready<T>(future: &mut Pin<Box<impl Future<Output = T> + ?Sized>>) -> T {
    match poll(future) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it is pending"),
    }
}

fn refusal() -> HttpError {
    HttpError {
        status: 401,
        retry_after: None,
        www_authenticate: Vec::new(),
        challenges: Vec::new(),
        location: None,
        body: String::new(),
        rpc: None,
    }
}

fn first(tokens: &Tokens, script: &Script) -> Token {
    let mut get = Box::pin(tokens.get());
    assert!(poll(&mut get).is_pending());
    script.give(Ok("old".to_owned()));
    ready(&mut get).unwrap_or_else(|error| panic!("{error:#}"))
}

fn text(token: Result<Token, Error>) -> String {
    let token = token.unwrap_or_else(|error| panic!("{error:#}"));
    assert!(token.value.is_sensitive());
    token.value.to_str().unwrap().to_owned()
}

fn locked(token: Result<Token, Error>) {
    let Err(error) = token else { panic!("a token") };
    assert!(matches!(error.kind(), ErrorKind::Io(io) if io.stage() == IoStage::Credentials));
    assert_eq!(error.source().unwrap().downcast_ref(), Some(&Locked), "the provider's own");
}

#[test]
fn sec_05_refusals_at_the_same_time_share_one_replacement() {
    let (script, answer) = (Script::default(), refusal());
    let tokens = Tokens::new(script.clone());
    let refused = first(&tokens, &script);
    let clone = tokens.clone();
    let mut first = Box::pin(tokens.replace(&refused, &answer));
    let mut others: Vec<_> = (0..8).map(|_| Box::pin(clone.replace(&refused, &answer))).collect();
    assert!(poll(&mut first).is_pending());
    assert!(others.iter_mut().all(|it| poll(it).is_pending()));
    assert_eq!(script.asked(), [true], "once");
    script.give(Ok("new".to_owned()));
    // Whoever is polled carries it on: the one that began may be kept and not polled.
    for it in &mut others {
        assert_eq!(text(ready(it)), "Bearer new");
    }
    assert_eq!(text(ready(&mut first)), "Bearer new");
    assert_eq!(script.asked(), [] as [bool; 0]);
    // Who is told late that the old one was refused asks for the present one.
    let mut late = Box::pin(tokens.replace(&refused, &answer));
    assert!(poll(&mut late).is_pending());
    assert_eq!(script.asked(), [false]);
    script.give(Ok("newer".to_owned()));
    let newer = ready(&mut late).unwrap_or_else(|error| panic!("{error:#}"));
    // And that one may be refused, too.
    let mut again = Box::pin(tokens.replace(&newer, &answer));
    assert!(poll(&mut again).is_pending());
    assert_eq!(script.asked(), [true]);
}

#[test]
fn sec_05_a_failure_is_shared_too_and_the_next_refusal_tries_again() {
    let (script, answer) = (Script::default(), refusal());
    let tokens = Tokens::new(script.clone());
    let refused = first(&tokens, &script);
    let mut leads = Box::pin(tokens.replace(&refused, &answer));
    let mut follows = Box::pin(tokens.replace(&refused, &answer));
    assert!(poll(&mut leads).is_pending() && poll(&mut follows).is_pending());
    script.give(Err(Box::new(Locked)));
    locked(ready(&mut leads));
    locked(ready(&mut follows));
    let mut again = Box::pin(tokens.replace(&refused, &answer));
    assert!(poll(&mut again).is_pending());
    assert_eq!(script.asked(), [true]);
    script.give(Ok("two\r\nlines".to_owned()));
    let Err(error) = ready(&mut again) else { panic!("a token") };
    assert!(matches!(error.kind(), ErrorKind::InvalidInput(_)));
}

#[test]
fn sec_05_a_replacement_goes_on_as_long_as_somebody_waits() {
    let (script, answer) = (Script::default(), refusal());
    let tokens = Tokens::new(script.clone());
    let refused = first(&tokens, &script);
    let mut began = Box::pin(tokens.replace(&refused, &answer));
    let mut second = Box::pin(tokens.replace(&refused, &answer));
    let mut third = Box::pin(tokens.replace(&refused, &answer));
    assert!(poll(&mut began).is_pending() && poll(&mut second).is_pending() && poll(&mut third).is_pending());
    drop(began);
    assert!(poll(&mut second).is_pending() && poll(&mut third).is_pending());
    assert_eq!(script.asked(), [true], "the others carry it on, and nothing is asked twice");
    drop((second, third));
    script.0.lock().unwrap().clear();
    let mut anew = Box::pin(tokens.replace(&refused, &answer));
    assert!(poll(&mut anew).is_pending());
    assert_eq!(script.asked(), [true], "given up with the last of them, and begun anew");
    script.give(Ok("new".to_owned()));
    assert_eq!(text(ready(&mut anew)), "Bearer new");
}

#[test]
fn sec_05_a_provider_that_panics_strands_nobody() {
    struct Panics(Script, Mutex<bool>);
    impl TokenProvider for Panics {
        fn token<'a>(&'a self, refused: Option<&'a HttpError>) -> BoxFuture<'a, Answer> {
            match refused.is_some() && std::mem::take(&mut *self.1.lock().unwrap()) {
                true => Box::pin(async { panic!("as planned") }),
                false => self.0.token(refused),
            }
        }
    }
    let (script, answer) = (Script::default(), refusal());
    let tokens = Tokens::new(Panics(script.clone(), Mutex::new(true)));
    let refused = first(&tokens, &script);
    let mut leads = Box::pin(tokens.replace(&refused, &answer));
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| poll(&mut leads).is_pending()));
    panicked.unwrap_err();
    let mut next = Box::pin(tokens.replace(&refused, &answer));
    assert!(poll(&mut next).is_pending());
    script.give(Ok("new".to_owned()));
    assert_eq!(text(ready(&mut next)), "Bearer new");
}
