//! A running stack for one test: `latchkey up --port 0` on a state directory of its own, stopped when dropped.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use chassis::config::{Shutdown, Tls, TlsMode};
use chassis::grpc::client::{Call, channel};
use chassis::lifecycle::Lifecycle;
use chassis::tls::Identity;
use proto::policy::v1::DeleteGrantRequest;
use proto::policy::v1::policy_admin_service_client::PolicyAdminServiceClient;
use reqwest::{RequestBuilder, StatusCode};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// Between two looks at something that another process will do.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How long to wait for something that must happen. A loaded machine running debug builds is slow.
pub const SOON: Duration = Duration::from_secs(60);

/// A variable that marks every process of one test's stack.
const MARK: &str = "LATCHKEY_TEST_FOLDER";

/// A password that every rule accepts.
pub const PASSWORD: &str = "purple lantern under glacier";

/// What `stack.json` says. An unknown or a missing member is an error: scripts rely on its shape.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StackFile {
    pub gateways: Vec<String>,
    pub internal: Vec<String>,
    pub services: BTreeMap<String, Vec<String>>,
    pub operations: BTreeMap<String, String>,
    pub pids: BTreeMap<String, i32>,
    pub echo: Vec<String>,
    pub admin: Admin,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    pub username: String,
    pub password_file: PathBuf,
}

/// How a stack is to be started.
pub struct Builder {
    folder: TempDir,
    state_dir: PathBuf,
    port: u16,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
}

/// A stack that could not start.
pub struct Failed {
    pub status: ExitStatus,
    pub stderr: String,
    pub state_dir: PathBuf,
    pub folder: TempDir,
}

pub struct Stack {
    folder: TempDir,
    state_dir: PathBuf,
    variables: Vec<(String, String)>,
    up: Child,
    pub file: StackFile,
}

/// What a login by token returns.
#[derive(Debug, Clone, Deserialize)]
pub struct Tokens {
    pub access_token: String,
    pub token_type: String,
    pub expires_in: u64,
    pub refresh_token: String,
}

/// A logged-in browser: its cookie, and what it was told.
#[derive(Debug, Clone)]
pub struct Browser {
    /// `name=value`, to be sent as `Cookie`.
    pub cookie: String,
    /// The whole `Set-Cookie`.
    pub set_cookie: String,
    pub session_id: String,
}

impl Builder {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let state_dir = folder.path().join("state");
        // Every process of this stack inherits it: how a test finds one that was left behind.
        let mark = (MARK.to_owned(), folder.path().to_str().unwrap().to_owned());
        Self { folder, state_dir, port: 0, arguments: Vec::new(), variables: vec![mark] }
    }

    /// The state directory. May not exist yet.
    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// Another state directory, below the test's folder.
    pub fn state_dir_at(mut self, below: &str) -> Self {
        self.state_dir = self.folder.path().join(below);
        self
    }

    /// The test's own folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A port instead of any free one.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Settings for a service, laid over what `up` writes.
    pub fn settings(self, service: &str, toml: &str) -> Self {
        let folder = self.state_dir.join("settings");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("{service}.toml")), toml).unwrap();
        self
    }

    /// A route file instead of the one that `up` writes.
    pub fn routes(self, toml: &str) -> Self {
        fs::create_dir_all(self.state_dir()).unwrap();
        fs::write(self.state_dir.join("routes.toml"), toml).unwrap();
        self
    }

    /// Arguments of `latchkey up`.
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// Nothing here is to fail because the machine is busy: what is not set waits longer than it would by default.
    fn settle(&self) {
        let patient = |service, section: &str, key: &str| {
            let path = self.state_dir.join("settings").join(format!("{service}.toml"));
            let mut settings: toml::Table = fs::read_to_string(&path).unwrap_or_default().parse().unwrap();
            let section = settings.entry(section).or_insert_with(|| toml::Table::new().into());
            section.as_table_mut().unwrap().entry(key).or_insert_with(|| "3s".into());
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, settings.to_string()).unwrap();
        };
        patient("gateway", "limits", "check_timeout");
        for service in ["auth", "session", "policy"] {
            patient(service, "store", "timeout");
            patient(service, "store", "read_wait");
        }
    }

    pub async fn start(self) -> Stack {
        self.settle();
        let port = self.port.to_string();
        let mut arguments = vec!["--port", &port];
        arguments.extend(self.arguments.iter().map(String::as_str));
        let mut up = up(self.folder.path(), &self.state_dir, &arguments, &self.variables);
        match started(&mut up, &self.state_dir).await {
            Ok(file) => {
                Stack { folder: self.folder, state_dir: self.state_dir, variables: self.variables, up, file }
            }
            Err(status) => {
                let stderr = fs::read_to_string(self.folder.path().join("up.err")).unwrap();
                panic!("the stack did not start: {status}\n{stderr}\n{}", logs(&self.state_dir));
            }
        }
    }

    /// Starts what must not start.
    pub async fn fail(self, arguments: &[&str]) -> Failed {
        let mut up = up(self.folder.path(), &self.state_dir, arguments, &self.variables);
        let status = started(&mut up, &self.state_dir).await.expect_err("the stack started");
        let stderr = fs::read_to_string(self.folder.path().join("up.err")).unwrap();
        Failed { status, stderr, state_dir: self.state_dir, folder: self.folder }
    }
}

