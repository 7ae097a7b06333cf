//! The servers that are reached without a proxy.

use std::net::IpAddr;

/// The entries of lists like `NO_PROXY`.
#[derive(Clone, Debug, Default)]
pub(super) struct Bypass(Vec<Rule>);

#[derive(Clone, Debug)]
struct Rule {
    servers: Servers,
    /// All, if there is none.
    port: Option<u16>,
}

#[derive(Clone, Debug)]
enum Servers {
    All,
    /// In lower case, without a dot at either end. With all below it.
    Domain(String),
    Address(IpAddr),
    /// So many bits at the beginning of an address.
    Network(IpAddr, u8),
}

impl Bypass {
    pub(super) fn add(&mut self, list: &str) {
        let entries = list.split(|char: char| char == ',' || char.is_whitespace());
        self.0.extend(entries.filter(|entry| !entry.is_empty()).map(Rule::parse));
    }

    /// `host` is in lower case, without brackets.
    pub(super) fn has(&self, host: &str, port: u16) -> bool {
        self.0.iter().any(|rule| rule.port.is_none_or(|only| only == port) && rule.servers.has(host))
    }
}

impl Rule {
    fn parse(entry: &str) -> Self {
        // An IPv6 address has colons of its own.
        if let Some(servers) = Servers::by_address(entry) {
            return Self { servers, port: None };
        }
        let (name, port) = match entry.rsplit_once(':').map(|(name, port)| (name, port.parse())) {
            Some((name, Ok(port))) => (name, Some(port)),
            _ => (entry, None),
        };
        let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        let servers = match bare.parse() {
            Ok(address) => Servers::Address(IpAddr::to_canonical(&address)),
            Err(_) if name == "*" => Servers::All,
            Err(_) => {
                let name = name.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(name);
                Servers::Domain(name.trim_matches('.').to_ascii_lowercase())
            }
        };
        Self { servers, port }
    }
}

impl Servers {
    fn by_address(entry: &str) -> Option<Self> {
        let Some((address, bits)) = entry.split_once('/') else {
            return entry.parse().ok().map(|address| Self::Address(IpAddr::to_canonical(&address)));
        };
        let (address, bits): (IpAddr, u8) = (address.parse().ok()?, bits.parse().ok()?);
        (bits <= if address.is_ipv4() { 32 } else { 128 }).then_some(Self::Network(address, bits))
    }

    fn has(&self, host: &str) -> bool {
        let address = || host.parse().ok().map(|address| IpAddr::to_canonical(&address));
        match self {
            Self::All => true,
            Self::Domain(domain) => {
                let host = host.strip_suffix('.').unwrap_or(host);
                let above = host.strip_suffix(&**domain);
                !domain.is_empty() && above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
            }
            Self::Address(this) => address() == Some(*this),
            Self::Network(network, bits) => address().is_some_and(|address| is_in(address, *network, *bits)),
        }
    }
}

fn is_in(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    let differing = match (address, network) {
        (IpAddr::V4(one), IpAddr::V4(other)) => u128::from(one.to_bits() ^ other.to_bits()) << 96,
        (IpAddr::V6(one), IpAddr::V6(other)) => one.to_bits() ^ other.to_bits(),
        _ => return false,
    };
    differing.leading_zeros() >= u32::from(bits)
}

/// Whether the host is this machine. A proxy would take the name for its own machine.
pub(super) fn is_loopback(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    if name == "localhost" || name.ends_with(".localhost") {
        return true;
    }
    let address = name.parse().map(|address| IpAddr::to_canonical(&address));
    address.is_ok_and(|address| address.is_loopback() || address.is_unspecified())
}
