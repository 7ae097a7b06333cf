//! Stores that fail, hang or panic, that another process writes to, and whose files are damaged.

use crate::check::story;
use crate::fault::run::{everywhere, once};
use crate::kit::{Both, auth, call, needs_login, with_client, works};
use shared_fate_mcp::Client;
use shared_fate_mcp::oauth::{
    AuthErrorKind, FileStore, MemoryStore, OAuthTimeouts, StoreGuard, StoreKey, Stored, Swapped, TokenStore,
};
use shared_fate_mcp::runtime::BoxFuture;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Mood {
    #[default]
    Good,
    Fails,
    Hangs,
    Panics,
}

/// A store whose operations do as a test says.
#[derive(Default)]
struct Moody {
    store: MemoryStore,
    /// Of `load`, `swap` and `lock`.
    moods: Mutex<[Mood; 3]>,
    /// How many locks are held.
    locked: Arc<AtomicUsize>,
    /// The key that was read last.
    key: Mutex<Option<StoreKey>>,
}

impl Moody {
    fn set(&self, at: usize, mood: Mood) {
        self.moods.lock().unwrap()[at] = mood;
    }

    /// Makes the tokens so many seconds younger.
    async fn shift(&self, seconds: i64) {
        let key = self.key.lock().unwrap().clone().unwrap();
        let found = self.store.load(&key).await.unwrap().unwrap();
        let mut text: serde_json::Value = serde_json::from_str(&found.to_text()).unwrap();
        let obtained = text["tokens"]["obtained"].as_i64().unwrap();
        text["tokens"]["obtained"] = (obtained + seconds).into();
        let other = Stored::from_text(&text.to_string()).unwrap();
        let swapped = self.store.swap(&key, Some(&found), Some(&other)).await.unwrap();
        assert!(matches!(swapped, Swapped::Done));
    }

    fn act<'a, T: Send + 'a>(
        &self,
        at: usize,
        good: BoxFuture<'a, Result<T, BoxError>>,
    ) -> BoxFuture<'a, Result<T, BoxError>> {
        let mood = self.moods.lock().unwrap()[at];
        Box::pin(async move {
            match mood {
                Mood::Good => good.await,
                Mood::Fails => Err("the disk is full".into()),
                Mood::Hangs => std::future::pending().await,
                Mood::Panics => panic!("the store panics"),
            }
        })
    }
}

struct Locked(Arc<AtomicUsize>);

impl Drop for Locked {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl TokenStore for Moody {
    fn load<'a>(&'a self, key: &'a StoreKey) -> BoxFuture<'a, Result<Option<Stored>, BoxError>> {
        *self.key.lock().unwrap() = Some(key.clone());
        self.act(0, self.store.load(key))
    }

    fn swap<'a>(
        &'a self,
        key: &'a StoreKey,
        old: Option<&'a Stored>,
        new: Option<&'a Stored>,
    ) -> BoxFuture<'a, Result<Swapped, BoxError>> {
        assert_eq!(self.locked.load(Ordering::SeqCst), 1, "a swap is under the lock");
        self.act(1, Box::pin(async move { self.store.swap(key, old, new).await }))
    }

    fn lock<'a>(&'a self, _: &'a StoreKey) -> BoxFuture<'a, Result<StoreGuard, BoxError>> {
        let locked = Arc::clone(&self.locked);
        let good = async move {
            locked.fetch_add(1, Ordering::SeqCst);
            Ok(StoreGuard::new(Locked(locked)))
        };
        self.act(2, Box::pin(good))
    }
}

fn impatient() -> OAuthTimeouts {
    let mut timeouts = OAuthTimeouts::default();
    timeouts.store = Duration::from_millis(20);
    timeouts
}

#[test]
fn oa_75_tokens_that_cannot_be_saved_are_an_error_and_not_lost() {
    everywhere(async |run| {
        for mood in [Mood::Fails, Mood::Hangs, Mood::Panics] {
            let both = Both::start();
            let store = Arc::new(Moody::default());
            let oauth = both.builder().store(Arc::clone(&store)).timeouts(impatient()).build();
            let connected = both.signed_in(&oauth).await;
            with_client(run, connected, async |client| {
                both.books().expire();
                store.set(1, mood);
                let error = call(client).await.unwrap_err();
                assert!(matches!(auth(&error).kind(), AuthErrorKind::Store), "{mood:?}: {}", story(&error));
                assert!(std::error::Error::source(&error).is_some());
                // The rotated token is kept in memory, and used.
                call(client).await.unwrap();
                store.set(1, Mood::Good);
                both.books().expire();
                call(client).await.unwrap();
            })
            .await;
            assert_eq!(both.seen(|it| (it.refreshes, it.asked, it.is_revoked)), (2, 1, false), "{mood:?}");
            assert_eq!(store.locked.load(Ordering::SeqCst), 0);
            // What is stored is good, too.
            let other = both.builder().store(store).build();
            assert!(both.status(&other).await.unwrap().has_refresh);
            both.books().expire();
            let connected = Client::connect(both.http(&other)).await.unwrap();
            works(run, connected).await;
            assert!(!both.books().is_revoked);
        }
    });
}

