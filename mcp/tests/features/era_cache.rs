//! What a client remembers of servers (ERA-01), and how it corrects a memory that has become wrong.

use crate::check::{on, story};
use crate::fault::clock::Clock;
use crate::fault::http::{Call, Server};
use crate::fault::run::{Run, everywhere, once};
use crate::kit::{Feed, http, refusal};
use crate::modern::{DISCOVER, dual, modern};
use crate::old::old;
use crate::script::script;
use serde_json::{Value, json};
use shared_fate_mcp::{Builder, Error, Http, Limits, Mode, Revision, ServerKindCache, Sse};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

const INITIALIZE: &str = "initialize";

fn auto() -> Builder {
    on(&Clock::new()).mode(Mode::Auto)
}

/// What a server does, until the test changes it.
type Manner = fn(&mut Call);

#[derive(Clone)]
struct Manners(Arc<Mutex<Manner>>);

impl Manners {
    fn change(&self, manner: Manner) {
        *self.0.lock().unwrap() = manner;
    }
}

/// A server whose manner can be changed.
fn server(manner: Manner) -> (Server, Manners) {
    let manners = Manners(Arc::new(Mutex::new(manner)));
    let present = manners.clone();
    let server = Server::start(move |call| {
        let manner = *present.0.lock().unwrap();
        manner(call);
    });
    (server, manners)
}

fn legacy(call: &mut Call) {
    match call.request.rpc() {
        DISCOVER => call.respond("404 Not Found", &[], "what?"),
        _ => call.normal(),
    }
}

/// Connects and closes. Which of the two methods the server was asked, in order, and the revision or the error.
async fn asked(run: Run, builder: &Builder, server: &Server) -> (Vec<String>, Result<Revision, Error>) {
    let before = server.requests().len();
    let connected = builder.clone().connect(http(server).legacy_fallback(false)).await;
    let revision = match connected {
        Ok((client, driver)) => {
            run.drive(driver, async { client.close().await }).await;
            Ok(client.revision())
        }
        Err(error) => Err(error),
    };
    let methods = server.requests().split_off(before).into_iter().map(|it| it.rpc().to_owned());
    (methods.filter(|it| it == DISCOVER || it == INITIALIZE).collect(), revision)
}

async fn expect(run: Run, builder: &Builder, server: &Server, methods: &[&str], revision: Revision) {
    let (found, agreed) = asked(run, builder, server).await;
    assert_eq!(found, methods);
    assert_eq!(agreed.unwrap(), revision);
}

#[test]
fn era_01_a_server_that_wants_a_handshake_is_not_asked_again() {
    everywhere(async |run| {
        let ((one, _), (two, _)) = (server(legacy), server(legacy));
        let builder = auto();
        let clone = builder.clone().identity("another", "1");
        for server in [&one, &two] {
            expect(run, &builder, server, &[DISCOVER, INITIALIZE], Revision::LATEST_WITH_HANDSHAKE).await;
            expect(run, &clone, server, &[INITIALIZE], Revision::LATEST_WITH_HANDSHAKE).await;
        }
        // Another path of the same origin is not asked again: the kind is a property of the server.
        let elsewhere = Http::new(&format!("http://{}/elsewhere", one.address())).unwrap();
        let (client, driver) = builder.connect(elsewhere).await.unwrap();
        run.drive(driver, async { client.close().await }).await;
        assert_eq!(one.requests().iter().filter(|it| it.rpc() == DISCOVER).count(), 1);
        // Builders that are no clones share nothing, unless they are given the same cache.
        expect(run, &auto(), &one, &[DISCOVER, INITIALIZE], Revision::LATEST_WITH_HANDSHAKE).await;
        let cache = ServerKindCache::new();
        expect(
            run,
            &auto().server_kinds(cache.clone()),
            &one,
            &[DISCOVER, INITIALIZE],
            Revision::LATEST_WITH_HANDSHAKE,
        )
        .await;
        expect(
            run,
            &auto().server_kinds(cache.clone()),
            &one,
            &[INITIALIZE],
            Revision::LATEST_WITH_HANDSHAKE,
        )
        .await;
        cache.clear();
        expect(
            run,
            &auto().server_kinds(cache),
            &one,
            &[DISCOVER, INITIALIZE],
            Revision::LATEST_WITH_HANDSHAKE,
        )
        .await;
    });
}

