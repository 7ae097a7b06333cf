//! URLs, the environment, and which servers are reached without a proxy.

use std::ffi::OsString;

use super::*;

fn parsed(url: &str) -> Result<Server, &'static str> {
    Server::parse(url)
}

#[test]
fn a_url_says_all_of_a_proxy() {
    for (url, shown) in [
        ("http://proxy.example:3128", "http://proxy.example:3128"),
        ("HTTP://Proxy.Example/", "http://proxy.example:80"),
        ("proxy.example:3128", "http://proxy.example:3128"),
        (" proxy.example ", "http://proxy.example:80"),
        ("http://[FD00::1]:3128", "http://[fd00::1]:3128"),
        ("http://10.0.0.1", "http://10.0.0.1:80"),
        ("socks5://proxy.example", "socks5://proxy.example:1080"),
        ("socks5h://u:p@proxy.example:9", "socks5://proxy.example:9"),
    ] {
        assert_eq!(format!("{:?}", parsed(url).unwrap()), shown, "{url}");
    }
}

#[test]
fn a_url_that_says_something_else_is_refused_without_being_shown() {
    let long = format!("socks5://{}@proxy.example", "secret".repeat(50));
    for (url, why) in [
        ("", "its URL is none"),
        ("http://", "its URL is none"),
        ("http://:3128", "its URL has no host"),
        ("http://u:secret@:3128", "its URL has no host"),
        ("http://proxy.example:99999", "its port is not a number up to 65535"),
        ("http://proxy.example/secret", "its URL has a path"),
        ("http://proxy.example/?secret", "its URL has a path"),
        ("http://u:sec ret@proxy.example", "its URL is none"),
        ("https://proxy.example", "a proxy that is reached over TLS itself (https) is not supported"),
        ("socks4://proxy.example", "the scheme of its URL is none of http, socks5 and socks5h"),
        ("socks5://:secret@proxy.example", "its user name is empty"),
        ("http://u%3Ax:secret@proxy.example", "its user name has a colon"),
        ("http://u:secret%0D%0AX: y@proxy.example", "its URL is none"),
        ("http://u:secret%0D%0AX@proxy.example", "its credentials have control characters"),
        (&long, "its user name or password is longer than 255 bytes"),
    ] {
        let error = Proxy::new(url).unwrap_err();
        assert_eq!(error.to_string(), why, "{url}");
        assert!(!format!("{error:?}").contains("secret"));
    }
}

#[test]
fn credentials_are_sent_with_their_escapes_undone() {
    for (url, value) in [
        ("http://Aladdin:open%20sesame@p", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
        ("http://u:p%40:%@p", "Basic dTpwQDol"),
        ("http://u@p", "Basic dTo="),
        ("http://:p@p", "Basic OnA="),
        ("http://u:%ff@p", "Basic dTr/"),
    ] {
        assert_eq!(parsed(url).unwrap().authorization().unwrap(), value, "{url}");
    }
    assert!(parsed("http://p").unwrap().authorization().is_none());
}

#[test]
fn socks5_takes_credentials_of_255_bytes() {
    let url = |length| format!("socks5://{}:{}@p", "u".repeat(length), "p".repeat(length));
    assert!(parsed(&url(255)).is_ok());
    assert!(parsed(&url(256)).is_err());
}

#[test]
fn debug_has_no_credentials() {
    let proxy = Proxy::new("http://user:secret@proxy.example:1").unwrap().no_proxy("a.example");
    let shown = format!("{proxy:?}");
    assert!(shown.contains("http://proxy.example:1") && shown.contains("a.example"), "{shown}");
    assert!(!shown.contains("user") && !shown.contains("secret") && !shown.contains("dXNlcjpz"), "{shown}");
}

/// What an environment makes of requests to `http` and to `https`.
fn environment(variables: &[(&str, &str)]) -> Result<[String; 2], String> {
    let get =
        |name: &str| variables.iter().find(|(it, _)| *it == name).map(|(_, value)| OsString::from(value));
    let proxy = Proxy::from_variables(get).map_err(|error| error.to_string())?;
    let through = |tls, port| match proxy.server(tls, "server.example", port) {
        Some(server) => format!("{server:?}"),
        None => "-".to_owned(),
    };
    Ok([through(false, 80), through(true, 443)])
}

#[test]
fn the_environment_names_proxies() {
    let (a, b, c) = ("http://a:80", "http://b:80", "socks5://c:1080");
    for (variables, through) in [
        (&[][..], ["-", "-"]),
        (&[("http_proxy", "a")], [a, "-"]),
        (&[("HTTPS_PROXY", "b")], ["-", b]),
        (&[("http_proxy", "a"), ("HTTP_PROXY", "b")], [a, "-"]),
        (&[("http_proxy", ""), ("HTTP_PROXY", "b")], [b, "-"]),
        (&[("ALL_PROXY", c)], [c, c]),
        (&[("all_proxy", c), ("ALL_PROXY", "b"), ("https_proxy", "b")], [c, b]),
        // A variable that does not count does no harm.
        (&[("http_proxy", "a"), ("https_proxy", "b"), ("all_proxy", "://")], [a, b]),
        (&[("all_proxy", c), ("NO_PROXY", "other.example,.example")], ["-", "-"]),
        (&[("all_proxy", c), ("no_proxy", "server.example:80"), ("NO_PROXY", "*")], ["-", c]),
        (&[("all_proxy", c), ("no_proxy", " ")], [c, c]),
    ] {
        assert_eq!(environment(variables).unwrap(), through, "{variables:?}");
    }
}

#[test]
fn a_cgi_program_does_not_take_a_header_for_a_proxy() {
    let cgi = ("REQUEST_METHOD", "GET");
    assert_eq!(environment(&[cgi, ("HTTP_PROXY", "evil")]).unwrap(), ["-", "-"]);
    assert_eq!(
        environment(&[cgi, ("HTTP_PROXY", "evil"), ("HTTPS_PROXY", "b")]).unwrap(),
        ["-", "http://b:80"]
    );
    let lower = environment(&[cgi, ("http_proxy", "a")]).unwrap();
    assert_eq!(lower, [if cfg!(windows) { "-" } else { "http://a:80" }, "-"]);
}

#[test]
fn a_variable_that_cannot_be_used_is_an_error_that_names_it() {
    let error = |variables| environment(variables).unwrap_err();
    assert_eq!(error(&[("HTTPS_PROXY", "https://u:secret@p")]), {
        "HTTPS_PROXY: a proxy that is reached over TLS itself (https) is not supported"
    });
    assert_eq!(error(&[("http_proxy", "http://u:secret@")]), "http_proxy: its URL is none");
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStringExt as _;
        let get = |name: &str| (name == "NO_PROXY").then(|| OsString::from_vec(vec![0xFF]));
        assert_eq!(Proxy::from_variables(get).unwrap_err().to_string(), "NO_PROXY: it is not Unicode");
    }
}

