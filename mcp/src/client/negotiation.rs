//! Agreeing on a protocol revision: the handshake of the older ones, the discovery of the newer, and
//! how to tell which (INI-01 to INI-14, ERA-01 to ERA-23).

use super::Client;
use super::driver::{Driver, RunUntil};
use super::methods::{Level, SET_LEVEL};
use crate::call::exchange::{Params, Request, exchange_once, notify};
use crate::call::options::CallOptions;
use crate::call::reply::{checked, read_result};
use crate::call::{Caller, NOT_AN_OBJECT, params_of};
use crate::connection::Connection;
use crate::connection::stateless::Stateless;
use crate::error::{Error, ErrorKind, Violation};
use crate::inbox::config::{Config, Mode};
use crate::inbox::deadline::{Budget, within};
use crate::inbox::event::Event;
use crate::inbox::limits::Timeouts;
use crate::inbox::server_kinds::ServerKind;
use crate::protocol::handshake::{INITIALIZE, INITIALIZED, Revision, initialize_params};
use crate::protocol::stateless::{
    DISCOVER, ProbeAnswer, SERVER_INFO, UNSUPPORTED_VERSION, answer_of_error, answer_of_result,
};
use crate::transport::Transport;
use crate::types::{DiscoverResult, Extra, Implementation, InitializeResult};
use std::sync::Arc;
use std::time::Duration;

/// Why there is no agreement.
enum Refusal {
    Final(Error),
    /// The server quit when it was asked what it is.
    Exited(Error),
    /// It answers as one of another kind would.
    OtherKind(Error),
}

impl Refusal {
    fn is_timeout(&self) -> bool {
        let (Self::Final(error) | Self::Exited(error) | Self::OtherKind(error)) = self;
        error.is_timeout()
    }

