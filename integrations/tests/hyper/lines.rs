//! The lines that a user adds.

use crate::kit::{Version, serve};
use anyhow::Result;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use shared_fate::io::Tap;
use shared_fate::{Cause, Session, SupervisedExt};
use shared_fate_integrations::lines;
use shared_fate_integrations::runtimes::Runtimes;
use shared_fate_integrations::table::Table;
use tokio::net::TcpStream;

type Call = Request<Empty<Bytes>>;

/// Before.
mod plain {
    use super::*;

    // user: HTTP/1
    pub async fn get1(io: TcpStream, call: Call) -> Result<Bytes> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(io)).await?;
        tokio::spawn(connection);
        let exchange = async { sender.send_request(call).await?.into_body().collect().await };
        Ok(exchange.await?.to_bytes())
    }
    // end

    // user: HTTP/2
    pub async fn get2(io: TcpStream, call: Call) -> Result<Bytes> {
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(io)).await?;
        tokio::spawn(connection);
        let exchange = async { sender.send_request(call).await?.into_body().collect().await };
        Ok(exchange.await?.to_bytes())
    }
    // end
}

/// After.
mod session {
    use super::*;

    // user: HTTP/1, session
    pub async fn get1(io: TcpStream, call: Call) -> Result<Bytes> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(io)).await?;
        let session = Session::new();
        tokio::spawn(session.monitor(connection));
        let exchange = async { sender.send_request(call).await?.into_body().collect().await };
        Ok(exchange.try_supervised(&session).await?.to_bytes())
    }
    // end

    // user: HTTP/2, session
    pub async fn get2(io: TcpStream, call: Call) -> Result<Bytes> {
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(io)).await?;
        let session = Session::new();
        tokio::spawn(session.monitor(connection));
        let exchange = async { sender.send_request(call).await?.into_body().collect().await };
        Ok(exchange.try_supervised(&session).await?.to_bytes())
    }
    // end
}

/// After, with the bytes under the session too.
mod tap {
    use super::*;

    // user: HTTP/1, session and tap
    pub async fn get1(io: TcpStream, call: Call) -> Result<Bytes> {
        let session = Session::new();
        let io = Tap::with(io, session.clone(), Cause::any);
        let (mut sender, connection) = http1::handshake(TokioIo::new(io)).await?;
        tokio::spawn(session.drive_map(connection, |output| output.err().map(Cause::any)));
        let exchange = async { sender.send_request(call).await?.into_body().collect().await };
        Ok(exchange.try_supervised(&session).await?.to_bytes())
    }
    // end
}

#[test]
fn a_user_adds_three() {
    let mut table = Table::new("hyper: the lines that a user adds or changes", &["", "lines", ""]);
    for (before, after, at_most) in [
        ("HTTP/1", "HTTP/1, session", 3),
        ("HTTP/1", "HTTP/1, session and tap", 4),
        ("HTTP/2", "HTTP/2, session", 3),
    ] {
        let added = lines::added(include_str!("lines.rs"), before, after);
        assert!(added.len() <= at_most, "{added:#?}");
        for line in &added {
            table.row(&[&after, &added.len(), &line]);
        }
    }
    println!("{table}");
}

#[test]
fn they_work() {
    let runtimes = Runtimes::new();
    runtimes.block_on(async {
        for version in [Version::H1, Version::H2] {
            let mut server = runtimes.servers().spawn(serve(version)).await.unwrap();
            let address = server.address;
            runtimes.servers().spawn(async move {
                while let Some(arrived) = server.arrivals.recv().await {
                    _ = arrived.send(());
                }
            });
            let call = || Request::get("http://localhost/").body(Empty::new()).unwrap();
            let connect = || TcpStream::connect(address);
            match version {
                Version::H1 => {
                    plain::get1(connect().await.unwrap(), call()).await.unwrap();
                    session::get1(connect().await.unwrap(), call()).await.unwrap();
                    tap::get1(connect().await.unwrap(), call()).await.unwrap();
                }
                Version::H2 => {
                    plain::get2(connect().await.unwrap(), call()).await.unwrap();
                    session::get2(connect().await.unwrap(), call()).await.unwrap();
                }
            }
        }
    });
}
