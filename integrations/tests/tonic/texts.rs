//! What a generated client says when its service is not ready. It makes a text of the error with `{}`, and drops the
//! rest.

use crate::kit::serve;
use futures::future::poll_fn;
use hyper::Request;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use shared_fate::Session;
use shared_fate_integrations::proxy::{Fault, Proxy};
use shared_fate_integrations::runtimes::Runtimes;
use shared_fate_integrations::table::Table;
use tokio::net::TcpStream;
use tonic::body::Body;

/// As in generated code.
fn not_ready(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> String {
    format!("Service was not ready: {}", error.into())
}

#[test]
fn not_ready_says_why() {
    let runtimes = Runtimes::new();
    let [plain, gate, alternate] = runtimes.block_on(async {
        let mut server = runtimes.servers().spawn(serve()).await.unwrap();
        let proxy = runtimes.servers().spawn(Proxy::before(server.address)).await.unwrap().unwrap();
        let io = TokioIo::new(TcpStream::connect(proxy.address()).await.unwrap());
        let (mut sender, connection) =
            http2::handshake::<_, _, Body>(TokioExecutor::new(), io).await.unwrap();
        let session = Session::new();
        let driver = tokio::spawn(session.monitor(connection));
        // Only a connection that the server has can be struck.
        let _call = sender.send_request(Request::get("http://localhost/").body(Body::empty()).unwrap());
        let _arrived = server.arrival().await;
        proxy.strike(Fault::Garbage(b"this is no HTTP of any version\r\n\r\n")).await;
        assert!(driver.await.unwrap().is_failed());
        let mut gate = session.gate();
        let plain = poll_fn(|cx| sender.poll_ready(cx)).await.unwrap_err();
        let gated = poll_fn(|cx| gate.poll(cx, |cx| sender.poll_ready(cx))).await.unwrap_err();
        let alternate = format!("{gated:#}");
        [not_ready(plain), not_ready(gated), not_ready(alternate)]
    });
    let mut table =
        Table::new("tonic: what a generated client says of a service that is not ready", &["", "says"]);
    table.row(&[&"plain", &plain]);
    table.row(&[&"gate", &gate]);
    table.row(&[&"gate, its error by {:#}", &alternate]);
    println!("{table}");
    assert!(!plain.contains("frame with invalid size"));
    assert!(alternate.contains("frame with invalid size"));
}
