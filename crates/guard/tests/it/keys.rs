//! Keys that come and go: a key that the issuer withdrew voids what it signed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use latchkey_guard::{FetchedKeys, KeySource, Refusal, SourceUnavailable, TokenGuard, Unavailable};
use token::Refused;
use tokio::{
    join,
    sync::Semaphore,
    task::yield_now,
    time::{advance, sleep},
};

use crate::issuer::*;

#[tokio::test]
async fn a_withdrawn_key_voids_what_is_remembered() {
    let issuer = Issuer::with(&[&FIRST, &SECOND]);
    let guard = guard_with_keys(&issuer).await;
    let (voided, kept) = (token(&FIRST, "j1"), token(&SECOND, "j1"));
    let held = guard.verify(&voided, NOW).await.unwrap();
    let before = guard.verify(&kept, NOW).await.unwrap();

    issuer.now_answers(answer(&[&SECOND]));
    assert!(guard.remembered(&voided, NOW).is_some() && guard.still_holds(&held, NOW));
    guard.refresh_keys().await.unwrap();
    assert!(guard.remembered(&voided, NOW).is_none() && !guard.still_holds(&held, NOW));
    assert_eq!(guard.verify(&voided, NOW).await.unwrap_err(), Refusal::Invalid(Refused::KeyUnknown));
    assert!(Arc::ptr_eq(&guard.remembered(&kept, NOW).unwrap(), &before));

    // A key that comes back revives no memory; its tokens are verified anew.
    issuer.now_answers(answer(&[&FIRST, &SECOND]));
    guard.refresh_keys().await.unwrap();
    assert!(guard.remembered(&voided, NOW).is_none());
    assert!(guard.verify(&voided, NOW).await.is_ok());
    assert!(guard.remembered(&voided, NOW).is_some() && !guard.still_holds(&held, NOW));
    assert_eq!(guard.counts().verified, 3);
}

#[tokio::test]
async fn the_same_id_with_another_key_is_another_key() {
    let issuer = Issuer::with(&[&FIRST]);
    let guard = guard_with_keys(&issuer).await;
    let token = token(&FIRST, "j1");
    guard.verify(&token, NOW).await.unwrap();
    let mut impostor: serde_json::Value = serde_json::from_str(&SECOND.public_jwk().to_json()).unwrap();
    impostor["kid"] = FIRST.kid().into();
    issuer.now_answers(Answer::Keys(serde_json::json!({ "keys": [impostor] }).to_string()));
    guard.refresh_keys().await.unwrap();
    assert!(guard.remembered(&token, NOW).is_none());
    assert_eq!(guard.verify(&token, NOW).await.unwrap_err(), Refusal::Invalid(Refused::Signature));
}

#[tokio::test]
async fn an_empty_set_voids_everything_and_judges_nothing() {
    let issuer = Issuer::with(&[&FIRST]);
    let guard = guard_with_keys(&issuer).await;
    let token = token(&FIRST, "j1");
    guard.verify(&token, NOW).await.unwrap();
    issuer.now_answers(answer(&[]));
    guard.refresh_keys().await.unwrap();
    assert!(guard.remembered(&token, NOW).is_none());
    assert_eq!(guard.verify(&token, NOW).await.unwrap_err(), Refusal::Unavailable(Unavailable::NoKeys));
}

