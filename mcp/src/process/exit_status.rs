//! [`ExitStatus`]: how a process ended.

use std::fmt;

/// How a process ended, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitStatus {
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
}

impl ExitStatus {
    /// It is gone, and somebody else was told how (the host program ignores SIGCHLD, or reaps every
    /// child itself).
    #[cfg(feature = "stdio")]
    pub(crate) const UNKNOWN: Self = Self { code: None, signal: None };

    /// The exit status, if the process exited by itself and its status is known.
    pub fn code(&self) -> Option<i32> {
        self.code
    }

    /// The signal that ended the process, if one did.
    pub fn signal(&self) -> Option<i32> {
        self.signal
    }

    /// Whether it is known to have exited by itself with status 0.
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The numbers that every unix agrees on.
        let name = match self.signal {
            Some(1) => "SIGHUP",
            Some(2) => "SIGINT",
            Some(3) => "SIGQUIT",
            Some(4) => "SIGILL",
            Some(6) => "SIGABRT",
            Some(8) => "SIGFPE",
            Some(9) => "SIGKILL",
            Some(11) => "SIGSEGV",
            Some(13) => "SIGPIPE",
            Some(14) => "SIGALRM",
            Some(15) => "SIGTERM",
            _ => "",
        };
        match (self.code, self.signal) {
            // The codes of windows for crashes, known by their hexadecimal form.
            (Some(code), _) if code < 0 => write!(f, "exit status {code:#x}"),
            (Some(code), _) => write!(f, "exit status {code}"),
            (None, Some(signal)) if name.is_empty() => write!(f, "signal {signal}"),
            (None, Some(signal)) => write!(f, "signal {signal} ({name})"),
            (None, None) => f.write_str("an unknown exit status"),
        }
    }
}
