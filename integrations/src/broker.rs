//! A message broker that a test starts, stops and kills.

use crate::servers::{free, value};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a broker may take to start.
const LIMIT: Duration = Duration::from_secs(4);

/// On how many ports it is tried.
const ATTEMPTS: usize = 5;

/// The address and the process's id in the variable `name`, of a server that the test may kill. Without it the test is
/// skipped.
pub fn doomed(name: &str) -> Option<(SocketAddr, String)> {
    let value = value(name)?;
    let parts = value.split_once(',').and_then(|(at, id)| Some((at.parse().ok()?, id.to_owned())));
    Some(parts.unwrap_or_else(|| panic!("{name}={value} is no address and id")))
}

/// The arguments with which a broker listens on a port of 127.0.0.1.
pub type Arguments = fn(u16) -> Vec<String>;

/// mosquitto's. Without a configuration it listens on loopback only.
pub fn mosquitto(port: u16) -> Vec<String> {
    vec!["-p".into(), port.to_string()]
}

/// nats-server's.
pub fn nats(port: u16) -> Vec<String> {
    vec!["-a".into(), "127.0.0.1".into(), "-p".into(), port.to_string()]
}

/// A process. It is killed when this is dropped.
pub struct Broker {
    address: SocketAddr,
    child: Child,
}

impl Broker {
    /// Starts a broker and waits until it listens.
    pub fn start(program: &Path, arguments: Arguments) -> Self {
        for _ in 0..ATTEMPTS {
            let address = free();
            let child = Command::new(program)
                .args(arguments(address.port()))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
            let mut broker = Self { address, child };
            // If the port was taken meanwhile, it ends, or it listens on another interface alone.
            let start = Instant::now();
            while start.elapsed() < LIMIT && broker.child.try_wait().is_ok_and(|ended| ended.is_none()) {
                if listens(broker.child.id(), address.port()) {
                    return broker;
                }
                sleep(Duration::from_millis(2));
            }
        }
        panic!("{} does not listen", program.display());
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets the process stand still. It keeps its connections, and answers nothing.
    pub fn stop(&self) {
        self.signal("-STOP");
    }

    /// Lets the process go on.
    pub fn go_on(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill {signal}");
    }

    /// `kill -9`, and waits until the process is gone.
    pub fn kill(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whether this very process listens on a port of 127.0.0.1: a port that was free a moment ago may be another's.
fn listens(process: u32, port: u16) -> bool {
    let local = format!("0100007F:{port:04X}");
    // The columns: number, local address, remote address, state (0A listens), five more, inode.
    let socket = |line: &str| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let is_it = columns.get(1) == Some(&&*local) && columns.get(3) == Some(&"0A");
        columns.get(9).filter(|_| is_it).map(|inode| PathBuf::from(format!("socket:[{inode}]")))
    };
    let table = fs::read_to_string(format!("/proc/{process}/net/tcp")).unwrap_or_default();
    let Some(socket) = table.lines().find_map(socket) else { return false };
    let Ok(files) = fs::read_dir(format!("/proc/{process}/fd")) else { return false };
    files.flatten().any(|file| fs::read_link(file.path()).is_ok_and(|link| link == socket))
}