impl Failed {
    /// It said why, ended with an error, and left nothing behind that looks or acts like a stack.
    pub fn assert_clean(&self, said: &[&str]) {
        assert!(!self.status.success(), "it claimed success: {}", self.stderr);
        for part in said {
            assert!(self.stderr.contains(part), "{part:?} is missing in: {}", self.stderr);
        }
        assert!(!has_panicked(&self.stderr), "{}", self.stderr);
        assert!(!self.state_dir.join("stack.json").exists());
        assert_eq!(processes_of(self.folder.path()), Vec::<String>::new());
    }
}

impl Stack {
    pub async fn start() -> Self {
        Builder::new().start().await
    }

    /// The gateway's public URL.
    pub fn url(&self) -> &str {
        &self.file.gateways[0]
    }

    /// The gateway's internal URL.
    pub fn internal(&self) -> &str {
        &self.file.internal[0]
    }

    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// The test's own folder; the state directory is below it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn admin_password(&self) -> String {
        fs::read_to_string(&self.file.admin.password_file).unwrap().trim_end().to_owned()
    }

    /// Number of `latchkey up` itself.
    pub fn up_pid(&self) -> i32 {
        i32::try_from(self.up.id()).unwrap()
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        client().get(format!("{}{path}", self.url()))
    }

    pub fn post(&self, path: &str, body: &Value) -> RequestBuilder {
        client().post(format!("{}{path}", self.url())).json(body)
    }

    pub fn request(&self, method: reqwest::Method, path: &str) -> RequestBuilder {
        client().request(method, format!("{}{path}", self.url()))
    }

    /// Registers a user with [`PASSWORD`].
    pub async fn register(&self, username: &str) {
        let body = json!({ "username": username, "password": PASSWORD });
        let answer = self.post("/v1/users", &body).send().await.unwrap();
        let status = answer.status();
        assert_eq!(status, StatusCode::CREATED, "{}", answer.text().await.unwrap());
    }

    pub async fn token(&self, username: &str, password: &str) -> Tokens {
        let body = json!({ "identifier": username, "password": password, "mode": "token" });
        let answer = self.post("/v1/login", &body).send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert_eq!(status, StatusCode::OK, "{text}");
        serde_json::from_str(&text).unwrap()
    }

    pub async fn session(&self, username: &str, password: &str) -> Browser {
        let body = json!({ "identifier": username, "password": password, "mode": "session" });
        let answer = self.post("/v1/login", &body).send().await.unwrap();
        let status = answer.status();
        let set_cookie = answer.headers().get("set-cookie").map(|value| value.to_str().unwrap().to_owned());
        let text = answer.text().await.unwrap();
        assert_eq!(status, StatusCode::OK, "{text}");
        let set_cookie = set_cookie.expect("a login by session sets a cookie");
        let body: Value = serde_json::from_str(&text).unwrap();
        Browser {
            cookie: set_cookie.split(';').next().unwrap().to_owned(),
            session_id: body["session"]["id"].as_str().expect("session.id").to_owned(),
            set_cookie,
        }
    }

    /// Runs the command line beside this stack.
    pub fn latchkey(&self, arguments: &[&str]) -> Output {
        latchkey(&[&["--state-dir", self.state_dir.to_str().unwrap()], arguments].concat())
    }

    /// Runs the command line and demands success; what it printed.
    pub fn cli(&self, arguments: &[&str]) -> String {
        let output = self.latchkey(arguments);
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "latchkey {arguments:?}: {}\n{stdout}\n{stderr}", output.status);
        stdout
    }

    /// Runs the command line with `--json`.
    pub fn cli_json(&self, arguments: &[&str]) -> Value {
        let printed = self.cli(&[&["--json"], arguments].concat());
        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"))
    }

    /// Takes `latchkey-admin` from everybody, as the operator: the gateway would refuse it.
    pub async fn leave_no_administrator(&self) {
        let grants = self.cli_json(&["grant", "list", "--role", "latchkey-admin"]);
        let folder = self.state_dir.join("certificates");
        let tls = Tls {
            mode: TlsMode::Mutual,
            certificate: folder.join("operator.crt"),
            key: folder.join("operator.key"),
            authority: folder.join("ca.crt"),
            domain: "latchkey.local".into(),
        };
        let identity = Identity::load(&tls).unwrap();
        let lifecycle = Lifecycle::new(Shutdown::default());
        let policy = channel(&self.file.services["policy"], &identity, "policy", &lifecycle).unwrap();
        let mut policy = PolicyAdminServiceClient::new(policy);
        let call = Call::new("req_test", SOON).actor("operator");
        for grant in grants.as_array().unwrap() {
            let id = grant["id"].as_str().unwrap().to_owned();
            policy.delete_grant(call.request(DeleteGrantRequest { id })).await.unwrap();
        }
    }

    pub fn pid(&self, process: &str) -> i32 {
        self.file.pids[process]
    }

    pub fn signal(&self, process: &str, signal: Signal) {
        kill_process(Pid::from_raw(self.pid(process)).unwrap(), signal).unwrap();
    }

    /// `kill -9`. It is started again after 2 s; see [`Stack::replaced`].
    pub fn kill(&self, process: &str) {
        self.signal(process, Signal::KILL);
    }

    /// Resolves when `process` runs again, ready, under another number.
    pub async fn replaced(&mut self, process: &str) {
        let before = self.pid(process);
        let path = self.state_dir.join("stack.json");
        self.file = eventually(&format!("{process} is replaced"), async || {
            let file = read(&path)?;
            (file.pids[process] != before).then_some(file)
        })
        .await;
    }

    /// Changes the file that `process` was started with, and has it start again.
    pub async fn reconfigure(&mut self, process: &str, change: impl FnOnce(&mut toml::Table)) {
        let path = self.state_dir.join(format!("config/{process}.toml"));
        let mut table: toml::Table = fs::read_to_string(&path).unwrap().parse().unwrap();
        change(&mut table);
        fs::write(&path, table.to_string()).unwrap();
        self.signal(process, Signal::TERM);
        self.replaced(process).await;
    }

    /// As [`Stack::kill`], and it cannot start again before [`Stack::let_back`].
    pub fn keep_away(&self, process: &str) {
        let config = self.state_dir.join(format!("config/{process}.toml"));
        fs::rename(&config, config.with_extension("away")).unwrap();
        self.kill(process);
    }

    /// Resolves when what was kept away runs again, ready.
    pub async fn let_back(&mut self, process: &str) {
        let config = self.state_dir.join(format!("config/{process}.toml"));
        fs::rename(config.with_extension("away"), &config).unwrap();
        self.replaced(process).await;
    }

    /// Adds routes to those that are there; resolves when every gateway has the one at `path`.
    pub async fn add_routes(&self, routes: &str, path: &str) {
        let file = self.state_dir.join("routes.toml");
        fs::write(&file, fs::read_to_string(&file).unwrap() + routes).unwrap();
        for gateway in &self.file.gateways {
            eventually("the routes are there", async || {
                let answer = client().get(format!("{gateway}{path}")).send().await.unwrap();
                (answer.status() != StatusCode::NOT_FOUND).then_some(())
            })
            .await;
        }
    }

    /// The log of one process since it was first started.
    pub fn log(&self, process: &str) -> String {
        fs::read_to_string(self.state_dir.join("logs").join(format!("{process}.log"))).unwrap_or_default()
    }

    /// The logs of all.
    pub fn logs(&self) -> String {
        logs(&self.state_dir)
    }

    /// What `process` shows on its operations port.
    pub async fn metrics(&self, process: &str) -> String {
        let url = format!("{}/metrics", self.file.operations[process]);
        client().get(url).send().await.unwrap().text().await.unwrap()
    }

    /// One of these: its name, with its labels.
    pub async fn metric(&self, process: &str, name: &str) -> u64 {
        let metrics = self.metrics(process).await;
        let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {name} in:\n{metrics}")).trim().parse::<f64>().unwrap() as u64
    }

    /// Requests that reached the application behind the gateway.
    pub async fn upstream_hits(&self) -> u64 {
        let mut hits = 0;
        for url in &self.file.echo {
            let answer: Value =
                client().get(format!("{url}/_echo/hits")).send().await.unwrap().json().await.unwrap();
            hits += answer["hits"].as_u64().unwrap();
        }
        hits
    }

    /// Asks `up` to stop, as Ctrl-C does, and waits.
    pub async fn stop(&mut self) -> ExitStatus {
        kill_process(Pid::from_raw(self.up_pid()).unwrap(), Signal::INT).unwrap();
        self.ended().await
    }

    /// Resolves when it has stopped, whoever told it to.
    pub async fn ended(&mut self) -> ExitStatus {
        let up = &mut self.up;
        eventually("the stack stops", async || up.try_wait().unwrap()).await
    }

    /// Stops it and starts it again on the same state directory.
    pub async fn restart(&mut self) {
        assert!(self.stop().await.success());
        self.start_again().await;
    }

    /// Starts again what has stopped.
    pub async fn start_again(&mut self) {
        let _ = self.up.wait();
        // One that was killed left it; what is waited for is the next one's.
        let _ = fs::remove_file(self.state_dir.join("stack.json"));
        self.up = up(self.folder.path(), &self.state_dir, &["--port", "0"], &self.variables);
        self.file = started(&mut self.up, &self.state_dir).await.expect("a second start");
    }

    /// What `up` has said on standard error since it was last started.
    pub fn said(&self) -> String {
        fs::read_to_string(self.folder.path().join("up.err")).unwrap()
    }

    /// What `up` has printed so far.
    pub fn printed(&self) -> String {
        fs::read_to_string(self.folder.path().join("up.out")).unwrap()
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("what the stack of the test that failed says:\n{}\n{}", self.said(), self.logs());
        }
        if !matches!(self.up.try_wait(), Ok(None)) {
            return;
        }
        let _ = kill_process(Pid::from_raw(self.up_pid()).unwrap(), Signal::TERM);
        for _ in 0..1_500 {
            if !matches!(self.up.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        // Its children leave with it.
        let _ = self.up.kill();
        let _ = self.up.wait();
    }
}

