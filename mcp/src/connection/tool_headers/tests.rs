//! Unit tests of `connection::tool_headers`.

use super::*;
use crate::inbox::config::Config;
use crate::protocol::headers::header_arguments;
use std::future::pending;

const LIMIT: usize = 1 << 20;

fn annotated(name: &str) -> (String, Arguments) {
    let schema = r#"{"properties":{"a":{"type":"string","x-mcp-header":"A"}}}"#;
    (name.to_owned(), header_arguments(schema, 1).unwrap().into())
}

impl ToolHeaders {
    fn page(&self, cursor: Option<&str>, names: &[&str], next: Option<&str>) {
        let annotated = names.iter().map(|name| annotated(name)).collect();
        self.note(Page { cursor, annotated, next }, LIMIT);
    }

    fn knows(&self, tool: &str) -> bool {
        self.get(tool).1.is_some()
    }

    /// How many tools are kept.
    fn len(&self) -> usize {
        let known = self.0.lock();
        known.whole.len() + known.pages.by_tool.len()
    }
}

#[test]
fn par_09_a_whole_list_replaces_what_was_known() {
    let headers = ToolHeaders::default();
    headers.page(None, &["a", "b"], None);
    headers.page(None, &["b"], Some("1"));
    assert!(headers.knows("a") && headers.knows("b"), "the new list is not whole yet");
    headers.page(Some("1"), &["c"], None);
    assert!(!headers.knows("a") && headers.knows("b") && headers.knows("c"));
    assert_eq!((headers.len(), headers.heard().whole_lists), (2, 2));
}

#[test]
fn par_09_new_names_in_every_list_are_not_kept_for_ever() {
    let headers = ToolHeaders::default();
    for round in 0..200 {
        let name = |kind: &str| format!("{kind}{round}");
        // A list that ends, one that does not, and one of which only a page in the middle was read.
        headers.page(None, &[&name("whole")], None);
        headers.page(None, &[&name("first")], Some("1"));
        headers.page(Some("1"), &[&name("second")], Some("2"));
        assert!(
            headers.knows(&name("whole")) && headers.knows(&name("first")) && headers.knows(&name("second"))
        );
        assert_eq!(headers.len(), 3);
        headers.page(Some("7"), &[&name("middle")], None);
        assert!(headers.knows(&name("middle")));
        assert_eq!((headers.len(), headers.heard().whole_lists), (2, round + 1));
    }
}

#[test]
fn par_09_pages_for_ever_are_kept_up_to_the_limit() {
    let headers = ToolHeaders::default();
    headers.page(None, &["0"], Some("0"));
    let name = |page: u32| format!("{page}{}", "x".repeat(LIMIT / 16));
    for page in 0..200_u32 {
        let (cursor, next) = (page.to_string(), (page + 1).to_string());
        headers.page(Some(&cursor), &[&name(page)], Some(&next));
        assert!(headers.knows(&name(page)) && headers.len() <= 18, "{page}: {}", headers.len());
    }
    // What is left is no whole list.
    headers.page(Some("200"), &[], None);
    assert_eq!(headers.heard().whole_lists, 0);
}

#[test]
fn par_09_a_tool_that_has_no_annotations_any_more_is_forgotten() {
    let headers = ToolHeaders::default();
    headers.page(None, &["a", "b"], None);
    headers.forget("a");
    headers.page(None, &[], Some("1"));
    assert!(!headers.knows("a") && headers.knows("b"));
}

#[test]
fn par_09_who_would_wait_for_longer_tries_again() {
    let (headers, inbox) = (ToolHeaders::default(), Inbox::new(Config::new(), None));
    let begins = |patience: Option<u64>| {
        let patience = patience.map(Duration::from_millis);
        headers.fetch(&inbox, patience, pending()).is_some()
    };
    for (waited, patience, expected) in [
        (Some(100), Some(200), false),
        (Some(100), Some(201), true),
        (Some(100), None, true),
        (None, Some(u64::MAX / 2), false),
        (None, None, false),
    ] {
        headers.failed(&inbox, inbox.tool_changes(), waited);
        assert_eq!(begins(patience), expected, "{waited:?} {patience:?}");
    }
    headers.failed(&inbox, inbox.tool_changes(), None);
    headers.forget_failure();
    assert!(begins(None));
    headers.failed(&inbox, inbox.tool_changes() + 1, None);
    assert!(begins(None), "the list has changed");
}
