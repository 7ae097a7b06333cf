//! The ways to supervise a request, ours and the others', and what is done to each of them.
//!
//! Every workload is expanded for every peer, with all types known, so that each is optimised as it
//! would be in a program that uses nothing else.

#![allow(dead_code, reason = "every benchmark uses a part of this")]
#![allow(unused_mut, unused_variables, clippy::let_unit_value, reason = "most peers need no handle")]

mod clock;
mod kit;

use event_listener::Event;
use futures::FutureExt as _;
use futures::future::{self, AbortHandle, Abortable, Either, Shared};
use futures::stream::{FuturesUnordered, StreamExt as _};
use futures_intrusive::sync::ManualResetEvent;
use shared_fate::{Session, SupervisedExt};
use slab::Slab;
use std::convert::Infallible;
use std::hint::black_box;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

pub(crate) use clock::Clock;
pub(crate) use kit::*;

macro_rules! peers {
    ($(
        $module:ident $name:literal {
            session: $Session:ty = $new:expr,
            end: |$ended:ident| $end:expr,
            handle: |$owner:ident| $handle:expr,
            call: |$session:ident, $own:ident, $request:ident| $call:expr,
        }
    )*) => {
        pub(crate) const PEERS: &[Peer] = &[$(Peer {
            name: $name,
            calls: $module::calls,
            fan_out: $module::fan_out,
            contended: $module::contended,
            memory: $module::memory,
        }),*];

        $(mod $module {
            use super::*;

            pub(super) fn calls(work: Work, n: u64) {
                match work {
                    Work::Ready => polls::<0, true>(n, false),
                    Work::PendsOnce => polls::<1, true>(n, false),
                    Work::SameWaker => polls::<POLLS, true>(n, false),
                    Work::NewWakers => polls::<POLLS, true>(n, true),
                    Work::Dropped => polls::<1, false>(n, false),
                }
            }

            #[inline(never)]
            fn polls<const PENDING: usize, const READY: bool>(n: u64, new_wakers: bool) {
                let wakers = wakers(new_wakers);
                let session: $Session = $new;
                let $session = &session;
                let $owner = &session;
                let mut own = $handle;
                for _ in 0..n {
                    let $own = &mut own;
                    let $request = black_box(Request { left: PENDING as u64 });
                    let mut future = pin!($call);
                    // As an `await` does it: the first poll follows at once. The later ones start from
                    // what is in memory.
                    if PENDING == 0 {
                        assert!(poll(future.as_mut(), &wakers[0]).is_ready());
                        continue;
                    }
                    register(future.as_mut(), &wakers[0]);
                    for waker in &wakers[1..PENDING] {
                        register(black_box(future.as_mut()), waker);
                    }
                    if READY {
                        assert!(poll(black_box(future.as_mut()), &wakers[PENDING]).is_ready());
                    }
                }
            }

            pub(super) fn contended(threads: usize, n: u64, others: usize) -> Duration {
                let session: $Session = $new;
                let $session = &session;
                let $owner = &session;
                let mut handles: Vec<_> = (0..others).map(|_| $handle).collect();
                let others: Vec<_> = handles
                    .iter_mut()
                    .map(|$own| {
                        let $request = Request::hopeless();
                        let mut future = Box::pin($call);
                        register(future.as_mut(), &waker());
                        future
                    })
                    .collect();
                let start = Barrier::new(threads);
                let one = || {
                    let waker = waker();
                    let mut own = $handle;
                    start.wait();
                    let clock = Clock::start();
                    for _ in 0..n {
                        let $own = &mut own;
                        let $request = black_box(Request::hopeless());
                        let mut future = pin!($call);
                        register(future.as_mut(), &waker);
                    }
                    clock.elapsed()
                };
                let total: Duration = std::thread::scope(|scope| {
                    let threads: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
                    threads.into_iter().map(|thread| thread.join().unwrap()).sum()
                });
                drop(others);
                total
            }

            pub(super) fn fan_out(executor: Executor, groups: usize, n: usize) -> Duration {
                let sessions: Vec<$Session> = (0..groups).map(|_| $new).collect();
                match executor {
                    Executor::FuturesUnordered => {
                        let mut handles: Vec<Vec<_>> =
                            sessions.iter().map(|$owner| (0..n).map(|_| $handle).collect()).collect();
                        let mut waiting: Vec<FuturesUnordered<_>> = sessions
                            .iter()
                            .zip(&mut handles)
                            .map(|($session, handles)| {
                                let calls = handles.iter_mut().map(|$own| {
                                    let $request = Request::hopeless();
                                    $call
                                });
                                calls.collect()
                            })
                            .collect();
                        let waker = waker();
                        let cx = &mut Context::from_waker(&waker);
                        for waiting in &mut waiting {
                            assert!(waiting.poll_next_unpin(cx).is_pending());
                        }
                        let clock = Clock::start();
                        let mut resolved = 0;
                        for ($ended, waiting) in sessions.iter().zip(&mut waiting) {
                            let () = $end;
                            loop {
                                match waiting.poll_next_unpin(cx) {
                                    Poll::Ready(Some(_)) => resolved += 1,
                                    Poll::Ready(None) => break,
                                    Poll::Pending => {}
                                }
                            }
                        }
                        let time = clock.elapsed();
                        assert_eq!(resolved, groups * n);
                        time
                    }
                    Executor::Smol => {
                        let executor = smol::LocalExecutor::new();
                        let spawn = |session: &$Session| {
                            let session = session.clone();
                            executor.spawn(async move {
                                let $session = &session;
                                let $owner = &session;
                                let mut own = $handle;
                                let $own = &mut own;
                                let $request = Request::hopeless();
                                let _ = black_box($call.await);
                            })
                        };
                        let tasks: Vec<_> =
                            sessions.iter().flat_map(|session| (0..n).map(|_| spawn(session))).collect();
                        while executor.try_tick() {}
                        let clock = Clock::start();
                        for $ended in &sessions {
                            let () = $end;
                            while executor.try_tick() {}
                        }
                        let time = clock.elapsed();
                        assert!(tasks.iter().all(smol::Task::is_finished));
                        time
                    }
                    Executor::Tokio => {
                        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                        runtime.block_on(async {
                            let started = Arc::new(AtomicUsize::new(0));
                            let spawn = |session: &$Session| {
                                let (session, started) = (session.clone(), Arc::clone(&started));
                                tokio::spawn(async move {
                                    started.fetch_add(1, Ordering::Relaxed);
                                    let $session = &session;
                                    let $owner = &session;
                                    let mut own = $handle;
                                    let $own = &mut own;
                                    let $request = Request::hopeless();
                                    let _ = black_box($call.await);
                                })
                            };
                            let tasks: Vec<Vec<_>> =
                                sessions.iter().map(|session| (0..n).map(|_| spawn(session)).collect()).collect();
                            while started.load(Ordering::Relaxed) < groups * n {
                                tokio::task::yield_now().await;
                            }
                            let clock = Clock::start();
                            for ($ended, tasks) in sessions.iter().zip(tasks) {
                                let () = $end;
                                for task in tasks {
                                    task.await.unwrap();
                                }
                            }
                            clock.elapsed()
                        })
                    }
                }
            }

            pub(super) fn memory(allocated: Allocated, n: usize) -> Memory {
                let session: $Session = $new;
                let $session = &session;
                let $owner = &session;
                let waker = waker();
                let allocations = {
                    let mut own = $handle;
                    let (warm_up, calls) = (100, 1000);
                    let mut before = 0;
                    for call in 0..warm_up + calls {
                        if call == warm_up {
                            before = allocated().0;
                        }
                        let $own = &mut own;
                        let $request = black_box(Request { left: 1 });
                        let mut future = pin!($call);
                        register(future.as_mut(), &waker);
                        assert!(poll(future.as_mut(), &waker).is_ready());
                    }
                    (allocated().0 - before) as f64 / calls as f64
                };
                let mut handles: Vec<_> = (0..n).map(|_| $handle).collect();
                let mut waiting = Vec::with_capacity(n);
                let before = allocated().1;
                let mut inline = 0;
                for $own in &mut handles {
                    let $request = Request::hopeless();
                    let mut future = Box::pin($call);
                    inline = size_of_val(&*future);
                    register(future.as_mut(), &waker);
                    waiting.push(future);
                }
                let heap = (allocated().1 - before) as f64 / n as f64 - inline as f64;
                Memory { inline: inline - size_of::<Request>(), heap, allocations }
            }
        })*
    };
}