#[test]
fn oa_77_who_could_not_save_takes_nobody_elses_tokens_away() {
    once(async |run| {
        // The other handle's tokens are younger than ours, or older: then ours are tried first.
        for (seconds, tries) in [(10, 0), (-10, 1)] {
            let both = Both::start();
            let store = Arc::new(Moody::default());
            let [oauth, other] = [(); 2].map(|()| both.builder().store(Arc::clone(&store)).build());
            let connected = both.signed_in(&oauth).await;
            with_client(run, connected, async |client| {
                both.books().expire();
                store.set(1, Mood::Fails);
                assert!(matches!(auth(&call(client).await.unwrap_err()).kind(), AuthErrorKind::Store));
                store.set(1, Mood::Good);
                // The tokens that are only in memory are good for nothing any more.
                both.books().revoke();
                other.login(&both.http(&other)).await.unwrap();
                store.shift(seconds).await;
                let forms = both.books().forms.len();
                call(client).await.unwrap();
                assert_eq!(both.books().forms.len(), forms + tries, "{seconds}");
            })
            .await;
            assert_eq!(both.seen(|it| (it.asked, it.is_revoked)), (2, false));
            let third = both.builder().store(store).build();
            assert!(both.status(&third).await.unwrap().has_refresh, "it is stored still");
        }
    });
}

#[test]
fn oa_73_without_the_lock_nothing_is_refreshed() {
    once(async |run| {
        for (mood, is_retryable) in [(Mood::Fails, false), (Mood::Hangs, true), (Mood::Panics, false)] {
            let both = Both::start();
            let store = Arc::new(Moody::default());
            let oauth = both.builder().store(Arc::clone(&store)).timeouts(impatient()).build();
            let connected = both.signed_in(&oauth).await;
            with_client(run, connected, async |client| {
                both.books().expire();
                store.set(2, mood);
                let begun = Instant::now();
                let error = call(client).await.unwrap_err();
                assert_eq!(error.is_retryable(), is_retryable, "{mood:?}: {}", story(&error));
                assert_eq!(both.books().refreshes, 0);
                store.set(2, Mood::Good);
                // After a lock that could not be had in time no refresh is tried for a second.
                match call(client).await {
                    Ok(()) => assert!(!is_retryable || begun.elapsed() >= Duration::from_secs(1)),
                    Err(error) => match auth(&error).kind() {
                        AuthErrorKind::Unavailable { retry_after: Some(1), .. } if is_retryable => {}
                        kind => panic!("{kind}"),
                    },
                }
            })
            .await;
            let other = both.builder().store(store).build();
            let connected = Client::connect(both.http(&other)).await.unwrap();
            works(run, connected).await;
            assert_eq!(both.books().refreshes, 1, "{mood:?}");
        }
    });
}

#[test]
fn oa_75_a_store_that_cannot_be_read_is_an_error_of_its_own() {
    once(async |_| {
        for mood in [Mood::Fails, Mood::Hangs, Mood::Panics] {
            let both = Both::start();
            let store = Arc::new(Moody::default());
            store.set(0, mood);
            let oauth = both.builder().store(store).timeouts(impatient()).build();
            let error = Client::connect(both.http(&oauth)).await.unwrap_err();
            assert!(matches!(auth(&error).kind(), AuthErrorKind::Store), "{}", story(&error));
            assert!(oauth.login(&both.http(&oauth)).await.is_err());
            assert!(oauth.logout(&both.http(&oauth)).await.is_err());
            assert_eq!(both.server.requests().len(), 0, "nothing was sent");
        }
    });
}

