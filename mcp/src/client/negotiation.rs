//! Agreeing on a protocol revision: the handshake of the older ones, the discovery of the newer, and
//! how to tell which (INI-01 to INI-14, ERA-01 to ERA-23).

use super::call::within;
use super::client::{Client, Shared};
use super::era::Known;
use super::error::{Error, ErrorKind, Violation};
use super::modern::Modern;
use super::options::CallOptions;
use super::protocol::handshake::{INITIALIZE, INITIALIZED, Revision, initialize_params};
use super::protocol::modern::{DISCOVER, Era, SERVER_INFO, UNSUPPORTED_VERSION, era_of_error, era_of_result};
use super::types::{DiscoverResult, Extra, Implementation, InitializeResult, decode};

/// Which protocol revisions a client speaks with its server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// Asks the server with a request of revision 2026-07-28 (`server/discover`), and shakes hands if it
    /// turns out to be an older one, or is remembered as one ([`EraCache`](super::EraCache)).
    #[default]
    Auto,
    /// Shakes hands: revisions 2024-11-05 to 2025-11-25.
    Legacy,
    /// Revision 2026-07-28 only.
    Modern,
}

/// How to come to an agreement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Ask what the server is.
    Ask,
    /// As with a server of this kind, and no other.
    As(Known),
}

impl Plan {
    /// What the mode says; and what is known, if that leaves it open.
    pub(crate) fn new(mode: Mode, known: Option<Known>) -> Self {
        match (mode, known) {
            (Mode::Auto, None) => Self::Ask,
            (Mode::Auto, Some(known)) => Self::As(known),
            (Mode::Legacy, _) => Self::As(Known::Legacy(None)),
            (Mode::Modern, _) => Self::As(Known::Modern),
        }
    }
}

/// Why there is no agreement.
pub(crate) enum Refusal {
    Final(Error),
    /// The server quit when it was asked what it is.
    Exited(Error),
    /// It answers as one of another kind would.
    Otherwise(Error),
}

impl Refusal {
    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::Final(error) | Self::Exited(error) | Self::Otherwise(error) => error,
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

/// What the server is.
enum Verdict {
    Modern(Revision, Box<InitializeResult>),
    /// It wants a handshake, perhaps at this revision; and what it answered.
    Legacy(Option<Revision>, Option<Error>),
}

impl Client {
    /// One limit for all of it (INI-11).
    pub(crate) async fn agree_in_time(&self, plan: Plan) -> Result<Known, Refusal> {
        let Shared { inbox, transport, .. } = &**self.shared();
        let agree = async { Ok(self.agree(plan).await) };
        let agreed = within(inbox, inbox.timeouts().handshake, agree).await?;
        // A server may have given a session already, and would keep it (SES-08). One that does not answer in
        // time is asked nothing more.
        if agreed.is_err() && transport.exchanges() && !inbox.session().is_ended() {
            self.close().await;
        }
        agreed
    }

    async fn agree(&self, plan: Plan) -> Result<Known, Refusal> {
        let offer = match plan {
            Plan::As(Known::Legacy(offer)) => offer,
            Plan::Ask | Plan::As(Known::Modern) => match self.discover(plan).await? {
                Verdict::Modern(revision, server) => {
                    self.settle(revision, *server).await;
                    return Ok(Known::Modern);
                }
                Verdict::Legacy(_, error) if plan != Plan::Ask => {
                    let violation = || Error::protocol(Violation::Version("a handshake".to_owned()));
                    return Err(Refusal::Otherwise(error.unwrap_or_else(violation)));
                }
                Verdict::Legacy(offer, _) => offer,
            },
        };
        let Err(error) = self.initialize(offer.unwrap_or(Revision::LATEST)).await else {
            return Ok(Known::Legacy(offer));
        };
        match plan {
            Plan::As(_) if self.shared().inbox.is_handshaking() && is_refusal(&error) => {
                Err(Refusal::Otherwise(error))
            }
            // Slow to answer the probe, and of the new kind all the same (ERA-18).
            Plan::Ask if error.rpc().is_some_and(|rpc| rpc.code() == UNSUPPORTED_VERSION) => {
                match self.discover(plan).await? {
                    Verdict::Modern(revision, server) => {
                        self.settle(revision, *server).await;
                        Ok(Known::Modern)
                    }
                    Verdict::Legacy(..) => Err(error.into()),
                }
            }
            _ => Err(error.into()),
        }
    }

