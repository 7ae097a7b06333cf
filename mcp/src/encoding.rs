//! How bytes travel: as Base64 or with percent-escapes, in headers, in URLs and in the protocol; and whether a body is
//! compressed.

/// Writes Base64 with the standard alphabet, padded (RFC 4648, 4).
pub(crate) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits =
            group.iter().fold(0u32, |bits, &byte| bits << 8 | u32::from(byte)) << (8 * (3 - group.len()));
        for digit in 0..4 {
            text.push(match digit <= group.len() {
                true => char::from(ALPHABET[(bits >> (18 - 6 * digit)) as usize & 63]),
                false => '=',
            });
        }
    }
    text
}

/// Percent-escapes what a URL may not hold and browsers take all the same (<https://url.spec.whatwg.org/#path-percent-encode-set>):
/// blanks, a few signs, and what is not ASCII.
#[cfg_attr(not(feature = "http"), allow(dead_code, reason = "URLs are for HTTP"))]
pub(crate) fn escape_url(url: &[u8]) -> String {
    let mut text = String::with_capacity(url.len());
    for &byte in url {
        match byte {
            0x21..=0x7e if !b"\"<>^`{|}".contains(&byte) => text.push(char::from(byte)),
            _ => text += &format!("%{byte:02X}"),
        }
    }
    text
}

/// Undoes percent-escapes (RFC 3986, 2.1). A `%` that escapes nothing stands for itself.
#[cfg_attr(not(feature = "http"), allow(dead_code, reason = "URLs are for HTTP"))]
pub(crate) fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, others)) = rest.split_first() {
        let digit = |at: usize| others.get(at).and_then(|&byte| char::from(byte).to_digit(16));
        let escaped = digit(0).zip(digit(1)).and_then(|(high, low)| u8::try_from(high << 4 | low).ok());
        let (byte, behind) = match (first, escaped) {
            (b'%', Some(byte)) => (byte, &others[2..]),
            (byte, _) => (byte, others),
        };
        bytes.push(byte);
        rest = behind;
    }
    bytes
}

/// Undoes the escapes of a form's or a query's value, where `+` stands for a blank.
#[cfg_attr(not(feature = "http"), allow(dead_code, reason = "URLs are for HTTP"))]
pub(crate) fn unescape_form(text: &str) -> Vec<u8> {
    unescape(&text.replace('+', " "))
}

/// Whether a `Content-Encoding` may say that the body is compressed. Some servers send a word that means nothing, so that a
/// proxy does not compress a stream, mostly `none`, or a charset.
#[cfg_attr(not(feature = "http"), allow(dead_code, reason = "only HTTP has bodies"))]
pub(crate) fn is_compressed(content_encoding: &[u8]) -> bool {
    const PLAIN: [&[u8]; 6] = [b"", b"identity", b"none", b"utf-8", b"utf8", b"chunked"];
    content_encoding.split(|&byte| byte == b',').any(|coding| {
        let coding = coding.trim_ascii();
        !PLAIN.iter().any(|plain| coding.eq_ignore_ascii_case(plain))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn par_05_base64_as_in_rfc_4648() {
        for (plain, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
            ("\u{fb}\u{ff}", "w7vDvw=="),
        ] {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }

    #[test]
    fn what_is_escaped_already_is_not_escaped_again() {
        for (url, escaped) in [
            ("http://a:1/b?c=%2F&d=[e]#f", "http://a:1/b?c=%2F&d=[e]#f"),
            ("/\u{fc} {x}|\"<>^`\t", "/%C3%BC%20%7Bx%7D%7C%22%3C%3E%5E%60%09"),
        ] {
            assert_eq!(escape_url(url.as_bytes()), escaped);
        }
        assert_eq!(escape_url(b"/\xfc"), "/%FC");
    }

    #[test]
    fn escapes_are_undone_and_what_is_none_stays() {
        for (text, bytes) in [
            ("open%20sesame", &b"open sesame"[..]),
            ("%40%fF%", b"@\xff%"),
            ("%zz%4%+1", b"%zz%4%+1"),
            ("a+b", b"a+b"),
        ] {
            assert_eq!(unescape(text), bytes, "{text}");
        }
        assert_eq!(unescape_form("a+b%2B%2b"), b"a b++");
    }

    #[test]
    fn only_what_compresses_is_an_encoding() {
        for encoding in
            ["gzip", "X-GZIP", " br ", "identity, deflate", "none,zstd", "compress", "x-compress,", "gzipped"]
        {
            assert!(is_compressed(encoding.as_bytes()), "{encoding}");
        }
        for encoding in ["", " ", "identity", "None", "utf-8", "UTF8", "chunked", "none, identity"] {
            assert!(!is_compressed(encoding.as_bytes()), "{encoding}");
        }
    }
}
