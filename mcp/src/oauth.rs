//! OAuth 2.1 for servers that want a token: signing in, and keeping signed in.
//!
//! ```text
//!  a request ── before: the token, from memory ──▶ MCP server
//!      │ 401, or 403 for more scopes
//!      ▼
//!  one flight for all who wait ── polls ──▶ flow (what to ask next) ⇄ authorization server, store, person
//!      │
//!      ▼ the request once more
//! ```
//!
//! One [`OAuth`] handle is one identity. Give it to any number of transports
//! ([`Http::oauth`](crate::Http::oauth)): they share its tokens, and one refresh serves all of them.
//!
//! ```no_run
//! use shared_fate_mcp::oauth::{FileStore, Loopback, OAuth};
//! use shared_fate_mcp::{Client, Http};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let oauth = OAuth::builder()
//!     .store(FileStore::new("/home/me/.config/my-app/tokens")?)
//!     .consent(Loopback::new(|url| println!("Please visit {url}")))
//!     .build();
//! let http = Http::new("https://mcp.example/mcp")?.oauth(&oauth);
//! oauth.login(&http).await?;
//! let (client, driver) = Client::connect(http).await?;
//! # Ok(()) }
//! ```

#![cfg_attr(
    doc,
    doc = "\n[`guide`] says what each switch gives up, what a store must do, and what the errors mean."
)]

mod account;
mod config;
mod consent;
mod engines;
mod event;
mod file;
mod flight;
mod flights;
mod guard;
mod handle;
mod key;
mod loopback;
mod parts;
mod run;
mod store;
mod tokens;

#[cfg(doc)]
pub mod guide {
    #![doc = include_str!("../docs/oauth.md")]
}

pub use crate::error::AuthError;
pub use crate::protocol::oauth::failure::{AuthErrorKind, AuthStep, IssuerIn, OAuthAnswer};
pub use crate::protocol::oauth::limits::OAuthLimits;
pub use crate::protocol::oauth::stored::{Stored, StoredError};
pub(crate) use account::{Account, Credentials, Rounds};
pub use config::{ClientId, Grant, IdentityProvider, OAuthBuilder, ProofOfPossession, ResourceParameter};
pub use consent::{Consent, Visit, consent_fn};
pub use event::AuthEvent;
pub use file::FileStore;
pub(crate) use flights::{Connect, Seen};
pub use handle::{OAuth, ProtectedServer, Status};
pub(crate) use handle::{Place, Sealed};
pub use key::SigningKey;
pub use loopback::{Loopback, LoopbackHost};
pub use parts::{OAuthTimeouts, Prompt};
pub use store::{MemoryStore, StoreGuard, StoreKey, Swapped, TokenStore};
