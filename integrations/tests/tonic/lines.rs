//! The lines that a user adds.

use crate::kit::{Raw, serve};
use anyhow::Result;
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt, TryFutureExt};
use futures::{Stream, TryStreamExt};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper::{Request, Response, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo};
use shared_fate::stream::SupervisedStreamExt;
use shared_fate::{Gate, Session, SupervisedExt};
use shared_fate_integrations::lines;
use shared_fate_integrations::runtimes::Runtimes;
use shared_fate_integrations::table::Table;
use std::task::{Context, Poll, ready};
use tokio::net::TcpStream;
use tonic::Status;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Endpoint;
use tower::Service;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

const PATH: PathAndQuery = PathAndQuery::from_static("/test/call");

fn origin() -> Uri {
    Uri::from_static("http://localhost")
}

/// Before.
mod plain {
    use super::*;

    // user: plain
    pub struct Channel {
        sender: http2::SendRequest<Body>,
    }

    impl Service<Request<Body>> for Channel {
        type Response = Response<Incoming>;
        type Error = BoxError;
        type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

        fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            ready!(self.sender.poll_ready(cx))?;
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Request<Body>) -> Self::Future {
            self.sender.send_request(request).map_err(Into::into).boxed()
        }
    }

    pub async fn open(io: TcpStream) -> Result<Channel> {
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(io)).await?;
        tokio::spawn(connection);
        Ok(Channel { sender })
    }

    pub async fn stream(channel: Channel, call: Bytes) -> Result<impl Stream<Item = Result<Bytes>>> {
        let mut client = Grpc::with_origin(channel, origin());
        let answers = async {
            client.ready().await.map_err(Status::from_error)?;
            client.server_streaming(tonic::Request::new(call), PATH, Raw).await
        };
        let answers = answers.await?.into_inner();
        Ok(answers.err_into())
    }
    // end
}

/// After.
mod session {
    use super::*;

    // user: session
    pub struct Channel {
        sender: http2::SendRequest<Body>,
        gate: Gate<hyper::Error, hyper::Error>,
    }

    impl Service<Request<Body>> for Channel {
        type Response = Response<Incoming>;
        type Error = BoxError;
        type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

        fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            ready!(self.gate.poll(cx, |cx| self.sender.poll_ready(cx)))?;
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Request<Body>) -> Self::Future {
            self.sender.send_request(request).map_err(Into::into).boxed()
        }
    }

    pub async fn open(io: TcpStream) -> Result<Channel> {
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(io)).await?;
        let session = Session::new();
        tokio::spawn(session.monitor(connection));
        let gate = session.gate();
        Ok(Channel { sender, gate })
    }

    pub async fn stream(channel: Channel, call: Bytes) -> Result<impl Stream<Item = Result<Bytes>>> {
        let session = channel.gate.session().clone();
        let mut client = Grpc::with_origin(channel, origin());
        let answers = async {
            client.ready().await.map_err(Status::from_error)?;
            client.server_streaming(tonic::Request::new(call), PATH, Raw).await
        };
        let answers = answers.try_supervised(&session).await?.into_inner();
        Ok(answers.try_supervised(session).err_into())
    }
    // end
}

/// tonic's `Channel`.
mod channel {
    use super::*;

    // user: channel
    pub async fn channel(endpoint: Endpoint, call: Bytes) -> Result<Bytes> {
        let mut client = Grpc::new(endpoint.connect().await?);
        let exchange = async {
            client.ready().await.map_err(|error| Status::from_error(error.into()))?;
            client.unary(tonic::Request::new(call), PATH, Raw).await
        };
        Ok(exchange.await?.into_inner())
    }
    // end
}

/// tonic's `Channel`, hooked.
mod hooked {
    use super::*;
    use hyper::rt::Executor;
    use std::future::Future;

    // user: hooked
    struct Tasks(Session<Status>);

    impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Tasks {
        fn execute(&self, task: F) {
            tokio::spawn(self.0.drive_map(task, |()| None));
        }
    }

    pub async fn channel(endpoint: Endpoint, call: Bytes) -> Result<Bytes> {
        let session = Session::new();
        let endpoint = endpoint.executor(Tasks(session.clone()));
        let mut client = Grpc::new(endpoint.connect().await?);
        let exchange = async {
            client.ready().await.map_err(|error| Status::from_error(error.into()))?;
            client.unary(tonic::Request::new(call), PATH, Raw).await
        };
        Ok(exchange.try_supervised(&session).await?.into_inner())
    }
    // end
}

#[test]
fn a_user_adds_ten() {
    let mut table = Table::new("tonic: the lines that a user adds or changes", &["", "lines", ""]);
    for (before, after) in [("plain", "session"), ("channel", "hooked")] {
        let added = lines::added(include_str!("lines.rs"), before, after);
        for line in &added {
            table.row(&[&after, &added.len(), &line]);
        }
        assert!(added.len() <= 10, "{added:#?}");
    }
    println!("{table}");
}

#[test]
fn they_work() {
    let runtimes = Runtimes::new();
    runtimes.block_on(async {
        let mut server = runtimes.servers().spawn(serve()).await.unwrap();
        let address = server.address;
        runtimes.servers().spawn(async move {
            loop {
                server.arrival().await.answer();
            }
        });
        let io = || async { TcpStream::connect(address).await.unwrap() };
        let call = || Bytes::from("call");
        let channel = plain::open(io().await).await.unwrap();
        let answers = plain::stream(channel, call()).await.unwrap();
        assert_eq!(answers.try_collect::<Vec<_>>().await.unwrap(), ["answer"]);
        let channel = session::open(io().await).await.unwrap();
        let answers = session::stream(channel, call()).await.unwrap();
        assert_eq!(answers.try_collect::<Vec<_>>().await.unwrap(), ["answer"]);
        let endpoint = || Endpoint::from_shared(format!("http://{address}")).unwrap();
        assert_eq!(channel::channel(endpoint(), call()).await.unwrap(), "answer");
        assert_eq!(hooked::channel(endpoint(), call()).await.unwrap(), "answer");
    });
}