/// A bad answer, however it is bad, changes nothing.
#[tokio::test(start_paused = true)]
async fn what_is_known_stays_when_the_issuer_fails() {
    let issuer = Issuer::with(&[&FIRST]);
    let guard = guard_with_keys(&issuer).await;
    let token = token(&FIRST, "j1");
    guard.verify(&token, NOW).await.unwrap();
    let twice = format!(r#"{{"keys":[{0},{0}]}}"#, SECOND.public_jwk().to_json());
    let secret = r#"{"keys":[{"kty":"oct","k":"AAAA","kid":"h","alg":"HS256"}]}"#.to_owned();
    for bad in [
        Answer::Fails,
        Answer::Hangs,
        Answer::Keys(twice),
        Answer::Keys(secret),
        Answer::Keys("junk".to_owned()),
    ] {
        issuer.now_answers(bad);
        assert!(guard.refresh_keys().await.is_err());
        assert!(guard.has_keys());
        assert!(guard.remembered(&token, NOW).is_some());
    }
    assert_eq!((guard.counts().key_fetches, guard.counts().key_fetch_failures), (6, 5));
}

/// Its successor signs at once: nobody was to see it before.
#[tokio::test(start_paused = true)]
async fn the_successor_of_a_key_that_was_ended_is_known_soon() {
    let (issuer, feed) = (Issuer::with(&[&FIRST]), Arc::new(Feed::default()));
    let guard = guard_that_hears(&issuer, Arc::clone(&feed), settings());
    beside_its_loop(&guard, async {
        guard.until_there_are_keys().await;
        sleep(Duration::from_millis(300)).await;
        let (ended, successors) = (token(&FIRST, "j1"), token(&SECOND, "j2"));
        issuer.now_answers(answer(&[&SECOND]));
        assert_eq!(
            guard.verify(&successors, NOW).await.unwrap_err(),
            Refusal::Invalid(Refused::KeyUnknown),
            "the set is new, and nothing is known against it"
        );
        *feed.ended_key.lock().unwrap() = Some(FIRST.kid().to_owned());
        assert!(guard.verify(&successors, NOW).await.is_ok());
        assert_eq!(guard.verify(&ended, NOW).await.unwrap_err(), Refusal::Invalid(Refused::KeyUnknown));
        assert_eq!(issuer.asked(), 2, "the set that came is up to date");
    })
    .await;
}

/// Its ending has left the memory of endings before any other set could be fetched.
#[tokio::test(start_paused = true)]
async fn a_key_that_was_ended_stays_ended_while_no_keys_can_be_fetched() {
    let (issuer, feed) = (Issuer::with(&[&FIRST, &SECOND]), Arc::new(Feed::default()));
    let guard = guard_that_hears(&issuer, Arc::clone(&feed), settings());
    beside_its_loop(&guard, async {
        guard.until_there_are_keys().await;
        issuer.now_answers(Answer::Fails);
        *feed.ended_key.lock().unwrap() = Some(FIRST.kid().to_owned());
        sleep(Duration::from_secs(24 * 3_600)).await;
        *feed.ended_key.lock().unwrap() = None;
        assert_eq!(guard.verify(&token(&FIRST, "j1"), NOW).await.unwrap_err(), Refusal::Ended);
        guard.verify(&token(&SECOND, "j2"), NOW).await.unwrap();
    })
    .await;
}

/// Of what may have ended unheard nobody says that it is bad.
#[tokio::test(start_paused = true)]
async fn without_a_lease_a_key_that_is_not_known_is_not_judged() {
    let (issuer, feed) = (Issuer::with(&[&FIRST]), Arc::new(Feed::default()));
    let guard = guard_that_hears(&issuer, Arc::clone(&feed), settings());
    beside_its_loop(&guard, async {
        guard.until_there_are_keys().await;
        sleep(Duration::from_millis(300)).await;
        let stranger = token(&SECOND, "j1");
        let unknown = Refusal::Invalid(Refused::KeyUnknown);
        assert_eq!(guard.verify(&stranger, NOW).await.unwrap_err(), unknown);
        *feed.judged.lock().unwrap() = None;
        let unavailable = Refusal::Unavailable(Unavailable::IssuerUnreachable);
        assert_eq!(guard.verify(&stranger, NOW).await.unwrap_err(), unavailable);
        *feed.judged.lock().unwrap() = Some(feed::Verdict::Live);
        assert_eq!(guard.verify(&stranger, NOW).await.unwrap_err(), unknown);
    })
    .await;
}

/// The set that it has may be older than an ending that it has not heard of. One that it asks for in that very call is not.
#[tokio::test(start_paused = true)]
async fn without_a_lease_a_key_is_unknown_only_to_a_set_that_was_asked_for_then() {
    let cannot_tell = Refusal::Unavailable(Unavailable::IssuerUnreachable);
    let stranger = token(&SECOND, "j1");
    for away in [Answer::Fails, Answer::Hangs, Answer::Keys("{}".to_owned())] {
        let (issuer, feed) = (Issuer::with(&[&FIRST]), Arc::new(Feed::default()));
        let guard = guard_that_hears(&issuer, Arc::clone(&feed), settings());
        *feed.judged.lock().unwrap() = None;
        *feed.asked.lock().unwrap() = Some(feed::Verdict::Live);
        beside_its_loop(&guard, async {
            guard.until_there_are_keys().await;
            for asked in 1..4 {
                assert_eq!(guard.verify(&stranger, NOW).await.unwrap_err(), cannot_tell);
                assert_eq!(issuer.asked(), asked, "it is too soon to ask");
                advance(Duration::from_secs(6)).await;
                let refusal = guard.verify(&stranger, NOW).await.unwrap_err();
                assert_eq!(refusal, Refusal::Invalid(Refused::KeyUnknown));
                assert_eq!(issuer.asked(), asked + 1);
            }
            issuer.now_answers(away);
            advance(Duration::from_secs(6)).await;
            for _ in 0..2 {
                assert_eq!(guard.verify(&stranger, NOW).await.unwrap_err(), cannot_tell);
                assert_eq!(issuer.asked(), 5, "it was asked, and gave no set");
            }
            // Nobody was told that it is bad: it is the successor's.
            issuer.now_answers(answer(&[&SECOND]));
            advance(Duration::from_secs(6)).await;
            assert!(guard.verify(&stranger, NOW).await.is_ok());
        })
        .await;
    }
}

/// What the issuer answers is on its way until somebody lets it arrive.
struct FarAway(Arc<Issuer>, Semaphore);

#[async_trait]
impl KeySource for FarAway {
    async fn fetch(&self) -> Result<FetchedKeys, SourceUnavailable> {
        let answer = self.0.fetch().await;
        self.1.acquire().await.unwrap().forget();
        answer
    }
}

/// A set that was asked for earlier may be older than the key of a token that comes while it is on its way.
#[tokio::test(start_paused = true)]
async fn without_a_lease_a_set_that_was_on_its_way_does_not_judge() {
    let (issuer, feed) = (Issuer::with(&[&FIRST]), Arc::new(Feed::default()));
    let source = Arc::new(FarAway(Arc::clone(&issuer), Semaphore::new(1)));
    let guard: Guard =
        TokenGuard::new(settings(), Arc::<FarAway>::clone(&source), Arc::<Feed>::clone(&feed), |_| {
            String::new()
        });
    *feed.judged.lock().unwrap() = None;
    *feed.asked.lock().unwrap() = Some(feed::Verdict::Live);
    beside_its_loop(&guard, async {
        guard.until_there_are_keys().await;
        advance(Duration::from_secs(6)).await;
        let successor = token(&SECOND, "j1");
        let comes_meanwhile = async {
            while issuer.asked() < 2 {
                yield_now().await;
            }
            issuer.now_answers(answer(&[&FIRST, &SECOND]));
            advance(Duration::from_secs(1)).await;
            let arrives = async { source.1.add_permits(1) };
            join!(guard.verify(&successor, NOW), arrives).0
        };
        let (fetched, judged) = join!(guard.refresh_keys(), comes_meanwhile);
        fetched.unwrap();
        assert_eq!(judged.unwrap_err(), Refusal::Unavailable(Unavailable::IssuerUnreachable));
        source.1.add_permits(1);
        advance(Duration::from_secs(6)).await;
        assert!(guard.verify(&successor, NOW).await.is_ok());
    })
    .await;
}

/// An issuer that goes on publishing it is asked four times a second, and nobody is told that his token is bad.
#[tokio::test(start_paused = true)]
async fn a_set_that_stays_out_of_date_is_asked_for_at_a_pace() {
    let (issuer, feed) = (Issuer::with(&[&FIRST]), Arc::new(Feed::default()));
    let guard = guard_that_hears(&issuer, Arc::clone(&feed), settings());
    *feed.ended_key.lock().unwrap() = Some(FIRST.kid().to_owned());
    beside_its_loop(&guard, async {
        guard.until_there_are_keys().await;
        for number in 0..100 {
            let stranger = token(&SECOND, &number.to_string());
            let refusal = guard.verify(&stranger, NOW).await.unwrap_err();
            assert_eq!(refusal, Refusal::Unavailable(Unavailable::IssuerUnreachable));
            sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    let asked = issuer.asked();
    assert!((10..=48).contains(&asked), "{asked} in 10 s");
}

/// The set is fetched anew at half its age, without anybody asking.
#[tokio::test(start_paused = true)]
async fn keys_are_kept_fresh() {
    let issuer = Issuer::with(&[&FIRST]);
    let guard = guard(&issuer);
    beside_its_loop(&guard, async {
        guard.until_there_are_keys().await;
        let token = token(&FIRST, "j1");
        guard.verify(&token, NOW).await.unwrap();
        issuer.now_answers(answer(&[&SECOND]));
        sleep(Duration::from_secs(149)).await;
        assert_eq!(issuer.asked(), 1);
        assert!(guard.remembered(&token, NOW).is_some());
        sleep(Duration::from_secs(2)).await;
        assert_eq!(issuer.asked(), 2);
        assert!(guard.remembered(&token, NOW).is_none());
    })
    .await;
}

/// An issuer that changes its keys every few seconds says so, and is asked twice in the time for which it lets them be kept; one
/// that says less than two seconds has said nothing.
#[tokio::test(start_paused = true)]
async fn an_issuer_that_changes_its_keys_fast_is_asked_fast() {
    for (max_age, asked) in [(300, 1), (10, 4), (8, 5), (3, 14), (2, 20), (1, 4), (0, 4)] {
        let issuer = Issuer::with(&[&FIRST]);
        *issuer.max_age.lock().unwrap() = Duration::from_secs(max_age);
        let guard = guard(&issuer);
        beside_its_loop(&guard, sleep(Duration::from_millis(19_900))).await;
        assert_eq!(issuer.asked(), asked, "in 20 s, kept for {max_age} s");
    }
}

/// INVARIANT: once the guard has a set without a key, no call that starts later accepts what that key signed, on any
/// thread, whatever was under way. Threads hammer while the key comes and goes.
#[test]
fn no_stale_accept_after_a_key_is_gone() {
    let issuer = Issuer::with(&[&FIRST, &SECOND]);
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let guard = guard(&issuer);
    runtime().block_on(guard.refresh_keys()).unwrap();
    // Even: the key is there or coming. Odd: it is gone.
    let phase = AtomicU64::new(0);
    let done = AtomicBool::new(false);
    let (stale, accepted) = (AtomicU64::new(0), AtomicU64::new(0));
    let tokens: Vec<_> = (0..8).map(|jti| token(&FIRST, &jti.to_string())).collect();

    std::thread::scope(|scope| {
        for worker in 0..3 {
            let (guard, phase, done, tokens) = (&guard, &phase, &done, &tokens);
            let (stale, accepted) = (&stale, &accepted);
            scope.spawn(move || {
                runtime().block_on(async {
                    let mut turn = worker;
                    while !done.load(Ordering::SeqCst) {
                        turn += 1;
                        let before = phase.load(Ordering::SeqCst);
                        let ok = guard.verify(&tokens[turn % tokens.len()], NOW).await.is_ok();
                        let after = phase.load(Ordering::SeqCst);
                        accepted.fetch_add(u64::from(ok), Ordering::SeqCst);
                        if ok && before == after && before % 2 == 1 {
                            stale.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                });
            });
        }
        runtime().block_on(async {
            for _ in 0..300 {
                issuer.now_answers(answer(&[&SECOND]));
                guard.refresh_keys().await.unwrap();
                phase.fetch_add(1, Ordering::SeqCst);
                sleep(Duration::from_micros(300)).await;
                phase.fetch_add(1, Ordering::SeqCst);
                issuer.now_answers(answer(&[&FIRST, &SECOND]));
                guard.refresh_keys().await.unwrap();
                sleep(Duration::from_micros(300)).await;
            }
        });
        done.store(true, Ordering::SeqCst);
    });
    assert_eq!(stale.into_inner(), 0);
    assert_ne!(accepted.into_inner(), 0);
}
