//! Unit tests of `protocol::oauth::redirect`.

use super::*;

const ISSUER: &str = "https://as.example";

fn read(query: &str, names_itself: bool) -> Result<String, Refused> {
    let state = Secret::new("st+1");
    let expected = Expected { state: &state, issuer: ISSUER, names_itself };
    expected.read(&format!("http://127.0.0.1:1/callback?{query}")).map(|code| code.expose().to_owned())
}

fn mismatch(found: &str) -> Result<String, Refused> {
    let (expected, found) = (ISSUER.to_owned(), found.to_owned());
    Err(Refused::Kind(AuthErrorKind::IssuerMismatch { expected, found, at: IssuerIn::Redirect }))
}

#[test]
fn oa_60_the_state_has_to_be_ours() {
    assert_eq!(read("code=c%201&state=st%2B1#x", false), Ok("c 1".to_owned()));
    for query in
        ["code=c", "code=c&state=", "code=c&state=st%2B2", "code=c&state=st+1", "", "state=st%2B11&code=c"]
    {
        assert_eq!(read(query, false), Err(Refused::Kind(AuthErrorKind::State)), "{query}");
    }
    for query in [
        "state=st%2B1&state=st%2B1&code=c",
        "state=st%2B1&code=c&code=d",
        "state=st%2B1",
        "state=st%2B1&code=",
    ] {
        assert!(matches!(read(query, false), Err(Refused::Reason(_))), "{query}");
    }
}

/// RFC 9207, 2.4: simple string comparison, before anything else.
#[test]
fn oa_61_whose_redirect_it_is_comes_first() {
    let ok = Ok("c".to_owned());
    for (iss, promised, outcome) in [
        ("&iss=https%3A%2F%2Fas.example", true, ok.clone()),
        ("&iss=https://as.example", false, ok.clone()),
        ("", false, ok),
        ("", true, mismatch("")),
        ("&iss=", false, mismatch("")),
        ("&iss=https%3A%2F%2Fevil.example", true, mismatch("https://evil.example")),
        ("&iss=https%3A%2F%2Fevil.example", false, mismatch("https://evil.example")),
        ("&iss=https%3A%2F%2Fas.example%2F", true, mismatch("https://as.example/")),
        ("&iss=https%3A%2F%2FAS.example", true, mismatch("https://AS.example")),
    ] {
        assert_eq!(read(&format!("state=st%2B1&code=c{iss}"), promised), outcome, "{iss} {promised}");
        let other = format!("state=st%2B1&error=no&error_description=words{iss}");
        if outcome.is_err() {
            assert_eq!(read(&other, promised), outcome, "not a word of somebody else's: {iss} {promised}");
        }
    }
}

#[test]
fn a_denial_has_the_servers_words() {
    let query = "state=st%2B1&error=access_denied&error_description=not+today&error_uri=https%3A%2F%2Fas.example%2Fe%3Fs%3D1&code=c";
    let answer = OAuthAnswer {
        error: "access_denied".to_owned(),
        description: Some("not today".to_owned()),
        uri: Some("https://as.example/e".to_owned()),
    };
    assert_eq!(read(query, false), Err(Refused::Kind(AuthErrorKind::Denied(answer))));
}

#[test]
fn oa_60_anybody_can_ask_a_port_of_this_machine() {
    let visit = "https://as.example/authorize?client_id=c&state=a%2Bb";
    assert!(belongs(visit, "/callback?code=1&state=a%2Bb"));
    assert!(belongs(visit, "http://127.0.0.1:9/callback?error=x&state=a%2bb"));
    for target in [
        "/callback",
        "/favicon.ico",
        "/callback?state=a+b",
        "/callback?state=a%2Bb&state=x",
        "/callback?state=",
    ] {
        assert!(!belongs(visit, target), "{target}");
    }
    assert!(!belongs("https://as.example/authorize", "/callback"), "no state is no match for no state");
}

#[test]
fn oa_43_whose_redirects_are_an_applications_own() {
    for uri in ["http://127.0.0.1:1/callback", "http://localhost/cb", "com.example.app:/cb", "app://cb"] {
        assert!(is_native(uri), "{uri}");
    }
    for uri in ["https://app.example/cb", "https://localhost/cb", "http://app.example/cb"] {
        assert!(!is_native(uri), "{uri}");
    }
}
