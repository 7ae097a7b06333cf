//! Unit tests of `oauth::flights`, polled by hand: who begins a flight, who joins it, who carries it on, and when it is
//! given up.

use super::*;
use crate::error::AuthError;
use crate::oauth::account::{Account, Credentials};
use crate::oauth::run::Run;
use crate::oauth::{
    AuthErrorKind, MemoryStore, OAuth, OAuthTimeouts, StoreGuard, StoreKey, Stored, Swapped, TokenStore,
};
use crate::protocol::oauth::config::Why;
use crate::runtime::BoxFuture;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

const URL: &str = "http://127.0.0.1:1/mcp";

/// A store whose loads end when the test opens the gate.
#[derive(Default)]
struct Gated {
    store: MemoryStore,
    loads: AtomicUsize,
    /// How many loads fail, from the first.
    failing: AtomicUsize,
    gate: Arc<Mutex<(bool, Vec<Waker>)>>,
}

impl Gated {
    fn open(&self) {
        let waiting = {
            let mut gate = self.gate.lock();
            gate.0 = true;
            std::mem::take(&mut gate.1)
        };
        waiting.into_iter().for_each(Waker::wake);
    }
}

impl TokenStore for Gated {
    fn load<'a>(&'a self, key: &'a StoreKey) -> BoxFuture<'a, Result<Option<Stored>, BoxError>> {
        let fails = self.loads.fetch_add(1, Ordering::SeqCst) < self.failing.load(Ordering::SeqCst);
        let gate = Arc::clone(&self.gate);
        Box::pin(async move {
            poll_fn(|cx| {
                let mut gate = gate.lock();
                if gate.0 {
                    return Poll::Ready(());
                }
                gate.1.push(cx.waker().clone());
                Poll::Pending
            })
            .await;
            if fails { Err("it is not there".into()) } else { self.store.load(key).await }
        })
    }

    fn swap<'a>(
        &'a self,
        key: &'a StoreKey,
        old: Option<&'a Stored>,
        new: Option<&'a Stored>,
    ) -> BoxFuture<'a, Result<Swapped, BoxError>> {
        self.store.swap(key, old, new)
    }

    fn lock<'a>(&'a self, key: &'a StoreKey) -> BoxFuture<'a, Result<StoreGuard, BoxError>> {
        self.store.lock(key)
    }
}

/// Counts its wakes.
#[derive(Default)]
struct Task(AtomicUsize);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Task {
    fn poll<T>(self: &Arc<Self>, future: &mut Pin<Box<impl Future<Output = T> + ?Sized>>) -> Poll<T> {
        let waker = Waker::from(Arc::clone(self));
        future.as_mut().poll(&mut Context::from_waker(&waker))
    }

    fn wakes(&self) -> usize {
        self.0.swap(0, Ordering::SeqCst)
    }

    fn is_registered(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) > 1
    }
}

fn account() -> (Arc<Gated>, OAuth, Arc<Account>) {
    let store = Arc::new(Gated::default());
    let oauth = OAuth::builder().store(Arc::clone(&store)).build();
    let account = oauth.account(URL);
    (store, oauth, account)
}

fn connect() -> EngineConfig {
    EngineConfig::default()
}

async fn credentials(account: &Account) -> Result<Credentials, AuthError> {
    account.credentials(&connect, &|_| ()).await
}

#[test]
fn oa_72_whoever_comes_during_a_flight_waits_for_it() {
    let (store, _oauth, account) = account();
    let (one, other) = (Arc::<Task>::default(), Arc::<Task>::default());
    let (mut first, mut second) = (Box::pin(credentials(&account)), Box::pin(credentials(&account)));
    assert!(one.poll(&mut first).is_pending() && other.poll(&mut second).is_pending());
    assert_eq!(store.loads.load(Ordering::SeqCst), 1);
    // The one who began it is not polled before the other one.
    store.open();
    assert_eq!((one.wakes(), other.wakes()), (1, 1));
    assert!(matches!(other.poll(&mut second), Poll::Ready(Ok(found)) if found.authorization.is_none()));
    assert!(matches!(one.poll(&mut first), Poll::Ready(Ok(_))));
    assert_eq!(store.loads.load(Ordering::SeqCst), 1);
    assert!(account.flights.table.lock().flying.is_empty());
}

