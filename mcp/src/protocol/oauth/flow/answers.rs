//! What the answers to the requests mean, and what is stored in the end.

use super::exchange::{Exchange, What};
use super::{At, Flow};
use crate::protocol::oauth::config::Dpop;
use crate::protocol::oauth::failure::{AuthErrorKind, AuthStep, Failure, Refusal};
use crate::protocol::oauth::grant;
use crate::protocol::oauth::place;
use crate::protocol::oauth::step::{Answer, Unreachable};
use crate::protocol::oauth::stored::{Members, RegistrationKind, Scheme, Stored, Tokens};
use serde_json::{Map, Value};

impl Flow {
    pub(super) fn exchange_unreachable(&mut self, exchange: &Exchange, why: Unreachable) {
        let is_refresh = matches!(exchange.what, What::Refresh(_));
        let (sent, forbidden) = (why.sent, why.forbidden.is_some());
        let failure = Self::failure_of(why, exchange.what.step(), &exchange.url);
        match is_refresh && !sent && !forbidden && !self.search.is_past_resource {
            // A refresh token that may have arrived is not sent again: some servers take the second use for a theft.
            true => self.look_again(self.audience().to_owned(), failure),
            false => self.fail_as(Failure { uncertain: is_refresh && sent, ..failure }, None),
        }
    }

    pub(super) fn exchange_answered(&mut self, exchange: Exchange, answer: &Answer) {
        let code = grant::error(&answer.body).map(|it| it.error);
        let code = code.as_deref().filter(|_| exchange.proof.is_some());
        if code == Some("use_dpop_nonce") && answer.dpop_nonce.is_some() && !exchange.has_new_nonce {
            return self.post_again(exchange, true);
        }
        let ahead = answer.date.map_or(0, |date| date.ahead_of(self.now));
        if code == Some("invalid_dpop_proof") && ahead.unsigned_abs() > 30 && self.skew == 0 {
            self.skew = ahead;
            let has_new_nonce = exchange.has_new_nonce;
            return self.post_again(exchange, has_new_nonce);
        }
        let Exchange { what, url, .. } = exchange;
        let step = what.step();
        let usable = match answer {
            _ if matches!(what, What::Revoke(..)) => Ok(()),
            it if it.body.len() > self.config.limits.document => Err("the answer is too long"),
            it if it.is_compressed() => Err("the answer is compressed, though that was not asked for"),
            _ => Ok(()),
        };
        if let Err(why) = usable {
            return self.fail_as(Failure::new(AuthErrorKind::TokenUnusable(why), step), Some(&url));
        }
        if let What::Register { .. } = what {
            return self.registered(what, &url, answer);
        }
        if let What::Revoke(..) = what {
            return self.revoked(&url, answer);
        }
        match grant::read(answer.status, answer.retry_after, &answer.body) {
            Ok(members) if matches!(what, What::Identity(_)) => self.identity_exchanged(&members, &url),
            Ok(members) => self.issued(&what, &url, members, exchange.proof.is_some()),
            Err(refused) => self.refused(&what, &url, refused),
        }
    }

    fn refused(&mut self, what: &What, url: &str, refused: grant::Refused) {
        let is_dynamic = self.registration.as_ref().is_some_and(|it| it.kind == RegistrationKind::Dynamic);
        let is_forgotten = refused.refusal == Some(Refusal::ClientForgotten) && is_dynamic;
        if matches!(what, What::Code(..)) && is_forgotten && !self.registered_again {
            self.registered_again = true;
            self.registration = None;
            self.at = At::Receiver { refused: false };
            return;
        }
        let mut failure = Failure::new(refused.kind, what.step());
        if let What::Refresh(_) = what {
            let is_elsewhere =
                matches!(failure.kind, AuthErrorKind::Unavailable { status: Some(404 | 405), .. });
            if is_elsewhere && !self.search.is_past_resource {
                failure.host = place::authority(url);
                return self.look_again(self.audience().to_owned(), failure);
            }
            failure.refusal = match refused.refusal {
                // A client that is configured wrongly costs no tokens.
                Some(Refusal::ClientForgotten) if !is_dynamic => Some(Refusal::Other),
                refusal => refusal,
            };
        }
        self.fail_as(failure, Some(url));
    }

