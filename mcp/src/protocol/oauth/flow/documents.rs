//! Finds out who issues tokens, from the MCP server's metadata and then from the authorization server's.

use super::{At, Flow, Server};
use crate::protocol::oauth::config::Why;
use crate::protocol::oauth::failure::{AuthErrorKind, AuthStep, Failure, IssuerIn};
use crate::protocol::oauth::grant::is_passing;
use crate::protocol::oauth::metadata::{ResourceMetadata, ServerMetadata, Unusable};
use crate::protocol::oauth::place::{self, Place};
use crate::protocol::oauth::secret::Secret;
use crate::protocol::oauth::step::{Answer, Fetch, Unreachable};
use std::collections::VecDeque;

/// A document that is being fetched.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) url: String,
    what: What,
    redirects: usize,
}

#[derive(Clone, Debug)]
enum What {
    Resource,
    /// The issuer whose document it should be.
    Server(String),
}

impl What {
    fn step(&self) -> AuthStep {
        match self {
            Self::Resource => AuthStep::Resource,
            Self::Server(_) => AuthStep::Server,
        }
    }
}

/// Which places are left to be asked, and what came of those that were.
#[derive(Debug, Default)]
pub(super) struct Search {
    places: VecDeque<(String, What)>,
    issuers: VecDeque<String>,
    /// Whether the MCP server's own document was found, or is nowhere.
    pub(super) is_past_resource: bool,
    candidates: usize,
    tried: Vec<(String, String)>,
    /// The first failure that may pass: after one, nobody knows which documents do not exist.
    passing: Option<Failure>,
    /// What is wrong with an authorization server's document.
    broken: Option<Failure>,
    /// Whether the MCP server's own origin stands in for an authorization server.
    is_fallback: bool,
}

impl Flow {
    pub(super) fn look_for_resource(&mut self) {
        let advertised = self.demand().and_then(|it| it.resource_metadata.clone());
        let mut places: Vec<String> = advertised.into_iter().collect();
        for place in place::resource_candidates(&self.resource.url) {
            if !places.contains(&place) {
                places.push(place);
            }
        }
        self.search.places = places.into_iter().map(|url| (url, What::Resource)).collect();
        self.next_place();
    }

    /// Reads the metadata of a refresh token's issuer again: the token endpoint may have moved.
    pub(super) fn look_again(&mut self, issuer: String, first: Failure) {
        self.search.passing = Some(first);
        self.search.is_past_resource = true;
        self.search.issuers = [issuer].into();
        self.next_place();
    }

    /// Asks at the next place that may be asked, or ends.
    fn next_place(&mut self) {
        loop {
            if let Some((url, what)) = self.search.places.pop_front() {
                match self.may_ask(&url, what.step()) {
                    Err(why) => self.tried(&url, why),
                    Ok(()) if self.search.candidates == self.config.limits.candidates => {
                        return self.fail(AuthErrorKind::Limit("candidates"), what.step());
                    }
                    Ok(()) => {
                        self.search.candidates += 1;
                        return self.get(Document { url, what, redirects: 0 });
                    }
                }
            } else if let Some(issuer) = self.search.issuers.pop_front() {
                self.search.places = self
                    .places_of(&issuer)
                    .into_iter()
                    .map(|url| (url, What::Server(issuer.clone())))
                    .collect();
                if self.search.places.is_empty() {
                    self.tried(&issuer, "it is no issuer");
                }
            } else if self.search.is_past_resource {
                return self.places_are_over();
            } else {
                self.search.is_past_resource = true;
                self.search.issuers = self.issuers().into();
            }
        }
    }

    /// Who may give out tokens, after the server's own document was read, or not found.
    fn issuers(&mut self) -> Vec<String> {
        let listed = self.about.as_ref().map_or_else(Vec::new, |it| it.servers.clone());
        let mut issuers = match &self.config.server {
            Some(pinned) => vec![pinned.issuer.clone()],
            // The MCP server itself, as in the revision 2025-03-26.
            None if listed.is_empty() => {
                self.search.is_fallback = true;
                Place::of(&self.resource.url).map(|it| it.base().to_owned()).into_iter().collect()
            }
            None => self.in_order(listed),
        };
        issuers.truncate(self.config.limits.servers);
        issuers
    }

