//! What a row is loaded with: users who logged in, and the refreshes that show how auth and policy share their calls.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::Kind;
use super::load::Credential;

const CREDENTIALS: usize = 16;
/// Refreshes for each replica of auth-service: each calls auth and policy, and enough of them show how calls are shared.
const REFRESHES: usize = 200;
const PASSWORD: &str = "purple lantern under glacier";

pub struct Issued {
    /// What the load presents.
    pub credentials: Vec<Credential>,
    refresh_token: String,
}

/// Users that register and log in, spread over the gateways: each for a token, which can be refreshed, and where sessions are
/// shown for a session too.
pub async fn issue(client: &reqwest::Client, gateways: &[String], kind: Kind) -> Result<Issued> {
    let mut issued = Issued { credentials: Vec::with_capacity(CREDENTIALS), refresh_token: String::new() };
    for (number, url) in gateways.iter().cycle().take(CREDENTIALS).enumerate() {
        let name = format!("demo-{number}");
        let user = json!({ "username": name, "password": PASSWORD });
        post(client, &format!("{url}/v1/users"), &user).await?;
        let login = format!("{url}/v1/login");
        let by = |mode| json!({ "identifier": name, "password": PASSWORD, "mode": mode });
        let (_, tokens) = post(client, &login, &by("token")).await?;
        issued.refresh_token = text(&tokens, "refresh_token")?;
        issued.credentials.push(match kind {
            Kind::Tokens => Credential::Token(format!("Bearer {}", text(&tokens, "access_token")?)),
            _ => {
                let (cookie, _) = post(client, &login, &by("session")).await?;
                Credential::Session(cookie.context("a login set no cookie")?)
            }
        });
    }
    Ok(issued)
}

impl Issued {
    /// One token again and again, at each gateway in turn. More at once would show the file and not the balancing: SQLite lets
    /// one process write at a time, and whoever found it busy again and again is slow, and given less.
    pub async fn refresh(&mut self, client: &reqwest::Client, gateways: &[String]) -> Result<()> {
        for url in gateways.iter().cycle().take(REFRESHES * gateways.len()) {
            refresh(client, url, &mut self.refresh_token).await?;
        }
        Ok(())
    }
}

async fn refresh(client: &reqwest::Client, url: &str, token: &mut String) -> Result<()> {
    let form =
        [("grant_type", "refresh_token"), ("client_id", "first-party"), ("refresh_token", token.as_str())];
    let answer = client.post(format!("{url}/oauth2/token")).form(&form).send().await;
    let answer = answer.and_then(reqwest::Response::error_for_status).context("a refresh")?;
    *token = text(&answer.json().await.context("a refresh answered no JSON")?, "refresh_token")?;
    Ok(())
}

/// The cookie that was set, and the answer.
async fn post(client: &reqwest::Client, url: &str, body: &Value) -> Result<(Option<String>, Value)> {
    let answer = client.post(url).json(body).send().await.with_context(|| url.to_owned())?;
    let status = answer.status();
    let cookie = answer.headers().get("set-cookie").and_then(|cookie| cookie.to_str().ok());
    let cookie = cookie.and_then(|cookie| cookie.split(';').next()).map(str::to_owned);
    let text = answer.text().await.with_context(|| url.to_owned())?;
    anyhow::ensure!(status.is_success(), "{url}: {status} {text}");
    let answer = serde_json::from_str(&text).with_context(|| format!("{url} answered no JSON"))?;
    Ok((cookie, answer))
}

fn text(answer: &Value, member: &str) -> Result<String> {
    let text = answer.get(member).and_then(Value::as_str);
    Ok(text.with_context(|| format!("an answer without {member}"))?.to_owned())
}
