//! Every limit, in one place.

use std::time::Duration;

/// Upper bounds on what a server may send, and on what a client keeps.
///
/// ```
/// use shared_fate_mcp::Limits;
///
/// let limits = Limits::default().body(1 << 20).pending_calls(100);
/// assert_eq!(limits.body, 1024 * 1024);
/// ```
///
/// With the defaults a session occupies at most 256 MiB, whatever its server does: [`receiving`](Self::receiving), the
/// answers of a full [`outbox`](Self::outbox), [`request_bytes`](Self::request_bytes) twice, [`line`](Self::line), and
/// [`change_bytes`](Self::change_bytes). (A test attacks with all of these at the same time, and counts what is allocated:
/// 95 MiB over a pipe, 148 MiB over HTTP.) The results that the application holds, and the replies that have come for calls
/// that it does not poll, are beside that: each of those has at most [`decoded`](Self::decoded) and its text.
///
/// One limit cannot be set: the head of an HTTP answer has at most 64 KiB and 100 fields. A longer one fails its call
/// ([`Violation::NotHttp`](crate::error::Violation::NotHttp)).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The longest line over stdio, in bytes; a batch is one line. A longer line is skipped, and the call that it answers
    /// fails, if that can be told. A line that is five times as long ends the session, as it may have no end. Default
    /// 16 MiB.
    pub line: usize,
    /// The longest server-sent event, in bytes. A longer one fails its call. Default 16 MiB.
    pub event: usize,
    /// The longest JSON body of an HTTP answer, in bytes. A longer one fails its call. Default 16 MiB.
    pub body: usize,
    /// The memory for bodies and events that are still being received, of all calls together, in bytes. An event's name and
    /// id count like its data, and the last id of an event stream counts as long as the stream is open. Only what each body
    /// or stream has beyond its first 64 KiB counts, its spare capacity included. A call that would exceed this limit fails;
    /// but one body or event at a time may always grow to its own limit. Default 128 MiB.
    pub receiving: usize,
    /// How much of an HTTP error's body is read in search of a JSON-RPC error, in bytes. Default 64 KiB.
    pub error_body: usize,
    /// How many calls may be pending at once. A further call fails at once. Default 65 536.
    pub pending_calls: usize,
    /// The length of each of the driver's three queues: answers to the server, cancellations, and requests of the server's.
    /// When its queue is full, a cancellation is dropped; an answer or a request ends the session. The answers that this
    /// crate makes by itself have at most some 1 200 bytes, as the id of a request has at most 1 024: a full queue of them
    /// has 40 MiB by default, and over stdio there may be as many again. Default 32 768, more than are read in one go.
    pub outbox: usize,
    /// How many answers to the server are sent at the same time, and how many cancellations: over HTTP each is a request.
    /// At least one. Default 16.
    pub sends: usize,
    /// How many requests of the server's are answered at the same time. A further request is refused. A call fails if its
    /// answer asks for more input than that at once; no handler is called then. Default 64.
    pub server_requests: usize,
    /// The length of those requests together, in bytes; requests that the driver has not seen yet may have as much again. A
    /// request that would exceed it is refused; but one alone is always answered. Default 16 MiB.
    pub request_bytes: usize,
    /// How many messages in a row may belong to nobody within a minute, before the session ends: stray
    /// output, malformed lines, replies that no call waits for. A late reply to a call that was given up does not
    /// count. Default 10 000.
    pub stray: usize,
    /// How many bytes of a child's standard error are kept: its end. Default 16 KiB.
    pub stderr_tail: usize,
    /// How many redirects one request follows. Default 10.
    pub redirects: usize,
    /// How many times in a row a broken event stream is resumed while no message comes on it. A stream that lasted 20 s or
    /// more does not count: what closes an idle stream after that is a proxy, which will do so again. A stream is never
    /// resumed sooner than after 100 ms, whatever the server asks. Default 2.
    pub resumptions: usize,
    /// The longest id of an event that is sent back to resume a stream, in bytes. A longer id would not fit into a header of
    /// common servers, so its stream cannot be resumed. Default 4 KiB.
    pub event_id: usize,
    /// How many idle connections are kept for each origin over HTTP. A further one closes the connection that was idle the
    /// longest. Default 32.
    pub idle_connections: usize,
    /// How many times in a row a server may ask for input before it answers a call. Default 10.
    pub rounds: usize,
    /// How many changes a [`Subscription`](crate::Subscription) keeps until they are fetched. Beyond it the oldest changes
    /// are lost, and the subscription says so ([`Change::Lagged`](crate::Change::Lagged)). Default 1 024.
    pub changes: usize,
    /// The length of those changes together, in bytes. Beyond it the oldest changes are lost, too. Default 16 MiB.
    pub change_bytes: usize,
    /// How many tasks at a time can have their progress reported while they run. Beyond it the progress of the oldest is
    /// not reported any more. Default 1 024.
    pub reported_tasks: usize,
    /// How many times in a row a request for a task's status may fail in a way that may pass. After one more failure the
    /// call that waits for the task gets the error. Default 3.
    pub task_failures: usize,
    /// How many pages a `list_*` method fetches. Default 1 000.
    pub pages: usize,
    /// How many arguments of a tool may be repeated as headers (`x-mcp-header`, over HTTP). A tool with
    /// more is left out of the list. Default 64.
    pub mirrored_arguments: usize,
    /// How much memory the value of one result may take, in bytes, beside its text; all pages of a list count as one
    /// result. A call whose result would take more fails, and its error has the text
    /// ([`Error::result_text`](crate::Error::result_text)). Default 64 MiB.
    pub decoded: usize,
    /// The length of all pages together that a `list_*` method fetches, in bytes. Default 64 MiB.
    pub list: usize,
    /// How many origins a [`ServerKindCache`](crate::ServerKindCache) remembers. Beyond it the least recently connected one
    /// is evicted. Default 1 024.
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

