//! Tokens of applications, introspection and revocation.

use std::time::Duration;

use proto::auth::v1 as wire;
use token::{PrincipalKind, RecipientKey};
use tonic::Code;

use crate::stack::{ISSUER, PASSWORD, Place, Stack, T0, first_party, reason};

#[tokio::test(flavor = "multi_thread")]
async fn an_application_gets_a_token_for_its_audience() {
    let stack = Stack::start().await;
    let (client, credentials) = stack
        .create_client("reports", &["https://api.example", "latchkey"], &["read", "write"])
        .await
        .unwrap();
    assert!(client.id.starts_with("cli_") && credentials.client_secret.starts_with("lks_"));
    stack.policy.grant(&client.id, &["importer"], 3);
    let tokens = stack.client_token(credentials.clone(), "", "").await.unwrap();
    assert_eq!((tokens.scope.as_str(), tokens.refresh_token.as_str()), ("read write", ""));
    // A plain JWS, verified with the published set.
    let claims = stack.verify(&tokens.access_token, "https://api.example").await.unwrap();
    assert_eq!((claims.sub.as_str(), claims.client_id.as_str()), (client.id.as_str(), client.id.as_str()));
    assert_eq!((claims.kind, claims.name.as_str(), claims.fam), (PrincipalKind::Client, "reports", None));
    assert_eq!(
        (claims.scope.as_str(), claims.roles, claims.pv),
        ("read write", Some(vec!["importer".to_owned()]), 3)
    );
    assert_eq!(stack.policy.asked(), [(proto::policy::v1::SubjectKind::Client, client.id)]);

    let tokens = stack.client_token(credentials.clone(), "read", "latchkey").await.unwrap();
    assert!(token::is_jwe(&tokens.access_token), "the gateway's are always encrypted");
    assert_eq!(stack.claims(&tokens.access_token).await.scope, "read");
    assert_eq!(reason(stack.client_token(credentials.clone(), "admin", "").await), "INVALID_SCOPE");
    assert_eq!(
        reason(stack.client_token(credentials.clone(), "", "https://other.example").await),
        "INVALID_TARGET"
    );

    let wrong = |id: &str, secret: &str| wire::ClientAuthentication {
        client_id: id.into(),
        client_secret: secret.into(),
    };
    let id = credentials.client_id.as_str();
    for client in [
        wrong(id, ""),
        wrong(id, "lks_"),
        wrong("cli_x", &credentials.client_secret),
        wrong("", ""),
        first_party(),
    ] {
        assert_eq!(reason(stack.client_token(client, "", "").await), "INVALID_CLIENT");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audience_that_registers_a_key_gets_encrypted_tokens() {
    let place = Place::new();
    let recipient = RecipientKey::generate("reports-1").unwrap();
    std::fs::write(place.path("reports.jwk.json"), recipient.public().to_jwk_json()).unwrap();
    let path = place.path("reports.jwk.json").display().to_string();
    let stack = Stack::start_in(place, &[("LATCHKEY__AUDIENCE__REPORTS__ENCRYPT_TO", &path)]).await;
    let (_, credentials) = stack.create_client("importer", &["reports"], &[]).await.unwrap();
    let tokens = stack.client_token(credentials, "", "").await.unwrap();
    assert!(token::open(&tokens.access_token, std::slice::from_ref(&stack.place.recipient)).is_err());
    let jws = token::open(&tokens.access_token, &[recipient]).unwrap();
    stack.verify(&jws, "reports").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_would_be_too_long_goes_without_roles() {
    let stack = Stack::start().await;
    let user = stack.register("alice", PASSWORD).await.unwrap();
    let roles: Vec<String> = (0..400).map(|number| format!("role-with-a-long-name-{number}")).collect();
    let roles: Vec<&str> = roles.iter().map(String::as_str).collect();
    stack.policy.grant(&user.id, &roles[..20], 5);
    let tokens = stack.login("alice", PASSWORD).await.unwrap();
    assert_eq!(stack.claims(&tokens.access_token).await.roles.unwrap().len(), 20);
    stack.policy.grant(&user.id, &roles, 6);
    let tokens = stack.login("alice", PASSWORD).await.unwrap();
    assert!(tokens.access_token.len() <= 4_000, "{}", tokens.access_token.len());
    let claims = stack.claims(&tokens.access_token).await;
    assert_eq!((claims.roles, claims.pv), (None, 6), "not said, which is not the same as having none");
}

#[tokio::test(flavor = "multi_thread")]
async fn o13_introspection_tells_only_whom_it_concerns() {
    let stack = Stack::start().await;
    let (_, owner) = stack.create_client("owner", &["https://api.example"], &["read"]).await.unwrap();
    let (_, reader) = stack.create_client("reader", &["https://api.example"], &[]).await.unwrap();
    let (_, stranger) = stack.create_client("stranger", &["https://other.example"], &[]).await.unwrap();
    let token = stack.client_token(owner.clone(), "", "").await.unwrap().access_token;
    let told = stack.introspect(reader.clone(), &token).await.unwrap();
    assert!(told.active);
    assert_eq!(
        (told.subject.as_str(), told.client_id.as_str(), told.scope.as_str()),
        (owner.client_id.as_str(), owner.client_id.as_str(), "read")
    );
    assert_eq!(
        (told.audience.as_str(), told.issuer.as_str(), told.token_type.as_str()),
        ("https://api.example", ISSUER, "Bearer")
    );
    assert_eq!(told.expires_at.unwrap().seconds - told.issued_at.unwrap().seconds, 300);

    for client in [
        first_party(),
        wire::ClientAuthentication::default(),
        wire::ClientAuthentication { client_secret: String::new(), ..reader.clone() },
    ] {
        let status = stack.introspect(client, &token).await.unwrap_err();
        assert_eq!(
            (status.code(), reason::<()>(Err(status))),
            (Code::Unauthenticated, "INVALID_CLIENT".to_owned())
        );
    }
    let inactive = wire::IntrospectResponse::default();
    for (client, token) in [
        (stranger.clone(), token.clone()),
        (reader.clone(), "nonsense".to_owned()),
        (reader.clone(), format!("{token}A")),
        (reader.clone(), format!("lkr_{}", "A".repeat(43))),
    ] {
        assert_eq!(stack.introspect(client, &token).await.unwrap(), inactive);
    }
    // Void with the client, and with time.
    let disable =
        wire::SetClientStatusRequest { id: owner.client_id.clone(), status: wire::Status::Disabled.into() };
    stack.client_admin().set_client_status(stack.call().request(disable)).await.unwrap();
    assert_eq!(stack.introspect(reader.clone(), &token).await.unwrap(), inactive);
    let own = stack.client_token(reader.clone(), "", "").await.unwrap().access_token;
    assert!(stack.introspect(reader.clone(), &own).await.unwrap().active);
    stack.advance(Duration::from_secs(300));
    assert_eq!(stack.introspect(reader, &own).await.unwrap(), inactive);
}

#[tokio::test(flavor = "multi_thread")]
async fn introspection_follows_the_user() {
    let stack = Stack::start().await;
    let user = stack.register("alice", PASSWORD).await.unwrap();
    let (_, reader) = stack.create_client("reader", &["latchkey"], &[]).await.unwrap();
    let open = |tokens: &wire::TokenSet| {
        token::open(&tokens.access_token, std::slice::from_ref(&stack.place.recipient)).unwrap()
    };
    let token = open(&stack.login("alice", PASSWORD).await.unwrap());
    assert_eq!(stack.introspect(reader.clone(), &token).await.unwrap().subject, user.id);
    let message = wire::SetPasswordRequest {
        id: user.id.clone(),
        password: "marble harbour ticket onion".into(),
        must_change_password: false,
    };
    stack.user_admin().set_password(stack.call().request(message)).await.unwrap();
    assert!(!stack.introspect(reader.clone(), &token).await.unwrap().active);
    let token = open(&stack.login("alice", "marble harbour ticket onion").await.unwrap());
    assert!(stack.introspect(reader.clone(), &token).await.unwrap().active);
    stack
        .user_admin()
        .delete_user(stack.call().request(wire::DeleteUserRequest { id: user.id }))
        .await
        .unwrap();
    assert!(!stack.introspect(reader, &token).await.unwrap().active);
}

#[tokio::test(flavor = "multi_thread")]
async fn o14_revocation_is_answered_alike() {
    let stack = Stack::start().await;
    stack.register("alice", PASSWORD).await.unwrap();
    let (_, other) = stack.create_client("other", &["https://api.example"], &[]).await.unwrap();
    let tokens = stack.login("alice", PASSWORD).await.unwrap();
    let revoke = async |client: wire::ClientAuthentication, token: &str| {
        let message = wire::RevokeRequest { client: Some(client), token: token.into() };
        stack.tokens().revoke(stack.call().request(message)).await
    };
    let unknown = format!("lkr_{}", "A".repeat(43));
    for (client, token) in [
        (other.clone(), tokens.refresh_token.as_str()),
        (other.clone(), &unknown),
        (first_party(), "nonsense"),
        (first_party(), "a.b.c"),
    ] {
        revoke(client, token).await.unwrap();
    }
    let next = stack.refresh(&tokens.refresh_token).await.expect("another client revoked nothing");
    revoke(first_party(), &tokens.refresh_token).await.unwrap();
    revoke(first_party(), &tokens.refresh_token).await.unwrap();
    assert_eq!(
        reason(stack.refresh(&next.refresh_token).await),
        "INVALID_GRANT",
        "the family ended, whichever was named"
    );

    let plain = stack.client_token(other.clone(), "", "").await.unwrap().access_token;
    assert_eq!(reason(revoke(first_party(), &tokens.access_token).await), "UNSUPPORTED_TOKEN_TYPE");
    let wrong = wire::ClientAuthentication { client_secret: String::new(), ..other };
    assert_eq!(reason(revoke(wrong, &plain).await), "INVALID_CLIENT");
}

#[tokio::test(flavor = "multi_thread")]
async fn j20_access_tokens_say_what_they_must() {
    use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
    let stack = Stack::start().await;
    let (client, credentials) = stack.create_client("reports", &["https://api.example"], &[]).await.unwrap();
    let mut ids = std::collections::HashSet::new();
    for _ in 0..50 {
        let token = stack.client_token(credentials.clone(), "", "").await.unwrap().access_token;
        let part = |number: usize| -> serde_json::Value {
            let bytes = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(number).unwrap()).unwrap();
            serde_json::from_slice(&bytes).unwrap()
        };
        assert_eq!((part(0)["typ"].as_str(), part(0)["alg"].as_str()), (Some("at+jwt"), Some("ES256")));
        assert!(stack.key_set().await.find(part(0)["kid"].as_str().unwrap()).is_some());
        let claims = part(1);
        assert_eq!(
            (claims["iss"].as_str(), claims["aud"].as_str()),
            (Some(ISSUER), Some("https://api.example"))
        );
        assert_eq!(
            (claims["sub"].as_str(), claims["client_id"].as_str()),
            (Some(&*client.id), Some(&*client.id))
        );
        assert_eq!(
            (claims["iat"].as_i64(), claims["exp"].as_i64()),
            (Some(T0.unix_timestamp()), Some(T0.unix_timestamp() + 300))
        );
        assert!(ids.insert(claims["jti"].as_str().unwrap().to_owned()));
    }
}
