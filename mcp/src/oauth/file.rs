//! [`FileStore`]: tokens in files, shared by the processes of one user.
//!
//! Each key has a file. A new text is written beside it and renamed, so nobody reads half an entry. Processes wait for one
//! another by the system's lock on a second file, which ends with the process that holds it.

use super::consent::BoxError;
use super::key;
use super::store::{StoreGuard, StoreKey, Swapped, TokenStore, is_damage};
use crate::protocol::oauth::stored::{Stored, StoredError};
use crate::runtime::BoxFuture;
use async_io::Timer;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Tokens in the files of a folder. Any number of processes may use it at the same time: one refreshes, and the others
/// take what it got.
///
/// The files are plain text, as the credentials of most command-line programs are. A keyring is a [`TokenStore`] of twenty
/// lines. On unix only their owner can read them (mode 0600); a folder that is made here has mode 0700, and one that is
/// there already may show others the names of the files, which say nothing. Elsewhere the folder's rights decide.
///
/// An entry that is damaged is an error until the next login or logout, which replace it. One that a later version of this
/// crate has written stays: then delete the file.
///
/// The folder has to be on a file system with locks: some network file systems have none, or none that exclude anybody.
/// The work is done on the threads of the `blocking` crate.
///
/// ```no_run
/// use shared_fate_mcp::oauth::{FileStore, OAuth};
///
/// # fn main() -> std::io::Result<()> {
/// let oauth = OAuth::builder().store(FileStore::new("/home/me/.config/my-app/tokens")?).build();
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct FileStore {
    folder: PathBuf,
}

impl FileStore {
    /// The longest entry, in bytes: a longer one is neither written nor read.
    pub const LONGEST: usize = 256 * 1024;

    /// The folder is made if it is not there.
    ///
    /// # Errors
    ///
    /// When the folder cannot be made, or, on unix, when others may write in it.
    pub fn new(folder: impl Into<PathBuf>) -> io::Result<Self> {
        let folder = folder.into();
        make_private(&folder)?;
        Ok(Self { folder })
    }

    fn path(&self, key: &StoreKey, ending: &str) -> PathBuf {
        self.folder.join(format!("{}.{ending}", key.file_name()))
    }
}

impl TokenStore for FileStore {
    fn load<'a>(&'a self, key: &'a StoreKey) -> BoxFuture<'a, Result<Option<Stored>, BoxError>> {
        let path = self.path(key, "json");
        Box::pin(blocking::unblock(move || load(&path)))
    }

    fn swap<'a>(
        &'a self,
        key: &'a StoreKey,
        old: Option<&'a Stored>,
        new: Option<&'a Stored>,
    ) -> BoxFuture<'a, Result<Swapped, BoxError>> {
        let path = self.path(key, "json");
        let (old, new) = (old.cloned(), new.cloned());
        Box::pin(blocking::unblock(move || {
            let (found, is_damaged) = match load(&path) {
                // A damaged entry is as good as none.
                Err(error) if is_damage(&*error) => (None, true),
                found => (found?, false),
            };
            if found != old {
                return Ok(Swapped::Other(found));
            }
            match new {
                Some(new) => save(&path, &new.to_text())?,
                None if found.is_some() || is_damaged => fs::remove_file(&path)?,
                None => {}
            }
            sweep(&path);
            Ok(Swapped::Done)
        }))
    }

    /// The lock is tried 50 times a second, and nothing waits in between: a future that is dropped leaves nothing behind.
    fn lock<'a>(&'a self, key: &'a StoreKey) -> BoxFuture<'a, Result<StoreGuard, BoxError>> {
        let path = self.path(key, "lock");
        Box::pin(async move {
            loop {
                let path = path.clone();
                if let Some(held) = blocking::unblock(move || try_lock(&path)).await? {
                    return Ok(StoreGuard::new(held));
                }
                Timer::after(PAUSE).await;
            }
        })
    }
}

/// After which time a lock that somebody has is tried again.
const PAUSE: Duration = Duration::from_millis(20);

fn load(path: &Path) -> Result<Option<Stored>, BoxError> {
    let mut text = Vec::new();
    let longest = FileStore::LONGEST as u64;
    match File::open(path) {
        Ok(file) => file.take(longest + 1).read_to_end(&mut text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    check_length(&text)?;
    let text = String::from_utf8(text).map_err(|_| StoredError::Form)?;
    Ok(Some(Stored::from_text(&text)?))
}

fn check_length(text: &[u8]) -> Result<(), BoxError> {
    if text.len() > FileStore::LONGEST {
        return Err(format!("an entry has more than {} bytes", FileStore::LONGEST).into());
    }
    Ok(())
}

fn save(path: &Path, text: &str) -> Result<(), BoxError> {
    check_length(text.as_bytes())?;
    let number = key::random()?.iter().take(8).fold(0, |number, &byte| (number << 8) | u64::from(byte));
    let beside = path.with_extension(format!("{number:016x}.new"));
    let written = private().create_new(true).open(&beside).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, path)
    });
    if let Err(error) = written {
        let _ = fs::remove_file(&beside);
        return Err(error.into());
    }
    sync_folder(path);
    Ok(())
}

