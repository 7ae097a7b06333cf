//! What a server may ask of a client, and who answers (REV-01 to REV-11).
//!
//! Requests are queued by whoever reads them and served by the driver, beside everything else: a
//! slow handler delays no reply, no ping and no other handler. A handler whose request the server
//! cancels is dropped without an answer; so are all of them when the session ends.

use super::limits::Limits;
use crate::error::{Error, FormError, InvalidInput};
use crate::protocol::elicitation::with_defaults;
use crate::protocol::json::object::read_object;
use crate::protocol::message::{self, RequestId, RpcError};
use crate::protocol::meta::check_extension;
use crate::protocol::outgoing::{Outgoing, ServerRequest};
use crate::protocol::stateless::TASKS;
use crate::runtime::timer::BoxFuture;
use crate::sync::{Mutex, contain};
use crate::types::{
    ClientCapabilities, CreateMessageParams, CreateMessageResult, ElicitForm, ElicitUrl, Elicited, Json,
    ListCapability, Root,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::error::Error as _;
use std::fmt;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll};

/// The answer to a server's request: a result as JSON, or an error for the server.
pub type HandlerResult = Result<Json, RpcError>;

type Handler = Arc<dyn Fn(Option<Json>) -> BoxFuture<'static, HandlerResult> + Send + Sync>;

/// Everything this client answers beyond `ping`.
#[derive(Clone, Default)]
pub(crate) struct Handlers {
    by_method: BTreeMap<String, Handler>,
    /// What is declared; most clients declare nothing, and wait, most of the time.
    capabilities: Option<Box<ClientCapabilities>>,
    roots: Option<Arc<Mutex<Vec<Root>>>>,
    /// Extensions of revision 2026-07-28, with their settings.
    extensions: BTreeMap<String, Json>,
    /// Whether that for tasks is among them.
    pub(crate) tasks: bool,
    url: bool,
}

pub(crate) const ELICIT: &str = "elicitation/create";
const INVALID_PARAMS: i64 = -32602;

impl Handlers {
    pub(crate) fn insert<F, T>(&mut self, method: impl Into<String>, handler: F)
    where
        F: Fn(Option<Json>) -> T + Send + Sync + 'static,
        T: Future<Output = HandlerResult> + Send + 'static,
    {
        let handler: Handler = Arc::new(move |params| Box::pin(handler(params)));
        self.by_method.insert(method.into(), handler);
    }

    pub(crate) fn capabilities(&self) -> ClientCapabilities {
        self.capabilities.as_deref().cloned().unwrap_or_default()
    }

    fn declared(&mut self) -> &mut ClientCapabilities {
        self.capabilities.get_or_insert_default()
    }

    /// Those for revision 2026-07-28, which has extensions.
    pub(crate) fn stateless_capabilities(&self) -> ClientCapabilities {
        let extensions = (!self.extensions.is_empty()).then(|| Json::new(&self.extensions));
        let extensions = extensions.map(|extensions| extensions.expect("an object"));
        ClientCapabilities { extensions, ..self.capabilities() }
    }

    /// Declares more than what the handlers say by themselves.
    ///
    /// # Errors
    ///
    /// As for [`extend`](Self::extend).
    pub(crate) fn declare(&mut self, more: ClientCapabilities) -> Result<(), Error> {
        let ClientCapabilities { roots, sampling, elicitation, tasks, extensions, experimental, extra } =
            more;
        let ours = self.declared();
        replace(&mut ours.roots, roots);
        replace(&mut ours.sampling, sampling);
        replace(&mut ours.tasks, tasks);
        replace(&mut ours.experimental, experimental);
        extra.iter().for_each(|(name, value)| ours.extra.insert(name, value.clone()));
        if let Some(more) = elicitation {
            let ours = ours.elicitation.get_or_insert_default();
            replace(&mut ours.form, more.form);
            replace(&mut ours.url, more.url);
        }
        let extensions: BTreeMap<String, Json> = extensions.map_or(Ok(BTreeMap::new()), |it| it.parse())?;
        extensions.iter().try_for_each(|(key, settings)| self.extend(key, settings))
    }

    /// MOD-09.
    pub(crate) fn extend(&mut self, key: &str, settings: &impl Serialize) -> Result<(), Error> {
        let invalid = |why| Error::invalid(InvalidInput::Extension(why));
        check_extension(key).map_err(invalid)?;
        let settings = Json::new(settings)?;
        if !settings.text().starts_with('{') {
            return Err(invalid("its settings are not a JSON object"));
        }
        self.tasks |= key == TASKS;
        self.extensions.insert(key.to_owned(), settings);
        Ok(())
    }

