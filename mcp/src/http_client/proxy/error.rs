//! What can be wrong with a proxy.

use std::error::Error;
use std::{fmt, io};

use super::super::net::ConnectError;

/// A proxy's URL that cannot be used. It does not contain the URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidProxy {
    /// Where the URL comes from, if that is the environment.
    pub(super) variable: Option<&'static str>,
    pub(super) why: &'static str,
}

impl fmt::Display for InvalidProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.variable {
            Some(variable) => write!(f, "{variable}: {}", self.why),
            None => f.write_str(self.why),
        }
    }
}

impl Error for InvalidProxy {}

/// It was the proxy: it could not be reached, refused, or made no sense.
///
/// ```
/// use shared_fate_mcp::{Error, ErrorKind};
///
/// fn report(error: &Error) {
///     match error.kind() {
///         ErrorKind::Proxy(proxy) if proxy.wants_credentials() => println!("log in at {}", proxy.proxy()),
///         _ => println!("{error:#}"),
///     }
/// }
/// ```
#[derive(Debug)]
pub struct ProxyError {
    proxy: String,
    why: Why,
}

#[derive(Debug)]
pub(in super::super) enum Why {
    Unreachable(ConnectError),
    Broken(io::Error),
    Credentials {
        given: bool,
        /// 407, or 401 instead, if it speaks HTTP.
        status: Option<u16>,
    },
    Status(u16),
    /// RFC 1928, section 6.
    Socks(u8),
    /// SOCKS5 has no room for the server's name.
    LongName,
    /// What it does against its protocol.
    Odd(&'static str),
}

impl ProxyError {
    pub(super) fn new(proxy: String, why: Why) -> Self {
        Self { proxy, why }
    }

    /// The proxy's host and port.
    pub fn proxy(&self) -> &str {
        &self.proxy
    }

    /// The HTTP status with which it refused.
    pub fn status(&self) -> Option<u16> {
        match self.why {
            Why::Status(status) => Some(status),
            Why::Credentials { status, .. } => status,
            _ => None,
        }
    }

    /// The reply of SOCKS5 with which it refused (RFC 1928, section 6).
    pub fn socks_code(&self) -> Option<u8> {
        match self.why {
            Why::Socks(code) => Some(code),
            _ => None,
        }
    }

    /// Whether it wants a user name and a password, or others than those it got.
    pub fn wants_credentials(&self) -> bool {
        matches!(self.why, Why::Credentials { .. })
    }

    /// Whether it may be otherwise the next time.
    pub(crate) fn is_passing(&self) -> bool {
        match self.why {
            Why::Unreachable(_) | Why::Broken(_) => true,
            Why::Status(status) => matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504),
            // A failure of the proxy's, and those of the network between it and the server.
            Why::Socks(code) => matches!(code, 1 | 3..=6),
            Why::Credentials { .. } | Why::LongName | Why::Odd(_) => false,
        }
    }
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the proxy {} ", self.proxy)?;
        match &self.why {
            Why::Unreachable(_) => f.write_str("could not be reached"),
            Why::Broken(_) => f.write_str("broke the connection off"),
            Why::Credentials { given: false, .. } => f.write_str("wants a user name and a password"),
            Why::Credentials { given: true, .. } => {
                f.write_str("does not accept the user name and the password")
            }
            Why::Status(status) => write!(f, "refused with HTTP status {status}"),
            Why::Socks(code) => write!(f, "refused with SOCKS code {code}{}", meaning(*code)),
            Why::LongName => f.write_str("takes no name of more than 255 bytes"),
            Why::Odd(what) => write!(f, "cannot be understood: {what}"),
        }
    }
}

impl Error for ProxyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.why {
            Why::Unreachable(error) => Some(error),
            Why::Broken(error) => Some(error),
            _ => None,
        }
    }
}

fn meaning(code: u8) -> &'static str {
    match code {
        1 => ": it failed",
        2 => ": its rules do not allow the connection",
        3 => ": the network cannot be reached",
        4 => ": the host cannot be reached",
        5 => ": the server refuses the connection",
        6 => ": the server is too far away",
        7 | 8 => ": it does not support what was asked of it",
        _ => "",
    }
}