/// How long a client waits. `None` means for ever.
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
    /// The longest time that a call waits without a reply or progress. A request of the server's starts the time anew for
    /// all calls, and the clock stops while a handler answers it: the answer may be what a call waits for, and a user may
    /// have to give it. The clock goes on when a handler takes longer than [`total`](Self::total), or than 10 min if that is
    /// `None`. Default 60 s.
    pub silence: Option<Duration>,
    /// The longest time that a call takes as a whole, with or without progress. Default 10 min.
    pub total: Option<Duration>,
    /// The handshake. Default 60 s. When a server gives an HTTP session and then refuses the handshake, the session is
    /// deleted before the error is returned, which may take [`close`](Self::close).
    pub handshake: Option<Duration>,
    /// The question which kind of server it is, in [`Mode::Auto`](crate::Mode::Auto) and
    /// [`Mode::Stateless`](crate::Mode::Stateless). Default 10 s. Where silence means an older server, it is at most half
    /// of [`handshake`](Self::handshake).
    pub probe: Option<Duration>,
    /// Over HTTP, how long connecting waits until the server accepts or refuses the request for its own event stream. Some
    /// servers send nothing before the first event, so the client is handed out after this time, and the stream goes on
    /// opening. Default 300 ms.
    pub stream: Duration,
    /// Over HTTP+SSE, the time from the request for the stream to the event that says where to POST. At most half of
    /// [`handshake`](Self::handshake). Default 30 s.
    pub endpoint: Option<Duration>,
    /// How often a server with a handshake is pinged, also while calls are pending. A ping that is not answered when the
    /// next one is due ends the session ([`ErrorKind::PingMissed`](crate::ErrorKind::PingMissed)). At least 10 ms. Default:
    /// never. Servers of revision 2026-07-28 are not pinged.
    pub keep_alive: Option<Duration>,
    /// Each step of an orderly close: after standard input is closed, after SIGTERM, after SIGKILL; or the HTTP DELETE.
    /// Default 2 s.
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
