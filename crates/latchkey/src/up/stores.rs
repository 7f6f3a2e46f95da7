//! Where the services of a stack keep what they know: `--database` and `--sessions`.

use anyhow::{Result, anyhow, bail};
use auth_service::config as auth;
use chassis::config::Validate;
use serde::de::DeserializeOwned;
use session_service::config as session;
use toml::{Table, Value};
use url::Url;

use super::layout::Layout;
use super::replicas::Replicas;
use crate::private_file;

/// Where sessions are kept when nothing needs to survive.
const MEMORY: &str = "memory";

/// What an option takes, in words and as a URL begins.
const DATABASE: (&str, &[&str]) =
    ("sqlite, or postgres://ROLE@HOST/DATABASE", &["postgres://", "postgresql://"]);
const SESSIONS: (&str, &[&str]) = (
    "sqlite, memory, postgres://ROLE@HOST/DATABASE, or redis://HOST:PORT/DB (rediss:// for TLS)",
    &["sqlite:", "postgres://", "postgresql://", "redis://", "rediss://"],
);

/// The choice, looked over. Passwords are in files, not in it.
#[derive(Debug, Clone)]
pub struct Stores {
    database: Store,
    sessions: Store,
}

#[derive(Debug, Clone)]
enum Store {
    Sqlite,
    Url { url: String, password_file: Option<String> },
}

impl Stores {
    /// `database` and `sessions` as on the command line; a password in a URL goes to a file of its own.
    pub fn choose(
        layout: &Layout,
        database: &str,
        sessions: Option<&str>,
        replicas: &Replicas,
    ) -> Result<Stores> {
        let of_auth = |store: &Store| problem_of::<auth::Config>(auth::DEFAULTS, store);
        let of_session = |store: &Store| problem_of::<session::Config>(session::DEFAULTS, store);
        let database = Asked { option: "--database", text: database, takes: DATABASE };
        let sessions = match sessions {
            Some(text) => Asked { option: "--sessions", text, takes: SESSIONS },
            None => database,
        };
        if database.text == MEMORY {
            return Err(database.is_none_of_these());
        }
        if sessions.text == MEMORY && replicas.session > 1 {
            bail!(
                "--sessions memory is for one session-service: {} would each know only their own sessions; take \
                 --replicas session=1, or a store that they share",
                replicas.session
            );
        }
        Ok(Stores {
            database: database.store(layout, "database-password", of_auth)?,
            sessions: sessions.store(layout, "sessions-password", of_session)?,
        })
    }

    /// `[store]` of `service`.
    pub fn of(&self, service: &str, layout: &Layout) -> Value {
        let store = if service == "session" { &self.sessions } else { &self.database };
        let mut table = Table::new();
        match store {
            Store::Sqlite => {
                let url = format!("sqlite:{}", layout.database(service).display());
                table.insert("url".into(), url.into());
            }
            Store::Url { url, password_file } => {
                table.insert("url".into(), url.clone().into());
                if let Some(file) = password_file {
                    table.insert("password_file".into(), file.clone().into());
                }
            }
        }
        Value::Table(table)
    }
}

/// One of the options, as it was given.
#[derive(Clone, Copy)]
struct Asked<'a> {
    option: &'static str,
    text: &'a str,
    takes: (&'static str, &'static [&'static str]),
}

impl Asked<'_> {
    /// What can be wrong with it is said before anything starts, and of the option: a service would speak of `store.url` in a file
    /// that the user has never seen.
    fn store(
        self,
        layout: &Layout,
        password_file: &str,
        problem_of: impl Fn(&Store) -> Option<String>,
    ) -> Result<Store> {
        if self.text == "sqlite" {
            return Ok(Store::Sqlite);
        }
        let (_, schemes) = self.takes;
        if self.text != MEMORY && !schemes.iter().any(|scheme| self.text.starts_with(scheme)) {
            return Err(self.is_none_of_these());
        }
        let (url, password) = without_password(self.text);
        if let Some(problem) = problem_of(&Store::Url { url: url.clone(), password_file: None }) {
            bail!("{} {}: {problem}", self.option, shown(&url));
        }
        let Some(password) = password else { return Ok(Store::Url { url, password_file: None }) };
        let path = layout.secret(password_file);
        private_file::write(&path, password.as_bytes())?;
        Ok(Store::Url { url, password_file: Some(path.to_string_lossy().into_owned()) })
    }

    fn is_none_of_these(self) -> anyhow::Error {
        let ((words, _), (url, _)) = (self.takes, without_password(self.text));
        anyhow!("{} {}: must be {words}", self.option, shown(&url))
    }
}

/// What is wrong with the URL, in the words of the service whose configuration `T` is.
fn problem_of<T: DeserializeOwned + Validate>(defaults: &str, store: &Store) -> Option<String> {
    let Store::Url { url, .. } = store else { return None };
    let mut config: Table = defaults.parse().ok()?;
    config.get_mut("store")?.as_table_mut()?.insert("url".into(), url.clone().into());
    let config: T = config.try_into().ok()?;
    config.problems().iter().find_map(|problem| problem.strip_prefix("store.url: ").map(str::to_owned))
}

