//! Where tokens are kept: [`TokenStore`], and [`MemoryStore`].

use super::consent::BoxError;
use crate::protocol::oauth::stored::{Stored, StoredError};
use crate::runtime::BoxFuture;
use crate::sync::Mutex;
use std::any::Any;
use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;

/// Where tokens are kept from one run of a program to the next, and for several at the same time.
///
/// The store decides, not what a process remembers. Before a refresh it is read again under the lock, and what another
/// process has stored meanwhile is used. So a store that several processes share must bring a lock: authorization
/// servers that give out a new refresh token with each refresh take the second use of an old one for a theft, and
/// revoke all of them. A store that one handle and its clones have needs none.
///
/// Its futures may be dropped at any time. Each is given [`OAuthTimeouts::store`](super::OAuthTimeouts::store) (35 s by
/// default), and one that takes longer has failed.
pub trait TokenStore: Send + Sync + 'static {
    /// What is kept under this key. For a damaged entry the error is the [`StoredError`] itself, not wrapped: a new
    /// authorization and a logout replace such an entry, and nothing else does.
    fn load<'a>(
        &'a self,
        key: &'a StoreKey,
    ) -> BoxFuture<'a, Result<Option<Stored>, Box<dyn StdError + Send + Sync>>>;

    /// Keeps `new` (`None`: nothing) if what is there is still `old` (`None`: nothing, or damaged), and says what is there
    /// otherwise. It is called under the [`lock`](Self::lock); without it only by a logout that cannot have the lock.
    fn swap<'a>(
        &'a self,
        key: &'a StoreKey,
        old: Option<&'a Stored>,
        new: Option<&'a Stored>,
    ) -> BoxFuture<'a, Result<Swapped, Box<dyn StdError + Send + Sync>>>;

    /// Waits until nobody else has this key's lock. It is held while a refresh asks the authorization server, and while an
    /// entry is replaced, never while a person is asked. The default coordinates nobody.
    fn lock<'a>(
        &'a self,
        key: &'a StoreKey,
    ) -> BoxFuture<'a, Result<StoreGuard, Box<dyn StdError + Send + Sync>>> {
        let _ = key;
        Box::pin(async { Ok(StoreGuard::new(())) })
    }
}

impl<S: TokenStore + ?Sized> TokenStore for Arc<S> {
    fn load<'a>(&'a self, key: &'a StoreKey) -> BoxFuture<'a, Result<Option<Stored>, BoxError>> {
        (**self).load(key)
    }

    fn swap<'a>(
        &'a self,
        key: &'a StoreKey,
        old: Option<&'a Stored>,
        new: Option<&'a Stored>,
    ) -> BoxFuture<'a, Result<Swapped, BoxError>> {
        (**self).swap(key, old, new)
    }

    fn lock<'a>(&'a self, key: &'a StoreKey) -> BoxFuture<'a, Result<StoreGuard, BoxError>> {
        (**self).lock(key)
    }
}

/// Whether an entry is damaged, and not only of a later version.
pub(super) fn is_damage(error: &(dyn StdError + Send + Sync + 'static)) -> bool {
    matches!(error.downcast_ref(), Some(StoredError::Form))
}

/// What became of a [`swap`](TokenStore::swap).
#[derive(Debug)]
#[allow(clippy::exhaustive_enums, clippy::large_enum_variant, reason = "stores construct it, and not often")]
pub enum Swapped {
    /// The new entry is kept.
    Done,
    /// The old entry is not there, but this one, or none.
    Other(Option<Stored>),
}

/// A lock that is held. Dropping it gives the lock back.
pub struct StoreGuard(#[allow(dead_code, reason = "it is dropped")] Box<dyn Any + Send>);

impl StoreGuard {
    /// A guard that drops `guard` when it is dropped.
    pub fn new(guard: impl Send + 'static) -> Self {
        Self(Box::new(guard))
    }
}

impl fmt::Debug for StoreGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreGuard").finish_non_exhaustive()
    }
}

/// The name under which tokens are kept. It has two parts: the server, and the profile
/// ([`OAuthBuilder::profile`](super::OAuthBuilder::profile)).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreKey {
    text: String,
}

impl StoreKey {
    /// `resource` is the server's URL without what may be secret.
    pub(super) fn new(resource: &str, profile: &str) -> Self {
        Self { text: format!("{profile} {resource}") }
    }

    /// A text that stays the same from one version to the next.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The key as 64 hexadecimal digits (SHA-256), which are a file name on every system.
    pub fn file_name(&self) -> String {
        let digest = ring::digest::digest(&ring::digest::SHA256, self.text.as_bytes());
        digest.as_ref().iter().fold(String::new(), |mut name, byte| {
            let _ = write!(name, "{byte:02x}");
            name
        })
    }
}

/// Tokens in memory: gone with the process. The default.
///
/// It has no lock. Two handles that share one, in an `Arc`, may refresh the same token at the same time, which some
/// authorization servers take for a theft: share the handle.
#[derive(Debug, Default)]
pub struct MemoryStore {
    entries: Mutex<HashMap<StoreKey, Stored>>,
}

impl MemoryStore {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }
}

impl TokenStore for MemoryStore {
    fn load<'a>(&'a self, key: &'a StoreKey) -> BoxFuture<'a, Result<Option<Stored>, BoxError>> {
        let found = self.entries.lock().get(key).cloned();
        Box::pin(std::future::ready(Ok(found)))
    }

    fn swap<'a>(
        &'a self,
        key: &'a StoreKey,
        old: Option<&'a Stored>,
        new: Option<&'a Stored>,
    ) -> BoxFuture<'a, Result<Swapped, BoxError>> {
        let mut entries = self.entries.lock();
        let swapped = match entries.get(key) {
            found if found != old => Swapped::Other(found.cloned()),
            _ => {
                match new {
                    Some(new) => entries.insert(key.clone(), new.clone()),
                    None => entries.remove(key),
                };
                Swapped::Done
            }
        };
        drop(entries);
        Box::pin(std::future::ready(Ok(swapped)))
    }
}
