//! People who do not answer, say no, or bring back what they should not; and the clocks that stand still for them.

use crate::check::{on, story};
use crate::fault::clock::Clock;
use crate::fault::run::{everywhere, once};
use crate::kit::{Both, REDIRECT_URI, agree, auth, call, needs_login, with_client};
use futures::future::{Either, join, select};
use shared_fate_mcp::oauth::{
    AuthErrorKind, Consent, Loopback, MemoryStore, OAuth, OAuthBuilder, OAuthTimeouts, Prompt, consent_fn,
};
use shared_fate_mcp::runtime::BoxFuture;
use shared_fate_mcp::{Client, Mode};
use smol::channel::{self, Receiver, Sender};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A person who answers when the test says so.
struct Person {
    urls: Receiver<String>,
    answers: Sender<String>,
}

/// A person, and settings with which that person is asked.
fn slow_person() -> (Person, OAuthBuilder) {
    let (asks, urls) = channel::unbounded();
    let (answers, answered) = channel::unbounded::<String>();
    let consent = consent_fn(REDIRECT_URI, move |url| {
        let (asks, answered) = (asks.clone(), answered.clone());
        async move {
            asks.send(url).await?;
            Ok(answered.recv().await?)
        }
    });
    (Person { urls, answers }, OAuth::builder().consent(consent))
}

impl Person {
    /// Resolves when the person is asked: the URL that they are sent to.
    async fn asked(&self) -> String {
        self.urls.recv().await.unwrap()
    }

    /// Polls `login` until the person is asked.
    async fn asked_by<T>(&self, login: Pin<&mut impl Future<Output = T>>) -> String {
        match select(login, pin!(self.asked())).await {
            Either::Left(_) => panic!("the login ended before the person was asked"),
            Either::Right((url, _)) => url,
        }
    }

    async fn agrees(&self, url: &str, both: &Both) {
        self.answers.send(agree(url, &both.books)).await.unwrap();
    }

    /// A login to which the person agrees.
    async fn signs_in(&self, oauth: &OAuth, both: &Both) {
        let http = both.http(oauth);
        let (result, ()) =
            join(oauth.login(&http), async { self.agrees(&self.asked().await, both).await }).await;
        result.unwrap();
    }
}

#[test]
fn oa_63_while_a_person_is_asked_no_clock_runs_but_theirs() {
    // All is in one task: where a driver in another thread asks, the call learns of it a moment later.
    once(async |run| {
        let both = Both::start();
        let clock = Clock::new();
        let (person, builder) = slow_person();
        let oauth = builder.prompt(Prompt::OnCall).build();
        let hours = Duration::from_secs(4 * 3600);
        let builder = on(&clock);
        // First the handshake has the person asked, then a call.
        let answering = async {
            let url = person.asked().await;
            clock.advance(hours);
            person.agrees(&url, &both).await;
        };
        let (connected, ()) = join(builder.connect(both.http(&oauth)), answering).await;
        with_client(run, connected.unwrap(), async |client| {
            both.books().revoke();
            let answering = async {
                let url = person.asked().await;
                clock.advance(hours);
                clock.advance(hours);
                person.agrees(&url, &both).await;
            };
            let (result, ()) = join(call(client), answering).await;
            result.unwrap();
            assert_eq!(both.books().asked, 2);
        })
        .await;
    });
}

#[test]
fn oa_72_calls_that_need_a_person_at_the_same_time_wait_for_one_answer() {
    everywhere(async |run| {
        let both = Both::start();
        let (person, builder) = slow_person();
        let oauth = builder.prompt(Prompt::OnCall).build();
        person.signs_in(&oauth, &both).await;
        let connected = Client::builder().mode(Mode::Legacy).connect(both.http(&oauth)).await.unwrap();
        with_client(run, connected, async |client| {
            both.books().revoke();
            let answering = async { person.agrees(&person.asked().await, &both).await };
            let calls = futures::future::join_all((0..20).map(|_| call(client)));
            let (results, ()) = join(calls, answering).await;
            results.into_iter().for_each(Result::unwrap);
            assert_eq!((both.books().asked, person.urls.len()), (2, 0));
        })
        .await;
    });
}

