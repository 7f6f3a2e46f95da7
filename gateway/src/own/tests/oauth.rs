use super::*;

/// `cli_1:lks_s`
const BASIC: (&str, &str) = ("authorization", "Basic Y2xpXzE6bGtzX3M=");

fn error(said: &Said) -> (u16, String) {
    (said.status.as_u16(), said.json()["error"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn client_credentials_by_both_methods() {
    let gateway = Gateway::new();
    let expected =
        json!({ "access_token": "issued.access.token", "token_type": "Bearer", "expires_in": 300 });
    let said = gateway.form("/oauth2/token", &[BASIC], "grant_type=client_credentials&audience=orders").await;
    assert_eq!(said.json(), expected);
    assert_eq!(said.headers["cache-control"], "no-store");
    assert_eq!(said.headers["pragma"], "no-cache");
    let body = "grant_type=client_credentials&client_id=cli_1&client_secret=lks_s&resource=orders";
    assert_eq!(gateway.form("/oauth2/token", &[], body).await.json(), expected);
    let issued = "auth.issue_client_token cli_1  orders".to_owned();
    assert_eq!(gateway.world.asked(), [issued.clone(), issued]);
}

#[tokio::test]
async fn refresh_tokens_of_the_first_party() {
    let gateway = Gateway::new();
    let body = "grant_type=refresh_token&client_id=first-party&refresh_token=lkr_good";
    let said = gateway.form("/oauth2/token", &[], body).await;
    assert_eq!(said.json()["refresh_token"], "lkr_issued");
    let body = "grant_type=refresh_token&client_id=first-party&refresh_token=lkr_spent";
    assert_eq!(error(&gateway.form("/oauth2/token", &[], body).await), (400, "invalid_grant".into()));
}

#[tokio::test]
async fn o05_other_grants_are_unsupported() {
    let gateway = Gateway::new();
    for grant in ["password", "authorization_code", "implicit", "x"] {
        let said =
            gateway.form("/oauth2/token", &[], &format!("grant_type={grant}&username=a&password=b")).await;
        assert_eq!(error(&said), (400, "unsupported_grant_type".into()));
        assert_eq!(said.headers["cache-control"], "no-store");
    }
    assert!(gateway.world.asked().is_empty());
}

#[tokio::test]
async fn requests_that_make_no_sense() {
    let gateway = Gateway::new();
    let grant = "grant_type=client_credentials";
    for (headers, body) in [
        (&[][..], "scope=a".to_owned()),
        (&[BASIC], format!("{grant}&client_id=cli_1&client_secret=lks_s")),
        (&[BASIC], format!("{grant}&scope=a&scope=b")),
        (&[BASIC], format!("{grant}&grant_type=client_credentials")),
        (&[BASIC], format!("{grant}&audience=a&resource=b")),
        (&[BASIC], "grant_type=refresh_token".to_owned()),
    ] {
        let said = gateway.form("/oauth2/token", headers, &body).await;
        assert_eq!(error(&said), (400, "invalid_request".into()), "{body}");
    }
    let said = gateway
        .public(Method::POST, "/oauth2/token", &[BASIC], json!({ "grant_type": "client_credentials" }))
        .await;
    assert_eq!(error(&said), (400, "invalid_request".into()));
    let said = gateway.form("/oauth2/token", &[BASIC], &"x".repeat(BODY_LIMIT_BYTES + 1)).await;
    assert_eq!(error(&said), (413, "invalid_request".into()));
    assert!(gateway.world.asked().is_empty());
}

#[tokio::test]
async fn o16_bad_clients_are_401_with_a_challenge() {
    let gateway = Gateway::new();
    gateway.world.refuse("auth.issue_client_token", Reason::InvalidClient, None);
    let grant = "grant_type=client_credentials";
    for (headers, body) in [
        (&[BASIC][..], grant.to_owned()),
        (&[], grant.to_owned()),
        (&[], format!("{grant}&client_id=cli_1")),
        (&[("authorization", "Bearer a.b.c")], grant.to_owned()),
    ] {
        let said = gateway.form("/oauth2/token", headers, &body).await;
        assert_eq!(error(&said), (401, "invalid_client".into()), "{body}");
        assert!(said.headers["www-authenticate"].to_str().unwrap().starts_with("Basic"));
        assert_eq!(said.headers["cache-control"], "no-store");
    }
}

#[tokio::test]
async fn outages_are_503_in_oauths_own_words() {
    let gateway = Gateway::new();
    gateway.world.switch_off("auth");
    let said = gateway.form("/oauth2/token", &[BASIC], "grant_type=client_credentials").await;
    assert_eq!(error(&said), (503, "temporarily_unavailable".into()));
    assert!(said.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn o13_introspection() {
    let gateway = Gateway::new();
    let said = gateway.form("/oauth2/introspect", &[], "token=known").await;
    assert_eq!(error(&said), (401, "invalid_client".into()));
    let said = gateway.form("/oauth2/introspect", &[], "token=known&client_id=first-party").await;
    assert_eq!(error(&said), (401, "invalid_client".into()), "a public client is nobody in particular");
    let said = gateway.form("/oauth2/introspect", &[BASIC], "token=unknown").await;
    assert_eq!(said.text, r#"{"active":false}"#);
    assert_eq!(said.headers["cache-control"], "no-store");
    let said = gateway.form("/oauth2/introspect", &[BASIC], "token=known&token_type_hint=access_token").await;
    assert_eq!(
        said.json(),
        json!({
            "active": true, "sub": ALICE, "client_id": "cli_1", "aud": "orders", "iss": "https://app.example",
            "token_type": "Bearer", "jti": "j", "exp": 300, "iat": 0,
        })
    );
    assert_eq!(
        error(&gateway.form("/oauth2/introspect", &[BASIC], "").await),
        (400, "invalid_request".into())
    );
}

/// First-party tokens are encrypted to the gateway: what auth-service is shown is what is inside.
#[tokio::test]
async fn introspection_of_encrypted_tokens() {
    let gateway = Gateway::new();
    let introspect =
        async |token: &str| gateway.form("/oauth2/introspect", &[BASIC], &format!("token={token}")).await;
    assert_eq!(introspect("known....").await.json()["sub"], ALICE);
    for token in ["other....", "a.b.c.d.e"] {
        assert_eq!(introspect(token).await.text, r#"{"active":false}"#, "{token}");
    }
    assert_eq!(error(&introspect("overloaded....").await), (503, "temporarily_unavailable".into()));
    gateway.world.refuse("auth.introspect", Reason::InvalidClient, None);
    assert_eq!(error(&introspect("a.b.c.d.e").await), (401, "invalid_client".into()), "who asks comes first");
    let said = gateway.form("/oauth2/introspect", &[], "token=known....").await;
    assert_eq!(error(&said), (401, "invalid_client".into()));
}

#[tokio::test]
async fn revocation() {
    let gateway = Gateway::new();
    let said = gateway.form("/oauth2/revoke", &[BASIC], "token=whatever").await;
    assert_eq!((said.status, said.text.as_str()), (StatusCode::OK, ""));
    gateway.world.refuse("auth.revoke", Reason::UnsupportedTokenType, None);
    let said = gateway.form("/oauth2/revoke", &[BASIC], "token=a.b.c").await;
    assert_eq!(error(&said), (400, "unsupported_token_type".into()));
    let said = gateway.form("/oauth2/revoke", &[], "token=whatever").await;
    assert_eq!(error(&said), (401, "invalid_client".into()));
}

#[tokio::test]
async fn o15_metadata() {
    let gateway = Gateway::below("/auth");
    let said = gateway.public(Method::GET, "/.well-known/oauth-authorization-server", &[], Value::Null).await;
    let metadata = said.json();
    assert_eq!(metadata["issuer"], "https://app.example");
    assert_eq!(metadata["token_endpoint"], "https://app.example/auth/oauth2/token");
    assert_eq!(metadata["jwks_uri"], "https://app.example/.well-known/jwks.json");
    assert!(said.headers["cache-control"].to_str().unwrap().contains("max-age"));
    for grant in metadata["grant_types_supported"].as_array().unwrap() {
        let said =
            gateway.form("/auth/oauth2/token", &[], &format!("grant_type={}", grant.as_str().unwrap())).await;
        assert_ne!(error(&said).1, "unsupported_grant_type");
    }
}

#[tokio::test]
async fn j21_keys_are_public_or_not_published() {
    let gateway = Gateway::new();
    let key = token::SigningKey::generate(token::Algorithm::Es256).unwrap();
    let jwks = token::KeySet::new([key.public_jwk().clone()]).unwrap().to_json();
    gateway.world.publish(&jwks);
    let said = gateway.public(Method::GET, "/.well-known/jwks.json", &[], Value::Null).await;
    assert_eq!(said.status, StatusCode::OK);
    assert_eq!(said.text, jwks);
    assert_eq!(said.headers["content-type"], "application/json");
    assert_eq!(said.headers["cache-control"], "public, max-age=300");

    let mut leaked: Value = serde_json::from_str(&jwks).unwrap();
    leaked["keys"][0]["d"] = "c2VjcmV0".into();
    gateway.world.publish(&leaked.to_string());
    let said = gateway.public(Method::GET, "/.well-known/jwks.json", &[], Value::Null).await;
    assert_eq!(said.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!said.text.contains("c2VjcmV0"));

    gateway.world.switch_off("auth");
    let said = gateway.public(Method::GET, "/.well-known/jwks.json", &[], Value::Null).await;
    assert_eq!(said.status, StatusCode::SERVICE_UNAVAILABLE);
}

/// RFC 7009 has no word for it: 503 says that the token may still exist, and that it is to be repeated.
#[tokio::test]
async fn a_revocation_that_is_not_everywhere_is_to_be_repeated() {
    let gateway = Gateway::new();
    gateway.world.leave_unheard("auth.revoke");
    let said = gateway.form("/oauth2/revoke", &[BASIC], "token=whatever").await;
    assert_eq!(error(&said), (503, "temporarily_unavailable".into()));
    assert_eq!(said.headers["retry-after"], "2");
    assert_eq!(gateway.form("/oauth2/revoke", &[BASIC], "token=whatever").await.status, 200);
}
