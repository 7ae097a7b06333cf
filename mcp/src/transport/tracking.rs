//! [`Tracking`]: how far a call has come.

#[cfg(feature = "http")]
use crate::error::{Error, ErrorKind, Violation};
#[cfg(feature = "http")]
use crate::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// How far one message has come, as its transport says. The sender reads it when a call is abandoned, to decide the call's
/// [`Delivery`](crate::Delivery).
///
/// If the transport says nothing, the message may have been sent.
#[derive(Debug, Default)]
pub struct Tracking {
    unsent: AtomicBool,
    #[cfg(feature = "http")]
    stream: Mutex<Stream>,
    /// Whether a person may be asked for the sake of this message.
    #[cfg(feature = "oauth")]
    asks: AtomicBool,
    /// How long it has waited for a person, in milliseconds, and since when it does, on the inbox's clock.
    #[cfg(feature = "oauth")]
    asked: Mutex<(u64, Option<u64>)>,
}

/// What became of a call's event stream.
#[cfg(feature = "http")]
#[derive(Debug, Default)]
struct Stream {
    /// What came on it last that is no reply.
    odd: Option<Box<Odd>>,
    lost: Option<Lost>,
}

/// What may say why there is no reply, if there is none.
#[cfg(feature = "http")]
#[derive(Debug)]
pub(crate) struct Odd {
    /// How it breaks the protocol, if it was to be a message.
    pub(crate) violation: Option<Violation>,
    /// How it begins.
    pub(crate) text: String,
}

/// Why the event stream is to be resumed.
#[cfg(feature = "http")]
#[derive(Debug, Default)]
struct Lost {
    /// `None` if it just ended.
    broke: Option<Error>,
    /// The last attempt to resume it.
    resuming: Option<Error>,
}

impl Tracking {
    /// Not a byte of it is written, and [`begun`](Self::begun) will be called before one is.
    pub fn waiting(&self) {
        self.unsent.store(true, Ordering::Relaxed);
    }

    /// It is about to be written.
    pub fn begun(&self) {
        self.unsent.store(false, Ordering::Relaxed);
    }

    pub(crate) fn is_unsent(&self) -> bool {
        self.unsent.load(Ordering::Relaxed)
    }

    /// Whether whoever sent it waits for the answer and may be asked to sign in.
    pub(crate) fn allow_asking(&self, allow: bool) {
        #[cfg(feature = "oauth")]
        self.asks.store(allow, Ordering::Relaxed);
        let _ = allow;
    }

    #[cfg(feature = "oauth")]
    pub(crate) fn may_ask(&self) -> bool {
        self.asks.load(Ordering::Relaxed)
    }

    /// Notes whether the message waits for a person at this time. Returns whether that is news.
    #[cfg(feature = "oauth")]
    pub(crate) fn asking(&self, asking: bool, now: u64) -> bool {
        let mut asked = self.asked.lock();
        match (asked.1, asking) {
            (None, true) => asked.1 = Some(now),
            (Some(since), false) => *asked = (asked.0.saturating_add(now.saturating_sub(since)), None),
            _ => return false,
        }
        true
    }

    /// How long it has waited for a person until now, in milliseconds, without the present wait; and whether it does.
    pub(crate) fn asked(&self) -> (u64, bool) {
        #[cfg(feature = "oauth")]
        let asked = *self.asked.lock();
        #[cfg(not(feature = "oauth"))]
        let asked = (0, None::<u64>);
        (asked.0, asked.1.is_some())
    }

    /// Something has come on the call's event stream that is not its reply.
    #[cfg(feature = "http")]
    pub(crate) fn odd(&self, odd: Odd) {
        let replaced = self.stream.lock().odd.replace(Box::new(odd));
        drop(replaced);
    }

    /// The event stream that the reply was to come on has ended, and is to be resumed.
    #[cfg(feature = "http")]
    pub(crate) fn lost(&self, broke: Option<Error>) {
        self.set(Some(Lost { broke, resuming: None }));
    }

    /// An attempt to resume it has failed.
    #[cfg(feature = "http")]
    pub(crate) fn not_resumed(&self, error: Error) {
        let replaced = self.stream.lock().lost.get_or_insert_default().resuming.replace(error);
        drop(replaced);
    }

    #[cfg(feature = "http")]
    pub(crate) fn resumed(&self) {
        self.set(None);
    }

    /// The error of a stream that is lost for good.
    #[cfg(feature = "http")]
    pub(crate) fn ended(&self) -> Error {
        match self.stream.lock().lost.take() {
            Some(Lost { broke: None, resuming: None }) | None => {}
            Some(Lost { broke, resuming }) => return Error::stream_ended(broke, resuming),
        }
        match self.take_odd(Violation::StreamEnded) {
            None => Error::protocol(Violation::StreamEnded),
            Some(odd) => match odd.kind() {
                ErrorKind::Protocol(error) if *error.violation() == Violation::ForeignId => {
                    Error::protocol_with(Violation::StreamEnded, odd)
                }
                _ => odd,
            },
        }
    }

    /// What has become of the event stream if it is to be resumed, or else what came on it and is not the reply.
    #[cfg(feature = "http")]
    pub(crate) fn came_instead(&self) -> Option<Error> {
        self.take_lost().or_else(|| self.take_odd(Violation::Stray))
    }

    #[cfg(not(feature = "http"))]
    pub(crate) fn came_instead(&self) -> Option<crate::error::Error> {
        None
    }

    #[cfg(feature = "http")]
    fn take_lost(&self) -> Option<Error> {
        let lost = self.stream.lock().lost.take();
        lost.map(|lost| Error::stream_ended(lost.broke, lost.resuming))
    }

    /// `otherwise` is said of what was to be no message.
    #[cfg(feature = "http")]
    fn take_odd(&self, otherwise: Violation) -> Option<Error> {
        let Odd { violation, text } = *self.stream.lock().odd.take()?;
        Some(Error::instead(violation.unwrap_or(otherwise), text))
    }

    #[cfg(feature = "http")]
    fn set(&self, lost: Option<Lost>) {
        let replaced = std::mem::replace(&mut self.stream.lock().lost, lost);
        drop(replaced);
    }
}
