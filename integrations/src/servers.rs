//! Where the real servers are, and servers that a test starts and kills.
//!
//! `integrations/with-servers` starts them and says in the environment where they are. Without it a test that needs
//! one is skipped, and says so. A server that a test kills is started by the test itself.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::{Write as _, stderr};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio, id};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a server may take to start.
const LIMIT: Duration = Duration::from_secs(60);

/// The address in the variable `name`. Without it the test is skipped.
pub fn address(name: &str) -> Option<SocketAddr> {
    let address = value(name)?;
    Some(address.parse().unwrap_or_else(|_| panic!("{name}={address} is no address")))
}

/// The path in the variable `name`. Without it the test is skipped.
pub fn path(name: &str) -> Option<PathBuf> {
    value(name).map(PathBuf::from)
}

pub(crate) fn value(name: &str) -> Option<String> {
    let value = env::var(name).ok().filter(|value| !value.is_empty());
    if value.is_none() {
        // Not by a macro: what those print is not shown where a test passes.
        _ = writeln!(stderr(), "SKIPPED: {name} is not set; run integrations/with-servers");
    }
    value
}

/// An address on loopback with a port that is free now.
pub(crate) fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address")
}

/// A server that can be killed. Dropped, it is killed, and its folder is removed.
pub struct Server {
    pub address: SocketAddr,
    folder: PathBuf,
    kind: Kind,
    child: Option<Child>,
}

enum Kind {
    /// Where its programs are.
    Postgres(PathBuf),
    /// Its program.
    Redis(PathBuf),
}

impl Server {
    /// Makes a cluster, and starts it.
    pub fn postgres(programs: &Path) -> Self {
        let mut server = Self::new(Kind::Postgres(programs.to_owned()));
        run(as_user("mkdir").arg(&server.folder));
        run(as_user(programs.join("initdb"))
            .args(["--no-sync", "--auth=trust", "--username=postgres", "--pgdata"])
            .arg(&server.folder));
        server.start();
        server
    }

    pub fn redis(program: &Path) -> Self {
        let mut server = Self::new(Kind::Redis(program.to_owned()));
        fs::create_dir(&server.folder).expect("a folder");
        server.start();
        server
    }

    fn new(kind: Kind) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("integrations-{}-{}", id(), COUNT.fetch_add(1, Relaxed));
        Self { address: free(), folder: env::temp_dir().join(name), kind, child: None }
    }

    /// Starts it again, where it was before, and waits until it is ready.
    pub fn start(&mut self) {
        let start = Instant::now();
        while !self.is_ready() {
            assert!(start.elapsed() < LIMIT, "the server is not ready in {LIMIT:?}");
            // PostgreSQL refuses to start while processes of its last life are there.
            if self.child.as_mut().is_none_or(|child| !matches!(child.try_wait(), Ok(None))) {
                self.child = Some(self.spawn());
            }
            sleep(Duration::from_millis(5));
        }
    }

    fn spawn(&self) -> Child {
        let port = self.address.port().to_string();
        let mut command = match &self.kind {
            Kind::Postgres(programs) => {
                let mut command = as_user(programs.join("postgres"));
                command.arg("-D").arg(&self.folder).arg("-k").arg(&self.folder).args(["-p", &port, "-F"]);
                command.args(["-c", "listen_addresses=127.0.0.1"]);
                command
            }
            Kind::Redis(program) => {
                let mut command = Command::new(program);
                command.args(["--bind", "127.0.0.1", "--port", &port, "--save", "", "--dir"]);
                command.arg(&self.folder);
                command
            }
        };
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("the server starts")
    }

    fn is_ready(&self) -> bool {
        if self.child.is_none() {
            return false;
        }
        match &self.kind {
            // It listens while it still recovers.
            Kind::Postgres(programs) => {
                let port = self.address.port().to_string();
                let mut command = Command::new(programs.join("pg_isready"));
                command.args(["-q", "-h", "127.0.0.1", "-p", &port]);
                command.status().is_ok_and(|status| status.success())
            }
            Kind::Redis(_) => TcpStream::connect(self.address).is_ok(),
        }
    }

    /// `kill -9`, and waits until the process is gone.
    pub fn kill(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        if matches!(self.kind, Kind::Postgres(_)) && is_root() {
            // The child is `runuser`, and the server is its child.
            let children = format!("/proc/{0}/task/{0}/children", child.id());
            for pid in fs::read_to_string(children).unwrap_or_default().split_whitespace() {
                _ = Command::new("kill").args(["-9", pid]).status();
            }
        } else {
            _ = child.kill();
        }
        _ = child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        _ = fs::remove_dir_all(&self.folder);
    }
}

/// PostgreSQL does not run as root.
fn as_user(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(if is_root() { "runuser".as_ref() } else { program.as_ref() });
    if is_root() {
        command.args(["-u", "postgres", "--"]).arg(program);
    }
    command.current_dir(env::temp_dir());
    command
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0)
}

fn run(command: &mut Command) {
    let output = command.output().expect("the program runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
