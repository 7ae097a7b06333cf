//! Auto traits and sizes are API: what is, and what must not be.

use shared_fate::io::Tap;
use shared_fate::stream::{SupervisedStream, SupervisedStreamExt, TrySupervisedStream};
use shared_fate::{
    Cause, DrainUntil, Driver, DriversGone, DropGuard, Ended, EveryError, Explained, Gate, Lane,
    PanicMessage, RequestFailed, RunDuring, RunUntil, Session, SessionEnded, Supervised, SupervisedExt,
    Supervisor, TrySupervised, WeakSession,
};
use std::cell::Cell;
use std::error::Error;
use std::fmt;
use std::future::Ready;
use std::io;
use std::marker::{PhantomData, PhantomPinned};
use std::mem::size_of;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// Asks a type for a trait, at compile time, without requiring it: an inherent constant hides the
/// trait's where its bound holds.
macro_rules! implements {
    ($type:ty: $bound:ident) => {{
        #[allow(dead_code, reason = "used where the bound does not hold")]
        trait No {
            const ANSWER: bool = false;
        }
        impl<T: ?Sized> No for T {}
        struct Ask<T: ?Sized>(PhantomData<T>);
        #[allow(dead_code, reason = "used where the bound holds")]
        impl<T: ?Sized + $bound> Ask<T> {
            const ANSWER: bool = true;
        }
        <Ask<$type>>::ANSWER
    }};
}

/// `Send Sync Unpin UnwindSafe RefUnwindSafe`, as five characters.
macro_rules! traits {
    ($type:ty) => {
        [
            implements!($type: Send),
            implements!($type: Sync),
            implements!($type: Unpin),
            implements!($type: UnwindSafe),
            implements!($type: RefUnwindSafe),
        ]
        .map(|is| if is { '+' } else { '-' })
        .iter()
        .collect::<String>()
    };
}

macro_rules! table {
    ($($type:ty => $expected:literal,)*) => {
        $(assert_eq!(traits!($type), $expected, "Send Sync Unpin UnwindSafe RefUnwindSafe: {}", stringify!($type));)*
    };
}

/// As good as it gets.
type Good = io::Error;
type Future = Ready<Result<(), Good>>;
/// Sends, does not share.
type Unshared = Cell<u8>;
type Local = Rc<u8>;
/// A request that has an error of its own.
struct Request<T>(PhantomData<T>);

impl<T> std::future::Future for Request<T> {
    type Output = Result<u8, u8>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Pending
    }
}

type Stream = futures::stream::Empty<u8>;
type Rows = futures::stream::Empty<Result<u8, u8>>;
type AnyError = dyn Error + Send + Sync;
/// A mapping of what a driver resolves to.
type Map = fn(()) -> Option<Cause<u8>>;

