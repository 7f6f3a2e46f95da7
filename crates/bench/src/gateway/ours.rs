//! Our own gateway: a whole stack from `latchkey up`, and beside it one gateway with one worker thread in front of the
//! upstream that all variants share.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use serde_json::Value;

use super::{Headers, Variant};
use crate::{
    http::{json, string},
    process::{self, free_address},
};

pub const TOKEN_ROUTE: &str = "latchkey, token route";
/// Named with the store that its sessions are read from on every request.
pub const SESSION_ROUTE: &str = "latchkey, session route, Redis";

/// Each is a route of the same gateway process; see `gateways`.
const ROUTES: [(&str, &str, &str, Headers); 4] = [
    ("latchkey, open route", "/open", "accept = []", Headers::None),
    (TOKEN_ROUTE, "/token", "accept = [\"token\"]", Headers::GatewayToken),
    (SESSION_ROUTE, "/session", "accept = [\"session\"]", Headers::SessionCookie),
    (
        "latchkey, permission route",
        "/permission",
        "accept = [\"token\"]\nrequire = { permission = \"latchkey:users\" }",
        Headers::GatewayToken,
    ),
];

pub struct Stack {
    child: Child,
    folder: PathBuf,
    description: Value,
}

impl Stack {
    pub fn start(folder: &Path) -> anyhow::Result<Self> {
        Self::start_with(folder, &[])
    }

    /// With further arguments of `latchkey up`.
    pub fn start_with(folder: &Path, arguments: &[&str]) -> anyhow::Result<Self> {
        fs::create_dir_all(folder)?;
        // Of an earlier start; it would be taken for this one's.
        fs::remove_file(folder.join("stack.json")).ok();
        let log = fs::File::create(folder.with_extension("log"))?;
        let binary = latchkey()?;
        let mut command = Command::new(&binary);
        command.args(["up", "--port", "0", "--state-dir"]).arg(folder).args(arguments);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut child = command.spawn().with_context(|| binary.display().to_string())?;
        let began = Instant::now();
        let description = loop {
            if let Some(description) =
                fs::read(folder.join("stack.json")).ok().and_then(|text| serde_json::from_slice(&text).ok())
            {
                break description;
            }
            if let Some(status) = child.try_wait()? {
                bail!(
                    "latchkey up ended with {status}: {}",
                    fs::read_to_string(folder.with_extension("log"))?
                );
            }
            if began.elapsed() > Duration::from_secs(60) {
                child.kill().ok();
                bail!("latchkey up is not ready after a minute");
            }
            thread::sleep(Duration::from_millis(2));
        };
        Ok(Self { child, folder: folder.to_owned(), description })
    }

    /// As [`Stack::start_with`], with one of its processes alone on a core: from its start, so that it knows that it has one.
    /// Everything else, and whoever calls, is on the other.
    pub fn start_apart(
        folder: &Path,
        arguments: &[&str],
        process: &str,
        (core, rest): (usize, usize),
    ) -> anyhow::Result<Self> {
        let caller = std::process::id();
        process::pin(caller, core)?;
        let stack = Self::start_with(folder, arguments)?;
        for (name, pid) in stack.processes()? {
            if name != process {
                process::pin(pid, rest)?;
            }
        }
        process::pin(stack.child.id(), rest)?;
        process::pin(caller, rest)?;
        Ok(stack)
    }

    pub fn issuer(&self) -> anyhow::Result<String> {
        string(&self.description, "/gateways/0").map(|url| url.trim_end_matches('/').to_owned())
    }

    /// The gateways' public addresses.
    pub fn gateway_urls(&self) -> anyhow::Result<Vec<String>> {
        let urls = self.description.get("gateways").context("no gateways in stack.json")?;
        let urls: Vec<String> = serde_json::from_value(urls.clone())?;
        Ok(urls.into_iter().map(|url| url.trim_end_matches('/').to_owned()).collect())
    }

    /// The processes of the stack, by name, with their ids.
    pub fn processes(&self) -> anyhow::Result<Vec<(String, u32)>> {
        let pids = self.description.get("pids").context("no pids in stack.json")?;
        Ok(serde_json::from_value::<BTreeMap<_, _>>(pids.clone())?.into_iter().collect())
    }

    /// The operations listeners, by process.
    pub fn operations(&self) -> anyhow::Result<BTreeMap<String, SocketAddr>> {
        let urls = self.description.get("operations").context("no operations in stack.json")?;
        let urls: BTreeMap<String, String> = serde_json::from_value(urls.clone())?;
        let address = |url: String| url.trim_start_matches("http://").trim_end_matches('/').parse();
        urls.into_iter().map(|(name, url)| Ok((name, address(url)?))).collect()
    }

    /// Where the first replica of a service is.
    pub fn service(&self, name: &str) -> anyhow::Result<String> {
        string(&self.description, &format!("/services/{name}/0"))
    }

    pub fn process(&self, name: &str) -> anyhow::Result<u32> {
        let found = self.processes()?.into_iter().find(|(one, _)| one == name);
        Ok(found.with_context(|| format!("no {name}"))?.1)
    }

