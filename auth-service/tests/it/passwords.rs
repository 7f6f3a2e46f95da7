//! P01 to P05 and P07: what passwords may be, how they are kept, and how they are changed.

use std::{collections::HashSet, sync::Arc};

use auth_service::{
    Injected,
    domain::phc::{CURRENT, PasswordHash},
    hashing::argon2id::Argon2id,
};
use proto::auth::v1 as wire;
use tonic::Code;

use crate::{
    audit,
    stack::{ADDRESS, OTHER_PASSWORD, PASSWORD, Place, Stack, reason},
};

/// Characters that repeat nothing, of any length; `seed` makes them others.
fn varied(length: usize, seed: u32) -> String {
    let mut state = seed;
    (0..length)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from(b'a' + u8::try_from((state >> 16) % 26).unwrap())
        })
        .collect()
}

async fn stored(place: &Place) -> Vec<String> {
    let mut connection = place.database().await;
    sqlx::query_scalar("SELECT password_hash FROM users ORDER BY username")
        .fetch_all(&mut connection)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn p01_lengths() {
    let stack = Stack::start().await;
    assert_eq!(reason(stack.register("short", &varied(14, 1)).await), "PASSWORD_REFUSED");
    for (number, length) in [15, 64, 128, 1_000].into_iter().enumerate() {
        let name = format!("user-{number}");
        let password = varied(length, 7);
        stack.register(&name, &password).await.unwrap();
        let mut other = password.clone();
        let last = other.pop().unwrap();
        other.push(if last == 'a' { 'b' } else { 'a' });
        assert_eq!(
            reason(stack.login(&name, &other).await),
            "INVALID_CREDENTIALS",
            "the last character of {length}"
        );
        assert_eq!(reason(stack.login(&name, &password[..length - 1]).await), "INVALID_CREDENTIALS");
        stack.login(&name, &password).await.unwrap();
    }
    // 2,048 characters of two bytes are 4,096; one more is over the limit, and nothing is hashed for it.
    let most = "é".repeat(7) + &varied(4_082, 3);
    assert_eq!(most.len(), 4_096);
    stack.register("most", &most).await.unwrap();
    stack.login("most", &most).await.unwrap();
    stack.place.kdf.take();
    let over = most.clone() + "a";
    let status = stack.register("over", &over).await.unwrap_err();
    assert_eq!(
        (status.code(), reason::<()>(Err(status))),
        (Code::InvalidArgument, "PASSWORD_REFUSED".to_owned())
    );
    let status = stack.login("most", &over).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(stack.place.kdf.take().is_empty(), "refused before hashing");
}

#[tokio::test(flavor = "multi_thread")]
async fn p02_any_characters_in_one_normal_form() {
    let stack = Stack::start().await;
    for (number, password) in [
        "lower case words and spaces only",
        "ОЧЕНЬ длинная фраза про снег",
        "🦜🌋🪁🎻🧭🪵🦔🧊🛶🎈🔭🍋🪨🐙🎷",
        "   spaces before and after count   ",
    ]
    .iter()
    .enumerate()
    {
        let name = format!("user-{number}");
        stack.register(&name, password).await.unwrap();
        stack.login(&name, password).await.unwrap();
        assert!(
            stack.login(&name, &password.to_uppercase()).await.is_err()
                || password.to_uppercase() == *password
        );
    }
    assert_eq!(reason(stack.login("user-3", "spaces before and after count").await), "INVALID_CREDENTIALS");
    stack.register("composed", "caf\u{e9} beside the lighthouse").await.unwrap();
    stack.login("composed", "cafe\u{301} beside the lighthouse").await.unwrap();
    stack.register("decomposed", "cafe\u{301} beside the lighthouse").await.unwrap();
    stack.login("decomposed", "caf\u{e9} beside the lighthouse").await.unwrap();
    stack.advance(std::time::Duration::from_secs(3_650 * 86_400));
    stack.login("composed", "caf\u{e9} beside the lighthouse").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn p03_weak_passwords_are_refused_with_the_reason_wherever_one_is_set() {
    let stack = Stack::start().await;
    let refused = |result: Result<wire::User, tonic::Status>| {
        let status = result.expect_err("refused");
        assert_eq!(chassis::status::reason(&status).as_deref(), Some("PASSWORD_REFUSED"), "{status:?}");
        status.message().to_owned()
    };
    for (password, why) in [
        ("passwordpassword", "common"),
        ("123456789987654321", "common"),
        ("dragonmonkey1234", "common"),
        ("aaaaaaaaaaaaaaaaaaaa", "repeats"),
        ("qwertyuiopasdfghjkl", "sequence"),
        ("latchkey-latchkey!", "service"),
        ("correct horse battery staple", "phrase that many people know"),
        ("Correct-Horse-Battery-Staple!", "phrase that many people know"),
        ("margaret.hamilton.1", "username"),
    ] {
        let message = refused(stack.register("margaret.hamilton", password).await);
        assert!(message.contains(why), "{password}: {message}");
        assert!(!message.contains(password), "{message}");
    }
    let alice = stack.register("alice", PASSWORD).await.unwrap();
    let changed = stack.change_password("alice", PASSWORD, "passwordpassword").await;
    assert_eq!(reason(changed), "PASSWORD_REFUSED");
    let message = wire::SetPasswordRequest {
        id: alice.id,
        password: "passwordpassword".into(),
        must_change_password: false,
    };
    assert_eq!(
        reason(stack.user_admin().set_password(stack.call().request(message)).await),
        "PASSWORD_REFUSED"
    );
    let message =
        wire::CreateUserRequest { username: "bob".into(), password: "short".into(), ..Default::default() };
    assert_eq!(
        reason(stack.user_admin().create_user(stack.call().request(message)).await),
        "PASSWORD_REFUSED"
    );
    stack.login("alice", PASSWORD).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn p04_stored_strings() {
    let place = Place::new();
    // The real function here: what is stored is what the argon2 crate makes of the password.
    let injected = Injected { kdf: Arc::new(Argon2id), ..place.injected() };
    let stack = Stack::start_injected(place, &[], injected).await;
    for number in 0..10 {
        stack.register(&format!("user-{number}"), PASSWORD).await.unwrap();
    }
    let strings = stored(&stack.place).await;
    assert_eq!(strings.len(), 10);
    let mut salts = HashSet::new();
    for text in &strings {
        assert!(text.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{text}");
        let hash = PasswordHash::parse(text).unwrap();
        assert!(hash.salt().len() >= 16);
        assert!(salts.insert(hash.salt().to_vec()), "a salt twice");
        let mut out = [0; 32];
        argon2::Argon2::default().hash_password_into(PASSWORD.as_bytes(), hash.salt(), &mut out).unwrap();
        assert!(hash.matches(&out));
    }
    stack.login("user-0", PASSWORD).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn p04_weaker_ones_are_upgraded_at_the_next_login() {
    let place = Place::new();
    let injected = Injected { kdf: Arc::new(Argon2id), ..place.injected() };
    let stack = Stack::start_injected(place, &[], injected).await;
    stack.register("alice", PASSWORD).await.unwrap();
    let (salt, mut out) = (b"0123456789abcdef", [0; 32]);
    let weak = argon2::Params::new(4_096, 1, 1, None).unwrap();
    argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, weak)
        .hash_password_into(PASSWORD.as_bytes(), salt, &mut out)
        .unwrap();
    let encode = |bytes: &[u8]| base64::Engine::encode(&base64::prelude::BASE64_STANDARD_NO_PAD, bytes);
    let weak = format!("$argon2id$v=19$m=4096,t=1,p=1${}${}", encode(salt), encode(&out));
    let mut connection = stack.place.database().await;
    sqlx::query("UPDATE users SET password_hash = ?1").bind(&weak).execute(&mut connection).await.unwrap();

    assert_eq!(reason(stack.login("alice", OTHER_PASSWORD).await), "INVALID_CREDENTIALS");
    assert_eq!(stored(&stack.place).await, [weak], "a wrong password upgrades nothing");
    let tokens = stack.login("alice", PASSWORD).await.unwrap();
    let strings = stored(&stack.place).await;
    assert!(strings[0].starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{strings:?}");
    stack.login("alice", PASSWORD).await.unwrap();
    assert_eq!(stored(&stack.place).await, strings, "once");
    stack.refresh(&tokens.refresh_token).await.expect("an upgrade voids nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn p05_an_unknown_user_costs_what_a_wrong_password_costs() {
    let stack = Stack::start().await;
    stack.register("alice", PASSWORD).await.unwrap();
    let disabled = stack.register("disabled", PASSWORD).await.unwrap();
    let message = wire::SetUserStatusRequest { id: disabled.id, status: wire::Status::Disabled.into() };
    stack.user_admin().set_user_status(stack.call().request(message)).await.unwrap();
    stack.place.kdf.take();
    let mut seen = Vec::new();
    for (identifier, password) in [
        ("alice", OTHER_PASSWORD),
        ("nobody", OTHER_PASSWORD),
        ("disabled", PASSWORD),
        ("disabled", OTHER_PASSWORD),
        ("no\u{0}name", OTHER_PASSWORD),
        (&"x".repeat(5_000), OTHER_PASSWORD),
        ("", OTHER_PASSWORD),
    ] {
        let status = stack.login(identifier, password).await.unwrap_err();
        let metadata: Vec<String> = status.metadata().keys().map(|key| format!("{key:?}")).collect();
        let details = status.details().to_vec();
        seen.push((
            stack.place.kdf.take(),
            status.code(),
            status.message().to_owned(),
            details,
            metadata.len(),
        ));
    }
    assert_eq!(seen[0].0, [CURRENT], "one run at the stated cost");
    for other in &seen[1..] {
        assert_eq!(*other, seen[0]);
    }
    // And for a change of password.
    for identifier in ["alice", "nobody"] {
        let status =
            stack.change_password(identifier, "wrong wrong wrong wrong", OTHER_PASSWORD).await.unwrap_err();
        assert_eq!(reason::<()>(Err(status)), "INVALID_CREDENTIALS");
        assert_eq!(stack.place.kdf.take(), [CURRENT], "{identifier}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p07_a_change_needs_the_present_password() {
    let stack = Stack::start().await;
    stack.register("alice", PASSWORD).await.unwrap();
    let before = stack.login("alice", PASSWORD).await.unwrap();
    assert_eq!(
        reason(stack.change_password("alice", OTHER_PASSWORD, "granite lemon window cello").await),
        "INVALID_CREDENTIALS"
    );
    assert_eq!(reason(stack.change_password("alice", "", OTHER_PASSWORD).await), "INVALID_CREDENTIALS");
    stack.place.kdf.take();
    assert_eq!(
        reason(stack.change_password("alice", OTHER_PASSWORD, PASSWORD).await),
        "INVALID_CREDENTIALS",
        "the present one as the new one proves nothing"
    );
    assert_eq!(stack.place.kdf.take(), [CURRENT], "one run");
    stack.refresh(&before.refresh_token).await.expect("nothing was changed");

    let changed = stack.change_password("alice", PASSWORD, OTHER_PASSWORD).await.unwrap();
    let Some(wire::change_password_response::Result::Tokens(tokens)) = changed.result else {
        panic!("tokens")
    };
    assert_eq!(stack.claims(&tokens.access_token).await.epo.subject, 1);
    stack.refresh(&tokens.refresh_token).await.expect("logged in anew");
    assert_eq!(reason(stack.refresh(&before.refresh_token).await), "INVALID_GRANT");
    assert_eq!(reason(stack.login("alice", PASSWORD).await), "INVALID_CREDENTIALS");
    stack.login("alice", OTHER_PASSWORD).await.unwrap();
}

/// How a change is repeated whose follow-up failed elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_password_once_more_ends_what_was_issued_since() {
    let stack = Stack::start().await;
    stack.register("alice", PASSWORD).await.unwrap();
    let before = stack.login("alice", PASSWORD).await.unwrap();
    let changed = stack.change_password("alice", PASSWORD, PASSWORD).await.unwrap();
    let Some(wire::change_password_response::Result::Tokens(tokens)) = changed.result else {
        panic!("tokens")
    };
    assert_eq!(stack.claims(&tokens.access_token).await.epo.subject, 1);
    assert_eq!(reason(stack.refresh(&before.refresh_token).await), "INVALID_GRANT");
    stack.login("alice", PASSWORD).await.unwrap();
}

/// What the login takes that goes with a change is asked for first: without it nothing is changed.
#[tokio::test(flavor = "multi_thread")]
async fn without_policy_service_a_change_by_token_changes_nothing() {
    let stack = Stack::start().await;
    stack.register("alice", PASSWORD).await.unwrap();
    let before = stack.login("alice", PASSWORD).await.unwrap();
    stack.policy.set_down(true);
    for _ in 0..2 {
        let (status, line) = changed(&stack).await;
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(reason::<()>(Err(status)), "UNAVAILABLE", "not one that says that it is done");
        assert_eq!((line["outcome"].as_str(), line["reason"].as_str()), ("failed", "POLICY_UNAVAILABLE"));
    }
    assert_eq!(reason(stack.login_proof("alice", OTHER_PASSWORD).await), "INVALID_CREDENTIALS");
    stack.login_proof("alice", PASSWORD).await.expect("it is the present one");
    stack.policy.set_down(false);
    stack.refresh(&before.refresh_token).await.expect("nothing has ended");
    stack.change_password("alice", PASSWORD, OTHER_PASSWORD).await.unwrap();
}

/// What fails once it is changed does not undo that: the line and the answer say so, and what the old one had opened has ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_whose_login_fails_is_a_change() {
    let stack = Stack::start().await;
    stack.register("alice", PASSWORD).await.unwrap();
    let before = stack.login("alice", PASSWORD).await.unwrap();
    let mut connection = stack.place.database().await;
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON families BEGIN SELECT RAISE(ABORT, 'away'); END";
    sqlx::query(refuse).execute(&mut connection).await.unwrap();
    let (status, line) = changed(&stack).await;
    assert!(status.message().starts_with("the password is changed"), "{status:?}");
    assert!(chassis::status::retry_after(&status).is_some());
    assert_eq!(reason::<()>(Err(status)), "NOT_CONFIRMED");
    assert_eq!((line["outcome"].as_str(), line.get("reason")), ("success", None));
    sqlx::query("DROP TRIGGER refuse").execute(&mut connection).await.unwrap();
    assert_eq!(reason(stack.refresh(&before.refresh_token).await), "INVALID_GRANT");
    assert_eq!(reason(stack.login("alice", PASSWORD).await), "INVALID_CREDENTIALS");
    // Repeated as the answer says it logs in.
    stack.change_password("alice", OTHER_PASSWORD, OTHER_PASSWORD).await.unwrap();
}

/// A change by token that is not answered with tokens, and its audit line.
async fn changed(stack: &Stack) -> (tonic::Status, audit::Fields) {
    let call = stack.call();
    let message = wire::ChangePasswordRequest {
        identifier: "alice".into(),
        current_password: PASSWORD.into(),
        new_password: OTHER_PASSWORD.into(),
        mode: wire::LoginMode::Token.into(),
        client_address: ADDRESS.into(),
    };
    let status = stack.logins().change_password(call.request(message)).await.unwrap_err();
    let mut lines = audit::lines(&call.request_id);
    assert_eq!(lines.len(), 1, "{lines:?}");
    (status, lines.remove(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_an_administrator_chose_is_changed_first() {
    let stack = Stack::start().await;
    let message = wire::CreateUserRequest {
        username: "alice".into(),
        password: PASSWORD.into(),
        must_change_password: true,
    };
    let user = stack
        .user_admin()
        .create_user(stack.call().request(message))
        .await
        .unwrap()
        .into_inner()
        .user
        .unwrap();
    assert!(user.must_change_password);
    assert_eq!(reason(stack.login("alice", OTHER_PASSWORD).await), "INVALID_CREDENTIALS");
    assert_eq!(reason(stack.login("alice", PASSWORD).await), "PASSWORD_CHANGE_REQUIRED");
    assert_eq!(reason(stack.login_proof("alice", PASSWORD).await), "PASSWORD_CHANGE_REQUIRED");
    assert_eq!(
        reason(stack.change_password("alice", PASSWORD, PASSWORD).await),
        "PASSWORD_REFUSED",
        "the same is no change"
    );
    assert_eq!(reason(stack.login("alice", PASSWORD).await), "PASSWORD_CHANGE_REQUIRED");
    let changed = stack.change_password("alice", PASSWORD, OTHER_PASSWORD).await.unwrap();
    assert!(!changed.user.unwrap().must_change_password);
    let tokens = stack.login("alice", OTHER_PASSWORD).await.unwrap();

    let message =
        wire::SetPasswordRequest { id: user.id, password: PASSWORD.into(), must_change_password: true };
    stack.user_admin().set_password(stack.call().request(message)).await.unwrap();
    assert_eq!(reason(stack.refresh(&tokens.refresh_token).await), "INVALID_GRANT");
    assert_eq!(reason(stack.login("alice", PASSWORD).await), "PASSWORD_CHANGE_REQUIRED");
}
