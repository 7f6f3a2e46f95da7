//! What is remembered, for how long, and at what cost.

use std::{sync::Arc, time::Duration};

use latchkey_guard::{Refusal, Settings};
use token::Refused;

use crate::issuer::*;

#[tokio::test]
async fn remembered_until_it_expires() {
    let guard = guard_with_keys(&Issuer::with(&[&FIRST])).await;
    let token = token(&FIRST, "j1");
    assert!(guard.remembered(&token, NOW).is_none());
    let verified = guard.verify(&token, NOW).await.unwrap();
    assert!(Arc::ptr_eq(&guard.remembered(&token, NOW).unwrap(), &verified));
    assert!(Arc::ptr_eq(&guard.verify(&token, NOW).await.unwrap(), &verified));
    assert_eq!(guard.counts().verified, 1);

    let end = NOW + LIFE + LEEWAY;
    assert!(guard.remembered(&token, end - Duration::from_nanos(1)).is_some());
    assert!(guard.still_holds(&verified, end - Duration::from_nanos(1)));
    assert!(guard.remembered(&token, end).is_none() && !guard.still_holds(&verified, end));
    assert_eq!(guard.verify(&token, end).await.unwrap_err(), Refusal::Invalid(Refused::Expired));
    // By the octet: something like a remembered token is another token.
    assert!(guard.remembered(&format!("{token} "), NOW).is_none());
    assert!(guard.remembered(&token[..token.len() - 1], NOW).is_none());
    assert!(guard.remembered("", NOW).is_none());
}

/// The path of nearly every request: a digest, a look into a map, a comparison, a count of references.
#[tokio::test]
async fn a_hit_allocates_nothing() {
    let issuer = Issuer::with(&[&FIRST]);
    let guard = guard_with(&issuer, Settings { recipient_keys: vec![recipient()], ..settings() });
    guard.refresh_keys().await.unwrap();
    let sealed = token::seal(&token(&FIRST, "j1"), &RECIPIENT.public()).unwrap();
    guard.verify(&sealed, NOW).await.unwrap();
    // A thread's first use of the map sets up its place in it.
    guard.remembered(&sealed, NOW).unwrap();
    let counted = allocation_counter::measure(|| {
        for _ in 0..1_000 {
            let hit = guard.remembered(&sealed, NOW).unwrap();
            assert_eq!(hit.principal.id, "usr_1");
        }
        assert!(guard.remembered("unknown", NOW).is_none());
    });
    assert_eq!((counted.count_total, counted.bytes_total), (0, 0));
    // The instrument works.
    assert_ne!(allocation_counter::measure(|| drop(sealed.clone())).count_total, 0);
}

#[tokio::test]
async fn at_capacity_tokens_are_verified_at_every_use_until_others_expire() {
    let issuer = Issuer::with(&[&FIRST]);
    let guard = guard_with(&issuer, Settings { capacity: 10, ..settings() });
    guard.refresh_keys().await.unwrap();
    let tokens: Vec<_> = (0..15).map(|jti| token(&FIRST, &jti.to_string())).collect();
    for token in &tokens {
        assert!(guard.verify(token, NOW).await.is_ok());
    }
    // Who was there first stays; the others are good all the same.
    assert_eq!(tokens.iter().filter(|token| guard.remembered(token, NOW).is_some()).count(), 10);
    assert_eq!((guard.counts().remembered, guard.counts().not_remembered), (10, 5));
    for _ in 0..3 {
        assert!(guard.verify(&tokens[14], NOW).await.is_ok());
    }
    assert_eq!((guard.counts().verified, guard.counts().not_remembered), (18, 8));

    // Once they have expired, they make room.
    let later = NOW + LIFE + LEEWAY;
    let mut fresh = claims("later");
    fresh["exp"] = (later + LIFE).unix_timestamp().into();
    let fresh = FIRST.sign(token::TYP_ACCESS, &fresh).unwrap();
    assert!(guard.verify(&fresh, later).await.is_ok());
    assert!(guard.remembered(&fresh, later).is_some());
    assert_eq!(guard.counts().remembered, 1);
}
