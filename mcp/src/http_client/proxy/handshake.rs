//! What is said to a proxy before its stream leads to the server: CONNECT (RFC 9110, 9.3.6), or SOCKS5 (RFC 1928, with
//! the credentials of RFC 1929).
//!
//! Neither reads a byte that is not the proxy's own: SOCKS5 answers have a length, and behind the head of an answer to
//! CONNECT nothing may come, since the server speaks second.

use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;

use super::super::net::ByteStream;
use super::{Credentials, Protocol, ProxyError, Server, Why, authority};

/// The most that a proxy may send before its tunnel is open, in bytes.
pub(in super::super) const LONGEST_ANSWER: usize = 16 * 1024;

impl Server {
    /// Makes a stream to the proxy one to the server. Dropping the future closes it.
    pub(in super::super) async fn tunnel(
        &self,
        mut stream: Box<dyn ByteStream>,
        host: &str,
        port: u16,
    ) -> Result<Box<dyn ByteStream>, ProxyError> {
        match self.protocol {
            Protocol::Http => self.connect(&mut *stream, host, port).await?,
            Protocol::Socks5 => self.socks(&mut *stream, host, port).await?,
        }
        Ok(stream)
    }

    async fn connect(&self, stream: &mut dyn ByteStream, host: &str, port: u16) -> Result<(), ProxyError> {
        let server = authority(host, port);
        let mut request = format!("CONNECT {server} HTTP/1.1\r\nHost: {server}\r\n").into_bytes();
        if let Some(authorization) = self.authorization() {
            request.extend([b"Proxy-Authorization: ", authorization.as_bytes(), b"\r\n"].concat());
        }
        request.extend(b"\r\n");
        self.write(stream, &request).await?;
        let mut answer = Vec::new();
        let mut buffer = [0; 1024];
        loop {
            let room = buffer.len().min(LONGEST_ANSWER - answer.len());
            let read = self.read(stream, &mut buffer[..room]).await?;
            answer.extend_from_slice(&buffer[..read]);
            match self.judge(&mut &*answer)? {
                true => return Ok(()),
                false if answer.len() == LONGEST_ANSWER => {
                    return Err(self.error(Why::Odd("its answer is longer than 16 KiB")));
                }
                false => {}
            }
        }
    }

    /// What an answer to CONNECT says, as far as it is there; `false` if more is to come. A refusal is one as soon as
    /// its status is there.
    fn judge(&self, answer: &mut &[u8]) -> Result<bool, ProxyError> {
        loop {
            let Some(line) = next_line(answer) else {
                // Not a line of HTTP, and possibly without an end.
                let is_http = answer.iter().zip(b"HTTP/1.").all(|(one, other)| one == other);
                return if is_http { Ok(false) } else { Err(self.error(Why::Odd("its answer is not HTTP"))) };
            };
            let status = match status(line) {
                None => return Err(self.error(Why::Odd("its answer is not HTTP"))),
                // Who else could say 401 here? Some proxies do.
                Some(status @ (401 | 407)) => return Err(self.unauthorized(Some(status))),
                Some(status) if !matches!(status, 100..=299) => return Err(self.error(Why::Status(status))),
                Some(status) => status,
            };
            loop {
                match next_line(answer) {
                    None => return Ok(false),
                    Some(b"") => break,
                    // The length of a body is ignored (RFC 9110, 9.3.6): there is none.
                    Some(_) => {}
                }
            }
            match (status, answer.is_empty()) {
                // Behind an interim answer comes another.
                (100..=199, _) => {}
                (_, true) => return Ok(true),
                (_, false) => return Err(self.error(Why::Odd("it sends more than an answer"))),
            }
        }
    }

    async fn socks(&self, stream: &mut dyn ByteStream, host: &str, port: u16) -> Result<(), ProxyError> {
        let address = socks_address(host).ok_or_else(|| self.error(Why::LongName))?;
        // Without credentials, and with them if there are some.
        let greeting: &[u8] = if self.credentials.is_some() { &[5, 2, 0, 2] } else { &[5, 1, 0] };
        self.write(stream, greeting).await?;
        let [version, method] = self.read_array(stream).await?;
        self.check_version(version)?;
        match (method, &self.credentials) {
            (0, _) => {}
            (2, Some(credentials)) => self.log_in(stream, credentials).await?,
            (0xFF, _) => return Err(self.unauthorized(None)),
            _ => return Err(self.error(Why::Odd("it chooses what it was not offered"))),
        }
        self.write(stream, &[&[5, 1, 0], &*address, &port.to_be_bytes()].concat()).await?;
        let [version, code] = self.read_array(stream).await?;
        self.check_version(version)?;
        if code != 0 {
            return Err(self.error(Why::Socks(code)));
        }
        // Its own address, which nobody needs.
        let [_, kind] = self.read_array(stream).await?;
        let length = match kind {
            1 => 4,
            3 => self.read_array::<1>(stream).await?[0].into(),
            4 => 16,
            _ => return Err(self.error(Why::Odd("its address is of no known kind"))),
        };
        self.read_exact(stream, &mut vec![0; length + 2]).await
    }

