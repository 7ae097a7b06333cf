//! Pings by the clock (PNG-02), opt-in. The driver sends them.

use crate::call::Caller;
use crate::call::exchange::{Params, Request, exchange_once};
use crate::call::options::CallOptions;
use crate::connection::Connection;
use crate::error::{Delivery, Error, ErrorKind, TimeoutError};
use crate::runtime::timer::BoxFuture;
use std::future::{pending, poll_fn};
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

/// No interval is shorter.
const SHORTEST: Duration = Duration::from_millis(10);

/// Resolves when the server has missed a ping: it is not answered when the next one is due.
pub(crate) async fn keep_alive(connection: &Arc<Connection>, interval: Duration) -> Error {
    let inbox = &*connection.inbox;
    // Not for ever in one poll.
    let interval = interval.max(SHORTEST);
    let mut unanswered = None;
    loop {
        let mut due = inbox.sleep(interval);
        let mut over = false;
        let tick = poll_fn(|cx| {
            if let Some(Poll::Ready(result)) =
                unanswered.as_mut().map(|ping: &mut Ping<'_>| ping.as_mut().poll(cx))
            {
                unanswered = None;
                if let Err(error) = result {
                    return Poll::Ready(Err(error));
                }
            }
            if !over {
                ready!(due.as_mut().poll(cx));
                over = true;
                if unanswered.is_some() {
                    // The transport reads once more before an answer is a missed one.
                    inbox.ask_for_look();
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
            Poll::Ready(Ok(()))
        });
        let tick = tick.await.and_then(|()| match unanswered {
            None => Ok(()),
            Some(_) => {
                let error = ErrorKind::Timeout(TimeoutError { after: interval, total: true });
                Err(Error::new(error, Delivery::MaybeSent))
            }
        });
        if let Err(error) = tick {
            let delivery = error.delivery();
            return Error::new(ErrorKind::PingMissed(Box::new(error)), delivery);
        }
        if connection.stateless().is_some() {
            // PNG-03.
            return pending().await;
        }
        if !inbox.is_handshaking() {
            unanswered = Some(Box::pin(ping(connection)));
        }
    }
}

type Ping<'a> = BoxFuture<'a, Result<(), Error>>;

/// A ping like any other call, but without a deadline of its own. Any answer will do, also a refusal.
async fn ping(connection: &Arc<Connection>) -> Result<(), Error> {
    let options = CallOptions::default();
    let request = Request { method: "ping", params: Params::Text(None), meta: &[], routing: None };
    match exchange_once(Caller { connection, options: &options }, request, None).await {
        Err(error) if !is_answer(&error) => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Whether a failed ping counts as answered. Where too many calls are pending, the ping is not sent, and those calls find out
/// how the server is.
fn is_answer(error: &Error) -> bool {
    use ErrorKind::{Http, Limit, Protocol, Rpc};
    matches!(error.kind(), Http(_) | Limit(_) | Protocol(_) | Rpc(_))
}
