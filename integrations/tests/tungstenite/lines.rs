//! The lines that a user adds.

use crate::kit::{Socket, open, serve};
use anyhow::Result;
use futures::stream::SplitStream;
use futures::{SinkExt, StreamExt};
use shared_fate::{Session, SupervisedExt};
use shared_fate_integrations::lines;
use shared_fate_integrations::runtimes::Runtimes;
use shared_fate_integrations::table::Table;
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex};
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::{Error, Message};

type Calls = Arc<Mutex<HashMap<String, oneshot::Sender<Message>>>>;

/// Before.
mod plain {
    use super::*;

    // user: plain
    async fn read(mut stream: SplitStream<Socket>, calls: Calls) -> Result<(), Error> {
        while let Some(message) = stream.next().await {
            match message? {
                Message::Text(text) => {
                    let (id, _) = text.split_once(' ').unwrap();
                    let call = calls.lock().unwrap().remove(id).unwrap();
                    _ = call.send(Message::Text(text));
                }
                Message::Close(frame) => Err(io::Error::other(format!("closed: {frame:?}")))?,
                _ => {}
            }
        }
        Ok(())
    }

    pub async fn call(socket: Socket, id: &str, text: &str) -> Result<Message> {
        let (mut sink, stream) = socket.split();
        let (outbox, mut queue) = mpsc::unbounded_channel();
        let calls = Calls::default();
        tokio::spawn(read(stream, calls.clone()));
        let write = async move {
            while let Some(message) = queue.recv().await {
                sink.send(message).await?;
            }
            Ok::<_, Error>(())
        };
        tokio::spawn(write);
        let (call, reply) = oneshot::channel();
        calls.lock().unwrap().insert(id.to_owned(), call);
        outbox.send(Message::text(format!("{id} {text}")))?;
        Ok(reply.await?)
    }
    // end
}

/// After.
mod session {
    use super::*;

    // user: session
    async fn read(mut stream: SplitStream<Socket>, calls: Calls) -> Result<(), Error> {
        while let Some(message) = stream.next().await {
            match message? {
                Message::Text(text) => {
                    let (id, _) = text.split_once(' ').unwrap();
                    let call = calls.lock().unwrap().remove(id).unwrap();
                    _ = call.send(Message::Text(text));
                }
                Message::Close(frame) => Err(io::Error::other(format!("closed: {frame:?}")))?,
                _ => {}
            }
        }
        Ok(())
    }

    pub async fn call(socket: Socket, id: &str, text: &str) -> Result<Message> {
        let (mut sink, stream) = socket.split();
        let (outbox, mut queue) = mpsc::unbounded_channel();
        let calls = Calls::default();
        let session = Session::new();
        tokio::spawn(session.drive(read(stream, calls.clone())));
        let write = async move {
            while let Some(message) = queue.recv().await {
                sink.send(message).await?;
            }
            Ok::<_, Error>(())
        };
        tokio::spawn(session.drive_map(write, |_| None));
        let (call, reply) = oneshot::channel();
        calls.lock().unwrap().insert(id.to_owned(), call);
        outbox.send(Message::text(format!("{id} {text}")))?;
        Ok(reply.try_supervised(&session).await?)
    }
    // end
}

#[test]
fn a_user_adds_four() {
    let added = lines::added(include_str!("lines.rs"), "plain", "session");
    let mut table = Table::new("tungstenite by hand: the lines that a user adds or changes", &["lines", ""]);
    for line in &added {
        table.row(&[&added.len(), &line]);
    }
    println!("{table}");
    assert!(added.len() <= 4, "{added:#?}");
}

#[test]
fn they_work() {
    let runtimes = Runtimes::new();
    runtimes.block_on(async {
        let mut server = runtimes.servers().spawn(serve()).await.unwrap();
        let address = server.address;
        runtimes.servers().spawn(async move {
            while let Some(arrived) = server.arrivals.recv().await {
                arrived.answer();
            }
        });
        let answer = Message::text("1 text");
        assert_eq!(plain::call(open(address).await, "1", "text").await.unwrap(), answer);
        assert_eq!(session::call(open(address).await, "1", "text").await.unwrap(), answer);
    });
}
