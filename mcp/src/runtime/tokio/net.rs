//! [`TokioNet`]: sockets of the tokio runtime at hand.

use super::direct::Direct;
use super::{TokioTimer, here, scope};
use crate::http_client::{
    Attempt, ByteStream, ConnectError, Connecting, HEAD_START, Net, only, race, resolve,
};
use crate::runtime::timer::{BoxFuture, Timer};
use socket2::SockRef;
use std::io::Read;
use std::net::IpAddr;
use std::time::Duration;
use tokio::net::{TcpStream, lookup_host};

/// Sockets of the tokio runtime in which a request is polled; name lookup on its blocking threads.
///
/// With [`TokioTimer`] no thread of `async-io` is started:
///
/// ```no_run
/// use shared_fate_mcp::runtime::{TokioNet, TokioTimer};
/// use shared_fate_mcp::{Client, Error, Http};
///
/// #[tokio::main(flavor = "current_thread")]
/// async fn main() -> Result<(), Error> {
///     let http = Http::new("http://localhost:8080/mcp")?.net(TokioNet);
///     let (client, driver) = Client::builder().timer(TokioTimer).connect(http).await?;
///     tokio::spawn(driver);
///     println!("{}", client.call_tool("hello", ()).await?.text());
///     client.close().await;
///     Ok(())
/// }
/// ```
///
/// Several runtimes may use one client. An idle connection is used again only in the runtime that
/// opened it: in another one it would be dead, or would hang while its own does not run.
///
/// # Errors
///
/// Outside a runtime no connection can be opened. The error says so; its
/// [`io_kind`](crate::Error::io_kind) is [`Unsupported`](std::io::ErrorKind::Unsupported).
///
/// # Panics
///
/// In a runtime without sockets (`enable_io`) or timers (`enable_time`); so does all of tokio.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokioNet;

impl Net for TokioNet {
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> Connecting<'a> {
        self.connect_to(host, port, &|_| true)
    }

    fn connect_to<'a>(
        &'a self,
        host: &'a str,
        port: u16,
        allowed: &'a (dyn Fn(IpAddr) -> bool + Sync),
    ) -> Connecting<'a> {
        Box::pin(async move {
            here().map_err(ConnectError::Connect)?;
            let addresses =
                resolve(host, port, |host| lookup_host((host, port))).await.map_err(ConnectError::Dns)?;
            let addresses = only(allowed, addresses)?;
            let connect = |address| {
                // The future may have moved to where there is no runtime.
                let attempt = async move {
                    here()?;
                    TcpStream::connect(address).await
                };
                Box::pin(attempt) as Attempt<TcpStream>
            };
            let socket = race(addresses, HEAD_START, |time| self.sleep(time), connect)
                .await
                .map_err(ConnectError::Connect)?;
            // Only a wish, as with the other sockets.
            let _ = socket.set_nodelay(true);
            let read_now = |socket: &TcpStream, bytes: &mut [u8]| (&*SockRef::from(socket)).read(bytes);
            Ok(Box::new(Direct::new(socket, read_now)) as Box<dyn ByteStream>)
        })
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        TokioTimer.sleep(duration)
    }

    fn scope(&self) -> u64 {
        scope()
    }
}