#[test]
fn oa_75_a_damaged_entry_ends_with_the_next_login_or_logout() {
    everywhere(async |run| {
        let (both, folder) = (Both::start(), new_folder());
        let new = || both.builder().store(FileStore::new(&folder).unwrap()).build();
        let oauth = new();
        oauth.login(&both.http(&oauth)).await.unwrap();
        let entry = || {
            let paths = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
            paths.into_iter().find(|path| path.extension().is_some_and(|it| it == "json"))
        };
        let path = entry().unwrap();
        for damage in [&b"{\"version\":1"[..], b"", b"\xff\xfe"] {
            std::fs::write(&path, damage).unwrap();
            let oauth = new();
            let error = Client::connect(both.http(&oauth)).await.unwrap_err();
            assert!(matches!(auth(&error).kind(), AuthErrorKind::Store), "{}", story(&error));
            oauth.login(&both.http(&oauth)).await.unwrap();
            let connected = Client::connect(both.http(&new())).await.unwrap();
            works(run, connected).await;
            std::fs::write(&path, damage).unwrap();
            oauth.logout(&both.http(&oauth)).await.unwrap();
            assert_eq!((entry(), both.status(&oauth).await), (None, None));
        }
        // A later version may know what is in the file.
        let later = b"{\"version\":2}";
        std::fs::write(&path, later).unwrap();
        let oauth = new();
        assert!(oauth.login(&both.http(&oauth)).await.is_err());
        assert!(oauth.logout(&both.http(&oauth)).await.is_err());
        assert_eq!(std::fs::read(&path).unwrap(), later);
        std::fs::remove_dir_all(&folder).unwrap();
    });
}

#[test]
fn oa_73_tokens_that_another_process_has_got_are_used() {
    once(async |run| {
        let both = Both::start();
        let store = Arc::new(MemoryStore::new());
        let [one, other] = [(); 2].map(|()| both.builder().store(Arc::clone(&store)).build());
        let first = both.signed_in(&one).await;
        let second = Client::connect(both.http(&other)).await.unwrap();
        with_client(run, first, async |first| {
            with_client(run, second, async |second| {
                both.books().expire();
                call(first).await.unwrap();
                call(second).await.unwrap();
                assert_eq!(both.seen(|it| (it.refreshes, it.is_revoked)), (1, false));
                // A logout at one handle takes the tokens from the other, too.
                one.logout(&both.http(&one)).await.unwrap();
                both.books().expire();
                assert!(needs_login(&call(second).await.unwrap_err()));
            })
            .await;
        })
        .await;
    });
}

#[test]
fn oa_73_a_login_elsewhere_is_found() {
    once(async |run| {
        let both = Both::start();
        let store = Arc::new(MemoryStore::new());
        let [one, other] = [(); 2].map(|()| both.builder().store(Arc::clone(&store)).build());
        let connected = both.signed_in(&one).await;
        with_client(run, connected, async |client| {
            both.books().revoke();
            assert!(needs_login(&call(client).await.unwrap_err()));
            other.login(&both.http(&other)).await.unwrap();
            call(client).await.unwrap();
        })
        .await;
        assert_eq!(both.books().asked, 2);
    });
}

#[test]
fn oa_74_with_the_last_handle_the_lock_is_free() {
    once(async |_| {
        let both = Both::start();
        let store = Arc::new(Moody::default());
        let oauth = both.builder().store(Arc::clone(&store)).build();
        let http = both.http(&oauth);
        oauth.login(&http).await.unwrap();
        both.books().expire();
        // A refresh that stands still under the lock.
        store.set(1, Mood::Hangs);
        let connecting = Box::pin(Client::connect(http));
        let arrived = both.server.arrival(|request| request.text.contains("refresh_token="));
        match futures::future::select(connecting, Box::pin(arrived)).await {
            futures::future::Either::Left(_) => panic!("the store hangs"),
            futures::future::Either::Right((_, connecting)) => {
                assert_eq!(store.locked.load(Ordering::SeqCst), 1);
                drop(connecting);
            }
        }
        assert_eq!(store.locked.load(Ordering::SeqCst), 1, "the handle keeps the flight");
        drop(oauth);
        assert_eq!(store.locked.load(Ordering::SeqCst), 0);
    });
}

#[test]
fn oa_73_file_stores_of_one_folder_share_tokens_and_refreshes() {
    everywhere(async |run| {
        let folder = new_folder();
        let both = Both::start();
        let [one, other] = [(); 2].map(|()| both.builder().store(FileStore::new(&folder).unwrap()).build());
        let first = both.signed_in(&one).await;
        let second = Client::connect(both.http(&other)).await.unwrap();
        with_client(run, first, async |first| {
            with_client(run, second, async |second| {
                for round in 1..=5 {
                    both.books().expire();
                    let (one, other) = futures::future::join(call(first), call(second)).await;
                    one.unwrap();
                    other.unwrap();
                    assert_eq!(both.seen(|it| (it.refreshes, it.is_revoked)), (round, false));
                }
            })
            .await;
        })
        .await;
        std::fs::remove_dir_all(&folder).unwrap();
    });
}

/// A path for a folder that nobody else has.
pub(crate) fn new_folder() -> std::path::PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, Ordering::SeqCst);
    std::env::temp_dir().join(format!("shared-fate-oauth-{}-{count}", std::process::id()))
}
