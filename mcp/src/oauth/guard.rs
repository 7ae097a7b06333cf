//! Which addresses may be connected to: a server's documents say where to go, and must not lead this machine into its own
//! network (server-side request forgery).
//!
//! The addresses that are checked are those that the resolver has returned and that are connected to, so a name that
//! changes its address in between gains nothing. A proxy resolves names by itself, and decides what it connects to.

use crate::http_client::{ByteStream, ConnectError, Connecting, Net};
use std::error::Error as StdError;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;
use std::{fmt, io};

/// What kind of place an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Public,
    Loopback,
    Private,
    /// Link-local, unspecified, multicast, broadcast, reserved: no server is there that a document may name. Clouds
    /// have their secrets at 169.254.169.254.
    Never,
}

impl Class {
    pub(super) fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::of_v4(address),
            IpAddr::V6(address) => Self::of_v6(address),
        }
    }

    /// The registry of RFC 6890.
    fn of_v4(address: Ipv4Addr) -> Self {
        match address.octets() {
            [127, ..] => Self::Loopback,
            // CGNAT is RFC 6598.
            [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => Self::Private,
            [0, ..] | [169, 254, ..] | [192, 0, 0, _] | [224..=255, ..] => Self::Never,
            // Documentation and benchmarks.
            [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] | [198, 18..=19, ..] => Self::Never,
            _ => Self::Public,
        }
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        let parts = address.segments();
        let embedded = |high: u16, low: u16| {
            let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
            Self::of_v4(Ipv4Addr::new(a, b, c, d))
        };
        match parts {
            [0, 0, 0, 0, 0, 0, 0, 1] => Self::Loopback,
            // Mapped, compatible (which ends with the unspecified address), NAT64, 6to4.
            [0, 0, 0, 0, 0, 0xffff, high, low]
            | [0, 0, 0, 0, 0, 0, high, low]
            | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
            | [0x2002, high, low, ..] => embedded(high, low),
            // Teredo has the client's address, which is where one arrives, with all its bits turned (RFC 4380, 4).
            [0x2001, 0, .., high, low] => embedded(!high, !low),
            [0xfc00..=0xfdff, ..] => Self::Private,
            [0x2001, 0xdb8, ..] => Self::Never,
            // NAT64 with a prefix of one's own (RFC 8215).
            [0x64, 0xff9b, 1, ..] => Self::Private,
            // Only this block is given out.
            [0x2000..=0x3fff, ..] => Self::Public,
            _ => Self::Never,
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Public => "a public one",
            Self::Loopback => "one of this machine",
            Self::Private => "one of a private network",
            Self::Never => "one that no server has",
        }
    }
}

/// Where a flow may connect to.
#[derive(Clone, Debug)]
pub(super) struct Guard {
    /// The MCP server's host, and that of the authorization server that the user has pinned: in lower case, without
    /// brackets. The user has named them, and may have meant a private network.
    trusted: Vec<String>,
    /// The hosts and ports of the user's proxies. A proxy may have a private address; that lets no document name it.
    pub(super) proxies: Vec<(String, u16)>,
    pub(super) allows_private: bool,
    pub(super) allows_loopback: bool,
}

impl Guard {
    pub(super) fn new(mcp_host: &str, pinned_host: Option<&str>, allow_private: bool) -> Self {
        let mcp_host = plain(mcp_host);
        let class = mcp_host.parse().ok().map(Class::of);
        Self {
            allows_private: allow_private || class == Some(Class::Private),
            allows_loopback: allow_private || stated(&mcp_host) == Some(Class::Loopback),
            trusted: [Some(mcp_host), pinned_host.map(plain)].into_iter().flatten().collect(),
            proxies: Vec::new(),
        }
    }

    /// Refuses a host that is an address of a forbidden class. A name passes: its addresses are not known yet.
    pub(super) fn check(&self, host: &str) -> Result<(), io::Error> {
        let host = plain(host);
        match stated(&host) {
            Some(class) if !self.allows(&host, class) => {
                Err(io::Error::new(io::ErrorKind::PermissionDenied, Forbidden(class)))
            }
            _ => Ok(()),
        }
    }

    fn allows(&self, host: &str, class: Class) -> bool {
        let is_trusted = || self.trusted.iter().any(|trusted| trusted == host);
        match class {
            Class::Public => true,
            // A trusted name is not enough: it may stand for another machine tomorrow.
            Class::Loopback => {
                self.allows_loopback || (stated(host) == Some(Class::Loopback) && is_trusted())
            }
            Class::Private => self.allows_private || is_trusted(),
            Class::Never => false,
        }
    }
}

