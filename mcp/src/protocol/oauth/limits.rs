//! [`OAuthLimits`]: counts and sizes. Time limits are elsewhere, as this room knows no clock.

/// How much the OAuth client takes from authorization servers, and keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OAuthLimits {
    /// The longest metadata document, registration or token answer, in bytes. A longer one cannot be used. Default
    /// 256 KiB.
    pub document: usize,
    /// How many redirects a document's request follows, all of them to the same origin. Default 3.
    pub redirects: usize,
    /// How many of the authorization servers that a document lists are tried. Default 4.
    pub servers: usize,
    /// How many places are asked for documents in one flow. Default 12.
    pub candidates: usize,
    /// How many requests one flow makes. Default 16.
    pub fetches: usize,
    /// How often one refresh token is tried that the server refuses for no reason we know. Default 3.
    pub refreshes: u32,
    /// How many scopes a document, a challenge or an answer may name; those beyond are left out. Default 128.
    pub scopes: usize,
    /// The longest scope, in bytes; a longer one is left out. Default 256.
    pub scope: usize,
    /// The longest list of scopes that is sent, in bytes. A longer one fails the flow. Default 4 KiB.
    pub scope_parameter: usize,
    /// The longest access token, refresh token, client id and client secret, in bytes each. A longer one cannot be used.
    /// Default 16 KiB.
    pub token: usize,
    /// The longest URL that a person is sent to, in bytes. A longer one fails the flow. Default 8 KiB.
    pub authorization_url: usize,
    /// The longest URL that a person comes back with, in bytes. A longer one fails the flow. Default 16 KiB.
    pub redirect_url: usize,
    /// How many nonces for proofs of possession are remembered, one for each origin; the oldest goes. Default 16.
    pub nonces: usize,
    /// The longest entry that a store is given, in bytes. A longer one is stored without the members that nobody knows; where
    /// that is not enough, its tokens are refused. Default 256 KiB, which is what [`FileStore`](crate::oauth::FileStore) reads.
    pub stored: usize,
}

impl Default for OAuthLimits {
    fn default() -> Self {
        Self {
            document: 256 * 1024,
            redirects: 3,
            servers: 4,
            candidates: 12,
            fetches: 16,
            refreshes: 3,
            scopes: 128,
            scope: 256,
            scope_parameter: 4 * 1024,
            token: 16 * 1024,
            authorization_url: 8 * 1024,
            redirect_url: 16 * 1024,
            nonces: 16,
            stored: 256 * 1024,
        }
    }
}