    /// Whether there is somebody who visits pages.
    pub(crate) fn visits_urls(&self) -> bool {
        self.url
    }

    pub(crate) fn roots(&self) -> Option<&Arc<Mutex<Vec<Root>>>> {
        self.roots.as_ref()
    }

    /// The answer to a request of the server's; `None` where there is no handler. A handler is the
    /// application's: its panic is an error for the server, and harms nobody else.
    pub(crate) fn answer(
        &self,
        method: &str,
        params: Option<Json>,
    ) -> Option<BoxFuture<'static, HandlerResult>> {
        let handler = self.by_method.get(method)?;
        let Ok(answer) = catch_unwind(AssertUnwindSafe(|| handler(params))) else {
            return Some(Box::pin(std::future::ready(Err(panicked()))));
        };
        let mut answer = Contained(Some(answer));
        Some(Box::pin(poll_fn(move |cx| {
            let Contained(Some(answer)) = &mut answer else { unreachable!("only its drop takes it") };
            let poll = catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(cx)));
            poll.unwrap_or_else(|_| Poll::Ready(Err(panicked())))
        })))
    }

    pub(crate) fn serve_roots(&mut self, roots: Vec<Root>) {
        #[derive(Serialize)]
        struct ListRootsResult<'a> {
            roots: &'a [Root],
        }
        let roots = Arc::new(Mutex::new(roots));
        self.roots = Some(Arc::clone(&roots));
        self.declared().roots = Some(ListCapability { list_changed: true, ..ListCapability::default() });
        self.insert("roots/list", move |_| {
            let result = Json::new(&ListRootsResult { roots: &roots.lock() });
            std::future::ready(Ok(result.expect("strings and nothing else")))
        });
    }

    pub(crate) fn serve_sampling<F, T>(&mut self, handler: F)
    where
        F: Fn(CreateMessageParams) -> T + Send + Sync + 'static,
        T: Future<Output = Result<CreateMessageResult, RpcError>> + Send + 'static,
    {
        self.declared().sampling.get_or_insert_default();
        self.insert("sampling/createMessage", move |params| {
            let answer = read::<CreateMessageParams>(params).map(&handler);
            async move { answer?.await.map(|answer| Json::new(&answer).expect("strings and JSON")) }
        });
    }

    pub(crate) fn serve_forms<F, T>(&mut self, handler: F)
    where
        F: Fn(ElicitForm) -> T + Send + Sync + 'static,
        T: Future<Output = Elicited> + Send + 'static,
    {
        // Each mode is a switch of its own (INI-15).
        self.declared().elicitation.get_or_insert_default().form = Some(Json::empty_object());
        self.insert_elicitation("form", move |params| {
            let form = params.parse::<ElicitForm>();
            let schema = form.as_ref().ok().map(|form| form.schema.clone());
            let answer = form.ok().map(&handler);
            async move {
                let (Some(answer), Some(schema)) = (answer, schema) else {
                    return Err(RpcError::new(INVALID_PARAMS, "not a form"));
                };
                Ok(match answer.await {
                    Elicited::Accept(content) => match with_defaults(schema.text(), content.as_raw()) {
                        Some(content) => ElicitResult { action: "accept", content: Some(content) },
                        None => return Err(RpcError::new(-32603, "the client's answer is no object")),
                    },
                    other => ElicitResult::refused(&other),
                })
            }
        });
    }

    pub(crate) fn serve_urls<F, T>(&mut self, handler: F)
    where
        F: Fn(ElicitUrl) -> T + Send + Sync + 'static,
        T: Future<Output = Elicited> + Send + 'static,
    {
        self.url = true;
        self.declared().elicitation.get_or_insert_default().url = Some(Json::empty_object());
        self.insert_elicitation("url", move |params| {
            let answer = params.parse::<ElicitUrl>().ok().map(&handler);
            async move {
                match answer {
                    None => Err(RpcError::new(INVALID_PARAMS, "not a URL request")),
                    Some(answer) => Ok(match answer.await {
                        Elicited::Accept(_) => ElicitResult { action: "accept", content: None },
                        other => ElicitResult::refused(&other),
                    }),
                }
            }
        });
    }

    /// Elicitation is one method with two modes, each with its own handler (REV-03).
    fn insert_elicitation<F, T>(&mut self, mode: &'static str, handler: F)
    where
        F: Fn(Json) -> T + Send + Sync + 'static,
        T: Future<Output = Result<ElicitResult, RpcError>> + Send + 'static,
    {
        #[derive(Deserialize)]
        struct Mode {
            mode: Option<String>,
        }
        let other = self.by_method.remove(ELICIT);
        self.insert(ELICIT, move |params| -> BoxFuture<'static, HandlerResult> {
            let wanted = params.as_ref().and_then(|params| read_object::<Mode>(params.text()));
            match (params, wanted, &other) {
                (Some(params), Some(wanted), _) if wanted.mode.as_deref().unwrap_or("form") == mode => {
                    let answer = handler(params);
                    Box::pin(async move {
                        answer.await.map(|result| Json::new(&result).expect("strings and JSON"))
                    })
                }
                (params, _, Some(other)) => other(params),
                (_, _, None) => {
                    let error = RpcError::new(INVALID_PARAMS, "this mode of elicitation is not supported");
                    Box::pin(std::future::ready(Err(error)))
                }
            }
        });
    }
}