#[test]
fn oa_74_a_driver_carries_on_a_flight_that_all_have_left() {
    let (store, _oauth, account) = account();
    let (task, driver) = (Arc::<Task>::default(), Arc::<Task>::default());
    let watch = |_: Seen<'_>| ();
    let mut carrying = Box::pin(account.carry(&watch));
    assert!(driver.poll(&mut carrying).is_pending());
    let mut waiting = Box::pin(credentials(&account));
    assert!(task.poll(&mut waiting).is_pending());
    assert_eq!(driver.wakes(), 1, "a flight has begun");
    assert!(driver.poll(&mut carrying).is_pending());
    drop(waiting);
    assert!(!task.is_registered(), "whoever goes leaves nothing behind");
    store.open();
    assert_eq!(driver.wakes(), 1);
    assert!(driver.poll(&mut carrying).is_pending());
    assert!(account.tokens.state.lock().is_loaded && account.flights.table.lock().flying.is_empty());
    drop(carrying);
    assert!(!driver.is_registered() && account.flights.table.lock().idle.is_empty());
}

#[test]
fn oa_74_without_a_driver_the_next_caller_carries_the_flight_on() {
    let (store, _oauth, account) = account();
    let task = Arc::<Task>::default();
    let mut waiting = Box::pin(credentials(&account));
    assert!(task.poll(&mut waiting).is_pending());
    drop(waiting);
    store.open();
    let mut next = Box::pin(credentials(&account));
    assert!(task.poll(&mut next).is_ready());
    assert_eq!(store.loads.load(Ordering::SeqCst), 1, "the flight was carried on, not begun again");
}

#[test]
fn oa_74_with_the_last_handle_a_flight_is_gone() {
    let (store, oauth, account) = account();
    let mut waiting = Box::pin({
        let account = Arc::clone(&account);
        async move { credentials(&account).await }
    });
    assert!(Arc::<Task>::default().poll(&mut waiting).is_pending());
    drop((waiting, account));
    assert_eq!(Arc::strong_count(&store.gate), 2, "the handle keeps the flight");
    drop(oauth);
    assert_eq!(Arc::strong_count(&store.gate), 1);
}

#[test]
fn oa_74_a_flight_that_stands_still_is_given_up_later_while_a_person_is_asked() {
    let (_store, _oauth, account) = account();
    let timeouts = &account.tokens.parts.timeouts;
    let longest = timeouts.flow + timeouts.store * 4;
    let began = Instant::now();
    assert_eq!(account.flights.stale(began, None, false), began + longest);
    assert_eq!(account.flights.stale(began, None, true), began + longest + timeouts.person);
    let answered = began + timeouts.person;
    assert_eq!(account.flights.stale(began, Some(answered), false), answered + longest);
    assert_eq!(
        account.flights.stale(answered, Some(began), false),
        answered + longest,
        "a person's answer to an earlier flight does not count"
    );
}

#[test]
fn oa_74_a_flight_that_stands_still_is_given_up_even_if_somebody_waits_without_polling() {
    let (store, _oauth, account) = account();
    let (idle, task) = (Arc::<Task>::default(), Arc::<Task>::default());
    let (mut first, mut second) = (Box::pin(credentials(&account)), Box::pin(credentials(&account)));
    assert!(idle.poll(&mut first).is_pending());
    let held = Arc::strong_count(&store.gate);
    let timeouts = &account.tokens.parts.timeouts;
    let longest = timeouts.flow + timeouts.store * 4;
    account.flights.table.lock().flying[0].began -= longest;
    assert!(task.poll(&mut second).is_pending());
    assert_eq!(store.loads.load(Ordering::SeqCst), 2, "a second flight has begun");
    assert_eq!(Arc::strong_count(&store.gate), held, "what the first flight held is free");
    assert_eq!(idle.wakes(), 1);
    assert!(idle.poll(&mut first).is_pending(), "the first waiter waits for the second flight");
    store.open();
    assert!(task.poll(&mut second).is_ready() && idle.poll(&mut first).is_ready());
    assert_eq!(store.loads.load(Ordering::SeqCst), 2);
}

#[test]
fn oa_68_of_events_that_nobody_takes_the_oldest_are_lost() {
    let (_store, _oauth, account) = account();
    for number in 0..=64 {
        let issuer = number.to_string();
        let lost = account.tokens.state.lock().tell(AuthEvent::Refreshed { issuer });
        assert_eq!(lost.is_some(), number == 64);
    }
    let events = account.tokens.take_events();
    assert_eq!(events.len(), 64);
    assert!(matches!(&events[0], AuthEvent::Refreshed { issuer } if issuer == "1"));
}

