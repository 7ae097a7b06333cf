//! URLs as the texts they are. They are split, joined and compared, and never printed anew: `resource` and `issuer` are
//! names, and a name that has got a slash is another one.

use fluent_uri::{Uri, UriRef};

/// An absolute http or https URL, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place<'a> {
    /// Scheme and authority, as they were written.
    base: &'a str,
    scheme: &'a str,
    /// With the brackets of an IPv6 address.
    host: &'a str,
    port: u16,
    pub(crate) path: &'a str,
    pub(crate) query: Option<&'a str>,
    pub(crate) fragment: Option<&'a str>,
}

impl<'a> Place<'a> {
    /// `None` for what is no such URL, and for one with user info.
    pub(crate) fn of(url: &'a str) -> Option<Self> {
        if !url.bytes().all(|byte| byte.is_ascii_graphic() && !b"\\\"<>^`{|}".contains(&byte)) {
            return None;
        }
        let (scheme, rest) = url.split_once("://")?;
        let default = match scheme.to_ascii_lowercase().as_str() {
            "https" => 443,
            "http" => 80,
            _ => return None,
        };
        let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
        let (base, rest) = url.split_at(scheme.len() + 3 + authority.len());
        let port_at = match authority.rfind(']') {
            Some(end) => end + 1,
            None => authority.find(':').unwrap_or(authority.len()),
        };
        let (host, port) = authority.split_at(port_at);
        let port = match port.strip_prefix(':') {
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok()?,
            Some(_) => return None,
            None if port.is_empty() => default,
            None => return None,
        };
        if host.is_empty() || host.contains('@') || (host.contains(['[', ']', ':']) && !host.starts_with('['))
        {
            return None;
        }
        let (rest, fragment) = split(rest, '#');
        let (path, query) = split(rest, '?');
        Some(Self { base, scheme, host, port, path, query, fragment })
    }

    pub(crate) fn is_https(&self) -> bool {
        self.scheme.eq_ignore_ascii_case("https")
    }

    /// Whether it is this machine: `localhost`, 127.0.0.0/8 or `[::1]`.
    pub(crate) fn is_loopback(&self) -> bool {
        let number =
            |part: &str| part.bytes().all(|byte| byte.is_ascii_digit()) && part.parse::<u8>().is_ok();
        let mut parts = self.host.split('.');
        self.host.eq_ignore_ascii_case("localhost")
            || self.host == "[::1]"
            || (parts.next() == Some("127") && parts.clone().count() == 3 && parts.all(number))
    }

    pub(crate) fn is_same_origin(&self, other: &Place<'_>) -> bool {
        self.scheme.eq_ignore_ascii_case(other.scheme)
            && self.host.eq_ignore_ascii_case(other.host)
            && self.port == other.port
    }

    /// Scheme, host and port in one form, to be a key.
    pub(crate) fn origin(&self) -> String {
        format!("{}://{}:{}", self.scheme.to_ascii_lowercase(), self.host.to_ascii_lowercase(), self.port)
    }

    /// Host and port as they were written: whom an error names.
    pub(crate) fn authority(&self) -> &'a str {
        &self.base[self.scheme.len() + 3..]
    }

    /// Scheme and authority as they were written: an issuer, if nothing else is known.
    pub(crate) fn base(&self) -> &'a str {
        self.base
    }

    fn has_path(&self) -> bool {
        !matches!(self.path, "" | "/")
    }
}

fn split(text: &str, at: char) -> (&str, Option<&str>) {
    text.split_once(at).map_or((text, None), |(before, behind)| (before, Some(behind)))
}

/// Without what may be secret in a URL, for an error: no query, no fragment.
pub(crate) fn shown(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or_default()
}

/// Host and port of a URL as they were written: whom an error names.
pub(crate) fn authority(url: &str) -> Option<String> {
    Place::of(url).map(|place| place.authority().to_owned())
}

