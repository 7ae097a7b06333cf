//! Real processes (`sh`), and events instead of time: the end of a pipe, a line, a joined thread.
//! What counts threads and file descriptors, or needs another SIGCHLD, runs in a process of its own.

use std::fs;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};
use std::time::Duration;

use futures::executor::block_on;
use futures::future::{Either, select};
use futures::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use rustix::process::{Pid, WaitOptions, waitpid};

use super::*;
use crate::runtime::Reactor;
use crate::runtime::pipes::AsyncPipes;

/// Far beyond anything that should happen: a test that would hang fails instead.
const HUNG: Duration = Duration::from_secs(60);

/// A grandchild that holds the pipes and ignores SIGTERM. Prints its process id.
const GRANDCHILD: &str = "trap '' TERM; sleep 1000 & echo $!;";

fn sh(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

fn spawn(script: &str) -> (Child, AsyncPipes, JoinHandle<()>) {
    let (child, pipes, thread) = Child::spawn_watched(&mut sh(script), STACK).expect("sh starts");
    (child, AsyncPipes::new(pipes, Reactor::AsyncIo).expect("pipes"), thread)
}

async fn soon<F: Future>(future: F) -> F::Output {
    let hung = async_io::Timer::after(HUNG);
    match select(std::pin::pin!(future), hung).await {
        Either::Left((output, _)) => output,
        Either::Right(_) => panic!("nothing happened for {HUNG:?}"),
    }
}

async fn line(stdout: &mut (impl AsyncRead + Unpin)) -> String {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        let mut byte = [0];
        soon(stdout.read_exact(&mut byte)).await.expect("a line");
        line.push(byte[0]);
    }
    String::from_utf8(line).expect("utf-8").trim_end().into()
}

async fn rest(stdout: &mut (impl AsyncRead + Unpin)) -> String {
    let mut rest = String::new();
    soon(stdout.read_to_string(&mut rest)).await.expect("eof");
    rest
}

fn is_silent_but_open(stdout: &mut (impl AsyncRead + Unpin)) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    let read = Pin::new(stdout).poll_read(&mut cx, &mut [0]);
    read.is_pending()
}