#[test]
fn r17_auto_traits_follow_from_the_parts() {
    // The instrument itself.
    table! {
        u8 => "+++++",
        Rc<u8> => "--+++",
        Cell<u8> => "+-++-",
        PhantomPinned => "++-++",
        &'static mut u8 => "+++-+",
    }
    // A session is shared: it sends only what can be shared and sent. `io::Error` may hold any error,
    // so it is not unwind safe, and nothing that holds one is.
    table! {
        Session<u8> => "+++++",
        Session<Good> => "+++--",
        Session<Unshared> => "--+--",
        Session<Local> => "--+++",
        Session<PhantomPinned> => "+++++",
        Ended<u8> => "+++++",
        Ended<Good> => "+++--",
        Ended<Unshared> => "--+--",
        Ended<Local> => "--+++",
        Cause<u8> => "+++++",
        Cause<Good> => "+++--",
        Cause<Unshared> => "--+--",
        Cause<Local> => "--+++",
        PanicMessage => "+++++",
        Session<AnyError> => "+++--",
        Session<dyn Error> => "--+--",
        Cause<AnyError> => "+++--",
    }
    // What is a handle of a session, or holds one, is as the session is.
    table! {
        Lane<u8> => "+++++",
        Lane<Good> => "+++--",
        Lane<Unshared> => "--+--",
        Lane<Local> => "--+++",
        Lane<PhantomPinned> => "+++++",
        Lane<AnyError> => "+++--",
        DriversGone<u8> => "+++++",
        DriversGone<Good> => "+++--",
        DriversGone<Unshared> => "--+--",
        DriversGone<Local> => "--+++",
        DriversGone<PhantomPinned> => "+++++",
        DropGuard<u8> => "+++++",
        DropGuard<Good> => "+++--",
        DropGuard<Unshared> => "--+--",
        DropGuard<Local> => "--+++",
        DropGuard<PhantomPinned> => "+++++",
        WeakSession<u8> => "+++++",
        WeakSession<Good> => "+++--",
        WeakSession<Unshared> => "--+--",
        WeakSession<Local> => "--+++",
        WeakSession<PhantomPinned> => "+++++",
        // It may hold a request's error.
        Gate<u8, u8> => "+++++",
        Gate<Good, u8> => "+++--",
        Gate<Local, u8> => "--+++",
        Gate<Unshared, u8> => "+-++-",
        Gate<PhantomPinned, u8> => "+++++",
        Gate<u8, Good> => "+++--",
        Gate<u8, Local> => "--+++",
        Gate<u8, Unshared> => "--+--",
    }
    // A request, a supervisor, and perhaps an error.
    table! {
        Explained<Ready<()>, &'static Session<u8>, u8> => "+++++",
        Explained<Ready<()>, Session<Local>, u8> => "--+++",
        Explained<Local, Session<u8>, u8> => "--+++",
        Explained<Ready<()>, Session<u8>, Local> => "--+++",
        Explained<PhantomPinned, Session<u8>, u8> => "++-++",
    }
    // A driver is its future, its mapping and a session.
    table! {
        Driver<Ready<()>, u8, Map> => "+++++",
        Driver<Future, Good, fn(Result<(), Good>) -> Option<Cause<Good>>> => "+++--",
        Driver<Local, u8, Map> => "--+++",
        Driver<Unshared, u8, Map> => "+-++-",
        Driver<PhantomPinned, u8, Map> => "++-++",
        Driver<Ready<()>, Local, Map> => "--+++",
        Driver<Ready<()>, u8, Local> => "--+++",
        Driver<Ready<()>, u8, Unshared> => "+-++-",
        Driver<Ready<()>, u8, PhantomPinned> => "+++++",
        Driver<Ready<()>, AnyError, Map> => "+++--",
        RunUntil<Ready<()>, u8, Map, Ready<u8>> => "+++++",
        RunUntil<Ready<()>, u8, Map, Local> => "--+++",
        RunUntil<Ready<()>, u8, Map, PhantomPinned> => "++-++",
        RunUntil<PhantomPinned, u8, Map, u8> => "++-++",
        RunUntil<Ready<()>, Unshared, Map, u8> => "--+--",
        RunUntil<Ready<()>, u8, Local, u8> => "--+++",
        // It borrows its driver.
        RunDuring<'static, Ready<()>, u8, Map, Ready<u8>> => "+++-+",
        RunDuring<'static, Ready<()>, u8, Map, Local> => "--+-+",
        RunDuring<'static, Ready<()>, u8, Map, PhantomPinned> => "++--+",
        RunDuring<'static, PhantomPinned, u8, Map, u8> => "+++-+",
        RunDuring<'static, Local, u8, Map, u8> => "--+-+",
        RunDuring<'static, Ready<()>, Unshared, Map, u8> => "--+--",
        // It may hold its application's output.
        DrainUntil<Ready<()>, u8, Map, Ready<u8>, Map, Ready<()>> => "+++++",
        DrainUntil<Ready<()>, u8, Map, Ready<Local>, Map, Ready<()>> => "--+++",
        DrainUntil<Ready<()>, u8, Map, Request<u8>, Map, Local> => "--+++",
        DrainUntil<Ready<()>, u8, Map, Request<Local>, Map, Ready<()>> => "--+++",
        DrainUntil<Ready<()>, u8, Map, Request<PhantomPinned>, Map, Ready<()>> => "++-++",
        DrainUntil<Ready<()>, u8, Map, Ready<u8>, Map, PhantomPinned> => "++-++",
        DrainUntil<PhantomPinned, u8, Map, Ready<u8>, Map, Ready<()>> => "++-++",
        DrainUntil<Ready<()>, Unshared, Map, Ready<u8>, Map, Ready<()>> => "--+--",
    }
    // A request is its future and its supervisor.
    table! {
        Supervised<Ready<u8>, &'static Session<u8>> => "+++++",
        Supervised<Ready<u8>, Session<u8>> => "+++++",
        Supervised<Ready<u8>, &'static Session<Good>> => "+++--",
        Supervised<Ready<u8>, &'static Session<Local>> => "--+++",
        Supervised<Local, &'static Session<u8>> => "--+++",
        Supervised<Unshared, &'static Session<u8>> => "+-++-",
        Supervised<PhantomPinned, &'static Session<u8>> => "++-++",
        Supervised<Ready<u8>, Ready<u8>> => "+++++",
        Supervised<Ready<u8>, Ready<Local>> => "--+++",
        TrySupervised<Request<u8>, &'static Session<u8>> => "+++++",
        TrySupervised<Request<u8>, Session<Unshared>> => "--+--",
        TrySupervised<Request<Local>, &'static Session<u8>> => "--+++",
        TrySupervised<Request<PhantomPinned>, &'static Session<u8>> => "++-++",
        SupervisedStream<Stream, &'static Session<u8>> => "+++++",
        SupervisedStream<Stream, Session<Local>> => "--+++",
        SupervisedStream<Local, &'static Session<u8>> => "--+++",
        SupervisedStream<PhantomPinned, &'static Session<u8>> => "++-++",
        TrySupervisedStream<Rows, &'static Session<u8>> => "+++++",
        TrySupervisedStream<Rows, &'static Session<u8>, EveryError> => "+++++",
        TrySupervisedStream<Rows, &'static Session<u8>, Local> => "--+++",
        TrySupervisedStream<Rows, &'static Session<u8>, PhantomPinned> => "+++++",
        TrySupervisedStream<Rows, Session<Local>> => "--+++",
        TrySupervisedStream<futures::stream::Empty<Result<u8, Local>>, &'static Session<u8>> => "--+++",
        TrySupervised<Request<u8>, &'static Session<u8>, Local> => "--+++",
        // A lane is borrowed for a call.
        Supervised<Ready<u8>, &'static mut Lane<u8>> => "+++-+",
        Supervised<Ready<u8>, &'static mut Lane<Local>> => "--+-+",
        TrySupervised<Request<u8>, &'static mut Lane<u8>> => "+++-+",
    }
    // Errors and the tap.
    table! {
        SessionEnded<Cause<u8>> => "+++++",
        SessionEnded<Cause<Good>> => "+++--",
        SessionEnded<Cause<Local>> => "--+++",
        RequestFailed<u8, Cause<u8>> => "+++++",
        RequestFailed<Local, Cause<u8>> => "--+++",
        RequestFailed<Unshared, Cause<u8>> => "+-++-",
        Tap<u8, u8> => "+++++",
        Tap<Local, u8> => "--+++",
        Tap<PhantomPinned, u8> => "++-++",
        Tap<u8, Local> => "--+++",
        Tap<u8, u8, Local> => "--+++",
        Tap<u8, u8, PhantomPinned> => "+++++",
        Tap<u8, AnyError> => "+++--",
    }
}

