//! Which requests go through a proxy, and through which.

mod bypass;
mod error;
mod handshake;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::sync::Arc;
use std::{env, fmt};

use http::{HeaderValue, Uri};

use self::bypass::{Bypass, is_loopback};
use super::port::explicit_port;
use crate::encoding::{base64, unescape};

pub(super) use self::error::Why;
pub use self::error::{InvalidProxy, ProxyError};

/// Proxies: which requests go through one, and through which.
///
/// ```
/// use shared_fate_mcp::Error;
/// use shared_fate_mcp::http::{Http, Proxy};
///
/// # fn main() -> Result<(), Error> {
/// let proxy = Proxy::new("http://user:secret@proxy.example:3128")?.no_proxy("internal.example, 10.0.0.0/8");
/// let http = Http::new("https://server.example/mcp")?.proxy(proxy);
/// # Ok(()) }
/// ```
///
/// A client uses no proxy unless it is given one. [`from_env`](Self::from_env) reads those of the environment.
///
/// | URL of the proxy | requests to `http` | requests to `https` |
/// |---|---|---|
/// | `http://host:port` | are handed to the proxy, which sees and forwards them | through a tunnel (`CONNECT`) |
/// | `socks5://host:port` or `socks5h://host:port` | through a tunnel (RFC 1928) | through a tunnel |
///
/// The default port is 80 for `http` and 1080 for SOCKS5. The URL may contain a user name and a password, with `%40` for an
/// `@` and so on (RFC 3986, 2.1). The client sends these credentials to the proxy only: as `Proxy-Authorization: Basic`, or
/// as RFC 1929 says. No error and no `Debug` shows them. A proxy that is reached over TLS itself (`https://`) is not
/// supported.
///
/// The proxy resolves the server's name. TLS is with the server: the client verifies the server's certificate, through
/// any proxy. The client reaches its own machine without a proxy, whatever the lists say: `localhost`, names that end in
/// `.localhost`, and addresses that are loopback or unspecified.
///
/// A request that is handed to the proxy with credentials has a connection of its own: some proxies relay what follows on
/// the same connection to the server as it is.
///
/// # Errors
///
/// If the proxy cannot be reached, refuses or makes no sense, the call fails with
/// [`ErrorKind::Proxy`](crate::ErrorKind::Proxy). Of a request that is handed to the proxy, the client cannot tell the
/// proxy's answers from the server's; only 407 is always the proxy's.
///
/// # Limits
///
/// The time for the proxy's handshake counts as time to connect
/// ([`Http::connect_timeout`](crate::http::Http::connect_timeout)), so a proxy that is silent is a timeout of connecting.
/// Before a tunnel is open, the proxy may send 16 KiB. A
/// proxy that sends anything behind its answer to `CONNECT` is an error.
#[derive(Clone, Debug)]
pub struct Proxy {
    for_http: Option<Arc<Server>>,
    for_https: Option<Arc<Server>>,
    bypass: Bypass,
}

impl Proxy {
    /// One proxy for all requests. A URL without a scheme means `http`.
    ///
    /// # Errors
    ///
    /// When the URL has no host, another scheme, a path or a query, or credentials that the proxy's protocol cannot
    /// carry: for `http` a colon in the user name or control characters, for SOCKS5 more than 255 bytes, or a password
    /// without a user name.
    pub fn new(url: &str) -> Result<Self, InvalidProxy> {
        let server = Arc::new(Server::parse(url).map_err(|why| InvalidProxy { variable: None, why })?);
        Ok(Self { for_http: Some(server.clone()), for_https: Some(server), bypass: Bypass::default() })
    }

