//! Whatever the order of events: ids are never used twice, each call is settled at most once and by its
//! own reply, no waker is lost, cloned or woken, and what belongs to nobody is counted.

use super::super::message::{Malformed, MalformedReason, ReplyError, ResponseId, ResultText, RpcError};
use super::super::pending_calls::{Handled, NO_DEADLINE, PendingCalls, Polled, Reply};
use super::Input;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

/// Two bytes for the limits, then operations.
pub fn exchange(input: &[u8]) {
    let mut input = Input(input);
    let (limit, stray_limit) = (usize::from(input.below(5)), usize::from(input.below(4)));
    let mut model = Model {
        exchange: PendingCalls::new(limit, stray_limit),
        limit,
        stray_limit,
        calls: BTreeMap::new(),
        next: 1,
        stray: 0,
        owed: 0,
        tasks: std::array::from_fn(|_| Arc::default()),
        replies: 0,
    };
    while !input.0.is_empty() {
        model.step(&mut input);
        model.check();
    }
    let tasks = model.tasks;
    drop(model.exchange);
    for task in tasks {
        assert_eq!(Arc::strong_count(&task), 1, "a waker was kept");
        assert_eq!(task.0.load(Ordering::Relaxed), 0, "a waker was woken");
    }
}

#[derive(Default)]
struct Task(AtomicUsize);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

const TASKS: usize = 4;

struct Model {
    exchange: PendingCalls,
    limit: usize,
    stray_limit: usize,
    calls: BTreeMap<u64, Call>,
    next: u64,
    stray: usize,
    /// Late replies that may still come.
    owed: usize,
    tasks: [Arc<Task>; TASKS],
    /// Numbers the replies, to tell them apart.
    replies: i64,
}

#[derive(Default)]
struct Call {
    settled: bool,
    /// Not fetched yet.
    reply: Option<Expected>,
    task: Option<usize>,
    due: u64,
    called: bool,
    news: Option<u64>,
}

impl Call {
    /// Whether it waits for its deadline.
    fn is_asleep(&self) -> bool {
        self.task.is_some() && self.due != NO_DEADLINE
    }
}

