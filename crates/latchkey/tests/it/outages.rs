//! The table under "Outages" of docs/operations.md, cell by cell: the page is read, a service is killed, and what each row
//! names is asked for. A row that nobody knows how to ask for fails, and so does a cell in other words.

pub mod readme;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Mutex;

use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::stack::{Browser, PASSWORD, Stack, Tokens, client, eventually};
use crate::taken_back::AVAILABLE;

const HEAD: &str = "| | policy-service gone | session-service gone | auth-service gone |";
/// Beside the routes that are there: what asks policy-service nothing.
const ROUTES: &str = "
[[route]]
path = \"/app/unnamed/*\"
accept = [\"token\"]
upstream = \"echo\"
identity = \"none\"

[[route]]
path = \"/app/unnamed-session/*\"
accept = [\"session\"]
upstream = \"echo\"
identity = \"none\"
";

/// What a cell says.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Cell {
    Always(u16),
    /// "200 while the lease lasts, then 503"
    UntilTheLeaseIsOver,
    /// "200, then marked `X-Latchkey-Stale`"
    Stale,
}

impl Cell {
    fn parse(text: &str) -> Self {
        match text {
            "200 while the lease lasts, then 503" => Self::UntilTheLeaseIsOver,
            "200, then marked `X-Latchkey-Stale`" => Self::Stale,
            status => Self::Always(status.parse().unwrap_or_else(|_| panic!("{status:?} is no cell"))),
        }
    }

    fn allows(self, seen: &Seen) -> bool {
        match self {
            Self::Always(status) => seen.status == status && !seen.is_stale,
            Self::UntilTheLeaseIsOver => matches!(seen.status, 200 | 503) && !seen.is_stale,
            Self::Stale => seen.status == 200,
        }
    }

    fn is_reached(self, seen: &Seen) -> bool {
        match self {
            Self::Always(_) => true,
            Self::UntilTheLeaseIsOver => seen.status == 503,
            Self::Stale => seen.is_stale,
        }
    }
}

/// What a row's first cell names (several things by `; `), and its cell in `column`.
fn column(column: usize) -> BTreeMap<String, Cell> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operations.md");
    let page = fs::read_to_string(page).unwrap();
    let (_, table) = page.split_once(HEAD).expect("the table is on the page");
    let mut cells = BTreeMap::new();
    for row in table.lines().skip(2).take_while(|line| line.starts_with('|')) {
        let row: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(row.len(), 4, "{row:?}");
        for what in row[0].split("; ") {
            assert!(
                cells.insert(what.to_owned(), Cell::parse(row[column])).is_none(),
                "{what} is there twice"
            );
        }
    }
    cells
}

/// What of an answer the page speaks of.
#[derive(Debug)]
struct Seen {
    status: u16,
    is_stale: bool,
}

/// Everybody whom the rows speak of, in since before anything was missing.
struct Scene {
    stack: Stack,
    tokens: Tokens,
    browser: Browser,
    /// Those who log out.
    leaving: (Tokens, Browser),
    administrator: Tokens,
    /// An application's id, secret and token.
    reports: [String; 3],
    refresh_token: Mutex<String>,
}

impl Scene {
    async fn begin() -> Self {
        let stack = Stack::start().await;
        stack.register("alice").await;
        stack.cli(&["role", "add", "app-admin", "document:read"]);
        stack.cli(&["grant", "add", "alice", "app-admin"]);
        stack.add_routes(&format!("{ROUTES}{AVAILABLE}"), "/app/available/x").await;
        let both = async || (stack.token("alice", PASSWORD).await, stack.session("alice", PASSWORD).await);
        let ((tokens, browser), leaving) = (both().await, both().await);
        let administrator = stack.token(&stack.file.admin.username, &stack.admin_password()).await;
        let refresh_token = Mutex::new(stack.token("alice", PASSWORD).await.refresh_token);
        let made = stack.cli_json(&["client", "add", "reports", "--audience", "latchkey"]);
        let [id, secret] = ["id", "client_secret"].map(|name| made[name].as_str().unwrap().to_owned());
        let mut scene = Self {
            reports: [id, secret, String::new()],
            stack,
            tokens,
            browser,
            leaving,
            administrator,
            refresh_token,
        };
        let answer = scene.request("`client_credentials`").send().await.unwrap();
        let answer: Value = answer.json().await.unwrap();
        scene.reports[2] = answer["access_token"].as_str().unwrap().to_owned();
        scene
    }

    fn login(&self, mode: &str) -> RequestBuilder {
        let body = json!({ "identifier": "alice", "password": PASSWORD, "mode": mode });
        self.stack.post("/v1/login", &body)
    }

