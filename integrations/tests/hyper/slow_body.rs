//! A body that is read slowly: all of it has arrived, and the connection is gone, before the reader goes on.

use crate::kit::{Answer, Sender, Version, With, connect, listen, open, tcp};
use bytes::Bytes;
use futures::channel::mpsc;
use futures::{FutureExt, StreamExt, TryStreamExt};
use http_body_util::{BodyDataStream, BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONNECTION, CONTENT_LENGTH, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response};
use shared_fate::stream::SupervisedStreamExt;
use shared_fate::{Failed, Session, SessionError, SupervisedExt};
use shared_fate_integrations::proxy::{Fault, Proxy};
use shared_fate_integrations::runtimes::Runtimes;
use shared_fate_integrations::table::Table;
use std::error::Error;
use std::sync::{Arc, Mutex};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, yield_now};

type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

const RUNS: usize = 100;

/// What is supervised, or explained: `try_supervised` and `explained_by`.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Supervised {
    Nothing,
    Exchange,
    Frames,
    Stream,
    ExplainedExchange,
    ExplainedFrames,
    ExplainedStream,
}

/// What becomes of the connection when the body has arrived.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Then {
    /// The driver is done: the connection is closed as announced (HTTP/1), or the last sender is gone (HTTP/2).
    Done,
    /// The driver fails: the connection is reset.
    Reset,
}

#[test]
fn http1() {
    all(Version::H1, "hyper, HTTP/1: a body has arrived, the connection goes, and then the reader goes on");
}

#[test]
fn http2() {
    all(Version::H2, "hyper, HTTP/2: a body has arrived, the connection goes, and then the reader goes on");
}

/// Of so many runs at least so many bodies are read.
const BODIES: [(Then, With, Supervised, usize); 19] = [
    (Then::Done, With::Plain, Supervised::Nothing, RUNS),
    (Then::Done, With::Monitor, Supervised::Exchange, RUNS),
    (Then::Done, With::Monitor, Supervised::Frames, RUNS),
    (Then::Done, With::Monitor, Supervised::Stream, RUNS),
    (Then::Done, With::Monitor, Supervised::ExplainedExchange, RUNS),
    (Then::Done, With::Monitor, Supervised::ExplainedFrames, RUNS),
    (Then::Done, With::Monitor, Supervised::ExplainedStream, RUNS),
    (Then::Done, With::Tap, Supervised::Exchange, RUNS),
    (Then::Done, With::Tap, Supervised::Frames, RUNS),
    // `drive` says that no request is answered any more, and here it is not so.
    (Then::Done, With::Drive, Supervised::Exchange, 0),
    (Then::Done, With::Drive, Supervised::Frames, 0),
    (Then::Done, With::Drive, Supervised::Stream, 0),
    (Then::Reset, With::Plain, Supervised::Nothing, RUNS),
    // hyper hands over what has arrived, and fails its requests itself: they are explained, and not supervised.
    (Then::Reset, With::Monitor, Supervised::ExplainedExchange, RUNS),
    (Then::Reset, With::Monitor, Supervised::ExplainedFrames, RUNS),
    (Then::Reset, With::Monitor, Supervised::ExplainedStream, RUNS),
    // Supervised, a session that fails ends what is pending and what is started later.
    (Then::Reset, With::Monitor, Supervised::Exchange, 0),
    (Then::Reset, With::Monitor, Supervised::Frames, 0),
    // The frames are there, but after the last one comes the cause.
    (Then::Reset, With::Monitor, Supervised::Stream, 0),
];

fn all(version: Version, heading: &'static str) {
    let runtimes = Runtimes::new();
    let server = runtimes.block_on(runtimes.servers().spawn(serve(version))).unwrap();
    let mut table = Table::new(heading, &["connection", "with", "supervised", "read", "error", "cut short"]);
    for (then, with, supervised, at_least) in BODIES {
        let (mut read, mut errors, mut cut_short) = (0, 0, 0);
        for _ in 0..RUNS {
            match runtimes.block_on(run(&runtimes, &server, version, then, with, supervised)) {
                Ok(body) if body == b"helloworld" => read += 1,
                Ok(_) => cut_short += 1,
                Err(_) => errors += 1,
            }
        }
        let cells = [format!("{then:?}"), format!("{with:?}"), format!("{supervised:?}")];
        table.row(&[&cells[0], &cells[1], &cells[2], &read, &errors, &cut_short]);
        assert!(read >= at_least, "{cells:?}: {read}\n{table}");
        // `drive` says that nothing comes after the driver's end, so a stream just ends, also in the middle.
        let is_known = (with, supervised) == (With::Drive, Supervised::Stream);
        assert!(cut_short == 0 || is_known, "{cells:?}: {cut_short} are cut short\n{table}");
    }
    println!("{table}");
}

async fn run(
    runtimes: &Runtimes,
    server: &Server,
    version: Version,
    then: Then,
    with: With,
    supervised: Supervised,
) -> Result<Vec<u8>> {
    let body = server.prepare(version == Version::H1 && then == Then::Done);
    body.unbounded_send(Bytes::from("hello"))?;
    let address = server.proxy.address();
    let drivers = runtimes.drivers();
    let reader = |sender, driver| Reader {
        sender: Some(sender),
        version,
        then,
        body: Some(body),
        proxy: &server.proxy,
        driver,
    };
    if with == With::Tap {
        let client = drivers.spawn(connect(version, with, address, drivers.clone())).await?;
        let session = client.session.expect("it is not plain");
        return reader(client.sender, client.driver).read(supervised, &session).await;
    }
    let open = async move { open(version, tcp(address).await, None).await };
    let (sender, connection) = drivers.spawn(open).await?;
    let session = Session::new();
    let driver = match with {
        With::Plain => drivers.spawn(connection.map(drop)),
        With::Monitor => drivers.spawn(session.monitor(connection).map(drop)),
        With::Drive => drivers.spawn(session.drive(connection).map(drop)),
        _ => unreachable!("not here"),
    };
    reader(sender, driver).read(supervised, &session).await
}

