//! A guard that has no lease asks auth-service: one whose stream of changes is cut off while questions still get through, which is
//! what a network that breaks on one way only looks like.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use chassis::clock::SystemClock;
use chassis::config::Shutdown;
use chassis::entropy::SystemEntropy;
use chassis::grpc::client::{Channel, channel};
use chassis::lifecycle::Lifecycle;
use chassis::tls::Identity;
use futures_util::future::FutureExt as _;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use latchkey_guard::connect::{Config, FeedEndings, Feeds, IssuerKeys, Permissions, recipient_keys};
use latchkey_guard::{Guard, Refusal, Settings, TokenGuard, Unavailable};
use reqwest::StatusCode;
use token::Expect;
use tokio::task::JoinSet;

use crate::cable::Cable;
use crate::guarded::{AUTH, configuration, listener, log_out};
use crate::stack::{Builder, PASSWORD, SOON, Stack, client, eventually};

/// Questions that may be under way at once.
const AT_ONCE: usize = 64;
const NO_LEASE: Refusal = Refusal::Unavailable(Unavailable::NoLease);

/// A service on the guard, as `Guard::connect` would make it, with two ways to the feed that can be cut by themselves.
struct Service {
    guard: Guard,
    url: String,
    changes: Cable,
    questions: Cable,
    lifecycle: Lifecycle,
    _served: JoinSet<()>,
}

impl Service {
    /// Without a lease, which it had before.
    async fn without_lease(stack: &Stack, patience: Duration) -> Self {
        let config = Config::from_file(&configuration(stack, "reports", "latchkey")).unwrap();
        let feed = &config.feed.endpoints[0];
        let (mut changes, mut questions) = (Cable::new(), Cable::new());
        let to_changes = changes.through(feed).await;
        let to_questions = questions.through(feed).await;
        let (clock, entropy) = (SystemClock::shared(), SystemEntropy::shared());
        let lifecycle = Lifecycle::new(Shutdown::default());
        let identity = Identity::load(&config.tls).unwrap();
        let to = |endpoints: &[String], name| -> Channel {
            channel(endpoints, &identity, name, &lifecycle).unwrap()
        };

        let mut feeds = Feeds::new("guard", &identity, &clock, &entropy, &lifecycle);
        let watching = feeds.watch::<()>("auth", &[to_changes]);
        let asking = to(&[to_questions], "auth");
        let endings = FeedEndings::new(Arc::clone(&watching), asking, Arc::clone(&entropy), patience);
        let keys = IssuerKeys::new(to(&config.auth.endpoints, "auth"), Arc::clone(&entropy), SOON);
        let policy = to(&config.policy.as_ref().unwrap().endpoints, "policy");
        let checks = Arc::new(Permissions::new(policy, entropy, patience));
        feeds.start().unwrap();

        let expect =
            Expect::new(&*config.issuer, &*config.audience, config.algorithms.clone(), config.leeway);
        let recipient_keys = recipient_keys(&config.recipient_keys).unwrap();
        let settings = Settings { recipient_keys, ..Settings::new(expect.unwrap()) };
        let tokens = Arc::new(TokenGuard::new(settings, Arc::new(keys), Arc::new(endings), Guard::prepare));
        eventually("it has keys", async || tokens.refresh_keys().await.ok()).await;
        let guard = Guard::new(tokens, checks, Arc::new(move || clock.now()), ());
        eventually("it has a lease", async || watching.view().lease_left).await;
        changes.cut();
        eventually("its lease is over", async || watching.view().lease_left.is_none().then_some(())).await;

        let (listener, url) = listener().await;
        let app = Router::new().route("/hello", get(|| async { "hello" })).layer(guard.layer());
        let mut served = JoinSet::new();
        served.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { guard, url, changes, questions, lifecycle, _served: served }
    }

    async fn hello(&self, token: &str) -> StatusCode {
        let request = client().get(format!("{}/hello", self.url)).bearer_auth(token);
        request.send().await.unwrap().status()
    }

    /// What its metrics say of auth-service's feed.
    fn gauge(&self, what: &str) -> f64 {
        let metrics = self.lifecycle.metrics().render();
        let name = format!("latchkey_guard_auth_feed_{what}");
        let mut lines = metrics.lines().filter(|line| line.starts_with(&name));
        let (line, further) = (lines.next(), lines.next());
        assert!(line.is_some() && further.is_none(), "{name}: {metrics}");
        line.unwrap().rsplit(' ').next().unwrap().parse().unwrap()
    }

    /// 503 is right as long as the way is not there again.
    async fn becomes(&self, token: &str, wanted: StatusCode) {
        eventually("its questions are answered", async || {
            let status = self.hello(token).await;
            assert!(status == wanted || status == StatusCode::SERVICE_UNAVAILABLE, "{status}");
            (status == wanted).then_some(())
        })
        .await;
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.lifecycle.end();
    }
}