    async fn log_in(&self, stream: &mut dyn ByteStream, credentials: &Credentials) -> Result<(), ProxyError> {
        let mut request = vec![1];
        for text in [&credentials.user, &credentials.password] {
            request.push(u8::try_from(text.len()).expect("checked when it was read"));
            request.extend(text);
        }
        self.write(stream, &request).await?;
        match self.read_array(stream).await? {
            [1, 0] => Ok(()),
            // Some repeat the version of SOCKS.
            [1 | 5, _] => Err(self.unauthorized(None)),
            _ => Err(self.error(Why::Odd("it does not speak SOCKS5"))),
        }
    }

    fn check_version(&self, version: u8) -> Result<(), ProxyError> {
        if version == 5 { Ok(()) } else { Err(self.error(Why::Odd("it does not speak SOCKS5"))) }
    }

    async fn write(&self, stream: &mut dyn ByteStream, mut bytes: &[u8]) -> Result<(), ProxyError> {
        while !bytes.is_empty() {
            let written = poll_fn(|cx| Pin::new(&mut *stream).poll_write(cx, bytes)).await;
            match written.map_err(|error| self.error(Why::Broken(error)))? {
                0 => return Err(self.error(Why::Broken(io::ErrorKind::WriteZero.into()))),
                written => bytes = &bytes[written..],
            }
        }
        let flushed = poll_fn(|cx| Pin::new(&mut *stream).poll_flush(cx)).await;
        flushed.map_err(|error| self.error(Why::Broken(error)))
    }

    /// At least one byte.
    async fn read(&self, stream: &mut dyn ByteStream, buffer: &mut [u8]) -> Result<usize, ProxyError> {
        let read = poll_fn(|cx| Pin::new(&mut *stream).poll_read(cx, buffer)).await;
        match read.map_err(|error| self.error(Why::Broken(error)))? {
            0 => Err(self.error(Why::Broken(io::ErrorKind::UnexpectedEof.into()))),
            read => Ok(read),
        }
    }

    async fn read_exact(&self, stream: &mut dyn ByteStream, buffer: &mut [u8]) -> Result<(), ProxyError> {
        let mut filled = 0;
        while filled < buffer.len() {
            filled += self.read(stream, &mut buffer[filled..]).await?;
        }
        Ok(())
    }

    async fn read_array<const N: usize>(&self, stream: &mut dyn ByteStream) -> Result<[u8; N], ProxyError> {
        let mut array = [0; N];
        self.read_exact(stream, &mut array).await?;
        Ok(array)
    }
}

/// The next line without its end, which some write without CR; `None` if its end is not there yet.
fn next_line<'a>(text: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = text.iter().position(|&byte| byte == b'\n')?;
    let line = &text[..end];
    *text = &text[end + 1..];
    Some(line.strip_suffix(b"\r").unwrap_or(line))
}

/// The status of a status line of HTTP/1.
fn status(line: &[u8]) -> Option<u16> {
    let [_, b' ', digits @ ..] = line.strip_prefix(b"HTTP/1.")? else { return None };
    let (digits, reason) = digits.split_at_checked(3)?;
    let status = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (matches!(status, 100..=999) && matches!(reason, [] | [b' ', ..])).then_some(status)
}

/// A server's address as SOCKS5 has it: names go as names. `None` if one is too long.
fn socks_address(host: &str) -> Option<Vec<u8>> {
    Some(match host.parse() {
        Ok(IpAddr::V4(address)) => [&[1], &address.octets()[..]].concat(),
        Ok(IpAddr::V6(address)) => [&[4], &address.octets()[..]].concat(),
        Err(_) => [&[3, u8::try_from(host.len()).ok()?], host.as_bytes()].concat(),
    })
}
