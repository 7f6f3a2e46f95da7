//! Where the hostile tests play: a stack with one user logged in, and an attacker who has more than any attacker should,
//! the issuer's private key. Whatever is refused is then refused for what is wrong with it, not for its signature.

use std::fs;
use std::time::Duration;

use auth_service::domain::sealing::SealingKey;
use auth_service::domain::signing_key::KeyState;
use auth_service::store::Store;
use auth_service::store::sqlite::{SqliteSettings, SqliteStore};
use chassis::clock::{Clock, SystemClock};
use chassis::config::{Shutdown, Tls, TlsMode};
use chassis::grpc::client::Channel;
use chassis::lifecycle::Lifecycle;
use chassis::tls::Identity;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use token::{Algorithm, RecipientKey};

use super::forge::{Recipient, Signer, part};
use crate::stack::{Builder, PASSWORD, Stack, Tokens, client};

pub struct Scene {
    pub stack: Stack,
    /// The issuer's own key.
    pub issuer: Signer,
    /// The gateway, to which first-party tokens are encrypted.
    pub recipient: Recipient,
    pub opener: RecipientKey,
    /// Alice's.
    pub tokens: Tokens,
    /// The claims of Alice's access token, so good for a few minutes.
    pub claims: Value,
    pub http: Client,
}

impl Scene {
    pub async fn begin() -> Self {
        Self::on(Builder::new().start().await).await
    }

    /// On a stack that signs with ES256.
    pub async fn on(stack: Stack) -> Self {
        stack.register("alice").await;
        let tokens = stack.token("alice", PASSWORD).await;
        let opener = opener(&stack);
        let recipient = Recipient::from_jwk(&serde_json::from_str(&opener.public().to_jwk_json()).unwrap());
        let inner = token::open(&tokens.access_token, std::slice::from_ref(&opener)).unwrap();
        let (kid, algorithm, pkcs8) = stolen_key(&stack).await;
        assert_eq!(algorithm, Algorithm::Es256);
        let issuer = Signer::from_pkcs8(&kid, &pkcs8);
        let scene =
            Self { claims: part(&inner, 1), http: client(), stack, issuer, recipient, opener, tokens };
        scene.accept(&scene.forged(json!({}), json!({})), "a forgery with nothing wrong").await;
        scene
    }

    /// The signed token inside one that is encrypted to the gateway.
    pub fn opened(&self, jwe: &str) -> String {
        token::open(jwe, std::slice::from_ref(&self.opener)).unwrap()
    }

    /// Signed by the issuer, with members of header and claims changed; `null` takes one away.
    pub fn signed(&self, header: Value, claims: Value) -> String {
        let header = super::forge::with(self.issuer.header(), header);
        self.issuer.jws(&header, &super::forge::with(self.claims.clone(), claims))
    }

    /// The same, encrypted to the gateway as first-party tokens are.
    pub fn forged(&self, header: Value, claims: Value) -> String {
        self.recipient.seal(self.signed(header, claims))
    }

    /// A call that needs an access token. `token` may have any octet that a header may.
    pub async fn send(&self, token: &str) -> Response {
        let value = HeaderValue::from_bytes(format!("Bearer {token}").as_bytes()).unwrap();
        let url = format!("{}/app/token/x", self.stack.url());
        self.http.get(url).header(AUTHORIZATION, value).send().await.unwrap()
    }

    pub async fn accept(&self, token: &str, what: &str) {
        let answer = self.send(token).await;
        assert_eq!(answer.status(), StatusCode::OK, "{what} was refused: {}", answer.text().await.unwrap());
    }

    /// Each is 401 and says that the token is no good, and none reaches the application.
    pub async fn refuse<W: AsRef<str>>(&self, tokens: impl IntoIterator<Item = (W, String)>) {
        self.refuse_as("token_invalid", tokens).await;
    }

