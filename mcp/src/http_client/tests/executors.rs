//! One scenario on every executor: the engine must not care.

use std::future::Future;
use std::sync::{Arc, Mutex};

use super::super::engine::{Engine, EngineConfig};
use super::super::failure::Stage;
use super::super::net::{AsyncIo, Net};
use super::kit::{Event, Happened, Server, Vacant, call, engine, event, patiently, post};

const STREAM: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n";

/// Echoes, and answers `/stream` with a chunk, and another one when the client has seen the first.
fn server() -> (Server, Event) {
    let (go_on, may_go_on) = event();
    let may_go_on: Arc<Mutex<Happened>> = Arc::new(Mutex::new(may_go_on));
    let server = Server::start(move |mut peer| {
        while let Some(request) = peer.request() {
            if request.head.starts_with("POST /stream ") {
                peer.write(STREAM);
                may_go_on.lock().unwrap().wait();
                peer.write("3\r\ntwo\r\n0\r\n\r\n");
            } else {
                peer.respond(request.body);
            }
        }
    });
    (server, go_on)
}

async fn scenario(net: Arc<dyn Net>) {
    let (server, go_on) = server();
    let engine = Engine::new(EngineConfig { net: net.clone(), ..EngineConfig::default() }).unwrap();
    for _ in 0..3 {
        assert_eq!(call(&engine, post(&server.url("/"), "{}")).await.unwrap(), b"{}");
    }
    let mut body = engine.send(post(&server.url("/stream"), "{}")).await.unwrap().into_body();
    assert_eq!(body.chunk().await.unwrap().unwrap(), "one");
    go_on.set();
    assert_eq!(body.chunk().await.unwrap().unwrap(), "two");
    assert!(body.chunk().await.is_none());
    assert_eq!(server.connections(), 1);

    let localhost = format!("http://localhost:{}/", server.address.port());
    assert_eq!(call(&engine, post(&localhost, "{}")).await.unwrap(), b"{}");
    refused(&engine).await;
    #[cfg(feature = "tls")]
    super::tls::round_trip(net).await;
}

async fn refused(engine: &Engine) {
    let vacant = Vacant::new();
    let failure = call(engine, post(&format!("http://{}/", vacant.address), "{}")).await.unwrap_err();
    assert_eq!(failure.stage, Stage::Connect);
}

fn test() -> impl Future<Output = ()> + Send {
    patiently(scenario(Arc::new(AsyncIo)))
}

#[test]
fn futures_block_on() {
    futures::executor::block_on(test());
}

#[test]
fn pollster_block_on() {
    pollster::block_on(test());
}

#[test]
fn smol_block_on() {
    smol::block_on(test());
}

#[test]
fn smol_spawn() {
    smol::block_on(smol::spawn(test()));
}

#[test]
fn tokio_current_thread() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(test());
}

#[test]
fn tokio_multi_thread() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::spawn(test()).await.unwrap() });
}

#[test]
fn tokio_without_io_and_time() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(test());
}

#[cfg(feature = "tokio")]
#[test]
fn tokio_with_its_own_sockets() {
    use crate::runtime::TokioNet;
    let test = || patiently(scenario(Arc::new(TokioNet)));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(test());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::spawn(test()).await.unwrap() });
}

/// The socket that one executor opened serves the next, also when the first is gone.
#[test]
fn a_connection_moves_between_executors() {
    let server = Server::echo();
    let engine = engine();
    let request = || patiently(call(&engine, post(&server.url("/"), "{}")));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(request()).unwrap();
    drop(runtime);
    smol::block_on(request()).unwrap();
    pollster::block_on(request()).unwrap();
    assert_eq!(server.connections(), 1);
}
