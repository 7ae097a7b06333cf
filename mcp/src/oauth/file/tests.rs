//! Unit tests of `oauth::file`: what is in the folder, who may read it, and how processes wait for one another.

use super::by_creating::{Created, STALE, try_lock};
use super::*;
use crate::oauth::{StoreKey, Swapped, TokenStore};
use crate::protocol::oauth::stored::Stored;
use crate::protocol::oauth::stored::tests::bare;
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

fn folder() -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, Ordering::SeqCst);
    std::env::temp_dir().join(format!("shared-fate-files-{}-{count}", process::id()))
}

fn stored(issuer: &str) -> Stored {
    Stored { issuer: issuer.to_owned(), ..bare() }
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    pollster::block_on(future)
}

fn is_done(swapped: Result<Swapped, BoxError>) -> bool {
    matches!(swapped.unwrap(), Swapped::Done)
}

#[test]
fn oa_73_an_entry_is_kept_if_the_one_before_it_is_there() {
    let folder = folder();
    let store = FileStore::new(&folder).unwrap();
    let key = StoreKey::new("https://mcp.example/mcp", "");
    let (one, two) = (stored("https://one.example"), stored("https://two.example"));
    assert_eq!(wait(store.load(&key)).unwrap(), None);
    assert!(is_done(wait(store.swap(&key, None, None))));
    assert!(is_done(wait(store.swap(&key, None, Some(&one)))));
    assert!(
        matches!(wait(store.swap(&key, None, Some(&two))).unwrap(), Swapped::Other(Some(found)) if found == one)
    );
    assert!(is_done(wait(store.swap(&key, Some(&one), Some(&two)))));
    assert_eq!(wait(store.load(&key)).unwrap(), Some(two.clone()));
    assert_eq!(wait(store.load(&StoreKey::new("https://mcp.example/mcp", "other"))).unwrap(), None);
    assert!(is_done(wait(store.swap(&key, Some(&two), None))));
    assert_eq!(wait(store.load(&key)).unwrap(), None);
    fs::remove_dir_all(folder).unwrap();
}

#[cfg(unix)]
#[test]
fn oa_73_nobody_else_can_read_the_files() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder();
    let store = FileStore::new(&folder).unwrap();
    let key = StoreKey::new("https://mcp.example/mcp", "");
    assert!(is_done(wait(store.swap(&key, None, Some(&stored("https://one.example"))))));
    drop(wait(store.lock(&key)).unwrap());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    let files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 2, "an entry and its lock, and nothing left over: {files:?}");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{file:?}");
    }
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o770)).unwrap();
    let refused = FileStore::new(&folder).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn oa_73_an_entry_has_so_many_bytes_and_no_more() {
    let folder = folder();
    let store = FileStore::new(&folder).unwrap();
    let key = StoreKey::new("https://mcp.example/mcp", "");
    let of_length = |length: usize| {
        let mut entry = stored("");
        entry.issuer = "x".repeat(length - entry.to_text().len());
        assert_eq!(entry.to_text().len(), length);
        entry
    };
    let longest = of_length(FileStore::LONGEST);
    assert!(is_done(wait(store.swap(&key, None, Some(&longest)))));
    let text = fs::read_to_string(store.path(&key, "json")).unwrap();
    assert_eq!(text.len(), FileStore::LONGEST);
    let longer = of_length(FileStore::LONGEST + 1);
    wait(store.swap(&key, Some(&longest), Some(&longer))).unwrap_err();
    fs::write(store.path(&key, "json"), longer.to_text()).unwrap();
    assert!(wait(store.load(&key)).unwrap_err().to_string().contains("262144"));
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn oa_73_files_of_processes_that_ended_while_they_wrote_are_removed() {
    let folder = folder();
    let store = FileStore::new(&folder).unwrap();
    let (key, other) = (StoreKey::new("https://mcp.example/mcp", ""), StoreKey::new("https://o.example", ""));
    let one = stored("https://one.example");
    let left = |key: &StoreKey, age: Duration| {
        let path = store.path(key, &format!("{}.new", age.as_secs()));
        fs::write(&path, "tokens").unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
        path
    };
    for (old, new) in [(None, Some(&one)), (Some(&one), None)] {
        let old_one = left(&key, LEFT_BEHIND + Duration::from_secs(5));
        let young = left(&key, LEFT_BEHIND - Duration::from_secs(60));
        let others = left(&other, LEFT_BEHIND + Duration::from_secs(5));
        assert!(is_done(wait(store.swap(&key, old, new))));
        assert!(!old_one.exists(), "{old:?}");
        assert!(young.exists() && others.exists(), "somebody may be writing them");
    }
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn oa_73_a_damaged_entry_is_an_error_and_stays_until_it_is_replaced() {
    let folder = folder();
    let store = FileStore::new(&folder).unwrap();
    let key = StoreKey::new("https://mcp.example/mcp", "");
    let (path, one) = (store.path(&key, "json"), stored("https://one.example"));
    for text in [&b"{}"[..], b"", b"\xff", b"[1]"] {
        fs::write(&path, text).unwrap();
        assert!(is_damage(&*wait(store.load(&key)).unwrap_err()));
        // Whoever expects another entry does not touch the damaged one.
        assert!(matches!(wait(store.swap(&key, Some(&one), Some(&one))).unwrap(), Swapped::Other(None)));
        assert_eq!(fs::read(&path).unwrap(), text);
        assert!(is_done(wait(store.swap(&key, None, Some(&one)))));
        assert_eq!(wait(store.load(&key)).unwrap().as_ref(), Some(&one));
        fs::write(&path, text).unwrap();
        assert!(is_done(wait(store.swap(&key, None, None))) && !path.exists());
    }
    fs::remove_dir_all(folder).unwrap();
}

/// Several threads take the lock again and again, and never two have it at the same time.
fn excludes<G>(lock: impl Fn() -> G + Send + Sync) {
    let inside = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..25 {
                    let guard = lock();
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                    thread::yield_now();
                    inside.fetch_sub(1, Ordering::SeqCst);
                    drop(guard);
                }
            });
        }
    });
}