    fn into_error(self) -> Error {
        match self {
            Self::Final(error) | Self::Exited(error) | Self::OtherKind(error) => error,
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

/// Connects, and connects once more where the first attempt shows that the server is of another kind. `known` is what
/// the server was, if nothing newer is remembered.
pub(super) async fn connect_with(
    config: Config,
    transport: Box<dyn Transport>,
    known: Option<ServerKind>,
) -> Result<(Client, Driver), Error> {
    let server: Option<Arc<str>> = transport.server().map(Arc::from);
    connect_unnamed(config, transport, known).await.map_err(|error| error.of_server(server.as_ref()))
}

async fn connect_unnamed(
    config: Config,
    transport: Box<dyn Transport>,
    known: Option<ServerKind>,
) -> Result<(Client, Driver), Error> {
    let origin = transport.origin();
    let remembered = origin.as_ref().and_then(|origin| config.server_kinds.get(origin));
    // `None`: ask the server what it is.
    let kind = match config.mode {
        Mode::Auto => remembered.or(known),
        Mode::Legacy => Some(ServerKind::Handshake(None)),
        Mode::Stateless => Some(ServerKind::Stateless),
    };
    let (limit, begun) = (config.timeouts.handshake, config.timer.now());
    let (connection, mut driver) = unconnected(config.clone(), transport);
    let (kind, error) = match (agree_beside(&connection, kind, &mut driver, limit).await, kind) {
        (Ok(found), _) => return Ok(connected(connection, driver, origin, found)),
        // Some older servers quit when they are asked anything but `initialize` (ERA-17).
        (Err(Refusal::Exited(error)), None) => (Some(ServerKind::Handshake(None)), error),
        // It is not what it was, and may have made a mess of the connection.
        (Err(Refusal::OtherKind(error)), Some(known)) if config.mode == Mode::Auto => {
            if let Some(origin) = &origin {
                config.server_kinds.forget(origin, known);
            }
            (None, error)
        }
        (Err(refusal), _) => return Err(refusal.into_error()),
    };
    let again = connection.transport.renew();
    connection.inbox.session().close();
    drop((connection, driver));
    let Some(transport) = again else { return Err(error) };
    // What is left of the one limit.
    let past = config.timer.now().saturating_duration_since(begun);
    let limit = limit.map(|limit| limit.saturating_sub(past));
    let (connection, mut driver) = unconnected(config, transport?);
    let found = agree_beside(&connection, kind, &mut driver, limit).await.map_err(Refusal::into_error)?;
    Ok(connected(connection, driver, origin, found))
}

fn unconnected(config: Config, transport: Box<dyn Transport>) -> (Arc<Connection>, Driver) {
    let connection = Arc::new(Connection::new(config, transport));
    let driver = Driver::new(Arc::clone(&connection));
    (connection, driver)
}

fn connected(
    connection: Arc<Connection>,
    driver: Driver,
    origin: Option<String>,
    found: ServerKind,
) -> (Client, Driver) {
    let config = connection.inbox.config();
    // With a handshake alone nothing is found out of what the server prefers.
    if let Some(origin) = origin.filter(|_| config.mode != Mode::Legacy) {
        config.server_kinds.set(&origin, found, config.limits.server_kinds);
    }
    let Timeouts { silence, total, .. } = config.timeouts;
    let options = CallOptions::default().silence(silence).total(total);
    (Client::new(connection, options), driver)
}

/// The handshake or what is in its place, with the driver polled beside it. If the driver ends now, the handshake is
/// woken with the cause.
async fn agree_beside(
    connection: &Arc<Connection>,
    kind: Option<ServerKind>,
    driver: &mut Driver,
    limit: Option<Duration>,
) -> Result<ServerKind, Refusal> {
    RunUntil::new(driver, agree_in_time(connection, kind, limit)).await
}

/// One limit for all of it (INI-11), which each step keeps by itself: it knows whether anything was sent.
async fn agree_in_time(
    connection: &Arc<Connection>,
    kind: Option<ServerKind>,
    limit: Option<Duration>,
) -> Result<ServerKind, Refusal> {
    let Connection { inbox, transport, .. } = &**connection;
    let agreed = agree(connection, kind, Budget::new(inbox, limit)).await;
    // A server may have given a session already, and would keep it (SES-08). One that does not answer in
    // time is asked nothing more.
    let refused = agreed.as_ref().is_err_and(|refusal| !refusal.is_timeout());
    if refused && transport.is_request_response() && !inbox.session().is_ended() {
        close(connection).await;
    }
    agreed
}

/// Ends the session and releases what it holds: see [`Client::close`].
pub(super) async fn close(connection: &Arc<Connection>) {
    let closing = connection.close();
    connection.inbox.session().close();
    if let Some(closing) = closing {
        closing.await;
    }
}

async fn agree(
    connection: &Arc<Connection>,
    kind: Option<ServerKind>,
    budget: Budget<'_>,
) -> Result<ServerKind, Refusal> {
    let offer = match kind {
        Some(ServerKind::Handshake(offer)) => offer,
        None | Some(ServerKind::Stateless) => match discover(connection, kind, budget).await? {
            ServerKind::Stateless => return Ok(ServerKind::Stateless),
            ServerKind::Handshake(offer) => offer,
        },
    };
    let Err(error) = initialize(connection, offer.unwrap_or(Revision::LATEST_WITH_HANDSHAKE), budget).await
    else {
        return Ok(ServerKind::Handshake(offer));
    };
    match kind {
        Some(_) if connection.inbox.is_handshaking() && is_refusal(&error) => Err(Refusal::OtherKind(error)),
        // Slow to answer the probe, and of the new kind all the same (ERA-18).
        None if error.rpc().is_some_and(|rpc| rpc.code() == UNSUPPORTED_VERSION) => {
            match discover(connection, kind, budget).await? {
                ServerKind::Stateless => Ok(ServerKind::Stateless),
                ServerKind::Handshake(_) => Err(error.into()),
            }
        }
        _ => Err(error.into()),
    }
}

async fn initialize(connection: &Arc<Connection>, offer: Revision, budget: Budget<'_>) -> Result<(), Error> {
    let config = connection.inbox.config();
    let options = CallOptions::default().total(config.timeouts.handshake);
    let caller = Caller { connection, options: &options };
    let capabilities = config.handlers.capabilities();
    let params = initialize_params(offer, &capabilities, &config.identity);
    let request =
        Request { method: INITIALIZE, params: Params::Text(Some(&params)), meta: &[], routing: None };
    let result = exchange_once(caller, request, budget.left()).await?;
    let server: InitializeResult = read_result(&connection.inbox, INITIALIZE, result)?;
    let Some(revision) = Revision::from_name(&server.protocol_version).filter(|it| !it.is_stateless()) else {
        return Err(Error::protocol(Violation::Version(server.protocol_version)));
    };
    connection.inbox.handshake_done();
    connection.transport.negotiated(revision);
    let rest = CallOptions::default().total(budget.left());
    let told = notify(Caller { connection, options: &rest }, INITIALIZED, None).await;
    told.map_err(|error| error.of_limit(config.timeouts.handshake))?;
    set_log_level(caller, &server, budget).await?;
    settle(connection, revision, server, budget).await
}

/// The level of the log that was asked for, where there is a log. Without it the session is as good as any, so a server
/// that does not answer has half of the time that is left.
async fn set_log_level(
    caller: Caller<'_>,
    server: &InitializeResult,
    budget: Budget<'_>,
) -> Result<(), Error> {
    let inbox = &caller.connection.inbox;
    let Some(level) = inbox.config().log_level.as_ref().filter(|_| server.capabilities.logging.is_some())
    else {
        return Ok(());
    };
    let params = params_of(&Level { level }, NOT_AN_OBJECT)?;
    let params = Params::Text(params.as_deref());
    let request = Request { method: SET_LEVEL, params, meta: &[], routing: None };
    let limit = budget.left().map(|left| left / 2);
    match exchange_once(caller, request, limit).await.and_then(checked) {
        Err(error) if error.is_session_ended() => Err(error),
        Err(error) => {
            inbox.emit(&Event::NotDelivered(Arc::new(error.of_limit(limit))));
            Ok(())
        }
        Ok(_) => Ok(()),
    }
}

async fn settle(
    connection: &Connection,
    revision: Revision,
    server: InitializeResult,
    budget: Budget<'_>,
) -> Result<(), Error> {
    let Connection { inbox, transport, .. } = connection;
    inbox.handshake_done();
    if revision.is_stateless() {
        transport.negotiated(revision);
        connection.stateless.get_or_init(|| Box::new(Stateless::new(revision, inbox.config())));
    }
    let ready = async {
        transport.ready(inbox).await;
        Ok(())
    };
    // The server has agreed: that its stream is not open in time is no reason not to be connected.
    let _: Result<(), Error> = within(inbox, budget.left(), ready).await;
    connection.server.get_or_init(|| server);
    connection.revision.get_or_init(|| revision);
    Ok(())
}

/// Asks the server what it is (ERA-02 to ERA-16). One without a handshake is settled with. Where one is expected and the
/// server wants a handshake, that is an error.
async fn discover(
    connection: &Arc<Connection>,
    kind: Option<ServerKind>,
    budget: Budget<'_>,
) -> Result<ServerKind, Refusal> {
    let Connection { inbox, transport, .. } = &**connection;
    let config = inbox.config();
    // Where silence means a handshake, that must have some time left (ERA-16).
    let shakes_hands = kind.is_none() && !transport.is_request_response();
    let share = config.timeouts.handshake.map(|all| if shakes_hands { all / 2 } else { all });
    let limit = config.timeouts.probe.into_iter().chain(share).min();
    let patient = CallOptions::default().total(limit);
    let caller = Caller { connection, options: &patient };
    let mut revision = Revision::LATEST;
    let mut again = false;
    // Nothing else is written meanwhile, not even an answer to a ping (ERA-19).
    inbox.set_mute(true);
    loop {
        let stateless = Stateless::new(revision, config);
        let routing = transport.is_request_response().then(|| stateless.routing(None));
        let request =
            Request { method: DISCOVER, params: Params::Text(None), meta: stateless.meta(), routing };
        let result = exchange_once(caller, request, limit.into_iter().chain(budget.left()).min())
            .await
            .and_then(checked);
        let answer = match &result {
            Ok(result) => answer_of_result(result.get()),
            Err(error) => match answer_of_failure(connection, error, revision, kind.is_none()) {
                Some(answer) => answer,
                None => return Err(refusal(connection, result.err())),
            },
        };
        match answer {
            ProbeAnswer::Stateless(revision) => {
                let server = read_server(revision, read_result(inbox, DISCOVER, result?.into())?);
                settle(connection, revision, server, budget).await?;
                return Ok(ServerKind::Stateless);
            }
            ProbeAnswer::Again(named) if !again => {
                (revision, again) = (named, true);
            }
            ProbeAnswer::Again(_) | ProbeAnswer::Refused => return Err(refusal(connection, result.err())),
            ProbeAnswer::NoCommonRevision(versions) => {
                return Err(Error::protocol(Violation::Version(versions.join(", "))).into());
            }
            ProbeAnswer::Handshake(offer) => {
                inbox.set_mute(false);
                if kind.is_some() {
                    let violation = || Error::protocol(Violation::Version("a handshake".to_owned()));
                    return Err(Refusal::OtherKind(result.err().unwrap_or_else(violation)));
                }
                return Ok(ServerKind::Handshake(offer));
            }
        }
    }
}

/// What a failed probe says; `None`: nothing, it is a failure like any other (ERA-13). What may come from a server of
/// either kind counts only if `is_unknown`: nothing was known of the server before.
fn answer_of_failure(
    connection: &Connection,
    error: &Error,
    sent: Revision,
    is_unknown: bool,
) -> Option<ProbeAnswer> {
    let is_pipe = !connection.transport.is_request_response();
    match error.kind() {
        ErrorKind::Rpc(rpc) => Some(answer_of_error(rpc, sent)),
        ErrorKind::Http(http) => match (http.status(), http.rpc()) {
            (401 | 403, _) => None,
            (_, Some(rpc)) if rpc.code() == -32601 => Some(ProbeAnswer::Handshake(None)),
            (status, _) if is_other_matter(status) => None,
            (400..=499, Some(rpc)) => Some(answer_of_error(rpc, sent)),
            (400..=499, None) => Some(ProbeAnswer::Handshake(None)),
            // How some older servers take an unknown request, or any request before the handshake.
            (200 | 500 | 501, _) if is_unknown => Some(ProbeAnswer::Handshake(None)),
            _ => None,
        },
        // An answer without a reply in it, or with something else, is one that no newer server gives.
        ErrorKind::Protocol(error) if is_unknown || is_pipe => match error.violation() {
            Violation::Redirect(_) | Violation::NotHttp => None,
            _ => Some(ProbeAnswer::Handshake(None)),
        },
        // Over a pipe silence is one, too.
        ErrorKind::Timeout(_) if is_pipe => Some(ProbeAnswer::Handshake(None)),
        _ => None,
    }
}

fn refusal(connection: &Connection, error: Option<Error>) -> Refusal {
    let error = error.unwrap_or_else(|| Error::protocol(Violation::Result));
    match error.is_session_ended() && !connection.transport.is_request_response() {
        true => Refusal::Exited(error),
        false => Refusal::Final(error),
    }
}

/// Whether the server has refused `initialize` itself, so that it may want none (ERA-01).
fn is_refusal(error: &Error) -> bool {
    match error.http() {
        Some(http) => matches!(http.status(), 400..=499) && !is_other_matter(http.status()),
        None => error.rpc().is_some(),
    }
}

/// Statuses of the 400s that say nothing about what the server speaks (ERA-13).
fn is_other_matter(status: u16) -> bool {
    matches!(status, 401 | 403 | 408 | 425 | 429)
}

/// DIS-03.
fn read_server(revision: Revision, found: DiscoverResult) -> InitializeResult {
    let in_meta = found.meta.as_ref().and_then(|meta| meta.parse::<Extra>().ok());
    let in_meta = in_meta.as_ref().and_then(|meta| meta.get(SERVER_INFO)?.parse::<Implementation>().ok());
    InitializeResult {
        protocol_version: revision.as_str().to_owned(),
        capabilities: found.capabilities,
        server_info: in_meta.or(found.server_info),
        instructions: found.instructions,
        meta: found.meta,
        extra: found.extra,
    }
}
