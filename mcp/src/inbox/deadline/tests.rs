//! A model of the deadlines of many calls: tasks that are polled when they are woken, on a clock that is turned by hand,
//! beside tasks that are stuck, dropped, answered or moved to another runtime, and runtimes that stand still.
//!
//! What holds: no call ends before its deadline; a call whose task is polled whenever it is woken ends at its deadline,
//! or [`GRACE`] later at most if other tasks are stuck or were dropped; and the number of polls that a call takes does
//! not depend on how many others there are.

mod clock;

use super::super::Inbox;
use super::super::alarm::GRACE;
use super::super::config::Config;
use super::Deadline;
use clock::Hand;
use proptest::prelude::*;
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

/// Timers take whole milliseconds, and one more.
const ROUNDING: u64 = 2;

/// In how many runtimes tasks may be polled.
const SCOPES: u64 = 3;

/// Notes which task is woken.
struct Notice {
    task: usize,
    woken: Arc<Mutex<Vec<usize>>>,
}

impl Wake for Notice {
    fn wake(self: Arc<Self>) {
        self.woken.lock().unwrap().push(self.task);
    }
}

/// A call in a task of its own.
struct Task {
    id: u64,
    limit: u64,
    /// When it must end.
    due: u64,
    deadline: Deadline,
    waker: Waker,
    scope: u64,
    woken: bool,
    stuck: bool,
    over: bool,
    /// Since when it can run.
    runs_since: u64,
    /// How much later it ended.
    late: Option<u64>,
}

struct Model {
    clock: Hand,
    inbox: Arc<Inbox>,
    tasks: Vec<Task>,
    woken: Arc<Mutex<Vec<usize>>>,
    polls: usize,
    /// When the clock was put forward last, from and to: nobody can end in between.
    jump: (u64, u64),
    /// Whether others may have to wait for a while, as a task does not do its share.
    is_slow: bool,
}

impl Model {
    fn new() -> Self {
        let clock = Hand::new();
        let inbox = Inbox::new(Config { timer: Arc::new(clock.clone()), ..Config::new() }, None);
        let woken = Arc::default();
        Self { clock, inbox, tasks: Vec::new(), woken, polls: 0, jump: (0, 0), is_slow: false }
    }

    fn now(&self) -> u64 {
        self.clock.elapsed()
    }

    /// How late a call may be.
    fn bound(&self) -> u64 {
        if self.is_slow { GRACE + ROUNDING } else { ROUNDING }
    }

    fn begin(&mut self, limit: u64, scope: u64) {
        let task = self.tasks.len();
        let waker = Waker::from(Arc::new(Notice { task, woken: Arc::clone(&self.woken) }));
        let deadline = Deadline::new(&self.inbox, Some(Duration::from_millis(limit)), None);
        let id = self.inbox.begin().unwrap();
        let due = self.now() + limit;
        let (woken, stuck, over, runs_since, late) = (false, false, false, self.now(), None);
        self.tasks.push(Task {
            id,
            limit,
            due,
            deadline,
            waker,
            scope,
            woken,
            stuck,
            over,
            runs_since,
            late,
        });
        self.poll(task);
    }

    fn poll(&mut self, task: usize) {
        let (now, bound) = (self.now(), self.bound());
        let task = &mut self.tasks[task];
        if task.over {
            return;
        }
        self.clock.enter(task.scope);
        self.polls += 1;
        task.woken = false;
        let mut cx = Context::from_waker(&task.waker);
        let replied = self.inbox.poll_reply(task.id, task.deadline.at(), &mut cx).is_ready();
        if !replied && self.inbox.poll_deadline(task.id, &mut task.deadline, (0, false)).is_pending() {
            return;
        }
        task.over = true;
        if !replied {
            assert!(task.due <= now, "a call has ended before its deadline");
            let mut due = task.due.max(task.runs_since);
            // Where the clock was put forward meanwhile, it cannot end before that.
            if due < self.jump.1 && due + bound >= self.jump.0 {
                due = self.jump.1;
            }
            task.late = Some(now - due);
        }
        self.inbox.forget(task.id);
    }