    pub async fn refuse_as<W: AsRef<str>>(&self, code: &str, tokens: impl IntoIterator<Item = (W, String)>) {
        let hits = self.stack.upstream_hits().await;
        for (what, token) in tokens {
            let what = what.as_ref();
            let answer = self.send(&token).await;
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{what} was not refused");
            let challenge = answer.headers()["www-authenticate"].to_str().unwrap().to_owned();
            assert!(challenge.contains("error=\"invalid_token\""), "{what}: {challenge}");
            let problem: Value = answer.json().await.unwrap();
            assert_eq!(problem["code"], code, "{what}");
        }
        assert_eq!(self.stack.upstream_hits().await, hits, "something reached the application");
    }

    /// Refuses each signed token as it is, and encrypted to the gateway.
    pub async fn refuse_signed<W: AsRef<str>>(&self, tokens: impl IntoIterator<Item = (W, String)>) {
        let mut all = Vec::new();
        for (what, jws) in tokens {
            all.push((format!("{}, encrypted", what.as_ref()), self.recipient.seal(&jws)));
            all.push((format!("{}, plain", what.as_ref()), jws));
        }
        self.refuse(all).await;
    }
}

/// Seconds since 1970.
pub fn now() -> i64 {
    SystemClock.now().unix_timestamp()
}

/// The gateway's private key.
pub fn opener(stack: &Stack) -> RecipientKey {
    let path = stack.state_dir().join("secrets/gateway-token-key.jwk.json");
    RecipientKey::from_jwk_json(&fs::read_to_string(path).unwrap()).unwrap()
}

/// The key that signs, as whoever has the database and the master key can have it: id, algorithm, PKCS #8.
pub async fn stolen_key(stack: &Stack) -> (String, Algorithm, Vec<u8>) {
    let master = fs::read_to_string(stack.state_dir().join("secrets/master.key")).unwrap();
    let master = SealingKey::master(&master).unwrap();
    let store = SqliteStore::open(&SqliteSettings {
        path: stack.state_dir().join("data/auth.sqlite"),
        readers: 1,
        read_wait: Duration::from_secs(5),
        write_wait: Duration::from_secs(5),
    })
    .await
    .unwrap();
    let keys = Store::signing_keys(&store).await.unwrap();
    store.close().await;
    let active = keys.into_iter().find(|key| matches!(key.record.state, KeyState::Active { .. })).unwrap();
    let pkcs8 = master.open(active.record.kid.as_bytes(), &active.sealed).unwrap();
    (active.record.kid, active.record.algorithm, pkcs8.to_vec())
}

/// To `service`, with the certificate of `name`.
pub fn channel(stack: &Stack, service: &str, name: &str) -> Channel {
    let folder = stack.state_dir().join("certificates");
    let tls = Tls {
        mode: TlsMode::Mutual,
        certificate: folder.join(format!("{name}.crt")),
        key: folder.join(format!("{name}.key")),
        authority: folder.join("ca.crt"),
        domain: "latchkey.local".into(),
    };
    let identity = Identity::load(&tls).unwrap();
    let lifecycle = Lifecycle::new(Shutdown::default());
    chassis::grpc::client::channel(&stack.file.services[service], &identity, service, &lifecycle).unwrap()
}

/// A client of the system, with its secret.
pub struct Application {
    pub id: String,
    pub secret: String,
}

/// Registered by the administrator.
pub fn application(stack: &Stack, name: &str, options: &[&str]) -> Application {
    let made = stack.cli_json(&[&["client", "add", name], options].concat());
    let text = |member: &str| made[member].as_str().unwrap_or_else(|| panic!("{member}: {made}")).to_owned();
    Application { id: text("id"), secret: text("client_secret") }
}

impl Application {
    /// `POST /oauth2/token` with `client_credentials`.
    pub async fn token(&self, stack: &Stack, http: &Client) -> String {
        let url = format!("{}/oauth2/token", stack.url());
        let request = http.post(url).basic_auth(&self.id, Some(&self.secret));
        let answer = request.form(&[("grant_type", "client_credentials")]).send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert_eq!(status, StatusCode::OK, "{text}\n{}", stack.log("gateway-0"));
        let tokens: Value = serde_json::from_str(&text).unwrap();
        tokens["access_token"].as_str().unwrap().to_owned()
    }
}
