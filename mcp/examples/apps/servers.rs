//! Three servers, each started when it is first needed, and again when it has died.

mod double;

use futures::future::{join, join_all};
use shared_fate_mcp::{Client, Error, Http, Reconnecting, Stdio, Transport};

/// A URL, or nothing for the child process.
fn open(url: &str) -> Result<Box<dyn Transport>, Error> {
    Ok(match url {
        "" => Box::new(Stdio::spawn(double::command())?),
        url => Box::new(Http::new(url)?),
    })
}

async fn app(servers: &[Reconnecting]) -> Result<(), Error> {
    for result in join_all(servers.iter().map(|server| server.call_tool("hello", ()))).await {
        println!("{}", result?.text());
    }
    let error = servers[2].call_tool("die", ()).await.unwrap_err();
    println!("{error:#}");
    println!("{}", servers[2].call_tool("hello", ()).await?.text());
    Ok(())
}

fn main() -> Result<(), Error> {
    double::serve_if_asked();
    let urls = [double::http(), double::http(), String::new()];
    let servers = urls.map(|url| Reconnecting::new(Client::builder(), move || open(&url)));
    let (servers, drivers): (Vec<_>, Vec<_>) = servers.into_iter().unzip();
    let run = async {
        let result = app(&servers).await;
        join_all(servers.iter().map(Reconnecting::close)).await;
        result
    };
    async_io::block_on(join(run, join_all(drivers))).0
}