/// Resolves with the first `Some`; fails when that takes too long.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let until = Instant::now() + SOON;
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(Instant::now() < until, "within {SOON:?} it did not happen that {what}");
        sleep(LOOK_EVERY).await;
    }
}

/// A client that follows no redirect and keeps no cookie: each request says all it means.
pub fn client() -> reqwest::Client {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    reqwest::Client::builder()
        .no_proxy()
        // There is no TLS here, and reading the system's certificates takes longer than a request.
        .tls_certs_only([])
        .redirect(reqwest::redirect::Policy::none())
        .timeout(SOON)
        .build()
        .unwrap()
}

/// Runs the binary to its end.
pub fn latchkey(arguments: &[&str]) -> Output {
    program().args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// Whether a process with this number is there.
pub fn alive(pid: i32) -> bool {
    test_kill_process(Pid::from_raw(pid).unwrap()).is_ok()
}

/// The command lines of processes that a test started in its folder and that are still there.
pub fn processes_of(folder: &Path) -> Vec<String> {
    let own = format!("{MARK}={}", folder.display());
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let read = |name: &str| fs::read(entry.path().join(name)).unwrap_or_default();
        if read("environ").split(|byte| *byte == 0).any(|variable| variable == own.as_bytes()) {
            found.push(text(&read("cmdline")).replace('\0', " "));
        }
    }
    found
}

pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_latchkey"));
    command.env_remove("LATCHKEY_SERVER").env_remove("LATCHKEY_STATE_DIR");
    command
}

/// In the words of the hook that every process of ours sets: Rust's own are never said.
pub fn has_panicked(said: &str) -> bool {
    said.contains("panic at ") || said.contains(r#""message":"panic""#)
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Where a stack looks for ports: no test that runs meanwhile has one there, also not while this one's stack is stopped.
#[expect(clippy::disallowed_methods, reason = "the runner's number, no setting")]
fn ports_from() -> u16 {
    const SLOTS: u16 = 32;
    const STACKS: u16 = 7;
    const BLOCK: u16 = 64;
    static STARTED: AtomicU16 = AtomicU16::new(0);
    let slot: u16 = std::env::var("NEXTEST_TEST_GLOBAL_SLOT").map_or(0, |slot| slot.parse().unwrap());
    15_000 + (slot % SLOTS * STACKS + STARTED.fetch_add(1, Ordering::Relaxed) % STACKS) * BLOCK
}

/// `latchkey up`, for who starts it without [`Stack`].
pub fn program_up() -> Command {
    let mut command = program();
    command.args(["up", "--ports-from", &ports_from().to_string()]);
    command
}

fn up(folder: &Path, state_dir: &Path, arguments: &[&str], variables: &[(String, String)]) -> Child {
    let out = |name: &str| fs::File::create(folder.join(name)).unwrap();
    program_up()
        .args(arguments)
        .arg("--state-dir")
        .arg(state_dir)
        .envs(variables.iter().cloned())
        .stdin(Stdio::null())
        .stdout(out("up.out"))
        .stderr(out("up.err"))
        .spawn()
        .unwrap()
}

async fn started(up: &mut Child, state_dir: &Path) -> Result<StackFile, ExitStatus> {
    eventually("the stack is up or gives up", async || match read(&state_dir.join("stack.json")) {
        Some(file) => Some(Ok(file)),
        None => up.try_wait().unwrap().map(Err),
    })
    .await
}

fn read(path: &Path) -> Option<StackFile> {
    let text = fs::read(path).ok()?;
    Some(serde_json::from_slice(&text).expect("stack.json is whole whenever it is there"))
}

fn logs(state_dir: &Path) -> String {
    let mut all = String::new();
    for entry in fs::read_dir(state_dir.join("logs")).into_iter().flatten().flatten() {
        all.push_str(&format!("--- {}\n", entry.file_name().to_string_lossy()));
        all.push_str(&fs::read_to_string(entry.path()).unwrap_or_default());
    }
    all
}

#[test]
#[ignore = "a child of another test"]
fn child_panics() {
    chassis::process::prepare();
    let _ = std::thread::spawn(|| panic!("hunter2")).join();
}

#[test]
fn a_panic_is_told_by_what_a_process_says() {
    let mut child = Command::new(std::env::current_exe().unwrap());
    let ran = child.args(["--ignored", "--exact", "--nocapture", "stack::child_panics"]).output().unwrap();
    assert!(ran.status.success() && has_panicked(&text(&ran.stderr)), "{}", text(&ran.stderr));
    assert!(!has_panicked("nobody panicked"));
}
