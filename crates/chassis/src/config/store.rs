//! `[store]`: where a service keeps its rows, and how long calls wait for them.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::{postgres, sqlite};

/// `[store]`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Store {
    /// `sqlite:PATH`, `postgres://ROLE@HOST/DATABASE`, or another word that the service knows.
    pub url: String,
    /// PostgreSQL: where the role's password is. Empty: it has none.
    pub password_file: PathBuf,
    /// PostgreSQL: all tables are in it.
    pub schema: String,
    /// PostgreSQL: the most at once.
    pub connections: u32,
    /// PostgreSQL: for a whole operation.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// SQLite.
    pub readers: u32,
    /// SQLite.
    #[serde(with = "humantime_serde")]
    pub read_wait: Duration,
    /// SQLite.
    #[serde(with = "humantime_serde")]
    pub write_wait: Duration,
}

impl Store {
    /// `None`: the URL names no SQLite file.
    ///
    /// SQLite's own names for databases in memory are refused: every connection would see one of its own.
    pub fn sqlite(&self) -> Option<sqlite::Settings> {
        let path = self.url.strip_prefix("sqlite:")?;
        let path = path.strip_prefix("//").unwrap_or(path);
        if path.is_empty() || path.contains(":memory:") || path.contains('?') {
            return None;
        }
        let Self { readers, read_wait, write_wait, .. } = *self;
        Some(sqlite::Settings { path: PathBuf::from(path), readers, read_wait, write_wait })
    }

    /// `None`: the URL names no PostgreSQL database.
    pub fn postgres(&self) -> Option<postgres::Settings> {
        self.is_postgres().then_some(())?;
        let password_file = Some(self.password_file.clone()).filter(|path| !path.as_os_str().is_empty());
        Some(postgres::Settings {
            server: self.url.parse().ok()?,
            password_file,
            tls_files: tls_files(&self.url),
            schema: self.schema.clone(),
            connections: self.connections,
            timeout: self.timeout,
        })
    }

    fn is_postgres(&self) -> bool {
        ["postgres://", "postgresql://"].iter().any(|scheme| self.url.starts_with(scheme))
    }

    /// Everything that is wrong. `others` are the URLs that the service knows beside SQLite's and PostgreSQL's.
    pub fn problems(&self, others: &[&str]) -> Vec<String> {
        let mut problems = Vec::new();
        if self.is_postgres() {
            problems.extend(self.problems_of_postgres());
        } else if self.sqlite().is_none() && !others.contains(&self.url.as_str()) {
            let others: String = others.iter().map(|other| format!("{other}, or ")).collect();
            problems.push(format!(
                "url: must be {others}sqlite:PATH, such as sqlite:/var/lib/latchkey/store.sqlite, or \
                 postgres://ROLE@HOST/DATABASE"
            ));
        }
        if !is_identifier(&self.schema) {
            problems.push(
                "schema: must be a letter or _, then letters, digits and _: lower case, at most 63"
                    .to_owned(),
            );
        }
        if !(1..=1000).contains(&self.connections) {
            problems.push("connections: must be 1 to 1000".to_owned());
        }
        if !(1..=64).contains(&self.readers) {
            problems.push("readers: must be 1 to 64".to_owned());
        }
        let waits =
            [("timeout", self.timeout), ("read_wait", self.read_wait), ("write_wait", self.write_wait)];
        for (key, wait) in waits {
            if wait.is_zero() || wait > Duration::from_secs(60) {
                problems.push(format!("{key}: must be longer than 0s and at most 60s"));
            }
        }
        problems
    }

    fn problems_of_postgres(&self) -> Option<String> {
        let url = match Url::parse(&self.url) {
            Ok(url) => url,
            Err(error) => return Some(format!("url: {error}")),
        };
        if url.password().is_some() || url.query_pairs().any(|(key, _)| key == "password") {
            return Some(
                "url: holds a password: write it into a file, and that file's name into store.password_file"
                    .to_owned(),
            );
        }
        if url.username().is_empty() {
            return Some("url: names no role, as in postgres://ROLE@HOST/DATABASE".to_owned());
        }
        if url.path().len() < 2 {
            return Some("url: names no database, as in postgres://ROLE@HOST/DATABASE".to_owned());
        }
        if self.postgres().is_none() {
            return Some("url: is not what PostgreSQL's clients understand".to_owned());
        }
        let names = |wanted: &[&str]| url.query_pairs().any(|(key, _)| wanted.contains(&key.as_ref()));
        if !is_here(&url) && !names(&["sslmode", "ssl-mode"]) {
            let to = "must say how far the way there is trusted: add ?sslmode=verify-full";
            return Some(format!(
                "url: {to}, or in so many words another of PostgreSQL's modes, such as disable"
            ));
        }
        None
    }
}

/// The files of a `postgres://` URL, by all the names that its driver knows for them.
fn tls_files(url: &str) -> Vec<PathBuf> {
    const NAMES: [&str; 7] =
        ["sslrootcert", "ssl-root-cert", "ssl-ca", "sslcert", "ssl-cert", "sslkey", "ssl-key"];
    let named = |url: Url| {
        let files = url.query_pairs().filter(|(key, _)| NAMES.contains(&key.as_ref()));
        files.map(|(_, path)| PathBuf::from(path.into_owned())).collect()
    };
    Url::parse(url).map(named).unwrap_or_default()
}