    pub fn key_set(&self) -> anyhow::Result<Value> {
        json(&[], &format!("{}/.well-known/jwks.json", self.issuer()?))
    }

    fn login(&self, mode: &str, arguments: &[&str]) -> anyhow::Result<Value> {
        let password = fs::read_to_string(string(&self.description, "/admin/password_file")?)?;
        let body = serde_json::json!({ "identifier": "admin", "password": password.trim(), "mode": mode })
            .to_string();
        let mut all = vec!["-H", "content-type: application/json", "-d", &body];
        all.extend(arguments);
        json(&all, &format!("{}/v1/login", self.issuer()?))
    }

    /// Headers with a credential that is good now.
    pub fn headers(&self, kind: Headers) -> anyhow::Result<Vec<String>> {
        Ok(match kind {
            Headers::None => Vec::new(),
            Headers::GatewayToken => {
                vec![format!(
                    "authorization: Bearer {}",
                    string(&self.login("token", &[])?, "/access_token")?
                )]
            }
            Headers::SignedToken => vec![format!("authorization: Bearer {}", self.signed_token()?)],
            Headers::SessionCookie => vec![format!("cookie: {}", self.session_cookie()?)],
        })
    }

    /// A token for an audience that is not the gateway: signed, not encrypted.
    fn signed_token(&self) -> anyhow::Result<String> {
        let file = self.folder.join("bench-client.json");
        if !file.exists() {
            let admin = string(&self.login("token", &[])?, "/access_token")?;
            let internal = string(&self.description, "/internal/0")?;
            let client = json(
                &[
                    "-H",
                    &format!("authorization: Bearer {admin}"),
                    "-H",
                    "content-type: application/json",
                    "-d",
                    r#"{"name":"bench","audiences":["bench"],"scopes":[]}"#,
                ],
                &format!("{}/v1/admin/clients", internal.trim_end_matches('/')),
            )?;
            fs::write(&file, client.to_string())?;
        }
        let client: Value = serde_json::from_slice(&fs::read(&file)?)?;
        let (id, secret) = (string(&client, "/id")?, string(&client, "/client_secret")?);
        let tokens = json(
            &["-u", &format!("{id}:{secret}"), "-d", "grant_type=client_credentials"],
            &format!("{}/oauth2/token", self.issuer()?),
        )?;
        string(&tokens, "/access_token")
    }

    fn session_cookie(&self) -> anyhow::Result<String> {
        let jar = self.folder.join("bench-cookies");
        self.login("session", &["-c", &jar.display().to_string()])?;
        let text = fs::read_to_string(jar)?;
        let line = text
            .lines()
            .rfind(|line| line.contains("latchkey-session"))
            .context("no session cookie was set")?;
        let mut fields = line.split('\t').skip(5);
        Ok(format!("{}={}", fields.next().context("cookie name")?, fields.next().context("cookie value")?))
    }

    /// One gateway with one worker thread, a copy of the stack's own but for its listeners and routes; once for each route.
    pub fn gateways(&self, folder: &Path, upstream: SocketAddr) -> anyhow::Result<Vec<Variant>> {
        let mut variants = Vec::new();
        for (name, path, rules, headers) in ROUTES {
            let folder = folder.join(path.trim_start_matches('/'));
            fs::create_dir_all(&folder)?;
            let routes = folder.join("routes.toml");
            fs::write(
                &routes,
                format!(
                    "[upstream.app]\nendpoints = [\"http://{upstream}\"]\n\n[[route]]\npath = \"{path}\"\nupstream = \"app\"\n{rules}\n"
                ),
            )?;
            let listen = free_address()?;
            let mut configuration: toml::Table =
                fs::read_to_string(self.folder.join("config/gateway-0.toml"))?.parse()?;
            set(&mut configuration, "server", "listen", listen.to_string().into())?;
            configuration.insert("workers".into(), 1.into());
            configuration.insert("routes".into(), routes.display().to_string().into());
            set(&mut configuration, "operations", "listen", free_address()?.to_string().into())?;
            configuration.remove("internal");
            let file = folder.join("gateway.toml");
            fs::write(&file, configuration.to_string())?;
            let arguments =
                ["serve", "gateway", "--config", &file.display().to_string()].map(str::to_owned).to_vec();
            variants.push(
                Variant::new(name, &latchkey()?.display().to_string(), arguments, listen).with(path, headers),
            );
        }
        Ok(variants)
    }
}

fn set(configuration: &mut toml::Table, section: &str, key: &str, value: toml::Value) -> anyhow::Result<()> {
    configuration
        .entry(section)
        .or_insert_with(|| toml::Table::new().into())
        .as_table_mut()
        .with_context(|| format!("{section} is no table"))?
        .insert(key.into(), value);
    Ok(())
}

/// The binary beside this one.
pub fn latchkey() -> anyhow::Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name("latchkey"))
}

impl Drop for Stack {
    fn drop(&mut self) {
        // Asked, not killed: it has children of its own to stop.
        Command::new("kill").arg(self.child.id().to_string()).status().ok();
        self.child.wait().ok();
    }
}
