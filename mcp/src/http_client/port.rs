//! The port in a URL.

use http::uri::Authority;

/// Unlike [`Authority::port_u16`] this does not take a port that is out of range for no port at all.
pub(crate) fn explicit_port(authority: &Authority) -> Result<Option<u16>, &'static str> {
    let text = authority.as_str();
    let without_user = text.rsplit_once('@').map_or(text, |(_, rest)| rest);
    match without_user.strip_prefix(authority.host()).and_then(|rest| rest.strip_prefix(':')) {
        None | Some("") => Ok(None),
        Some(port) => port.parse().map(Some).map_err(|_| "not a port number"),
    }
}
