//! Unit tests of `protocol::oauth::stored`.

use super::*;

fn full() -> Stored {
    Stored {
        issuer: "https://as.example".to_owned(),
        token_endpoint: "https://as.example/token".to_owned(),
        revocation_endpoint: Some("https://as.example/revoke".to_owned()),
        resource: Some("https://mcp.example".to_owned()),
        registration: Registration {
            kind: RegistrationKind::Dynamic,
            id: "id-1".to_owned(),
            secret: Some(Secret::new("client-s3cret")),
            secret_expires: Some(UnixTime(9)),
            method: AuthMethod::Post,
            redirect_uri: Some("http://127.0.0.1:1/cb".to_owned()),
        },
        tokens: Some(Tokens {
            access: Secret::new("access-s3cret"),
            scheme: Scheme::Dpop,
            refresh: Some(Secret::new("refresh-s3cret")),
            obtained: UnixTime(1000),
            expires: Some(UnixTime(1600)),
            others: Members([("id_token".to_owned(), json!("id-s3cret"))].into_iter().collect()),
        }),
        requested: vec!["a".to_owned(), "b".to_owned()],
        granted: vec!["a".to_owned()],
        proof_key: Some(ProofKey { pkcs8: Secret::new("key-s3cret"), x: [1; 32], y: [255; 32] }),
        uncertain: true,
        others: Members([("later".to_owned(), json!({ "s3cret": 1 }))].into_iter().collect()),
    }
}

/// An entry with as little in it as there can be.
pub(crate) fn bare() -> Stored {
    Stored {
        issuer: "https://as.example".to_owned(),
        token_endpoint: "https://as.example/token".to_owned(),
        revocation_endpoint: None,
        resource: None,
        registration: Registration {
            kind: RegistrationKind::Configured,
            id: "id".to_owned(),
            secret: None,
            secret_expires: None,
            method: AuthMethod::None,
            redirect_uri: None,
        },
        tokens: None,
        requested: Vec::new(),
        granted: Vec::new(),
        proof_key: None,
        uncertain: false,
        others: Members::default(),
    }
}

/// An access token and perhaps a refresh token.
pub(crate) fn tokens(obtained: UnixTime, refresh: Option<&str>) -> Tokens {
    Tokens {
        access: Secret::new("access"),
        scheme: Scheme::Bearer,
        refresh: refresh.map(Secret::new),
        obtained,
        expires: None,
        others: Members::default(),
    }
}

/// A server's answer may have members with names that the entry itself uses.
#[test]
fn a_servers_member_with_a_name_of_ours_does_not_damage_the_entry() {
    let mut stored = full();
    let odd = || {
        Members(
            ["expires", "refresh_token"].map(|name| (name.to_owned(), json!("odd"))).into_iter().collect(),
        )
    };
    if let Some(tokens) = &mut stored.tokens {
        (tokens.expires, tokens.refresh, tokens.others) = (None, None, odd());
    }
    let read = Stored::from_text(&stored.to_text()).unwrap().tokens.unwrap();
    assert_eq!((read.expires, read.refresh, read.others), (None, None, Members::default()));
    let names = ["tokens", "proof_key", "resource", "uncertain"];
    let others = Members(names.map(|name| (name.to_owned(), json!(7))).into_iter().collect());
    let bare = Stored { proof_key: None, resource: None, others, ..full().without_tokens() };
    let read = Stored::from_text(&bare.to_text()).unwrap();
    assert_eq!(read, Stored { others: Members::default(), ..bare });
}

#[test]
fn what_is_written_is_read_again_unknown_members_too() {
    let bare = Stored { registration: Registration { id: String::new(), ..bare().registration }, ..bare() };
    for stored in [full(), full().without_tokens(), bare] {
        assert_eq!(Stored::from_text(&stored.to_text()), Ok(stored.clone()), "{}", stored.to_text());
    }
    assert!(full().to_text().contains(r#""later":{"s3cret":1}"#));
    assert_eq!(full().without_tokens().registration, full().registration);
}

#[test]
fn debug_shows_no_secret() {
    let shown = format!("{:?} {:#?}", full(), full());
    assert!(!shown.contains("s3cret"), "{shown}");
    assert!(shown.contains("https://as.example"));
}

#[test]
fn a_damaged_text_is_no_entry_and_is_not_repeated() {
    let good: Value = serde_json::from_str(&full().to_text()).unwrap();
    for (member, value) in [
        ("issuer", Value::Null),
        ("issuer", json!(1)),
        ("token_endpoint", json!("")),
        ("client", json!("s3cret")),
        ("client_auth", json!("s3cret")),
        ("client_id", Value::Null),
        ("requested", json!("a b")),
        ("granted", json!([1])),
        ("tokens", json!([])),
        ("tokens", json!({ "access_token": "a\nb", "token_type": "Bearer" })),
        ("tokens", json!({ "access_token": "a" })),
        ("proof_key", json!({ "pkcs8": "a", "x": "AA", "y": "AA" })),
        ("client_secret_expires", json!(-1)),
        ("uncertain", json!("yes")),
        ("version", Value::Null),
        ("version", json!("1")),
    ] {
        let mut text = good.clone();
        text[member] = value;
        assert_eq!(Stored::from_text(&text.to_string()), Err(StoredError::Form), "{member}");
    }
    for text in ["", "[]", "{", "s3cret"] {
        assert_eq!(Stored::from_text(text), Err(StoredError::Form));
    }
    let mut later = good;
    later["version"] = json!(2);
    assert_eq!(Stored::from_text(&later.to_string()), Err(StoredError::Version(2)));
    assert!(!format!("{} {0:?}", StoredError::Form).contains("s3cret"));
}

#[test]
fn oa_79_a_token_is_refreshed_ahead() {
    let with = |obtained, expires: Option<u64>| {
        let mut stored = full();
        let tokens = stored.tokens.as_mut().unwrap();
        tokens.obtained = UnixTime(obtained);
        tokens.expires = expires.map(UnixTime);
        stored
    };
    for (life, now, due, over) in [
        // A quarter of a long life is more than 30 s.
        (3600, 3569, false, false),
        (3600, 3570, false, false),
        (3600, 3571, true, false),
        (3600, 3599, true, false),
        (3600, 3600, true, true),
        // A short-lived one is not refreshed on every call.
        (40, 29, false, false),
        (40, 30, false, false),
        (40, 31, true, false),
        (0, 0, true, true),
    ] {
        let (stored, now) = (with(1000, Some(1000 + life)), UnixTime(1000 + now));
        assert_eq!((stored.is_due(now), stored.is_expired(now)), (due, over), "{life} {now:?}");
    }
    let unknown = with(1000, None);
    assert!(!unknown.is_due(UnixTime(u64::MAX)) && !unknown.is_expired(UnixTime(u64::MAX)));
    assert!(full().without_tokens().authorization().is_none());
    assert_eq!(full().authorization().unwrap().expose(), "DPoP access-s3cret");
}

#[test]
fn any_text_is_an_entry_or_an_error() {
    proptest::proptest!(|(text in ".*", member in "[a-z_]{1,12}", value in ".{0,9}")| {
        let _ = Stored::from_text(&text);
        let mut known: Value = serde_json::from_str(&full().to_text()).unwrap();
        known[&member] = json!(value);
        if let Ok(read) = Stored::from_text(&known.to_string()) {
            proptest::prop_assert_eq!(Stored::from_text(&read.to_text()), Ok(read));
        }
    });
}
