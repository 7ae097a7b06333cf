//! The import graph of the MCP client: files are nodes, `use` declarations and paths are arrows.
//!
//! ```text
//! rustc -O .ci/imports.rs -o imports && ./imports mcp/src [--arrows]
//! ```
//!
//! A **room** is a module of the crate's root with all that is below it. The rooms have an order, and an arrow that
//! leads up is an error. So is a circle of files, of whatever length. An arrow between a file and the folder that it
//! heads (`call.rs` and `call/…`) is excused: the two are one thing in two places. An arrow points to the file that
//! the path goes through last, so a name that is re-exported counts for the file that re-exports it. Tests are left
//! out, and so is the crate's root, which names everything.
//!
//! It reads text, not syntax trees: comments and strings are blanked, and what is left is searched for `crate::`,
//! `super::` and `self::` paths and `use` trees.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

/// From the top down. Those in one line do not name one another.
const ROOMS: &[&[&str]] = &[
    &["client", "testing"],
    &["call"],
    &["connection"],
    &["transport"],
    &["inbox"],
    &["oauth"],
    &["types"],
    &["error"],
    &["runtime"],
    &["protocol", "http_client", "process", "sync"],
    &["encoding"],
];

/// A module's path, without the crate's name.
type Module = Vec<String>;

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let root = PathBuf::from(arguments.next().expect("the folder of the sources"));
    let print = arguments.next().is_some_and(|it| it == "--arrows");
    let mut modules = BTreeMap::new();
    collect(&root, &[], &mut modules);
    let arrows = arrows(&modules);
    let mut broken = false;
    let mut complain = |what: String| {
        println!("BROKEN: {what}");
        broken = true;
    };

    let level = |room: &str| ROOMS.iter().position(|rooms| rooms.contains(&room));
    for (from, to) in arrows.iter().filter(|(from, to)| from[0] != to[0]) {
        match (level(&from[0]), level(&to[0])) {
            (Some(from_level), Some(to_level)) if from_level < to_level => {}
            (Some(_), Some(_)) => complain(format!("{} names {}, which is not below it", show(from), show(to))),
            _ => complain(format!("{} or {} is in no room", show(from), show(to))),
        }
    }
    let inner: Vec<_> = arrows.iter().filter(|(from, to)| !is_family(from, to)).collect();
    for circle in circles(&inner) {
        let names: Vec<_> = circle.iter().map(|module| show(module)).collect();
        complain(format!("a circle: {}", names.join(", ")));
    }

    let rooms: BTreeSet<_> = modules.keys().filter_map(|module| module.first()).collect();
    let between = arrows.iter().filter(|(from, to)| from[0] != to[0]);
    let crossing = between.clone().count();
    let between: BTreeSet<_> = between.map(|(from, to)| (&from[0], &to[0])).collect();
    println!(
        "imports: {} files in {} rooms; {} arrows, {crossing} of them from room to room, over {} doors",
        modules.len(),
        rooms.len(),
        inner.len(),
        between.len()
    );
    if print {
        for (from, to) in &inner {
            println!("    {} -> {}", show(from), show(to));
        }
    }
    ExitCode::from(u8::from(broken))
}

fn show(module: &Module) -> String {
    module.join("/")
}

/// Whether one is the other's folder.
fn is_family(one: &Module, other: &Module) -> bool {
    let parent = |child: &Module, parent: &Module| child.len() == parent.len() + 1 && child.starts_with(parent);
    parent(one, other) || parent(other, one)
}

/// The modules below `folder`, with their text.
fn collect(folder: &Path, path: &[String], found: &mut BTreeMap<Module, String>) {
    let mut entries: Vec<_> = fs::read_dir(folder).expect("a folder").map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for entry in entries {
        let name = entry.file_stem().unwrap().to_str().unwrap().to_owned();
        if ["tests", "properties", "lib"].contains(&&*name) {
            continue;
        }
        let module: Module = path.iter().cloned().chain([name]).collect();
        if entry.is_dir() {
            collect(&entry, &module, found);
        } else if entry.extension().is_some_and(|it| it == "rs") {
            let text = blank(&fs::read_to_string(&entry).unwrap());
            let shipped = text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned();
            found.insert(module, shipped);
        }
    }
}

