//! What a token that is good costs a request.

use crate::allocator;
use crate::fault::run::once;
use crate::kit::{Both, call, with_client};
use shared_fate_mcp::{Client, Driver};

/// Allocations of so many calls, in the thread that makes them and polls the driver.
async fn allocations(run: crate::fault::run::Run, connected: (Client, Driver)) -> usize {
    with_client(run, connected, async |client| {
        // Tables grow, and the alarm is set.
        for _ in 0..8 {
            call(client).await.unwrap();
        }
        let before = allocator::count();
        for _ in 0..100 {
            call(client).await.unwrap();
        }
        allocator::count() - before
    })
    .await
}

#[test]
fn a_token_that_is_good_costs_no_allocation_more_than_a_bearer() {
    once(async |run| {
        let both = Both::start();
        let oauth = both.builder().build();
        let signed_in = allocations(run, both.signed_in(&oauth).await).await;
        let token = both.seen(|it| it.secrets.iter().rfind(|it| it.contains("access")).cloned()).unwrap();
        let bearer = both.server.transport().bearer(&token).unwrap();
        let bearer = allocations(run, Client::connect(bearer).await.unwrap()).await;
        println!("100 calls: {signed_in} allocations, and {bearer} with a bearer");
        assert!(signed_in <= bearer + 4, "{signed_in} and {bearer}");
    });
}
