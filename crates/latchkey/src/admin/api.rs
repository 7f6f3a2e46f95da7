//! Requests to the gateway's internal listener, with a token that is got when it is needed.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use chassis::clock::{Clock, SystemClock};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::target::{Credential, KeptToken, Target};

const TIMEOUT: Duration = Duration::from_secs(30);
/// A token this close to its end is not used any more.
const MARGIN: Duration = Duration::from_secs(10);
const PAGE_SIZE: &str = "1000";

pub struct Api {
    target: Target,
    http: reqwest::Client,
    token: Option<KeptToken>,
}

/// What a login answers.
#[derive(Deserialize)]
struct TokenResponse {
    access_token: String,
    expires_in: u64,
    #[serde(default)]
    refresh_token: String,
}

impl Api {
    pub fn new(target: Target) -> Result<Self> {
        let now = SystemClock.now();
        let kept = target.credential.kept()?;
        let token = kept.filter(|kept| kept.public == target.public && now + MARGIN < kept.expires_at);
        Ok(Self { target, http: http()?, token })
    }

    pub async fn get(&mut self, path: &str, query: &[(&str, &str)]) -> Result<Value> {
        self.ask(Method::GET, path, query, None).await
    }

    pub async fn post(&mut self, path: &str, body: Value) -> Result<Value> {
        self.ask(Method::POST, path, &[], Some(body)).await
    }

    pub async fn put(&mut self, path: &str, body: Value) -> Result<Value> {
        self.ask(Method::PUT, path, &[], Some(body)).await
    }

    pub async fn patch(&mut self, path: &str, body: Value) -> Result<Value> {
        self.ask(Method::PATCH, path, &[], Some(body)).await
    }

    pub async fn delete(&mut self, path: &str) -> Result<Value> {
        self.ask(Method::DELETE, path, &[], None).await
    }

    /// Every page of a list, as one array.
    pub async fn list(&mut self, path: &str, member: &str, query: &[(&str, &str)]) -> Result<Vec<Value>> {
        let mut all = Vec::new();
        let mut page_token = String::new();
        loop {
            let mut query = query.to_vec();
            query.push(("page_size", PAGE_SIZE));
            if !page_token.is_empty() {
                query.push(("page_token", &page_token));
            }
            let page = self.get(path, &query).await?;
            let items = page.get(member).and_then(Value::as_array);
            all.extend(items.with_context(|| format!("{path} answered without {member:?}"))?.iter().cloned());
            page_token = match page.get("next_page_token").and_then(Value::as_str) {
                None | Some("") => return Ok(all),
                Some(next) => next.to_owned(),
            };
        }
    }

    async fn ask(
        &mut self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<Value>,
    ) -> Result<Value> {
        let had_one = self.token.is_some();
        let sent = self.send(&method, path, query, body.as_ref()).await;
        let (status, text) = sent.map_err(|error| self.target.explain(error))?;
        // A token that was kept may have been voided meanwhile; one that was just got was not.
        let (status, text) = if status == StatusCode::UNAUTHORIZED && had_one {
            self.token = None;
            self.send(&method, path, query, body.as_ref()).await?
        } else {
            (status, text)
        };
        // Done, and not known to hold everywhere: nobody may take that for done.
        if !status.is_success() || status == StatusCode::ACCEPTED {
            return Err(problem(status, &text));
        }
        if text.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text)
            .with_context(|| format!("{} answered something else than JSON", self.target.internal))
    }

    async fn send(
        &mut self,
        method: &Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<(StatusCode, String)> {
        let token = match &self.token {
            Some(token) => token.access_token.clone(),
            None => {
                let token = self.new_token().await?;
                self.target.credential.keep(&token)?;
                let access_token = token.access_token.clone();
                self.token = Some(token);
                access_token
            }
        };
        let mut url = url::Url::parse(&format!("{}{path}", self.target.internal)).context("not a URL")?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = self.http.request(method.clone(), url).bearer_auth(token);
        if let Some(body) = body {
            request = request.json(body);
        }
        exchange(request, &self.target.internal).await
    }

    async fn new_token(&self) -> Result<KeptToken> {
        match &self.target.credential {
            Credential::PasswordFile { username, password_file, .. } => {
                let secret = chassis::secret::read(password_file)?;
                let password = Zeroizing::new(secret.text()?.lines().next().unwrap_or_default().to_owned());
                match password_login(&self.http, &self.target.public, username, &password).await? {
                    LoginAnswer::Token(token) => Ok(token),
                    LoginAnswer::Refused { code, .. } if code == "invalid_credentials" => bail!(
                        "the password of {username} is no longer the one in {}: log in with \
                         `latchkey login --server {} --public {}` and pass the same --server to other commands",
                        password_file.display(),
                        self.target.internal,
                        self.target.public
                    ),
                    LoginAnswer::Refused { error, .. } => Err(error),
                }
            }
            Credential::Login(logins) => {
                let refresh_token =
                    self.target.credential.kept()?.map(|kept| kept.refresh_token).unwrap_or_default();
                let form = [
                    ("grant_type", "refresh_token"),
                    ("client_id", "first-party"),
                    ("refresh_token", &refresh_token),
                ];
                let request = self.http.post(format!("{}/oauth2/token", self.target.public)).form(&form);
                let (status, text) = exchange(request, &self.target.public).await?;
                match status {
                    StatusCode::OK => kept(&self.target.public, &text),
                    StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED => {
                        bail!("the login has expired: run `latchkey login --server {}`", logins.server)
                    }
                    _ => Err(problem(status, &text)),
                }
            }
        }
    }
}