/// The state of a process in `/proc`: 'Z' for a zombie, nothing if there is none.
fn state(id: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

struct Count(AtomicUsize);

impl Count {
    fn new() -> (Arc<Self>, Waker) {
        let count = Arc::new(Self(AtomicUsize::new(0)));
        (Arc::clone(&count), Waker::from(count))
    }

    fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn poll(exited: &mut Exited, waker: &Waker) -> Poll<Exit> {
    Pin::new(exited).poll(&mut Context::from_waker(waker))
}

/// Runs `test`, the calling one, in a process of its own, set up by the arguments of `env`. False
/// says that this is that process.
#[cfg(target_os = "linux")]
fn ran_alone(test: &str, setup: &[&str]) -> bool {
    const ALONE: &str = "SHARED_FATE_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return false;
    }
    let (_crate, module) = module_path!().split_once("::").expect("a path");
    let output = Command::new("env")
        .args(setup)
        .arg(std::env::current_exe().expect("a test binary"))
        .args([&format!("{module}::{test}"), "--exact", "--nocapture"])
        .env(ALONE, "1")
        .output()
        .expect("env starts");
    let printed = String::from_utf8_lossy(&output.stdout);
    let passed = output.status.success() && printed.contains("1 passed");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(passed, "{printed}{errors}");
    true
}

#[test]
fn spawn_keeps_the_kind_of_failure() {
    let missing = Child::spawn(&mut Command::new("/no/such/server")).expect_err("missing");
    assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    let directory = Child::spawn(&mut Command::new("/")).expect_err("a directory");
    assert_eq!(directory.kind(), io::ErrorKind::PermissionDenied);
}

#[test]
#[cfg(target_os = "linux")]
fn nothing_is_left_when_the_thread_does_not_start() {
    // A name of its own tells this child from those of the tests that run beside this one.
    let name = format!("sf{}", std::process::id());
    let path = std::env::temp_dir().join(&name);
    std::os::unix::fs::symlink("/bin/sh", &path).expect("a link");
    let mut command = Command::new(&path);
    command.args(["-c", "read x"]);
    let failed = Child::spawn_watched(&mut command, 1 << 60);
    fs::remove_file(&path).expect("removed");
    failed.expect_err("no system has a stack that large");
    for entry in fs::read_dir("/proc").expect("proc").flatten() {
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        assert!(!stat.contains(&format!("({name})")), "{stat}");
    }
}

#[test]
fn exit_code_is_seen_again_and_again() {
    let (child, _pipes, thread) = spawn("exit 3");
    let mut exited = child.exited();
    let exit = block_on(soon(&mut exited));
    assert_eq!((exit.code(), exit.signal()), (Some(3), None));
    assert!(!exit.success());
    assert_eq!(exit.to_string(), "exit status 3");
    assert_eq!(block_on(exited), exit, "the same future, polled on");
    assert_eq!(block_on(child.exited()), exit, "a late one");
    assert_eq!(child.try_exit(), Some(exit));
    thread.join().expect("no panic");

    let (child, _pipes, _) = spawn("exit 0");
    assert!(block_on(soon(child.exited())).success());
}

#[test]
fn signal_is_seen() {
    let (child, _pipes, _) = spawn("kill -9 $$");
    let exit = block_on(soon(child.exited()));
    assert_eq!((exit.code(), exit.signal()), (None, Some(9)));
    assert_eq!(exit.to_string(), "signal 9 (SIGKILL)");

    let (child, _pipes, _) = spawn("read x");
    child.terminate();
    let exit = block_on(soon(child.exited()));
    assert_eq!(exit.to_string(), "signal 15 (SIGTERM)");
}

#[test]
fn exit_says_what_is_known() {
    let exit = |code, signal| Exit { code, signal }.to_string();
    assert_eq!(exit(Some(7), None), "exit status 7");
    assert_eq!(exit(Some(-0x3fff_fffb), None), "exit status 0xc0000005");
    assert_eq!(exit(None, Some(64)), "signal 64");
    assert_eq!(Exit::UNKNOWN.to_string(), "an unknown exit status");
    assert!(!Exit::UNKNOWN.success());
}

#[test]
fn pipes_are_three() {
    let (_child, mut pipes, _) = spawn("cat; echo oops >&2");
    block_on(async {
        pipes.stdin.write_all(b"hello\n").await.expect("written");
        assert_eq!(line(&mut pipes.stdout).await, "hello");
        drop(pipes.stdin);
        assert_eq!(rest(&mut pipes.stdout).await, "");
        let mut errors = String::new();
        soon(pipes.stderr.read_to_string(&mut errors)).await.expect("eof");
        assert_eq!(errors, "oops\n");
    });
}

#[test]
fn each_waiter_is_woken_once_and_a_dropped_one_never() {
    let (child, pipes, thread) = spawn("read x; exit 3");
    let counts: Vec<_> = (0..8).map(|_| Count::new()).collect();
    let mut waiters: Vec<_> = counts.iter().map(|_| child.exited()).collect();
    for _ in 0..2 {
        for (waiter, (_, waker)) in waiters.iter_mut().zip(&counts) {
            assert!(poll(waiter, waker).is_pending());
        }
    }
    let (moved, moved_waker) = Count::new();
    assert!(poll(&mut waiters[0], &moved_waker).is_pending());
    drop(waiters.remove(7));
    // Of each count there is one here, one in the waker here, and one in the waker that is registered.
    let references = || counts.iter().map(|(count, _)| Arc::strong_count(count)).collect::<Vec<_>>();
    assert_eq!(references(), [2, 3, 3, 3, 3, 3, 3, 2], "the first waker was replaced, the last one dropped");
    assert_eq!(Arc::strong_count(&moved), 3);

    drop(pipes);
    thread.join().expect("no panic");
    let woken: Vec<_> = counts.iter().map(|(count, _)| count.get()).collect();
    assert_eq!(woken, [0, 1, 1, 1, 1, 1, 1, 0]);
    assert_eq!(moved.get(), 1);
    for waiter in &mut waiters {
        assert!(poll(waiter, Waker::noop()).is_ready());
    }
    assert_eq!(references(), [2; 8]);
}

#[test]
fn wakers_may_call_back_and_may_panic() {
    /// Would deadlock in `wake` or `drop` if the lock were held.
    struct Caller(OnceLock<Child>, AtomicUsize);
    impl Caller {
        fn call(&self) {
            let child = self.0.get().expect("a child");
            drop(child.exited());
            let _ = child.try_exit();
            self.1.fetch_add(1, Ordering::SeqCst);
        }
    }
    impl Wake for Caller {
        fn wake(self: Arc<Self>) {
            self.call();
            panic!("a waker that panics, on purpose");
        }
    }
    impl Drop for Caller {
        fn drop(&mut self) {
            self.call();
        }
    }

    let (child, pipes, thread) = spawn("read x");
    let caller = || {
        let child = OnceLock::from(child.clone());
        Waker::from(Arc::new(Caller(child, AtomicUsize::new(0))))
    };
    let mut waiters = [child.exited(), child.exited(), child.exited()];
    for waiter in &mut waiters {
        assert!(poll(waiter, &caller()).is_pending());
    }
    assert!(poll(&mut waiters[0], &caller()).is_pending(), "replaced");
    let [_first, dropped, _third] = waiters;
    drop(dropped);
    let (count, waker) = Count::new();
    let mut last = child.exited();
    assert!(poll(&mut last, &waker).is_pending());
    drop(pipes);
    thread.join().expect("the thread outlives a waker's panic");
    assert_eq!(count.get(), 1);
    assert!(poll(&mut last, &waker).is_ready());
}

#[test]
fn whoever_ignores_sigterm_is_killed() {
    let (child, mut pipes, _) = spawn("trap '' TERM; echo ready; while read l; do echo $l; done");
    block_on(async {
        assert_eq!(line(&mut pipes.stdout).await, "ready");
        child.terminate();
        pipes.stdin.write_all(b"alive\n").await.expect("written");
        assert_eq!(line(&mut pipes.stdout).await, "alive");
        child.kill();
        let exit = soon(child.exited()).await;
        assert_eq!(exit.signal(), Some(9));
        child.terminate();
        child.kill();
    });
}

#[test]
fn last_drop_kills_the_group() {
    let script = format!("{GRANDCHILD} while read l; do echo $l; done");
    let (child, mut pipes, thread) = spawn(&script);
    let (id, mut exited) = (child.id(), child.exited());
    block_on(async {
        let grandchild: u32 = line(&mut pipes.stdout).await.parse().expect("an id");
        assert_ne!(grandchild, id);
        drop(child.clone());
        pipes.stdin.write_all(b"alive\n").await.expect("written");
        assert_eq!(line(&mut pipes.stdout).await, "alive");

        // `exited` is still there, and keeps nothing alive.
        drop(child);
        assert_eq!(soon(&mut exited).await.signal(), Some(9));
        assert_eq!(rest(&mut pipes.stdout).await, "");
    });
    thread.join().expect("no panic");
    assert_eq!(state(id), None, "reaped, whoever still holds a future");
    drop(exited);
}

#[test]
fn leader_exits_and_leaves_a_grandchild() {
    let (child, mut pipes, thread) = spawn(&format!("{GRANDCHILD} exit 5"));
    block_on(async {
        line(&mut pipes.stdout).await;
        assert_eq!(soon(child.exited()).await.code(), Some(5));
        // The thread is gone, the zombie stays for the sake of its number.
        thread.join().expect("no panic");
        if cfg!(target_os = "linux") {
            assert_eq!(state(child.id()), Some('Z'));
        }
        assert!(is_silent_but_open(&mut pipes.stdout));

        let (id, exited) = (child.id(), child.exited());
        drop(child);
        assert_eq!(state(id), None, "reaped by the drop itself");
        assert_eq!(rest(&mut pipes.stdout).await, "");
        assert_eq!(exited.await.code(), Some(5));
    });
}

#[test]
fn kill_reaches_a_grandchild_after_the_leader() {
    let (child, mut pipes, _) = spawn(&format!("{GRANDCHILD} exit 5"));
    block_on(async {
        line(&mut pipes.stdout).await;
        soon(child.exited()).await;
        child.terminate();
        child.kill();
        assert_eq!(rest(&mut pipes.stdout).await, "");
        assert_eq!(child.try_exit().and_then(|exit| exit.code()), Some(5));
    });
}

#[test]
fn a_number_that_is_no_longer_ours_is_not_signalled() {
    // The grandchild echoes for as long as it lives.
    let (child, mut pipes, _) = spawn("{ cat <&3 & } 3<&0; exit 5");
    block_on(async {
        assert_eq!(soon(child.exited()).await.code(), Some(5));
        let leader = Pid::from_raw(child.id().try_into().expect("a process id"));
        waitpid(leader, WaitOptions::empty()).expect("stolen");
        child.kill();
        drop(child);
        pipes.stdin.write_all(b"alive\n").await.expect("written");
        assert_eq!(line(&mut pipes.stdout).await, "alive");
        drop(pipes.stdin);
        assert_eq!(rest(&mut pipes.stdout).await, "");
    });
}

#[test]
#[cfg(target_os = "linux")] // GNU `env`; a shell does not do: dash resets SIGCHLD
fn works_when_the_host_ignores_sigchld() {
    let setup = ["--ignore-signal=CHLD"];
    if ran_alone("works_when_the_host_ignores_sigchld", &setup) {
        return;
    }
    block_on(async {
        let (child, mut pipes, thread) = spawn(&format!("{GRANDCHILD} read x; exit 3"));
        line(&mut pipes.stdout).await;
        drop(pipes.stdin);
        let exit = soon(child.exited()).await;
        assert_eq!(exit, Exit::UNKNOWN);
        thread.join().expect("no panic");
        // Nothing is pinned, so the grandchild goes with the leader and not with the handle.
        assert_eq!(rest(&mut pipes.stdout).await, "");
        child.kill();

        let (child, mut pipes, thread) = spawn(&format!("{GRANDCHILD} read x"));
        line(&mut pipes.stdout).await;
        let exited = child.exited();
        drop(child);
        assert_eq!(soon(exited).await, Exit::UNKNOWN);
        assert_eq!(rest(&mut pipes.stdout).await, "");
        thread.join().expect("no panic");
    });
}

#[test]
fn works_on_every_executor() {
    async fn session(reactor: Reactor) {
        let (child, pipes) = Child::spawn(&mut sh("cat; exit 3")).expect("sh starts");
        let mut pipes = AsyncPipes::new(pipes, reactor).expect("pipes");
        pipes.stdin.write_all(b"hello\n").await.expect("written");
        assert_eq!(line(&mut pipes.stdout).await, "hello");
        drop(pipes.stdin);
        assert_eq!(soon(child.exited()).await.code(), Some(3));
    }
    use Reactor::AsyncIo;
    block_on(session(AsyncIo));
    pollster::block_on(session(AsyncIo));
    smol::block_on(session(AsyncIo));
    let mut tokio = tokio::runtime::Builder::new_current_thread();
    tokio.build().expect("a runtime").block_on(session(AsyncIo));
    let mut tokio = tokio::runtime::Builder::new_multi_thread();
    let tokio = tokio.worker_threads(2).build().expect("a runtime");
    let task = tokio.spawn(session(AsyncIo));
    tokio.block_on(task).expect("no panic");
    #[cfg(feature = "tokio")]
    {
        let mut tokio = tokio::runtime::Builder::new_current_thread();
        tokio.enable_io().build().expect("a runtime").block_on(session(Reactor::Tokio));
    }
}

/// The reactor has had no turn since, so tokio knows of no byte.
#[test]
#[cfg(feature = "tokio")]
fn last_words_are_read_before_tokios_reactor_has_its_turn() {
    let mut tokio = tokio::runtime::Builder::new_current_thread();
    tokio.enable_io().build().expect("a runtime").block_on(async {
        let command = &mut sh("echo out; echo words >&2; exit 3");
        let (child, pipes, thread) = Child::spawn_watched(command, STACK).expect("sh starts");
        let pipes = AsyncPipes::new(pipes, Reactor::Tokio).expect("pipes");
        thread.join().expect("no panic");
        assert_eq!(child.try_exit().and_then(|exit| exit.code()), Some(3));
        let mut cx = Context::from_waker(Waker::noop());
        for (mut pipe, expected) in [(pipes.stdout, "out\n"), (pipes.stderr, "words\n")] {
            pipe.look();
            for expected in [expected, ""] {
                let mut bytes = [0; 16];
                let Poll::Ready(Ok(read)) = Pin::new(&mut pipe).poll_read(&mut cx, &mut bytes) else {
                    panic!("not yet")
                };
                assert_eq!(std::str::from_utf8(&bytes[..read]), Ok(expected));
            }
        }
    });
}

#[test]
#[cfg(target_os = "linux")]
fn no_thread_no_descriptor_and_no_zombie_is_left() {
    if ran_alone("no_thread_no_descriptor_and_no_zombie_is_left", &[]) {
        return;
    }
    fn entries(path: &str) -> usize {
        fs::read_dir(path).expect("a directory").count()
    }
    let round = |script| {
        let (child, pipes, thread) = spawn(script);
        let exited = child.exited();
        match script {
            "exit 3" => assert_eq!(block_on(soon(child.exited())).code(), Some(3)),
            _ => drop(child),
        }
        block_on(soon(exited));
        drop(pipes);
        thread.join().expect("no panic");
    };
    round("exit 3");
    let counts = || (entries("/proc/self/fd"), entries("/proc/self/task"));
    let before = counts();
    for _ in 0..70 {
        round("exit 3");
        round("read x");
        round("exit 4"); // a race between its exit and the drop
    }
    // A joined thread is listed for an instant longer.
    while counts().1 > before.1 {
        thread::yield_now();
    }
    assert_eq!(counts(), before);
    let none = waitpid(None, WaitOptions::NOHANG);
    assert_eq!(none.expect_err("a zombie"), rustix::io::Errno::CHILD);
}

#[test]
fn auto_traits() {
    fn everywhere<T: Send + Sync + Unpin>() {}
    everywhere::<Child>();
    everywhere::<Pipes>();
    everywhere::<Exited>();
    everywhere::<Exit>();
}