    /// Polls whoever is woken and can be polled, until nobody is.
    fn run(&mut self) {
        loop {
            let woken = std::mem::take(&mut *self.woken.lock().unwrap());
            if woken.is_empty() {
                return;
            }
            for task in woken {
                self.tasks[task].woken = true;
                if self.is_running(task) {
                    self.poll(task);
                }
            }
        }
    }

    fn is_running(&self, task: usize) -> bool {
        let task = &self.tasks[task];
        !task.stuck && !self.clock.stands_still(task.scope)
    }

    fn pass(&mut self, time: u64) {
        let end = self.now() + time;
        while let Some(next) = self.clock.next().filter(|next| *next <= end) {
            self.clock.turn(next);
            self.run();
        }
        self.clock.turn(end);
        self.run();
    }

    /// The machine slept.
    fn jump(&mut self, time: u64) {
        let now = self.now();
        // Two in a row without time for anybody to look are one.
        self.jump = (if self.jump.1 + self.bound() >= now { self.jump.0 } else { now }, now + time);
        self.clock.turn(now + time);
        self.run();
    }

    fn step(&mut self, step: Step) {
        let task = |task: usize| task.checked_rem(self.tasks.len());
        match step {
            Step::Begin(limit, scope) => self.begin(limit, scope),
            Step::Pass(time) => self.pass(time),
            Step::Jump(time) => self.jump(time),
            Step::Stick(which) => {
                if let Some(task) = task(which) {
                    self.tasks[task].stuck = true;
                    self.is_slow = true;
                }
            }
            Step::Drop(which) => {
                if let Some(task) = task(which).filter(|task| !self.tasks[*task].over) {
                    self.tasks[task].over = true;
                    self.inbox.forget(self.tasks[task].id);
                    self.run();
                }
            }
            Step::Progress(which) => {
                if let Some(task) = task(which).filter(|task| !self.tasks[*task].over) {
                    let now = self.now();
                    let task = &mut self.tasks[task];
                    task.due = task.due.max(now + task.limit);
                    let params = format!(r#"{{"progressToken":{},"progress":1}}"#, task.id);
                    let method = "notifications/progress";
                    let text = format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{params}}}"#);
                    self.inbox.deliver(text.as_bytes());
                }
            }
            Step::Reply(which) => {
                if let Some(task) = task(which) {
                    let id = self.tasks[task].id;
                    self.inbox.deliver(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#).as_bytes());
                    self.run();
                }
            }
            Step::Move(which, scope) => {
                if let Some(task) = task(which) {
                    let ran = self.is_running(task);
                    self.tasks[task].scope = scope;
                    if self.is_running(task) {
                        if !ran {
                            self.tasks[task].runs_since = self.now();
                        }
                        self.poll(task);
                        self.run();
                    }
                }
            }
            Step::Halt(scope) => {
                self.clock.halt(scope);
                self.is_slow = true;
            }
        }
    }