/// Removes the files of processes that have ended while they wrote: there are tokens in them.
fn sweep(path: &Path) {
    let (Some(folder), Some(stem)) = (path.parent(), path.file_stem().and_then(|stem| stem.to_str())) else {
        return;
    };
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let is_left = name.to_str().is_some_and(|name| name.starts_with(stem) && name.ends_with(".new"));
        let changed = entry.metadata().and_then(|found| found.modified());
        if is_left && changed.is_ok_and(|changed| age(changed) > LEFT_BEHIND) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Nobody writes one entry for so long.
const LEFT_BEHIND: Duration = Duration::from_secs(600);

fn age(since: SystemTime) -> Duration {
    SystemTime::now().duration_since(since).unwrap_or_default()
}

/// Writes the new name to the disk, too. Where that fails the entry is saved all the same.
#[cfg(unix)]
fn sync_folder(path: &Path) {
    let _ = path.parent().map(|folder| File::open(folder).and_then(|folder| folder.sync_all()));
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) {}

#[cfg(unix)]
fn private() -> OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

#[cfg(unix)]
fn make_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    if fs::metadata(folder)?.permissions().mode() & 0o022 != 0 {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "others may write in the folder"));
    }
    Ok(())
}

/// Elsewhere the folder's rights decide who may read its files.
#[cfg(not(unix))]
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    options
}

#[cfg(not(unix))]
fn make_private(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)
}

/// `None` if somebody has the lock. The file stays: were it removed, two processes could lock two files of that name.
#[cfg(unix)]
fn try_lock(path: &Path) -> io::Result<Option<File>> {
    use rustix::fs::{FlockOperation, flock};
    use rustix::io::Errno;
    let file = private().create(true).truncate(false).open(path)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(Errno::WOULDBLOCK | Errno::INTR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(unix))]
use by_creating::try_lock;

/// Locks for systems where the standard library of our minimum Rust version has none: whoever creates the file has the lock.
#[cfg(any(not(unix), test))]
mod by_creating {
    use super::{age, key, private};
    use std::fs;
    use std::io::{self, Write};
    use std::path::{Path, PathBuf};
    use std::time::Duration;

    /// An older lock was left behind by a process that has ended. A lock is held for the exchanges of one flow and four
    /// operations of the store at most, which take 230 s with the default timeouts.
    pub(super) const STALE: Duration = Duration::from_secs(300);

    pub(super) struct Created {
        path: PathBuf,
        mark: String,
    }

    /// `None` if somebody has the lock.
    pub(super) fn try_lock(path: &Path) -> io::Result<Option<Created>> {
        match private().create_new(true).open(path) {
            Ok(mut file) => {
                let random = key::random().map_err(io::Error::other)?;
                let mark = format!("{random:02x?}");
                file.write_all(mark.as_bytes())?;
                Ok(Some(Created { path: path.to_owned(), mark }))
            }
            // On Windows a file that is being removed can be neither opened nor created.
            Err(error) if is_there(&error) => {
                remove_if_stale(path);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn is_there(error: &io::Error) -> bool {
        matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::PermissionDenied)
    }

    fn is_stale(path: &Path) -> bool {
        let changed = fs::metadata(path).and_then(|found| found.modified());
        changed.is_ok_and(|changed| age(changed) > STALE)
    }

    /// One process at a time looks again and removes the lock. Otherwise the second one could remove the lock of a third one
    /// that came between.
    fn remove_if_stale(path: &Path) {
        if !is_stale(path) {
            return;
        }
        let taking = path.with_extension("taking");
        if private().create_new(true).open(&taking).is_ok() {
            if is_stale(path) {
                let _ = fs::remove_file(path);
            }
            let _ = fs::remove_file(&taking);
        } else if is_stale(&taking) {
            let _ = fs::remove_file(&taking);
        }
    }

    impl Drop for Created {
        fn drop(&mut self) {
            // If this lock was held for too long, the file is somebody else's by now.
            if fs::read_to_string(&self.path).is_ok_and(|mark| mark == self.mark) {
                let _ = fs::remove_file(&self.path);
            }
        }
    }
}

#[cfg(test)]
mod tests;
