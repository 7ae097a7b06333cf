//! The lines that a user adds.

use crate::VARIABLE;
use crate::kit::{declare, uri};
use anyhow::Result;
use futures::{StreamExt, TryStreamExt, future};
use lapin::{Connection, ConnectionProperties, Event, Queue};
use shared_fate::{Session, SupervisedExt};
use shared_fate_integrations::lines;
use shared_fate_integrations::runtimes::Runtimes;
use shared_fate_integrations::servers;
use shared_fate_integrations::table::Table;

/// Before.
mod plain {
    use super::*;

    // user: lapin
    pub async fn queue(uri: &str) -> Result<Queue> {
        let connection = Connection::connect(uri, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        Ok(declare(&channel).await?)
    }
    // end
}

/// After.
mod session {
    use super::*;

    // user: lapin, session
    pub async fn queue(uri: &str) -> Result<Queue> {
        let connection = Connection::connect(uri, ConnectionProperties::default()).await?;
        let session = Session::new();
        let events = connection.events_listener().map(|event| match event {
            Event::Error(error) => Err(error),
            _ => Ok(()),
        });
        tokio::spawn(session.monitor(events.try_for_each(future::ok)));
        let channel = connection.create_channel().await?;
        Ok(declare(&channel).try_supervised(&session).await?)
    }
    // end
}

#[test]
fn a_user_adds_seven() {
    let mut table = Table::new("lapin: the lines that a user adds or changes", &["", "lines", ""]);
    let added = lines::added(include_str!("lines.rs"), "lapin", "lapin, session");
    assert!(added.len() <= 7, "{added:#?}");
    for line in &added {
        table.row(&[&"lapin, session", &added.len(), &line]);
    }
    println!("{table}");
}

#[test]
fn they_work() {
    let Some(server) = servers::address(VARIABLE) else { return };
    Runtimes::new().block_on(async {
        plain::queue(&uri(server)).await.unwrap();
        session::queue(&uri(server)).await.unwrap();
    });
}
