use crate::stack::{Stack, not_found, refused, secs};

#[tokio::test]
async fn s04_twenty_parallel_requests_survive_a_rotation_and_leave_one_live_secret() {
    let stack = Stack::start().await;
    let gateway = stack.gateway();
    let (session, former) = stack.log_in("usr_1").await;
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..40 {
        let (gateway, former) = (gateway.clone(), former.clone());
        calls.spawn(async move {
            if number % 2 == 0 {
                return gateway.rotate(&former).await.unwrap().secret;
            }
            // Before the rotation, no cookie is set.
            gateway.resolve(&former).await.unwrap().current_secret
        });
    }
    let mut told: Vec<String> =
        calls.join_all().await.into_iter().filter(|secret| !secret.is_empty()).collect();
    told.sort();
    told.dedup();
    let [current] = &told[..] else { panic!("{} secrets", told.len()) };
    assert_ne!(*current, former);

    stack.clock.advance(secs(9));
    let resolved = gateway.resolve(&former).await.unwrap();
    assert_eq!(resolved.current_secret, *current);
    assert_eq!(resolved.session.unwrap().id, session.id);
    assert_eq!(
        gateway.resolve(current).await.unwrap().current_secret,
        "",
        "the current one needs no new cookie"
    );
    stack.clock.advance(secs(1));
    assert_eq!(refused(gateway.resolve(&former).await), not_found());
    assert_eq!(refused(gateway.rotate(&former).await), not_found());
    gateway.resolve(current).await.unwrap();
}

#[tokio::test]
async fn s04_after_an_ending_no_former_secret_is_accepted() {
    let stack = Stack::start().await;
    let gateway = stack.gateway();
    let (session, first) = stack.log_in("usr_1").await;
    let second = gateway.rotate(&first).await.unwrap().secret;
    let third = gateway.rotate(&second).await.unwrap().secret;
    assert_eq!(gateway.resolve(&first).await.unwrap().current_secret, third, "along the whole chain");
    assert!(gateway.end_by_id(&session.id).await.unwrap());
    for secret in [first, second, third] {
        assert_eq!(refused(gateway.resolve(&secret).await), not_found());
        assert_eq!(refused(gateway.rotate(&secret).await), not_found());
    }
}

#[tokio::test]
async fn without_grace_the_former_secret_is_dead_at_once() {
    let stack = Stack::start_with(&[("sessions.rotation_grace", "0s")]).await;
    let gateway = stack.gateway();
    let (_, former) = stack.log_in("usr_1").await;
    let current = gateway.rotate(&former).await.unwrap().secret;
    assert_eq!(refused(gateway.resolve(&former).await), not_found());
    gateway.resolve(&current).await.unwrap();
}

#[tokio::test]
async fn a_rotation_does_not_change_who_and_when() {
    let stack = Stack::start().await;
    let (before, first) = stack.log_in("usr_1").await;
    stack.clock.advance(secs(5));
    let after = stack.gateway().rotate(&first).await.unwrap().session.unwrap();
    assert_eq!((&after.id, &after.subject, after.epoch), (&before.id, &before.subject, before.epoch));
    assert_eq!(after.absolute_expires_at, before.absolute_expires_at);
}