type Ours = Session<std::io::Error>;
type Never = (
    Arc<Mutex<Option<futures::channel::oneshot::Sender<()>>>>,
    Shared<futures::channel::oneshot::Receiver<()>>,
);

fn shared() -> Never {
    let (end, ended) = futures::channel::oneshot::channel();
    (Arc::new(Mutex::new(Some(end))), ended.shared())
}

fn end_shared(shared: &Never) {
    shared.0.lock().unwrap().take().unwrap().send(()).unwrap();
}

type Bare = Arc<(AtomicBool, Mutex<Vec<Waker>>)>;

/// A place in a table that is given back.
struct Entry<'a>(&'a Mutex<Slab<AbortHandle>>, usize);

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.0.lock().unwrap().try_remove(self.1);
    }
}

peers! {
    raw "raw await" {
        session: () = (),
        end: |_session| (),
        handle: |_session| (),
        call: |_session, _own, request| request,
    }
    session "&session" {
        session: Ours = Session::new(),
        end: |session| assert!(session.close()),
        handle: |_session| (),
        call: |session, _own, request| request.supervised(session),
    }
    owned "session.clone()" {
        session: Ours = Session::new(),
        end: |session| assert!(session.close()),
        handle: |_session| (),
        call: |session, _own, request| request.supervised(session.clone()),
    }
    try_supervised "&session, try_supervised" {
        session: Ours = Session::new(),
        end: |session| assert!(session.close()),
        handle: |_session| (),
        call: |session, _own, request| request.map(Ok::<_, Infallible>).try_supervised(session),
    }
    lane "&mut lane" {
        session: Ours = Session::new(),
        end: |session| assert!(session.close()),
        handle: |session| session.lane(),
        call: |_session, lane, request| request.supervised(lane),
    }
    any_future "a Shared (any future)" {
        session: Never = shared(),
        end: |session| end_shared(session),
        handle: |_session| (),
        call: |session, _own, request| request.supervised(session.1.clone()),
    }
    select_pinned "select + Shared (pin!)" {
        session: Never = shared(),
        end: |session| end_shared(session),
        handle: |_session| (),
        call: |session, _own, request| async {
            match future::select(pin!(request), session.1.clone()).await {
                Either::Left((output, _)) => Ok(output),
                Either::Right((cause, _)) => Err(cause),
            }
        },
    }
    select_boxed "select + Shared (boxed)" {
        session: Never = shared(),
        end: |session| end_shared(session),
        handle: |_session| (),
        call: |session, _own, request| future::select(Box::pin(request), session.1.clone()),
    }
    select_biased "select_biased! + Shared" {
        session: Never = shared(),
        end: |session| end_shared(session),
        handle: |_session| (),
        call: |session, _own, request| async {
            let mut request = pin!(request.fuse());
            let mut ended = session.1.clone();
            futures::select_biased! {
                output = request => Ok(output),
                cause = ended => Err(cause),
            }
        },
    }
    lite_or "futures_lite::or + Shared" {
        session: Never = shared(),
        end: |session| end_shared(session),
        handle: |_session| (),
        call: |session, _own, request| {
            futures_lite::future::or(request.map(Ok), session.1.clone().map(Err))
        },
    }
    run_until_cancelled "token.run_until_cancelled" {
        session: CancellationToken = CancellationToken::new(),
        end: |session| session.cancel(),
        handle: |_session| (),
        call: |session, _own, request| session.run_until_cancelled(request),
    }
    select_cancelled "select! { token.cancelled() }" {
        session: CancellationToken = CancellationToken::new(),
        end: |session| session.cancel(),
        handle: |_session| (),
        call: |session, _own, request| async {
            tokio::select! {
                biased;
                output = request => Ok(output),
                () = session.cancelled() => Err(()),
            }
        },
    }
    abortable "Abortable + Mutex<Slab>" {
        session: Arc<Mutex<Slab<AbortHandle>>> = Arc::new(Mutex::new(Slab::new())),
        end: |session| {
            let all = std::mem::take(&mut *session.lock().unwrap());
            all.into_iter().for_each(|(_, one)| one.abort());
        },
        handle: |_session| (),
        call: |session, _own, request| async {
            let (handle, registration) = AbortHandle::new_pair();
            let _entry = Entry(session, session.lock().unwrap().insert(handle));
            Abortable::new(request, registration).await
        },
    }
    watch_changed "watch.changed" {
        session: Arc<watch::Sender<bool>> = Arc::new(watch::Sender::new(false)),
        end: |session| assert!(!session.send_replace(true)),
        handle: |session| session.subscribe(),
        call: |_session, receiver, request| async {
            tokio::select! {
                biased;
                output = request => Ok(output),
                changed = receiver.changed() => Err(changed),
            }
        },
    }
    notify "Notify + flag" {
        session: Arc<(AtomicBool, Notify)> = Arc::default(),
        end: |session| {
            session.0.store(true, Ordering::Release);
            session.1.notify_waiters();
        },
        handle: |_session| (),
        call: |session, _own, request| async {
            let notified = session.1.notified();
            if session.0.load(Ordering::Acquire) {
                return Err(());
            }
            tokio::select! {
                biased;
                output = request => Ok(output),
                () = notified => Err(()),
            }
        },
    }
    listener "event_listener::listener!" {
        session: Arc<(AtomicBool, Event)> = Arc::default(),
        end: |session| {
            session.0.store(true, Ordering::Release);
            let _listeners: usize = session.1.notify(usize::MAX);
        },
        handle: |_session| (),
        call: |session, _own, request| async {
            event_listener::listener!(session.1 => listener);
            if session.0.load(Ordering::Acquire) {
                return Err(());
            }
            futures_lite::future::or(request.map(Ok), listener.map(Err)).await
        },
    }
    intrusive "futures_intrusive event" {
        session: Arc<ManualResetEvent> = Arc::new(ManualResetEvent::new(false)),
        end: |session| session.set(),
        handle: |_session| (),
        call: |session, _own, request| {
            futures_lite::future::or(request.map(Ok), session.wait().map(Err))
        },
    }
    channel "async_channel, closed" {
        session: (async_channel::Sender<Infallible>, async_channel::Receiver<Infallible>) = async_channel::bounded(1),
        end: |session| assert!(session.1.close()),
        handle: |_session| (),
        call: |session, _own, request| {
            futures_lite::future::or(request.map(Ok), session.1.recv().map(Err))
        },
    }
    bare_wakers "Vec<Waker> (floor of W5)" {
        session: Bare = Bare::default(),
        end: |session| {
            session.0.store(true, Ordering::Release);
            std::mem::take(&mut *session.1.lock().unwrap()).into_iter().for_each(Waker::wake);
        },
        handle: |_session| (),
        call: |session, _own, _request| future::poll_fn(|cx| {
            if session.0.load(Ordering::Acquire) {
                return Poll::Ready(());
            }
            session.1.lock().unwrap().push(cx.waker().clone());
            Poll::Pending
        }),
    }
}

/// A request without supervision. It is in no table of W5.
pub(crate) const RAW: &str = PEERS[0].name;
/// A request under a session, to which every other way is compared.
pub(crate) const OURS: &str = PEERS[1].name;
/// A list of wakers and no request. It is in the tables of W5 alone.
pub(crate) const FLOOR: &str = PEERS[PEERS.len() - 1].name;