/// How a server is called if its metadata does not say: its URL as the user wrote it, without query and fragment, and
/// without the only slash of an empty path.
pub(crate) fn canonical(url: &str) -> &str {
    let bare = shown(url);
    match Place::of(bare) {
        Some(place) if place.path == "/" => place.base,
        _ => bare,
    }
}

/// Where a server's metadata may be (RFC 9728, 3.1): for its path, then for all of its origin.
pub(crate) fn resource_candidates(url: &str) -> Vec<String> {
    const NAME: &str = "/.well-known/oauth-protected-resource";
    let Some(place) = Place::of(url) else { return Vec::new() };
    let root = format!("{}{NAME}", place.base);
    match place.has_path() {
        true => vec![format!("{root}{}", place.path), root],
        false => vec![root],
    }
}

/// Where an issuer's metadata may be (RFC 8414, 3.1, and OpenID Connect Discovery, 4): always on its own host. Empty if
/// it is no issuer.
pub(crate) fn server_candidates(issuer: &str) -> Vec<String> {
    const OAUTH: &str = "/.well-known/oauth-authorization-server";
    const OPENID: &str = "/.well-known/openid-configuration";
    let Some(place) = Place::of(issuer).filter(|it| it.query.is_none() && it.fragment.is_none()) else {
        return Vec::new();
    };
    let base = place.base;
    if !place.has_path() {
        return vec![format!("{base}{OAUTH}"), format!("{base}{OPENID}")];
    }
    let path = without_slash(place.path);
    vec![format!("{base}{OAUTH}{path}"), format!("{base}{OPENID}{path}"), format!("{base}{path}{OPENID}")]
}

fn without_slash(path: &str) -> &str {
    path.strip_suffix('/').unwrap_or(path)
}

/// Whether `url` belongs to the resource that a document is about: the same origin, and a path that is the same or above
/// it. Queries and one final slash do not count.
pub(crate) fn is_covered(resource: &str, url: &str) -> bool {
    let (Some(resource), Some(url)) = (Place::of(resource), Place::of(url)) else { return false };
    let below = without_slash(url.path).strip_prefix(without_slash(resource.path));
    resource.fragment.is_none()
        && resource.is_same_origin(&url)
        && below.is_some_and(|below| below.is_empty() || below.starts_with('/'))
}

/// Whether two identifiers are the same: byte for byte, except that an issuer without a path may have its only slash.
pub(crate) fn is_same_issuer(one: &str, other: &str) -> bool {
    let bare = |issuer: &str| {
        Place::of(issuer).is_some_and(|it| it.query.or(it.fragment).is_none() && it.path.is_empty())
    };
    one == other
        || other.strip_suffix('/').is_some_and(|other| other == one && bare(one))
        || one.strip_suffix('/').is_some_and(|one| one == other && bare(other))
}

/// Where a redirect of a document leads, if that is the same origin.
pub(crate) fn redirected(from: &str, location: &str) -> Option<String> {
    let target = UriRef::parse(location.trim()).ok()?;
    let target = target.resolve_against(&Uri::parse(from).ok()?.strip_fragment()).ok()?;
    let target = target.strip_fragment().as_str().to_owned();
    Place::of(&target)?.is_same_origin(&Place::of(from)?).then_some(target)
}

/// Whether something may be sent to `url`: over https, or on this machine if the MCP server is there, too.
pub(crate) fn is_allowed(url: &str, server: &str, insecure: bool) -> bool {
    let is_loopback = |url| Place::of(url).is_some_and(|it| it.is_loopback());
    Place::of(url).is_some_and(|it| it.is_https() || insecure || (it.is_loopback() && is_loopback(server)))
}

/// Whether a document may name it as an endpoint: absolute, without user info and fragment.
pub(crate) fn is_endpoint(url: &str) -> bool {
    Place::of(url).is_some_and(|it| it.fragment.is_none())
}

#[cfg(test)]
mod tests;