    /// The issuer that we know first, then the others; else only the one that the application chooses; else all as listed.
    fn in_order(&self, mut listed: Vec<String>) -> Vec<String> {
        let known = listed.iter().position(|issuer| self.stored_of(Some(issuer)).is_some());
        match (known, &self.config.choose_server) {
            (Some(known), _) => listed[..=known].rotate_right(1),
            (None, Some(choose)) if listed.len() > 1 => {
                let chosen = (choose.0)(&listed).and_then(|index| listed.get(index).cloned());
                return chosen.into_iter().collect();
            }
            (None, _) => {}
        }
        listed
    }

    fn places_of(&self, issuer: &str) -> Vec<String> {
        let pinned = self.config.server.as_ref().filter(|it| place::is_same_issuer(&it.issuer, issuer));
        match pinned.and_then(|it| it.metadata_url.clone()) {
            Some(pinned) => vec![pinned],
            None => place::server_candidates(issuer),
        }
    }

    fn may_ask(&mut self, url: &str, step: AuthStep) -> Result<(), &'static str> {
        if !place::is_endpoint(url) {
            return Err("it is not an http or https URL");
        }
        if !place::is_allowed(url, &self.resource.url, self.config.insecure_http) {
            let what = format!("{:?}", place::shown(url));
            let failure = Failure::new(AuthErrorKind::Insecure { what }, step);
            self.search.broken.get_or_insert(failure);
            return Err("it is not https");
        }
        Ok(())
    }

    fn tried(&mut self, url: &str, outcome: impl Into<String>) {
        self.search.tried.push((place::shown(url).to_owned(), outcome.into()));
    }

    fn get(&mut self, document: Document) {
        if self.may_fetch(document.what.step()) {
            self.at = At::Document(document);
        }
    }

    pub(super) fn fetch_document(&self, document: &Document) -> Fetch {
        let mut fetch = self.fetch("GET", &document.url, document.what.step());
        if let (What::Resource, Some(revision)) = (&document.what, self.resource.revision) {
            fetch.headers.push(("mcp-protocol-version", Secret::new(revision)));
        }
        fetch
    }

    pub(super) fn document_unreachable(&mut self, document: &Document, why: Unreachable) {
        let is_forbidden = why.forbidden.is_some();
        let failure = Self::failure_of(why, document.what.step(), &document.url);
        match is_forbidden {
            true => self.search.broken.get_or_insert(failure),
            false => self.search.passing.get_or_insert(failure),
        };
        self.next_place();
    }

    pub(super) fn document_answered(&mut self, document: Document, answer: &Answer) {
        let status = answer.status;
        if let (301 | 302 | 303 | 307 | 308, Some(location)) = (status, &answer.location) {
            let to = place::redirected(&document.url, location);
            return match to.filter(|_| document.redirects < self.config.limits.redirects) {
                Some(url) => self.get(Document { url, redirects: document.redirects + 1, ..document }),
                None => self.not_here(&document, "a redirect that is not followed"),
            };
        }
        if is_passing(status) {
            let kind = AuthErrorKind::Unavailable { status: Some(status), retry_after: answer.retry_after };
            let host = place::authority(&document.url);
            let failure = Failure { host, ..Failure::new(kind, document.what.step()) };
            self.search.passing.get_or_insert(failure);
            return self.next_place();
        }
        if status != 200 {
            return self.not_here(&document, format!("status {status}"));
        }
        if answer.body.len() > self.config.limits.document {
            return self.not_here(&document, "it is too long");
        }
        if answer.is_compressed() {
            return self.not_here(&document, "it is compressed, though that was not asked for");
        }
        match document.what.clone() {
            What::Resource => self.read_resource(&document, &answer.body),
            What::Server(issuer) => self.read_server(&document, issuer, &answer.body),
        }
    }

    fn not_here(&mut self, document: &Document, why: impl Into<String>) {
        self.tried(&document.url, why);
        self.next_place();
    }

    fn read_resource(&mut self, document: &Document, body: &[u8]) {
        let about = match ResourceMetadata::read(body, &self.config.limits) {
            Ok(about) => about,
            Err(why) => return self.not_here(document, why),
        };
        if !place::is_covered(&about.resource, &self.resource.url) {
            let expected = place::canonical(&self.resource.url).to_owned();
            let kind = AuthErrorKind::ResourceMismatch { expected, found: about.resource };
            return self.fail_as(Failure::new(kind, AuthStep::Resource), Some(&document.url));
        }
        self.about = Some(about);
        self.search.places.clear();
        self.next_place();
    }

    fn read_server(&mut self, document: &Document, issuer: String, body: &[u8]) {
        let person = self.config.grant.needs_person() && !matches!(self.why, Why::Refresh);
        let metadata = match ServerMetadata::read(body, person) {
            Ok(metadata) => metadata,
            Err(Unusable::Other(why)) => return self.not_here(document, why),
            Err(Unusable::Broken(why)) => return self.broken(document, AuthErrorKind::Metadata(why)),
        };
        match metadata.issuer.clone() {
            // Redirects are compared with the issuer as the document writes it, which may differ by a slash.
            Some(found) if place::is_same_issuer(&issuer, &found) => {
                self.found(Server { issuer: found, metadata });
            }
            Some(found) => {
                let kind = AuthErrorKind::IssuerMismatch { expected: issuer, found, at: IssuerIn::Metadata };
                self.broken(document, kind);
            }
            None if self.config.allow_missing_issuer => self.found(Server { issuer, metadata }),
            None => {
                let why = "it has no `issuer`; if that is right, use `allow_missing_issuer`";
                self.broken(document, AuthErrorKind::Metadata(why.to_owned()));
            }
        }
    }

    /// Remembers what is wrong with a document, for an error if no other document is right.
    fn broken(&mut self, document: &Document, kind: AuthErrorKind) {
        let host = place::authority(&document.url);
        let failure = Failure { host, ..Failure::new(kind, AuthStep::Server) };
        self.search.broken.get_or_insert(failure);
        self.not_here(document, "a document that cannot be used");
    }

    fn places_are_over(&mut self) {
        let search = std::mem::take(&mut self.search);
        // A failure that may pass comes first: the right document may be there.
        if let Some(failure) = search.passing.or(search.broken) {
            return self.fail_as(failure, None);
        }
        if search.is_fallback && self.config.guess_endpoints {
            let origin = Place::of(&self.resource.url).map_or("", |it| it.base()).to_owned();
            let metadata = ServerMetadata::guessed(&origin);
            return self.found(Server { issuer: origin, metadata });
        }
        self.fail(AuthErrorKind::NoAuthorizationServer { tried: search.tried }, AuthStep::Server);
    }

    fn found(&mut self, server: Server) {
        let metadata = &server.metadata;
        let endpoints = [Some(&metadata.token_endpoint), metadata.authorization_endpoint.as_ref()];
        let is_insecure =
            |url: &&String| !place::is_allowed(url, &self.resource.url, self.config.insecure_http);
        let insecure = endpoints.into_iter().flatten().find(is_insecure).cloned();
        let (has_pkce, token_endpoint) = (metadata.pkce, metadata.token_endpoint.clone());
        self.server = Some(server);
        if let Some(url) = insecure {
            let what = format!("{:?}", place::shown(&url));
            self.fail(AuthErrorKind::Insecure { what }, AuthStep::Server);
        } else if matches!(self.why, Why::Refresh) {
            self.refresh_at(token_endpoint);
        } else if self.config.grant.needs_person() && !has_pkce && !self.config.assume_pkce {
            self.fail(AuthErrorKind::NoPkce, AuthStep::Server);
        } else {
            self.choose_client();
        }
    }
}
