//! TLS over any stream, by rustls.

mod stream;

use std::sync::{Arc, OnceLock};
use std::{fmt, io};

#[cfg(feature = "oauth")]
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, InconsistentKeys, RootCertStore};
use rustls_platform_verifier::Verifier;

use self::stream::TlsStream;
use super::failure::{Failure, Stage};
use super::net::ByteStream;

/// Whom to trust, and who this is.
#[derive(Clone, Default)]
pub(crate) struct TlsConfig {
    pub(crate) roots: Roots,
    /// Certificates (DER) of authorities to trust besides.
    pub(crate) extra_roots: Vec<Vec<u8>>,
    /// For servers that ask for a certificate.
    pub(super) identity: Option<Arc<CertifiedKey>>,
    /// The caller's own configuration, in place of all the above.
    pub(super) own: Option<Arc<ClientConfig>>,
}

/// The only protocol there is.
const ALPN: &[u8] = b"http/1.1";

impl TlsConfig {
    pub(crate) fn add_roots(&mut self, pem: &[u8]) -> Result<(), &'static str> {
        let roots = certificates(pem)?;
        if roots.iter().any(|root| RootCertStore::empty().add(root.clone()).is_err()) {
            return Err("a root certificate is none");
        }
        self.extra_roots.extend(roots.iter().map(|root| root.to_vec()));
        Ok(())
    }

    pub(crate) fn set_identity(&mut self, chain: &[u8], key: &[u8]) -> Result<(), &'static str> {
        let chain = certificates(chain)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
            pem::Error::NoItemsFound => "there is no private key, or it is encrypted",
            _ => "the private key is not PEM",
        })?;
        let identity = CertifiedKey::from_der(chain, key, &ring::default_provider());
        self.identity = Some(Arc::new(identity.map_err(|error| match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                "the private key is not that of the certificate"
            }
            rustls::Error::InvalidCertificate(_) => "the client's certificate is none",
            _ => "the private key is of no kind that is known",
        })?));
        Ok(())
    }

    pub(crate) fn set_own(&mut self, mut config: Arc<ClientConfig>) {
        if config.alpn_protocols != [ALPN] {
            Arc::make_mut(&mut config).alpn_protocols = vec![ALPN.to_vec()];
        }
        self.own = Some(config);
    }

    /// Whether a server that asks for a certificate may be shown one.
    #[cfg(feature = "oauth")]
    pub(crate) fn shows_certificate(&self) -> bool {
        let has_certs = |own: &Arc<ClientConfig>| own.client_auth_cert_resolver.has_certs();
        self.identity.is_some() || self.own.as_ref().is_some_and(has_certs)
    }

    /// The same trust, but no server learns who this is.
    #[cfg(feature = "oauth")]
    pub(crate) fn anonymous(mut self) -> Self {
        self.identity = None;
        if let Some(own) = &mut self.own {
            let own = Arc::make_mut(own);
            own.client_auth_cert_resolver = Arc::new(Nobody);
            // A session that another connection began, and that this one took up, would be the certificate's.
            own.resumption = Resumption::disabled();
        }
        self
    }

    /// Whether a part of it would have no effect.
    pub(crate) fn is_contradictory(&self) -> bool {
        let others = self.identity.is_some() || !self.extra_roots.is_empty() || self.roots != Roots::Platform;
        self.own.is_some() && others
    }
}

/// Has no certificate.
#[cfg(feature = "oauth")]
#[derive(Debug)]
struct Nobody;

#[cfg(feature = "oauth")]
impl ResolvesClientCert for Nobody {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

/// All that are in the text, and at least one.
pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err("there is no certificate"),
        Ok(found) => Ok(found),
        Err(_) => Err("a certificate is not PEM"),
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Roots {
    /// What the operating system trusts.
    #[default]
    Platform,
    /// What Mozilla trusts, as compiled in.
    #[cfg(feature = "webpki-roots")]
    WebPki,
}

pub(super) struct Connector {
    config: TlsConfig,
    /// Built when first needed: to load the platform's roots takes some milliseconds, and fails where
    /// there are none.
    client: OnceLock<Arc<ClientConfig>>,
}

impl Connector {
    pub(super) fn new(config: TlsConfig) -> Result<Self, rustls::Error> {
        add_roots(&mut RootCertStore::empty(), &config)?;
        Ok(Self { config, client: OnceLock::new() })
    }

    /// What can fail before there is a socket.
    pub(super) async fn prepare(&self, host: &str) -> Result<Handshake, Failure> {
        let name =
            ServerName::try_from(host.to_owned()).map_err(|error| Failure::unsent(Stage::BadUrl, error))?;
        let client = match self.client.get() {
            Some(client) => client.clone(),
            None => {
                let config = self.config.clone();
                let client = blocking::unblock(move || build(&config)).await;
                let client = client.map_err(|error| Failure::unsent(Stage::Tls, error))?;
                // Whoever came first: its cache of sessions is the one to share.
                self.client.get_or_init(|| client).clone()
            }
        };
        Ok(Handshake { client, name })
    }
}

pub(super) struct Handshake {
    client: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Handshake {
    pub(super) async fn perform(self, socket: Box<dyn ByteStream>) -> io::Result<Box<dyn ByteStream>> {
        Ok(Box::new(TlsStream::connect(self.client, self.name, socket).await?))
    }
}

/// Reads files.
fn build(config: &TlsConfig) -> Result<Arc<ClientConfig>, rustls::Error> {
    if let Some(own) = &config.own {
        return Ok(Arc::clone(own));
    }
    // Always explicit: the default provider panics if another crate has enabled a second one.
    let provider = Arc::new(ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let builder = match config.roots {
        Roots::Platform => {
            let extra = config.extra_roots.iter().cloned().map(CertificateDer::from);
            let verifier = Verifier::new_with_extra_roots(extra, provider)?;
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
        }
        #[cfg(feature = "webpki-roots")]
        Roots::WebPki => {
            let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
            add_roots(&mut roots, config)?;
            builder.with_root_certificates(roots)
        }
    };
    let mut client = match &config.identity {
        Some(identity) => {
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(identity))))
        }
        None => builder.with_no_client_auth(),
    };
    client.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(client))
}

fn add_roots(store: &mut RootCertStore, config: &TlsConfig) -> Result<(), rustls::Error> {
    config.extra_roots.iter().try_for_each(|der| store.add(CertificateDer::from(der.as_slice())))
}

/// Carries a rustls error through an [`io::Error`], whose `source` skips what it wraps.
#[derive(Debug)]
struct TlsError(rustls::Error);

impl From<TlsError> for io::Error {
    fn from(error: TlsError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the tls session failed")
    }
}

impl std::error::Error for TlsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}
