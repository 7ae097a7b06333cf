//! Pings by the clock (PNG-02), for who asks for them. They are the driver's.

use super::client::Shared;
use super::error::{Delivery, Error, ErrorKind, TimeoutError};
use super::inbox::Inbox;
use super::protocol::message;
use super::timer::BoxFuture;
use super::transport::Outgoing;
use std::future::{pending, poll_fn};
use std::task::Poll;
use std::time::Duration;

const METHOD: &str = "ping";
const SHORTEST: Duration = Duration::from_millis(10);

/// Resolves when the server has missed a ping: it is not answered when the next one is due.
pub(crate) async fn keep_alive(shared: &Shared) -> Error {
    let inbox = &*shared.inbox;
    let Some(interval) = inbox.timeouts().keep_alive else { return pending().await };
    // Not for ever in one poll.
    let interval = interval.max(SHORTEST);
    let mut unanswered = None;
    loop {
        let mut due = inbox.sleep(interval);
        let tick = poll_fn(|cx| {
            if let Some(Poll::Ready(result)) =
                unanswered.as_mut().map(|ping: &mut Ping<'_>| ping.as_mut().poll(cx))
            {
                unanswered = None;
                if let Err(error) = result {
                    return Poll::Ready(Err(error));
                }
            }
            due.as_mut().poll(cx).map(Ok)
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
        if shared.modern().is_some() {
            // PNG-03.
            return pending().await;
        }
        if !inbox.is_handshaking() {
            unanswered = Some(Box::pin(ping(shared)));
        }
    }
}

type Ping<'a> = BoxFuture<'a, Result<(), Error>>;

/// Any answer will do, also a refusal.
async fn ping(shared: &Shared) -> Result<(), Error> {
    let inbox = &*shared.inbox;
    // Where too many calls are pending it is theirs to find out.
    let Ok(id) = inbox.begin() else { return Ok(()) };
    let _entry = Entry { inbox, id };
    let body = message::encode_request(id, METHOD, None);
    let message = Outgoing { id: Some(id), method: Some(METHOD.to_owned()), body, routing: None };
    let mut sending = Some(shared.transport.send(message, inbox));
    poll_fn(|cx| {
        if let Some(send) = &mut sending {
            if let Poll::Ready(sent) = send.as_mut().poll(cx) {
                sending = None;
                match sent {
                    Ok(sent) if sent.reply.is_none() => {}
                    Err(error) if !is_answer(&error) => return Poll::Ready(Err(error)),
                    Ok(_) | Err(_) => return Poll::Ready(Ok(())),
                }
            }
        }
        inbox.poll_reply(id, u64::MAX, cx).map(|_| Ok(()))
    })
    .await
}

fn is_answer(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Http(_) | ErrorKind::Protocol(_) | ErrorKind::Limit(_))
}

/// Goes with the ping, however that ends.
struct Entry<'a> {
    inbox: &'a Inbox,
    id: u64,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.inbox.forget(self.id);
    }
}