/// Where `reports` may ask, with a user.
async fn begin() -> Stack {
    let stack = Builder::new().settings("auth", AUTH).start().await;
    stack.register("alice").await;
    stack
}

/// How often auth-service was asked, by its own count.
async fn questions(stack: &Stack) -> u64 {
    let metrics = stack.metrics("auth-0").await;
    let asked = |line: &&str| line.starts_with("latchkey_") && line.contains("FeedReadService/Ask");
    let counts = metrics.lines().filter(asked).filter(|line| line.contains("_rpcs_total{"));
    counts.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_lease_auth_service_is_asked_with_every_request() {
    let stack = begin().await;
    let service = Service::without_lease(&stack, SOON).await;
    let [stays, ends] = [stack.token("alice", PASSWORD).await, stack.token("alice", PASSWORD).await];
    let before = questions(&stack).await;
    for _ in 0..5 {
        assert_eq!(service.hello(&stays.access_token).await, StatusCode::OK);
        assert_eq!(service.hello(&ends.access_token).await, StatusCode::OK);
    }
    assert_eq!(questions(&stack).await, before + 10);
    assert_eq!(service.gauge("lease_seconds"), 0.0);
    assert!(service.gauge("staleness_seconds") > 0.0);
    // Nothing tells the guard of it, and it waits for no lease of the guard's.
    log_out(&stack, &ends.access_token).await;
    for _ in 0..5 {
        assert_eq!(service.hello(&ends.access_token).await, StatusCode::UNAUTHORIZED);
        assert_eq!(service.hello(&stays.access_token).await, StatusCode::OK);
    }
    assert_eq!(questions(&stack).await, before + 20);
    // What was never verified here is asked about too.
    let new = stack.token("alice", PASSWORD).await;
    log_out(&stack, &new.access_token).await;
    assert_eq!(service.hello(&new.access_token).await, StatusCode::UNAUTHORIZED);

    // Under a lease nobody is asked.
    service.changes.mend();
    eventually("it has a lease again", async || {
        let before = questions(&stack).await;
        service.becomes(&stays.access_token, StatusCode::OK).await;
        service.becomes(&ends.access_token, StatusCode::UNAUTHORIZED).await;
        (questions(&stack).await == before).then_some(())
    })
    .await;
    eventually("its metrics say so", async || {
        let (lease, staleness) = (service.gauge("lease_seconds"), service.gauge("staleness_seconds"));
        assert!((0.0..=1.0).contains(&lease) && staleness >= 0.0, "{lease} {staleness}");
        (lease > 0.0 && staleness < 1.0 && service.gauge("position") > 0.0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_questions_are_under_way_at_once_and_one_more_is_503_without_waiting() {
    let stack = begin().await;
    let service = Service::without_lease(&stack, SOON).await;
    let stays = stack.token("alice", PASSWORD).await.access_token;
    assert_eq!(service.hello(&stays).await, StatusCode::OK);
    service.questions.mute();
    let mut asked: FuturesUnordered<_> =
        (0..AT_ONCE + 6).map(|_| async { service.guard.verify(&stays).await.map(drop) }).collect();
    for _ in 0..6 {
        assert_eq!(asked.next().await, Some(Err(NO_LEASE)));
    }
    assert_eq!(asked.next().now_or_never(), None, "the others wait for their answers");
    assert_eq!(service.hello(&stays).await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(asked.next().now_or_never(), None);
    assert_eq!(asked.len(), AT_ONCE);
    service.questions.mend();
    let answers: Vec<_> = asked.collect().await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    service.becomes(&stays, StatusCode::OK).await;
}

/// Before the connection is: who is more patient still waits. And its place is the next one's.
#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_nobody_answers_is_given_up() {
    let stack = begin().await;
    // As the default is, where nothing is said.
    let patience = Duration::from_millis(250);
    let patient = Service::without_lease(&stack, SOON).await;
    let service = Service::without_lease(&stack, patience).await;
    let stays = stack.token("alice", PASSWORD).await.access_token;
    for service in [&patient, &service] {
        service.becomes(&stays, StatusCode::OK).await;
        service.questions.mute();
    }
    let mut waits = Box::pin(patient.guard.verify(&stays));
    assert!((&mut waits).now_or_never().is_none());
    let mut asked: FuturesUnordered<_> = (0..2 * AT_ONCE).map(|_| service.guard.verify(&stays)).collect();
    while let Some(answer) = asked.next().await {
        assert_eq!(answer.map(drop), Err(NO_LEASE));
    }
    assert_eq!(service.hello(&stays).await, StatusCode::SERVICE_UNAVAILABLE);
    assert!((&mut waits).now_or_never().is_none(), "it was given up with its connection");
    for service in [&patient, &service] {
        service.questions.mend();
        service.becomes(&stays, StatusCode::OK).await;
    }
    assert!(waits.await.is_ok());
}
