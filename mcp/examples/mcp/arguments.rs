//! What is on the command line.

#[cfg(feature = "oauth")]
use super::sign_in::SignIn;
use serde_json::{Value, json};

pub(crate) const USAGE: &str = "\
usage: mcp <URL | command…> list
       mcp <URL | command…> call <tool> [<json object>]
       mcp <URL | command…> read <uri>
       mcp <URL | command…> prompt <name> [<json object>]
       mcp <URL | command…> ping
       mcp <URL> login | status | logout     (with the feature oauth)";

pub(crate) struct Arguments<'a> {
    /// At least one word.
    pub(crate) server: &'a [String],
    pub(crate) action: Action<'a>,
}

pub(crate) enum Action<'a> {
    List,
    Call {
        tool: &'a str,
        arguments: Value,
    },
    Read {
        uri: &'a str,
    },
    Prompt {
        name: &'a str,
        arguments: Value,
    },
    Ping,
    #[cfg(feature = "oauth")]
    SignIn(SignIn),
}

impl<'a> Arguments<'a> {
    /// The action is at the end: a server's command may have any words.
    pub(crate) fn parse(words: &'a [String]) -> Result<Self, String> {
        let texts: Vec<&str> = words.iter().map(String::as_str).collect();
        let (server, action) = match *texts {
            [ref server @ .., "list"] => (server.len(), Action::List),
            #[cfg(feature = "oauth")]
            [url, "login"] if url.contains("://") => (1, Action::SignIn(SignIn::Login)),
            #[cfg(feature = "oauth")]
            [url, "status"] if url.contains("://") => (1, Action::SignIn(SignIn::Status)),
            #[cfg(feature = "oauth")]
            [url, "logout"] if url.contains("://") => (1, Action::SignIn(SignIn::Logout)),
            [ref server @ .., "ping"] => (server.len(), Action::Ping),
            [ref server @ .., "read", uri] => (server.len(), Action::Read { uri }),
            [ref server @ .., "call", tool] => (server.len(), Action::Call { tool, arguments: json!({}) }),
            [ref server @ .., "call", tool, text] => {
                (server.len(), Action::Call { tool, arguments: object(text)? })
            }
            [ref server @ .., "prompt", name] => {
                (server.len(), Action::Prompt { name, arguments: json!({}) })
            }
            [ref server @ .., "prompt", name, text] => {
                (server.len(), Action::Prompt { name, arguments: object(text)? })
            }
            _ => return Err("what shall I do?".to_owned()),
        };
        match server {
            0 => Err("which server?".to_owned()),
            _ => Ok(Self { server: &words[..server], action }),
        }
    }
}

fn object(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("not JSON: {text:?}: {error}"))
}