#[test]
fn oa_63_after_a_person_has_answered_the_clocks_run_on() {
    once(async |run| {
        let both = Both::start();
        let clock = Clock::new();
        let (person, builder) = slow_person();
        let oauth = builder.prompt(Prompt::OnCall).build();
        person.signs_in(&oauth, &both).await;
        let connected = on(&clock).connect(both.http(&oauth)).await.unwrap();
        with_client(run, connected, async |client| {
            both.books().revoke();
            both.books().mute = true;
            let answering = async {
                let url = person.asked().await;
                clock.advance(Duration::from_secs(4 * 3600));
                person.agrees(&url, &both).await;
                both.server.arrival(|request| !request.tool().is_empty()).await;
                both.server.arrival(|request| !request.tool().is_empty()).await;
                // As much silence as a call may meet.
                clock.pass(Duration::from_secs(60)).await;
            };
            let (result, ()) = join(call(client), answering).await;
            assert!(result.unwrap_err().is_timeout());
        })
        .await;
    });
}

#[test]
fn oa_63_the_time_of_a_task_stands_still_for_a_person_too() {
    once(async |run| {
        let both = Both::start();
        let clock = Clock::new();
        let (person, builder) = slow_person();
        let oauth = builder.prompt(Prompt::OnCall).build();
        person.signs_in(&oauth, &both).await;
        let connected = on(&clock).connect(both.http(&oauth)).await.unwrap();
        with_client(run, connected, async |client| {
            let answering = async {
                let url = person.asked().await;
                clock.advance(Duration::from_secs(8 * 3600));
                person.agrees(&url, &both).await;
            };
            let task = client.run_tool_as_task("slow", serde_json::json!({}), None);
            let (result, ()) = join(task, answering).await;
            result.unwrap();
        })
        .await;
    });
}

#[test]
fn oa_64_a_person_who_never_answers_is_asked_no_more() {
    once(async |_| {
        let both = Both::start();
        let (person, builder) = slow_person();
        let mut timeouts = OAuthTimeouts::default();
        timeouts.person = Duration::from_millis(1);
        let oauth = builder.prompt(Prompt::OnCall).timeouts(timeouts).build();
        let error = Client::connect(both.http(&oauth)).await.unwrap_err();
        assert!(matches!(auth(&error).kind(), AuthErrorKind::TimedOut { .. }), "{}", story(&error));
        assert_eq!(auth(&error).host(), Some(&*both.server.address().to_string()));
        let error = Client::connect(both.http(&oauth)).await.unwrap_err();
        assert!(needs_login(&error), "{}", story(&error));
        assert_eq!(person.urls.len(), 1);
    });
}

#[test]
fn oa_64_a_person_who_says_no_is_asked_no_more_and_calls_ask_twice_at_most() {
    once(async |run| {
        let both = Both::start();
        let oauth = both.builder().prompt(Prompt::OnCall).build();
        both.books().denies = true;
        let error = Client::connect(both.http(&oauth)).await.unwrap_err();
        assert!(
            matches!(auth(&error).kind(), AuthErrorKind::Denied(answer) if answer.error == "access_denied")
        );
        assert!(needs_login(&Client::connect(both.http(&oauth)).await.unwrap_err()));
        assert_eq!(both.books().asked, 1);
        // A login lets calls ask again: twice in ten minutes.
        both.books().denies = false;
        let connected = both.signed_in(&oauth).await;
        with_client(run, connected, async |client| {
            for _ in 0..2 {
                both.books().revoke();
                call(client).await.unwrap();
            }
            both.books().revoke();
            assert!(needs_login(&call(client).await.unwrap_err()));
            assert_eq!(both.books().asked, 4);
        })
        .await;
    });
}