    /// The proxies of the environment, as they are now. There may be none.
    ///
    /// `http_proxy` is for requests to `http`, and `https_proxy` for requests to `https`. Where one of them is not set,
    /// `all_proxy` stands for it. `no_proxy` is a list as for [`no_proxy`](Self::no_proxy). Each name may also be in upper
    /// case; lower case is looked at first. An empty value counts as not set.
    ///
    /// In a CGI program, `HTTP_PROXY` is ignored: anybody can set it, by a request with a header `Proxy`
    /// (<https://httpoxy.org>). A CGI program has the variable `REQUEST_METHOD`. On Windows, where the two names are one,
    /// `http_proxy` is ignored too.
    ///
    /// ```no_run
    /// use shared_fate_mcp::http::{Http, Proxy};
    ///
    /// # fn main() -> Result<(), shared_fate_mcp::Error> {
    /// let http = Http::new("https://server.example/mcp")?.proxy(Proxy::from_env()?);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// When a variable that counts is not Unicode, or its value is no URL for [`new`](Self::new). Such a variable is not
    /// ignored, because requests would go where they should not.
    pub fn from_env() -> Result<Self, InvalidProxy> {
        Self::from_variables(|name| env::var_os(name))
    }

    /// Adds servers that the client reaches without a proxy.
    ///
    /// Commas or white space separate the entries. An entry is one of these:
    ///
    /// - a domain, for its own name and all names below it: `example.com`, or `.example.com`, or `*.example.com`;
    /// - an address: `10.0.0.1`, `fd00::1`;
    /// - a network: `10.0.0.0/8`, `fd00::/8`;
    /// - `*`, for all servers.
    ///
    /// All but networks can have a port, and are for that port only then: `example.com:8443`, `[::1]:80`. Addresses and
    /// networks are compared with the address in the server's URL; the client looks up no name for that. An entry of any
    /// other form matches no server.
    pub fn no_proxy(mut self, list: &str) -> Self {
        self.bypass.add(list);
        self
    }

    fn from_variables(get: impl Fn(&str) -> Option<OsString>) -> Result<Self, InvalidProxy> {
        let get = |name: &'static str| match get(name).map(OsString::into_string) {
            None => Ok(None),
            Some(Ok(value)) => Ok(Some((name, value)).filter(|(_, value)| !value.trim().is_empty())),
            Some(Err(_)) => Err(InvalidProxy { variable: Some(name), why: "it is not Unicode" }),
        };
        let either =
            |lower, upper| get(lower).and_then(|found| found.map_or_else(|| get(upper), |it| Ok(Some(it))));
        let server = |found: Option<(&'static str, String)>| match found {
            None => Ok(None),
            Some((name, value)) => match Server::parse(&value) {
                Ok(server) => Ok(Some(Arc::new(server))),
                Err(why) => Err(InvalidProxy { variable: Some(name), why }),
            },
        };
        let is_cgi = get("REQUEST_METHOD")?.is_some();
        let for_http = match is_cgi {
            true if cfg!(windows) => None,
            true => server(get("http_proxy")?)?,
            false => server(either("http_proxy", "HTTP_PROXY")?)?,
        };
        let for_https = server(either("https_proxy", "HTTPS_PROXY")?)?;
        let (for_http, for_https) = match (for_http, for_https) {
            (Some(http), Some(https)) => (Some(http), Some(https)),
            (http, https) => {
                let all = server(either("all_proxy", "ALL_PROXY")?)?;
                (http.or_else(|| all.clone()), https.or(all))
            }
        };
        let mut bypass = Bypass::default();
        if let Some((_, list)) = either("no_proxy", "NO_PROXY")? {
            bypass.add(&list);
        }
        Ok(Self { for_http, for_https, bypass })
    }

    /// The proxy for a server. `host` is in lower case, without brackets.
    pub(super) fn server(&self, tls: bool, host: &str, port: u16) -> Option<&Arc<Server>> {
        let server = if tls { &self.for_https } else { &self.for_http };
        server.as_ref().filter(|_| !is_loopback(host) && !self.bypass.has(host, port))
    }

    /// Where the proxies are: hosts, in lower case and without brackets, and ports.
    #[cfg(feature = "oauth")]
    pub(crate) fn places(&self) -> impl Iterator<Item = (String, u16)> {
        [&self.for_http, &self.for_https]
            .into_iter()
            .flatten()
            .map(|server| (server.host.clone(), server.port))
    }

    /// What no text may show, in each form in which it is sent.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = Vec<u8>> {
        let servers = [&self.for_http, &self.for_https].into_iter().flatten();
        let credentials = servers.filter_map(|server| server.credentials.as_ref());
        credentials.flat_map(|it| [it.password.clone(), it.in_base64().into_bytes()])
    }
}

