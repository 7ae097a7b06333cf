//! Unit tests of `protocol::oauth::grant`.

use super::*;
use crate::protocol::oauth::stored::RegistrationKind;
use serde_json::json;

fn client(id: &str, secret: Option<&str>, method: AuthMethod) -> Registration {
    Registration {
        kind: RegistrationKind::Configured,
        id: id.to_owned(),
        secret: secret.map(Secret::new),
        secret_expires: None,
        method,
        redirect_uri: None,
    }
}

fn sent(client: &Registration) -> (String, Option<String>) {
    let assertion = Secret::new("a.b.c");
    let (form, header) = authenticate(Form::new("x"), client, Some(&assertion));
    (form.into_text(), header.map(|it| it.expose().to_owned()))
}

/// RFC 6749, 2.3.1: the example, and what needs to be encoded.
#[test]
fn oa_45_a_client_says_who_it_is_in_one_way() {
    let example = client("s6BhdRkqt3", Some("7Fjfp0ZBr1KtDRbnfVdmIw"), AuthMethod::Basic);
    let header = "Basic czZCaGRSa3F0Mzo3RmpmcDBaQnIxS3REUmJuZlZkbUl3";
    assert_eq!(sent(&example), ("grant_type=x".to_owned(), Some(header.to_owned())));
    let odd = client("a:b", Some("ü %"), AuthMethod::Basic);
    let header = format!("Basic {}", base64(b"a%3Ab:%C3%BC%20%25"));
    assert_eq!(sent(&odd).1, Some(header));
    let post = client("a:b", Some("s&"), AuthMethod::Post);
    assert_eq!(sent(&post), ("grant_type=x&client_id=a%3Ab&client_secret=s%26".to_owned(), None));
    let none = client("id", None, AuthMethod::None);
    assert_eq!(sent(&none), ("grant_type=x&client_id=id".to_owned(), None));
    assert_eq!(sent(&client("", None, AuthMethod::None)), ("grant_type=x".to_owned(), None));
    let kind = "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
    let jwt = format!("grant_type=x&client_assertion_type={kind}&client_assertion=a.b.c");
    assert_eq!(sent(&client("id", None, AuthMethod::PrivateKeyJwt)), (jwt, None));
}

