//! Unit tests of `protocol::pending_calls`.

use super::super::message::MalformedReason;
use super::*;
use serde_json::value::RawValue;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

/// Counts how often it is woken.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn exchange() -> PendingCalls {
    PendingCalls::new(3, 2)
}

fn json(text: &str) -> ResultText {
    RawValue::from_string(text.to_owned()).unwrap().into()
}

fn reply(exchange: &mut PendingCalls, id: u64) -> Handled {
    exchange.handle_reply(ResponseId::Ours(id), Ok(json("7")))
}

/// Polls a call the way the inbox does.
fn poll(exchange: &mut PendingCalls, id: u64, waker: &Waker) -> Option<Reply> {
    let mut polled = exchange.poll_reply(id, waker);
    if matches!(polled, Polled::NeedsWaker) {
        polled = exchange.register(id, 0, waker.clone()).0;
    }
    match polled {
        Polled::Ready(reply) => Some(reply),
        Polled::Pending | Polled::NeedsWaker => None,
    }
}

fn is_stray(handled: &Handled) -> bool {
    matches!(handled, Handled::Stray)
}

#[test]
fn ids_count_up_and_are_never_used_again() {
    let mut exchange = exchange();
    assert_eq!((exchange.begin(), exchange.begin()), (Some(1), Some(2)));
    assert!(exchange.forget(2).0.is_none());
    assert_eq!(exchange.begin(), Some(3));
    assert_eq!(exchange.len(), 2);
}

#[test]
fn the_limit_counts_calls_that_are_not_forgotten() {
    let mut exchange = exchange();
    for id in 1..=3 {
        assert_eq!(exchange.begin(), Some(id));
    }
    assert_eq!(exchange.begin(), None);
    // A reply makes no room: its call is still there.
    assert!(matches!(reply(&mut exchange, 1), Handled::Settled(None)));
    assert_eq!(exchange.begin(), None);
    assert!(exchange.forget(1).0.is_none());
    assert_eq!(exchange.begin(), Some(4), "the refused ones took no ids");
}

#[test]
fn a_reply_wakes_its_call_and_is_given_out_once() {
    let (mut exchange, count) = (exchange(), Arc::new(Count::default()));
    let waker = Waker::from(Arc::clone(&count));
    let id = exchange.begin().unwrap();
    assert!(poll(&mut exchange, id, &waker).is_none());
    let Handled::Settled(Some(registered)) = reply(&mut exchange, id) else { panic!("nobody is woken") };
    assert!(registered.will_wake(&waker));
    assert_eq!(poll(&mut exchange, id, &waker).unwrap().unwrap().text(), "7");
    assert!(poll(&mut exchange, id, &waker).is_none());
    assert_eq!(count.0.load(Ordering::Relaxed), 0, "it wakes nobody itself");
}

#[test]
fn a_waker_is_registered_again_only_if_it_is_another() {
    let mut exchange = exchange();
    let id = exchange.begin().unwrap();
    let (one, two) = (Waker::from(Arc::new(Count::default())), Waker::from(Arc::new(Count::default())));
    assert!(matches!(exchange.poll_reply(id, &one), Polled::NeedsWaker));
    assert!(matches!(exchange.register(id, 0, one.clone()), (Polled::Pending, None)));
    assert!(matches!(exchange.poll_reply(id, &one), Polled::Pending));
    assert!(matches!(exchange.poll_reply(id, &two), Polled::NeedsWaker));
    let (_, left_over) = exchange.register(id, 0, two.clone());
    assert!(left_over.unwrap().will_wake(&one));
    let [woken] = &exchange.take_due(0, 0)[..] else { panic!("one call, one waker") };
    assert!(woken.will_wake(&two));
    assert!(exchange.take_due(0, 0).is_empty());
    assert!(matches!(exchange.poll_reply(id, &two), Polled::NeedsWaker));
}

#[test]
fn a_reply_between_poll_and_registration_is_not_missed() {
    let mut exchange = exchange();
    let id = exchange.begin().unwrap();
    assert!(matches!(exchange.poll_reply(id, Waker::noop()), Polled::NeedsWaker));
    assert!(matches!(reply(&mut exchange, id), Handled::Settled(None)));
    assert!(matches!(exchange.register(id, 0, Waker::noop().clone()), (Polled::Ready(Ok(_)), Some(_))));
}