/// What a handler holds is the application's, and so is its drop. **Drop:** a panic goes no further.
struct Contained(Option<BoxFuture<'static, HandlerResult>>);

impl Drop for Contained {
    fn drop(&mut self) {
        contain(|| drop(self.0.take()));
    }
}

fn replace<T>(ours: &mut Option<T>, more: Option<T>) {
    if more.is_some() {
        *ours = more;
    }
}

/// The parameters of a server's request.
fn read<T: DeserializeOwned>(params: Option<Json>) -> Result<T, RpcError> {
    let params = params.ok_or_else(|| RpcError::new(INVALID_PARAMS, "parameters are missing"))?;
    params.parse().map_err(|error| RpcError::new(INVALID_PARAMS, chain(&error)))
}

/// An error with its cause, for the server.
fn chain(error: &FormError) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[derive(Serialize)]
struct ElicitResult {
    action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<Box<RawValue>>,
}

impl ElicitResult {
    fn refused(answer: &Elicited) -> Self {
        let action = if matches!(answer, Elicited::Decline) { "decline" } else { "cancel" };
        Self { action, content: None }
    }
}

/// Whether the user agreed to what was asked for.
pub(crate) fn is_acceptance(answer: &RawValue) -> bool {
    #[derive(Deserialize)]
    struct Answer<'a> {
        action: &'a str,
    }
    serde_json::from_str(answer.get()).is_ok_and(|answer: Answer<'_>| answer.action == "accept")
}

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.by_method.keys()).finish()
    }
}

/// The requests being served. Lives in the driver.
#[derive(Default)]
pub(crate) struct Serving {
    running: Vec<Running>,
}

struct Running {
    id: RequestId,
    /// How much text its parameters have.
    bytes: usize,
    answer: BoxFuture<'static, HandlerResult>,
}

impl Serving {
    pub(crate) fn len(&self) -> usize {
        self.running.len()
    }

    /// Whether one more request may be answered now.
    pub(crate) fn has_room(&self, request: &ServerRequest, limits: &Limits) -> bool {
        let bytes: usize = self.running.iter().map(|running| running.bytes).sum();
        let is_alone = self.running.is_empty();
        self.running.len() < limits.server_requests
            && (is_alone || bytes.saturating_add(request.bytes()) <= limits.request_bytes)
    }

    /// Starts a handler. Where there is none, this is the answer.
    pub(crate) fn start(&mut self, handlers: &Handlers, request: ServerRequest) -> Option<Outgoing<'static>> {
        let bytes = request.bytes();
        let ServerRequest { id, method, params } = request;
        match handlers.answer(&method, params.map(Json::from)) {
            None => Some(answer(&id, Err(RpcError::new(-32601, "method not found")))),
            Some(answer) => {
                self.running.push(Running { id, bytes, answer });
                None
            }
        }
    }

    /// REV-08: the server does not want an answer any more. Returns how many requests that were: an id
    /// that it uses twice counts twice.
    pub(crate) fn cancel(&mut self, id: &RequestId) -> usize {
        let before = self.running.len();
        self.running.retain(|running| running.id != *id);
        before - self.running.len()
    }

    /// The answers that are ready.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, mut on_answer: impl FnMut(Outgoing<'static>)) {
        self.running.retain_mut(|Running { id, answer: future, .. }| match future.as_mut().poll(cx) {
            Poll::Pending => true,
            Poll::Ready(result) => {
                on_answer(answer(id, result));
                false
            }
        });
    }
}

pub(crate) fn answer(id: &RequestId, result: HandlerResult) -> Outgoing<'static> {
    let body = match result {
        Ok(result) => message::encode_result(id, result.as_raw()),
        Err(error) => message::encode_error(id, &error),
    };
    Outgoing::unasked(None, body)
}

/// The answer to a request that finds no room.
pub(crate) fn busy(id: &RequestId) -> Outgoing<'static> {
    answer(id, Err(RpcError::new(-32603, "the client is busy with other requests")))
}

fn panicked() -> RpcError {
    RpcError::new(-32603, "the client's handler panicked")
}
