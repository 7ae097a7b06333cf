//! Arguments and result are types of the program's own.

mod double;

use serde::{Deserialize, Serialize};
use shared_fate_mcp::{Client, Error, Http};

#[derive(Serialize)]
struct Add {
    a: i64,
    b: i64,
}

#[derive(Deserialize)]
struct Sum {
    sum: i64,
}

fn main() -> Result<(), Error> {
    let server = Http::new(&double::http())?;
    async_io::block_on(Client::run(server, async |client| {
        let result = client.call_tool("add", Add { a: 1, b: 2 }).await?;
        println!("the sum is {}", result.structured::<Sum>()?.sum);
        Ok(())
    }))
}