#[test]
fn a_forgotten_call_gives_its_waker_back_and_waits_for_ever() {
    let mut exchange = exchange();
    let id = exchange.begin().unwrap();
    assert!(poll(&mut exchange, id, Waker::noop()).is_none());
    assert!(exchange.forget(id).0.is_some());
    assert!(matches!(exchange.poll_reply(id, Waker::noop()), Polled::Pending));
    assert!(matches!(exchange.register(id, 0, Waker::noop().clone()), (Polled::Pending, Some(_))));
    assert!(is_stray(&reply(&mut exchange, id)));
    assert_eq!(exchange.len(), 0);
}

#[test]
fn of_two_replies_the_first_counts() {
    let mut exchange = exchange();
    let id = exchange.begin().unwrap();
    assert!(matches!(reply(&mut exchange, id), Handled::Settled(_)));
    assert!(is_stray(&exchange.handle_too_long(Some(id), 5)));
    assert_eq!(poll(&mut exchange, id, Waker::noop()).unwrap().unwrap().text(), "7");
}

#[test]
fn what_names_nobody_is_stray() {
    let mut exchange = exchange();
    let ok = || Ok(json("1"));
    assert!(is_stray(&exchange.handle_reply(ResponseId::Foreign, ok())));
    assert!(is_stray(&exchange.handle_reply(ResponseId::Null, ok())));
    assert!(is_stray(&exchange.handle_reply(ResponseId::Absent, ok())));
    assert!(is_stray(&exchange.handle_malformed(MalformedReason::NotJson.into())));
    assert!(is_stray(&exchange.handle_too_long(None, 5)));
    assert!(is_stray(&reply(&mut exchange, 99)));
}

#[test]
fn too_many_strays_in_a_row_are_a_flood() {
    let mut exchange = exchange();
    let id = exchange.begin().unwrap();
    assert_eq!([0; 3].map(|now| exchange.count_stray(now)), [true, true, false]);
    exchange.handle_other();
    assert_eq!([0; 3].map(|now| exchange.count_stray(now)), [true, true, false]);
    // A reply is no stray: the count begins anew.
    assert!(matches!(reply(&mut exchange, id), Handled::Settled(_)));
    assert_eq!([0; 3].map(|now| exchange.count_stray(now)), [true, true, false]);
}

#[test]
fn strays_that_come_now_and_then_are_no_flood() {
    let mut exchange = exchange();
    assert!((0..100).all(|turn| exchange.count_stray(turn * STRAY_PERIOD / 2)));
    let last = 100 * STRAY_PERIOD / 2;
    assert!(exchange.count_stray(last) && exchange.count_stray(last + STRAY_PERIOD - 1));
    assert!(!exchange.count_stray(last + STRAY_PERIOD - 1));
}

#[test]
fn m_15_late_replies_to_calls_that_were_given_up_are_no_flood() {
    let mut exchange = exchange();
    for _ in 0..5 {
        let id = exchange.begin().unwrap();
        assert!(exchange.forget(id).0.is_none());
        exchange.give_up();
    }
    assert!(is_stray(&reply(&mut exchange, 6)), "there was no such call");
    for id in 1..=5 {
        assert!(matches!(reply(&mut exchange, id), Handled::Late));
    }
    // As many as were given up, and one more is as stray as any other.
    assert!(is_stray(&reply(&mut exchange, 1)));
}

#[test]
fn m_15_a_second_reply_to_a_call_that_has_got_one_counts() {
    let mut exchange = exchange();
    let id = exchange.begin().unwrap();
    exchange.give_up();
    assert!(matches!(reply(&mut exchange, id), Handled::Settled(_)));
    assert!(is_stray(&reply(&mut exchange, id)));
}

#[test]
fn a_damaged_or_oversized_reply_settles_its_call() {
    let mut exchange = exchange();
    let (one, two) = (exchange.begin().unwrap(), exchange.begin().unwrap());
    let malformed = Malformed { reason: MalformedReason::NotUtf8, id: Some(one) };
    assert!(matches!(exchange.handle_malformed(malformed), Handled::Settled(_)));
    assert!(matches!(exchange.handle_too_long(Some(two), 5), Handled::Settled(_)));
    let error = poll(&mut exchange, one, Waker::noop()).unwrap().unwrap_err();
    assert!(matches!(error, ReplyError::Malformed(MalformedReason::NotUtf8)));
    let error = poll(&mut exchange, two, Waker::noop()).unwrap().unwrap_err();
    assert!(matches!(error, ReplyError::TooLong(5)));
}

