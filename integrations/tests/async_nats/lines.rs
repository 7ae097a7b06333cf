//! The lines that a user adds.

use crate::VARIABLE;
use crate::kit::Responder;
use anyhow::Result;
use async_nats::{ConnectOptions, Event, Message};
use shared_fate::{Cause, Session, SupervisedExt};
use shared_fate_integrations::broker::{self, Broker};
use shared_fate_integrations::lines;
use shared_fate_integrations::runtimes::Runtimes;
use shared_fate_integrations::servers;
use shared_fate_integrations::table::Table;
use std::convert::Infallible;
use std::error::Error;
use std::future::{pending, ready};
use std::sync::{Arc, Mutex};

/// Before.
mod plain {
    use super::*;

    // user: async-nats
    pub async fn ask(server: &str) -> Result<Message> {
        let client = ConnectOptions::new().connect(server).await?;
        let question = client.request("subject", "question".into());
        Ok(question.await?)
    }
    // end
}

/// After, without the client's events.
mod canary {
    use super::*;

    // user: async-nats, canary
    pub async fn ask(server: &str) -> Result<Message> {
        let client = ConnectOptions::new().connect(server).await?;
        let session = Session::<Infallible>::new();
        tokio::spawn(session.drive(pending()));
        let question = client.request("subject", "question".into());
        Ok(question.try_supervised(&session).await?)
    }
    // end
}

/// After. The client's task has the driver.
mod callback {
    use super::*;

    // user: async-nats, callback
    pub async fn ask(server: &str) -> Result<Message> {
        let session = Session::<Infallible>::new();
        let driver = session.drive(pending());
        let options = ConnectOptions::new().reconnect_to_server_callback(move |_, _| {
            _ = &driver;
            ready(None)
        });
        let client = options.connect(server).await?;
        let question = client.request("subject", "question".into());
        Ok(question.try_supervised(&session).await?)
    }
    // end
}

/// After, with a session for each connection.
mod cell {
    use super::*;

    // user: async-nats, cell
    pub async fn ask(server: &str) -> Result<Message> {
        let session = Session::<dyn Error + Send + Sync>::new();
        let driver = session.drive_map(pending::<()>(), |()| None);
        let cell = Arc::new(Mutex::new(session.child()));
        let current = Arc::clone(&cell);
        let options = ConnectOptions::new().reconnect_to_server_callback(move |_, _| {
            _ = &driver;
            ready(None)
        });
        let options = options.event_callback(move |event| {
            if let Event::Disconnected | Event::ClientError(_) = event {
                let ended = std::mem::replace(&mut *cell.lock().unwrap(), session.child());
                ended.end(Cause::any(event.to_string()));
            }
            ready(())
        });
        let client = options.connect(server).await?;
        let connection = current.lock().unwrap().clone();
        let question = client.request("subject", "question".into());
        Ok(question.try_supervised(&connection).await?)
    }
    // end
}

#[test]
fn what_a_user_adds() {
    let mut table = Table::new("async-nats: the lines that a user adds or changes", &["", "lines", ""]);
    for (after, at_most) in [("async-nats, canary", 3), ("async-nats, callback", 8), ("async-nats, cell", 20)]
    {
        let added = lines::added(include_str!("lines.rs"), "async-nats", after);
        assert!(added.len() <= at_most, "{added:#?}");
        for line in &added {
            table.row(&[&after, &added.len(), &line]);
        }
    }
    println!("{table}");
}

#[test]
fn they_work() {
    let Some(program) = servers::path(VARIABLE) else { return };
    let broker = Broker::start(&program, broker::nats);
    let runtimes = Runtimes::new();
    runtimes.block_on(async {
        let address = broker.address();
        let mut responder = runtimes.servers().spawn(Responder::connect(address)).await.unwrap();
        let server = address.to_string();
        let all = async {
            plain::ask(&server).await.unwrap();
            canary::ask(&server).await.unwrap();
            callback::ask(&server).await.unwrap();
            cell::ask(&server).await.unwrap();
        };
        tokio::select! {
            () = all => {}
            () = responder.answer_all() => unreachable!("it goes on"),
        }
    });
}
