//! Certificates and TLS configurations that the caller has.

use std::sync::Arc;

use rustls::crypto::ring;
use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore};

use super::super::engine::{Engine, EngineConfig};
use super::super::failure::{Failure, Stage};
use super::super::tls::TlsConfig;
use super::kit::{Server, call, post, run};
use super::tls::{Authority, pem, rustls_error, url};

fn echo(config: EngineConfig, server: &Server) -> Result<Vec<u8>, Failure> {
    run(call(&Engine::new(config).unwrap(), post(&url(server), "{}")))
}

/// A server that wants certificates, and tells whose it got.
fn demanding(authority: &Authority) -> Server {
    authority.start(|mut peer| {
        while let Ok(Some(_)) = peer.request_or_error() {
            let shown = peer.stream.conn.peer_certificates().unwrap()[0].to_vec();
            peer.respond(shown);
        }
    })
}

fn own(authority: &Authority) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(authority.root.clone().into()).unwrap();
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

fn with_own(config: ClientConfig) -> EngineConfig {
    let mut tls = TlsConfig::default();
    tls.set_own(Arc::new(config));
    EngineConfig { tls, ..EngineConfig::default() }
}

#[test]
fn a_client_shows_its_certificate_to_a_server_that_asks() {
    for version in rustls::ALL_VERSIONS {
        let authority = Authority::mutual(&[version]);
        let server = demanding(&authority);
        let (chain, key) = authority.client();
        for (chain, key) in [(chain.clone(), key.clone()), (key.clone() + &chain, chain.clone() + &key)] {
            let mut config = authority.trusted();
            config.tls.set_identity(chain.as_bytes(), key.as_bytes()).unwrap();
            let shown = echo(config, &server).unwrap();
            let pem = chain.find("-----BEGIN CERT").unwrap();
            let expected = super::super::tls::certificates(&chain.as_bytes()[pem..]).unwrap();
            assert_eq!(shown, expected[0].to_vec());
        }
    }
}

#[test]
fn a_client_without_a_certificate_or_with_a_foreign_one_is_told_so() {
    for version in rustls::ALL_VERSIONS {
        let authority = Authority::mutual(&[version]);
        let server = demanding(&authority);
        let failure = echo(authority.trusted(), &server).unwrap_err();
        let alert = match rustls_error(&failure) {
            rustls::Error::AlertReceived(alert) => *alert,
            other => panic!("{other:?}"),
        };
        assert_eq!(alert, AlertDescription::CertificateRequired);
        let (chain, key) = Authority::new().client();
        let mut config = authority.trusted();
        config.tls.set_identity(chain.as_bytes(), key.as_bytes()).unwrap();
        let failure = echo(config, &server).unwrap_err();
        assert!(matches!(rustls_error(&failure), rustls::Error::AlertReceived(_)), "{failure:?}");
    }
}

#[cfg(feature = "oauth")]
#[test]
fn oa_03_a_certificate_that_is_taken_away_is_shown_to_nobody_and_the_roots_stay() {
    for version in rustls::ALL_VERSIONS {
        let authority = Authority::mutual(&[version]);
        let server = demanding(&authority);
        let (chain, key) = authority.client();
        let mut simple = authority.trusted();
        simple.tls.set_identity(chain.as_bytes(), key.as_bytes()).unwrap();
        let mut config = own(&authority);
        let identity = simple.tls.identity.clone().unwrap();
        config.client_auth_cert_resolver = Arc::new(rustls::sign::SingleCertAndKey::from(identity));
        for with in [simple, with_own(config)] {
            assert!(with.tls.shows_certificate());
            echo(with.clone(), &server).unwrap();
            let without = EngineConfig { tls: with.tls.anonymous(), ..with };
            assert!(!without.tls.shows_certificate());
            let failure = echo(without.clone(), &server).unwrap_err();
            let rustls::Error::AlertReceived(alert) = rustls_error(&failure) else { panic!("{failure:?}") };
            assert_eq!(*alert, AlertDescription::CertificateRequired);
        }
    }
}

