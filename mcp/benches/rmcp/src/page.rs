//! The page of figures: its parts, and at its end what is not better.

use crate::table::Table;

/// One part of the page.
pub(crate) struct Section {
    pub(crate) title: &'static str,
    /// What the tables show, in Markdown.
    pub(crate) before: &'static str,
    /// Each with the paragraph above it, if it needs one.
    pub(crate) tables: Vec<(&'static str, Table)>,
    pub(crate) after: &'static str,
}

impl Section {
    fn print(&self) {
        println!("## {}\n", self.title);
        paragraph(self.before);
        for (above, table) in &self.tables {
            paragraph(above);
            table.print();
        }
        paragraph(self.after);
    }
}

fn paragraph(text: &str) {
    if !text.is_empty() {
        println!("{}\n", text.trim_end());
    }
}

pub(crate) type Part = (&'static str, fn() -> Section);

/// The parts with these names.
pub(crate) fn some(parts: &[Part], wanted: &[&str]) {
    let unknown = wanted.iter().find(|name| parts.iter().all(|(part, _)| part != *name));
    assert_eq!(unknown, None, "no such part");
    for (_, section) in parts.iter().filter(|(part, _)| wanted.contains(part)) {
        section().print();
    }
}

/// The whole page, as it is kept in `docs/costs.md`.
pub(crate) fn whole(parts: &[Part]) {
    print!("{}", HEAD.replace("RMCP", rmcp_version()));
    let mut losses = Vec::new();
    for (_, section) in parts {
        let section = section();
        section.print();
        for (_, table) in &section.tables {
            losses.extend(table.losses().into_iter().map(|loss| (section.title, loss)));
        }
    }
    println!("## What is not better\n");
    if losses.is_empty() {
        println!("Nothing in the tables above is bold.");
    } else {
        println!("What is bold above, once more:\n");
        losses.iter().for_each(|(title, loss)| println!("- {title}: {loss}"));
    }
    print!("{TAIL}");
    println!("\nThe machine's load when this was printed: {}.", load());
}

/// `3.1 on 2 processors`.
fn load() -> String {
    let mut averages = [0.0; 3];
    // SAFETY: there is room for three numbers.
    let known = unsafe { libc::getloadavg(averages.as_mut_ptr(), 3) };
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    match known {
        3 => format!("{:.1} on {processors} processors, the average of a quarter of an hour", averages[2]),
        _ => "unknown".to_owned(),
    }
}

/// The version of rmcp, as the manifest pins it.
pub(crate) fn rmcp_version() -> &'static str {
    let manifest = include_str!("../Cargo.toml");
    let (_, version) = manifest.split_once("rmcp = { version = \"=").expect("a pinned version");
    version.split('"').next().expect("a quote")
}

const HEAD: &str = r#"# What an MCP call costs

Beside [rmcp](https://crates.io/crates/rmcp) RMCP, the official Rust SDK, and beside the *floor*: a blocking client by
hand that does nothing else. It has one thread, makes one write and one read for a call, finds the line's end with
`memchr` or reads the head with `httparse`, and decodes with `serde_json` in one pass into the same typed result. It
knows no deadline, no cancellation, no supervision, and trusts the server. All of them get the same bytes from the same
server. These commands make this page and its pictures (they take five minutes to a quarter of an hour):

```sh
cargo run --release --manifest-path mcp/benches/rmcp/Cargo.toml -- costs > costs.md && mv costs.md mcp/docs/
python3 benches/plots.py
```

Instructions are counted by callgrind, over all of the client's threads, without the kernel's. With many calls in
flight they repeat to some parts in a hundred; with one, to about a fifth, as a driver is polled once or twice for a
call. Allocations are counted by the allocator, blocks that are resized included. Of times only ratios are shown, but
for those from a fault to the error: the clients take turns, and a ratio is the median of five rounds. Other work on the
machine moves them all the same, calls per second most of all; how much there was is said at the end.
Every figure comes from a process of its own, and so do the servers, but for the one in memory, which is left out of
the counts. What is worse than rmcp's is **bold**.

"#;

const TAIL: &str = r#"
And what no table shows:

- With one call in flight the default sockets and pipes, on tokio, hand every reply from the thread of `async-io` to
  the caller's. That is the kernel's time and no instruction of ours, and it varies from run to run.
  `async_io::block_on` waits in the caller's thread, and so does tokio with the feature `tokio`.
- rmcp's HTTP is measured with keep-alive switched on; by default it opens a connection for each call.
- When a server exits, rmcp says "transport closed" at once; ours waits for its exit status and last words, and tells
  them.
- A pending HTTP call of ours has a connection of its own, and dropping the call closes it; rmcp has 16 POSTs on their
  way at a time, and the rest wait in its queue.
"#;
