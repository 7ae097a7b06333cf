//! The lines that a user adds.

use crate::VARIABLE;
use crate::kit::{Acks, options, run};
use anyhow::Result;
use rumqttc::{AsyncClient, MqttOptions};
use shared_fate::{Session, SupervisedExt};
use shared_fate_integrations::broker::{self, Broker};
use shared_fate_integrations::lines;
use shared_fate_integrations::runtimes::Runtimes;
use shared_fate_integrations::servers;
use shared_fate_integrations::table::Table;

/// Before.
mod plain {
    use super::*;

    // user: rumqttc
    pub async fn publish(options: MqttOptions, text: &str) -> Result<()> {
        let (client, events) = AsyncClient::new(options, 10);
        let acks = Acks::default();
        tokio::spawn(run(events, acks.clone()));
        acks.publish(&client, text).await?;
        Ok(())
    }
    // end
}

/// After.
mod session {
    use super::*;

    // user: rumqttc, session
    pub async fn publish(options: MqttOptions, text: &str) -> Result<()> {
        let (client, events) = AsyncClient::new(options, 10);
        let acks = Acks::default();
        let session = Session::new();
        tokio::spawn(session.drive(run(events, acks.clone())));
        acks.publish(&client, text).try_supervised(&session).await?;
        Ok(())
    }
    // end
}

#[test]
fn a_user_adds_three() {
    let mut table = Table::new("rumqttc: the lines that a user adds or changes", &["", "lines", ""]);
    let added = lines::added(include_str!("lines.rs"), "rumqttc", "rumqttc, session");
    assert!(added.len() <= 3, "{added:#?}");
    for line in &added {
        table.row(&[&"rumqttc, session", &added.len(), &line]);
    }
    println!("{table}");
}

#[test]
fn they_work() {
    let Some(program) = servers::path(VARIABLE) else { return };
    let broker = Broker::start(&program, broker::mosquitto);
    Runtimes::new().block_on(async {
        plain::publish(options(broker.address()), "text").await.unwrap();
        session::publish(options(broker.address()), "text").await.unwrap();
    });
}