    /// Lets the time pass until all have ended that can, and looks when they did.
    fn finish(mut self) {
        // A task that runs only now has a grace from now.
        let last = self.tasks.iter().map(|task| task.due.max(task.runs_since)).max().unwrap_or(0);
        self.pass((last + GRACE + ROUNDING).saturating_sub(self.now()));
        let bound = self.bound();
        for task in 0..self.tasks.len() {
            let Task { id, due, over, late, .. } = self.tasks[task];
            assert!(over || !self.is_running(task), "call {id} has no end, due at {due}");
            assert!(late.is_none_or(|late| late <= bound), "call {id}, due at {due}, is {late:?} late");
        }
        for task in self.tasks.iter().filter(|task| !task.over) {
            self.inbox.forget(task.id);
        }
        assert_eq!(self.inbox.pending_calls(), 0);
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// A call with this limit, in a runtime.
    Begin(u64, u64),
    Pass(u64),
    Jump(u64),
    /// A task that is not polled any more, though it is woken.
    Stick(usize),
    Drop(usize),
    Progress(usize),
    Reply(usize),
    /// A task that is polled in another runtime from now on.
    Move(usize, u64),
    /// A runtime that stands still.
    Halt(u64),
}

fn steps(scopes: u64, trouble: u32) -> impl Strategy<Value = Vec<Step>> {
    let task = 0..64usize;
    let limit = prop_oneof![1..20u64, 1..2_000u64, Just(1_000)];
    let step = prop_oneof![
        12 => (limit, 0..scopes).prop_map(|(limit, scope)| Step::Begin(limit, scope)),
        8 => prop_oneof![0..20u64, 0..700u64].prop_map(Step::Pass),
        1 => (0..2_000u64).prop_map(Step::Jump),
        3 => task.clone().prop_map(Step::Progress),
        2 => task.clone().prop_map(Step::Reply),
        2 => task.clone().prop_map(Step::Drop),
        2 => (task.clone(), 0..scopes).prop_map(|(task, scope)| Step::Move(task, scope)),
        3 * trouble => task.prop_map(Step::Stick),
        trouble => (1..SCOPES).prop_map(Step::Halt),
    ];
    prop::collection::vec(step, 0..80)
}

fn run(steps: Vec<Step>) {
    let mut model = Model::new();
    for step in steps {
        model.step(step);
    }
    model.finish();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn in_one_runtime_every_call_ends_at_its_deadline(steps in steps(1, 0)) {
        run(steps);
    }

    #[test]
    fn in_several_runtimes_every_call_ends_at_its_deadline(steps in steps(SCOPES, 0)) {
        run(steps);
    }

    #[test]
    fn beside_tasks_that_are_stuck_every_call_ends_a_grace_later_at_most(steps in steps(SCOPES, 1)) {
        run(steps);
    }
}

/// How many polls each of `n` calls takes after its first, if they expire one after the other.
fn polls_per_call(n: u64, apart: u64) -> f64 {
    let mut model = Model::new();
    for call in 1..=n {
        model.begin(call * apart, 0);
    }
    model.polls = 0;
    model.pass(n * apart + GRACE);
    assert!(model.tasks.iter().all(|task| task.over));
    let polls = model.polls as f64 / n as f64;
    model.finish();
    polls
}

#[test]
fn calls_that_expire_one_after_the_other_are_polled_a_few_times_however_many_they_are() {
    for apart in [10, 1] {
        let [few, many] = [1_000, 8_000].map(|n| polls_per_call(n, apart));
        assert!(many <= 3.0 && (many / few - 1.0).abs() <= 0.2, "{apart} ms apart: {few:.2} and {many:.2}");
    }
}

/// The same where no task is polled for as long as `stall` at a time.
fn polls_with_stalls(n: u64, apart: u64, stall: u64) -> f64 {
    let mut model = Model::new();
    for call in 1..=n {
        model.begin(call * apart, 0);
    }
    model.polls = 0;
    while model.now() <= n * apart + GRACE {
        let end = model.now() + stall;
        while let Some(next) = model.clock.next().filter(|next| *next <= end) {
            model.clock.turn(next);
        }
        model.clock.turn(end);
        model.run();
        model.pass(100);
    }
    assert!(model.tasks.iter().all(|task| task.over));
    model.polls as f64 / n as f64
}

#[test]
fn calls_are_not_polled_in_vain_because_the_executor_stalls_now_and_then() {
    let [few, many] = [1_000, 8_000].map(|n| polls_with_stalls(n, 10, 500));
    eprintln!("{few:.2} and {many:.2} polls per call");
    assert!(many <= 3.0 && (many / few - 1.0).abs() <= 0.2, "{few:.2} and {many:.2}");
}

#[test]
fn one_task_that_is_stuck_when_the_alarm_goes_off_for_the_first_time_holds_nobody_up() {
    run(vec![Step::Begin(10, 0), Step::Begin(100, 0), Step::Stick(0)]);
    run(vec![Step::Begin(10, 0), Step::Begin(100, 0), Step::Begin(2_000, 0), Step::Stick(1), Step::Stick(0)]);
}
