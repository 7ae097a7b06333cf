//! [`Tracking`]: how far a call has come.

#[cfg(feature = "http")]
use crate::error::Error;
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
    lost: Mutex<Option<Lost>>,
}

/// What became of a call's event stream.
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

    /// The event stream that the reply was to come on has ended, and is to be resumed.
    #[cfg(feature = "http")]
    pub(crate) fn lost(&self, broke: Option<Error>) {
        self.set(Some(Lost { broke, resuming: None }));
    }

    /// An attempt to resume it has failed.
    #[cfg(feature = "http")]
    pub(crate) fn not_resumed(&self, error: Error) {
        let replaced = self.lost.lock().get_or_insert_default().resuming.replace(error);
        drop(replaced);
    }

    #[cfg(feature = "http")]
    pub(crate) fn resumed(&self) {
        self.set(None);
    }

    /// The error of a stream that is lost for good.
    #[cfg(feature = "http")]
    pub(crate) fn ended(&self) -> Error {
        self.take_lost().unwrap_or_else(|| Error::stream_ended(None, None))
    }

    /// What has become of the event stream, if it is to be resumed.
    #[cfg(feature = "http")]
    pub(crate) fn take_lost(&self) -> Option<Error> {
        let lost = self.lost.lock().take();
        lost.map(|lost| Error::stream_ended(lost.broke, lost.resuming))
    }

    #[cfg(not(feature = "http"))]
    pub(crate) fn take_lost(&self) -> Option<crate::error::Error> {
        None
    }

    #[cfg(feature = "http")]
    fn set(&self, lost: Option<Lost>) {
        let replaced = std::mem::replace(&mut *self.lost.lock(), lost);
        drop(replaced);
    }
}