/// One proxy.
#[derive(PartialEq, Eq, Hash)]
pub(super) struct Server {
    protocol: Protocol,
    /// In lower case, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    credentials: Option<Credentials>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Protocol {
    Http,
    Socks5,
}

#[derive(PartialEq, Eq, Hash)]
struct Credentials {
    user: Vec<u8>,
    password: Vec<u8>,
}

impl Server {
    fn parse(url: &str) -> Result<Self, &'static str> {
        let url = url.trim();
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let (protocol, default_port) = match &*scheme.to_ascii_lowercase() {
            "http" => (Protocol::Http, 80),
            "socks5" | "socks5h" => (Protocol::Socks5, 1080),
            "https" => return Err("a proxy that is reached over TLS itself (https) is not supported"),
            _ => return Err("the scheme of its URL is none of http, socks5 and socks5h"),
        };
        let url: Uri = format!("http://{rest}").parse().map_err(|_| "its URL is none")?;
        let authority = url.authority().filter(|authority| !authority.host().is_empty());
        let authority = authority.ok_or("its URL has no host")?;
        if url.path_and_query().is_some_and(|path| path != "/") {
            return Err("its URL has a path");
        }
        let host = authority.host();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let port = explicit_port(authority).map_err(|_| "its port is not a number up to 65535")?;
        let credentials = match authority.as_str().rsplit_once('@') {
            Some((credentials, _)) => Some(Credentials::parse(credentials, protocol)?),
            None => None,
        };
        Ok(Self {
            protocol,
            host: host.to_ascii_lowercase(),
            port: port.unwrap_or(default_port),
            credentials,
        })
    }

    /// Whether requests are handed to the proxy, which sees them. To the others it is a tunnel.
    pub(super) fn forwards(&self, tls: bool) -> bool {
        self.protocol == Protocol::Http && !tls
    }

    /// The value of `Proxy-Authorization` (RFC 7617).
    pub(super) fn authorization(&self) -> Option<HeaderValue> {
        let credentials = self.credentials.as_ref()?;
        let value = format!("Basic {}", credentials.in_base64());
        let mut value = HeaderValue::try_from(value).expect("base64 may be in a header");
        value.set_sensitive(true);
        Some(value)
    }

    pub(super) fn error(&self, why: Why) -> ProxyError {
        ProxyError::new(authority(&self.host, self.port), why)
    }

    /// It wants credentials; others, if there were some.
    pub(super) fn unauthorized(&self, status: Option<u16>) -> ProxyError {
        self.error(Why::Credentials { given: self.credentials.is_some(), status })
    }
}

impl fmt::Debug for Server {
    /// Without the credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.protocol {
            Protocol::Http => "http",
            Protocol::Socks5 => "socks5",
        };
        write!(f, "{scheme}://{}", authority(&self.host, self.port))
    }
}

impl Credentials {
    /// `user`, `user:` or `user:password`, with escapes.
    fn parse(text: &str, protocol: Protocol) -> Result<Self, &'static str> {
        let (user, password) = text.split_once(':').unwrap_or((text, ""));
        let (user, password) = (unescape(user), unescape(password));
        match protocol {
            Protocol::Http if user.contains(&b':') => return Err("its user name has a colon"),
            Protocol::Http if user.iter().chain(&password).any(u8::is_ascii_control) => {
                return Err("its credentials have control characters");
            }
            Protocol::Socks5 if user.is_empty() => return Err("its user name is empty"),
            Protocol::Socks5 if user.len().max(password.len()) > 255 => {
                return Err("its user name or password is longer than 255 bytes");
            }
            _ => {}
        }
        Ok(Self { user, password })
    }

    fn in_base64(&self) -> String {
        base64(&[&*self.user, b":", &*self.password].concat())
    }
}

/// A host and a port, as a URL has them.
fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
