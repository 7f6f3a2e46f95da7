//! Administration of clients.

use proto::auth::v1 as wire;

use crate::stack::{Stack, reason};

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_shown_once_and_dead_once_rotated() {
    let stack = Stack::start().await;
    let (client, first) = stack.create_client("reports", &[], &["read"]).await.unwrap();
    assert_eq!(client.audiences, ["latchkey"], "without one it is the gateway's");
    let token = stack.client_token(first.clone(), "read", "").await.unwrap().access_token;
    let (_, reader) = stack.create_client("reader", &[], &[]).await.unwrap();
    let jws = token::open(&token, std::slice::from_ref(&stack.place.recipient)).unwrap();
    assert!(stack.introspect(reader.clone(), &jws).await.unwrap().active);
    let rotate = async |id: &str| {
        let message = wire::RotateClientSecretRequest { id: id.into() };
        stack.client_admin().rotate_client_secret(stack.call().request(message)).await
    };
    let second = rotate(&client.id).await.unwrap().into_inner();
    assert_eq!(second.client.unwrap(), client);
    assert_ne!(second.client_secret, first.client_secret);
    assert_eq!(reason(stack.client_token(first.clone(), "", "").await), "INVALID_CLIENT");
    assert!(!stack.introspect(reader, &jws).await.unwrap().active, "nor is what it had been given good");
    let second = wire::ClientAuthentication { client_secret: second.client_secret, ..first };
    let token = stack.client_token(second, "", "").await.unwrap().access_token;
    assert_eq!(stack.claims(&token).await.epo.client, 1);
    assert_eq!(reason(rotate("cli_0123456789abcdefghjkmnpqrs").await), "CLIENT_NOT_FOUND");
    assert_eq!(reason(rotate("first-party").await), "CLIENT_INVALID");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_is_answered_as_it_is_read_later() {
    let stack = Stack::start().await;
    // Finer than what is stored.
    stack.advance(std::time::Duration::from_nanos(123_456_789));
    let (client, _) = stack.create_client("reports", &[], &["read"]).await.unwrap();
    assert_eq!(client.created_at.unwrap().nanos % 1_000_000_000, 123_000_000);
    let by_name = wire::get_client_request::Key::Name("reports".into());
    let message = wire::GetClientRequest { key: Some(by_name) };
    let read = stack.client_reads().get_client(stack.call().request(message)).await.unwrap().into_inner();
    assert_eq!(read.client.unwrap(), client);
    let user = stack.register("alice", crate::stack::PASSWORD).await.unwrap();
    let message = wire::GetUserRequest { key: Some(wire::get_user_request::Key::Id(user.id.clone())) };
    let read = stack.user_reads().get_user(stack.call().request(message)).await.unwrap().into_inner();
    assert_eq!(read.user.unwrap(), user);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_disabled_or_deleted_gets_nothing() {
    let stack = Stack::start().await;
    let (client, credentials) = stack.create_client("reports", &[], &[]).await.unwrap();
    let set = async |id: &str, status: wire::Status| {
        let message = wire::SetClientStatusRequest { id: id.into(), status: status.into() };
        stack.client_admin().set_client_status(stack.call().request(message)).await
    };
    set(&client.id, wire::Status::Disabled).await.unwrap();
    assert_eq!(reason(stack.client_token(credentials.clone(), "", "").await), "INVALID_CLIENT");
    set(&client.id, wire::Status::Active).await.unwrap();
    let tokens = stack.client_token(credentials.clone(), "", "").await.unwrap();
    assert_eq!(stack.claims(&tokens.access_token).await.epo.client, 1);
    assert_eq!(reason(set("first-party", wire::Status::Disabled).await), "CLIENT_INVALID", "built in");
    let delete = wire::DeleteClientRequest { id: client.id.clone() };
    stack.client_admin().delete_client(stack.call().request(delete)).await.unwrap();
    assert_eq!(reason(stack.client_token(credentials, "", "").await), "INVALID_CLIENT");
    assert_eq!(reason(set(&client.id, wire::Status::Active).await), "CLIENT_NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_registered() {
    let stack = Stack::start().await;
    stack.create_client("reports", &[], &[]).await.unwrap();
    assert_eq!(reason(stack.create_client("reports", &[], &[]).await), "CLIENT_NAME_TAKEN");
    assert_eq!(reason(stack.create_client("first-party", &[], &[]).await), "CLIENT_NAME_TAKEN");
    for (name, audience, scope) in [
        ("Reports", "api", "read"),
        ("", "api", "read"),
        ("usr_0123456789abcdefghjkmnpqrs", "api", "read"),
        ("ok", "two words", "read"),
        ("ok", "session", "read"),
        ("ok", "api", "two words"),
    ] {
        assert_eq!(
            reason(stack.create_client(name, &[audience], &[scope]).await),
            "CLIENT_INVALID",
            "{name} {audience} {scope}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn o22_no_client_has_the_id_of_a_user() {
    let stack = Stack::start().await;
    let user = stack.register("alice", crate::stack::PASSWORD).await.unwrap();
    let (client, _) = stack.create_client("reports", &[], &[]).await.unwrap();
    assert!(user.id.starts_with("usr_") && client.id.starts_with("cli_"));
    assert_eq!(reason(stack.create_client(&user.id, &[], &[]).await), "CLIENT_INVALID");
    assert_eq!(reason(stack.register(&client.id, crate::stack::PASSWORD).await), "USERNAME_INVALID");
}
