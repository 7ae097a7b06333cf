//! Sends requests: finds or opens a connection, and hands it on to the response body.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_io::AsyncRead as _;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::Full;

use super::body::Body;
use super::connection::{Connection, Key};
use super::failure::{Failure, Stage};
use super::net::{AsyncIo, ByteStream, ConnectError, Net};
use super::pool::{Claim, Pool};
use super::proxy::{Proxy, Why};
use super::target::Target;
#[cfg(feature = "tls")]
use super::tls::{Connector, TlsConfig};

/// An HTTP/1.1 client. Clones share their idle connections.
///
/// Redirects are not followed, and any status is a response like any other, but for the 407 of a proxy. Limiting
/// the time for the response is the caller's business, by dropping the future or the body.
#[derive(Clone)]
pub(crate) struct Engine {
    shared: Arc<Shared>,
}

#[derive(Clone)]
pub(crate) struct EngineConfig {
    pub(crate) net: Arc<dyn Net>,
    /// None, unless it is asked for.
    pub(crate) proxy: Option<Proxy>,
    /// For name lookup, connecting, the proxy and the TLS handshake together.
    pub(crate) connect_timeout: Option<Duration>,
    /// A connection that has been idle for so long is not used again.
    pub(crate) idle_timeout: Duration,
    pub(crate) max_idle_per_host: usize,
    /// How many connections are opened at a time.
    pub(crate) max_opening: usize,
    #[cfg(feature = "tls")]
    pub(crate) tls: TlsConfig,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            net: Arc::new(AsyncIo),
            proxy: None,
            connect_timeout: Some(Duration::from_secs(10)),
            idle_timeout: Duration::from_secs(60),
            max_idle_per_host: 32,
            max_opening: 64,
            #[cfg(feature = "tls")]
            tls: TlsConfig::default(),
        }
    }
}

struct Shared {
    net: Arc<dyn Net>,
    proxy: Option<Proxy>,
    /// Nearly always that of the next request.
    last_target: Mutex<Option<Arc<Target>>>,
    connect_timeout: Option<Duration>,
    /// Bodies know it too, but do not keep it alive: with the last engine go the idle connections.
    pool: Arc<Pool>,
    #[cfg(feature = "tls")]
    tls: Connector,
}

impl Engine {
    /// Fails if an extra root certificate is not one. The other roots are loaded when first needed.
    pub(crate) fn new(config: EngineConfig) -> Result<Self, Failure> {
        Ok(Self {
            shared: Arc::new(Shared {
                net: config.net,
                proxy: config.proxy,
                last_target: Mutex::default(),
                connect_timeout: config.connect_timeout,
                pool: Arc::new(Pool::new(config.idle_timeout, config.max_idle_per_host, config.max_opening)),
                #[cfg(feature = "tls")]
                tls: Connector::new(config.tls).map_err(|error| Failure::unsent(Stage::Tls, error))?,
            }),
        })
    }

    /// Sends one request to its absolute `http` or `https` URL and waits for the head of the response.
    ///
    /// A request is never sent twice. Only if an idle connection turns out to be closed before a byte
    /// of the request was written, the request goes out on another connection instead. `begun` is told when
    /// the request is about to be written, and when it was not after all.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection; the peer may have seen the request or not.
    pub(crate) fn send_noting(
        &self,
        request: Request<Bytes>,
        begun: impl Fn(bool),
    ) -> impl Future<Output = Result<Response<Body>, Failure>> {
        // A request is large, and each function of an async one's that is handed it would keep room for it.
        let mut addressed = self.target(request.uri()).map(|target| {
            let request = target.address(request);
            (target, Some(request))
        });
        async move {
            let (target, request) = match addressed {
                Ok((ref target, ref mut request)) => (target, request),
                Err(failure) => return Err(failure),
            };
            loop {
                let (connection, was_idle) = match self.shared.pool.take(&target.key).await {
                    Some(connection) => (connection, true),
                    // Boxed: it is large, and not often needed.
                    None => Box::pin(self.claim(&target.key)).await?,
                };
                begun(true);
                match self.exchange(connection, request).await {
                    Err(_) if was_idle && request.is_some() => begun(false),
                    result => return result,
                }
            }
        }
    }

    #[cfg(test)]
    pub(crate) async fn send(&self, request: Request<Bytes>) -> Result<Response<Body>, Failure> {
        self.send_noting(request, |_| ()).await
    }