pub enum LoginAnswer {
    Token(KeptToken),
    Refused { code: String, error: anyhow::Error },
}

pub fn http() -> Result<reqwest::Client> {
    let agent = concat!("latchkey/", env!("CARGO_PKG_VERSION"));
    reqwest::Client::builder()
        .user_agent(agent)
        .timeout(TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .context("no HTTP client can be made")
}

/// A login by token at a gateway's public (or internal) URL.
pub async fn password_login(
    http: &reqwest::Client,
    server: &str,
    username: &str,
    password: &str,
) -> Result<LoginAnswer> {
    let body = json!({ "identifier": username, "password": password, "mode": "token" });
    let (status, text) = exchange(http.post(format!("{server}/v1/login")).json(&body), server).await?;
    if status == StatusCode::OK {
        return kept(server, &text).map(LoginAnswer::Token);
    }
    let code = serde_json::from_str::<Value>(&text).ok();
    let code =
        code.as_ref().and_then(|problem| problem.get("code")).and_then(Value::as_str).unwrap_or_default();
    Ok(LoginAnswer::Refused { code: code.to_owned(), error: problem(status, &text) })
}

fn kept(public: &str, text: &str) -> Result<KeptToken> {
    // Whatever is wrong with it, the text holds a token and is not shown.
    let answer: TokenResponse =
        serde_json::from_str(text).map_err(|_| anyhow!("{public} answered a login without a token"))?;
    Ok(KeptToken {
        public: public.to_owned(),
        access_token: answer.access_token,
        expires_at: SystemClock.now() + Duration::from_secs(answer.expires_in),
        refresh_token: answer.refresh_token,
    })
}

async fn exchange(request: reqwest::RequestBuilder, server: &str) -> Result<(StatusCode, String)> {
    let unreachable = || format!("{server} cannot be reached");
    let response = request.send().await.map_err(reqwest::Error::without_url).with_context(unreachable)?;
    let status = response.status();
    let text = response.text().await.map_err(reqwest::Error::without_url).with_context(unreachable)?;
    Ok((status, text))
}

/// A refusal in a sentence: RFC 9457 problem details where the answer has them.
fn problem(status: StatusCode, text: &str) -> anyhow::Error {
    let details: Value = serde_json::from_str(text).unwrap_or_default();
    let member = |name: &str| details.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let said = match (member("title"), member("detail")) {
        (Some(title), Some(detail)) => format!("{}: {detail}", title.trim_end_matches('.')),
        (Some(one), None) | (None, Some(one)) => one.to_owned(),
        (None, None) => member("error_description").or(member("error")).unwrap_or("refused").to_owned(),
    };
    let code = member("code").map(|code| format!("{code}, ")).unwrap_or_default();
    let request = member("request_id").map(|id| format!(", request {id}")).unwrap_or_default();
    anyhow!("{said} ({code}{}{request})", status.as_u16())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_a_sentence_with_its_code_and_request() {
        let text =
            r#"{"title":"No such role.","detail":"editor","code":"role_not_found","request_id":"req_1"}"#;
        let said = problem(StatusCode::NOT_FOUND, text).to_string();
        assert_eq!(said, "No such role: editor (role_not_found, 404, request req_1)");
        assert_eq!(problem(StatusCode::BAD_GATEWAY, "<html>").to_string(), "refused (502)");
    }
}
