//! What a token that is good costs a request.

use crate::allocator;
use crate::fault::run::once;
use crate::kit::{Both, call, with_client};
use shared_fate_mcp::{Client, Driver};

/// The fewest allocations of any call, in the thread that makes it and polls the driver: some calls wait once more.
async fn allocations(run: crate::fault::run::Run, connected: (Client, Driver)) -> usize {
    with_client(run, connected, async |client| {
        // Tables grow, and the alarm is set.
        for _ in 0..8 {
            call(client).await.unwrap();
        }
        let mut fewest = usize::MAX;
        for _ in 0..100 {
            let before = allocator::count();
            call(client).await.unwrap();
            fewest = fewest.min(allocator::count() - before);
        }
        fewest
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
        println!("{signed_in} allocations for a call, and {bearer} with a bearer");
        assert!(signed_in <= bearer, "{signed_in} and {bearer}");
    });
}
