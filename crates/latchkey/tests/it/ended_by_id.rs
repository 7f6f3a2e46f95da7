//! One token, and one login, ended by an administrator who has neither and knows their ids: by command line and over HTTP.

use reqwest::{Method, StatusCode};
use serde_json::Value;
use servers::{Postgres, Sync};

use crate::stack::{Builder, PASSWORD, Stack, Tokens, client, eventually, text};
use crate::taken_back::{acknowledged, begin, by_token};

/// `jti` and `fam`, as whoever has the recipient's key reads them.
fn ids(stack: &Stack, tokens: &Tokens) -> (String, String) {
    let key = stack.state_dir().join("secrets/gateway-token-key.jwk.json");
    let shown = stack.cli_json(&["token", "inspect", &tokens.access_token, "--key", key.to_str().unwrap()]);
    let claim = |name: &str| shown["inside"]["claims"][name].as_str().unwrap().to_owned();
    (claim("jti"), claim("fam"))
}

/// What each gateway answers.
async fn asked(stack: &Stack, tokens: &Tokens) -> Vec<u16> {
    let mut answers = Vec::new();
    for gateway in &stack.file.gateways {
        answers.push(by_token(gateway, "/app/token/x", tokens).await.status().as_u16());
    }
    answers
}

async fn refreshed(stack: &Stack, tokens: &Tokens) -> Result<Tokens, (u16, String)> {
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", "first-party"),
        ("refresh_token", &tokens.refresh_token),
    ];
    let answer = stack.request(Method::POST, "/oauth2/token").form(&form).send().await.unwrap();
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.unwrap();
    if status == 200 {
        Ok(serde_json::from_value(body).unwrap())
    } else {
        Err((status, body["error"].as_str().unwrap().to_owned()))
    }
}

/// Ends what is at that path below `/v1/admin`.
enum Way {
    CommandLine,
    Http { administrator: Tokens },
}

impl Way {
    async fn end(&self, stack: &Stack, area: &str, id: &str) {
        match self {
            Self::CommandLine if area == "families" => drop(stack.cli(&["token", "revoke", "--family", id])),
            Self::CommandLine => drop(stack.cli(&["token", "revoke", id])),
            Self::Http { administrator } => {
                let url = format!("{}/v1/admin/{area}/{id}", stack.internal());
                eventually("it is acknowledged", async || {
                    let request = client().delete(&url).bearer_auth(&administrator.access_token);
                    acknowledged(request.send().await.unwrap().status())
                })
                .await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn j23_an_administrator_ends_one_token_or_one_login_by_its_id_on_every_gateway() {
    let server = Postgres::start(Sync::Off);
    let stack = begin(Builder::new(), &server.url()).await;
    let administrator = stack.token("admin", &stack.admin_password()).await;
    let other = stack.token("alice", PASSWORD).await;
    for way in [Way::CommandLine, Way::Http { administrator }] {
        let first = stack.token("alice", PASSWORD).await;
        let (jti, family) = ids(&stack, &first);
        let second = refreshed(&stack, &first).await.unwrap();
        assert_eq!(asked(&stack, &first).await, [200, 200]);
        for _ in 0..2 {
            way.end(&stack, "tokens", &jti).await;
            assert_eq!(asked(&stack, &first).await, [401, 401], "the token");
        }
        assert_eq!(asked(&stack, &second).await, [200, 200], "another of its login");
        let third = refreshed(&stack, &second).await.unwrap();
        assert_eq!(asked(&stack, &third).await, [200, 200], "and the login goes on");
        for _ in 0..2 {
            way.end(&stack, "families", &family).await;
            assert_eq!(asked(&stack, &second).await, [401, 401], "the login");
            assert_eq!(asked(&stack, &third).await, [401, 401], "all of it");
            assert_eq!(refreshed(&stack, &third).await.err(), Some((400, "invalid_grant".into())));
        }
        assert_eq!(asked(&stack, &other).await, [200, 200], "another login of the same user");
    }
}

#[tokio::test]
async fn an_id_that_ends_nothing_is_said_to_be_none() {
    let stack = Stack::start().await;
    let unknown = "fam_0123456789abcdefghjkmnpqrs";
    for (arguments, said) in [
        (&["token", "revoke", "--family", unknown][..], "family_not_found, 404"),
        (&["token", "revoke", "--family", "alice"], "request_invalid, 400"),
        (&["token", "revoke", unknown], "26 characters"),
        // Which of the two is meant?
        (&["token", "revoke"], "--family"),
        (&["token", "revoke", "0123456789abcdefghjkmnpqrs", "--family", unknown], "cannot be used with"),
    ] {
        let refused = stack.latchkey(arguments);
        assert!(!refused.status.success(), "{arguments:?}");
        assert!(text(&refused.stderr).contains(said), "{arguments:?}: {}", text(&refused.stderr));
    }
    // The id of a login is in the audit line of each.
    stack.register("alice").await;
    let tokens = stack.token("alice", PASSWORD).await;
    let logs = stack.logs();
    let logins = logs.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut logins = logins.filter(|line| line["event"] == "login" && line["outcome"] == "success");
    let family = ids(&stack, &tokens).1;
    let detail = format!("mode=token family={family}");
    assert!(logins.any(|line| line["detail"] == detail.as_str()), "{detail}");
    stack.cli(&["token", "revoke", "--family", &family]);
    let refused = by_token(stack.url(), "/app/token/x", &tokens).await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
}
