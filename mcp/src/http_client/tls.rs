//! TLS over any stream, by rustls. No rustls type leaves this module, except inside errors.

mod stream;

use std::sync::{Arc, OnceLock};
use std::{fmt, io};

use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;

use self::stream::TlsStream;
use super::failure::{Failure, Stage};
use super::net::ByteStream;

/// Whom to trust.
#[derive(Clone, Debug, Default)]
pub(crate) struct TlsConfig {
    pub(crate) roots: Roots,
    /// Certificates (DER) of authorities to trust besides.
    pub(crate) extra_roots: Vec<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, Default)]
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
    let mut client = builder.with_no_client_auth();
    client.alpn_protocols = vec![b"http/1.1".to_vec()];
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
