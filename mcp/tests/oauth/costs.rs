//! What a token that is good costs a request.

use crate::allocator;
use crate::fault::run::once;
use crate::kit::{Both, call, with_client};
use shared_fate_mcp::Client;
use std::ops::RangeInclusive;

/// The allocations of one call, in the thread that makes it and polls the driver.
async fn allocations(client: &Client) -> usize {
    let before = allocator::count();
    call(client).await.unwrap();
    allocator::count() - before
}

/// How many calls are made with each of the two, at least and at most. The fewest allocations of any call count: a call waits
/// once more where the head of the answer comes before the body, and on a busy machine that may be so for long.
const CALLS: RangeInclusive<usize> = 100..=20_000;

#[test]
fn a_token_that_is_good_costs_no_allocation_more_than_a_bearer() {
    once(async |run| {
        let both = Both::start();
        let oauth = both.builder().build();
        let signed_in = both.signed_in(&oauth).await;
        let token = both.seen(|it| it.secrets.iter().rfind(|it| it.contains("access")).cloned()).unwrap();
        let bearer = Client::connect(both.server.transport().bearer(&token).unwrap()).await.unwrap();
        let (with_token, with_bearer) = with_client(run, signed_in, async |signed_in| {
            with_client(run, bearer, async |bearer| {
                // Tables grow, and the alarm is set.
                for client in [signed_in, bearer].repeat(8) {
                    call(client).await.unwrap();
                }
                let (mut with_token, mut with_bearer) = (usize::MAX, usize::MAX);
                for calls in 1..=*CALLS.end() {
                    with_token = with_token.min(allocations(signed_in).await);
                    with_bearer = with_bearer.min(allocations(bearer).await);
                    if calls >= *CALLS.start() && with_token <= with_bearer {
                        break;
                    }
                }
                (with_token, with_bearer)
            })
            .await
        })
        .await;
        println!("{with_token} allocations for a call, and {with_bearer} with a bearer");
        assert!(with_token <= with_bearer, "{with_token} and {with_bearer}");
    });
}
