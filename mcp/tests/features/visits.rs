//! Pages to be visited before a call is answered (REV-05).

use crate::check::{limit, on};
use crate::fault::clock::Clock;
use crate::fault::lines::{Peer, Server, normal, pair};
use crate::fault::run::everywhere;
use crate::fault::tool;
use crate::kit::{Log, seconds, tell};
use futures::future::join;
use serde_json::{Value, json};
use shared_fate_mcp::types::{ElicitForm, ElicitUrl, Elicited, Json};
use shared_fate_mcp::{Builder, CallOptions, Client, Delivery, Driver, Error, ErrorKind, Limits};

fn page(name: &str) -> Value {
    json!({ "mode": "url", "message": name, "url": format!("https://x/{name}"), "elicitationId": name })
}

fn refusal(id: &Value, elicitations: &Value) -> Value {
    let error = json!({ "code": -32042, "message": "visit these", "data": { "elicitations": elicitations } });
    json!({ "jsonrpc": "2.0", "id": id, "error": error })
}

/// A server that wants `elicitations` to be visited. It refuses the tool `first` once, and `always` always.
async fn connect(builder: Builder, elicitations: Value) -> (Client, Driver, Server) {
    let mut refused = 0;
    let (stdio, server) = pair(move |peer: &Peer, message: &Value| match tool(message) {
        "first" if refused == 0 => {
            refused += 1;
            peer.say(&refusal(&message["id"], &elicitations));
        }
        "always" => peer.say(&refusal(&message["id"], &elicitations)),
        _ => normal(peer, message),
    });
    let (client, driver) = builder.connect(stdio).await.unwrap();
    (client, driver, server)
}

/// A user who does with a page what its name says.
fn visiting(log: &Log, builder: Builder) -> Builder {
    let log = log.clone();
    builder.on_elicit_url(move |page: ElicitUrl| {
        log.push(format!("{} {:?}", page.url, page.id));
        async move {
            match &*page.message {
                "decline" => Elicited::Decline,
                "panic" => panic!("a bug"),
                "stuck" => std::future::pending().await,
                _ => Elicited::Accept(Json::new(&()).unwrap()),
            }
        }
    })
}

fn calls(server: &Server) -> usize {
    server.received().iter().filter(|it| it["method"] == "tools/call").count()
}

#[track_caller]
fn refused(result: Result<impl Sized, Error>) {
    let error = result.map(drop).unwrap_err();
    assert_eq!(error.rpc().unwrap().code(), -32042, "{error:#}");
    assert!(error.rpc().unwrap().data().unwrap().contains("elicitations"));
}

#[test]
fn rev_05_the_call_is_repeated_once_when_its_pages_were_visited() {
    everywhere(async |run| {
        let log = Log::default();
        let builder = visiting(&log, on(&Clock::new()));
        let (client, driver, server) = connect(builder, json!([page("a"), page("b")])).await;
        run.drive(driver, async {
            assert_eq!(client.call_tool("first", json!({ "x": 1 })).await.unwrap().text(), "fine");
            assert_eq!(log.lines(), ["https://x/a Some(\"a\")", "https://x/b Some(\"b\")"]);
            let received = server.received();
            let calls: Vec<_> = received.iter().filter(|it| tool(it) == "first").collect();
            assert_eq!((calls.len(), &calls[0]["params"]), (2, &calls[1]["params"]));
            assert_ne!(calls[0]["id"], calls[1]["id"]);
            refused(client.call_tool("always", ()).await);
            assert_eq!(log.lines().len(), 4, "each page is visited once more");
            client.close().await;
        })
        .await;
        assert_eq!(calls(&server), 4);
    });
}

#[test]
fn rev_05_sec_08_how_many_pages_are_to_be_visited_is_bounded() {
    everywhere(async |run| {
        for (count, fits) in [(2, true), (3, false)] {
            let (mut limits, log) = (Limits::default(), Log::default());
            limits.server_requests = 2;
            let pages: Value = ["a", "b", "c"][..count].iter().map(|name| page(name)).collect();
            let builder = visiting(&log, on(&Clock::new()).limits(limits));
            let (client, driver, _server) = connect(builder, pages).await;
            run.drive(driver, async {
                match client.call_tool("first", ()).await {
                    Ok(_) => assert!(fits),
                    Err(error) => {
                        assert!(!fits);
                        assert_eq!(limit(&error), ("requests for input at a time", 2));
                    }
                }
                assert_eq!(log.lines().len(), if fits { 2 } else { 0 });
                client.close().await;
            })
            .await;
        }
    });
}

