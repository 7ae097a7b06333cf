//! [`FileStore`]: tokens in files, shared by the processes of one user.
//!
//! A file for each key, written beside and renamed, so nobody reads half of one. The system's lock on a second file is
//! what processes wait for one another by; it goes with the process that holds it.

use super::consent::BoxError;
use super::store::{StoreGuard, StoreKey, Swapped, TokenStore};
use crate::protocol::oauth::stored::Stored;
use crate::runtime::BoxFuture;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

/// Tokens in the files of a folder. Any number of processes may use it at the same time: one refreshes, and the others
/// take what it got.
///
/// The files are plain text that only their owner can read (on unix: the folder has mode 0700, a file 0600), as the
/// credentials of most command-line programs are. A keyring is a [`TokenStore`] of twenty lines.
///
/// The folder has to be on a file system that has locks; on some networks' it has none, or they are of no use.
/// Its work is done on the threads of the `blocking` crate.
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
    /// When it cannot be made, or, on unix, when others may write in it.
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
            let found = load(&path)?;
            if found != old {
                return Ok(Swapped::Other(found));
            }
            match new {
                Some(new) => save(&path, &new.to_text())?,
                None if found.is_some() => fs::remove_file(&path)?,
                None => {}
            }
            Ok(Swapped::Done)
        }))
    }

    /// Should the one who waits be gone, the lock is had and given back.
    fn lock<'a>(&'a self, key: &'a StoreKey) -> BoxFuture<'a, Result<StoreGuard, BoxError>> {
        let path = self.path(key, "lock");
        Box::pin(blocking::unblock(move || Ok(StoreGuard::new(lock(&path)?))))
    }
}

fn load(path: &Path) -> Result<Option<Stored>, BoxError> {
    let mut text = String::new();
    let longest = FileStore::LONGEST as u64;
    match File::open(path) {
        Ok(file) => file.take(longest + 1).read_to_string(&mut text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    check_length(&text)?;
    Ok(Some(Stored::from_text(&text)?))
}

fn check_length(text: &str) -> Result<(), BoxError> {
    if text.len() > FileStore::LONGEST {
        return Err(format!("an entry has more than {} bytes", FileStore::LONGEST).into());
    }
    Ok(())
}

fn save(path: &Path, text: &str) -> Result<(), BoxError> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    check_length(text)?;
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let beside = path.with_extension(format!("{}-{count}.new", process::id()));
    let written = private().create_new(true).open(&beside).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, path)
    });
    written.map_err(|error| {
        let _ = fs::remove_file(&beside);
        error.into()
    })
}

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

/// What a user has is the user's alone there, unless the folder's rights say otherwise.
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

/// The file stays: whoever removed it would take the lock from one who waits for it.
#[cfg(unix)]
fn lock(path: &Path) -> io::Result<File> {
    let file = private().create(true).truncate(false).open(path)?;
    loop {
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive) {
            Err(rustix::io::Errno::INTR) => {}
            result => return result.map(|()| file).map_err(io::Error::from),
        }
    }
}

#[cfg(not(unix))]
use by_creating::lock;

/// Locks where the system has none that the standard library of our minimum Rust knows: who can create the file has it.
#[cfg(any(not(unix), test))]
mod by_creating {
    use super::private;
    use std::fs;
    use std::io::{self, Write};
    use std::path::{Path, PathBuf};
    use std::process;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::thread;
    use std::time::{Duration, SystemTime};

    /// A lock is held for one exchange; what is older was left behind by a process that has ended.
    pub(super) const STALE: Duration = Duration::from_secs(60);
    /// How often it is looked at.
    const PAUSE: Duration = Duration::from_millis(20);
    /// Longer than anybody waits: a thread does not look for ever.
    const PATIENCE: Duration = Duration::from_secs(90);

    pub(super) struct Created {
        path: PathBuf,
        mark: String,
    }

    pub(super) fn lock(path: &Path) -> io::Result<Created> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let mark = format!("{}-{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let since = SystemTime::now();
        loop {
            match private().create_new(true).open(path) {
                Ok(mut file) => {
                    file.write_all(mark.as_bytes())?;
                    return Ok(Created { path: path.to_owned(), mark });
                }
                // On windows a file that is being removed can be neither opened nor created.
                Err(error) if is_there(&error) && age(since) < PATIENCE => remove_if_stale(path),
                Err(error) => return Err(error),
            }
            thread::sleep(PAUSE);
        }
    }

    fn is_there(error: &io::Error) -> bool {
        matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::PermissionDenied)
    }

    fn age(since: SystemTime) -> Duration {
        SystemTime::now().duration_since(since).unwrap_or_default()
    }

    fn is_stale(path: &Path) -> bool {
        let changed = fs::metadata(path).and_then(|found| found.modified());
        changed.is_ok_and(|changed| age(changed) > STALE)
    }

    /// One at a time looks again and removes it, or the second would remove the lock of who came between.
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
            // Somebody else's, if this one was held for too long.
            if fs::read_to_string(&self.path).is_ok_and(|mark| mark == self.mark) {
                let _ = fs::remove_file(&self.path);
            }
        }
    }
}

#[cfg(test)]
mod tests;
