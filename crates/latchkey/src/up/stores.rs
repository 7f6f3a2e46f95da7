//! Where the services of a stack keep what they know: `--database` and `--sessions`.

use anyhow::{Context, Result, bail};
use toml::{Table, Value};
use url::Url;

use super::layout::Layout;
use super::replicas::Replicas;
use crate::private_file;

/// Where sessions are kept when nothing needs to survive.
const MEMORY: &str = "memory";

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
        let is_shared = ["postgres://", "postgresql://"].iter().any(|scheme| database.starts_with(scheme));
        if database != "sqlite" && !is_shared {
            bail!("--database {database}: must be sqlite, or postgres://ROLE@HOST/DATABASE");
        }
        let sessions = sessions.unwrap_or(database);
        if sessions == MEMORY && replicas.session > 1 {
            bail!(
                "--sessions memory is for one session-service: {} would each know only their own sessions; take \
                 --replicas session=1, or a store that they share",
                replicas.session
            );
        }
        Ok(Stores {
            database: store(layout, "--database", "database-password", database)?,
            sessions: store(layout, "--sessions", "sessions-password", sessions)?,
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

fn store(layout: &Layout, option: &str, file: &str, text: &str) -> Result<Store> {
    if text == "sqlite" {
        return Ok(Store::Sqlite);
    }
    if text == MEMORY {
        return Ok(Store::Url { url: text.to_owned(), password_file: None });
    }
    let mut url = Url::parse(text).with_context(|| {
        format!("{option} {text}: must be sqlite, or a URL such as postgres://ROLE@HOST/DATABASE")
    })?;
    let Some(password) = url.password().map(str::to_owned) else {
        return Ok(Store::Url { url: text.to_owned(), password_file: None });
    };
    let password = percent_decoded(&password);
    let path = layout.secret(file);
    private_file::write(&path, password.as_bytes())?;
    if url.set_password(None).is_err() {
        bail!("{option}: a URL of this kind has no password");
    }
    Ok(Store::Url { url: url.into(), password_file: Some(path.to_string_lossy().into_owned()) })
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
    }
}
