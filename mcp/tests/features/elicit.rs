//! Elicitation (REV-03, REV-04, INI-15).

use crate::check::on;
use crate::fault::clock::Clock;
use crate::fault::lines::{Server, normal, pair};
use crate::fault::run::{everywhere, once};
use crate::kit::{ask, is_answer};
use serde_json::{Map, Value, json};
use shared_fate_mcp::types::{ElicitForm, ElicitUrl, Elicited, Json};
use shared_fate_mcp::{Builder, Client, Driver};
use std::thread;

async fn connect(builder: Builder) -> (Client, Driver, Server) {
    let (stdio, server) = pair(normal);
    let (client, driver) = builder.connect(stdio).await.unwrap();
    (client, driver, server)
}

async fn elicited(server: &Server, id: &str, params: Value) -> Value {
    server.peer.say(&ask(id, "elicitation/create", params));
    server.arrival(|message| is_answer(message, id)).await
}

fn forms(builder: Builder) -> Builder {
    builder.on_elicit_form(async |form: ElicitForm| match &*form.message {
        "accept" => Elicited::Accept(Json::new(&json!({ "name": "me", "extra": [1] })).unwrap()),
        "nothing" => Elicited::Accept(Json::new(&json!({})).unwrap()),
        "list" => Elicited::Accept(Json::new(&json!([1])).unwrap()),
        "decline" => Elicited::Decline,
        _ => Elicited::Cancel,
    })
}

fn form(message: &str) -> Value {
    json!({ "message": message, "requestedSchema": { "type": "object", "properties": {
        "name": { "type": "string", "default": "nobody" },
        "age": { "type": "integer", "default": 30 },
        "score": { "type": "number", "default": 9.5 },
        "state": { "type": "string", "enum": ["on", "off"], "default": "off" },
        "sure": { "type": "boolean", "default": false },
        "note": { "type": "string" },
    } } })
}

#[test]
fn rev_03_rev_04_forms_get_their_defaults() {
    everywhere(async |run| {
        let (client, driver, server) = connect(forms(on(&Clock::new()))).await;
        run.drive(driver, async {
            assert_eq!(
                server.received()[0]["params"]["capabilities"],
                json!({ "elicitation": { "form": {} } })
            );
            let answer = elicited(&server, "1", form("accept")).await;
            assert_eq!(
                answer["result"],
                json!({ "action": "accept", "content": {
                "name": "me", "extra": [1], "age": 30, "score": 9.5, "state": "off", "sure": false,
            } })
            );
            let answer = elicited(&server, "2", form("nothing")).await;
            assert_eq!(answer["result"]["content"]["name"], "nobody");
            assert_eq!(answer["result"]["content"].get("note"), None);
            let mut explicit = form("decline");
            explicit["mode"] = json!("form");
            let answer = elicited(&server, "3", explicit).await;
            assert_eq!(answer["result"], json!({ "action": "decline" }));
            let answer = elicited(&server, "4", form("cancel")).await;
            assert_eq!(answer["result"], json!({ "action": "cancel" }));
            client.close().await;
        })
        .await;
    });
}

#[test]
fn rev_03_a_mode_that_was_not_declared_is_refused() {
    everywhere(async |run| {
        let url = json!({ "mode": "url", "message": "go", "url": "https://x/", "elicitationId": "e" });
        let (client, driver, server) = connect(forms(on(&Clock::new()))).await;
        run.drive(driver, async {
            for (id, params) in [
                ("1", url.clone()),
                ("2", json!({ "mode": "telepathy", "message": "" })),
                ("3", json!({ "message": "no schema" })),
            ] {
                assert_eq!(elicited(&server, id, params).await["error"]["code"], -32602, "{id}");
            }
            // What the client's own handler does wrong is not the server's fault.
            assert_eq!(elicited(&server, "4", form("list")).await["error"]["code"], -32603);
            server.peer.say(&json!({ "jsonrpc": "2.0", "id": "5", "method": "elicitation/create" }));
            let answer = server.arrival(|message| is_answer(message, "5")).await;
            assert_eq!(answer["error"]["code"], -32602);
            client.close().await;
        })
        .await;
        let urls = on(&Clock::new()).on_elicit_url(async |_: ElicitUrl| Elicited::Cancel);
        let (client, driver, server) = connect(urls).await;
        run.drive(driver, async {
            assert_eq!(
                server.received()[0]["params"]["capabilities"],
                json!({ "elicitation": { "url": {} } })
            );
            assert_eq!(elicited(&server, "1", form("accept")).await["error"]["code"], -32602);
            assert_eq!(elicited(&server, "2", url.clone()).await["result"], json!({ "action": "cancel" }));
            client.close().await;
        })
        .await;
    });
}

#[test]
fn ini_15_rev_03_both_modes_side_by_side() {
    everywhere(async |run| {
        let builder = forms(on(&Clock::new())).on_elicit_url(async |page: ElicitUrl| {
            assert_eq!((&*page.url, page.id.as_deref()), ("https://x/?a=b", Some("e")));
            Elicited::Accept(Json::new(&json!({ "not": "sent" })).unwrap())
        });
        let (client, driver, server) = connect(builder).await;
        run.drive(driver, async {
            let capabilities = &server.received()[0]["params"]["capabilities"];
            assert_eq!(*capabilities, json!({ "elicitation": { "form": {}, "url": {} } }));
            let url =
                json!({ "mode": "url", "message": "go", "url": "https://x/?a=b", "elicitationId": "e" });
            assert_eq!(elicited(&server, "1", url).await["result"], json!({ "action": "accept" }));
            assert_eq!(
                elicited(&server, "2", form("decline")).await["result"],
                json!({ "action": "decline" })
            );
            client.close().await;
        })
        .await;
    });
}

/// Looking for each field among all the others would take minutes.
#[test]
fn rev_04_many_fields_take_no_longer_than_they_are() {
    once(async |run| {
        let (client, driver, server) = connect(forms(on(&Clock::new()))).await;
        run.drive(driver, async {
            let fields: Map<_, _> = (0..100_000).map(|n| (n.to_string(), json!({ "default": n }))).collect();
            let form = json!({ "message": "nothing", "requestedSchema": { "properties": fields } });
            let peer = server.peer.clone();
            // The request is longer than the socket takes in one go.
            let asking = thread::spawn(move || peer.say(&ask("1", "elicitation/create", form)));
            let answer = server.arrival(|message| is_answer(message, "1")).await;
            asking.join().unwrap();
            assert_eq!(answer["result"]["content"].as_object().unwrap().len(), 100_000);
            client.close().await;
        })
        .await;
    });
}
