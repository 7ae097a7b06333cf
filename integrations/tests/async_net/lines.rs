//! The lines that a user adds, with an executor and without any.

use crate::kit::{Thread, serve};
use anyhow::Result;
use async_executor::Executor;
use async_net::TcpStream;
use futures::channel::oneshot;
use futures_lite::StreamExt;
use futures_lite::future::block_on;
use futures_lite::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use shared_fate::{Session, SupervisedExt};
use shared_fate_integrations::lines;
use shared_fate_integrations::runtimes::Runtimes;
use shared_fate_integrations::table::Table;
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};

type Calls = Arc<Mutex<VecDeque<oneshot::Sender<String>>>>;

async fn read(stream: TcpStream, calls: Calls) -> io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    while let Some(line) = lines.next().await {
        let line = line?;
        let call = calls.lock().unwrap().pop_front();
        _ = call.map(|call| call.send(line));
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

/// Before.
mod plain {
    use super::*;

    // user: plain
    pub async fn call(executor: &Executor<'_>, mut stream: TcpStream) -> Result<String> {
        let calls = Calls::default();
        let reader = read(stream.clone(), calls.clone());
        executor.spawn(reader).detach();
        let (call, reply) = oneshot::channel();
        calls.lock().unwrap().push_back(call);
        stream.write_all(b"call\n").await?;
        Ok(reply.await?)
    }
    // end
}

/// After.
mod session {
    use super::*;

    // user: session
    pub async fn call(executor: &Executor<'_>, mut stream: TcpStream) -> Result<String> {
        let calls = Calls::default();
        let session = Session::new();
        let reader = read(stream.clone(), calls.clone());
        executor.spawn(session.drive(reader)).detach();
        let (call, reply) = oneshot::channel();
        calls.lock().unwrap().push_back(call);
        stream.write_all(b"call\n").await?;
        Ok(reply.try_supervised(&session).await?)
    }
    // end
}

/// After, without a spawn.
mod inline {
    use super::*;

    // user: inline
    pub async fn call(mut stream: TcpStream) -> Result<String> {
        let calls = Calls::default();
        let session = Session::new();
        let reader = read(stream.clone(), calls.clone());
        let driver = session.drive(reader);
        let (call, reply) = oneshot::channel();
        calls.lock().unwrap().push_back(call);
        stream.write_all(b"call\n").await?;
        Ok(driver.run_until(reply.try_supervised(&session)).await?)
    }
    // end
}

#[test]
fn a_user_adds_three() {
    let heading = "lines over async-net: the lines that a user adds or changes";
    let mut table = Table::new(heading, &["", "lines", ""]);
    for (after, at_most) in [("session", 3), ("inline", 4)] {
        let added = lines::added(include_str!("lines.rs"), "plain", after);
        for line in &added {
            table.row(&[&after, &added.len(), &line]);
        }
        assert!(added.len() <= at_most, "{added:#?}");
    }
    println!("{table}");
}

#[test]
fn they_work() {
    let runtimes = Runtimes::new();
    let mut server = runtimes.block_on(runtimes.servers().spawn(serve())).unwrap();
    let address = server.address;
    runtimes.servers().spawn(async move {
        // A connection that ends behind its answer may end the session before the call looks for its reply.
        let mut kept = Vec::new();
        while let Some(arrived) = server.arrivals.recv().await {
            arrived.answer();
            kept.push(arrived);
        }
    });
    let thread = Thread::new();
    block_on(async {
        let stream = || async { TcpStream::connect(address).await.unwrap() };
        let executor = &thread.executor;
        assert_eq!(plain::call(executor, stream().await).await.unwrap(), "ok answer");
        assert_eq!(session::call(executor, stream().await).await.unwrap(), "ok answer");
        assert_eq!(inline::call(stream().await).await.unwrap(), "ok answer");
    });
    thread.end();
}
