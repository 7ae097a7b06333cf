//! [`AuthEvent`]: what becomes of tokens, for whoever shows or logs it.

use crate::error::AuthError;

/// Something that has happened to the tokens of a server. See [`Event::Auth`](crate::Event::Auth). It holds no secret.
///
/// What [`OAuth::login`](super::OAuth::login) does is reported to a client that has the handle; if there is none yet, to the
/// first one. The last 64 events are kept for it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum AuthEvent {
    /// A person is asked now; until they answer, the clocks of the calls that wait for it stand still.
    #[non_exhaustive]
    Asking {
        /// The authorization server's host and port.
        host: String,
    },
    /// A new authorization was granted.
    #[non_exhaustive]
    Granted {
        /// By whom.
        issuer: String,
        /// For what.
        scopes: Vec<String>,
    },
    /// A token was refreshed.
    #[non_exhaustive]
    Refreshed {
        /// By whom.
        issuer: String,
    },
    /// Another process has signed in or refreshed, and its tokens are used.
    Adopted,
    /// There is no new token.
    Failed(AuthError),
}