/// The answer that a browser gets at this URL.
fn browse(url: &str) -> String {
    let (authority, target) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut socket = TcpStream::connect(authority).unwrap();
    write!(socket, "GET /{target} HTTP/1.1\r\nHost: {authority}\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn oa_67_a_browser_comes_back_to_this_machine_by_whichever_name_the_server_takes() {
    everywhere(async |_| {
        for (only_localhost, host) in [(false, "http://127.0.0.1:"), (true, "http://localhost:")] {
            let both = Both::start();
            both.books().only_localhost = only_localhost;
            let books = Arc::clone(&both.books);
            let (pages, shown) = channel::unbounded();
            let consent = Loopback::new(move |url| {
                let (redirected, pages) = (agree(url, &books), pages.clone());
                thread::spawn(move || pages.try_send(browse(&redirected)));
            });
            let oauth = OAuth::builder().consent(consent).build();
            oauth.login(&both.http(&oauth)).await.unwrap();
            assert!(shown.recv().await.unwrap().starts_with("HTTP/1.1 200 OK"));
            assert!(both.seen(|it| it.forms[0]["redirect_uri"].starts_with(host)));
        }
    });
}

#[test]
fn oa_60_what_belongs_to_another_attempt_is_refused() {
    once(async |_| {
        let both = Both::start();
        let consent = consent_fn(REDIRECT_URI, |_| async { Ok(format!("{REDIRECT_URI}?code=x&state=y")) });
        let oauth = OAuth::builder().consent(consent).build();
        let error = oauth.login(&both.http(&oauth)).await.unwrap_err();
        assert!(matches!(auth(&error).kind(), AuthErrorKind::State), "{}", story(&error));
        assert_eq!(both.books().codes_exchanged, 0);
    });
}

#[test]
fn oa_65_a_panic_of_whoever_asks_is_an_error_and_nothing_more() {
    struct Panics(u32);
    impl Consent for Panics {
        fn begin(&self) -> BoxFuture<'_, Result<Box<dyn shared_fate_mcp::oauth::Visit>, BoxError>> {
            assert_ne!(self.0, 0, "at once");
            Box::pin(async { panic!("a little later") })
        }
    }
    everywhere(async |_| {
        let both = Both::start();
        let visits = consent_fn(REDIRECT_URI, |_| async { panic!("in the visit") });
        let at_once = consent_fn(REDIRECT_URI, |url| -> std::future::Ready<Result<String, BoxError>> {
            panic!("in the closure: {}", url.len())
        });
        let builder = OAuth::builder;
        let handles = [
            (builder().consent(Panics(0)).build(), "at once"),
            (builder().consent(Panics(1)).build(), "a little later"),
            (builder().consent(visits).build(), "in the visit"),
            (builder().consent(at_once).build(), "in the closure"),
        ];
        for (oauth, why) in handles {
            for _ in 0..2 {
                let error = oauth.login(&both.http(&oauth)).await.unwrap_err();
                assert!(matches!(auth(&error).kind(), AuthErrorKind::Consent), "{}", story(&error));
                assert!(story(&error).contains(why), "{}", story(&error));
            }
        }
    });
}

#[test]
fn oa_74_a_caller_that_goes_leaves_the_question_open_for_the_next() {
    everywhere(async |_| {
        let both = Both::start();
        let (person, builder) = slow_person();
        let oauth = builder.build();
        let http = both.http(&oauth);
        let url = person.asked_by(pin!(oauth.login(&http))).await;
        person.agrees(&url, &both).await;
        oauth.login(&http).await.unwrap();
        assert_eq!((person.urls.len(), both.books().asked), (0, 1));
    });
}

#[test]
fn oa_72_one_question_at_a_time() {
    once(async |_| {
        let (one, other, third) = (Both::start(), Both::start(), Both::start());
        let elsewhere = third.builder().build();
        let (person, builder) = slow_person();
        let oauth = builder.build();
        let (first, second) = (one.http(&oauth), other.http(&oauth));
        let answering = async {
            for _ in 0..2 {
                let url = person.asked().await;
                // The other login asks when this one has its answer. It has had the time for all else that this takes.
                elsewhere.login(&third.http(&elsewhere)).await.unwrap();
                assert_eq!(person.urls.len(), 0);
                let is_first = url.contains(&one.server.address().port().to_string());
                person.agrees(&url, if is_first { &one } else { &other }).await;
            }
        };
        let logins = join(oauth.login(&first), oauth.login(&second));
        let ((first, second), ()) = join(logins, answering).await;
        first.unwrap();
        second.unwrap();
    });
}