#[test]
fn era_01_a_new_kind_of_server_where_an_old_one_was_is_found_out() {
    static CODE: AtomicI64 = AtomicI64::new(0);
    fn only_modern(call: &mut Call) {
        if call.request.rpc() != INITIALIZE {
            return modern(call);
        }
        let code = CODE.load(Ordering::SeqCst);
        let body = refusal(&call.request.body["id"], code, "no handshakes").to_string();
        let status = if code == -32601 { "404 Not Found" } else { "400 Bad Request" };
        call.respond(status, &["Content-Type: application/json"], &body);
    }
    everywhere(async |run| {
        for code in [-32020, -32021, -32022, -32601, -32602] {
            CODE.store(code, Ordering::SeqCst);
            let (server, manners) = server(legacy);
            let builder = auto();
            expect(run, &builder, &server, &[DISCOVER, INITIALIZE], Revision::LATEST_WITH_HANDSHAKE).await;
            manners.change(only_modern);
            expect(run, &builder, &server, &[INITIALIZE, DISCOVER], Revision::LATEST).await;
            expect(run, &builder, &server, &[DISCOVER], Revision::LATEST).await;
        }
    });
}

#[test]
fn era_01_old_09_a_new_kind_of_server_is_found_out_with_the_fallback_to_the_older_transport_too() {
    everywhere(async |run| {
        let (server, manners) = server(legacy);
        let builder = auto();
        expect(run, &builder, &server, &[DISCOVER, INITIALIZE], Revision::LATEST_WITH_HANDSHAKE).await;
        manners.change(|call| match (&*call.request.method, call.request.rpc()) {
            ("GET", _) => call.respond("405 Method Not Allowed", &[], ""),
            (_, INITIALIZE) => call.respond("404 Not Found", &[], "no such method"),
            _ => modern(call),
        });
        let (client, driver) = builder.connect(http(&server)).await.unwrap();
        assert_eq!(client.revision(), Revision::LATEST);
        run.drive(driver, async {
            client.call_tool("echo", ()).await.unwrap();
            client.close().await;
        })
        .await;
    });
}

#[test]
fn era_01_an_old_kind_of_server_where_a_new_one_was_is_asked_twice() {
    static ODD: AtomicBool = AtomicBool::new(false);
    everywhere(async |run| {
        let (server, manners) = server(modern);
        let builder = auto();
        expect(run, &builder, &server, &[DISCOVER], Revision::LATEST).await;
        // One odd answer makes no other server of it.
        ODD.store(true, Ordering::SeqCst);
        manners.change(|call| match ODD.swap(false, Ordering::SeqCst) {
            true => call.respond("404 Not Found", &[], "being deployed"),
            false => dual(call),
        });
        expect(run, &builder, &server, &[DISCOVER, DISCOVER], Revision::LATEST).await;
        manners.change(legacy);
        expect(run, &builder, &server, &[DISCOVER, DISCOVER, INITIALIZE], Revision::LATEST_WITH_HANDSHAKE)
            .await;
        expect(run, &builder, &server, &[INITIALIZE], Revision::LATEST_WITH_HANDSHAKE).await;
    });
}

#[test]
fn era_01_what_was_wrong_is_forgotten_though_nothing_better_is_found_out() {
    everywhere(async |run| {
        for (manner, methods) in [(legacy as Manner, [INITIALIZE, DISCOVER]), (modern, [DISCOVER, DISCOVER])]
        {
            static ASKED: AtomicBool = AtomicBool::new(false);
            let (server, manners) = server(manner);
            let builder = auto();
            asked(run, &builder, &server).await.1.unwrap();
            ASKED.store(false, Ordering::SeqCst);
            manners.change(|call| match ASKED.swap(true, Ordering::SeqCst) {
                false => call.respond("404 Not Found", &[], "something else"),
                true => call.respond("503 Service Unavailable", &[], "being deployed"),
            });
            let (found, result) = asked(run, &builder, &server).await;
            assert_eq!(found, methods);
            assert_eq!(result.unwrap_err().http().unwrap().status(), 503);
            // The server is asked, and not taken for what it was.
            manners.change(dual);
            expect(run, &builder, &server, &[DISCOVER], Revision::LATEST).await;
            manners.change(legacy);
            expect(
                run,
                &builder,
                &server,
                &[DISCOVER, DISCOVER, INITIALIZE],
                Revision::LATEST_WITH_HANDSHAKE,
            )
            .await;
        }
    });
}

