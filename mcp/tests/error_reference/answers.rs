//! Answers that are no reply.

use crate::fault::answer;
use crate::fault::http::{Call, Server};
use crate::kit::{in_memory, legacy, over_a_pipe, over_http, reply};
use crate::page::Page;
use serde_json::{Value, json};
use shared_fate_mcp::error::HttpError;
use shared_fate_mcp::runtime::BoxFuture;
use shared_fate_mcp::{Client, Http, Limits, RpcError, TokenProvider};

struct OneToken;

impl TokenProvider for OneToken {
    fn token<'a>(
        &'a self,
        refused: Option<&'a HttpError>,
    ) -> BoxFuture<'a, Result<String, Box<dyn std::error::Error + Send + Sync>>> {
        Box::pin(std::future::ready(match refused {
            None => Ok("t0ken".to_owned()),
            Some(_) => Err("the keyring is locked".into()),
        }))
    }
}

pub(crate) async fn statuses(page: &mut Page) {
    page.section("HTTP statuses");
    page.add("400", &over_http(|call| call.respond("400 Bad Request", &[], "no such parameter")).await);
    page.add(
        "401",
        &over_http(|call| {
            let challenge = "WWW-Authenticate: Bearer resource_metadata=\"https://localhost/.well-known/x\"";
            call.respond("401 Unauthorized", &[challenge], "");
        })
        .await,
    );
    let refusing = Server::start(|call| match call.request.tool() {
        "broken" => call.respond("401 Unauthorized", &["WWW-Authenticate: Bearer"], "expired"),
        _ => call.normal(),
    });
    let http = Http::new(&refusing.url()).unwrap().token_provider(OneToken);
    let (client, driver) = legacy().connect(http).await.unwrap();
    let error = driver.run_until(client.call_tool("broken", ())).await.unwrap_err();
    page.add("401, and the caller's token provider has no other token", &error);
    page.add("403", &over_http(|call| call.respond("403 Forbidden", &[], "not for you")).await);
    let server = Server::start(|call| match (call.request.rpc(), call.request.tool()) {
        ("initialize", _) => {
            let answer = call.answer();
            call.json(&[], &answer);
        }
        (_, "broken") => call.respond("404 Not Found", &[], "no such page"),
        _ => call.normal(),
    });
    let (client, driver) = legacy().connect(Http::new(&server.url()).unwrap()).await.unwrap();
    page.add(
        "404, without a session id",
        &driver.run_until(client.call_tool("broken", ())).await.unwrap_err(),
    );
    let expired = over_http(|call| call.respond("404 Not Found", &[], "session not found")).await;
    page.add("404 to a request with a session id: the session ends", &expired);
    page.add("405", &over_http(|call| call.respond("405 Method Not Allowed", &[], "")).await);
    page.add(
        "429 with `Retry-After: 30`",
        &over_http(|call| {
            call.respond("429 Too Many Requests", &["Retry-After: 30"], "slow down");
        })
        .await,
    );
    page.add(
        "500 with a JSON-RPC error",
        &over_http(|call| {
            let error = json!({ "code": -32603, "message": "the database is locked" });
            let body = json!({ "jsonrpc": "2.0", "id": call.request.body["id"], "error": error });
            call.respond("500 X", &["Content-Type: application/json"], &body.to_string());
        })
        .await,
    );
    page.add(
        "500 with a web page",
        &over_http(|call| {
            call.respond("500 X", &["Content-Type: text/html"], "<html>\n<h1>Internal Server Error</h1>");
        })
        .await,
    );
    page.add("503", &over_http(|call| call.respond("503 X", &["Retry-After: 5"], "")).await);
    page.add(
        "Redirect to another origin",
        &over_http(|call| {
            call.respond("307 X", &["Location: http://elsewhere.invalid/mcp"], "");
        })
        .await,
    );
    page.add("Redirect without a target", &over_http(|call| call.respond("308 X", &[], "")).await);
    page.add(
        "302: not followed, it would make a GET of the POST",
        &over_http(|call| {
            call.respond("302 Found", &["Location: /elsewhere"], "");
        })
        .await,
    );
    page.add("Redirect loop", &over_http(|call| call.respond("307 X", &["Location: /mcp"], "")).await);
}