#[test]
fn oa_76_oa_77_what_an_answer_means_for_what_is_stored() {
    use Refusal::{ClientForgotten, Definitive, Other};
    let error = |code: &str| json!({ "error": code }).to_string();
    for (status, body, refusal) in [
        (400, error("invalid_grant"), Some(Definitive)),
        (401, error("invalid_grant"), Some(Definitive)),
        // GitHub.
        (200, error("invalid_grant"), Some(Definitive)),
        (401, error("invalid_client"), Some(ClientForgotten)),
        (400, error("unauthorized_client"), Some(ClientForgotten)),
        (400, error("invalid_request"), Some(Other)),
        (400, error("made_up"), Some(Other)),
        (400, json!({ "error": { "code": 1 } }).to_string(), Some(Other)),
    ] {
        let refused = read(status, None, body.as_bytes()).unwrap_err();
        assert_eq!(refused.refusal, refusal, "{status} {body}");
        assert!(matches!(refused.kind, AuthErrorKind::Refused(_)), "{status} {body}");
    }
    for (status, body) in [
        (400, error("temporarily_unavailable")),
        (400, error("slow_down")),
        (400, error("server_error")),
        (408, String::new()),
        (425, String::new()),
        (429, error("invalid_grant")),
        (500, error("invalid_grant")),
        (503, "<html>".to_owned()),
        (200, "<html>".to_owned()),
        (200, "[]".to_owned()),
        (400, "nginx".to_owned()),
        (404, String::new()),
    ] {
        let refused = read(status, Some(7), body.as_bytes()).unwrap_err();
        let kind = AuthErrorKind::Unavailable { status: Some(status), retry_after: Some(7) };
        assert_eq!(refused, Refused { kind, refusal: None }, "{body}");
    }
    let redirect = read(307, None, b"").unwrap_err();
    assert_eq!(
        (redirect.refusal, redirect.kind),
        (None, AuthErrorKind::TokenUnusable("the endpoint redirects"))
    );
    for status in [200, 201] {
        assert!(read(status, None, br#"{"access_token":"t","error":null}"#).is_ok());
    }
}

#[test]
fn oa_76_how_long_a_token_endpoint_is_left_alone() {
    let asked: Vec<_> = (1..9).map(|failures| back_off(failures, None)).collect();
    assert_eq!(asked, [1, 2, 4, 8, 16, 32, 60, 60]);
    assert_eq!(back_off(u32::MAX, None), 60);
    assert_eq!((back_off(1, Some(600)), back_off(1, Some(601)), back_off(7, Some(5))), (600, 600, 60));
}

fn issue(answer: &Value, before: Option<&Tokens>) -> Result<Issued, &'static str> {
    let Value::Object(members) = answer.clone() else { panic!("not an object") };
    issued(members, before, UnixTime(1000), &OAuthLimits::default())
}

#[test]
fn oa_71_what_an_answer_does_not_say_stays() {
    let first = json!({
        "access_token": "a1", "token_type": "dPoP", "refresh_token": "r1", "scope": "x y", "expires_in": 60, "id_token": "i",
    });
    let first = issue(&first, None).unwrap();
    assert_eq!(first.granted, Some(vec!["x".to_owned(), "y".to_owned()]));
    let tokens = first.tokens;
    assert_eq!((tokens.scheme, tokens.expires), (Scheme::Dpop, Some(UnixTime(1060))));
    assert_eq!(tokens.refresh, Some(Secret::new("r1")));
    assert_eq!(tokens.others.0.keys().collect::<Vec<_>>(), ["id_token"], "kept");
    let second = issue(&json!({ "access_token": "a2" }), Some(&tokens)).unwrap();
    assert_eq!(second.granted, None);
    assert_eq!((second.tokens.scheme, second.tokens.expires), (Scheme::Dpop, None));
    assert_eq!(second.tokens.refresh, Some(Secret::new("r1")));
    let rotated = issue(&json!({ "access_token": "a2", "refresh_token": "r2" }), Some(&tokens)).unwrap();
    assert_eq!(rotated.tokens.refresh, Some(Secret::new("r2")));
    let bare =
        issue(&json!({ "access_token": "a", "refresh_token": null, "token_type": null }), None).unwrap();
    assert_eq!((bare.tokens.scheme, bare.tokens.refresh), (Scheme::Bearer, None));
}

#[test]
fn oa_78_a_lifetime_is_never_invented() {
    for (expires_in, end) in [
        (json!(3600), Some(4600)),
        (json!("3600"), Some(4600)),
        (json!(0), Some(1000)),
        (json!(1.5), Some(1001)),
        (json!(-1), None),
        (json!("-1"), None),
        (json!("soon"), None),
        (json!(null), None),
        (json!(true), None),
        (json!(1e300), None),
        (json!("inf"), None),
        (json!("NaN"), None),
        (json!(u64::MAX), None),
    ] {
        let answer = json!({ "access_token": "t", "expires_in": expires_in });
        assert_eq!(issue(&answer, None).unwrap().tokens.expires, end.map(UnixTime), "{answer}");
    }
}

#[test]
fn an_access_token_becomes_a_header() {
    for answer in [
        json!({}),
        json!({ "access_token": "" }),
        json!({ "access_token": 1 }),
        json!({ "access_token": "a b" }),
        json!({ "access_token": "a\r\nx: y" }),
        json!({ "access_token": "ü" }),
        json!({ "access_token": "t", "token_type": "mac" }),
        json!({ "access_token": "t", "token_type": 1 }),
    ] {
        assert!(issue(&answer, None).is_err(), "{answer}");
    }
}

#[test]
fn lim_a_token_has_16_kib() {
    let (longest, longer) = ("x".repeat(16 * 1024), "x".repeat(16 * 1024 + 1));
    assert!(issue(&json!({ "access_token": longest, "refresh_token": longest }), None).is_ok());
    assert!(issue(&json!({ "access_token": longer }), None).is_err());
    assert!(issue(&json!({ "access_token": "t", "refresh_token": longer }), None).is_err());
}