/// Whether what is sent there stays on this machine.
fn is_here(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    // A socket's folder is written as a host: %2Fvar%2Frun%2Fpostgresql.
    let is_socket = host.is_empty() || host.to_ascii_lowercase().starts_with("%2f");
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    is_socket || host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// What PostgreSQL takes for a name without quotes, as it writes it itself.
fn is_identifier(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    name.len() <= 63
        && name.bytes().next().is_some_and(is_letter)
        && name.bytes().all(|byte| is_letter(byte) || byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn store(url: &str) -> Store {
        let wait = Duration::from_secs(1);
        Store {
            url: url.to_owned(),
            password_file: PathBuf::new(),
            schema: "latchkey".to_owned(),
            connections: 1,
            timeout: wait,
            readers: 1,
            read_wait: wait,
            write_wait: wait,
        }
    }

    #[test]
    fn urls() {
        for (url, file) in [
            ("sqlite:a.sqlite", "a.sqlite"),
            ("sqlite:/var/lib/a.sqlite", "/var/lib/a.sqlite"),
            ("sqlite:///var/lib/a.sqlite", "/var/lib/a.sqlite"),
        ] {
            assert_eq!(store(url).sqlite().unwrap().path, PathBuf::from(file), "{url}");
            assert!(store(url).problems(&[]).is_empty(), "{url}");
        }
        for url in [
            "",
            "sqlite:",
            "sqlite://",
            "sqlite::memory:",
            "memory",
            "a.sqlite",
            "sqlite:a?mode=memory",
            "mysql://localhost/a",
        ] {
            assert!(store(url).sqlite().is_none(), "{url}");
            assert_eq!(store(url).problems(&[]).len(), 1, "{url}");
        }
        assert!(store("memory").problems(&["memory"]).is_empty());
        assert!(store("x").problems(&["memory"])[0].starts_with("url: must be memory, or sqlite:PATH"));
    }

    #[test]
    fn urls_of_postgres() {
        for url in [
            "postgres://latchkey@localhost/latchkey",
            "postgresql://latchkey@127.0.0.1:5433/latchkey",
            "postgres://latchkey@[::1]/latchkey",
            "postgres://latchkey@%2Fvar%2Frun%2Fpostgresql/latchkey",
            "postgres://latchkey@db.internal/latchkey?sslmode=verify-full&sslrootcert=/etc/ca.pem",
            "postgres://latchkey@db.internal/latchkey?sslmode=disable",
        ] {
            assert_eq!(store(url).problems(&[]), Vec::<String>::new(), "{url}");
            assert_eq!(store(url).postgres().unwrap().schema, "latchkey", "{url}");
            assert!(store(url).sqlite().is_none(), "{url}");
        }
        for (url, said) in [
            ("postgres://latchkey:secret@localhost/latchkey", "store.password_file"),
            ("postgres://latchkey@localhost/latchkey?password=secret", "store.password_file"),
            ("postgres://localhost/latchkey", "no role"),
            ("postgres://latchkey@localhost", "no database"),
            ("postgres://latchkey@localhost:port/latchkey", "port"),
            ("postgres://latchkey@localhost/latchkey?sslmode=perhaps", "not what"),
            ("postgres://latchkey@db.internal/latchkey", "sslmode=verify-full"),
            ("postgres://latchkey@10.0.0.1/latchkey", "sslmode=verify-full"),
        ] {
            let problems = store(url).problems(&[]);
            assert!(problems.len() == 1 && problems[0].contains(said), "{url}: {problems:?}");
            assert!(!problems[0].contains("secret"), "{problems:?}");
        }
        let with = Store { password_file: "/run/secrets/db".into(), ..store("postgres://a@localhost/b") };
        assert_eq!(with.postgres().unwrap().password_file, Some(PathBuf::from("/run/secrets/db")));
    }

    #[test]
    fn every_file_that_is_named_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        for name in ["password", "root", "certificate", "key"] {
            std::fs::write(path(name), "x").unwrap();
            std::fs::set_permissions(path(name), PermissionsExt::from_mode(0o600)).unwrap();
        }
        let tls =
            format!("sslrootcert={}&sslcert={}&ssl-key={}", path("root"), path("certificate"), path("key"));
        let url = format!("postgres://a@db.internal/b?sslmode=verify-full&{tls}");
        let settings = Store { password_file: path("password").into(), ..store(&url) }.postgres().unwrap();
        settings.read_files().unwrap();
        for name in ["password", "root", "certificate", "key"] {
            let aside = path("aside");
            std::fs::rename(path(name), &aside).unwrap();
            let said = settings.read_files().unwrap_err().to_string();
            assert!(said.starts_with("store.") && said.contains(&path(name)), "{said}");
            std::fs::rename(aside, path(name)).unwrap();
        }
        store("postgres://a@localhost/b").postgres().unwrap().read_files().unwrap();
    }

    #[test]
    fn bad_numbers_are_told_together() {
        let minute = Duration::from_secs(60);
        let bad = Store {
            schema: "Auth; drop".to_owned(),
            connections: 0,
            timeout: Duration::ZERO,
            readers: 0,
            read_wait: Duration::ZERO,
            write_wait: 2 * minute,
            ..store("")
        };
        let keys: Vec<String> =
            bad.problems(&[]).iter().map(|problem| problem.split(':').next().unwrap().to_owned()).collect();
        assert_eq!(keys, ["url", "schema", "connections", "readers", "timeout", "read_wait", "write_wait"]);
        let most = Store { readers: 64, read_wait: minute, write_wait: minute, ..store("sqlite:a") };
        assert!(most.problems(&[]).is_empty());
    }
}
