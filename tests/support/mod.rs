//! The tests' kit: wakers that count and misbehave, futures that follow a script.
//!
//! Everything is polled by hand: no runtime, no sleep.

#![allow(dead_code, reason = "every test file uses a part of the kit")]

use shared_fate::{Ended, Session};
use std::any::Any;
use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::ops::DerefMut;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};
use std::thread;
use std::time::Duration;

type Hook = Box<dyn Fn() + Send + Sync>;

/// A waker that counts what is done to it, and does something in return.
pub(crate) struct TestWaker {
    waker: Waker,
    probe: Arc<Probe>,
}

#[derive(Default)]
struct Probe {
    wakes: AtomicUsize,
    clones: AtomicUsize,
    drops: AtomicUsize,
    on_wake: Option<Hook>,
    on_clone: Option<Hook>,
    on_drop: Option<Hook>,
}

impl TestWaker {
    /// Only counts.
    pub(crate) fn new() -> Self {
        Self::of(Probe::default())
    }

    /// Calls `hook` whenever it is woken; `hook` may call back into the session, or panic.
    pub(crate) fn on_wake(hook: impl Fn() + Send + Sync + 'static) -> Self {
        Self::of(Probe { on_wake: Some(Box::new(hook)), ..Probe::default() })
    }

    /// Calls `hook` whenever it is cloned.
    pub(crate) fn on_clone(hook: impl Fn() + Send + Sync + 'static) -> Self {
        Self::of(Probe { on_clone: Some(Box::new(hook)), ..Probe::default() })
    }

    /// Calls `hook` whenever one of its clones is dropped unused.
    pub(crate) fn on_drop(hook: impl Fn() + Send + Sync + 'static) -> Self {
        Self::of(Probe { on_drop: Some(Box::new(hook)), ..Probe::default() })
    }

    /// A waker that panics.
    pub(crate) fn panicking() -> Self {
        Self::on_wake(|| panic!("this waker panics"))
    }

    /// Another kind of waker over the same data, as two executors' null wakers are.
    pub(crate) fn twin(&self) -> Self {
        Self { waker: raw::waker::<true>(Arc::clone(&self.probe)), probe: Arc::clone(&self.probe) }
    }

    fn of(probe: Probe) -> Self {
        let probe = Arc::new(probe);
        Self { waker: raw::waker::<false>(Arc::clone(&probe)), probe }
    }

    pub(crate) fn waker(&self) -> &Waker {
        &self.waker
    }

    pub(crate) fn wakes(&self) -> usize {
        self.probe.wakes.load(SeqCst)
    }

    pub(crate) fn clones(&self) -> usize {
        self.probe.clones.load(SeqCst)
    }

    /// How many of its clones still exist: registrations.
    pub(crate) fn registered(&self) -> usize {
        self.clones() - self.probe.drops.load(SeqCst)
    }

    /// Polls a pinned future with this waker.
    pub(crate) fn poll<P>(&self, future: &mut Pin<P>) -> Poll<<P::Target as Future>::Output>
    where
        P: DerefMut<Target: Future>,
    {
        future.as_mut().poll(&mut Context::from_waker(&self.waker))
    }

    /// Polls, and the result must be there.
    #[track_caller]
    pub(crate) fn ready<P>(&self, future: &mut Pin<P>) -> <P::Target as Future>::Output
    where
        P: DerefMut<Target: Future>,
    {
        match self.poll(future) {
            Poll::Ready(output) => output,
            Poll::Pending => panic!("the future is pending"),
        }
    }

    /// Polls, and it must not be there yet.
    #[track_caller]
    pub(crate) fn pending<P>(&self, future: &mut Pin<P>)
    where
        P: DerefMut<Target: Future>,
    {
        assert!(self.poll(future).is_pending(), "the future is ready");
    }
}

/// The tests' error: a session ends with an error type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Why(pub(crate) &'static str);

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for Why {}

/// A waiter for the end of a session, with a task of its own.
pub(crate) fn waiter(session: &Session<Why>) -> (TestWaker, Pin<Box<Ended<Why>>>) {
    let (task, mut ended) = (TestWaker::new(), Box::pin(session.ended()));
    task.pending(&mut ended);
    (task, ended)
}

/// What most drivers of the tests resolve to.
pub(crate) type Outcome = Result<(), Why>;

/// The one place that needs unsafe code: a vtable of our own is the only way to see a clone.
#[allow(unsafe_code, reason = "only a vtable of our own sees a clone and a drop")]
mod raw {
    use super::{Arc, Probe, RawWaker, RawWakerVTable, SeqCst, Waker};

    static VTABLES: [RawWakerVTable; 2] = [
        RawWakerVTable::new(clone::<false>, wake, wake_by_ref, drop_waker),
        RawWakerVTable::new(clone::<true>, wake, wake_by_ref, drop_waker),
    ];

    /// The one given out first is not counted as a clone.
    pub(super) fn waker<const TWIN: bool>(probe: Arc<Probe>) -> Waker {
        // SAFETY: every function of the vtable takes `data` for an `Arc<Probe>` that the waker owns;
        // `Probe` is `Send` and `Sync`.
        unsafe { Waker::new(Arc::into_raw(probe).cast(), &VTABLES[usize::from(TWIN)]) }
    }

    /// SAFETY of the four: called by `Waker` only, with the pointer from `waker` or `clone`.
    unsafe fn clone<const TWIN: bool>(data: *const ()) -> RawWaker {
        // SAFETY: the waker being cloned holds a reference.
        let probe = unsafe { &*data.cast::<Probe>() };
        if let Some(hook) = &probe.on_clone {
            hook();
        }
        probe.clones.fetch_add(1, SeqCst);
        // SAFETY: as above.
        unsafe { Arc::increment_strong_count(data.cast::<Probe>()) };
        RawWaker::new(data, &VTABLES[usize::from(TWIN)])
    }

