//! Unit tests of `protocol::handshake`.

use super::*;

#[test]
fn revisions_know_their_names_and_their_order() {
    let names = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"];
    assert_eq!(Revision::ALL.map(Revision::as_str), names);
    for (revision, name) in Revision::ALL.into_iter().zip(names) {
        assert_eq!(Revision::from_name(name), Some(revision));
        assert_eq!(revision.to_string(), name);
    }
    assert!(Revision::ALL.is_sorted());
    // ERA-21: a handshake never offers a revision that has none.
    let handshake = Revision::ALL.into_iter().filter(|revision| !revision.is_stateless());
    assert_eq!(Some(Revision::LATEST_WITH_HANDSHAKE), handshake.max());
    assert_eq!(Some(&Revision::LATEST), Revision::ALL.last());
}

#[test]
fn other_names_are_none() {
    for name in ["", "2024-11-5", "2024-11-05 ", "2025-11-26", "2026-07-29", "latest", "DRAFT-2025-v1"] {
        assert_eq!(Revision::from_name(name), None, "{name}");
    }
}

#[test]
fn ini_01_the_parameters_of_initialize() {
    let params = initialize_params(
        Revision::V2025_06_18,
        &serde_json::json!({}),
        &serde_json::json!({ "name": "my \"app\"", "version": "1.0\n" }),
    );
    let expected = concat!(
        r#"{"protocolVersion":"2025-06-18","capabilities":{},"#,
        r#""clientInfo":{"name":"my \"app\"","version":"1.0\n"}}"#
    );
    assert_eq!(params.get(), expected);
}