    fn issued(&mut self, what: &What, url: &str, members: Map<String, Value>, has_proof: bool) {
        let before = self.known.stored.as_ref().filter(|_| matches!(what, What::Refresh(_)));
        let old = before.and_then(|it| it.tokens.as_ref());
        let is_bound = self.config.dpop == Dpop::Required
            || self.about.as_ref().is_some_and(|it| it.wants_proofs && has_proof)
            || old.is_some_and(|it| it.scheme == Scheme::Dpop);
        let issued = grant::issued(members, old, self.now, &self.config.limits).and_then(|issued| {
            match (issued.tokens.scheme, is_bound, has_proof) {
                (Scheme::Bearer, true, _) => Err("it is not bound to a key, and has to be"),
                (Scheme::Dpop, _, false) => Err("it is bound to a key, and not to ours"),
                _ => Ok(issued),
            }
        });
        let issued = match issued {
            Ok(issued) => issued,
            Err(why) => {
                return self.fail_as(Failure::new(AuthErrorKind::TokenUnusable(why), what.step()), Some(url));
            }
        };
        let stored = match before {
            Some(before) => self.refreshed(before, url, issued),
            None => self.granted(issued),
        };
        let Some(mut stored) = stored else {
            return self.fail(AuthErrorKind::LoginRequired { issuer: None }, what.step());
        };
        // An entry that is too long could not be read again. So what nobody needs is left out first.
        let is_small = |stored: &Stored, limit| stored.to_text().len() <= limit;
        let limit = self.config.limits.stored;
        if let (false, Some(tokens)) = (is_small(&stored, limit), &mut stored.tokens) {
            tokens.others = Members::default();
        }
        match is_small(&stored, limit) {
            true => self.at = At::Over(Ok(Box::new(stored))),
            false => self.fail_as(Failure::new(AuthErrorKind::Limit("stored"), what.step()), Some(url)),
        }
    }

    fn refreshed(&self, before: &Stored, url: &str, issued: grant::Issued) -> Option<Stored> {
        let mut others = before.tokens.as_ref()?.others.clone();
        others.0.extend(issued.tokens.others.0);
        Some(Stored {
            token_endpoint: url.to_owned(),
            registration: self.registration.clone()?,
            tokens: Some(Tokens { others, ..issued.tokens }),
            granted: issued.granted.unwrap_or_else(|| before.granted.clone()),
            uncertain: false,
            ..before.clone()
        })
    }

    fn granted(&self, issued: grant::Issued) -> Option<Stored> {
        let server = self.server.as_ref()?;
        let mut registration = self.registration.clone()?;
        if registration.redirect_uri.is_none() {
            registration.redirect_uri.clone_from(&self.redirect_uri);
        }
        Some(Stored {
            issuer: server.issuer.clone(),
            token_endpoint: server.metadata.token_endpoint.clone(),
            revocation_endpoint: server.metadata.revocation_endpoint.clone(),
            resource: self.resource_parameter(),
            registration,
            proof_key: self.proof_key.clone().filter(|_| issued.tokens.scheme == Scheme::Dpop),
            tokens: Some(issued.tokens),
            granted: issued.granted.unwrap_or_else(|| self.requested.clone()),
            requested: self.requested.clone(),
            uncertain: false,
            others: self
                .stored_of(Some(&server.issuer))
                .map_or_else(Default::default, |it| it.others.clone()),
        })
    }

    fn revoked(&mut self, url: &str, answer: &Answer) {
        let failure = match grant::error(&answer.body) {
            Some(words) => AuthErrorKind::Refused(words),
            None if answer.status == 200 => {
                let stored = self.known.stored.as_ref().map(|it| Box::new(it.without_tokens()));
                return self.at = stored.map_or_else(|| self.take(), |stored| At::Over(Ok(stored)));
            }
            None => {
                let (status, retry_after) = (Some(answer.status), answer.retry_after);
                AuthErrorKind::Unavailable { status, retry_after }
            }
        };
        self.fail_as(Failure::new(failure, AuthStep::Revocation), Some(url));
    }
}
