//! The page.

use shared_fate::Cause;
use shared_fate_mcp::{Error, ErrorKind};
use std::fmt::Write as _;

const HEAD: &str = "\
# Error reference

What the caller of a failed call, or of `connect`, sees. Each failure is provoked by `tests/error_reference`, and
this page is its output (`ERROR_REFERENCE=write cargo test -p shared-fate-mcp --all-features --test error_reference`).

The first line of each is `{error:#}`, the whole chain. Where that is longer than `{error}`, the latter is the second
line. What both begin with is left out here: the name of the server (`Error::server`), which is its origin over HTTP and the
program of a child process. Then the kind (`Error::kind`), the delivery (`Error::delivery`), and whether `Error::is_retryable`.
The words and numbers of the operating system are those of Linux.

";

/// The page.
pub(crate) struct Page(String);

impl Page {
    pub(crate) fn new() -> Self {
        Self(HEAD.to_owned())
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
        (ErrorKind::Io(io), _) => format!("{name}({:?})", io.stage()),
        (_, Some(Cause::Failed(cause))) => format!("{name}(Failed({}))", kind(cause)),
        (_, Some(Cause::Panicked(_))) => format!("{name}(Panicked)"),
        (_, Some(cause)) => format!("{name}({cause:?})"),
        _ => name,
    }
}
