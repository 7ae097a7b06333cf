//! A server of gRPC by hand, so that no code need be generated: messages are bytes.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::channel::mpsc;
use futures::{StreamExt, TryStreamExt};
use http_body_util::StreamBody;
use hyper::body::{Body as HttpBody, Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo};
use shared_fate::stream::SupervisedStreamExt;
use shared_fate_integrations::seen::{AnySession, Seen};
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tonic::body::Body;
use tonic::client::{Grpc, GrpcService};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Status, Streaming};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Messages as they are.
#[derive(Clone, Copy)]
pub struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// A call that the server has. Its answer has begun, and ends in good order when that is said.
pub struct Arrived(mpsc::UnboundedSender<Frame<Bytes>>);

impl Arrived {
    pub fn message(&self, bytes: &'static [u8]) {
        let mut message = BytesMut::new();
        message.put_u8(0);
        message.put_u32(bytes.len().try_into().expect("it is short"));
        message.put(bytes);
        // The client may be gone.
        _ = self.0.unbounded_send(Frame::data(message.freeze()));
    }

    /// The answer of a call with one.
    pub fn answer(self) {
        self.message(b"answer");
        self.done();
    }

    /// The rest of a stream.
    pub fn finish(self) {
        self.message(b"two");
        self.done();
    }

    fn done(self) {
        let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from(0))]);
        _ = self.0.unbounded_send(Frame::trailers(trailers));
    }
}

/// A server that says when a call has arrived.
pub struct Server {
    pub address: SocketAddr,
    pub arrivals: mpsc::UnboundedReceiver<Arrived>,
}

impl Server {
    pub async fn arrival(&mut self) -> Arrived {
        self.arrivals.next().await.expect("the server lives")
    }
}

/// Listens until its runtime is gone.
pub async fn serve() -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (arrived, arrivals) = mpsc::unbounded();
    let service = service_fn(move |_: Request<Incoming>| {
        let (answer, frames) = mpsc::unbounded();
        _ = arrived.unbounded_send(Arrived(answer));
        let mut response = Response::new(StreamBody::new(frames.map(Ok::<_, Infallible>)));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        async { Ok::<_, Infallible>(response) }
    });
    tokio::spawn(async move {
        while let Ok((io, _)) = listener.accept().await {
            io.set_nodelay(true).expect("a socket");
            let builder = http2::Builder::new(TokioExecutor::new());
            tokio::spawn(builder.serve_connection(TokioIo::new(io), service.clone()));
        }
    });
    Server { address, arrivals }
}

/// Spawns a library's tasks. Under a session they are drivers that may be done, each of them.
#[derive(Clone)]
pub struct Tasks {
    pub on: Handle,
    pub session: Option<AnySession>,
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, task: F) {
        match &self.session {
            None => drop(self.on.spawn(task)),
            Some(session) => drop(self.on.spawn(session.drive_map(task, |()| None))),
        }
    }
}

fn path() -> PathAndQuery {
    PathAndQuery::from_static("/test/call")
}

/// A client whose service takes a call now.
async fn ready<S>(service: S) -> Result<Grpc<S>, Status>
where
    S: GrpcService<Body>,
{
    let mut client = Grpc::with_origin(service, Uri::from_static("http://localhost"));
    client.ready().await.map_err(|error| Status::from_error(error.into()))?;
    Ok(client)
}

/// A call with one answer.
pub async fn unary<S>(service: S) -> Result<Bytes, Status>
where
    S: GrpcService<Body, ResponseBody: Send + 'static>,
    <S::ResponseBody as HttpBody>::Error: Into<BoxError>,
{
    let request = tonic::Request::new(Bytes::from("call"));
    Ok(ready(service).await?.unary(request, path(), Raw).await?.into_inner())
}

/// A call with a stream of answers.
pub async fn stream<S>(service: S) -> Result<Streaming<Bytes>, Status>
where
    S: GrpcService<Body, ResponseBody: Send + 'static>,
    <S::ResponseBody as HttpBody>::Error: Into<BoxError>,
{
    let request = tonic::Request::new(Bytes::from("call"));
    Ok(ready(service).await?.server_streaming(request, path(), Raw).await?.into_inner())
}

/// The rest of a stream, which is one message and the end. If it is cut short without an error, this panics.
pub async fn rest(session: Option<&AnySession>, answers: Streaming<Bytes>) -> Seen {
    let complete = |rest: Vec<Bytes>| assert_eq!(rest, ["two"], "cut short");
    match session {
        None => Seen::plain(async { answers.try_collect().await.map(complete) }).await,
        Some(session) => {
            let answers = SupervisedStreamExt::try_supervised(answers, session);
            Seen::result(async { answers.try_collect().await.map(complete) }).await
        }
    }
}