#[test]
fn era_01_13_what_says_nothing_changes_nothing() {
    once(async |run| {
        for status in ["401 X", "403 X", "408 X", "425 X", "429 X", "204 X", "500 X", "503 X", "302 X"] {
            static STATUS: Mutex<&str> = Mutex::new("");
            *STATUS.lock().unwrap() = status;
            let refuses: Manner = |call| call.respond(*STATUS.lock().unwrap(), &[], "not now");
            for (manner, methods, revision) in [
                (legacy as Manner, [INITIALIZE], Revision::LATEST_WITH_HANDSHAKE),
                (modern, [DISCOVER], Revision::LATEST),
            ] {
                // A cache for each: the second server may get the port, and so the origin, of the first.
                let builder = auto();
                let (server, manners) = server(manner);
                asked(run, &builder, &server).await.1.unwrap();
                manners.change(refuses);
                let (found, result) = asked(run, &builder, &server).await;
                assert_eq!(found, methods, "{status}");
                let error = result.unwrap_err();
                assert!(story(&error).contains(&status[..3]), "{error:#}");
                manners.change(manner);
                expect(run, &builder, &server, &methods, revision).await;
            }
        }
    });
}

#[test]
fn era_01_ini_12_a_handshake_that_fails_at_its_end_is_no_other_kind_of_server() {
    once(async |run| {
        let (server, manners) = server(legacy);
        let builder = auto();
        asked(run, &builder, &server).await.1.unwrap();
        manners.change(|call| match call.request.rpc() {
            "notifications/initialized" => call.respond("404 Not Found", &[], "which session?"),
            _ => dual(call),
        });
        let (found, result) = asked(run, &builder, &server).await;
        assert_eq!(found, [INITIALIZE]);
        assert_eq!(result.unwrap_err().http().unwrap().status(), 404);
    });
}

#[test]
fn era_01_an_offer_that_the_server_named_is_remembered() {
    once(async |run| {
        let (server, _) = server(|call| match call.request.rpc() {
            DISCOVER => {
                let mut refusal = refusal(&call.request.body["id"], -32022, "Unsupported protocol version");
                refusal["error"]["data"] = json!({ "supported": ["2025-03-26"] });
                call.respond("400 Bad Request", &["Content-Type: application/json"], &refusal.to_string());
            }
            _ => call.normal(),
        });
        let builder = auto();
        expect(run, &builder, &server, &[DISCOVER, INITIALIZE], Revision::LATEST_WITH_HANDSHAKE).await;
        expect(run, &builder, &server, &[INITIALIZE], Revision::LATEST_WITH_HANDSHAKE).await;
        let requests = server.requests();
        let offers: Vec<&Value> = requests
            .iter()
            .filter(|it| it.rpc() == INITIALIZE)
            .map(|it| &it.body["params"]["protocolVersion"])
            .collect();
        assert_eq!(offers, ["2025-03-26", "2025-03-26"]);
    });
}

#[test]
fn era_01_a_client_that_does_not_ask_neither_adds_to_the_cache_nor_uses_it() {
    once(async |run| {
        let (server, _) = server(dual);
        let cache = ServerKindCache::new();
        let mode = |mode| on(&Clock::new()).mode(mode).server_kinds(cache.clone());
        expect(run, &mode(Mode::Legacy), &server, &[INITIALIZE], Revision::LATEST_WITH_HANDSHAKE).await;
        expect(run, &mode(Mode::Auto), &server, &[DISCOVER], Revision::LATEST).await;
        expect(run, &mode(Mode::Legacy), &server, &[INITIALIZE], Revision::LATEST_WITH_HANDSHAKE).await;
        expect(run, &mode(Mode::Auto), &server, &[DISCOVER], Revision::LATEST).await;
        assert_eq!(format!("{cache:?}"), "ServerKindCache { origins: 1 }");
    });
}

