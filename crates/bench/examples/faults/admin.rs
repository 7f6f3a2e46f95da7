//! What only an administrator can do, through the listeners for administration.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{Answer, Asked, Care, Clients, ENDING_DEADLINE, LOGIN_DEADLINE, Lost, Repeat};
use crate::ledger::Op;
use crate::stack::Stack;
use crate::world::World;

/// How often what is not answered with success is done again.
const TRIES: usize = 60;
const PAUSE: Duration = Duration::from_millis(300);

/// The administrator of a stack, logged in.
pub struct Admin {
    clients: Arc<Clients>,
    login: Value,
    token: Mutex<String>,
}

impl Admin {
    pub async fn of(stack: &Stack, grace: Duration) -> anyhow::Result<Admin> {
        let administrator = &stack.file.admin;
        let password = std::fs::read_to_string(&administrator.password_file)?;
        let login =
            json!({ "identifier": administrator.username, "password": password.trim(), "mode": "token" });
        let clients = Clients::new(&stack.internal(), Care::Full, grace)?;
        let admin = Admin { clients, login, token: Mutex::default() };
        for _ in 0..TRIES {
            if admin.log_in().await {
                return Ok(admin);
            }
            tokio::time::sleep(PAUSE).await;
        }
        bail!("the administrator cannot log in")
    }

    async fn log_in(&self) -> bool {
        let request =
            |http: &reqwest::Client, url: &str| http.post(format!("{url}/v1/login")).json(&self.login);
        let (Ok(answer), _) = self.clients.send(LOGIN_DEADLINE, Repeat::NotSafe, request).await else {
            return false;
        };
        let token = answer.json()["access_token"].as_str().map(str::to_owned);
        let is_in = token.is_some();
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = token.unwrap_or_default();
        is_in
    }

    /// Once, at any gateway. Who was logged out meanwhile logs in for the next time.
    pub async fn asks(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> (Result<Answer, Lost>, Asked) {
        let token = self.token.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let request = |http: &reqwest::Client, url: &str| {
            let request = http.request(method.clone(), format!("{url}{path}")).bearer_auth(&token);
            match body {
                Some(body) => request.json(body),
                None => request,
            }
        };
        let sent = self.clients.send(ENDING_DEADLINE, Repeat::NotSafe, request).await;
        if matches!(&sent.0, Ok(answer) if answer.status == 401) {
            self.log_in().await;
        }
        sent
    }

    /// Until it is answered with success; what was answered.
    pub async fn does(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let mut last = None;
        for _ in 0..TRIES {
            let (answer, _) = self.asks(method.clone(), path, body).await;
            if let Ok(answer) = &answer
                && answer.is_acknowledged()
            {
                return Ok(answer.json());
            }
            last = Some(answer.map(|answer| (answer.status, answer.json())));
            tokio::time::sleep(PAUSE).await;
        }
        bail!("{method} {path}: {last:?}")
    }

    /// As [`Admin::does`], an ending of `object`: noted, so that whatever of it is let in after the answer counts.
    pub async fn ends(
        &self,
        world: &World,
        object: &str,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<()> {
        for _ in 0..TRIES {
            let t_send = world.ledger.now();
            let (answer, asked) = self.asks(method.clone(), path, body).await;
            // The administrator was logged out, which is not the answer to what was asked.
            if !matches!(&answer, Ok(answer) if answer.status == 401) {
                let answer = world.note(Op::End, object, t_send, (answer, asked), |_, _| ());
                if answer.is_some_and(|answer| answer.is_acknowledged()) {
                    return Ok(());
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
        bail!("{method} {path} is never acknowledged")
    }

    /// The signing keys and the state that each is in.
    pub async fn keys(&self) -> anyhow::Result<Vec<(String, String)>> {
        let all = self.does(Method::GET, "/v1/admin/keys", None).await?;
        let keys = all["keys"].as_array().context("no keys")?.iter();
        let member = |key: &Value, name: &str| key[name].as_str().unwrap_or_default().to_owned();
        Ok(keys.map(|key| (member(key, "kid"), member(key, "state"))).collect())
    }

    /// The key that signs.
    pub async fn active_key(&self) -> anyhow::Result<String> {
        let active = self.keys().await?.into_iter().find(|(_, state)| state == "active");
        Ok(active.context("no key is active")?.0)
    }

    /// The user holds the role; the grant's id.
    pub async fn gives(&self, user: &str, role: &str) -> anyhow::Result<String> {
        let body = json!({ "subject": { "kind": "user", "id": user }, "role": role });
        let grant = self.does(Method::POST, "/v1/admin/grants", Some(&body)).await?;
        Ok(grant["id"].as_str().context("a grant without an id")?.to_owned())
    }
}
