//! [`Engines`]: where a flow may connect to, and who is shown the client's certificate.

use super::guard::{Guard, GuardedNet};
use super::parts::Parts;
use crate::http_client::{Engine, EngineConfig, Failure, Proxy};
use crate::protocol::oauth::config::Config;
use crate::protocol::oauth::place::Place;
use http::Uri;
use std::io;
use std::sync::Arc;

/// What one flow connects with. It keeps no connection from one flow to the next.
pub(super) struct Engines {
    guard: Guard,
    /// The origins that the user has named.
    named: Vec<String>,
    for_named: Engine,
    /// For all others, if the client has a certificate: a document of a server's must not decide who is shown it.
    for_others: Option<Engine>,
}

impl Engines {
    pub(super) fn new(parts: &Parts, url: &str, host: &str, connect: &EngineConfig) -> Result<Self, Failure> {
        let pinned = parts.config.server.as_ref();
        let pinned: Option<Uri> = pinned.and_then(|server| server.issuer.parse().ok());
        let mut guard = Guard::new(host, pinned.as_ref().and_then(Uri::host), parts.allow_private);
        // The user has named the proxy.
        guard.proxies.extend(connect.proxy.iter().flat_map(Proxy::places));
        let net = GuardedNet { net: Arc::clone(&connect.net), guard: guard.clone() };
        let connect = EngineConfig { net: Arc::new(net), ..connect.clone() };
        let for_others = anonymous(&connect).map(Engine::new).transpose()?;
        Ok(Self { guard, named: named(url, &parts.config), for_named: Engine::new(connect)?, for_others })
    }

    /// The engine that connects to this URL, if that is allowed.
    pub(super) fn of(&self, url: &str) -> Result<&Engine, io::Error> {
        let uri: Option<Uri> = url.parse().ok();
        // A proxy would connect to any address. A name passes, as only the proxy knows its addresses.
        self.guard.check(uri.as_ref().and_then(Uri::host).unwrap_or_default())?;
        let is_named = Place::of(url).is_some_and(|place| self.named.contains(&place.origin()));
        Ok(self.for_others.as_ref().filter(|_| !is_named).unwrap_or(&self.for_named))
    }
}

/// The origins of the MCP server and of the authorization server that is pinned.
fn named(url: &str, config: &Config) -> Vec<String> {
    let pinned = config.server.as_ref();
    let metadata = pinned.and_then(|server| server.metadata_url.as_deref());
    let urls = [Some(url), pinned.map(|server| &*server.issuer), metadata];
    urls.into_iter().flatten().filter_map(|url| Some(Place::of(url)?.origin())).collect()
}

/// The configuration without the client's certificate; `None` if there is no certificate.
fn anonymous(connect: &EngineConfig) -> Option<EngineConfig> {
    let tls = &connect.tls;
    tls.shows_certificate().then(|| EngineConfig { tls: tls.clone().anonymous(), ..connect.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::base64;
    use crate::oauth::OAuth;
    use rcgen::{CertificateParams, KeyPair};

    #[test]
    fn oa_03_the_clients_certificate_is_for_servers_that_the_user_has_named() {
        let key = KeyPair::generate().unwrap();
        let chain = CertificateParams::new(vec!["client.example".to_owned()]).unwrap();
        let chain = chain.self_signed(&key).unwrap();
        let mut connect = EngineConfig::default();
        let oauth = OAuth::builder()
            .authorization_server("https://as.example/tenant", Some("https://metadata.example:8443/as"))
            .build();
        let url = "https://mcp.example/mcp";
        let account = oauth.account(url);
        let engines = |connect: &EngineConfig| {
            Engines::new(&account.tokens.parts, url, "mcp.example", connect).unwrap()
        };
        assert!(engines(&connect).for_others.is_none(), "there is nothing to hide");
        let pem = |label, der| format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", base64(der));
        let (chain, key) = (pem("CERTIFICATE", chain.der()), pem("PRIVATE KEY", key.serialized_der()));
        connect.tls.set_identity(chain.as_bytes(), key.as_bytes()).unwrap();
        assert!(anonymous(&connect).is_some_and(|it| !it.tls.shows_certificate()));
        let engines = engines(&connect);
        for (url, is_named) in [
            ("https://mcp.example/.well-known/oauth-protected-resource/mcp", true),
            ("https://MCP.example:443/", true),
            ("https://as.example/token", true),
            ("https://metadata.example:8443/as", true),
            ("https://metadata.example/as", false),
            ("https://mcp.example:444/", false),
            ("https://evil.example/mcp.example", false),
        ] {
            assert_eq!(std::ptr::eq(engines.of(url).unwrap(), &engines.for_named), is_named, "{url}");
        }
        assert!(engines.of("https://127.0.0.1/").is_err());
    }
}
