//! On tokio: ten calls at once, one with a time limit, and one whose progress is told.

mod double;

use futures::future::try_join_all;
use serde_json::json;
use shared_fate_mcp::{CallOptions, Client, Error, Http};
use std::time::Duration;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let server = Http::new(&double::http())?;
    Client::builder()
        .on_tokio()
        .run(server, async |client| {
            let calls = (0..10).map(|a| client.call_tool("add", json!({ "a": a, "b": 1 })));
            for (a, result) in try_join_all(calls).await?.iter().enumerate() {
                assert_eq!(result.text(), (a + 1).to_string());
            }
            let hasty = CallOptions::timeout(Duration::from_millis(50));
            let error = client.with_options(hasty).call_tool("never", ()).await;
            println!("{:#}", error.unwrap_err());
            let watched = CallOptions::default()
                .on_progress(|news| println!("{} of {:?}", news.progress, news.total));
            println!(
                "{}",
                client
                    .with_options(watched)
                    .call_tool("build", ())
                    .await?
                    .text()
            );
            Ok(())
        })
        .await
}
