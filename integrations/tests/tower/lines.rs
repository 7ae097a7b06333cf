//! The lines that a user adds.

use crate::kit::{Fate, Gated, gated};
use anyhow::Result;
use shared_fate::{Session, SupervisedExt};
use shared_fate_integrations::lines;
use shared_fate_integrations::runtimes::Runtimes;
use shared_fate_integrations::table::Table;
use std::io;
use tower::ServiceExt;
use tower::buffer::Buffer;

/// Before.
mod plain {
    use super::*;

    // user: plain
    pub async fn call(service: Gated, request: &'static str) -> Result<&'static str> {
        let (buffer, worker) = Buffer::pair(service, 8);
        tokio::spawn(worker);
        let call = async { buffer.oneshot(request).await.map_err(io::Error::other) };
        Ok(call.await?)
    }
    // end
}

/// After.
mod session {
    use super::*;

    // user: session
    pub async fn call(service: Gated, request: &'static str) -> Result<&'static str> {
        let (buffer, worker) = Buffer::pair(service, 8);
        let session = Session::<io::Error>::new();
        tokio::spawn(session.drive_map(worker, |()| None));
        let call = async { buffer.oneshot(request).await.map_err(io::Error::other) };
        Ok(call.try_supervised(&session).await?)
    }
    // end
}

#[test]
fn a_user_adds_three() {
    let added = lines::added(include_str!("lines.rs"), "plain", "session");
    let mut table = Table::new("tower, Buffer: the lines that a user adds or changes", &["lines", ""]);
    for line in &added {
        table.row(&[&added.len(), &line]);
    }
    println!("{table}");
    assert!(added.len() <= 3, "{added:#?}");
}

#[test]
fn they_work() {
    let ready = || {
        let (service, fate, answer) = gated();
        fate.send(Fate::Ready).unwrap();
        answer.send_replace(true);
        service
    };
    Runtimes::new().block_on(async {
        assert_eq!(plain::call(ready(), "request").await.unwrap(), "request");
        assert_eq!(session::call(ready(), "request").await.unwrap(), "request");
    });
}
