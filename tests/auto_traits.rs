//! Auto traits and sizes are API: what is, and what must not be.

use shared_fate::io::Tap;
use shared_fate::stream::SupervisedStream;
use shared_fate::{
    Cause, Driver, Ended, MapOutput, PanicMessage, RequestFailed, Session, SessionEnded, Supervised,
    TrySupervised, With,
};
use std::cell::Cell;
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
    }
    // A driver is its future and a session.
    table! {
        Driver<Ready<()>, u8> => "+++++",
        Driver<Future, Good> => "+++--",
        Driver<Local, u8> => "--+++",
        Driver<Unshared, u8> => "+-++-",
        Driver<PhantomPinned, u8> => "++-++",
        Driver<Ready<()>, Local> => "--+++",
        MapOutput<Ready<u8>, fn(u8)> => "+++++",
        MapOutput<Ready<u8>, Local> => "--+++",
        MapOutput<PhantomPinned, u8> => "++-++",
        With<Ready<()>, u8, Ready<u8>> => "+++++",
        With<Ready<()>, u8, Local> => "--+++",
        With<Ready<()>, u8, PhantomPinned> => "++-++",
        With<PhantomPinned, u8, u8> => "++-++",
        With<Ready<()>, Unshared, u8> => "--+--",
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
    }
}

#[test]
fn r17_what_cannot_be_shared_may_wait_on_its_own_thread() {
    // `!Send` is no obstacle: no bound asks for it.
    let session = Session::<Rc<Cell<u8>>>::new();
    let local = Rc::new(Cell::new(7));
    session.fail(Rc::clone(&local));
    session.cause().unwrap().error().unwrap().set(8);
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