    unsafe fn wake(data: *const ()) {
        // SAFETY: the waker is consumed, its reference is ours.
        let probe = unsafe { Arc::from_raw(data.cast::<Probe>()) };
        probe.drops.fetch_add(1, SeqCst);
        woken(&probe);
    }

    unsafe fn wake_by_ref(data: *const ()) {
        // SAFETY: the waker holds a reference.
        woken(unsafe { &*data.cast::<Probe>() });
    }

    fn woken(probe: &Probe) {
        probe.wakes.fetch_add(1, SeqCst);
        if let Some(hook) = &probe.on_wake {
            hook();
        }
    }

    unsafe fn drop_waker(data: *const ()) {
        // SAFETY: the waker is consumed, its reference is ours.
        let probe = unsafe { Arc::from_raw(data.cast::<Probe>()) };
        probe.drops.fetch_add(1, SeqCst);
        if let Some(hook) = &probe.on_drop {
            hook();
        }
    }
}

/// What became of a scripted future.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<(AtomicUsize, AtomicUsize)>);

impl Log {
    pub(crate) fn polls(&self) -> usize {
        self.0.0.load(SeqCst)
    }

    pub(crate) fn drops(&self) -> usize {
        self.0.1.load(SeqCst)
    }
}

type Inside<T> = Box<dyn FnMut(&mut Context<'_>) -> Poll<T> + Send>;

/// A future that does what it is told; see [`script!`].
pub(crate) struct Script<T> {
    steps: VecDeque<Inside<T>>,
    log: Log,
    on_drop: Option<Box<dyn FnOnce() + Send>>,
}

impl<T> Script<T> {
    pub(crate) fn new(steps: impl IntoIterator<Item = Poll<T>>) -> Self
    where
        T: Send + 'static,
    {
        let step = |step| {
            let mut output = match step {
                Poll::Ready(output) => Some(output),
                Poll::Pending => return Box::new(|_: &mut Context<'_>| Poll::Pending) as Inside<T>,
            };
            Box::new(move |_: &mut Context<'_>| {
                Poll::Ready(output.take().expect("polled after its script said `Ready`"))
            })
        };
        Self { steps: steps.into_iter().map(step).collect(), log: Log::default(), on_drop: None }
    }

    /// Pending for ever.
    pub(crate) fn never() -> Self {
        Self::each(|_| Poll::Pending)
    }

    /// Every poll runs `inside`.
    pub(crate) fn each(inside: impl FnMut(&mut Context<'_>) -> Poll<T> + Send + 'static) -> Self {
        Self { steps: VecDeque::from([Box::new(inside) as Inside<T>]), log: Log::default(), on_drop: None }
    }

    /// Must never be polled.
    pub(crate) fn untouched() -> Self {
        Self::each(|_| panic!("this future must not be polled"))
    }

    /// One more step, which runs inside the poll.
    pub(crate) fn then(mut self, inside: impl FnMut(&mut Context<'_>) -> Poll<T> + Send + 'static) -> Self {
        self.steps.push_back(Box::new(inside));
        self
    }

    /// Runs when the future is dropped.
    pub(crate) fn on_drop(mut self, hook: impl FnOnce() + Send + 'static) -> Self {
        self.on_drop = Some(Box::new(hook));
        self
    }

    pub(crate) fn log(&self) -> Log {
        self.log.clone()
    }
}

impl<T> Future for Script<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        self.log.0.0.fetch_add(1, SeqCst);
        // The last step repeats.
        match self.steps.len() {
            0 => panic!("polled after the end of its script"),
            1 => self.steps[0](cx),
            _ => self.steps.pop_front().expect("there are two")(cx),
        }
    }
}

impl<T> Drop for Script<T> {
    fn drop(&mut self) {
        self.log.0.1.fetch_add(1, SeqCst);
        if let Some(hook) = self.on_drop.take() {
            hook();
        }
    }
}

/// `script![Pending, Ready(1)]`: one step per poll.
#[allow(unused_macros, reason = "every test file uses a part of the kit")]
macro_rules! script {
    ($($step:expr),* $(,)?) => {{
        #[allow(unused_imports, reason = "a script may lack one of them")]
        use std::task::Poll::{Pending, Ready};
        $crate::support::Script::new([$($step),*])
    }};
}
#[allow(unused_imports, reason = "every test file uses a part of the kit")]
pub(crate) use script;

/// What `body` panicked with, as text.
#[track_caller]
pub(crate) fn panic_of<T>(body: impl FnOnce() -> T) -> String {
    let Err(payload) = catch_unwind(AssertUnwindSafe(body)) else { panic!("it did not panic") };
    text(&*payload)
}

fn text(payload: &(dyn Any + Send)) -> String {
    match payload.downcast_ref::<&'static str>() {
        Some(text) => (*text).to_owned(),
        None => payload.downcast_ref::<String>().cloned().unwrap_or_default(),
    }
}

/// Runs `body` on a thread of its own; a deadlock is a failure, not a test run that hangs.
pub(crate) fn no_deadlock(body: impl FnOnce() + Send + 'static) {
    let (done, watch) = mpsc::channel();
    let body = thread::spawn(move || {
        let _done = done;
        body();
    });
    match watch.recv_timeout(Duration::from_secs(60)) {
        Err(mpsc::RecvTimeoutError::Disconnected) => body.join().expect("the body panicked"),
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("deadlock: not done after a minute"),
        Ok(()) => unreachable!("nothing is sent"),
    }
}
