//! `docs/errors.md`: every failure is provoked, and what the caller sees is compared with the page, word for
//! word. With `ERROR_REFERENCE=write` the page is written anew.
#![cfg(all(target_os = "linux", feature = "stdio", feature = "http", feature = "oauth", feature = "tokio"))]

#[path = "../fault/mod.rs"]
mod fault;

mod answers;
mod connect;
mod kit;
mod oauth;
mod page;
mod session;

use fault::run::once;
use page::Page;
use std::{env, fs};

#[test]
fn the_error_reference_is_what_callers_see() {
    once(async |_| {
        let mut page = Page::new();
        connect::input(&mut page).await;
        connect::connecting(&mut page).await;
        answers::statuses(&mut page).await;
        answers::replies(&mut page).await;
        session::limits(&mut page).await;
        session::deadlines(&mut page).await;
        session::handshakes(&mut page).await;
        session::ends(&mut page).await;
        oauth::signing(&mut page).await;
        let page = page.text();
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/errors.md");
        if env::var("ERROR_REFERENCE").is_ok_and(|it| it == "write") {
            fs::write(path, &page).unwrap();
        }
        let committed = fs::read_to_string(path).unwrap();
        for (line, (found, expected)) in page.lines().zip(committed.lines()).enumerate() {
            assert_eq!(found, expected, "docs/errors.md, line {}", line + 1);
        }
        assert_eq!(page.len(), committed.len(), "docs/errors.md is of another length");
    });
}