fn send_sync_unpin<T: Send + Sync + Unpin>(_: &T) {}

/// Code that is generic over its supervisor can send, share and move what it supervises. No bound on the cause is
/// needed: a request does not keep it.
fn supervises<S: Supervisor + Send + Sync + Unpin + 'static>(request: S, fallible: S, chosen: S) {
    send_sync_unpin(&std::future::ready(7).supervised(request));
    send_sync_unpin(&Request::<u8>(PhantomData).try_supervised(fallible));
    send_sync_unpin(&Request::<u8>(PhantomData).try_supervised_if(chosen, |_| true));
}

/// A stream keeps the cause until its items are delivered.
fn supervises_streams<S: Supervisor + Send + Sync + Unpin + 'static>(items: S, rows: S, chosen: S)
where
    S::Cause: Send + Sync,
{
    send_sync_unpin(&SupervisedStreamExt::supervised(futures::stream::empty::<u8>(), items));
    send_sync_unpin(&futures::stream::empty::<Result<u8, u8>>().try_supervised(rows));
    send_sync_unpin(&futures::stream::empty::<Result<u8, u8>>().try_supervised_if(chosen, |_| true));
}

#[test]
fn r17_code_that_is_generic_over_its_supervisor_can_spawn() {
    let session = || Session::<io::Error>::new();
    supervises(session(), session(), session());
    supervises_streams(session(), session(), session());
    supervises(session().ended(), session().ended(), session().ended());
    supervises_streams(session().ended(), session().ended(), session().ended());
    let ready = std::future::ready::<u8>;
    supervises(ready(1), ready(2), ready(3));
    supervises_streams(ready(1), ready(2), ready(3));
}

#[test]
fn r17_what_cannot_be_shared_may_wait_on_its_own_thread() {
    // `!Send` is no obstacle: no bound asks for it.
    #[derive(Debug)]
    struct Shared(Rc<Cell<u8>>);
    impl fmt::Display for Shared {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{}", self.0.get())
        }
    }
    impl Error for Shared {}
    let session = Session::<Shared>::new();
    let local = Rc::new(Cell::new(7));
    session.fail(Shared(Rc::clone(&local)));
    session.cause().unwrap().error().unwrap().0.set(8);
    assert_eq!(local.get(), 8);
}

#[test]
fn sizes() {
    let word = size_of::<usize>();
    fn beyond<F>() -> usize {
        size_of::<Supervised<F, &Session<io::Error>>>() - size_of::<F>()
    }
    if word == 8 {
        assert!(beyond::<u64>() <= 40, "{}", beyond::<u64>());
        assert!(beyond::<[u8; 1024]>() <= 40, "{}", beyond::<[u8; 1024]>());
        assert!(beyond::<Box<dyn std::future::Future<Output = ()>>>() <= 40);
        // It may have to keep the request's error for a moment.
        assert!(size_of::<TrySupervised<Request<u8>, &Session<u8>>>() <= 40 + 16);
        assert!(size_of::<SessionEnded<Cause<io::Error>>>() <= 24);
    }
    assert_eq!(size_of::<Session<io::Error>>(), word);
    assert_eq!(size_of::<PanicMessage>(), word);
    assert_eq!(size_of::<Cause<io::Error>>(), 2 * word);
    assert_eq!(size_of::<Cause<[u64; 32]>>(), 2 * word, "whatever the error is");
}