/// Answers `/` with the body that was prepared, and everything else when that body is out.
struct Server {
    proxy: Proxy,
    prepared: Arc<Mutex<Option<Response<Answer>>>>,
    is_out: Arc<Mutex<Option<oneshot::Receiver<()>>>>,
}

impl Server {
    /// Prepares a body of ten bytes. Gives out the end into which they are put.
    fn prepare(&self, closes: bool) -> mpsc::UnboundedSender<Bytes> {
        let (bytes, frames) = mpsc::unbounded();
        let (body, is_out) = oneshot::channel::<()>();
        // The body has one end of the channel. It is dropped when nothing is left to be sent.
        let frames = frames.map(move |bytes| {
            _ = &body;
            Ok(Frame::data(bytes))
        });
        let mut response = Response::new(BodyExt::boxed(StreamBody::new(frames)));
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("10"));
        if closes {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        *self.prepared.lock().unwrap() = Some(response);
        *self.is_out.lock().unwrap() = Some(is_out);
        bytes
    }
}

fn take<T>(prepared: &Mutex<Option<T>>) -> T {
    prepared.lock().unwrap().take().expect("it is prepared")
}

async fn serve(version: Version) -> Server {
    let (prepared, is_out) = (Arc::default(), Arc::default());
    let service = service_fn({
        let (prepared, is_out) = (Arc::clone(&prepared), Arc::clone(&is_out));
        move |request: Request<Incoming>| {
            let (prepared, is_out) = (Arc::clone(&prepared), Arc::clone(&is_out));
            async move {
                if request.uri().path() == "/" {
                    return Ok(take(&prepared));
                }
                _ = take(&is_out).await;
                Ok(Response::new(Answer::default()))
            }
        }
    });
    let proxy = Proxy::before(listen(version, service).await).await.expect("a proxy");
    Server { proxy, prepared, is_out }
}

struct Reader<'a> {
    version: Version,
    then: Then,
    sender: Option<Sender>,
    body: Option<mpsc::UnboundedSender<Bytes>>,
    proxy: &'a Proxy,
    driver: JoinHandle<()>,
}

impl Reader<'_> {
    fn send(&mut self) -> impl Future<Output = hyper::Result<Response<Incoming>>> + use<> {
        self.sender.as_mut().expect("there is a sender").send("/")
    }

    /// What the reader does between the frames, the first time: it waits until there is no connection any more.
    async fn pause(&mut self) {
        let Some(body) = self.body.take() else { return };
        body.unbounded_send(Bytes::from("world")).expect("the server has the other end");
        drop(body);
        if self.then == Then::Reset {
            // The answer to this comes after the body: the driver has both.
            let sender = self.sender.as_mut().expect("there is a sender");
            if let Sender::H1(sender) = sender {
                sender.ready().await.expect("it is ready");
            }
            sender.send("/after").await.expect("an answer");
            self.proxy.strike(Fault::Reset).await;
        } else if self.version == Version::H2 {
            self.sender = None;
        }
        (&mut self.driver).await.expect("the driver has resolved");
        // It takes its time: it goes on in a later poll than the one in which it hears of that.
        yield_now().await;
    }

    async fn read<E>(self, supervised: Supervised, session: &Session<E>) -> Result<Vec<u8>>
    where
        E: SessionError + Send + Sync + ?Sized + 'static,
    {
        match supervised {
            Supervised::Nothing => Ok(self.exchange().await?),
            Supervised::Exchange => Ok(self.exchange().try_supervised(session).await?),
            Supervised::ExplainedExchange => Ok(self.exchange().explained_by(session).await?),
            Supervised::Frames => Ok(self.frames(session, false).await?),
            Supervised::ExplainedFrames => Ok(self.frames(session, true).await?),
            Supervised::Stream => Ok(self.stream(session, false).await?),
            Supervised::ExplainedStream => Ok(self.stream(session, true).await?),
        }
    }

    async fn exchange(mut self) -> hyper::Result<Vec<u8>> {
        let mut body = self.send().await?.into_body();
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await.transpose()? {
            bytes.extend(frame.into_data().expect("data"));
            self.pause().await;
        }
        Ok(bytes)
    }

    async fn frames<E: ?Sized>(
        mut self,
        session: &Session<E>,
        explained: bool,
    ) -> Result<Vec<u8>, Failed<hyper::Error, E>> {
        let mut body = self.send().try_supervised(session).await?.into_body();
        let mut bytes = Vec::new();
        loop {
            let next = async { body.frame().await.transpose() };
            let next = match explained {
                true => next.explained_by(session).await?,
                false => next.try_supervised(session).await?,
            };
            let Some(frame) = next else { return Ok(bytes) };
            bytes.extend(frame.into_data().expect("data"));
            self.pause().await;
        }
    }

    async fn stream<E: ?Sized>(
        mut self,
        session: &Session<E>,
        explained: bool,
    ) -> Result<Vec<u8>, Failed<hyper::Error, E>> {
        let body = BodyDataStream::new(self.send().try_supervised(session).await?.into_body());
        let mut chunks = match explained {
            true => body.explained_by(session).left_stream(),
            false => body.try_supervised(session).right_stream(),
        };
        let mut bytes = Vec::new();
        while let Some(chunk) = chunks.try_next().await? {
            bytes.extend(chunk);
            self.pause().await;
        }
        Ok(bytes)
    }
}
