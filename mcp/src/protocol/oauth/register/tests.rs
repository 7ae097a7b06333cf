//! Unit tests of `protocol::oauth::register`.

use super::*;
use AuthMethod::{Basic, None as Nothing, Post, PrivateKeyJwt};

fn server(methods: Option<&[AuthMethod]>) -> ServerMetadata {
    ServerMetadata { methods: methods.map(<[_]>::to_vec), ..ServerMetadata::default() }
}

fn answer(answer: &Value, asked: AuthMethod) -> Result<Registration, &'static str> {
    read(answer.to_string().as_bytes(), "http://127.0.0.1:1/cb", asked, &OAuthLimits::default())
}

#[test]
fn oa_43_what_a_registration_says() {
    let config = Config { client_name: Some("Shell".to_owned()), ..Config::default() };
    let read: Value = serde_json::from_str(&request(&config, "http://127.0.0.1:1/cb", Post)).unwrap();
    let expected = json!({
        "client_name": "Shell", "redirect_uris": ["http://127.0.0.1:1/cb"], "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"], "application_type": "native", "token_endpoint_auth_method": "client_secret_post",
    });
    assert_eq!(read, expected);
    let read: Value = serde_json::from_str(&request(&config, "https://app.example/cb", Nothing)).unwrap();
    assert_eq!(
        (&read["application_type"], &read["token_endpoint_auth_method"]),
        (&json!("web"), &json!("none"))
    );
}

#[test]
fn oa_41_the_document_about_us_names_its_own_url() {
    assert_eq!(document(&Config::default(), &[]), None);
    let url = "https://app.example/client.json".to_owned();
    let config = Config { client_metadata_url: Some(url), ..Config::default() };
    let document = document(&config, &["http://127.0.0.1/callback", "http://localhost/callback"]).unwrap();
    let document: Value = serde_json::from_str(&document).unwrap();
    assert_eq!(document["client_id"], "https://app.example/client.json");
    assert_eq!(document["redirect_uris"], json!(["http://127.0.0.1/callback", "http://localhost/callback"]));
    assert_eq!(document["token_endpoint_auth_method"], "none");
    use crate::protocol::oauth::config::is_client_metadata_url;
    assert!(is_client_metadata_url("https://app.example/client.json"));
    for url in [
        "https://app.example",
        "https://app.example/",
        "http://app.example/c",
        "https://app.example/c#x",
        "c",
    ] {
        assert!(!is_client_metadata_url(url), "{url}");
    }
}

#[test]
fn oa_45_the_method_is_the_first_that_both_have() {
    for (listed, registering, with_secret) in [
        (None, Some(Nothing), Some(Basic)),
        (Some(&[Nothing, Post, Basic][..]), Some(Basic), Some(Basic)),
        (Some(&[Nothing, Post]), Some(Post), Some(Post)),
        (Some(&[Nothing]), Some(Nothing), Some(Nothing)),
        (Some(&[PrivateKeyJwt]), None, None),
        (Some(&[]), None, None),
    ] {
        let server = server(listed);
        assert_eq!(method_to_register(&server), registering, "{listed:?}");
        assert_eq!(method_for(&server, true, false), with_secret, "{listed:?}");
        assert_eq!(method_for(&server, false, false), Some(Nothing), "{listed:?}");
    }
    assert_eq!(method_for(&server(Some(&[Basic])), true, true), None);
    assert_eq!(method_for(&server(Some(&[PrivateKeyJwt])), false, true), Some(PrivateKeyJwt));
    assert_eq!(method_for(&server(None), false, true), Some(PrivateKeyJwt));
}

#[test]
fn oa_45_a_registration_with_a_method_that_we_cannot_do_fails() {
    let secret = json!("s3cret");
    for (method, secret, asked, used) in [
        (json!("client_secret_post"), &secret, Basic, Ok(Post)),
        (json!("client_secret_basic"), &secret, Nothing, Ok(Basic)),
        (json!("none"), &Value::Null, Basic, Ok(Nothing)),
        (json!("none"), &secret, Basic, Ok(Nothing)),
        (Value::Null, &secret, Post, Ok(Post)),
        (Value::Null, &secret, Nothing, Ok(Basic)),
        (Value::Null, &Value::Null, Nothing, Ok(Nothing)),
        (Value::Null, &Value::Null, Basic, Err(())),
        (json!("client_secret_basic"), &Value::Null, Basic, Err(())),
        (json!("private_key_jwt"), &secret, Basic, Err(())),
        (json!("tls_client_auth"), &secret, Basic, Err(())),
    ] {
        let body =
            json!({ "client_id": "id", "client_secret": secret, "token_endpoint_auth_method": method });
        assert_eq!(answer(&body, asked).map(|it| it.method).map_err(|_| ()), used, "{body}");
    }
}

#[test]
fn oa_47_when_a_secret_is_over() {
    for (expires, read) in
        [(json!(0), None), (json!(1700), Some(UnixTime(1700))), (Value::Null, None), (json!("x"), None)]
    {
        let body = json!({ "client_id": "id", "client_secret": "s", "client_secret_expires_at": expires });
        assert_eq!(answer(&body, Basic).unwrap().secret_expires, read, "{body}");
    }
}

#[test]
fn lim_an_id_and_a_secret_have_16_kib() {
    let (longest, longer) = ("x".repeat(16 * 1024), "x".repeat(16 * 1024 + 1));
    assert!(answer(&json!({ "client_id": longest, "client_secret": longest }), Basic).is_ok());
    assert!(answer(&json!({ "client_id": longer }), Nothing).is_err());
    assert!(answer(&json!({ "client_id": "x", "client_secret": longer }), Basic).is_err());
    for body in [json!({}), json!([]), json!({ "client_id": 1 }), json!({ "client_id": "" })] {
        assert!(answer(&body, Nothing).is_err(), "{body}");
    }
}
