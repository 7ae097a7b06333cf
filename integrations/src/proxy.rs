//! A proxy on loopback that breaks the connections that go through it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncWriteExt, copy, copy_bidirectional, sink};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the client gets to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A reset: RST.
    Reset,
    /// The end of the stream: FIN.
    Finish,
    /// Bytes that are not of the protocol, and then nothing.
    Garbage(&'static [u8]),
    /// Nothing more, and no end.
    Stall,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Reset => "RST",
            Self::Finish => "FIN",
            Self::Garbage(_) => "garbage",
            Self::Stall => "stall",
        })
    }
}

/// Passes connections on to a server, until a fault is struck. Dropped, it ends them.
pub struct Proxy {
    address: SocketAddr,
    /// Of the connections that are open now.
    faults: Arc<Mutex<watch::Sender<Option<Fault>>>>,
    /// What is dropped with the proxy.
    _alive: watch::Sender<()>,
}

impl Proxy {
    /// Stands before `server`. Runs on the runtime in which it was made.
    pub async fn before(server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let faults = Arc::new(Mutex::new(watch::Sender::new(None)));
        let (alive, mut proxy) = watch::channel(());
        tokio::spawn({
            let faults = Arc::clone(&faults);
            async move {
                loop {
                    let (client, _) = tokio::select! {
                        accepted = listener.accept() => accepted?,
                        _ = proxy.changed() => return io::Result::Ok(()),
                    };
                    let struck = faults.lock().expect("nothing panics under it").subscribe();
                    tokio::spawn(pass_on(client, server, struck, proxy.clone()));
                }
            }
        });
        Ok(Self { address, faults, _alive: alive })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Breaks every connection that is open now. When this resolves, it is done.
    pub async fn strike(&self, fault: Fault) {
        let later = watch::Sender::new(None);
        let now = std::mem::replace(&mut *self.faults.lock().expect("nothing panics under it"), later);
        now.send_replace(Some(fault));
        now.closed().await;
    }
}

async fn pass_on(
    mut client: TcpStream,
    server: SocketAddr,
    mut struck: watch::Receiver<Option<Fault>>,
    mut proxy: watch::Receiver<()>,
) -> io::Result<()> {
    let mut server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    // It leaves no port behind that waits for a minute: there are thousands of runs.
    server.set_zero_linger()?;
    tokio::select! {
        copied = copy_bidirectional(&mut client, &mut server) => return copied.map(drop),
        _ = proxy.changed() => return Ok(()),
        _ = struck.changed() => {}
    }
    let fault = *struck.borrow();
    match fault {
        Some(Fault::Reset) => {
            client.set_zero_linger()?;
            drop(client);
            return Ok(());
        }
        Some(Fault::Finish) => client.shutdown().await?,
        Some(Fault::Garbage(bytes)) => client.write_all(bytes).await?,
        Some(Fault::Stall) | None => {}
    }
    // `strike` waits for this; the sockets stay open until the client closes its own.
    drop(struck);
    let mut nowhere = sink();
    tokio::select! {
        _ = copy(&mut client, &mut nowhere) => client.set_zero_linger(),
        _ = proxy.changed() => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;
    use std::time::Duration;
    use tokio::io::AsyncReadExt;
    use tokio::time::timeout;

    /// What a client reads after a fault: the bytes, the end, or an error.
    async fn read_after(fault: Fault) -> io::Result<Vec<u8>> {
        let server = TcpListener::bind("127.0.0.1:0").await?;
        let proxy = Proxy::before(server.local_addr()?).await?;
        let mut client = TcpStream::connect(proxy.address()).await?;
        let (mut peer, _) = server.accept().await?;
        peer.write_all(b"before").await?;
        let mut bytes = [0; 6];
        client.read_exact(&mut bytes).await?;
        proxy.strike(fault).await;
        let mut bytes = vec![0; 100];
        let read = client.read(&mut bytes).await?;
        bytes.truncate(read);
        Ok(bytes)
    }

    #[tokio::test]
    async fn faults_are_what_they_are_called() {
        assert_eq!(read_after(Fault::Reset).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(read_after(Fault::Finish).await.unwrap(), b"");
        assert_eq!(read_after(Fault::Garbage(b"garbage")).await.unwrap(), b"garbage");
        assert!(timeout(Duration::from_millis(50), read_after(Fault::Stall)).await.is_err());
    }
}
