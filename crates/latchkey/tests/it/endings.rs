//! Whatever takes tokens back, as whoever does it does it: once that is answered every gateway refuses them. Among it one token, and one
//! login, ended by an administrator who has neither and knows their ids.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use servers::{Postgres, Sync};

use crate::hostile::scene::application;
use crate::stack::{Builder, PASSWORD, Stack, Tokens, client, eventually, text};
use crate::taken_back::{acknowledged, begin, by_token, ended};

/// What the access token says, as whoever has the recipient's key reads it.
pub fn claims(stack: &Stack, tokens: &Tokens) -> Value {
    let key = stack.state_dir().join("secrets/gateway-token-key.jwk.json");
    let shown = stack.cli_json(&["token", "inspect", &tokens.access_token, "--key", key.to_str().unwrap()]);
    shown["inside"]["claims"].clone()
}

/// `jti` and `fam`.
pub fn ids(stack: &Stack, tokens: &Tokens) -> (String, String) {
    let claims = claims(stack, tokens);
    let claim = |name: &str| claims[name].as_str().unwrap().to_owned();
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

/// A refresh token that is used twice was stolen.
const STRICT: &str = "[refresh]\ngrace = \"0s\"\n";

/// What ends everything that was issued to a user, or to a login of his.
#[derive(Debug, Clone, Copy)]
enum OfUser {
    LogOut,
    RevokeRefreshToken,
    UseRefreshTokenTwice,
    ChangePassword,
    SetPassword,
    Disable,
    Revoke,
    Remove,
}

impl OfUser {
    const EVERY: [Self; 8] = [
        Self::LogOut,
        Self::RevokeRefreshToken,
        Self::UseRefreshTokenTwice,
        Self::ChangePassword,
        Self::SetPassword,
        Self::Disable,
        Self::Revoke,
        Self::Remove,
    ];

    /// `tokens` are of the last login of `name`.
    async fn happen(self, stack: &Stack, name: &str, tokens: &Tokens) {
        match self {
            Self::LogOut => ended(&stack.file.gateways[1], tokens).await,
            Self::RevokeRefreshToken => {
                let form = [("client_id", "first-party"), ("token", &tokens.refresh_token)];
                let answer = stack.request(Method::POST, "/oauth2/revoke").form(&form).send().await.unwrap();
                assert_eq!(answer.status(), StatusCode::OK);
            }
            Self::UseRefreshTokenTwice => {
                let next = refreshed(stack, tokens).await.unwrap();
                assert_eq!(asked(stack, &next).await, [200, 200]);
                assert_eq!(refreshed(stack, tokens).await.err(), Some((400, "invalid_grant".into())));
                assert_eq!(asked(stack, &next).await, [401, 401], "the thief's, or the owner's");
            }
            Self::ChangePassword => {
                let body = json!({
                    "identifier": name,
                    "current_password": PASSWORD,
                    "new_password": "chosen by nobody else, and new",
                    "mode": "token",
                });
                let answer = stack.post("/v1/password", &body).send().await.unwrap();
                assert!(answer.status().is_success(), "{}", answer.status());
            }
            Self::SetPassword => drop(stack.cli(&["user", "set", name, "--generate"])),
            Self::Disable => drop(stack.cli(&["user", "set", name, "--disable"])),
            Self::Revoke => drop(stack.cli(&["user", "revoke", name])),
            Self::Remove => drop(stack.cli(&["user", "remove", name])),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s07_z05_whatever_ends_what_a_user_has_ends_it_at_every_gateway() {
    let server = Postgres::start(Sync::Off);
    let stack = begin(Builder::new().settings("auth", STRICT), &server.url()).await;
    let stays = stack.token("alice", PASSWORD).await;
    for (number, what) in OfUser::EVERY.into_iter().enumerate() {
        let name = format!("user{number}");
        stack.register(&name).await;
        let tokens = stack.token(&name, PASSWORD).await;
        assert_eq!(asked(&stack, &tokens).await, [200, 200], "{what:?}");
        what.happen(&stack, &name, &tokens).await;
        assert_eq!(asked(&stack, &tokens).await, [401, 401], "{what:?}");
        assert_eq!(refreshed(&stack, &tokens).await.err(), Some((400, "invalid_grant".into())), "{what:?}");
    }
    assert_eq!(asked(&stack, &stays).await, [200, 200]);
}

/// The key last: what it signed is everybody's.
#[tokio::test(flavor = "multi_thread")]
async fn z05_whatever_ends_what_a_client_has_ends_it_at_every_gateway_and_so_does_the_key_s_end() {
    let server = Postgres::start(Sync::Off);
    let stack = begin(Builder::new(), &server.url()).await;
    let token = async |stack: &Stack, name: &str| {
        let access_token =
            application(stack, name, &["--audience", "latchkey"]).token(stack, &client()).await;
        let (token_type, refresh_token) = ("Bearer".to_owned(), String::new());
        Tokens { access_token, token_type, expires_in: 300, refresh_token }
    };
    let stays = token(&stack, "stays").await;
    for (number, arguments) in [
        &["client", "set", "--rotate-secret"][..],
        &["client", "set", "--disable"],
        &["client", "revoke"],
        &["client", "remove"],
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("application{number}");
        let tokens = token(&stack, &name).await;
        assert_eq!(asked(&stack, &tokens).await, [200, 200], "{arguments:?}");
        stack.cli(&[arguments, &[name.as_str()]].concat());
        assert_eq!(asked(&stack, &tokens).await, [401, 401], "{arguments:?}");
    }
    assert_eq!(asked(&stack, &stays).await, [200, 200]);
    let keys = stack.cli_json(&["key", "list"]);
    let active = keys.as_array().unwrap().iter().find(|key| key["state"] == "active");
    let active = active.unwrap_or_else(|| panic!("{keys}"));
    stack.cli(&["key", "remove", active["kid"].as_str().unwrap()]);
    assert_eq!(asked(&stack, &stays).await, [401, 401]);
    let anew = stack.token("alice", PASSWORD).await;
    assert_eq!(asked(&stack, &anew).await, [200, 200], "signed with another key");
}
