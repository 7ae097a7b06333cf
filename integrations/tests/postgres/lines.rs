//! The lines that a user adds.

use crate::kit::SERVER;
use anyhow::Result;
use shared_fate::{Session, SupervisedExt};
use shared_fate_integrations::runtimes::Runtimes;
use shared_fate_integrations::table::Table;
use shared_fate_integrations::{lines, servers};
use tokio_postgres::{Error, NoTls, Row};

/// Before.
mod plain {
    use super::*;

    // user: plain
    pub async fn rows(config: &str, sql: &str) -> Result<Vec<Row>> {
        let (client, connection) = tokio_postgres::connect(config, NoTls).await?;
        tokio::spawn(connection);
        let query = client.query(sql, &[]);
        Ok(query.await?)
    }
    // end
}

/// After.
mod session {
    use super::*;

    // user: session
    pub async fn rows(config: &str, sql: &str) -> Result<Vec<Row>> {
        let (client, connection) = tokio_postgres::connect(config, NoTls).await?;
        let session = Session::new();
        tokio::spawn(session.monitor(connection));
        let query = client.query(sql, &[]);
        Ok(query.try_supervised_if(&session, Error::is_closed).await?)
    }
    // end
}

#[test]
fn a_user_adds_three() {
    let mut table = Table::new("tokio-postgres: the lines that a user adds or changes", &["lines", ""]);
    let added = lines::added(include_str!("lines.rs"), "plain", "session");
    for line in &added {
        table.row(&[&added.len(), &line]);
    }
    println!("{table}");
    assert!(added.len() <= 3, "{added:#?}");
}

#[test]
fn they_work() {
    let Some(server) = servers::address(SERVER) else { return };
    let config = format!("host={} port={} user=postgres", server.ip(), server.port());
    Runtimes::new().block_on(async {
        assert_eq!(plain::rows(&config, "SELECT 1").await.unwrap().len(), 1);
        assert_eq!(session::rows(&config, "SELECT 1").await.unwrap().len(), 1);
        // What the server says to a query is that query's own.
        let error = session::rows(&config, "SELECT nonsense").await.unwrap_err();
        let said = error.chain().last().unwrap().to_string();
        assert_eq!(said, "ERROR: column \"nonsense\" does not exist");
    });
}
