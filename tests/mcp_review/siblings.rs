//! Calls that are given up, and what that does to the others.

use crate::fault::http::Server;
use crate::fault::run::once;
use crate::kit::http;
use shared_fate::mcp::{Client, Mode};

#[test]
#[ignore = "fails: the server keeps the session that it gave"]
fn ini_11_ses_08_a_handshake_that_fails_deletes_the_session_it_was_given() {
    once(async |_| {
        let server = Server::start(|call| match call.request.rpc() {
            "notifications/initialized" => call.respond("503 Busy", &[], ""),
            _ => call.normal(),
        });
        let builder = Client::builder().mode(Mode::Legacy);
        builder.connect(http(&server)).await.unwrap_err();
        server.deserted().await;
        assert!(server.requests().iter().any(|request| request.method == "DELETE"));
    });
}
