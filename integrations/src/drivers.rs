//! Drivers, plain and under a session.

use crate::seen::AnySession;
use shared_fate::Cause;
use std::error::Error;
use std::future::Future;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// Whose end ends the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// The driver's failure, panic or drop, as with `monitor`.
    Failing,
    /// Any end of the driver, as with `drive`.
    Ending,
}

/// Spawns a driver: plain where there is no session.
pub fn spawn<R>(
    on: &Handle,
    session: Option<&AnySession>,
    how: How,
    driver: impl Future<Output = Result<(), R>> + Send + 'static,
) -> JoinHandle<()>
where
    R: Error + Send + Sync + 'static,
{
    let Some(session) = session else { return on.spawn(async { _ = driver.await }) };
    let driver = session.drive_map(driver, move |output| match (output, how) {
        (Err(error), _) => Some(Cause::any(error)),
        (Ok(()), How::Failing) => None,
        (Ok(()), How::Ending) => Some(Cause::Finished),
    });
    on.spawn(async { _ = driver.await })
}
