//! Many calls at once.

use crate::check::{cause, on};
use crate::fault::clock::Clock;
use crate::fault::http;
use crate::fault::lines::{normal, process};
use crate::fault::run::everywhere;
use crate::fault::tool;
use futures::future::{join, join_all};
use shared_fate_mcp::{Delivery, ErrorKind};

#[test]
fn a_thousand_calls_share_the_fate_of_a_killed_child() {
    everywhere(async |run| {
        let (stdio, server) = process(normal);
        let (client, driver) = on(&Clock::new()).connect(stdio).await.unwrap();
        let process = server.process().await;
        run.drive(driver, async {
            let calls = join_all((0..1000).map(|_| client.call_tool("held", ())));
            let killing = async {
                for _ in 0..1000 {
                    server.arrival(|message| tool(message) == "held").await;
                }
                assert_eq!(client.pending_calls(), 1000);
                process.kill();
            };
            let (results, ()) = join(calls, killing).await;
            for result in results {
                let error = result.unwrap_err();
                let ErrorKind::ServerExited(exited) = cause(&error).kind() else { panic!("{error:#}") };
                assert_eq!(exited.status().unwrap().signal(), cfg!(unix).then_some(9));
                assert_eq!(error.delivery(), Delivery::MaybeSent);
            }
            assert_eq!(client.pending_calls(), 0);
            client.close().await;
            process.gone().await;
        })
        .await;
    });
}

#[test]
fn a_hundred_calls_over_http_meet_a_session_that_is_gone() {
    everywhere(async |run| {
        let server = http::Server::start(|call| match call.request.rpc() {
            "ping" => call.respond("404 Not Found", &[], ""),
            _ => call.normal(),
        });
        let (client, driver) = on(&Clock::new()).connect(server.transport()).await.unwrap();
        run.drive(driver, async {
            let results = join_all((0..100).map(|_| client.ping())).await;
            for result in results {
                let error = result.unwrap_err();
                assert!(matches!(cause(&error).kind(), ErrorKind::SessionExpired(_)));
            }
            assert_eq!(client.pending_calls(), 0);
            client.close().await;
            server.deserted().await;
        })
        .await;
    });
}
