//! Every limit, in one place.

use std::time::Duration;

/// How much a client takes from a server, and keeps.
///
/// ```
/// use shared_fate_mcp::Limits;
///
/// let limits = Limits::default().body(1 << 20).pending_calls(100);
/// assert_eq!(limits.body, 1024 * 1024);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The longest line over stdio, in bytes; a batch is one. A longer one is skipped; if it can be told
    /// whose reply it is, that call fails. One that is five times as long ends the session, as it may have no end. What
    /// comes slowly is a matter of deadlines. Default 16 MiB.
    pub line: usize,
    /// The longest server-sent event, in bytes. A longer one fails its call. Default 16 MiB.
    pub event: usize,
    /// The longest JSON body of an HTTP answer, in bytes. A longer one fails its call. Default 16 MiB.
    pub body: usize,
    /// How much there may be of bodies and events that are not whole yet, of all calls together, in bytes: what each has
    /// beyond 64 KiB, with the room for more that goes with it. One more fails its call; but one at a time may always grow
    /// to its own limit. Default 128 MiB.
    pub receiving: usize,
    /// How much of an HTTP error's body is read in search of a JSON-RPC error, in bytes. Default 64 KiB.
    pub error_body: usize,
    /// How many calls may be pending at once. One more fails at once. Default 65 536.
    pub pending_calls: usize,
    /// How much may be queued for the driver: so many answers to the server, so many cancellations and so
    /// many requests of the server's. Over it, cancellations are dropped; an answer or a request that finds
    /// no room ends the session. The answers that this crate makes by itself have at most some 1 200 bytes, as the id of a
    /// request has at most 1 024: 40 MiB of them by default, and over stdio as many again. Default 32 768, more than are
    /// read in one go.
    pub outbox: usize,
    /// How many answers to the server are on their way at once, and how many cancellations: over HTTP each
    /// is a request. At least one. Default 16.
    pub sends: usize,
    /// How many requests of the server's are answered at a time. One more is refused; and a call fails
    /// whose answer asks for more input than that at once, before anybody is asked. Default 64.
    pub server_requests: usize,
    /// How much text there may be in those requests together, in bytes, and as much again in requests that the driver has
    /// not seen yet. One more is refused; but one alone may always be answered. Default 16 MiB.
    pub request_bytes: usize,
    /// How many messages in a row may belong to nobody within a minute, before the session ends: stray
    /// output, malformed lines, replies that no call waits for. A late reply to a call that was given up does not
    /// count. Default 10 000.
    pub stray: usize,
    /// How much of a child's standard error is kept, in bytes: its end. Default 16 KiB.
    pub stderr_tail: usize,
    /// How many redirects one request follows. Default 10.
    pub redirects: usize,
    /// How many times in a row a broken event stream is resumed without any news on it. Of the server's own
    /// stream only those times count that lasted less than 20 s: what closes an idle one after that is a
    /// proxy, and it will again. Nor is one resumed sooner than after 100 ms, whatever the server asks.
    /// Default 2.
    pub resumptions: usize,
    /// The longest id of an event that is sent back to resume a stream, in bytes: a longer one would not fit
    /// into a header of common servers, and its stream cannot be resumed. Default 4 KiB.
    pub event_id: usize,
    /// How many idle connections are kept for each origin over HTTP. One more closes the one that was idle
    /// the longest. Default 32.
    pub idle_connections: usize,
    /// How many times in a row a server may ask for input before it answers a call. Default 10.
    pub rounds: usize,
    /// How many changes a [`Subscription`](crate::Subscription) keeps until they are fetched. Over it the
    /// oldest are lost, which is told ([`Change::Lagged`](crate::Change::Lagged)). Default 1 024.
    pub changes: usize,
    /// How much text there may be in those changes together, in bytes: over it the same. Default 16 MiB.
    pub change_bytes: usize,
    /// Of how many tasks at a time progress is reported, as long as their end is not known. One more, and
    /// the oldest is reported no more. Default 1 024.
    pub reported_tasks: usize,
    /// How many times in a row asking after a task may fail in a way that may pass. Once more, and
    /// who waits for the task gets the error. Default 3.
    pub task_failures: usize,
    /// How many pages a `list_*` method fetches. Default 1 000.
    pub pages: usize,
    /// How many arguments of a tool may be repeated as headers (`x-mcp-header`, over HTTP). A tool with
    /// more is left out of the list. Default 64.
    pub mirrored_arguments: usize,
    /// How much memory the value of one result may take, in bytes, beside its text; of a list all pages together. A call
    /// whose result would take more fails, and its error has the text
    /// ([`Error::result_text`](crate::Error::result_text)). Default 64 MiB.
    pub decoded: usize,
    /// How long all pages together may be that a `list_*` method fetches, in bytes. Default 64 MiB.
    pub list: usize,
    /// How many origins an [`ServerKindCache`](crate::ServerKindCache) remembers; the one that was connected to the
    /// longest ago makes room. Default 1 024.
    pub server_kinds: usize,
}

