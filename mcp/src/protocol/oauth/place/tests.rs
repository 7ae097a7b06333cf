//! Unit tests of `protocol::oauth::place`.

use super::*;

#[test]
fn a_url_is_taken_apart_and_nothing_of_it_is_rewritten() {
    let place = Place::of("HTTPS://Host.Example:0443/a%2fb/?q=1#f").unwrap();
    assert_eq!(place.base(), "HTTPS://Host.Example:0443");
    assert_eq!(place.authority(), "Host.Example:0443");
    assert_eq!((place.path, place.query, place.fragment), ("/a%2fb/", Some("q=1"), Some("f")));
    assert!(place.is_https());
    assert_eq!(place.origin(), "https://host.example:443");
    assert!(place.is_same_origin(&Place::of("https://host.example").unwrap()));
    assert!(!place.is_same_origin(&Place::of("http://host.example:443").unwrap()));
    assert!(!place.is_same_origin(&Place::of("https://host.example:444").unwrap()));
    assert_eq!(Place::of("http://[::1]:80?x").unwrap().origin(), "http://[::1]:80");
}

#[test]
fn what_is_no_absolute_http_url_is_none() {
    for url in [
        "",
        "/path",
        "//host/path",
        "ftp://host",
        "https://",
        "https:///path",
        "https://:443",
        "https://user@host",
        "https://user:key@host",
        "https://host:port",
        "https://host:70000",
        "https://host:-1",
        "https://::1",
        "https://a]b",
        "https://[::1]x",
        "https://ho st",
        "https://host/\n",
        "https://höst",
        "https://host\\@evil",
        "javascript:alert(1)",
        "https://host/<x>",
    ] {
        assert_eq!(Place::of(url), None, "{url:?}");
    }
}

#[test]
fn oa_04_this_machine_has_a_few_names_and_no_others() {
    for url in [
        "http://localhost",
        "http://LocalHost:8080/x",
        "http://127.0.0.1",
        "http://127.255.0.3:1",
        "http://[::1]:9/",
    ] {
        assert!(Place::of(url).unwrap().is_loopback(), "{url}");
    }
    for url in [
        "http://localhost.example",
        "http://127.example",
        "http://127.0.0.1.example",
        "http://127.0.0",
        "http://128.0.0.1",
        "http://[::2]",
        "http://127.0.0.256",
        "http://0127.0.0.1",
        "http://127.0.0.+1",
    ] {
        assert!(!Place::of(url).unwrap().is_loopback(), "{url}");
    }
}

#[test]
fn oa_04_http_is_for_this_machine_or_for_who_asks_for_it() {
    let (remote, local) = ("https://mcp.example/mcp", "http://localhost:3000/mcp");
    for (url, server, insecure, allowed) in [
        ("https://as.example", remote, false, true),
        ("http://as.example", remote, false, false),
        ("http://as.example", remote, true, true),
        ("http://127.0.0.1:9", local, false, true),
        // A server elsewhere has no business with what listens here.
        ("http://127.0.0.1:9", remote, false, false),
        ("http://as.example", local, false, false),
        ("https://as.example", local, false, true),
        ("no url", local, true, false),
    ] {
        assert_eq!(is_allowed(url, server, insecure), allowed, "{url} {server} {insecure}");
    }
}

#[test]
fn oa_11_where_a_servers_metadata_may_be() {
    let root = "https://h.example/.well-known/oauth-protected-resource";
    assert_eq!(resource_candidates("https://h.example"), [root]);
    assert_eq!(resource_candidates("https://h.example/"), [root]);
    assert_eq!(resource_candidates("https://h.example/?a=b"), [root]);
    assert_eq!(resource_candidates("https://h.example/mcp?a=b#c"), [format!("{root}/mcp"), root.to_owned()]);
    assert_eq!(resource_candidates("https://h.example/a/b/"), [format!("{root}/a/b/"), root.to_owned()]);
    let port = "http://localhost:3000/.well-known/oauth-protected-resource";
    assert_eq!(resource_candidates("http://localhost:3000/mcp"), [format!("{port}/mcp"), port.to_owned()]);
}