/// The text without comments, and without what is in strings.
fn blank(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if rest.starts_with("//") {
            rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
        } else if let Some(raw) = rest.strip_prefix("r#\"") {
            rest = &raw[raw.find("\"#").unwrap() + 2..];
        } else if first == '"' {
            let mut end = 1;
            while !rest[end..].starts_with('"') {
                end += if rest[end..].starts_with('\\') { 2 } else { rest[end..].chars().next().unwrap().len_utf8() };
            }
            rest = &rest[end + 1..];
        } else if rest.starts_with("'\"'") || rest.starts_with("'\\\"'") {
            rest = &rest[rest[1..].find('\'').unwrap() + 2..];
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    out
}

fn arrows(modules: &BTreeMap<Module, String>) -> BTreeSet<(Module, Module)> {
    let mut arrows = BTreeSet::new();
    for (module, text) in modules {
        for path in paths(text) {
            if let Some(target) = resolve(module, &path, modules).filter(|target| target != module) {
                arrows.insert((module.clone(), target));
            }
        }
    }
    arrows
}

/// All paths that a file writes down, `use` trees taken apart. `use` lets a path begin with a child's name.
fn paths(text: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    for (at, _) in text.match_indices("use ") {
        if text[..at].ends_with(is_word) {
            continue;
        }
        let tree = &text[at + 4..];
        if let Some(end) = tree.find(';') {
            expand(&tree[..end], &[], &mut found);
        }
    }
    for start in ["crate::", "super::", "self::"] {
        for (at, _) in text.match_indices(start) {
            if text[..at].ends_with(is_word) || text[..at].ends_with("::") {
                continue;
            }
            let end = text[at..].find(|c: char| !is_word(c) && c != ':').unwrap_or(text.len() - at);
            found.push(split(&text[at..at + end]));
        }
    }
    found
}

fn split(path: &str) -> Vec<String> {
    path.split("::").map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

fn expand(tree: &str, prefix: &[String], found: &mut Vec<Vec<String>>) {
    let tree = tree.trim();
    match tree.find('{') {
        None => {
            let path = tree.split(" as ").next().unwrap();
            found.push(prefix.iter().cloned().chain(split(path)).collect());
        }
        Some(open) => {
            let prefix: Vec<_> = prefix.iter().cloned().chain(split(&tree[..open])).collect();
            let inside = &tree[open + 1..tree.rfind('}').unwrap()];
            let (mut depth, mut from) = (0, 0);
            for (at, c) in inside.char_indices().chain([(inside.len(), ',')]) {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ',' if depth == 0 => {
                        if !inside[from..at].trim().is_empty() {
                            expand(&inside[from..at], &prefix, found);
                        }
                        from = (at + 1).min(inside.len());
                    }
                    _ => {}
                }
            }
        }
    }
}

/// The file that a path goes through last. `None` for other crates and for the root.
fn resolve(from: &Module, path: &[String], modules: &BTreeMap<Module, String>) -> Option<Module> {
    let first = path.first()?.trim_start_matches('$');
    let (mut here, mut rest): (Module, &[String]) = match first {
        "crate" => (Vec::new(), &path[1..]),
        "self" => (from.clone(), &path[1..]),
        "super" => (from.clone(), path),
        _ => (from.clone(), path),
    };
    while rest.first().is_some_and(|it| it == "super") {
        here.pop();
        rest = &rest[1..];
    }
    while let Some(name) = rest.first() {
        let next: Module = here.iter().cloned().chain([name.clone()]).collect();
        if !modules.contains_key(&next) {
            break;
        }
        (here, rest) = (next, &rest[1..]);
    }
    modules.contains_key(&here).then_some(here)
}

/// The sets of files that reach one another (Kosaraju).
fn circles<'a>(arrows: &[&'a (Module, Module)]) -> Vec<BTreeSet<&'a Module>> {
    fn visit<'a>(
        at: &'a Module,
        next: &dyn Fn(&Module) -> Vec<&'a Module>,
        seen: &mut BTreeSet<&'a Module>,
        order: &mut Vec<&'a Module>,
    ) {
        if seen.insert(at) {
            for to in next(at) {
                visit(to, next, seen, order);
            }
            order.push(at);
        }
    }
    let forward = |at: &Module| arrows.iter().filter(|it| it.0 == *at).map(|it| &it.1).collect::<Vec<_>>();
    let backward = |at: &Module| arrows.iter().filter(|it| it.1 == *at).map(|it| &it.0).collect::<Vec<_>>();
    let (mut seen, mut order) = (BTreeSet::new(), Vec::new());
    for (from, _) in arrows.iter().copied() {
        visit(from, &forward, &mut seen, &mut order);
    }
    let (mut seen, mut circles) = (BTreeSet::new(), Vec::new());
    for at in order.into_iter().rev() {
        let mut members = Vec::new();
        visit(at, &backward, &mut seen, &mut members);
        if members.len() > 1 {
            circles.push(members.into_iter().collect());
        }
    }
    circles
}
