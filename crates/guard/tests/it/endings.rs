//! Whether a token was taken back: looked up with every request, asked without a lease, and unknown is neither allowed nor
//! invalid.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use feed::{Verdict, Wall, What};
use latchkey_guard::{Refusal, Unavailable};
use token::Refused;

use crate::issuer::*;

const STALE_FOR: Duration = Duration::from_secs(60);

async fn guard() -> (Guard, Arc<Feed>, String) {
    let feed = Arc::new(Feed::default());
    let guard = guard_that_hears(&Issuer::with(&[&FIRST]), Arc::clone(&feed), settings());
    guard.refresh_keys().await.unwrap();
    (guard, feed, token(&FIRST, "j1"))
}

#[tokio::test]
async fn a_token_that_was_taken_back_is_refused_remembered_or_not() {
    let (guard, feed, token) = guard().await;
    let verified = guard.verify(&token, NOW).await.unwrap();
    assert!(guard.remembered(&token, NOW).is_some() && guard.is_live(&verified));
    for what in What::EVERY {
        *feed.judged.lock().unwrap() = Some(Verdict::Ended(what));
        assert!(guard.remembered(&token, NOW).is_none() && !guard.is_live(&verified));
        assert_eq!(guard.verify(&token, NOW).await.unwrap_err(), Refusal::Ended);
    }
    *feed.judged.lock().unwrap() = Some(Verdict::Forgotten);
    assert_eq!(guard.verify(&token, NOW).await.unwrap_err(), Refusal::Invalid(Refused::Expired));
    *feed.judged.lock().unwrap() = Some(Verdict::Live);
    assert!(guard.remembered(&token, NOW).is_some(), "it was another's ending");
    assert_eq!(feed.questions.load(Ordering::SeqCst), 0, "under a lease nobody is asked");
}

#[tokio::test]
async fn without_a_lease_it_is_asked_with_every_request() {
    let (guard, feed, token) = guard().await;
    guard.verify(&token, NOW).await.unwrap();
    *feed.judged.lock().unwrap() = None;
    *feed.asked.lock().unwrap() = Some(Verdict::Live);
    assert!(guard.remembered(&token, NOW).is_none());
    for question in 1..4 {
        guard.verify(&token, NOW).await.unwrap();
        assert_eq!(feed.questions.load(Ordering::SeqCst), question);
    }
    *feed.asked.lock().unwrap() = Some(Verdict::Ended(What::Family));
    assert_eq!(guard.verify(&token, NOW).await.unwrap_err(), Refusal::Ended);

    // By every name that it goes by, and not for longer than it lives.
    let asked = feed.credentials.lock().unwrap()[0].clone();
    let text = |id: &Option<Arc<str>>| id.as_deref().map(str::to_owned);
    assert_eq!(text(&asked.token).as_deref(), Some("j1"));
    assert_eq!(
        (text(&asked.family).as_deref(), text(&asked.session).as_deref()),
        (Some("grt_1"), Some("ses_1"))
    );
    assert_eq!(text(&asked.key).as_deref(), Some(FIRST.kid()));
    let (subject, client) = (asked.subject.unwrap(), asked.client.unwrap());
    assert_eq!((&*subject.id, subject.generation), ("usr_1", 3));
    assert_eq!((&*client.id, client.generation), ("first-party", 1));
    let end = u64::try_from((NOW + LIFE + LEEWAY).unix_timestamp()).unwrap() * 1000;
    assert_eq!(asked.expired_from, Some(Wall::from_unix_millis(end)));
}

#[tokio::test]
async fn what_cannot_be_asked_is_unavailable_and_old_answers_are_given_only_to_whoever_wants_them() {
    let (guard, feed, token) = guard().await;
    guard.verify(&token, NOW).await.unwrap();
    *feed.judged.lock().unwrap() = None;
    let no_lease = Refusal::Unavailable(Unavailable::NoLease);
    assert_eq!(guard.verify(&token, NOW).await.unwrap_err(), no_lease);
    // It never had a lease, or that is longer ago.
    assert_eq!(guard.verify_stale(&token, NOW, STALE_FOR).await.unwrap_err(), no_lease);
    *feed.stale.lock().unwrap() = Some((Verdict::Live, STALE_FOR));
    assert_eq!(guard.verify_stale(&token, NOW, STALE_FOR).await.unwrap_err(), no_lease);
    *feed.stale.lock().unwrap() = Some((Verdict::Live, STALE_FOR / 2));
    guard.verify_stale(&token, NOW, STALE_FOR).await.unwrap();
    *feed.stale.lock().unwrap() = Some((Verdict::Ended(What::Token), STALE_FOR / 2));
    assert_eq!(guard.verify_stale(&token, NOW, STALE_FOR).await.unwrap_err(), Refusal::Ended);
    let forged = format!("{token}A");
    assert!(matches!(guard.verify_stale(&forged, NOW, STALE_FOR).await, Err(Refusal::Invalid(_))));
    assert_eq!((guard.counts().unavailable, guard.counts().invalid), (3, 2));
}

#[tokio::test]
async fn expiry_is_judged_by_the_later_of_both_clocks() {
    let (guard, feed, token) = guard().await;
    guard.verify(&token, NOW).await.unwrap();
    *feed.ahead.lock().unwrap() = LIFE + LEEWAY - Duration::from_millis(1);
    assert!(guard.remembered(&token, NOW).is_some());
    *feed.ahead.lock().unwrap() = LIFE + LEEWAY;
    assert!(guard.remembered(&token, NOW).is_none());
    let other = crate::issuer::token(&FIRST, "j2");
    for token in [&token, &other] {
        let refused = guard.verify(token, NOW).await.unwrap_err();
        assert_eq!(refused, Refusal::Invalid(Refused::Expired));
    }
}