#[test]
fn sec_08_limits_server_kinds_at_the_limit_and_one_past_it() {
    once(async |run| {
        let servers: Vec<_> = (0..3).map(|_| server(legacy).0).collect();
        let mut limits = Limits::default();
        limits.server_kinds = 2;
        let builder = auto().limits(limits.clone());
        let known = [INITIALIZE];
        let unknown = [DISCOVER, INITIALIZE];
        let order: [(usize, &[&str]); 8] = [
            (0, &unknown),
            (1, &unknown),
            (0, &known),
            (1, &known),
            (0, &known),
            // The server whose last connection is the oldest makes room.
            (2, &unknown),
            (0, &known),
            (1, &unknown),
        ];
        for (at, methods) in order {
            expect(run, &builder, &servers[at], methods, Revision::LATEST_WITH_HANDSHAKE).await;
        }
        limits.server_kinds = 0;
        let builder = auto().limits(limits);
        for _ in 0..2 {
            expect(run, &builder, &servers[0], &unknown, Revision::LATEST_WITH_HANDSHAKE).await;
        }
    });
}

#[test]
fn era_01_reconnecting_asks_a_server_that_refuses_what_it_took_before() {
    everywhere(async |run| {
        let (server, manners) = server(legacy);
        let (client, driver) = auto().connect(http(&server)).await.unwrap();
        run.drive(driver, async { client.close().await }).await;
        manners.change(|call| match call.request.rpc() {
            INITIALIZE => {
                let body = refusal(&call.request.body["id"], -32022, "no handshakes").to_string();
                call.respond("400 Bad Request", &["Content-Type: application/json"], &body);
            }
            _ => modern(call),
        });
        let (client, driver) = client.reconnect().await.unwrap();
        assert_eq!(client.revision(), Revision::LATEST);
        run.drive(driver, async { client.close().await }).await;
    });
}

#[test]
#[cfg(unix)] // a shell script
fn era_01_17_what_a_child_is_stays_with_its_command() {
    everywhere(async |run| {
        // The child quits when it is asked. From the fourth start on it takes no handshake.
        let (stdio, notes) = script(
            r#"
            *'"server/discover"'*) [ "$starts" -lt 4 ] && exit 1
                say '"result":{"supportedVersions":["2026-07-28"],"capabilities":{}}' ;;
            *'"initialize"'*) [ "$starts" -lt 4 ] && say '"result":{"protocolVersion":"2025-11-25","capabilities":{}}' || say '"error":{"code":-32022,"message":"no"}' ;;
            "#,
        );
        let (mut client, driver) = auto().connect(stdio).await.unwrap();
        run.drive(driver, async { client.close().await }).await;
        for revision in [Revision::LATEST_WITH_HANDSHAKE, Revision::LATEST] {
            let (next, driver) = client.reconnect().await.unwrap();
            assert_eq!(next.revision(), revision);
            run.drive(driver, async { next.close().await }).await;
            client = next;
        }
        let first = |process: &Vec<Value>| process[0]["method"].as_str().unwrap().to_owned();
        let first: Vec<_> = notes.processes().iter().map(first).collect();
        assert_eq!(first, [DISCOVER, INITIALIZE, INITIALIZE, INITIALIZE, DISCOVER]);
    });
}

#[test]
fn era_01_old_01_the_older_transport_is_remembered_by_itself() {
    everywhere(async |run| {
        // Each session has a feed of its own: a stream that ends late takes nothing from the next one.
        let feed = Arc::new(Mutex::new(Feed::new()));
        let served = Arc::clone(&feed);
        let server = Server::start(move |call| match &*call.request.target {
            "/mcp" => dual(call),
            _ => {
                let feed = served.lock().unwrap().clone();
                old(&feed, call);
            }
        });
        let builder = auto();
        for known in [false, true] {
            expect(run, &builder, &server, &[DISCOVER], Revision::LATEST).await;
            let before = server.requests().len();
            let own = Feed::new();
            own.write("event: endpoint\ndata: messages\n\n");
            *feed.lock().unwrap() = own.clone();
            let sse = Sse::new(&format!("http://{}/sse", server.address())).unwrap();
            let (client, driver) = builder.clone().connect(sse).await.unwrap();
            run.drive(driver, async { client.close().await }).await;
            own.write("");
            assert_eq!(client.revision(), Revision::LATEST_WITH_HANDSHAKE);
            let asked = server.requests()[before..].iter().filter(|it| it.rpc() == DISCOVER).count();
            assert_eq!(asked, usize::from(!known));
        }
    });
}