/// In another order than the ids; some calls have no deadline.
fn due(id: u64, task: usize) -> u64 {
    if task == 3 { NO_DEADLINE } else { id * 5 % 12 + task as u64 }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Expected {
    Result(i64),
    Rpc(i64),
    Malformed,
    TooLong(usize),
}

impl Model {
    fn step(&mut self, input: &mut Input<'_>) {
        let (operation, id) = (input.below(12), u64::from(input.below(12)));
        let task = usize::from(input.below(4));
        match operation {
            0 | 1 => self.begin(),
            2 => {
                let (waker, was_called) = self.exchange.forget(id);
                let call = self.calls.remove(&id);
                assert_eq!(was_called, call.as_ref().is_some_and(|call| call.called));
                if task == 0 && call.as_ref().is_some_and(|call| !call.settled) {
                    self.exchange.give_up();
                    self.owed += 1;
                }
                self.same(waker, call.and_then(|call| call.task));
            }
            3 | 4 => self.poll(id, task),
            5 => {
                let (id, is) = match id {
                    0 => (ResponseId::Foreign, None),
                    11 => (ResponseId::Null, None),
                    10 => (ResponseId::Absent, None),
                    id => (ResponseId::Ours(id), Some(id)),
                };
                self.replies += 1;
                let number = self.replies;
                let (outcome, expected) = match task {
                    0 => (Err(RpcError::new(number, "no")), Expected::Rpc(number)),
                    _ => (Ok(json(number)), Expected::Result(number)),
                };
                let handled = self.exchange.handle_reply(id, outcome);
                self.settle(is, expected, handled);
            }
            6 => {
                let is = (id != 0).then_some(id);
                let malformed = Malformed { reason: MalformedReason::NotJson, id: is };
                let handled = self.exchange.handle_malformed(malformed);
                self.settle(is, Expected::Malformed, handled);
            }
            7 => {
                let is = (id != 0).then_some(id);
                let handled = self.exchange.handle_too_long(is, task);
                self.settle(is, Expected::TooLong(task), handled);
            }
            8 => {
                self.exchange.handle_other();
                self.stray = 0;
            }
            9 => {
                let call = self.calls.get_mut(&id).filter(|call| !call.settled);
                assert_eq!(self.exchange.handle_news(id, task as u64), call.is_some());
                if let Some(call) = call {
                    call.news = Some(task as u64);
                }
            }
            10 => self.ring(id, task),
            _ => {
                let due = due(id, task);
                self.exchange.put_off(id, due);
                if let Some(call) = self.calls.get_mut(&id) {
                    call.due = due;
                }
            }
        }
    }

    /// Those are woken that are due by `until`, and of the rest the first, so many.
    fn ring(&mut self, until: u64, more: usize) {
        let mut order: Vec<_> = self.calls.iter().filter(|(_, call)| call.is_asleep()).collect();
        order.sort_by_key(|(id, call)| (call.due, **id));
        let due = order.iter().filter(|(_, call)| call.due <= until).count();
        let expected: Vec<_> = order.iter().take(due + more).map(|(id, _)| **id).collect();
        let woken = self.exchange.take_due(until, more);
        assert_eq!(woken.len(), expected.len());
        for (waker, id) in woken.into_iter().zip(expected) {
            let call = self.calls.get_mut(&id).expect("it is asleep");
            call.called = true;
            let task = call.task.take();
            self.same(Some(waker), task);
        }
        let earliest = self.calls.values().filter(|call| call.is_asleep()).map(|call| call.due).min();
        assert_eq!(self.exchange.earliest(), earliest);
    }

    fn begin(&mut self) {
        let id = self.exchange.begin();
        assert_eq!(id, (self.calls.len() < self.limit).then_some(self.next));
        if let Some(id) = id {
            self.next += 1;
            self.calls.insert(id, Call::default());
        }
    }

    /// As a call does it; between its two halves something may arrive.
    fn poll(&mut self, id: u64, task: usize) {
        let waker = self.waker(task);
        let mut polled = self.exchange.poll_reply(id, &waker);
        let call = self.calls.get_mut(&id);
        let registered = call.as_ref().is_some_and(|call| call.reply.is_none() && call.task == Some(task));
        assert!(!matches!(polled, Polled::Pending) || call.is_none() || registered);
        if matches!(polled, Polled::NeedsWaker) {
            let left_over;
            let due = due(id, task);
            (polled, left_over) = self.exchange.register(id, due, waker);
            let replaced = call.and_then(|call| match call.reply {
                Some(_) => Some(task),
                None => {
                    (call.due, call.called) = (due, false);
                    call.task.replace(task)
                }
            });
            self.same(left_over, replaced);
        }
        let expected = self.calls.get_mut(&id).and_then(|call| call.reply.take());
        match (polled, expected) {
            (Polled::Pending, None) => {}
            (Polled::Ready(reply), Some(expected)) => assert_eq!(read(&reply), expected),
            (polled, expected) => panic!("{polled:?}, not {expected:?}"),
        }
    }

    fn settle(&mut self, id: Option<u64>, reply: Expected, handled: Handled) {
        match id.and_then(|id| self.calls.get_mut(&id)).filter(|call| !call.settled) {
            Some(call) => {
                call.settled = true;
                call.reply = Some(reply);
                self.stray = 0;
                let task = call.task.take();
                let Handled::Settled(waker) = handled else { panic!("{handled:?}") };
                self.same(waker, task);
            }
            None => {
                let late =
                    self.owed > 0 && id.is_some_and(|id| id < self.next && !self.calls.contains_key(&id));
                match handled {
                    Handled::Late => {
                        assert!(late, "no call was given up");
                        self.owed -= 1;
                    }
                    Handled::Stray => {
                        assert!(!late, "a call was given up");
                        self.stray += 1;
                        assert_eq!(self.exchange.count_stray(0), self.stray <= self.stray_limit);
                    }
                    Handled::Settled(_) => panic!("nobody was waiting"),
                }
            }
        }
    }

    fn check(&self) {
        assert_eq!(self.exchange.len(), self.calls.len());
        let only = self.calls.keys().next().filter(|_| self.calls.len() == 1);
        assert_eq!(self.exchange.only_call(), only.copied());
        for id in 0..12 {
            assert_eq!(self.exchange.news(id), self.calls.get(&id).and_then(|call| call.news));
        }
        for (task, arc) in self.tasks.iter().enumerate() {
            let registered = self.calls.values().filter(|call| call.task == Some(task)).count();
            assert_eq!(Arc::strong_count(arc), 1 + registered, "a waker was lost or cloned");
        }
    }

    fn waker(&self, task: usize) -> Waker {
        Waker::from(Arc::clone(&self.tasks[task]))
    }

    fn same(&self, waker: Option<Waker>, task: Option<usize>) {
        match (waker, task) {
            (None, None) => {}
            (Some(waker), Some(task)) => assert!(waker.will_wake(&self.waker(task))),
            (waker, task) => panic!("{waker:?}, not that of {task:?}"),
        }
    }
}

fn json(number: i64) -> ResultText {
    RawValue::from_string(number.to_string()).expect("a number is JSON").into()
}

fn read(reply: &Reply) -> Expected {
    match reply {
        Ok(result) => Expected::Result(result.text().parse().expect("a number")),
        Err(ReplyError::Rpc(error)) => Expected::Rpc(error.code()),
        Err(ReplyError::Malformed(_)) => Expected::Malformed,
        Err(ReplyError::TooLong(limit)) => Expected::TooLong(*limit),
    }
}