/// The class of a host that is an address, or this machine's name; the host is in lower case and without brackets. A name
/// that ends with a number is an address in an old form, or nothing (the URL standard calls it an IPv4 address).
fn stated(host: &str) -> Option<Class> {
    if let Ok(address) = host.parse() {
        return Some(Class::of(address));
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    let last = host.rsplit('.').next().unwrap_or_default();
    let is_number = match last.strip_prefix("0x") {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()),
    };
    match last {
        "localhost" => Some(Class::Loopback),
        _ => is_number.then_some(Class::Never),
    }
}

/// In lower case, without brackets.
fn plain(host: &str) -> String {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.to_ascii_lowercase()
}

/// A [`Net`] that connects where the guard allows it.
pub(super) struct GuardedNet {
    pub(super) net: Arc<dyn Net>,
    pub(super) guard: Guard,
}

impl Net for GuardedNet {
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> Connecting<'a> {
        Box::pin(async move {
            let refused = AtomicU8::new(u8::MAX);
            let is_proxy = self.guard.proxies.iter().any(|(it, its)| it == host && *its == port);
            let allowed = |address| {
                let class = Class::of(address);
                let allowed = self.guard.allows(host, class) || (is_proxy && class != Class::Never);
                if !allowed {
                    refused.store(class as u8, Ordering::Relaxed);
                }
                allowed
            };
            let result = self.net.connect_to(host, port, &allowed).await;
            let all = [Class::Public, Class::Loopback, Class::Private, Class::Never];
            let refused = all.get(usize::from(refused.load(Ordering::Relaxed)));
            result.map_err(|error| match (error, refused) {
                (ConnectError::Connect(error), Some(&class))
                    if error.kind() == io::ErrorKind::PermissionDenied =>
                {
                    ConnectError::Connect(io::Error::new(error.kind(), Forbidden(class)))
                }
                (error, _) => error,
            })
        }) as Pin<Box<dyn Future<Output = Result<Box<dyn ByteStream>, ConnectError>> + Send + 'a>>
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.net.sleep(duration)
    }

    fn scope(&self) -> u64 {
        self.net.scope()
    }
}

/// No address of a host is allowed. It has the class of one of them.
#[derive(Debug)]
pub(super) struct Forbidden(pub(super) Class);

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no address of the host is allowed")
    }
}

impl StdError for Forbidden {}

