//! The page of errors: its head, its table of kinds, and an entry for each failure.

use shared_fate::Cause;
use shared_fate_mcp::{Error, ErrorKind};
use std::fmt::Write as _;

const HEAD: &str = "\
# Error reference

What the caller of a failed call, or of `connect`, sees.

Before the kind, five questions:

- `server()`: which server is it about? The message begins with it.
- `is_session_ended()`: is a new session needed? `Client::reconnect` makes one, and `Reconnecting` does so by itself.
- `is_retryable()`: may the same request succeed later, on this client?
- `delivery()`: may the server have acted on the request? A request that changes something is safe to repeat only after
  `NotSent`.
- `{error:#}`: what is the whole story? One line, for a log or for a user.

";

/// Each kind: what happened, and what to do.
const KINDS: [[&str; 3]; 16] = [
    ["InvalidInput", "The caller's input cannot be used. Nothing was sent.", "Mend the program."],
    [
        "Io",
        "The operating system, the network or TLS failed; `stage()` says while doing what.",
        "Try again if `is_retryable()`. After `Spawn`, `Resolve` and `Connect` check the command or the URL, after `Tls` \
         the certificates, after `Credentials` the token provider.",
    ],
    [
        "Proxy",
        "The proxy could not be reached, refused, or was not understood.",
        "Check the proxy's address and credentials. Try again if `is_retryable()`.",
    ],
    [
        "Http",
        "The server answered with an HTTP status that is no reply; `status()` and the beginning of the body are in it.",
        "401 and 403: get a token, as `challenges()` say. 429 and 503: wait for `retry_after()`. Other 5xx: try again if \
         `is_retryable()`. Other 4xx: the request is wrong, or the URL.",
    ],
    [
        "Auth",
        "There is no access token that the server takes; `kind()` says why, `step()` and `host()` where it failed.",
        "`LoginRequired`: call `login`. `Unavailable`: try again. Of each other kind the text says what may help.",
    ],
    [
        "Rpc",
        "The server understood the request and refused it: `code()` and `message()` are its own.",
        "Show it. -32602: the parameters are wrong. -32601: the server does not have the method.",
    ],
    [
        "Protocol",
        "The server broke the protocol; `violation()` says how.",
        "Report it to the server's authors. A tool may have run all the same: `result_text()` is what it said.",
    ],
    [
        "Timeout",
        "No reply in time. The call was cancelled; the session goes on.",
        "Allow more time (`CallOptions`), report progress from the server, or give up.",
    ],
    [
        "Limit",
        "A value of `Limits` was reached; `what()` names it.",
        "Raise it if the server is trusted. If calls are pending: wait for some of them.",
    ],
    [
        "ServerExited",
        "The server's process ended, or closed its output; exit status and last words are in it.",
        "Read the last words. Reconnect to start it again.",
    ],
    ["PingMissed", "The server did not answer a ping in time.", "Reconnect."],
    ["SessionExpired", "The server no longer knows the HTTP session (404).", "Reconnect."],
    ["NoEndpoint", "There is no MCP server at this URL.", "Check the URL."],
    [
        "Form",
        "JSON does not have the form of a type of the caller's.",
        "Mend the type, or read the JSON as it is.",
    ],
    [
        "Handler",
        "The server needed something first, and a handler of this client's refused it.",
        "Nothing, if the user said no. Else mend the handler.",
    ],
    [
        "SessionEnded",
        "The session ended, and this call with it; `session_cause()` is why, an error of its own in `Failed`.",
        "`Failed`: reconnect, and see the row of that error. `Closed`: somebody closed the client. `Dropped`, `Panicked`: \
         keep polling the driver, or mend what panicked.",
    ],
];

const REFERENCE: &str = "
Below, each failure is provoked by `tests/error_reference`, and this page is its output
(`ERROR_REFERENCE=write cargo test -p shared-fate-mcp --all-features --test error_reference`).

The first line of each is `{error:#}`, the whole chain. Where that is longer than `{error}`, the latter is the second
line. What both begin with is left out here: the name of the server (`Error::server`), which is its origin over HTTP and the
program of a child process. Then the kind (`Error::kind`), the delivery (`Error::delivery`), and whether `Error::is_retryable`.
The words and numbers of the operating system are those of Linux.

";

/// The page.
pub(crate) struct Page(String);

impl Page {
    pub(crate) fn new() -> Self {
        let mut page = HEAD.to_owned() + "| kind | what happened | what to do |\n|---|---|---|\n";
        for [kind, happened, what_to_do] in KINDS {
            writeln!(page, "| `{kind}` | {happened} | {what_to_do} |").unwrap();
        }
        Self(page + REFERENCE)
    }

    pub(crate) fn text(&self) -> String {
        self.0.trim_end().to_owned() + "\n"
    }

    pub(crate) fn section(&mut self, title: &str) {
        write!(self.0, "## {title}\n\n").unwrap();
    }

    pub(crate) fn add(&mut self, what: &str, error: &Error) {
        let name = error.server().map_or_else(String::new, |server| format!("{server}: "));
        let [short, long] = [error.to_string(), format!("{error:#}")]
            .map(|text| text.strip_prefix(&name).expect("a message begins with the name").to_owned());
        write!(self.0, "**{what}**\n\n```text\n{long}\n").unwrap();
        if short != long {
            writeln!(self.0, "{short}").unwrap();
        }
        let retryable = if error.is_retryable() { "retryable" } else { "not retryable" };
        let (kind, delivery) = (kind(error), error.delivery());
        let name = kind.split('(').next().unwrap_or_default();
        assert!(KINDS.iter().any(|[kind, ..]| *kind == name), "{name} is not in the table");
        write!(self.0, "```\n\n`{kind}`, `{delivery:?}`, {retryable}").unwrap();
        if let Some(wait) = error.http().and_then(|http| http.retry_after()) {
            write!(self.0, "; `retry_after()` is {wait:?}").unwrap();
        }
        if let Some(challenge) = error.http().and_then(|http| http.www_authenticate().first()) {
            write!(self.0, "; `www_authenticate()` is `{challenge}`").unwrap();
        }
        self.0 += "\n\n";
    }
}

/// The kind's name; of a session's end, with the cause's.
fn kind(error: &Error) -> String {
    let name = format!("{:?}", error.kind());
    let name = name.split(['(', '{', ' ']).next().unwrap_or_default().to_owned();
    match (error.kind(), error.session_cause()) {
        (ErrorKind::InvalidInput(input), _) => format!("{name}({input:?})").replace("\\\"", "\""),
        (ErrorKind::Auth(auth), _) => {
            let what = format!("{:?}", auth.kind());
            format!("{name}({})", what.split(['(', '{', ' ']).next().unwrap_or_default())
        }
        (ErrorKind::Io(io), _) => format!("{name}({:?})", io.stage()),
        (_, Some(Cause::Failed(cause))) => format!("{name}(Failed({}))", kind(cause)),
        (_, Some(Cause::Panicked(_))) => format!("{name}(Panicked)"),
        (_, Some(cause)) => format!("{name}({cause:?})"),
        _ => name,
    }
}