#[test]
fn oa_07_whoever_joined_a_failed_flight_of_another_purpose_begins_their_own() {
    for (purpose, is_done) in [(Purpose::Logout, true), (a_login(), false)] {
        let (store, _oauth, account) = account();
        store.failing.store(1, Ordering::SeqCst);
        let (task, other) = (Arc::<Task>::default(), Arc::<Task>::default());
        let mut first = Box::pin(credentials(&account));
        let mut second = Box::pin(account.flights.fly(purpose, &connect, None));
        assert!(task.poll(&mut first).is_pending() && other.poll(&mut second).is_pending());
        store.open();
        let Poll::Ready(Err(error)) = task.poll(&mut first) else { panic!("the load does not fail") };
        assert!(matches!(error.kind(), AuthErrorKind::Store));
        match other.poll(&mut second) {
            Poll::Ready(Ok(_)) => assert!(is_done),
            Poll::Ready(Err(error)) => assert!(!matches!(error.kind(), AuthErrorKind::Store) && !is_done),
            Poll::Pending => assert!(!is_done, "a login asks the network"),
        }
        assert!(store.loads.load(Ordering::SeqCst) > 1);
    }
}

#[test]
fn oa_99_whoever_came_before_the_question_goes_on_beside_it() {
    let (store, _oauth, account) = account();
    let (task, other, driver) = (Arc::<Task>::default(), Arc::<Task>::default(), Arc::<Task>::default());
    let mut login = Box::pin(account.flights.fly(a_login(), &connect, None));
    let mut behind = Box::pin(credentials(&account));
    let mut waits = Box::pin(account.flights.fly(a_login(), &connect, None));
    let mut carrying = Box::pin(account.carry(&|_| ()));
    assert!(task.poll(&mut login).is_pending() && driver.poll(&mut carrying).is_pending());
    assert!(other.poll(&mut behind).is_pending() && other.poll(&mut waits).is_pending());
    assert_eq!(store.loads.load(Ordering::SeqCst), 1, "all wait for the login");
    account.tokens.asking(Some("as.example"), false);
    assert!(other.poll(&mut behind).is_pending() && other.poll(&mut waits).is_pending());
    assert_eq!(store.loads.load(Ordering::SeqCst), 2, "whoever does not need the answer reads the store");
    assert!(account.flights.table.lock().flying.len() == 2, "the question stays open");
    assert_eq!(driver.wakes(), 1);
    // Whoever comes now waits for the second flight, and a driver carries both.
    let mut next = Box::pin(credentials(&account));
    assert!(other.poll(&mut next).is_pending() && driver.poll(&mut carrying).is_pending());
    assert_eq!(store.loads.load(Ordering::SeqCst), 2);
    store.open();
    assert!(other.poll(&mut behind).is_ready() && other.poll(&mut next).is_ready());
    assert!(other.poll(&mut waits).is_pending() && account.flights.table.lock().flying.len() == 1);
}

#[test]
fn oa_99_closing_waits_for_a_refresh_beside_a_question_and_not_for_the_question() {
    let (store, _oauth, account) = account();
    let (task, closing) = (Arc::<Task>::default(), Arc::<Task>::default());
    let mut login = Box::pin(account.flights.fly(a_login(), &connect, None));
    assert!(task.poll(&mut login).is_pending());
    account.tokens.asking(Some("as.example"), false);
    assert!(closing.poll(&mut Box::pin(account.settle())).is_ready());
    let mut behind = Box::pin(credentials(&account));
    assert!(task.poll(&mut behind).is_pending());
    let mut settling = Box::pin(account.settle());
    assert!(closing.poll(&mut settling).is_pending());
    drop(behind);
    store.open();
    assert!(closing.wakes() > 0 && closing.poll(&mut settling).is_ready());
}

fn a_login() -> Purpose {
    Purpose::Authorize { why: Why::Login, refused: None, asks: true, is_login: true }
}

#[test]
fn oa_72_nobody_waits_for_ever_for_the_right_to_ask() {
    let timeouts = OAuthTimeouts { person: Duration::from_millis(1), ..OAuthTimeouts::default() };
    let oauth = OAuth::builder().timeouts(timeouts).build();
    let account = oauth.account(URL);
    let Tokens { parts, url, host, .. } = &*account.tokens;
    let run = Run { parts, url, host, revision: None, connect: connect(), asking: &|_| () };
    let first = pollster::block_on(run.question());
    let second = pollster::block_on(run.question());
    assert!(matches!(second, Err(failure) if matches!(failure.kind, AuthErrorKind::TimedOut { .. })));
    drop(first);
    assert!(pollster::block_on(run.question()).is_ok());
}
