//! What is believed, what is refused, and what cannot be told.

use std::{sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::future::join_all;
use latchkey_guard::{Principal, PrincipalKind, Refusal, Settings, Unavailable};
use serde_json::json;
use token::{Epochs, RecipientKey, Refused, TYP_ACCESS};
use tokio::time::{advance, timeout};

use crate::issuer::*;

fn invalid(refused: Refused) -> Refusal {
    Refusal::Invalid(refused)
}

fn unavailable(why: Unavailable) -> Refusal {
    Refusal::Unavailable(why)
}

#[tokio::test]
async fn a_good_token_becomes_its_principal() {
    let guard = guard_with_keys(&Issuer::with(&[&FIRST])).await;
    let verified = guard.verify(&token(&FIRST, "j1"), NOW).await.unwrap();
    let expected = Principal {
        kind: PrincipalKind::User,
        id: "usr_1".to_owned(),
        name: "alice".to_owned(),
        client_id: "first-party".to_owned(),
        roles: Some(Arc::from(["editor".to_owned()])),
        session: Some("ses_1".to_owned()),
        family: Some("grt_1".to_owned()),
        scope: "a b".to_owned(),
        epochs: Epochs { subject: 3, client: 1 },
        permission_version: 7,
        expires_at: NOW + LIFE,
        authenticated_by: Arc::from(["pwd".to_owned()]),
    };
    assert_eq!(verified.principal, expected);
    assert_eq!(verified.prepared, "X-Latchkey-Subject: usr_1");
    assert_eq!(verified.token_id, "j1");
}

#[tokio::test]
async fn encrypted_tokens() {
    let issuer = Issuer::with(&[&FIRST]);
    let guard = guard_with(&issuer, Settings { recipient_keys: vec![recipient()], ..settings() });
    guard.refresh_keys().await.unwrap();
    let sealed = token::seal(&token(&FIRST, "j1"), &RECIPIENT.public()).unwrap();
    assert_eq!(guard.verify(&sealed, NOW).await.unwrap().principal.id, "usr_1");
    assert!(guard.remembered(&sealed, NOW).is_some());

    // Anyone can encrypt: what is inside must still hold (J18).
    let forged = new_key().sign(TYP_ACCESS, &claims("j1")).unwrap();
    let unsigned = claims("j1").to_string();
    for (inside, refused) in [
        (forged.as_str(), Refused::KeyUnknown),
        (&unsigned, Refused::Malformed),
        (&sealed, Refused::Malformed),
    ] {
        let sealed = token::seal(inside, &RECIPIENT.public()).unwrap();
        assert_eq!(guard.verify(&sealed, NOW).await.unwrap_err(), invalid(refused));
    }
    let without = guard_with_keys(&issuer).await;
    assert_eq!(without.verify(&sealed, NOW).await.unwrap_err(), invalid(Refused::Undecryptable));
}

/// Opened without a key of the issuer's, and believed by nobody for that.
#[tokio::test]
async fn opening_judges_nothing() {
    let issuer = Issuer::with(&[&FIRST]);
    let guard = guard_with(&issuer, Settings { recipient_keys: vec![recipient()], ..settings() });
    let forged = new_key().sign(TYP_ACCESS, &claims("j1")).unwrap();
    let sealed = token::seal(&forged, &RECIPIENT.public()).unwrap();
    assert_eq!(guard.open(&sealed).await, Ok(forged.clone()));
    assert!(guard.remembered(&sealed, NOW).is_none());

    let others = RecipientKey::generate("other").unwrap();
    let sealed = token::seal(&forged, &others.public()).unwrap();
    assert_eq!(guard.open(&sealed).await, Err(invalid(Refused::Undecryptable)));
    assert_eq!(guard.open(&forged).await, Err(invalid(Refused::Malformed)));
    let full =
        Settings { max_concurrent: 0, max_waiting: 0, recipient_keys: vec![recipient()], ..settings() };
    let guard = guard_with(&issuer, full);
    assert_eq!(
        guard.open("a.b.c.d.e").await,
        Err(invalid(Refused::Undecryptable)),
        "one turn there is always"
    );
}

/// For logging out: to whom it was issued can be told of a token that is good for nothing else any more.
#[tokio::test]
async fn whom_an_expired_token_was_issued_to() {
    let guard =
        guard_with(&Issuer::with(&[&FIRST]), Settings { recipient_keys: vec![recipient()], ..settings() });
    let plain = token(&FIRST, "j1");
    assert_eq!(guard.issued(&plain).await, Err(unavailable(Unavailable::NoKeys)));
    guard.refresh_keys().await.unwrap();
    let later = NOW + LIFE + LEEWAY;
    for token in [token::seal(&plain, &RECIPIENT.public()).unwrap(), plain.clone()] {
        let issued = guard.issued(&token).await.unwrap();
        assert_eq!((issued.subject.as_str(), issued.family.as_deref()), ("usr_1", Some("grt_1")));
        assert!(guard.remembered(&token, NOW).is_none());
        assert_eq!(guard.verify(&token, later).await.unwrap_err(), invalid(Refused::Expired));
    }
    for (token, refused) in [
        (token(&new_key(), "j1"), Refused::KeyUnknown),
        (format!("{plain}A"), Refused::Signature),
        (FIRST.sign("JWT", &claims("j1")).unwrap(), Refused::Type),
        ("x".repeat(20_000), Refused::TooLarge),
    ] {
        assert_eq!(guard.issued(&token).await, Err(invalid(refused)));
    }
    assert_eq!(guard.counts().remembered, 0);
}

#[tokio::test]
async fn bad_tokens_are_refused_and_never_remembered() {
    let guard = guard_with_keys(&Issuer::with(&[&FIRST])).await;
    let good = token(&FIRST, "j1");
    let mut other_audience = claims("j1");
    other_audience["aud"] = json!("other");
    for (token, refused) in [
        (format!("{good}A"), Refused::Signature),
        (String::new(), Refused::Malformed),
        ("x".repeat(20_000), Refused::TooLarge),
        (FIRST.sign("JWT", &claims("j1")).unwrap(), Refused::Type),
        (FIRST.sign(TYP_ACCESS, &other_audience).unwrap(), Refused::Audience),
    ] {
        assert_eq!(guard.verify(&token, NOW).await.unwrap_err(), invalid(refused));
        assert!(guard.remembered(&token, NOW).is_none());
    }
    assert_eq!((guard.counts().remembered, guard.counts().invalid), (0, 5));
}

/// J04: what is no key id at all costs the issuer nothing.
#[tokio::test(start_paused = true)]
async fn j04_key_ids_that_are_none() {
    use token::MAX_TOKEN_BYTES;

    let issuer = Issuer::with(&[&FIRST]);
    let guard = guard(&issuer);
    beside_its_loop(&guard, async {
        guard.until_there_are_keys().await;
        let good = token(&FIRST, "j1");
        let (_, rest) = good.split_once('.').unwrap();
        let kid = FIRST.kid();
        let headers = [
            r#"{"alg":"ES256","typ":"at+jwt","kid":"../../../etc/passwd"}"#.to_owned(),
            r#"{"alg":"ES256","typ":"at+jwt","kid":"x' OR 1=1 --"}"#.to_owned(),
            format!(r#"{{"alg":"ES256","typ":"at+jwt","kid":"{}"}}"#, "k".repeat(64 * 1024)),
            format!(r#"{{"alg":"ES256","typ":"at+jwt","kid":"x","kid":"{kid}"}}"#),
            r#"{"alg":"ES256","typ":"at+jwt"}"#.to_owned(),
        ];
        for header in headers {
            // Old enough for a fetch, were there a reason.
            advance(Duration::from_secs(6)).await;
            let asked = issuer.asked();
            let token = format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header));
            let refused = if token.len() > MAX_TOKEN_BYTES { Refused::TooLarge } else { Refused::Malformed };
            assert_eq!(guard.verify(&token, NOW).await.unwrap_err(), invalid(refused));
            assert_eq!(issuer.asked(), asked);
        }
    })
    .await;
}

/// J04: at most one fetch in five seconds, however many ids are tried, one after the other and at once.
#[tokio::test(start_paused = true)]
async fn j04_refetches_are_limited() {
    let issuer = Issuer::with(&[&FIRST]);
    let guard = guard(&issuer);
    let strangers: Vec<_> = (0..20).map(|_| new_key()).collect();
    beside_its_loop(&guard, async {
        guard.until_there_are_keys().await;
        for second in 0..30 {
            let tokens: Vec<_> = strangers.iter().map(|key| token(key, &second.to_string())).collect();
            let outcomes = join_all(tokens.iter().map(|token| guard.verify(token, NOW))).await;
            let refusals: Vec<_> = outcomes.into_iter().map(|outcome| outcome.unwrap_err()).collect();
            assert!(refusals.iter().all(|refusal| *refusal == invalid(Refused::KeyUnknown)), "{refusals:?}");
            advance(Duration::from_secs(1)).await;
        }
    })
    .await;
    let asked = issuer.asked();
    assert!((4..=7).contains(&asked), "{asked} in 30 s");
}

#[tokio::test(start_paused = true)]
async fn an_unknown_key_is_asked_for_once_the_set_is_old_enough() {
    let issuer = Issuer::with(&[&FIRST]);
    let guard = guard(&issuer);
    beside_its_loop(&guard, async {
        guard.until_there_are_keys().await;
        let token = token(&SECOND, "j1");
        assert_eq!(guard.verify(&token, NOW).await.unwrap_err(), invalid(Refused::KeyUnknown));
        issuer.now_answers(answer(&[&FIRST, &SECOND]));
        advance(Duration::from_millis(4_900)).await;
        assert_eq!(guard.verify(&token, NOW).await.unwrap_err(), invalid(Refused::KeyUnknown));
        assert_eq!(issuer.asked(), 1);
        advance(Duration::from_millis(200)).await;
        assert!(guard.verify(&token, NOW).await.is_ok());
        assert_eq!(issuer.asked(), 2);
    })
    .await;
}

/// Nothing valid is called invalid because the issuer is away.
#[tokio::test(start_paused = true)]
async fn an_unknown_key_with_the_issuer_away_is_unavailable() {
    for away in [Answer::Fails, Answer::Hangs, Answer::Keys("{}".to_owned()), Answer::Keys(String::new())] {
        let issuer = Issuer::with(&[&FIRST]);
        let guard = guard(&issuer);
        beside_its_loop(&guard, async {
            guard.until_there_are_keys().await;
            issuer.now_answers(away);
            advance(Duration::from_secs(6)).await;
            let (known, unknown) = (token(&FIRST, "j1"), token(&SECOND, "j1"));
            let verdict = guard.verify(&unknown, NOW).await.unwrap_err();
            assert_eq!(verdict, unavailable(Unavailable::IssuerUnreachable));
            // Told at once while the last failure is fresh, and without asking again.
            let asked = issuer.asked();
            let verdict = timeout(Duration::ZERO, guard.verify(&unknown, NOW)).await.unwrap().unwrap_err();
            assert_eq!(verdict, unavailable(Unavailable::IssuerUnreachable));
            assert_eq!(issuer.asked(), asked);
            // Known keys serve on.
            assert!(guard.verify(&known, NOW).await.is_ok());

            issuer.now_answers(answer(&[&FIRST, &SECOND]));
            advance(Duration::from_secs(6)).await;
            assert!(guard.verify(&unknown, NOW).await.is_ok());
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn before_any_key_everything_is_unavailable() {
    // Without a loop beside it, too: it must not wait for ever.
    let alone = guard(&Issuer::with(&[&FIRST]));
    let verdict = alone.verify(&token(&FIRST, "j1"), NOW).await.unwrap_err();
    assert_eq!(verdict, unavailable(Unavailable::NoKeys));

    for nothing in [Answer::Fails, Answer::Hangs, answer(&[])] {
        let issuer = Issuer::new(nothing);
        let guard = guard(&issuer);
        beside_its_loop(&guard, async {
            for _ in 0..3 {
                let verdict = guard.verify(&token(&FIRST, "j1"), NOW).await.unwrap_err();
                assert_eq!(verdict, unavailable(Unavailable::NoKeys));
                assert!(!guard.has_keys());
                advance(Duration::from_secs(2)).await;
            }
            issuer.now_answers(answer(&[&FIRST]));
            advance(Duration::from_secs(6)).await;
            assert!(guard.verify(&token(&FIRST, "j1"), NOW).await.is_ok());
        })
        .await;
    }
}

/// A gateway that is up before its issuer does not wait a whole interval.
#[tokio::test(start_paused = true)]
async fn the_first_keys_are_retried_soon() {
    let issuer = Issuer::new(Answer::Fails);
    let guard = guard(&issuer);
    let began = tokio::time::Instant::now();
    beside_its_loop(&guard, async {
        tokio::time::sleep(Duration::from_millis(250)).await;
        issuer.now_answers(answer(&[&FIRST]));
        guard.until_there_are_keys().await;
    })
    .await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

/// Requests that come while the first keys are on their way are served by them, one verification a token.
#[tokio::test(start_paused = true)]
async fn one_verification_for_many_callers() {
    let issuer = Issuer::closed(&[&FIRST]);
    let guard = guard(&issuer);
    let token = token(&FIRST, "j1");
    let callers = async {
        let all = join_all((0..50).map(|_| guard.verify(&token, NOW)));
        // By the time that the issuer answers, all are waiting.
        let (outcomes, ()) = tokio::join!(all, async { issuer.open() });
        outcomes.into_iter().collect::<Result<Vec<_>, _>>().unwrap()
    };
    let results = beside_its_loop(&guard, callers).await;
    assert_eq!(results.len(), 50);
    assert!(results.iter().all(|one| Arc::ptr_eq(one, &results[0])));
    assert_eq!((guard.counts().verified, issuer.asked()), (1, 1));
}

/// Callers that wait for keys are bounded, and do not keep out those whose key is known.
#[tokio::test(start_paused = true)]
async fn waiting_for_keys_is_bounded() {
    let issuer = Issuer::with(&[&FIRST]);
    let guard = guard_with(&issuer, Settings { max_waiting: 1, ..settings() });
    beside_its_loop(&guard, async {
        guard.until_there_are_keys().await;
        issuer.now_answers(Answer::Hangs);
        advance(Duration::from_secs(6)).await;
        let (one, other, known) = (token(&SECOND, "j1"), token(&SECOND, "j2"), token(&FIRST, "j1"));
        let mut waits = Box::pin(guard.verify(&one, NOW));
        assert!(timeout(Duration::from_millis(1), &mut waits).await.is_err());
        assert_eq!(guard.verify(&other, NOW).await.unwrap_err(), unavailable(Unavailable::Overloaded));
        assert!(guard.verify(&known, NOW).await.is_ok());
        assert_eq!(waits.await.unwrap_err(), unavailable(Unavailable::IssuerUnreachable));
    })
    .await;
}

/// Callers run on any runtime.
#[tokio::test]
async fn verification_may_move_between_threads() {
    fn sent<F: Future + Send>(future: F) -> F {
        future
    }
    let guard = guard_with_keys(&Issuer::with(&[&FIRST])).await;
    assert!(sent(guard.verify(&token(&FIRST, "j1"), NOW)).await.is_ok());
}