    async fn initialize(&self, offer: Revision) -> Result<(), Error> {
        let shared = self.shared();
        let config = shared.inbox.config();
        let patient = self.with_only(CallOptions::default());
        let capabilities = config.handlers.capabilities();
        let params = initialize_params(offer, capabilities, &config.name, &config.version);
        let result = patient.once(INITIALIZE, Some(&params), &[], None, None).await?;
        let server: InitializeResult = decode(&result)?;
        let Some(revision) = Revision::from_name(&server.protocol_version).filter(|it| !it.is_modern())
        else {
            return Err(Error::protocol(Violation::Version(server.protocol_version)));
        };
        shared.inbox.handshake_done();
        shared.transport.negotiated(revision);
        patient.tell(INITIALIZED, None).await?;
        self.settle(revision, server).await;
        Ok(())
    }

    async fn settle(&self, revision: Revision, server: InitializeResult) {
        let shared = self.shared();
        shared.inbox.handshake_done();
        if revision.is_modern() {
            shared.transport.negotiated(revision);
            let modern = Modern::new(revision, shared.inbox.config());
            shared.modern.get_or_init(|| modern);
        }
        shared.transport.ready(&shared.inbox).await;
        shared.server.get_or_init(|| server);
        shared.revision.get_or_init(|| revision);
    }

    /// ERA-02 to ERA-16.
    async fn discover(&self, plan: Plan) -> Result<Verdict, Refusal> {
        let shared = self.shared();
        let config = shared.inbox.config();
        // Where silence means a handshake, that must have some time left (ERA-16).
        let shakes_hands = plan == Plan::Ask && !shared.transport.exchanges();
        let share = config.timeouts.handshake.filter(|_| shakes_hands).map(|all| all / 2);
        let limit = config.timeouts.probe.into_iter().chain(share).min();
        let patient = self.with_only(CallOptions::default().total(limit));
        let mut revision = Revision::MODERN;
        let mut again = false;
        // Nothing else is written meanwhile, not even an answer to a ping (ERA-19).
        shared.inbox.set_mute(true);
        loop {
            let modern = Modern::new(revision, config);
            let routing = shared.transport.exchanges().then(|| modern.routing(None));
            let result = patient.once(DISCOVER, None, modern.meta(), routing, limit).await;
            let era = match &result {
                Ok(result) => era_of_result(result.get()),
                Err(error) => match self.era_of_failure(error, revision) {
                    Some(era) => era,
                    None => return Err(self.refusal(result.err())),
                },
            };
            match era {
                Era::Modern(revision) => {
                    let server = read_server(revision, &decode(&result?)?);
                    return Ok(Verdict::Modern(revision, Box::new(server)));
                }
                Era::Again(named) if !again => {
                    (revision, again) = (named, true);
                }
                Era::Again(_) | Era::Refused => return Err(self.refusal(result.err())),
                Era::Foreign(versions) => {
                    return Err(Error::protocol(Violation::Version(versions.join(", "))).into());
                }
                Era::Legacy(offer) => {
                    shared.inbox.set_mute(false);
                    return Ok(Verdict::Legacy(offer, result.err()));
                }
            }
        }
    }

    /// What a failed probe says; `None`: nothing, it is a failure like any other (ERA-13).
    fn era_of_failure(&self, error: &Error, sent: Revision) -> Option<Era> {
        let exchanges = self.shared().transport.exchanges();
        match error.kind() {
            ErrorKind::Rpc(rpc) => Some(era_of_error(rpc, sent)),
            ErrorKind::Http(http) => match (http.status(), http.rpc()) {
                (401 | 403, _) => None,
                (_, Some(rpc)) if rpc.code() == -32601 => Some(Era::Legacy(None)),
                (status, _) if is_other_matter(status) => None,
                (400..=499, Some(rpc)) => Some(era_of_error(rpc, sent)),
                (400..=499, None) => Some(Era::Legacy(None)),
                _ => None,
            },
            // Over a pipe, silence and nonsense are how some older servers take an unknown request.
            ErrorKind::Timeout(_) | ErrorKind::Protocol(_) if !exchanges => Some(Era::Legacy(None)),
            _ => None,
        }
    }

    fn refusal(&self, error: Option<Error>) -> Refusal {
        let error = error.unwrap_or_else(|| Error::protocol(Violation::Result));
        match error.is_session_ended() && !self.shared().transport.exchanges() {
            true => Refusal::Exited(error),
            false => Refusal::Final(error),
        }
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
fn read_server(revision: Revision, found: &DiscoverResult) -> InitializeResult {
    let in_meta = found.meta.as_ref().and_then(|meta| meta.parse::<Extra>().ok());
    let in_meta = in_meta.as_ref().and_then(|meta| meta.get(SERVER_INFO)?.parse::<Implementation>().ok());
    InitializeResult {
        protocol_version: revision.as_str().to_owned(),
        capabilities: found.capabilities.clone(),
        server_info: in_meta.or_else(|| found.server_info.clone()),
        instructions: found.instructions.clone(),
        extra: found.extra.clone(),
    }
}
