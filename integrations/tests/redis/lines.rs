//! The lines that a user adds.

use crate::kit::SERVER;
use anyhow::Result;
use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, AsyncConnectionConfig as Config, Client};
use shared_fate::io::Tap;
use shared_fate::{Cause, Session, SupervisedExt};
use shared_fate_integrations::runtimes::Runtimes;
use shared_fate_integrations::table::Table;
use shared_fate_integrations::{lines, servers};
use std::io;
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// Before.
mod plain {
    use super::*;

    // user: plain
    pub async fn get(at: SocketAddr, config: Config, key: &str) -> Result<Option<String>> {
        let client = Client::open(format!("redis://{at}"))?;
        let mut redis = client.get_multiplexed_async_connection_with_config(&config).await?;
        let value = redis.get(key);
        Ok(value.await?)
    }
    // end
}

/// After.
mod session {
    use super::*;

    // user: session and tap
    pub async fn get(at: SocketAddr, config: Config, key: &str) -> Result<Option<String>> {
        let client = Client::open(format!("redis://{at}"))?;
        let session = Session::<io::Error>::new();
        let io = Tap::new(TcpStream::connect(at).await?, session.clone()).report_eof();
        let settings = client.get_connection_info().redis_settings();
        let (mut redis, driver) = MultiplexedConnection::new_with_config(settings, io, config).await?;
        tokio::spawn(session.drive_map(driver, |()| Some(Cause::Finished)));
        let value = redis.get(key);
        Ok(value.try_supervised(&session).await?)
    }
    // end
}

#[test]
fn a_user_adds_six() {
    let mut table = Table::new("redis: the lines that a user adds or changes", &["lines", ""]);
    let added = lines::added(include_str!("lines.rs"), "plain", "session and tap");
    for line in &added {
        table.row(&[&added.len(), &line]);
    }
    println!("{table}");
    assert!(added.len() <= 6, "{added:#?}");
}

#[test]
fn they_work() {
    let Some(server) = servers::address(SERVER) else { return };
    let client = Client::open(format!("redis://{server}")).unwrap();
    Runtimes::new().block_on(async {
        assert_eq!(plain::get(server, Config::new(), "nothing").await.unwrap(), None);
        assert_eq!(session::get(server, Config::new(), "nothing").await.unwrap(), None);
        // What the server says to a command is that command's own.
        let mut redis = client.get_multiplexed_async_connection().await.unwrap();
        redis.lpush::<_, _, ()>("list", 1).await.unwrap();
        let error = session::get(server, Config::new(), "list").await.unwrap_err();
        assert!(error.chain().any(|error| error.to_string().contains("WRONGTYPE")), "{error:#}");
    });
}