impl Default for Limits {
    fn default() -> Self {
        const KIB: usize = 1024;
        const MIB: usize = 1024 * KIB;
        Self {
            line: 16 * MIB,
            event: 16 * MIB,
            body: 16 * MIB,
            receiving: 128 * MIB,
            error_body: 64 * KIB,
            pending_calls: 65_536,
            outbox: 32_768,
            request_bytes: 16 * MIB,
            sends: 16,
            server_requests: 64,
            stray: 10_000,
            stderr_tail: 16 * KIB,
            redirects: 10,
            resumptions: 2,
            event_id: 4 * KIB,
            idle_connections: 32,
            rounds: 10,
            changes: 1_024,
            change_bytes: 16 * MIB,
            reported_tasks: 1_024,
            task_failures: 3,
            pages: 1_000,
            mirrored_arguments: 64,
            decoded: 64 * MIB,
            list: 64 * MIB,
            server_kinds: 1_024,
        }
    }
}

/// How long a client waits. `None` is for ever.
///
/// ```
/// use shared_fate_mcp::Timeouts;
/// use std::time::Duration;
///
/// // A call may be silent for ten seconds, and take as long as it likes.
/// let timeouts = Timeouts::default().silence(Duration::from_secs(10)).total(None);
/// assert_eq!(timeouts.total, None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// A call without news from the server: its progress; and for all calls, a request of the server's. While
    /// handlers answer those, no silence counts, as the answer may be what a call waits for, and a user may have to
    /// give it. But no handler makes calls wait for ever: one that takes longer than [`total`](Self::total), or
    /// than 10 min where that is `None`, is not waited for any more. Default 60 s.
    pub silence: Option<Duration>,
    /// A call as a whole, whatever the news. Default 10 min.
    pub total: Option<Duration>,
    /// The handshake. Default 60 s. When the server refuses it, an HTTP session that it had given is deleted
    /// before the error is told, which may take [`close`](Self::close).
    pub handshake: Option<Duration>,
    /// Asking a server what it is, in [`Mode::Auto`](crate::Mode::Auto) and
    /// [`Mode::Stateless`](crate::Mode::Stateless). Default 10 s. Where silence is taken for an older server, at
    /// most half the time of the handshake.
    pub probe: Option<Duration>,
    /// Over HTTP, how long connecting waits for the server's own event stream to be answered, one way or
    /// the other, before the client is handed out: some servers send nothing until there is something to
    /// say. The stream goes on opening after that. Default 300 ms.
    pub stream: Duration,
    /// Over HTTP+SSE, the event that says where to POST; from the request for the stream on. No longer than
    /// half of [`handshake`](Self::handshake). Default 30 s.
    pub endpoint: Option<Duration>,
    /// How often a server with a handshake is pinged, whatever else goes on; a ping that is not answered until
    /// the next one is due ends the session ([`ErrorKind::PingMissed`](crate::ErrorKind::PingMissed)). At least
    /// 10 ms. Default: never. Servers of revision 2026-07-28 are not pinged.
    pub keep_alive: Option<Duration>,
    /// Every step of an orderly close: stdin closed, SIGTERM, SIGKILL; or the HTTP DELETE. Default 2 s.
    pub close: Duration,
    /// How long [`Reconnecting`](crate::Reconnecting) pauses after an attempt that has failed, before the next one. Twice
    /// as long after each further failure in a row, up to [`longest_pause`](Self::longest_pause). Default 100 ms.
    pub pause: Duration,
    /// The longest pause between two attempts of [`Reconnecting`](crate::Reconnecting). Default 30 s.
    pub longest_pause: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            silence: Some(Duration::from_secs(60)),
            total: Some(Duration::from_secs(600)),
            handshake: Some(Duration::from_secs(60)),
            probe: Some(Duration::from_secs(10)),
            stream: Duration::from_millis(300),
            endpoint: Some(Duration::from_secs(30)),
            keep_alive: None,
            close: Duration::from_secs(2),
            pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(30),
        }
    }
}

/// A setter for each field, because a struct that may grow has no literal outside of this crate.
macro_rules! setters {
    ($type:ident { $($value:ty: $($field:ident)*;)* }) => {
        /// Sets one field and leaves the others as they are.
        impl $type {
            $($(
                #[doc = concat!("Sets [`", stringify!($field), "`](Self#structfield.", stringify!($field), ").")]
                pub fn $field(mut self, $field: $value) -> Self {
                    self.$field = $field.into();
                    self
                }
            )*)*
        }

        // A field that is not named above does not compile.
        const _: fn($type) = |$type { $($($field: _,)*)* }| ();
    };
}

setters! {
    Limits {
        usize: line event body receiving error_body pending_calls outbox sends server_requests request_bytes stray
            stderr_tail redirects resumptions event_id idle_connections rounds changes change_bytes reported_tasks
            task_failures pages mirrored_arguments decoded list server_kinds;
    }
}

setters! {
    Timeouts {
        impl Into<Option<Duration>>: silence total handshake probe endpoint keep_alive;
        Duration: stream close pause longest_pause;
    }
}