#[test]
fn what_is_no_certificate_or_no_key_is_refused_at_once() {
    let authority = Authority::new();
    let ((chain, key), (other, _)) = (authority.client(), authority.client());
    let broken = "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
    let empty = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let odd_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let cut_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n";
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    for (chain, key, why) in [
        ("", &*key, "there is no certificate"),
        (&*key, &*key, "there is no certificate"),
        (broken, &*key, "a certificate is not PEM"),
        (empty, &*key, "the client's certificate is none"),
        (&*chain, "", "there is no private key, or it is encrypted"),
        (&*chain, &*chain, "there is no private key, or it is encrypted"),
        (&*chain, encrypted, "there is no private key, or it is encrypted"),
        (&*chain, cut_key, "the private key is not PEM"),
        (&*chain, odd_key, "the private key is of no kind that is known"),
        (&*other, &*key, "the private key is not that of the certificate"),
    ] {
        let result = TlsConfig::default().set_identity(chain.as_bytes(), key.as_bytes());
        assert_eq!(result, Err(why), "{chain} {key}");
    }
}

#[test]
fn roots_may_be_pem() {
    let authority = Authority::new();
    let server = authority.echo();
    let other = Authority::new();
    let pem = |authority: &Authority| pem("CERTIFICATE", &authority.root);
    let mut tls = TlsConfig::default();
    tls.add_roots((pem(&other) + &pem(&authority)).as_bytes()).unwrap();
    assert_eq!(echo(EngineConfig { tls, ..EngineConfig::default() }, &server).unwrap(), b"{}");

    let mut tls = TlsConfig::default();
    assert_eq!(tls.add_roots(b"no PEM"), Err("there is no certificate"));
    let none = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert_eq!(tls.add_roots(none), Err("a root certificate is none"));
    assert!(tls.extra_roots.is_empty());
}

#[test]
fn a_configuration_of_ones_own_decides_whom_to_trust() {
    let authority = Authority::new();
    let server = authority.echo();
    assert_eq!(echo(with_own(own(&authority)), &server).unwrap(), b"{}");
    let server = authority.start(|mut peer| drop(peer.request_or_error()));
    let failure = echo(with_own(own(&Authority::new())), &server).unwrap_err();
    assert_eq!((failure.stage, failure.sent), (Stage::Tls, false));
    assert!(matches!(rustls_error(&failure), rustls::Error::InvalidCertificate(_)));
}

#[test]
fn a_configuration_of_ones_own_is_given_the_servers_name() {
    let authority = Authority::new();
    let server = authority.start(|mut peer| drop(peer.request_or_error()));
    let engine = Engine::new(with_own(own(&authority))).unwrap();
    let url = format!("https://127.0.0.1:{}/", server.address.port());
    let failure = run(call(&engine, post(&url, "{}"))).unwrap_err();
    let rustls::Error::InvalidCertificate(error) = rustls_error(&failure) else { panic!() };
    assert!(matches!(error, CertificateError::NotValidForNameContext { .. }), "{error:?}");
}

/// The server would choose HTTP/2, which nobody speaks here.
#[test]
fn http_2_is_not_offered_whatever_the_configuration_says() {
    let authority = Authority::new();
    let server = authority.start(|mut peer| {
        while let Some(request) = peer.request() {
            assert_eq!(peer.stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
            peer.respond(request.body);
        }
    });
    for protocols in [vec![], vec![b"h2".to_vec()], vec![b"h2".to_vec(), b"http/1.1".to_vec()]] {
        let mut config = own(&authority);
        config.alpn_protocols = protocols;
        assert_eq!(echo(with_own(config), &server).unwrap(), b"{}");
    }
}

#[test]
fn a_configuration_that_needs_no_change_is_used_as_it_is() {
    let mut config = own(&Authority::new());
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let config = Arc::new(config);
    let mut tls = TlsConfig::default();
    tls.set_own(Arc::clone(&config));
    assert!(Arc::ptr_eq(tls.own.as_ref().unwrap(), &config));
}

#[test]
fn options_that_would_have_no_effect_are_noticed() {
    let authority = Authority::new();
    let (chain, key) = authority.client();
    let change: [fn(&mut TlsConfig, &str, &str); 3] = [
        |_, _, _| (),
        |tls, chain, _| tls.add_roots(chain.as_bytes()).unwrap(),
        |tls, chain, key| tls.set_identity(chain.as_bytes(), key.as_bytes()).unwrap(),
    ];
    for (nth, change) in change.iter().enumerate() {
        let mut tls = TlsConfig::default();
        change(&mut tls, &chain, &key);
        assert!(!tls.is_contradictory());
        tls.set_own(Arc::new(own(&authority)));
        assert_eq!(tls.is_contradictory(), nth > 0);
    }
}