/// The class of the forbidden address, if that is in a chain of causes.
pub(super) fn forbidden(error: &(dyn StdError + 'static)) -> Option<Class> {
    let mut next = Some(error);
    while let Some(error) = next {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(Forbidden(class)) = inner.and_then(|inner| inner.downcast_ref::<Forbidden>()) {
            return Some(*class);
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oa_08_addresses_have_a_class() {
        for (address, class) in [
            ("8.8.8.8", Class::Public),
            ("127.0.0.1", Class::Loopback),
            ("127.255.255.254", Class::Loopback),
            ("10.0.0.1", Class::Private),
            ("172.15.255.255", Class::Public),
            ("172.16.0.0", Class::Private),
            ("172.31.255.255", Class::Private),
            ("172.32.0.0", Class::Public),
            ("192.168.1.1", Class::Private),
            ("100.64.0.0", Class::Private),
            ("100.127.255.255", Class::Private),
            ("100.128.0.0", Class::Public),
            ("169.254.169.254", Class::Never),
            ("0.0.0.0", Class::Never),
            ("224.0.0.1", Class::Never),
            ("255.255.255.255", Class::Never),
            ("::1", Class::Loopback),
            ("::", Class::Never),
            ("fd00::1", Class::Private),
            ("fe80::1", Class::Never),
            ("ff02::1", Class::Never),
            ("2606:4700::1", Class::Public),
            ("::ffff:127.0.0.1", Class::Loopback),
            ("::ffff:169.254.169.254", Class::Never),
            ("::127.0.0.1", Class::Loopback),
            ("64:ff9b::10.0.0.1", Class::Private),
            ("64:ff9b::a9fe:a9fe", Class::Never),
            ("64:ff9b:1::a00:1", Class::Private),
            ("2002:7f00:1::", Class::Loopback),
            ("2002:a9fe:a9fe::", Class::Never),
            ("fd00:ec2::254", Class::Private),
            ("2001:0:808:808::80ff:fffe", Class::Loopback),
            ("2001:0:7f00:1::5601:5601", Class::Never),
            ("2001:0:7f00:1::f7f7:f7f7", Class::Public),
            ("2001:1::80ff:fffe", Class::Public),
        ] {
            assert_eq!(Class::of(address.parse().unwrap()), class, "{address}");
        }
    }

    #[test]
    fn oa_08_what_is_allowed_depends_on_where_the_user_goes() {
        use Class::{Loopback, Never, Private, Public};
        let allowed = |guard: &Guard, host: &str| {
            [Public, Loopback, Private, Never].map(|class| guard.allows(host, class))
        };
        let public = Guard::new("mcp.example", None, false);
        assert_eq!(allowed(&public, "as.example"), [true, false, false, false]);
        assert_eq!(allowed(&public, "mcp.example"), [true, false, true, false], "the user has named it");
        let local = Guard::new("LocalHost", None, false);
        assert_eq!(allowed(&local, "as.example"), [true, true, false, false]);
        let local = Guard::new("[::1]", None, false);
        assert_eq!(allowed(&local, "as.example"), [true, true, false, false]);
        let private = Guard::new("10.1.2.3", None, false);
        assert_eq!(allowed(&private, "as.example"), [true, false, true, false]);
        let pinned = Guard::new("mcp.example", Some("AS.example"), false);
        assert_eq!(allowed(&pinned, "as.example"), [true, false, true, false]);
        assert_eq!(allowed(&pinned, "other.example"), [true, false, false, false]);
        let pinned = Guard::new("mcp.example", Some("127.0.0.1"), false);
        assert!(pinned.check("127.0.0.1").is_ok(), "an address cannot change what it stands for");
        assert!(pinned.check("127.0.0.2").is_err() && pinned.check("localhost").is_err());
        for (host, allowed) in [
            ("10.0.0.1", false),
            ("[::ffff:10.0.0.1]", false),
            ("169.254.169.254", false),
            ("8.8.8.8", true),
            ("inner.example", true),
            ("localhost", false),
            ("LOCALHOST.", false),
            ("a.localhost", false),
            ("2130706433", false),
            ("127.1", false),
            ("0x7f.0.0.1", false),
            ("0X7F000001", false),
            ("127.0.0.1.", false),
            ("example.0x", false),
            ("1.example", true),
            ("example.x0", true),
        ] {
            assert_eq!(public.check(host).is_ok(), allowed, "{host}");
        }
        let open = Guard::new("mcp.example", None, true);
        assert_eq!(allowed(&open, "as.example"), [true, true, true, false]);
    }

    /// A network that connects nowhere, and asks whether each of these addresses is allowed.
    struct Resolved(&'static [&'static str]);

    impl Net for Resolved {
        fn connect<'a>(&'a self, _: &'a str, _: u16) -> Connecting<'a> {
            unreachable!("the guard does not use it")
        }

        fn connect_to<'a>(
            &'a self,
            _: &'a str,
            _: u16,
            allowed: &'a (dyn Fn(IpAddr) -> bool + Sync),
        ) -> Connecting<'a> {
            let left = self.0.iter().filter(|address| allowed(address.parse().unwrap())).count();
            Box::pin(async move {
                let kind = if left == 0 { io::ErrorKind::PermissionDenied } else { io::ErrorKind::NotFound };
                Err(ConnectError::Connect(kind.into()))
            })
        }

        fn sleep(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
            Box::pin(std::future::pending())
        }
    }

    fn connecting(host: &str, port: u16, addresses: &'static [&'static str]) -> Option<Class> {
        let mut guard = Guard::new("mcp.example", None, false);
        guard.proxies.push(("proxy.example".to_owned(), 3128));
        let net = GuardedNet { net: Arc::new(Resolved(addresses)), guard };
        match pollster::block_on(net.connect(host, port)) {
            Ok(_) => panic!("it connects nowhere"),
            Err(error) => forbidden(&error),
        }
    }

    #[test]
    fn oa_08_a_name_with_an_inner_address_leads_nowhere() {
        let connecting = |addresses| connecting("as.example", 443, addresses);
        assert_eq!(connecting(&["169.254.169.254"]), Some(Class::Never));
        assert_eq!(connecting(&["127.0.0.1"]), Some(Class::Loopback));
        assert_eq!(connecting(&["127.0.0.1", "8.8.8.8"]), None, "the public address is tried");
    }

    #[test]
    fn oa_08_a_proxy_is_where_the_user_says_and_nothing_else_of_its_host_is_allowed() {
        for address in [&["127.0.0.1"], &["10.0.0.1"]] {
            assert_eq!(connecting("proxy.example", 3128, address), None);
            assert!(connecting("proxy.example", 3129, address).is_some());
            assert!(connecting("other.example", 3128, address).is_some());
        }
        assert_eq!(connecting("proxy.example", 3128, &["169.254.169.254"]), Some(Class::Never));
        let mut guard = Guard::new("mcp.example", None, false);
        guard.proxies.push(("10.0.0.1".to_owned(), 3128));
        assert!(guard.check("10.0.0.1").is_err(), "a document has named it");
    }
}
