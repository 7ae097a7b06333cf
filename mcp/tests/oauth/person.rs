//! People: who do not answer, say no, or bring back what they should not; and the clocks that stand still for them.

use crate::check::story;
use crate::fault::clock::Clock;
use crate::fault::run::{everywhere, once};
use crate::kit::{Both, REDIRECT_URI, agree, auth, call, needs_login, with_client};
use futures::future::{Either, join, select};
use shared_fate_mcp::oauth::{
    AuthErrorKind, Consent, Loopback, MemoryStore, OAuth, OAuthTimeouts, Prompt, consent_fn,
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

/// A person who answers when the test says so. The URLs they are sent to, and their answers.
fn slow_person() -> (impl Consent, Receiver<String>, Sender<String>) {
    let (urls, asked) = channel::unbounded();
    let (answer, answers) = channel::unbounded::<String>();
    let consent = consent_fn(REDIRECT_URI, move |url| {
        let (urls, answers) = (urls.clone(), answers.clone());
        async move {
            urls.send(url).await?;
            Ok(answers.recv().await?)
        }
    });
    (consent, asked, answer)
}

#[test]
fn oa_63_while_a_person_is_asked_no_clock_runs_but_theirs() {
    // In one task: where a driver in another thread asks, the call learns of it a moment later.
    once(async |run| {
        let both = Both::start();
        let clock = Clock::new();
        let (consent, asked, answer) = slow_person();
        let oauth = OAuth::builder().consent(consent).prompt(Prompt::OnCall).build();
        let hours = Duration::from_secs(4 * 3600);
        let builder = Client::builder().mode(Mode::Legacy).timer(clock.clone());
        // The handshake first; and then a call.
        let person = async {
            let url = asked.recv().await.unwrap();
            clock.advance(hours);
            answer.send(agree(&url, &both.books)).await.unwrap();
        };
        let (connected, ()) = join(builder.connect(both.http(&oauth)), person).await;
        with_client(run, connected.unwrap(), async |client| {
            both.books().revoke();
            let person = async {
                let url = asked.recv().await.unwrap();
                clock.advance(hours);
                clock.advance(hours);
                answer.send(agree(&url, &both.books)).await.unwrap();
            };
            let (result, ()) = join(call(client), person).await;
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
        let (consent, asked, answer) = slow_person();
        let oauth = OAuth::builder().consent(consent).prompt(Prompt::OnCall).build();
        oauth_signed(&oauth, &both, &asked, &answer).await;
        let connected = Client::builder().mode(Mode::Legacy).connect(both.http(&oauth)).await.unwrap();
        with_client(run, connected, async |client| {
            both.books().revoke();
            let person = async {
                let url = asked.recv().await.unwrap();
                let redirected = agree(&url, &both.books);
                answer.send(redirected).await.unwrap();
            };
            let calls = futures::future::join_all((0..20).map(|_| call(client)));
            let (results, ()) = join(calls, person).await;
            results.into_iter().for_each(Result::unwrap);
            assert_eq!((both.books().asked, asked.len()), (2, 0));
        })
        .await;
    });
}

#[test]
fn oa_63_after_a_person_has_answered_the_clocks_run_on() {
    once(async |run| {
        let both = Both::start();
        let clock = Clock::new();
        let (consent, asked, answer) = slow_person();
        let oauth = OAuth::builder().consent(consent).prompt(Prompt::OnCall).build();
        oauth_signed(&oauth, &both, &asked, &answer).await;
        let connected = Client::builder()
            .mode(Mode::Legacy)
            .timer(clock.clone())
            .connect(both.http(&oauth))
            .await
            .unwrap();
        with_client(run, connected, async |client| {
            both.books().revoke();
            both.books().mute = true;
            let person = async {
                let url = asked.recv().await.unwrap();
                clock.advance(Duration::from_secs(4 * 3600));
                answer.send(agree(&url, &both.books)).await.unwrap();
                both.server.arrival(|request| !request.tool().is_empty()).await;
                both.server.arrival(|request| !request.tool().is_empty()).await;
                // As much silence as a call may meet.
                clock.pass(Duration::from_secs(60)).await;
            };
            let (result, ()) = join(call(client), person).await;
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
        let (consent, asked, answer) = slow_person();
        let oauth = OAuth::builder().consent(consent).prompt(Prompt::OnCall).build();
        oauth_signed(&oauth, &both, &asked, &answer).await;
        let builder = Client::builder().mode(Mode::Legacy).timer(clock.clone());
        let connected = builder.connect(both.http(&oauth)).await.unwrap();
        with_client(run, connected, async |client| {
            let person = async {
                let url = asked.recv().await.unwrap();
                clock.advance(Duration::from_secs(8 * 3600));
                answer.send(agree(&url, &both.books)).await.unwrap();
            };
            let task = client.run_tool_as_task("slow", serde_json::json!({}), None);
            let (result, ()) = join(task, person).await;
            result.unwrap();
        })
        .await;
    });
}

/// Polls the login until a person is asked: the URL that they are sent to.
async fn question<T>(login: Pin<&mut impl Future<Output = T>>, asked: &Receiver<String>) -> String {
    match select(login, pin!(asked.recv())).await {
        Either::Left(_) => panic!("nobody has answered"),
        Either::Right((url, _)) => url.unwrap(),
    }
}

async fn oauth_signed(oauth: &OAuth, both: &Both, asked: &Receiver<String>, answer: &Sender<String>) {
    let http = both.http(oauth);
    let person = async {
        let url = asked.recv().await.unwrap();
        answer.send(agree(&url, &both.books)).await.unwrap();
    };
    let (result, ()) = join(oauth.login(&http), person).await;
    result.unwrap();
}

#[test]
fn oa_64_a_person_who_never_answers_is_asked_no_more() {
    once(async |run| {
        let both = Both::start();
        let (consent, asked, _answer) = slow_person();
        let mut timeouts = OAuthTimeouts::default();
        timeouts.person = Duration::from_millis(1);
        let oauth = OAuth::builder().consent(consent).prompt(Prompt::OnCall).timeouts(timeouts).build();
        let error = Client::connect(both.http(&oauth)).await.unwrap_err();
        assert!(matches!(auth(&error).kind(), AuthErrorKind::TimedOut { .. }), "{}", story(&error));
        assert_eq!(auth(&error).host(), Some(&*both.server.address().to_string()));
        let error = Client::connect(both.http(&oauth)).await.unwrap_err();
        assert!(needs_login(&error), "{}", story(&error));
        assert_eq!(asked.len(), 1);
        let _ = run;
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

/// What a browser does that is sent there.
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
        let (consent, asked, answer) = slow_person();
        let oauth = OAuth::builder().consent(consent).build();
        let http = both.http(&oauth);
        let url = question(pin!(oauth.login(&http)), &asked).await;
        answer.send(agree(&url, &both.books)).await.unwrap();
        oauth.login(&http).await.unwrap();
        assert_eq!((asked.len(), both.books().asked), (0, 1));
    });
}

#[test]
fn oa_72_one_question_at_a_time() {
    once(async |_| {
        let (one, other) = (Both::start(), Both::start());
        let (consent, asked, answer) = slow_person();
        let oauth = Arc::new(OAuth::builder().consent(consent).build());
        let (first, second) = (one.http(&oauth), other.http(&oauth));
        let person = async {
            for _ in 0..2 {
                let url = asked.recv().await.unwrap();
                // Were there another question, it would have been asked by now: all is ready for it.
                assert_eq!(asked.len(), 0);
                let is_first = url.contains(&one.server.address().port().to_string());
                let books = if is_first { &one.books } else { &other.books };
                answer.send(agree(&url, books)).await.unwrap();
            }
        };
        let logins = join(oauth.login(&first), oauth.login(&second));
        let ((first, second), ()) = join(logins, person).await;
        first.unwrap();
        second.unwrap();
    });
}

#[test]
fn oa_07_a_logout_is_done_whatever_became_of_the_flight_before_it() {
    everywhere(async |_| {
        let both = Both::start();
        let (consent, asked, answer) = slow_person();
        let oauth = OAuth::builder().consent(consent).build();
        oauth_signed(&oauth, &both, &asked, &answer).await;
        let http = both.http(&oauth);
        let person = async {
            let url = asked.recv().await.unwrap();
            both.books().denies = true;
            answer.send(agree(&url, &both.books)).await.unwrap();
        };
        // The logout comes while the question of another login is open.
        let ((login, logout), ()) = join(join(oauth.login(&http), oauth.logout(&http)), person).await;
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
        let (consent, asked, answer) = slow_person();
        let oauth = OAuth::builder().consent(consent).store(store).build();
        let http = both.http(&oauth);
        let mut login = pin!(oauth.login(&http));
        let url = question(login.as_mut(), &asked).await;
        assert!(both.status(&oauth).await.unwrap().has_access);
        let connected = Client::connect(both.http(&oauth)).await.unwrap();
        with_client(run, connected, async |client| {
            call(client).await.unwrap();
            client.ping().await.unwrap();
        })
        .await;
        answer.send(agree(&url, &both.books)).await.unwrap();
        login.await.unwrap();
    });
}

#[test]
fn oa_99_beside_an_open_question_tokens_are_refreshed_and_given_back() {
    once(async |run| {
        let both = Both::start();
        let (consent, asked, answer) = slow_person();
        let oauth = OAuth::builder().consent(consent).build();
        oauth_signed(&oauth, &both, &asked, &answer).await;
        let http = both.http(&oauth);
        let connected = Client::connect(both.http(&oauth)).await.unwrap();
        let mut login = pin!(oauth.login(&http));
        let url = question(login.as_mut(), &asked).await;
        with_client(run, connected, async |client| {
            both.books().expire();
            call(client).await.unwrap();
            assert_eq!(both.books().refreshes, 1);
            oauth.logout(&http).await.unwrap();
            assert_eq!(both.status(&oauth).await, None);
            assert!(both.books().revocations > 0);
            assert!(needs_login(&call(client).await.unwrap_err()));
            answer.send(agree(&url, &both.books)).await.unwrap();
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
        // Of one server's question nothing is ever heard.
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
            // It is dropped while the question is open.
            assert!(matches!(select(login, question).await, Either::Right(_)));
        }
        oauth.login(&other.http(&oauth)).await.unwrap();
        assert_eq!(asked.len(), 1);
    });
}
