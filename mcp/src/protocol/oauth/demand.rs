//! What a server's challenges ask for (RFC 6750, 3; RFC 9728, 5.1).

use super::limits::OAuthLimits;
use super::scope;
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
    /// For each parameter the first challenge that has it counts.
    pub(crate) fn of(challenges: &[Challenge], limits: &OAuthLimits) -> Self {
        let is_ours = |it: &&Challenge| {
            ["bearer", "dpop"].iter().any(|scheme| it.scheme().eq_ignore_ascii_case(scheme))
        };
        let param = |name| {
            challenges.iter().filter(is_ours).find_map(|it| it.param(name)).filter(|it| !it.is_empty())
        };
        Self {
            resource_metadata: param("resource_metadata").map(str::to_owned),
            scope: param("scope").map_or_else(Vec::new, |text| scope::read(text, limits)),
            error: param("error").map(str::to_owned),
        }
    }

    /// Whether more scopes are wanted, instead of another token.
    pub(crate) fn is_step_up(&self) -> bool {
        self.error.as_deref() == Some("insufficient_scope")
    }
}

#[cfg(test)]
mod tests;
