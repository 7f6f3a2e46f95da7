//! What was taken back is refused from then on, also where it was believed before; what cannot be known is 503.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use feed::{Credential, Verdict, What};
use guard::SourceUnavailable;

use super::client::{Client, get, request};
use super::gateway::{ALICE, Gateway, eventually};
use super::upstream::Upstream;

/// The feed, as the test says; at first there is a lease, and nothing has ended.
pub struct Endings {
    judged: Mutex<Option<Verdict>>,
    /// Of whoever is asked; `None`: nobody can be.
    asked: Mutex<Option<Verdict>>,
    /// What was remembered when the last lease ended, and how long ago that is.
    stale: Mutex<Option<(Verdict, Duration)>>,
    questions: AtomicUsize,
    /// So many looks find a lease, and the next none.
    looks_left: Mutex<Option<usize>>,
}

impl Default for Endings {
    fn default() -> Self {
        Self {
            judged: Mutex::new(Some(Verdict::Live)),
            asked: Mutex::default(),
            stale: Mutex::default(),
            questions: AtomicUsize::new(0),
            looks_left: Mutex::default(),
        }
    }
}

impl Endings {
    pub fn under_lease(&self, verdict: Verdict) {
        *self.judged.lock().unwrap() = Some(verdict);
    }

    pub fn without_lease(&self, asked: Option<Verdict>) {
        *self.judged.lock().unwrap() = None;
        *self.asked.lock().unwrap() = asked;
    }

    /// So many looks find it good, and whoever is asked from then on says that it was taken back.
    pub fn ended_after(&self, looks: usize) {
        *self.looks_left.lock().unwrap() = Some(looks);
        *self.asked.lock().unwrap() = Some(Verdict::Ended(What::Token));
    }
}

#[async_trait]
impl guard::Endings for Endings {
    fn judge(&self, _: &Credential) -> Option<Verdict> {
        if let Some(left) = self.looks_left.lock().unwrap().as_mut() {
            *left = left.checked_sub(1)?;
        }
        *self.judged.lock().unwrap()
    }

    async fn ask(&self, _: &Credential) -> Result<Verdict, SourceUnavailable> {
        self.questions.fetch_add(1, Ordering::SeqCst);
        self.asked.lock().unwrap().ok_or_else(|| SourceUnavailable::new("nobody"))
    }

    fn judge_stale(&self, _: &Credential, stale_for: Duration) -> Option<Verdict> {
        let (verdict, age) = (*self.stale.lock().unwrap())?;
        (age < stale_for).then_some(verdict)
    }
}

#[tokio::test]
async fn a_token_that_was_taken_back_is_refused_on_the_next_request() {
    let gateway = Gateway::start().await;
    let bearer = gateway.bearer();
    for path in ["/token/a", "/admin/a", "/app/documents/1", "/quiet/a"] {
        let before = get(gateway.address, path, &[&bearer]).await;
        gateway.endings.under_lease(Verdict::Ended(What::Family));
        let after = get(gateway.address, path, &[&bearer]).await;
        gateway.endings.under_lease(Verdict::Live);
        assert_ne!(before.status, 401, "{path}");
        assert_eq!((after.status, after.code().as_str()), (401, "token_invalid"), "{path}");
    }
    // Open routes read no credential.
    gateway.endings.under_lease(Verdict::Ended(What::Token));
    assert_eq!(get(gateway.address, "/open/a", &[&bearer]).await.status, 200);
}

#[tokio::test]
async fn z01_without_a_lease_it_is_asked_and_if_nobody_can_be_asked_it_is_503() {
    let gateway = Gateway::start().await;
    let bearer = gateway.bearer();
    assert_eq!(get(gateway.address, "/token/a", &[&bearer]).await.status, 200);
    gateway.endings.without_lease(Some(Verdict::Live));
    assert_eq!(get(gateway.address, "/token/a", &[&bearer]).await.status, 200);
    gateway.endings.without_lease(Some(Verdict::Ended(What::Subject)));
    assert_eq!(get(gateway.address, "/token/a", &[&bearer]).await.status, 401);
    gateway.endings.without_lease(None);
    let answer = get(gateway.address, "/token/a", &[&bearer]).await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "unavailable"));
    assert!(answer.header("retry-after").is_some());
    assert_eq!(gateway.endings.questions.load(Ordering::SeqCst), 3);
    // A forged token is told so all the same: that takes no lease.
    let forged = format!("{bearer}A");
    assert_eq!(get(gateway.address, "/token/a", &[&forged]).await.status, 401);
}