#[test]
fn oa_07_a_logout_is_done_whatever_became_of_the_flight_before_it() {
    everywhere(async |_| {
        let both = Both::start();
        let (person, builder) = slow_person();
        let oauth = builder.build();
        person.signs_in(&oauth, &both).await;
        let http = both.http(&oauth);
        let answering = async {
            let url = person.asked().await;
            both.books().denies = true;
            person.agrees(&url, &both).await;
        };
        // The logout comes while the question of another login is open.
        let ((login, logout), ()) = join(join(oauth.login(&http), oauth.logout(&http)), answering).await;
        assert!(matches!(auth(&login.unwrap_err()).kind(), AuthErrorKind::Denied(_)));
        logout.unwrap();
        assert_eq!(both.status(&oauth).await, None);
        assert!(both.books().revocations > 0);
    });
}

#[test]
fn oa_99_while_a_question_is_open_nobody_else_waits_who_has_tokens() {
    once(async |run| {
        let both = Both::start();
        let store = Arc::new(MemoryStore::new());
        let before = both.builder().store(Arc::clone(&store)).build();
        before.login(&both.http(&before)).await.unwrap();
        let (person, builder) = slow_person();
        let oauth = builder.store(store).build();
        let http = both.http(&oauth);
        let mut login = pin!(oauth.login(&http));
        let url = person.asked_by(login.as_mut()).await;
        assert!(both.status(&oauth).await.unwrap().has_access);
        let connected = Client::connect(both.http(&oauth)).await.unwrap();
        with_client(run, connected, async |client| {
            call(client).await.unwrap();
            client.ping().await.unwrap();
        })
        .await;
        person.agrees(&url, &both).await;
        login.await.unwrap();
    });
}

#[test]
fn oa_99_beside_an_open_question_tokens_are_refreshed_and_given_back() {
    once(async |run| {
        let both = Both::start();
        let (person, builder) = slow_person();
        let oauth = builder.build();
        person.signs_in(&oauth, &both).await;
        let http = both.http(&oauth);
        let connected = Client::connect(both.http(&oauth)).await.unwrap();
        let mut login = pin!(oauth.login(&http));
        let url = person.asked_by(login.as_mut()).await;
        with_client(run, connected, async |client| {
            both.books().expire();
            call(client).await.unwrap();
            assert_eq!(both.books().refreshes, 1);
            oauth.logout(&http).await.unwrap();
            assert_eq!(both.status(&oauth).await, None);
            assert!(both.books().revocations > 0);
            assert!(needs_login(&call(client).await.unwrap_err()));
            person.agrees(&url, &both).await;
            login.await.unwrap();
            call(client).await.unwrap();
        })
        .await;
        assert_eq!(both.seen(|it| (it.refreshes, it.asked)), (1, 2));
    });
}

#[test]
fn oa_72_a_login_that_was_dropped_keeps_no_other_from_asking_for_longer_than_a_person_has() {
    everywhere(async |_| {
        let (one, other) = (Both::start(), Both::start());
        let (urls, asked) = channel::unbounded();
        let (port, books) = (other.server.address().port().to_string(), Arc::clone(&other.books));
        // The question for one of the servers is never answered.
        let consent = consent_fn(REDIRECT_URI, move |url| {
            let redirected = url.contains(&port).then(|| agree(&url, &books));
            urls.try_send(url).unwrap();
            async move {
                match redirected {
                    Some(redirected) => Ok(redirected),
                    None => std::future::pending().await,
                }
            }
        });
        let mut timeouts = OAuthTimeouts::default();
        timeouts.person = Duration::from_millis(20);
        let oauth = OAuth::builder().consent(consent).timeouts(timeouts).build();
        let http = one.http(&oauth);
        {
            let (login, question) = (pin!(oauth.login(&http)), pin!(asked.recv()));
            // The login is dropped while its question is open.
            assert!(matches!(select(login, question).await, Either::Right(_)));
        }
        oauth.login(&other.http(&oauth)).await.unwrap();
        assert_eq!(asked.len(), 1);
    });
}