#[test]
fn the_only_call_is_known_as_such() {
    let mut exchange = exchange();
    assert_eq!(exchange.only_call(), None);
    let one = exchange.begin().unwrap();
    assert_eq!(exchange.only_call(), Some(one));
    exchange.begin();
    assert_eq!(exchange.only_call(), None);
}

#[test]
fn news_are_kept_for_calls_that_are_there() {
    let mut exchange = exchange();
    let id = exchange.begin().unwrap();
    assert_eq!(exchange.news(id), None);
    assert!(exchange.handle_news(id, 5));
    assert_eq!(exchange.news(id), Some(5));
    assert!(!exchange.handle_news(99, 5));
    assert!(exchange.forget(id).0.is_none());
    assert_eq!(exchange.news(id), None);
}

/// Calls that wait, due at these times.
fn due_at<const N: usize>(times: [u64; N]) -> (PendingCalls, [Waker; N]) {
    let mut exchange = PendingCalls::new(N, 0);
    let wakers = times.map(|due| {
        let id = exchange.begin().unwrap();
        let waker = Waker::from(Arc::new(Count::default()));
        assert!(matches!(exchange.register(id, due, waker.clone()), (Polled::Pending, None)));
        waker
    });
    (exchange, wakers)
}

/// Which of the wakers these are, by their places.
fn places(taken: &[Waker], wakers: &[Waker]) -> Vec<usize> {
    let place = |taken: &Waker| wakers.iter().position(|waker| waker.will_wake(taken)).unwrap();
    let mut places: Vec<_> = taken.iter().map(place).collect();
    places.sort_unstable();
    places
}

#[test]
fn who_is_due_is_woken_and_as_many_more_as_are_asked_for() {
    let (mut exchange, wakers) = due_at([10, 30, 20, 40, 10, 50]);
    assert_eq!(exchange.earliest(), Some(10));
    assert_eq!(places(&exchange.take_due(10, 1), &wakers), [0, 2, 4]);
    // Those that were woken have not come back; who has come back is due at another time.
    assert_eq!(exchange.earliest(), Some(30));
    exchange.put_off(2, 60);
    assert_eq!(exchange.earliest(), Some(40));
    assert_eq!(places(&exchange.take_due(40, 0), &wakers), [3]);
    assert_eq!(places(&exchange.take_due(0, 9), &wakers), [1, 5]);
    assert_eq!(exchange.earliest(), None);
    assert!(exchange.take_due(NO_DEADLINE, 9).is_empty());
}

#[test]
fn who_has_no_deadline_is_woken_for_none() {
    let (mut exchange, wakers) = due_at([10, NO_DEADLINE, 20]);
    exchange.put_off(3, NO_DEADLINE);
    assert_eq!(exchange.earliest(), Some(10));
    assert_eq!(places(&exchange.take_due(NO_DEADLINE, 9), &wakers), [0]);
    exchange.put_off(3, 30);
    assert_eq!(places(&exchange.take_due(NO_DEADLINE, 0), &wakers), [2]);
}

#[test]
fn nothing_is_kept_of_calls_that_are_gone_and_nothing_is_sorted_before_somebody_asks() {
    let (mut exchange, _wakers) = due_at([10, 20, 30]);
    assert!(exchange.order.is_empty());
    assert_eq!(exchange.earliest(), Some(10));
    assert_eq!(exchange.order.len(), 3);
    assert!(exchange.forget(1).0.is_some());
    assert!(matches!(reply(&mut exchange, 2), Handled::Settled(Some(_))));
    assert_eq!(exchange.order.len(), 1);
    assert!(exchange.forget(2).0.is_none() && exchange.forget(3).0.is_some());
    assert!(exchange.order.is_empty());
    // One that comes and goes in between.
    let id = exchange.begin().unwrap();
    assert!(poll(&mut exchange, id, Waker::noop()).is_none());
    assert!(exchange.order.is_empty() && exchange.forget(id).0.is_some());
    assert_eq!(exchange.earliest(), None);
}

#[test]
fn a_call_that_is_gone_tells_whether_it_was_to_look_at_the_clock() {
    let (mut exchange, wakers) = due_at([10, 20, 30]);
    assert_eq!(exchange.take_due(20, 0).len(), 2);
    assert!(matches!(exchange.register(2, 40, wakers[1].clone()), (Polled::Pending, None)));
    assert_eq!([1, 2, 3].map(|id| exchange.forget(id).1), [true, false, false]);
}
