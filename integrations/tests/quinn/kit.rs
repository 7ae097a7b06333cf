//! A server that says when a call has arrived, and a client whose socket fails on demand.

use crate::hooks::{Hooked, Tapped};
use quinn::rustls::RootCertStore;
use quinn::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, ClientConfig, Connection, Endpoint, EndpointConfig, Runtime, SendStream};
use quinn::{ServerConfig, TokioRuntime, UdpPoller};
use shared_fate_integrations::seen::AnySession;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// A call that the server has.
pub struct Arrived {
    pub answer: SendStream,
    pub connection: Connection,
}

pub struct Server {
    pub address: SocketAddr,
    pub certificate: CertificateDer<'static>,
    pub arrivals: mpsc::UnboundedReceiver<Arrived>,
}

/// Listens until its runtime is gone.
pub async fn serve() -> Server {
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let certificate = key.cert.der().clone();
    let private = PrivatePkcs8KeyDer::from(key.signing_key.serialize_der());
    let config = ServerConfig::with_single_cert(vec![certificate.clone()], private.into()).expect("a key");
    let endpoint = Endpoint::server(config, "127.0.0.1:0".parse().expect("an address")).expect("a port");
    let address = endpoint.local_addr().expect("an address");
    let (arrived, arrivals) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            let arrived = arrived.clone();
            tokio::spawn(async move {
                let connection = incoming.await?;
                loop {
                    let (answer, mut call) = connection.accept_bi().await?;
                    if call.read_to_end(100).await.is_ok() {
                        _ = arrived.send(Arrived { answer, connection: connection.clone() });
                    }
                }
                #[expect(unreachable_code, reason = "it gives the block its type")]
                io::Result::Ok(())
            });
        }
    });
    Server { address, certificate, arrivals }
}

/// A socket that fails when it has got something after it was armed.
#[derive(Debug)]
struct Faulty(Arc<dyn AsyncUdpSocket>, Arc<AtomicBool>);

impl AsyncUdpSocket for Faulty {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.0).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.0.try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let poll = self.0.poll_recv(cx, bufs, meta);
        if poll.is_ready() && self.1.load(SeqCst) {
            return Poll::Ready(Err(io::Error::other("the network is down")));
        }
        poll
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

pub struct Client {
    pub endpoint: Endpoint,
    pub session: Option<AnySession>,
    pub armed: Arc<AtomicBool>,
}

/// An endpoint in the runtime in which it is made.
pub fn client(is_hooked: bool, certificate: CertificateDer<'static>) -> Client {
    let mut roots = RootCertStore::empty();
    roots.add(certificate).expect("a certificate");
    let config = ClientConfig::with_root_certificates(Arc::new(roots)).expect("roots");
    let armed = Arc::new(AtomicBool::new(false));
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let socket = TokioRuntime.wrap_udp_socket(socket).expect("a socket");
    let mut socket: Arc<dyn AsyncUdpSocket> = Arc::new(Faulty(socket, Arc::clone(&armed)));
    let mut runtime: Arc<dyn Runtime> = Arc::new(TokioRuntime);
    let session = is_hooked.then(AnySession::new);
    if let Some(session) = &session {
        socket = Arc::new(Tapped(socket, session.clone()));
        runtime = Arc::new(Hooked(session.clone()));
    }
    let endpoint = Endpoint::new_with_abstract_socket(EndpointConfig::default(), None, socket, runtime);
    let mut endpoint = endpoint.expect("an endpoint");
    endpoint.set_default_client_config(config);
    Client { endpoint, session, armed }
}

/// A call, plain.
pub async fn call(connection: &Connection) -> io::Result<Vec<u8>> {
    let (mut call, mut answer) = connection.open_bi().await.map_err(io::Error::other)?;
    call.write_all(b"call").await.map_err(io::Error::other)?;
    call.finish().map_err(io::Error::other)?;
    answer.read_to_end(100).await.map_err(io::Error::other)
}