/// RFC 8414, 3.1 and 5: `https://example.com` and `https://example.com/issuer1`.
#[test]
fn oa_21_where_an_issuers_metadata_may_be() {
    let plain = [
        "https://example.com/.well-known/oauth-authorization-server",
        "https://example.com/.well-known/openid-configuration",
    ];
    assert_eq!(server_candidates("https://example.com"), plain);
    assert_eq!(server_candidates("https://example.com/"), plain);
    let with_path = [
        "https://example.com/.well-known/oauth-authorization-server/issuer1",
        "https://example.com/.well-known/openid-configuration/issuer1",
        "https://example.com/issuer1/.well-known/openid-configuration",
    ];
    assert_eq!(server_candidates("https://example.com/issuer1"), with_path);
    assert_eq!(server_candidates("https://example.com/issuer1/"), with_path);
    for issuer in
        ["https://example.com/?x", "https://example.com/#x", "example.com", "https://me@example.com", ""]
    {
        assert!(server_candidates(issuer).is_empty(), "{issuer}");
    }
}

#[test]
fn oa_12_a_document_is_about_us_or_about_what_is_above_us() {
    let ours = "https://h.example/a/mcp?x=1";
    for resource in [
        "https://h.example/a/mcp",
        "https://h.example/a/mcp/",
        "https://h.example/a",
        "https://h.example/a/",
        "https://h.example",
        "https://h.example/",
        "HTTPS://H.example:443/a?other",
        ours,
    ] {
        assert!(is_covered(resource, ours), "{resource}");
    }
    for resource in [
        "https://h.example/a/mcp#f",
        "https://h.example/a/mc",
        "https://h.example/b",
        "https://h.example/a/mcp/below",
        "http://h.example/a",
        "https://h.example:444/a",
        "https://evil.example/a/mcp",
        "/a",
        "",
        "https://h.example//",
    ] {
        assert!(!is_covered(resource, ours), "{resource}");
    }
    assert!(is_covered("https://h.example/mcp", "https://h.example/mcp/"));
}

#[test]
fn oa_22_an_issuer_is_the_same_byte_for_byte_but_for_its_only_slash() {
    for (one, other) in [
        ("https://a.example", "https://a.example"),
        ("https://a.example", "https://a.example/"),
        ("https://a.example/", "https://a.example"),
        ("https://a.example/t/", "https://a.example/t/"),
        ("https://a.example:443/", "https://a.example:443"),
    ] {
        assert!(is_same_issuer(one, other), "{one} {other}");
    }
    for (one, other) in [
        ("https://a.example/t", "https://a.example/t/"),
        ("https://a.example//", "https://a.example/"),
        ("https://A.example", "https://a.example"),
        ("https://a.example:443", "https://a.example"),
        ("http://a.example", "https://a.example"),
        ("https://a.example?", "https://a.example"),
        ("https://a.example?/", "https://a.example?"),
        ("x", "x/"),
        ("", "/"),
    ] {
        assert!(!is_same_issuer(one, other), "{one} {other}");
    }
}

#[test]
fn oa_31_a_server_without_metadata_is_called_by_its_url() {
    for (url, name) in [
        ("https://h.example", "https://h.example"),
        ("https://h.example/", "https://h.example"),
        ("https://h.example/?key=1", "https://h.example"),
        ("https://H.example:443/mcp/?key=1#x", "https://H.example:443/mcp/"),
        ("https://h.example/mcp", "https://h.example/mcp"),
    ] {
        assert_eq!(canonical(url), name);
    }
}

#[test]
fn oa_06_a_redirect_stays_at_its_origin() {
    let from = "https://h.example/.well-known/x?y";
    for (location, to) in [
        ("/other", Some("https://h.example/other")),
        ("z", Some("https://h.example/.well-known/z")),
        ("https://h.example/b#f", Some("https://h.example/b")),
        ("HTTPS://H.EXAMPLE:443/b", Some("HTTPS://H.EXAMPLE:443/b")),
        ("//evil.example/b", None),
        ("https://evil.example/b", None),
        ("http://h.example/b", None),
        ("https://me:key@h.example/b", None),
        ("javascript:x", None),
        ("ht tp", None),
    ] {
        assert_eq!(redirected(from, location).as_deref(), to, "{location}");
    }
}

#[test]
fn oa_26_an_endpoint_is_absolute_and_has_no_fragment() {
    assert!(is_endpoint("https://as.example/token?tenant=1"));
    for url in ["/token", "https://as.example/token#", "https://me@as.example/token", "data:x", ""] {
        assert!(!is_endpoint(url), "{url}");
    }
}