#[tokio::test]
async fn a_route_may_prefer_an_old_answer_to_none_and_says_so_each_time() {
    let gateway = Gateway::start().await;
    let bearer = gateway.bearer();
    let answer = get(gateway.address, "/available/a", &[&bearer]).await;
    assert_eq!((answer.status, answer.header("x-latchkey-stale")), (200, None));
    gateway.endings.without_lease(None);
    assert_eq!(get(gateway.address, "/available/a", &[&bearer]).await.status, 503, "it never had a lease");
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    for (verdict, age, status) in [
        (Verdict::Live, minutes(9), 200),
        (Verdict::Live, minutes(10), 503),
        (Verdict::Ended(What::Token), minutes(1), 401),
    ] {
        *gateway.endings.stale.lock().unwrap() = Some((verdict, age));
        let answer = get(gateway.address, "/available/a", &[&bearer]).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("x-latchkey-stale").is_some(), status == 200);
        assert_ne!(get(gateway.address, "/token/a", &[&bearer]).await.status, 200, "no other route does");
    }
    assert_eq!(gateway.metric("latchkey_gateway_stale_answers_total"), Some(1.0));
    // Whoever can be asked is.
    gateway.endings.without_lease(Some(Verdict::Live));
    assert_eq!(get(gateway.address, "/available/a", &[&bearer]).await.header("x-latchkey-stale"), None);
}

#[tokio::test]
async fn what_has_waited_for_the_application_is_looked_up_again() {
    let slow = Upstream::start().await;
    let routes = format!(
        "[upstream.app]\nendpoints = [\"http://{}\"]\nconcurrency = 1\nqueue = 9\ntimeout = \"20s\"\nconnect_timeout = \"20s\"\n\
         [[route]]\npath = \"/app/*\"\naccept = [\"token\"]\nupstream = \"app\"\n",
        slow.address
    );
    let gateway = Gateway::with_routes(&routes).await;
    let bearer = gateway.bearer();
    assert_eq!(get(gateway.address, "/app/x", &[&bearer]).await.status, 200);
    let mut clients = Vec::new();
    for queued in [0.0, 1.0] {
        let mut client = Client::connect(gateway.address).await;
        client.send(request("GET", "/app/slow", &[&bearer])).await;
        let metric = "latchkey_gateway_upstream_queued{upstream=\"app\"}";
        eventually("it waits", async || {
            (slow.requests().len() == 2 && gateway.metric(metric) == Some(queued)).then_some(())
        })
        .await;
        clients.push(client);
    }
    gateway.endings.under_lease(Verdict::Ended(What::Token));
    slow.go();
    let [mut first, mut second] = <[Client; 2]>::try_from(clients).ok().unwrap();
    assert_eq!(first.answer().await.status, 200, "it was on its way before");
    assert_eq!(second.answer().await.status, 401);
    assert_eq!(slow.requests().len(), 2, "the application has not seen it");
}

/// The lease ends, or the token, while policy-service is being asked.
#[tokio::test]
async fn what_has_waited_for_a_neighbour_is_looked_up_again() {
    let gateway = Gateway::start().await;
    let bearer = gateway.bearer();
    let allowed = (ALICE.to_owned(), "document:read".to_owned(), "document/1".to_owned());
    gateway.world.with(|held| held.allowed.insert(allowed));
    assert_eq!(get(gateway.address, "/app/documents/1", &[&bearer]).await.status, 200);
    // The first look of the request finds it good; the second is the one after the wait.
    gateway.endings.ended_after(2);
    let answer = get(gateway.address, "/app/documents/1", &[&bearer]).await;
    assert_eq!(answer.status, 401, "{}", answer.code());
}
