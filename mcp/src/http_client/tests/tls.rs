//! https, with an authority of our own.

use std::error::Error as _;
use std::io::{BufRead as _, ErrorKind, Read as _, Write as _};
use std::iter;
use std::net::TcpStream;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    CertificateError, RootCertStore, ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion,
};

use super::super::connection::READS_PER_POLL;
use super::super::engine::{Engine, EngineConfig};
use super::super::failure::{Failure, Stage};
use super::super::net::{AsyncIo, ByteStream, Net};
use super::super::tls::TlsConfig;
use super::kit::{Fake, Peer, Scripted, Server, call, engine, event, post, run};

/// An authority that nobody knows, and a server with its certificate for `localhost`.
pub(super) struct Authority {
    pub(super) root: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
    pub(super) server: Arc<ServerConfig>,
}

impl Authority {
    pub(super) fn new() -> Self {
        Self::speaking(rustls::ALL_VERSIONS)
    }

    pub(super) fn speaking(versions: &[&'static SupportedProtocolVersion]) -> Self {
        Self::build(versions, false)
    }

    /// Its server wants a certificate of its clients, from the same authority.
    pub(super) fn mutual(versions: &[&'static SupportedProtocolVersion]) -> Self {
        Self::build(versions, true)
    }

    fn build(versions: &[&'static SupportedProtocolVersion], mutual: bool) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("authority {}", COUNT.fetch_add(1, Ordering::SeqCst));
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap().der().to_vec();
        let issuer = Issuer::new(params, key);

        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost", "server.example"].map(str::to_owned)).unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap().der().clone();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(ring::default_provider());
        let server = ServerConfig::builder_with_provider(provider.clone());
        let server = server.with_protocol_versions(versions).unwrap();
        let server = match mutual {
            false => server.with_no_client_auth(),
            true => {
                let mut roots = RootCertStore::empty();
                roots.add(root.clone().into()).unwrap();
                let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                server.with_client_cert_verifier(clients.build().unwrap())
            }
        };
        let mut server = server.with_single_cert(vec![certificate], key).unwrap();
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Self { root, issuer, server: Arc::new(server) }
    }

    /// A client's certificate and its key, as PEM.
    pub(super) fn client(&self) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["client".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (pem("CERTIFICATE", certificate.der()), pem("PRIVATE KEY", &key.serialize_der()))
    }

    pub(super) fn start(
        &self,
        script: impl Fn(Peer<StreamOwned<ServerConnection, TcpStream>>) + Send + Sync + 'static,
    ) -> Server {
        let config = self.server.clone();
        Server::start(move |peer| {
            let session = ServerConnection::new(config.clone()).unwrap();
            script(Peer { nth: peer.nth, stream: StreamOwned::new(session, peer.stream) });
        })
    }

    pub(super) fn echo(&self) -> Server {
        self.start(|mut peer| peer.echo())
    }

    pub(super) fn trusted(&self) -> EngineConfig {
        let tls = TlsConfig { extra_roots: vec![self.root.clone()], ..TlsConfig::default() };
        EngineConfig { tls, ..EngineConfig::default() }
    }

    fn engine(&self) -> Engine {
        Engine::new(self.trusted()).unwrap()
    }
}

pub(super) fn pem(label: &str, der: &[u8]) -> String {
    let text = crate::encoding::base64(der);
    format!("A comment\n-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}

pub(super) fn url(server: &Server) -> String {
    format!("https://localhost:{}/", server.address.port())
}

pub(super) fn rustls_error(failure: &Failure) -> &rustls::Error {
    let errors = iter::successors(failure.source(), |&error| error.source());
    errors.filter_map(|error| error.downcast_ref()).next().expect("no rustls error")
}

pub(super) async fn round_trip(net: Arc<dyn Net>) {
    let authority = Authority::new();
    let server = authority.echo();
    let engine = Engine::new(EngineConfig { net, ..authority.trusted() }).unwrap();
    for _ in 0..3 {
        assert_eq!(call(&engine, post(&url(&server), "{}")).await.unwrap(), b"{}");
    }
    assert_eq!(server.connections(), 1);
}

#[test]
fn a_known_authority_is_trusted() {
    run(round_trip(Arc::new(AsyncIo)));
}

#[test]
fn every_supported_version_works() {
    for version in rustls::ALL_VERSIONS {
        let authority = Authority::speaking(&[version]);
        let server = authority.echo();
        run(async {
            let engine = authority.engine();
            for _ in 0..3 {
                assert_eq!(call(&engine, post(&url(&server), "{}")).await.unwrap(), b"{}");
                // Sessions are resumed.
                engine.drop_idle();
            }
        });
        assert_eq!(server.connections(), 3);
    }
}

#[test]
fn large_bodies_go_both_ways() {
    let authority = Authority::new();
    let server = authority.echo();
    let body = Bytes::from_iter((0..=u8::MAX).cycle().take(4_000_000));
    let answer = run(call(&authority.engine(), post(&url(&server), body.clone()))).unwrap();
    assert!(answer == body);
}

#[test]
fn an_unknown_authority_is_not_trusted() {
    let server = Authority::new().start(|mut peer| drop(peer.request_or_error()));
    let failure = run(call(&Authority::new().engine(), post(&url(&server), "{}"))).unwrap_err();
    assert_eq!((failure.stage, failure.sent), (Stage::Tls, false));
    let error = rustls_error(&failure);
    assert_eq!(error, &rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer));
    assert!(!failure.is_parse());
}

#[test]
fn a_certificate_for_another_name_is_refused() {
    let authority = Authority::new();
    let server = authority.start(|mut peer| drop(peer.request_or_error()));
    let url = format!("https://127.0.0.1:{}/", server.address.port());
    let failure = run(call(&authority.engine(), post(&url, "{}"))).unwrap_err();
    assert_eq!((failure.stage, failure.sent), (Stage::Tls, false));
    let rustls::Error::InvalidCertificate(error) = rustls_error(&failure) else { panic!() };
    assert!(matches!(error, CertificateError::NotValidForNameContext { .. }), "{error:?}");
}

#[test]
fn a_server_without_tls_is_refused() {
    let server = Server::start(|mut peer| {
        peer.stream.peek(&mut [0]).unwrap();
        peer.write("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        peer.wait_until_closed();
    });
    let failure = run(call(&Authority::new().engine(), post(&url(&server), "{}"))).unwrap_err();
    assert_eq!((failure.stage, failure.sent), (Stage::Tls, false));
    assert!(matches!(rustls_error(&failure), rustls::Error::InvalidMessage(_)));
}

#[test]
fn an_end_or_a_reset_within_the_handshake() {
    let server = Server::start(|mut peer| {
        if peer.nth == 1 {
            return peer.reset();
        }
        let hello = peer.stream.peek(&mut [0; 4096]).unwrap();
        peer.stream.read_exact(&mut vec![0; hello]).unwrap();
    });
    let engine = Authority::new().engine();
    for kind in [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset] {
        let failure = run(call(&engine, post(&url(&server), "{}"))).unwrap_err();
        assert_eq!((failure.stage, failure.sent), (Stage::Tls, false));
        assert_eq!(failure.io_kind(), Some(kind));
    }
}

/// An attacker who cuts the connection must not pass for the end of the body.
#[test]
fn a_body_without_a_length_must_end_with_a_close_notify() {
    for polite in [true, false] {
        let authority = Authority::new();
        let server = authority.start(move |mut peer| {
            peer.request();
            peer.write("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\npart");
            if polite {
                peer.stream.conn.send_close_notify();
                peer.stream.flush().unwrap();
            }
        });
        let result = run(call(&authority.engine(), post(&url(&server), "{}")));
        if polite {
            assert_eq!(result.unwrap(), b"part");
        } else {
            let failure = result.unwrap_err();
            assert_eq!((failure.stage, failure.sent), (Stage::Body, true));
            assert_eq!(failure.io_kind(), Some(ErrorKind::UnexpectedEof));
        }
    }
}

#[test]
fn dropping_a_request_closes_the_connection() {
    let (closed, was_closed) = event();
    let authority = Authority::new();
    let server = authority.start(move |mut peer| {
        peer.request();
        peer.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        peer.wait_until_closed();
        closed.set();
    });
    drop(run(authority.engine().send(post(&url(&server), "{}"))).unwrap());
    was_closed.wait();
}

/// LIV-07: records without content are no reason to go on reading, either.
#[test]
fn liv_07_tickets_leave_other_tasks_their_turn() {
    let authority = Authority::speaking(&[&rustls::version::TLS13]);
    let mut server = (*authority.server).clone();
    server.send_tls13_tickets = 400;
    let server = Arc::new(server);
    let reads = Arc::new(AtomicUsize::new(0));
    let count = reads.clone();
    let net = Scripted::new(move |_| {
        let session = ServerConnection::new(server.clone()).unwrap();
        let fake = Fake {
            state: (session, count.clone()),
            read: |(session, count): &mut (ServerConnection, Arc<AtomicUsize>), buffer: &mut [u8]| {
                count.fetch_add(1, Ordering::SeqCst);
                // In small pieces, of which each is there at once.
                let read = session.write_tls(&mut &mut buffer[..64]).unwrap();
                (read > 0).then_some(Ok(read))
            },
            write: |(session, _), bytes| {
                let written = session.read_tls(&mut &*bytes).unwrap();
                session.process_new_packets().unwrap();
                if session.reader().fill_buf().is_ok() {
                    session.reader().read_to_end(&mut Vec::new()).unwrap_err();
                    session.writer().write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
                }
                Some(Ok(written))
            },
        };
        Box::new(fake) as Box<dyn ByteStream>
    });
    let engine = Engine::new(EngineConfig { net: Arc::new(net), ..authority.trusted() }).unwrap();
    let mut call = pin!(call(&engine, post("https://localhost/", "{}")));
    let mut most = 0;
    let answer = run(std::future::poll_fn(|cx| {
        let before = reads.load(Ordering::SeqCst);
        let poll = call.as_mut().poll(cx);
        most = most.max(reads.load(Ordering::SeqCst) - before);
        poll
    }));
    assert_eq!(answer.unwrap(), b"");
    assert!(reads.load(Ordering::SeqCst) > 5 * READS_PER_POLL, "no flood");
    assert!(most <= 2 * READS_PER_POLL, "{most} reads in one poll");
}

#[test]
fn extra_roots_are_checked_at_once() {
    let tls = TlsConfig { extra_roots: vec![b"not a certificate".to_vec()], ..TlsConfig::default() };
    let failure = Engine::new(EngineConfig { tls, ..EngineConfig::default() }).unwrap_err();
    assert_eq!((failure.stage, failure.sent), (Stage::Tls, false));
    rustls_error(&failure);
}

#[test]
fn a_name_that_no_certificate_can_have_is_a_bad_url() {
    let failure = run(call(&engine(), post("https://a..b/", "{}"))).unwrap_err();
    assert_eq!((failure.stage, failure.sent), (Stage::BadUrl, false));
}

#[cfg(feature = "webpki-roots")]
#[test]
fn compiled_in_roots_replace_the_platforms_and_take_extra_ones() {
    use super::super::tls::Roots;

    let authority = Authority::new();
    for (extra_roots, trusted) in [(vec![authority.root.clone()], true), (vec![], false)] {
        let server = authority.start(|mut peer| {
            if let Ok(Some(request)) = peer.request_or_error() {
                peer.respond(request.body);
            }
        });
        let tls = TlsConfig { roots: Roots::WebPki, extra_roots, ..TlsConfig::default() };
        let engine = Engine::new(EngineConfig { tls, ..EngineConfig::default() }).unwrap();
        let result = run(call(&engine, post(&url(&server), "{}")));
        assert_eq!(result.is_ok(), trusted);
    }
}
