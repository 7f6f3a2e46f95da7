use crate::stack::{Stack, not_found, refused, secs};

#[tokio::test]
async fn s05_idle_and_absolute_expiry_by_the_injected_clock() {
    for (store, url) in [("sqlite", None), ("memory", Some(("store.url", "memory")))] {
        let stack = Stack::start_with(url.as_slice()).await;
        let gateway = stack.gateway();
        let (_, secret) = stack.log_in("usr_1").await;
        let (_, forgotten) = stack.log_in("usr_1").await;
        stack.clock.advance(secs(30 * 60 - 1));
        gateway.resolve(&secret).await.expect(store);
        stack.clock.advance(secs(2));
        gateway.resolve(&secret).await.expect(store);
        assert_eq!(refused(gateway.resolve(&forgotten).await), not_found(), "{store}");
        // Busy all day, and over after twelve hours all the same.
        let mut age = 30 * 60 + 1;
        while age + 20 * 60 < 12 * 3600 - 1 {
            stack.clock.advance(secs(20 * 60));
            age += 20 * 60;
            gateway.resolve(&secret).await.expect(store);
        }
        stack.clock.advance(secs(12 * 3600 - 1 - age));
        let session = gateway.resolve(&secret).await.expect(store).session.unwrap();
        assert_eq!(session.idle_expires_at, session.absolute_expires_at);
        stack.clock.advance(secs(2));
        assert_eq!(refused(gateway.resolve(&secret).await), not_found(), "{store}");
    }
}

#[tokio::test]
async fn activity_is_told_by_every_answer() {
    let stack = Stack::start().await;
    let gateway = stack.gateway();
    let (before, secret) = stack.log_in("usr_1").await;
    stack.clock.advance(secs(60));
    let resolved = gateway.resolve(&secret).await.unwrap().session.unwrap();
    assert_eq!(resolved.last_active_at.unwrap().seconds, before.last_active_at.unwrap().seconds + 60);
    assert_eq!(resolved.idle_expires_at.unwrap().seconds, before.idle_expires_at.unwrap().seconds + 60);
    stack.clock.advance(secs(1));
    let read = gateway.get(&before.id).await.unwrap();
    assert_eq!(read.last_active_at, resolved.last_active_at, "reading is no activity");
}

#[tokio::test]
async fn what_opens_nothing_is_not_found() {
    let stack = Stack::start().await;
    let (session, secret) = stack.log_in("usr_1").await;
    let gateway = stack.gateway();
    let almost = format!("{}{}", &secret[..42], if secret.ends_with('A') { 'E' } else { 'A' });
    for wrong in
        ["", "A", &session.id, &almost, &format!("{secret}="), &format!(" {secret}"), &"A".repeat(50_000)]
    {
        assert_eq!(refused(gateway.resolve(wrong).await), not_found());
    }
    gateway.resolve(&secret).await.unwrap();
}

#[tokio::test]
async fn what_happened_is_counted() {
    let stack = Stack::start_with(&[("sessions.limit", "1")]).await;
    let gateway = stack.gateway();
    stack.log_in("usr_1").await;
    let (_, secret) = stack.log_in("usr_1").await;
    gateway.resolve(&secret).await.unwrap();
    gateway.rotate(&secret).await.unwrap();
    gateway.resolve(&"A".repeat(43)).await.unwrap_err();
    gateway.log_out(&secret).await.unwrap();
    let shown = stack.life.metrics().render();
    for line in [
        "latchkey_session_creations_total 2",
        "latchkey_session_creations_refused_total{reason=\"proof_invalid\"} 0",
        "latchkey_session_lookups_total{result=\"found\"} 1",
        "latchkey_session_lookups_total{result=\"not_found\"} 1",
        "latchkey_session_rotations_total 1",
        "latchkey_session_endings_total{reason=\"limit\"} 1",
        "latchkey_session_endings_total{reason=\"logout\"} 1",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line} in\n{shown}");
    }
}
