//! Where Redis is and how it is spoken to, out of one URL and without a secret in it.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use chassis::secret;
use redis::{Client, ConnectionInfo, IntoConnectionInfo as _, TlsCertificates};
use url::Url;

use super::OpenError;

/// Which server, and how long calls wait for it.
#[derive(Debug, Clone)]
pub struct RedisSettings {
    /// Host, port, database and user.
    server: ConnectionInfo,
    /// PEM. Empty: the authorities that this machine knows.
    authority: Option<PathBuf>,
    password_file: Option<PathBuf>,
    /// For one operation.
    pub(super) timeout: Duration,
}

impl RedisSettings {
    /// Whether a URL is meant for Redis at all.
    pub fn are_meant_by(url: &str) -> bool {
        ["redis://", "rediss://"].iter().any(|scheme| url.starts_with(scheme))
    }

    /// `redis://USER@HOST:PORT/DATABASE`, or `rediss://` for TLS, with `?sslrootcert=FILE` where it is signed by an authority
    /// of one's own. What is wrong is said without showing what may be a secret.
    pub fn new(
        url: &str,
        password_file: Option<PathBuf>,
        timeout: Duration,
    ) -> Result<RedisSettings, String> {
        let mut url = Url::parse(url).map_err(|error| error.to_string())?;
        if url.password().is_some() || url.query_pairs().any(|(key, _)| key == "password") {
            return Err(
                "holds a password: write it into a file, and that file's name into store.password_file"
                    .to_owned(),
            );
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err("names no host, as in redis://HOST:6379/0".to_owned());
        }
        // The client would take it for permission not to look at certificates.
        if url.fragment().is_some() {
            return Err("must not have a part after #".to_owned());
        }
        let mut authority = None;
        for (key, value) in url.query_pairs() {
            if key != "sslrootcert" || url.scheme() != "rediss" {
                return Err(format!("knows no ?{key}: only sslrootcert=FILE, with rediss://"));
            }
            authority = Some(PathBuf::from(value.into_owned()));
        }
        url.set_query(None);
        let server = url
            .into_connection_info()
            .map_err(|_| "must be redis://USER@HOST:PORT/DATABASE, with a number as database".to_owned())?;
        Ok(RedisSettings { server, authority, password_file, timeout })
    }

    /// Who is asked, for people.
    pub(super) fn place(&self) -> String {
        format!("{}, database {}", self.server.addr(), self.server.redis_settings().db())
    }

    /// Reads every file that they name, as a start does, and asks nobody.
    pub fn read_files(&self) -> Result<(), OpenError> {
        self.client().map(drop)
    }

    /// With the password and the authority, read now.
    pub(super) fn client(&self) -> Result<Client, OpenError> {
        let mut server = self.server.clone();
        if let Some(path) = &self.password_file {
            let secret = secret::read(path).map_err(OpenError::Password)?;
            let password = secret.text().map_err(OpenError::Password)?;
            let settings = server.redis_settings().clone().set_password(password);
            server = server.set_redis_settings(settings);
        }
        let made = match &self.authority {
            None => Client::open(server),
            Some(path) => {
                let read = fs::read(path);
                let pem =
                    read.map_err(|source| OpenError::Authority { path: path.display().to_string(), source })?;
                let certificates = TlsCertificates { client_tls: None, root_cert: Some(pem) };
                Client::build_with_tls(server, certificates)
            }
        };
        made.map_err(OpenError::Client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(url: &str) -> Result<RedisSettings, String> {
        RedisSettings::new(url, None, Duration::from_millis(500))
    }

    #[test]
    fn urls() {
        for (url, place) in [
            ("redis://127.0.0.1", "127.0.0.1:6379, database 0"),
            ("redis://localhost:7000/3", "localhost:7000, database 3"),
            ("redis://latchkey@cache.internal/0", "cache.internal:6379, database 0"),
            (
                "rediss://latchkey@cache.internal:6380/1?sslrootcert=/etc/ca.pem",
                "cache.internal:6380, database 1",
            ),
        ] {
            assert!(RedisSettings::are_meant_by(url));
            assert_eq!(of(url).unwrap().place(), place, "{url}");
        }
        for (url, said) in [
            ("redis://latchkey:secret@localhost/0", "store.password_file"),
            ("redis://:secret@localhost/0", "store.password_file"),
            ("redis://localhost/0?password=secret", "store.password_file"),
            ("redis://", "no host"),
            ("redis://localhost/zero", "number"),
            ("redis://localhost:port/0", "port"),
            ("rediss://localhost/0#insecure", "#"),
            ("redis://localhost/0?sslrootcert=/etc/ca.pem", "rediss://"),
            ("rediss://localhost/0?protocol=resp3", "protocol"),
        ] {
            let problem = of(url).unwrap_err();
            assert!(problem.contains(said) && !problem.contains("secret@"), "{url}: {problem}");
        }
        assert!(!RedisSettings::are_meant_by("sqlite:redis://"));
    }

    #[test]
    fn what_is_named_and_not_there_is_told() {
        let secret =
            RedisSettings::new("redis://localhost", Some("/nowhere/password".into()), Duration::ZERO);
        let error = secret.unwrap().client().unwrap_err().to_string();
        assert!(error.contains("store.password_file") && error.contains("/nowhere/password"), "{error}");
        let error = of("rediss://localhost?sslrootcert=/nowhere/ca.pem").unwrap().client().unwrap_err();
        assert!(error.to_string().contains("/nowhere/ca.pem"), "{error}");
    }
}
