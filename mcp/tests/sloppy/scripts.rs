//! Any server: scripts of messages that are nearly right, mutated and cut anywhere. Whatever comes, every call ends, and
//! no call is left.

use crate::fault::answer;
use crate::fault::lines::pair;
use futures::future::join_all;
use proptest::prelude::*;
use serde_json::{Value, json};
use shared_fate_mcp::{CallOptions, Client, Limits, Mode};
use std::time::Duration;

/// What a server writes when it gets a call.
#[derive(Clone, Debug)]
enum Piece {
    /// The reply, with some of its bytes replaced, and only so much of it.
    Reply {
        swaps: Vec<(prop::sample::Index, u8)>,
        keep: Option<prop::sample::Index>,
    },
    /// A reply to the call whose id is greater by this.
    Other(i8),
    Text(&'static str),
    Bytes(Vec<u8>),
}

const TEXTS: [&str; 12] = [
    "\n",
    "\r\n \n",
    "[]\n",
    "{}\n",
    "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}\n",
    "{\"jsonrpc\":\"2.0\",\"id\":\"q\",\"method\":\"ping\"}\n",
    "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"roots/list\",\"params\":[1]}\n",
    "{\"method\":\"notifications/progress\",\"params\":{\"progressToken\":\"3\",\"progress\":1e999}}\n",
    "{\"method\":\"notifications/cancelled\",\"params\":{\"requestId\":null}}\n",
    "{\"id\":null,\"error\":{\"code\":\"x\",\"message\":7}}\n",
    "[{\"id\":3,\"result\":null},{\"id\":4,\"error\":null},7]\n",
    "Content-Length: 7\r\n\r\n",
];

fn piece() -> impl Strategy<Value = Piece> {
    let swaps = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3);
    prop_oneof![
        3 => (swaps, prop::option::weighted(0.2, any::<prop::sample::Index>()))
            .prop_map(|(swaps, keep)| Piece::Reply { swaps, keep }),
        1 => (-3..3_i8).prop_map(Piece::Other),
        2 => prop::sample::select(TEXTS.to_vec()).prop_map(Piece::Text),
        1 => prop::collection::vec(any::<u8>(), 0..300).prop_map(Piece::Bytes),
    ]
}

impl Piece {
    fn write(&self, message: &Value) -> Vec<u8> {
        match self {
            Self::Reply { swaps, keep } => {
                let mut reply = answer(message).map_or(Vec::new(), |reply| format!("{reply}\n").into_bytes());
                for (at, byte) in swaps {
                    if !reply.is_empty() {
                        let at = at.index(reply.len());
                        reply[at] = *byte;
                    }
                }
                if let Some(keep) = keep.as_ref().filter(|_| !reply.is_empty()) {
                    reply.truncate(keep.index(reply.len()));
                }
                reply
            }
            Self::Other(more) => {
                let id = message["id"].as_i64().unwrap_or_default() + i64::from(*more);
                format!("{}\n", json!({ "jsonrpc": "2.0", "id": id, "result": {} })).into_bytes()
            }
            Self::Text(text) => text.as_bytes().to_vec(),
            Self::Bytes(bytes) => bytes.clone(),
        }
    }
}

async fn run(script: Vec<Vec<Piece>>, hangs_up: bool) {
    let mut limits = Limits::default();
    limits.line = 200;
    limits.stray = 20;
    let mut turns = script.into_iter();
    let (stdio, _server) = pair(move |peer, message| match message["method"].as_str() {
        Some("initialize") => peer.normal(message),
        Some("tools/call") => match turns.next() {
            Some(pieces) => pieces.iter().for_each(|piece| peer.write(piece.write(message))),
            None if hangs_up => peer.hang_up(),
            None => {}
        },
        _ => {}
    });
    let options = CallOptions::default().total(Duration::from_millis(30));
    let builder = Client::builder().mode(Mode::Legacy).limits(limits);
    let (client, driver) = builder.connect(stdio).await.unwrap();
    let client = client.with_options(options);
    driver
        .run_until(async {
            for _ in 0..3 {
                for result in join_all((0..3).map(|_| client.call_tool("x", ()))).await {
                    if let Err(error) = result {
                        let story = format!("{error:#}");
                        assert!(!story.is_empty() && story.len() < 4096, "{story}");
                    }
                }
            }
            assert_eq!(client.pending_calls(), 0);
            client.close().await;
        })
        .await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 100, ..ProptestConfig::default() })]

    #[test]
    fn every_call_ends_whatever_comes(
        script in prop::collection::vec(prop::collection::vec(piece(), 0..4), 0..9),
        hangs_up in any::<bool>(),
    ) {
        let (done, ended) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            pollster::block_on(run(script, hangs_up));
            let _ = done.send(());
        });
        // Otherwise the script panics or hangs.
        prop_assert!(ended.recv_timeout(crate::fault::run::PATIENCE).is_ok());
    }
}