#[test]
fn rev_05_who_refuses_a_page_gets_the_error() {
    everywhere(async |run| {
        let log = Log::default();
        let builder = visiting(&log, on(&Clock::new()));
        let (client, driver, server) = connect(builder, json!([page("decline"), page("b")])).await;
        run.drive(driver, async {
            refused(client.call_tool("first", ()).await);
            assert_eq!(log.lines().len(), 1, "nobody is asked about the second page");
            client.close().await;
        })
        .await;
        assert_eq!(calls(&server), 1);
        let (client, driver, server) =
            connect(visiting(&log, on(&Clock::new())), json!([page("panic")])).await;
        run.drive(driver, async {
            let error = client.call_tool("first", ()).await.unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Handler(_)), "{error:#}");
            client.close().await;
        })
        .await;
        assert_eq!(calls(&server), 1);
    });
}

#[test]
fn rev_05_where_nobody_visits_pages_it_is_an_error_like_others() {
    everywhere(async |run| {
        let forms = |_: ElicitForm| async { panic!("it is no form") };
        let (client, driver, server) =
            connect(on(&Clock::new()).on_elicit_form(forms), json!([page("a")])).await;
        run.drive(driver, async {
            refused(client.call_tool("first", ()).await);
            client.close().await;
        })
        .await;
        assert_eq!(calls(&server), 1);
        let odd = json!({ "message": "no mode", "requestedSchema": {} });
        for elicitations in [json!([]), json!("a"), json!([odd]), json!([page("a"), odd]), json!([7])] {
            let log = Log::default();
            let builder = visiting(&log, on(&Clock::new())).on_elicit_form(forms);
            let (client, driver, server) = connect(builder, elicitations).await;
            run.drive(driver, async {
                refused(client.call_tool("first", ()).await);
                client.close().await;
            })
            .await;
            assert_eq!((calls(&server), log.lines().len()), (1, 0));
        }
    });
}

#[test]
fn rev_05_to_04_the_calls_time_goes_over_the_visits() {
    everywhere(async |run| {
        let (clock, log) = (Clock::new(), Log::default());
        let builder = visiting(&log, on(&clock));
        let (client, driver, server) = connect(builder, json!([page("stuck")])).await;
        run.drive(driver, async {
            let hasty = client.with_options(CallOptions::timeout(seconds(5)));
            let (result, ()) = join(hasty.call_tool("first", ()), async {
                while log.lines().is_empty() {
                    smol::future::yield_now().await;
                }
                clock.pass(seconds(5)).await;
            })
            .await;
            let error = result.unwrap_err();
            let ErrorKind::Timeout(timeout) = error.kind() else { panic!("{error:#}") };
            assert_eq!((timeout.after(), timeout.is_total()), (seconds(5), true));
            assert_eq!(error.delivery(), Delivery::Answered);
            // The end of the session ends a visit, too.
            let (result, ()) = join(client.call_tool("always", ()), async {
                while log.lines().len() < 2 {
                    smol::future::yield_now().await;
                }
                client.close().await;
            })
            .await;
            assert!(result.unwrap_err().is_session_ended());
        })
        .await;
        assert_eq!(calls(&server), 2);
    });
}

#[test]
fn rev_05_that_a_visit_is_over_is_an_event() {
    everywhere(async |run| {
        let log = Log::default();
        let (client, driver, server) = connect(log.events(on(&Clock::new())), json!([])).await;
        run.drive(driver, async {
            for params in [json!({ "elicitationId": "unknown" }), json!({})] {
                server.peer.say(&tell("notifications/elicitation/complete", params));
            }
            client.ping().await.unwrap();
            assert_eq!(log.count("ElicitationComplete { id: \"unknown\" }"), 1, "{:?}", log.lines());
            assert_eq!(log.count("Notification"), 1, "{:?}", log.lines());
            client.close().await;
        })
        .await;
    });
}
