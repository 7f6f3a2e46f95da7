//! Everything is done once, and a ledger is kept of every secret that was used or made on the way. Then everything that the
//! system has said anywhere is searched for them.

mod tour;

use std::fs;
use std::path::Path;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use self::tour::{NEW_PASSWORD, as_a_user, as_an_operator};
use super::scene::opener;
use crate::stack::{Builder, Stack, client};

/// As much as our own code has to say.
const TALKATIVE: &str = "[log]\nlevel = \"info,auth_service=trace,session_service=trace,policy_service=trace,gateway=trace,latchkey_chassis=trace,latchkey_guard=trace,latchkey_token=trace\"\n";

struct Spy {
    stack: Stack,
    /// What it is, and the secret.
    secrets: Vec<(String, String)>,
    /// Where it was said, and what.
    said: Vec<(String, String)>,
}

impl Spy {
    fn secret(&mut self, what: &str, secret: impl Into<String>) -> String {
        let secret = secret.into();
        assert!(secret.len() >= 12, "{what} is too short to be searched for: {secret:?}");
        self.secrets.push((what.to_owned(), secret.clone()));
        secret
    }

    fn hear(&mut self, place: &str, text: impl Into<String>) {
        self.said.push((place.to_owned(), text.into()));
    }

    /// Answers that were refusals are listened to; of the others, whose purpose is to hand out secrets, those are noted.
    async fn send(&mut self, what: &str, status: u16, request: RequestBuilder) -> Value {
        let answer = request.send().await.unwrap();
        let (found, headers) = (answer.status().as_u16(), answer.headers().clone());
        let text = answer.text().await.unwrap();
        assert_eq!(found, status, "{what}: {text}");
        if status >= 400 {
            self.hear(&format!("the answer to {what}"), format!("{headers:?}\n{text}"));
        }
        for line in headers.get_all("set-cookie") {
            let value =
                line.to_str().unwrap().split(';').next().unwrap().split_once('=').unwrap().1.to_owned();
            if !value.is_empty() {
                self.secret(&format!("a cookie of {what}"), value);
            }
        }
        let body: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        for name in ["access_token", "refresh_token", "client_secret"] {
            if let Some(value) = body[name].as_str() {
                self.secret(&format!("the {name} of {what}"), value);
                if name == "access_token" && token::is_jwe(value) {
                    let inner = token::open(value, &[opener(&self.stack)]).unwrap();
                    self.secret(&format!("the inside of the {name} of {what}"), inner);
                }
            }
        }
        body
    }

    fn post(&self, path: &str, body: &Value) -> RequestBuilder {
        self.stack.post(path, body)
    }

    fn form(&self, path: &str, form: &[(&str, &str)]) -> RequestBuilder {
        self.stack.request(Method::POST, path).form(form)
    }

    fn hear_files(&mut self, folder: &Path) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
            self.hear(&path.display().to_string(), text);
        }
    }

    async fn hear_metrics(&mut self) {
        for (process, url) in self.stack.file.operations.clone() {
            for path in ["/metrics", "/readyz?verbose", "/livez"] {
                let text = client().get(format!("{url}{path}")).send().await.unwrap().text().await.unwrap();
                self.hear(&format!("{path} of {process}"), text);
            }
        }
    }

    fn search(&self) {
        assert!(
            self.secrets.len() > 35 && self.said.len() > 40,
            "{} {}",
            self.secrets.len(),
            self.said.len()
        );
        for (place, text) in &self.said {
            assert!(!text.contains("$argon2"), "a stored password in {place}");
            for (what, secret) in &self.secrets {
                assert!(!text.contains(secret.as_str()), "{what} is in {place}");
            }
        }
    }
}

async fn begin() -> Spy {
    let services = ["auth", "session", "policy", "gateway"];
    let builder =
        services.iter().fold(Builder::new(), |builder, service| builder.settings(service, TALKATIVE));
    let stack = builder.start().await;
    let mut spy = Spy { stack, secrets: Vec::new(), said: Vec::new() };
    let admin = spy.stack.admin_password();
    spy.secret("the administrator's password", admin);
    let state_dir = spy.stack.state_dir().to_owned();
    let read = |path: &str| fs::read_to_string(state_dir.join(path)).unwrap();
    let master = read("secrets/master.key").trim().to_owned();
    spy.secret("the master key", master);
    let private: Value = serde_json::from_str(&read("secrets/gateway-token-key.jwk.json")).unwrap();
    spy.secret("the gateway's private key", private["d"].as_str().unwrap());
    for name in ["ca", "auth", "session", "policy", "gateway", "operator"] {
        let pem = read(&format!("certificates/{name}.key"));
        spy.secret(&format!("the TLS key of {name}"), pem.lines().nth(1).unwrap());
    }
    spy
}

#[tokio::test]
async fn s08_no_secret_is_in_anything_that_is_said() {
    let mut spy = begin().await;
    as_a_user(&mut spy).await;
    as_an_operator(&mut spy).await;
    spy.hear_metrics().await;
    // Also when things fail in the middle of it.
    spy.stack.kill("policy-0");
    let login = json!({ "identifier": "alice", "password": NEW_PASSWORD, "mode": "token" });
    spy.send("a login in an outage", 503, spy.post("/v1/login", &login)).await;
    spy.stack.kill("auth-0");
    spy.send("a login without auth-service", 503, spy.post("/v1/login", &login)).await;

    assert!(spy.stack.stop().await.success());
    let (state_dir, folder) = (spy.stack.state_dir().to_owned(), spy.stack.folder().to_owned());
    for part in ["logs", "config"] {
        spy.hear_files(&state_dir.join(part));
    }
    for name in ["up.out", "up.err"] {
        let text = fs::read_to_string(folder.join(name)).unwrap();
        spy.hear(name, text);
    }
    let login = |(place, text): &(String, String)| {
        place.ends_with("auth-0.log") && text.contains("\"event\":\"login\"")
    };
    assert!(spy.said.iter().any(login), "the logs are where they are looked for");
    spy.search();
    // And what is kept is kept in another form. (Hashes of passwords belong there.)
    let kept: Vec<String> = fs::read_dir(state_dir.join("data"))
        .unwrap()
        .map(|entry| String::from_utf8_lossy(&fs::read(entry.unwrap().path()).unwrap()).into_owned())
        .collect();
    for (what, secret) in &spy.secrets {
        assert!(!kept.iter().any(|text| text.contains(secret.as_str())), "{what} is in a database");
    }
}

#[tokio::test]
async fn s08_no_process_can_leave_its_memory_behind() {
    let stack = Stack::start().await;
    let processes = stack.file.pids.iter().map(|(name, pid)| (name.as_str(), *pid));
    for (name, pid) in processes.chain([("up", stack.up_pid())]) {
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let core = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).unwrap();
        // Now, and for good.
        assert_eq!(core.split_whitespace().take(2).collect::<Vec<_>>(), ["0", "0"], "{name}");
    }
}