#[test]
fn a_list_names_servers_that_are_reached_without_a_proxy() {
    let yes = true;
    for (list, host, port, bypassed) in [
        ("example.com", "example.com", 80, yes),
        ("example.com", "a.b.example.com", 80, yes),
        ("example.com", "notexample.com", 80, false),
        ("example.com", "example.com.evil", 80, false),
        ("example.com", "example.com.", 80, yes),
        ("example.com.", "example.com", 80, yes),
        (".example.com", "example.com", 80, yes),
        (".example.com", "a.example.com", 80, yes),
        ("*.example.com", "a.example.com", 80, yes),
        ("EXAMPLE.com", "example.com", 80, yes),
        ("a.com,, \t b.com\nc.com", "b.com", 80, yes),
        ("a.com b.com\nc.com", "c.com", 80, yes),
        ("example.com:8443", "example.com", 8443, yes),
        ("example.com:8443", "a.example.com", 8443, yes),
        ("example.com:8443", "example.com", 443, false),
        ("*", "example.com", 80, yes),
        ("*:81", "example.com", 80, false),
        ("*:81", "example.com", 81, yes),
        ("", "example.com", 80, false),
        (".", "example.com", 80, false),
        ("ex*ple.com", "example.com", 80, false),
        ("*ample.com", "example.com", 80, false),
        ("10.0.0.1", "10.0.0.1", 80, yes),
        ("10.0.0.1:81", "10.0.0.1", 80, false),
        ("10.0.0.1", "10.0.0.11", 80, false),
        ("10.0.0.1", "::ffff:10.0.0.1", 80, yes),
        ("::ffff:10.0.0.1", "10.0.0.1", 80, yes),
        ("10.0.0.0/8", "10.255.0.1", 80, yes),
        ("10.0.0.0/8", "::ffff:a01:203", 80, yes),
        ("10.0.0.0/8", "11.0.0.1", 80, false),
        ("10.0.0.77/30", "10.0.0.79", 80, yes),
        ("10.0.0.77/30", "10.0.0.80", 80, false),
        ("10.0.0.1/32", "10.0.0.1", 80, yes),
        ("10.0.0.1/32", "10.0.0.0", 80, false),
        ("0.0.0.0/0", "203.0.113.9", 80, yes),
        ("0.0.0.0/0", "2001:db8::1", 80, false),
        ("10.0.0.0/33", "10.0.0.0", 80, false),
        ("10.0.0.0/x", "10.0.0.0", 80, false),
        ("10.0.0.0/8", "10.example.com", 80, false),
        ("fd00::/8", "fdff::1", 80, yes),
        ("fd00::/8", "fe00::1", 80, false),
        ("::/0", "2001:db8::1", 80, yes),
        ("2001:db8::1/128", "2001:db8::1", 80, yes),
        ("2001:db8::1/129", "2001:db8::1", 80, false),
        ("2001:db8::1", "2001:db8::1", 80, yes),
        ("2001:db8:0::1", "2001:db8::1", 80, yes),
        ("[2001:db8::1]", "2001:db8::1", 80, yes),
        ("[2001:db8::1]:81", "2001:db8::1", 81, yes),
        ("[2001:db8::1]:81", "2001:db8::1", 80, false),
    ] {
        let proxy = Proxy::new("proxy.example").unwrap().no_proxy(list);
        assert_eq!(proxy.server(false, host, port).is_none(), bypassed, "{list} {host} {port}");
    }
    let both = Proxy::new("proxy.example").unwrap().no_proxy("a.example").no_proxy("b.example");
    assert!(both.server(true, "a.example", 443).is_none() && both.server(true, "b.example", 443).is_none());
}

#[test]
fn this_machine_is_never_reached_through_a_proxy() {
    let proxy = Proxy::new("proxy.example").unwrap();
    for host in [
        "localhost",
        "localhost.",
        "a.localhost",
        "127.0.0.1",
        "127.9.9.9",
        "::1",
        "::ffff:127.0.0.1",
        "0.0.0.0",
        "::",
    ] {
        assert!(proxy.server(false, host, 80).is_none(), "{host}");
    }
    for host in ["localhost.example", "notlocalhost", "128.0.0.1", "::2", "proxy.example"] {
        assert!(proxy.server(false, host, 80).is_some(), "{host}");
    }
}
