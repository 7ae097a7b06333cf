//! One call after the other, on each executor. Executors differ in the thread that waits for the kernel.

use crate::again;
use crate::client::Who;
use crate::count::instructions;
use crate::load::Spent;
use crate::page::Section;
use crate::server::Process;
use crate::table::{Table, counted};

const CALLS: usize = 400;

const ROWS: [(&str, Who, &str); 7] = [
    ("tokio, one thread, the driver a task", Who::Ours, "1"),
    ("the same with tokio's timers, pipes and sockets", Who::OursOnTokio, "1"),
    ("smol, the driver a task in its thread", Who::Ours, "smol"),
    ("`async_io::block_on(driver.run_until(…))`", Who::Ours, "async-io"),
    ("`pollster::block_on(driver.run_until(…))`", Who::Ours, "pollster"),
    ("rmcp, on tokio", Who::Rmcp, "1"),
    ("the floor, no executor", Who::Floor, "1"),
];

pub(crate) fn section() -> Section {
    let _pinned = Pinned::here();
    let server = Process::http();
    let mut table = Table::new([
        "executor",
        "stdio: instructions",
        "stdio: allocations",
        "stdio: switches",
        "HTTP: instructions",
        "HTTP: allocations",
        "HTTP: switches",
    ]);
    for (name, who, on) in ROWS {
        let cells = ["stdio", &server.port].map(|way| {
            let arguments = |what: &str, calls: usize| {
                [what, who.name(), way, "1", &calls.to_string(), on].map(str::to_owned).to_vec()
            };
            let count = instructions(CALLS, |calls| arguments("load", calls));
            // Other work on the machine makes switches, too: the fewest of five runs count.
            let mut tallies = [(); 5].map(|()| {
                let [.., allocations, switches] =
                    Spent::read(&again(&arguments("tally", 10 * CALLS)), 10 * CALLS);
                (switches, allocations)
            });
            tallies.sort_by(|one: &(f64, f64), other| one.0.total_cmp(&other.0));
            let (switches, allocations) = tallies[0];
            // One switch is what every client needs.
            let bold = if switches > 1.15 { "**" } else { "" };
            [counted(count), format!("{allocations:.1}"), format!("{bold}{switches:.1}{bold}")]
        });
        let [[a, b, c], [d, e, f]] = cells;
        table.row([name.to_owned(), a, b, c, d, e, f]);
    }
    Section {
        title: "One call in flight, by executor",
        before: "The client and its server on one processor. Switches are the context switches of all the client's \
                 threads for each\ncall (`getrusage`), the fewest of five runs. There is one at least, since the server \
                 has to run; a reply that one\nthread reads and another one waits for makes more, which is bold.",
        tables: vec![("", table)],
        after: "",
    }
}

/// This thread, and the processes that it starts, on one processor until this is dropped.
struct Pinned {
    #[cfg(target_os = "linux")]
    before: libc::cpu_set_t,
}

#[cfg(target_os = "linux")]
impl Pinned {
    fn here() -> Self {
        // SAFETY: all zeros is a value of these sets, the first one is writable, and the sizes are theirs.
        unsafe {
            let (mut before, mut one): (libc::cpu_set_t, libc::cpu_set_t) =
                (std::mem::zeroed(), std::mem::zeroed());
            assert_eq!(libc::sched_getaffinity(0, size_of_val(&before), &mut before), 0);
            libc::CPU_SET(usize::try_from(libc::sched_getcpu()).expect("a processor"), &mut one);
            assert_eq!(libc::sched_setaffinity(0, size_of_val(&one), &one), 0);
            Self { before }
        }
    }
}

#[cfg(target_os = "linux")]
impl Drop for Pinned {
    fn drop(&mut self) {
        // SAFETY: the set is one that the system gave.
        unsafe { libc::sched_setaffinity(0, size_of_val(&self.before), &self.before) };
    }
}

#[cfg(not(target_os = "linux"))]
impl Pinned {
    fn here() -> Self {
        Self {}
    }
}