/// The URL, and the password that was in it.
fn without_password(text: &str) -> (String, Option<String>) {
    let Ok(mut url) = Url::parse(text) else { return (without_user(text), None) };
    let Some(password) = url.password().map(percent_decoded) else { return (text.to_owned(), None) };
    match url.set_password(None) {
        Ok(()) => (url.into(), Some(password)),
        Err(()) => (text.to_owned(), None),
    }
}

/// Of what is no URL, to be shown: what looks like a user's part may have a password.
fn without_user(text: &str) -> String {
    match (text.split_once("://"), text.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://{rest}"),
        _ => text.to_owned(),
    }
}

/// A URL's parameters may be secrets: PostgreSQL's clients know `?password=`.
fn shown(url: &str) -> &str {
    url.split_once('?').map_or(url, |(before, _)| before)
}

/// As a URL's user part is written: `%XX`.
fn percent_decoded(text: &str) -> String {
    url::form_urlencoded::parse(text.replace('+', "%2B").as_bytes())
        .map(|(decoded, _)| decoded.into_owned())
        .next()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one() -> Replicas {
        "1".parse().unwrap()
    }

    fn layout(folder: &tempfile::TempDir) -> Layout {
        let layout = Layout::at(folder.path()).unwrap();
        layout.create().unwrap();
        layout
    }

    #[test]
    fn sessions_are_where_everything_is_unless_said_otherwise() {
        let folder = tempfile::tempdir().unwrap();
        let layout = layout(&folder);
        let url = |stores: &Stores, service| stores.of(service, &layout)["url"].as_str().unwrap().to_owned();
        let stores = Stores::choose(&layout, "sqlite", None, &one()).unwrap();
        assert!(url(&stores, "session").starts_with("sqlite:"));
        assert_ne!(url(&stores, "session"), url(&stores, "auth"));
        let postgres = "postgres://latchkey@localhost/latchkey";
        let stores = Stores::choose(&layout, postgres, None, &one()).unwrap();
        for service in ["auth", "session", "policy"] {
            assert_eq!(url(&stores, service), postgres);
        }
        let stores = Stores::choose(&layout, postgres, Some("memory"), &one()).unwrap();
        assert_eq!((url(&stores, "session").as_str(), url(&stores, "auth").as_str()), ("memory", postgres));
    }

    #[test]
    fn a_password_goes_to_a_private_file() {
        let folder = tempfile::tempdir().unwrap();
        let layout = layout(&folder);
        let stores =
            Stores::choose(&layout, "postgres://me:p%40ss+w@localhost/db", Some("sqlite"), &one()).unwrap();
        let table = stores.of("auth", &layout);
        assert_eq!(table["url"].as_str(), Some("postgres://me@localhost/db"));
        let file = table["password_file"].as_str().unwrap();
        assert_eq!(chassis::secret::read(file.as_ref()).unwrap().text().unwrap(), "p@ss+w");
    }

    #[test]
    fn what_cannot_be_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let layout = layout(&folder);
        let refused = |database: &str, sessions: Option<&str>, replicas: &str| {
            Stores::choose(&layout, database, sessions, &replicas.parse().unwrap()).unwrap_err().to_string()
        };
        assert!(refused("mysql://localhost", None, "1").contains("--database mysql://localhost"));
        assert!(refused("memory", None, "1").contains("--database memory"));
        assert!(refused("sqlite", Some("nonsense"), "1").contains("--sessions nonsense"));
        assert!(refused("sqlite", Some("memory"), "session=2").contains("one session-service"));
        assert!(refused("sqlite", Some("mongodb://x/y"), "1").contains("redis://HOST:PORT/DB"));
        assert!(refused("sqlite", Some("redis://"), "1").starts_with("--sessions redis://: "));
        // Each in the words of the service, and of the option that it was said by.
        let postgres = "postgres://localhost";
        assert!(refused(postgres, None, "1").starts_with(&format!("--database {postgres}: names no role")));
        assert!(
            refused("sqlite", Some(postgres), "1")
                .starts_with("--sessions postgres://localhost: names no role")
        );
    }

    #[test]
    fn what_is_refused_is_shown_without_its_password() {
        let folder = tempfile::tempdir().unwrap();
        let layout = layout(&folder);
        for url in [
            "mongodb://me:very-secret@h/y",
            "redis://me:very-secret@h/0#x",
            "postgres://a@h/d?password=very-secret",
            "redis://me:very-secret@h:99999/0",
        ] {
            let error = Stores::choose(&layout, "sqlite", Some(url), &one()).unwrap_err().to_string();
            assert!(error.starts_with("--sessions ") && !error.contains("very-secret"), "{error}");
        }
    }
}
