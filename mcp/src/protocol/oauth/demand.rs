//! What a server's challenges ask for (RFC 6750, 3; RFC 9728, 5.1).

use crate::protocol::www_authenticate::Challenge;

/// The challenges of one answer, read for OAuth.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Demand {
    /// Where the server's metadata is.
    pub(crate) resource_metadata: Option<String>,
    /// The scopes that it wants.
    pub(crate) scope: Vec<String>,
    /// Why it refused, such as `invalid_token`.
    pub(crate) error: Option<String>,
}

impl Demand {
    pub(crate) fn of(challenges: &[Challenge]) -> Self {
        let _ = challenges;
        Self::default()
    }

    /// Whether more scopes are wanted, instead of another token.
    pub(crate) fn is_step_up(&self) -> bool {
        self.error.as_deref() == Some("insufficient_scope")
    }
}
