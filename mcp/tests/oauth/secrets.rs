//! Nothing that is printed has a token, a code, a verifier, a state or a client's secret in it, though servers repeat them.

use crate::fault::run::once;
use crate::kit::{Both, REDIRECT_URI, Then, agree, call, with_client};
use serde_json::json;
use shared_fate_mcp::oauth::{ClientId, FileStore, Loopback, OAuth, Prompt, Stored, consent_fn};
use shared_fate_mcp::{Client, Error, Event};
use std::error::Error as StdError;
use std::sync::{Arc, Mutex};

/// Everything that was printed.
#[derive(Clone, Default)]
struct Printed(Arc<Mutex<Vec<String>>>);

impl Printed {
    fn add(&self, text: impl Into<String>) {
        self.0.lock().unwrap().push(text.into());
    }

    fn error(&self, error: &Error) {
        self.add(format!("{error} {error:#} {error:?} {error:#?}"));
        let mut source = StdError::source(error);
        while let Some(error) = source {
            self.add(format!("{error} {error:?}"));
            source = error.source();
        }
        if let Some(http) = error.http() {
            self.add(format!("{http} {http:?} {} {:?}", http.body_excerpt(), http.challenges()));
        }
    }

    fn check(&self, both: &Both) {
        let printed = self.0.lock().unwrap();
        assert!(printed.len() > 10);
        let books = both.books();
        assert!(books.secrets.len() > 10);
        for secret in &books.secrets {
            for text in &*printed {
                assert!(!text.contains(secret.as_str()), "{secret} in {text}");
            }
        }
    }
}

#[test]
fn sec_09_nothing_that_is_printed_has_a_secret_in_it() {
    once(async |run| {
        let both = Both::start();
        let printed = Printed::default();
        let echo = |kind: &str| {
            json!({ "error": kind, "error_description": "$TOKEN $TOKEN", "error_uri": "http://a/?t=$TOKEN" })
                .to_string()
        };
        let folder = crate::store::new_folder();
        let store = FileStore::new(&folder).unwrap();
        let oauth = both.builder().store(store.clone()).prompt(Prompt::OnCall).build();
        let events = printed.clone();
        let http = both.http(&oauth);
        printed.add(format!("{http:?} {oauth:?} {:?} {store:?}", both.builder()));
        oauth.login(&http).await.unwrap();
        printed.add(format!("{:?}", oauth.status(&http).await.unwrap()));
        let connected = Client::builder()
            .on_event(move |event| {
                events.add(format!("{event:?}"));
                if let Event::Auth(event) = event {
                    events.add(format!("{event:?} {event:#?}"));
                }
            })
            .connect(http)
            .await
            .unwrap();
        with_client(run, connected, async |client| {
            for kind in ["invalid_request", "temporarily_unavailable", "invalid_grant"] {
                both.books().expire();
                both.books().then = Then::Say("400 Bad Request", "X-A: b", echo(kind));
                both.books().denies = true;
                printed.error(&call(client).await.unwrap_err());
                both.books().then = Then::Answer;
                both.books().denies = false;
                oauth.login(&both.http(&oauth)).await.unwrap();
            }
            // The MCP server repeats the token that it refuses.
            both.books().revoke();
            both.books().spoil = true;
            printed.error(&call(client).await.unwrap_err());
            both.books().spoil = false;
        })
        .await;
        // The authorization server repeats the code that it refuses.
        let books = Arc::clone(&both.books);
        let consent = consent_fn(REDIRECT_URI, move |url| {
            let redirected = agree(&url, &books).replace("code=", "code=5ecret-other-");
            books.lock().unwrap().secrets.push("5ecret-other-".to_owned());
            async move { Ok(redirected) }
        });
        let other = OAuth::builder().consent(consent).build();
        printed.error(&other.login(&both.http(&other)).await.unwrap_err());
        printed.add(format!("{:?}", Loopback::new(|_| ())));
        let fails = consent_fn(REDIRECT_URI, |_| async { Err("the browser is gone".into()) });
        let other = OAuth::builder().consent(fails).build();
        printed.error(&other.login(&both.http(&other)).await.unwrap_err());
        let client = ClientId::new("id").secret("5ecret-client");
        both.books().secrets.push("5ecret-client".to_owned());
        printed.add(format!("{client:?}"));
        // Nothing but the file shows what is stored.
        let mut file = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        let file = file.find(|path| path.extension().is_some_and(|it| it == "json")).unwrap();
        let text = std::fs::read_to_string(file).unwrap();
        assert!(text.contains("5ecret-refresh"));
        let stored = Stored::from_text(&text).unwrap();
        printed.add(format!("{stored:?} {stored:#?}"));
        printed.add(format!("{}", Stored::from_text(&text[1..]).unwrap_err()));
        printed.check(&both);
        std::fs::remove_dir_all(&folder).unwrap();
    });
}