    /// Ends when nobody listens there: connects, and sends nothing. A connection that is reset was in the queue of one who
    /// has just gone. And one who is there may be going: then the connection ends soon, and it looks again.
    pub(crate) async fn gone(&self, url: &Uri) -> Failure {
        const LOOKS: usize = 3;
        // That the proxy is gone says nothing of the server, and through a proxy nothing can be asked that cheaply.
        let target = self.target(url).ok().filter(|target| target.key.proxy.is_none());
        for target in target.iter().cycle().take(LOOKS) {
            match self.within_connect_timeout(self.shared.connect(&target.key)).await {
                Ok(mut stream) => _ = poll_fn(|cx| Pin::new(&mut stream).poll_read(cx, &mut [0])).await,
                Err(failure) => {
                    let gone = [io::ErrorKind::ConnectionRefused, io::ErrorKind::ConnectionReset];
                    if failure.io_kind().is_some_and(|kind| gone.contains(&kind)) {
                        return failure;
                    }
                    break;
                }
            }
        }
        std::future::pending().await
    }

    /// Closes the idle connections, and from now on each as soon as it is no longer used.
    pub(crate) fn close(&self) {
        self.shared.pool.close();
    }

    /// Closes the idle connections.
    #[cfg(test)]
    pub(crate) fn drop_idle(&self) {
        self.shared.pool.clear();
    }

    fn target(&self, url: &Uri) -> Result<Arc<Target>, Failure> {
        let scope = self.shared.net.scope();
        let last = || self.shared.last_target.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(target) = last().as_ref().filter(|target| target.is_of(url, scope)) {
            return Ok(Arc::clone(target));
        }
        let target = Target::new(url, scope, self.shared.proxy.as_ref())
            .map_err(|reason| Failure::unsent(Stage::BadUrl, reason))?;
        let target = Arc::new(target);
        *last() = Some(Arc::clone(&target));
        Ok(target)
    }

    async fn exchange(
        &self,
        mut connection: Box<Connection>,
        request: &mut Option<Request<Full<Bytes>>>,
    ) -> Result<Response<Body>, Failure> {
        let response = connection.exchange(request).await?;
        // In a tunnel, it would be the server who says so.
        if let (StatusCode::PROXY_AUTHENTICATION_REQUIRED, Some(proxy)) =
            (response.status(), connection.key.forwarder())
        {
            return Err(Failure::sent(Stage::Proxy, proxy.unauthorized(Some(407))));
        }
        let mut response = Body::new(response, connection, Arc::downgrade(&self.shared.pool));
        poll_fn(|cx| {
            response.body_mut().release_if_ended(cx);
            Poll::Ready(())
        })
        .await;
        Ok(response)
    }

    /// A new connection, or one that became idle while this one waited for its turn to open one: then
    /// `true`.
    async fn claim(&self, key: &Key) -> Result<(Box<Connection>, bool), Failure> {
        let claim = async {
            let opening = match self.shared.pool.claim(key).await {
                Claim::Idle(connection) => return Ok((connection, true)),
                Claim::Open(opening) => opening,
            };
            let stream = self.shared.dial(key).await?;
            drop(opening);
            Ok((Box::new(Connection::new(key.clone(), stream)), false))
        };
        self.within_connect_timeout(claim).await
    }

    async fn within_connect_timeout<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let Some(limit) = self.shared.connect_timeout else {
            return work.await;
        };
        let mut work = pin!(work);
        let mut timer = self.shared.net.sleep(limit);
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Pending => timer.as_mut().poll(cx).map(|()| Err(Failure::connect_timeout())),
            ready => ready,
        })
        .await
    }
}

impl Shared {
    async fn dial(&self, key: &Key) -> Result<Box<dyn ByteStream>, Failure> {
        #[cfg(feature = "tls")]
        if key.tls {
            let handshake = self.tls.prepare(&key.host).await?;
            let socket = self.connect(key).await?;
            let stream = handshake.perform(socket).await;
            return stream.map_err(|error| Failure::unsent(Stage::Tls, error));
        }
        self.connect(key).await
    }

    async fn connect(&self, key: &Key) -> Result<Box<dyn ByteStream>, Failure> {
        let Some(proxy) = &key.proxy else {
            return self.net.connect(&key.host, key.port).await.map_err(|error| match error {
                ConnectError::Dns(error) => Failure::unsent(Stage::Dns, error),
                ConnectError::Connect(error) => Failure::unsent(Stage::Connect, error),
            });
        };
        let stream = self.net.connect(&proxy.host, proxy.port).await;
        let stream = stream.map_err(|error| proxy.error(Why::Unreachable(error)));
        let stream = stream.map_err(|error| Failure::unsent(Stage::Proxy, error))?;
        if key.forwarder().is_some() {
            return Ok(stream);
        }
        let tunnel = proxy.tunnel(stream, &key.host, key.port).await;
        tunnel.map_err(|error| Failure::unsent(Stage::Proxy, error))
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}
