//! A server asks the model (sampling) and the user (elicitation) before it answers.

mod double;

use serde_json::json;
use shared_fate_mcp::types::{CreateMessageParams, CreateMessageResult, Elicited};
use shared_fate_mcp::{Client, Error, Stdio};

async fn model(asked: CreateMessageParams) -> CreateMessageResult {
    println!("the model gets {} messages", asked.messages.len());
    CreateMessageResult::new("my-model", "Lisbon")
}

fn main() -> Result<(), Error> {
    double::serve_if_asked();
    let client = Client::builder()
        .on_sampling(async |asked| Ok(model(asked).await))
        .on_elicit_form(async |form| {
            println!("{}", form.message);
            Elicited::Accept(json!({ "nights": 3 }).into())
        });
    let server = Stdio::spawn(double::command())?;
    async_io::block_on(client.run(server, async |client| {
        println!("{}", client.call_tool("plan", ()).await?.text());
        Ok(())
    }))
}