pub(crate) async fn replies(page: &mut Page) {
    page.section("Answers that are no reply");
    page.add("202", &over_http(|call| call.respond("202 Accepted", &[], "")).await);
    page.add("204", &over_http(|call| call.respond("204 No Content", &[], "")).await);
    page.add("200 with an empty body", &over_http(|call| call.json(&[], "")).await);
    page.add(
        "200 with a web page",
        &over_http(|call| {
            call.respond("200 OK", &["Content-Type: text/html; charset=utf-8"], "<html>");
        })
        .await,
    );
    page.add("200 without a content type", &over_http(|call| call.respond("200 OK", &[], "{}")).await);
    page.add("JSON that breaks off", &over_http(|call| call.json(&[], "{\"jsonrpc\":\"2.0\",")).await);
    page.add("JSON that is no message", &over_http(|call| call.json(&[], "[1]")).await);
    page.add(
        "The reply has a foreign id",
        &over_http(|call| {
            call.json(&[], "{\"jsonrpc\":\"2.0\",\"id\":4711,\"result\":{}}");
        })
        .await,
    );
    page.add(
        "The reply has both a result and an error",
        &over_http(|call| {
            let error = json!({ "code": 1, "message": "x" });
            let body =
                json!({ "jsonrpc": "2.0", "id": call.request.body["id"], "result": {}, "error": error });
            call.json(&[], &body.to_string());
        })
        .await,
    );
    page.add(
        "A notification in place of the reply",
        &over_http(|call| {
            call.json(&[], "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\"}");
        })
        .await,
    );
    page.add(
        "A compressed body",
        &over_http(|call| call.json(&["Content-Encoding: gzip"], "\u{1f}\u{8b}")).await,
    );
    page.add("The event stream ends before the reply", &over_http(Call::events).await);
    page.add(
        "It ends after an event with an id, and resuming it is refused",
        &over_http(|call| {
            call.events();
            call.write("id: 1\nretry: 1\ndata: \n\n");
        })
        .await,
    );
    page.add(
        "It breaks after an event with an id, and resuming it is refused",
        &over_http(|call| {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
            call.reset_after(&format!("{head}id: 1\nretry: 1\ndata: \n\n"));
        })
        .await,
    );
    let server = Server::start(|call| match (&*call.request.method, call.request.tool()) {
        ("GET", _) if call.request.header("last-event-id").is_some() => {
            call.respond("503 X", &[], "restarting");
        }
        (_, "broken") => {
            call.events();
            call.write("id: 1\nretry: 1\ndata: \n\n");
        }
        _ => call.normal(),
    });
    let mut once = Limits::default();
    once.resumptions = 1;
    let (client, driver) = legacy().limits(once).connect(Http::new(&server.url()).unwrap()).await.unwrap();
    let error = driver.run_until(client.call_tool("broken", ())).await.unwrap_err();
    page.add("It ends after an event with an id, and `Limits::resumptions` (1 here) did not help", &error);
    page.add(
        "An event that is no message",
        &over_http(|call| {
            call.events();
            call.event("hello");
        })
        .await,
    );
    page.add(
        "A JSON-RPC error",
        &over_http(|call| {
            let error =
                json!({ "code": -32602, "message": "no tool of that name", "data": { "name": "broken" } });
            let body = json!({ "jsonrpc": "2.0", "id": call.request.body["id"], "error": error });
            call.json(&[], &body.to_string());
        })
        .await,
    );
    page.add(
        "A result that does not have the method's form",
        &over_http(|call| {
            let body = reply(&call.request.body, &json!("a string"));
            call.json(&[], &body);
        })
        .await,
    );
    page.add(
        "A reply that is malformed, over a pipe",
        &over_a_pipe(|peer, message| {
            peer.say(&json!({ "jsonrpc": "2.0", "id": message["id"] }));
        })
        .await,
    );

    let cursor = in_memory(
        legacy(),
        |message| match message["method"].as_str() {
            Some("tools/list") => {
                let page = json!({ "tools": [], "nextCursor": "again" });
                Some(json!({ "jsonrpc": "2.0", "id": message["id"], "result": page }))
            }
            _ => answer(message),
        },
        async |client| client.list_tools().await.unwrap_err(),
    );
    page.add("The server repeats a page cursor", &cursor.await.unwrap());

    let modern = |result: Value| {
        move |message: &Value| {
            let result = match message["method"].as_str()? {
                "server/discover" => json!({ "supportedVersions": ["2026-07-28"], "capabilities": {} }),
                "tools/call" => result.clone(),
                _ => json!({}),
            };
            let id = message.get("id")?;
            Some(json!({ "jsonrpc": "2.0", "id": id, "result": result }))
        }
    };
    let asking = || {
        let request = json!({ "method": "sampling/createMessage", "params": { "messages": [] } });
        modern(json!({ "resultType": "input_required", "inputRequests": { "q": request } }))
    };
    let call = async |client: Client| client.call_tool("broken", ()).await.unwrap_err();
    let refusing =
        Client::builder().on_sampling(|_| std::future::ready(Err(RpcError::new(-1, "the user said no"))));
    page.add("The client's handler refuses", &in_memory(refusing, asking(), call).await.unwrap());
    let error = in_memory(Client::builder(), asking(), call).await.unwrap();
    page.add("The server asks for input that was not offered", &error);
    let answering = Client::builder().on_sampling(|_| {
        std::future::ready(Ok(shared_fate_mcp::types::CreateMessageResult::new("m", "yes")))
    });
    let error = in_memory(answering, asking(), call).await.unwrap();
    page.add("The server asks for input again and again", &error);
    let other = modern(json!({ "resultType": "riddle" }));
    page.add("A result of an unknown kind", &in_memory(Client::builder(), other, call).await.unwrap());
}