#[test]
fn oa_73_one_at_a_time_has_the_lock() {
    let folder = folder();
    let key = StoreKey::new("https://mcp.example/mcp", "");
    excludes(|| wait(FileStore::new(&folder).unwrap().lock(&key)).unwrap());
    // The lock of systems other than unix.
    let path = folder.join("created.lock");
    excludes(|| created(&path));
    assert!(!path.exists());
    fs::remove_dir_all(folder).unwrap();
}

fn created(path: &Path) -> Created {
    loop {
        match try_lock(path).unwrap() {
            Some(created) => return created,
            None => thread::yield_now(),
        }
    }
}

/// More wait for the lock than there are threads for such work: 500 at most, of the `blocking` crate.
#[test]
fn oa_73_who_waits_for_the_lock_keeps_no_thread_and_leaves_nothing_behind() {
    let folder = folder();
    let store = FileStore::new(&folder).unwrap();
    let key = StoreKey::new("https://mcp.example/mcp", "");
    let held = wait(store.lock(&key)).unwrap();
    wait(async {
        let mut waiting: Vec<_> = (0..600).map(|_| store.lock(&key)).collect();
        for lock in &mut waiting {
            assert!(futures::poll!(lock).is_pending());
        }
        // A thread is free for another operation.
        assert_eq!(store.load(&key).await.unwrap(), None);
        drop(waiting);
    });
    drop(held);
    drop(wait(store.lock(&key)).unwrap());
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn oa_73_a_lock_that_was_left_behind_is_taken_when_no_flow_takes_so_long() {
    let timeouts = crate::oauth::OAuthTimeouts::default();
    assert!(STALE > timeouts.flow + 4 * timeouts.store);
    let folder = folder();
    make_private(&folder).unwrap();
    let path = folder.join("created.lock");
    let stale = created(&path);
    let file = File::options().write(true).open(&path).unwrap();
    file.set_modified(SystemTime::now() - STALE + Duration::from_secs(60)).unwrap();
    assert!(try_lock(&path).unwrap().is_none(), "it may be in use");
    assert!(try_lock(&path).unwrap().is_none());
    file.set_modified(SystemTime::now() - STALE * 2).unwrap();
    // On some versions of Windows an open file keeps its name.
    drop(file);
    let taken = created(&path);
    drop(stale);
    assert!(path.exists(), "the lock that was held for too long takes no other one away");
    drop(taken);
    assert!(!path.exists());
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn oa_73_a_key_has_a_name_that_stays() {
    let key = StoreKey::new("https://mcp.example/mcp", "work");
    assert_eq!(key.as_str(), "work https://mcp.example/mcp");
    // By `sha256sum`.
    assert_eq!(key.file_name(), "8eee5f966956ad6c3b749d8051dce4a10aa765f7e38045a21518dd8b8df07cf7");
    assert_ne!(key.file_name(), StoreKey::new("https://mcp.example/mcp", "").file_name());
}