    /// One of what the rows of the table name.
    fn request(&self, what: &str) -> RequestBuilder {
        let get = |path: &str| self.stack.get(path);
        let post = |path: &str| self.stack.request(Method::POST, path);
        let administer =
            |method, path: &str| client().request(method, format!("{}{path}", self.stack.internal()));
        let list = |path: &str| administer(Method::GET, path);
        let put_role = || {
            let request = administer(Method::PUT, "/v1/admin/roles/app-admin");
            request.json(&json!({ "permissions": ["document:read"] }))
        };
        let with = |request: RequestBuilder, tokens: &Tokens| request.bearer_auth(&tokens.access_token);
        let from = |request: RequestBuilder, browser: &Browser| {
            request.header("cookie", &browser.cookie).header("sec-fetch-site", "same-origin")
        };
        let by_token = |path: &str| with(get(path), &self.tokens);
        let by_session = |path: &str| from(get(path), &self.browser);
        let [id, secret, token] = &self.reports;
        let as_reports = |path: &str| post(path).basic_auth(id, Some(secret));
        match what {
            "open route" => get("/app/public/x"),
            "token route" => by_token("/app/token/x"),
            "token route with `role`" => by_token("/app/admin/x"),
            "token route with `identity = \"none\"` that requires nothing" => by_token("/app/unnamed/x"),
            "token route with `stale_for`" => by_token("/app/available/x"),
            "`permission` route by token" => by_token("/app/documents/1"),
            "session route" => by_session("/app/session/x"),
            "session route with `role`" => by_session("/app/admin/x"),
            "`permission` route by session" => by_session("/app/documents/1"),
            "session route with `identity = \"none\"` that requires nothing" => {
                by_session("/app/unnamed-session/x")
            }
            "login by token" => self.login("token"),
            "login by session" => self.login("session"),
            "refresh" => {
                let token = self.refresh_token.lock().unwrap().clone();
                let form = [("grant_type", "refresh_token"), ("client_id", "first-party")];
                post("/oauth2/token").form(&[&form[..], &[("refresh_token", token.as_str())]].concat())
            }
            "`client_credentials`" => {
                as_reports("/oauth2/token").form(&[("grant_type", "client_credentials")])
            }
            "log out by token" => with(post("/v1/logout"), &self.leaving.0),
            "log out by session" => from(post("/v1/logout"), &self.leaving.1),
            "introspection" => as_reports("/oauth2/introspect").form(&[("token", token)]),
            "JWKS" => get("/.well-known/jwks.json"),
            "`/v1/me` by token" => by_token("/v1/me"),
            "`/v1/me` by session" => by_session("/v1/me"),
            "administration of users" => with(list("/v1/admin/users"), &self.administrator),
            "administration of roles" => with(put_role(), &self.administrator),
            "administration of sessions" => with(list("/v1/admin/sessions"), &self.administrator),
            other => panic!("{other:?} is a row that this test does not know"),
        }
    }

    /// Asks for it, and judges what holds of every answer.
    async fn ask(&self, what: &str) -> Seen {
        let answer = self.request(what).send().await.unwrap();
        let (status, headers) = (answer.status(), answer.headers().clone());
        let body = answer.text().await.unwrap();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            assert_eq!(headers["retry-after"], "1", "{what}");
            assert!(!headers.contains_key("set-cookie"), "{what}: nobody loses a cookie over an outage");
        } else {
            assert!(status.is_success(), "{what}: {status} to who is good: {body}");
        }
        if what == "refresh" && status.is_success() {
            let next: Tokens = serde_json::from_str(&body).unwrap();
            *self.refresh_token.lock().unwrap() = next.refresh_token;
        }
        if what == "introspection" && status.is_success() {
            assert_eq!(serde_json::from_str::<Value>(&body).unwrap()["active"], true);
        }
        Seen { status: status.as_u16(), is_stale: headers.contains_key("x-latchkey-stale") }
    }

    /// Each asked once; those that were answered otherwise.
    async fn others(&self, cells: &BTreeMap<String, Cell>) -> Vec<String> {
        let mut others = Vec::new();
        for (what, cell) in cells {
            let seen = self.ask(what).await;
            if !cell.allows(&seen) {
                others.push(format!("{what}: {cell:?} on the page, {seen:?}"));
            }
        }
        others
    }
}

/// Everything there: each row is 200, or 204 for those who log out.
fn in_good_order(cells: &BTreeMap<String, Cell>) -> BTreeMap<String, Cell> {
    let well = |what: &String| Cell::Always(if what.starts_with("log out") { 204 } else { 200 });
    cells.keys().map(|what| (what.clone(), well(what))).collect()
}

async fn the_page_is_right(process: &str, number: usize) {
    let cells = column(number);
    let mut scene = Scene::begin().await;
    let well = in_good_order(&cells);
    let (out, others): (BTreeMap<_, _>, BTreeMap<_, _>) =
        well.clone().into_iter().partition(|(what, _)| what.starts_with("log out"));
    assert_eq!(out.len(), 2);
    assert_eq!(scene.others(&others).await, Vec::<String>::new(), "with everything there");

    let operations = scene.stack.file.operations[process].clone();
    scene.stack.keep_away(process);
    eventually("it is gone", async || client().get(&operations).send().await.is_err().then_some(())).await;
    let mut wrong = scene.others(&cells).await;
    for (what, cell) in cells.iter().filter(|(what, _)| !wrong.iter().any(|said| said.starts_with(*what))) {
        eventually(&format!("{what} is as the page says at last"), async || {
            let seen = scene.ask(what).await;
            assert!(cell.allows(&seen), "{what}: {cell:?} on the page, {seen:?}");
            cell.is_reached(&seen).then_some(())
        })
        .await;
    }
    // Without leases the rest is as it was.
    wrong.extend(scene.others(&cells).await);
    assert_eq!(wrong, Vec::<String>::new(), "docs/operations.md, without {process}");

    let before = scene.stack.file.pids.clone();
    scene.stack.let_back(process).await;
    eventually("everything works again", async || scene.others(&well).await.is_empty().then_some(())).await;
    for (name, pid) in &scene.stack.file.pids {
        assert_eq!(name != process, *pid == before[name], "{name}");
    }
}

#[tokio::test]
async fn the_page_says_what_happens_without_policy_service() {
    the_page_is_right("policy-0", 1).await;
}

#[tokio::test]
async fn the_page_says_what_happens_without_session_service() {
    the_page_is_right("session-0", 2).await;
}

#[tokio::test]
async fn the_page_says_what_happens_without_auth_service() {
    the_page_is_right("auth-0", 3).await;
}
