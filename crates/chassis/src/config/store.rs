//! `[store]`: where a service keeps its rows, and how long calls wait for them.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::sqlite;

/// `[store]`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Store {
    /// `sqlite:PATH`, or another word that the service knows.
    pub url: String,
    pub readers: u32,
    #[serde(with = "humantime_serde")]
    pub read_wait: Duration,
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
        let Self { url: _, readers, read_wait, write_wait } = *self;
        Some(sqlite::Settings { path: PathBuf::from(path), readers, read_wait, write_wait })
    }

    /// Everything that is wrong. `others` are the URLs that the service knows beside `sqlite:PATH`.
    pub fn problems(&self, others: &[&str]) -> Vec<String> {
        let mut problems = Vec::new();
        if self.sqlite().is_none() && !others.contains(&self.url.as_str()) {
            let others: String = others.iter().map(|other| format!("{other}, or ")).collect();
            problems.push(format!(
                "url: must be {others}sqlite:PATH, such as sqlite:/var/lib/latchkey/store.sqlite"
            ));
        }
        if !(1..=64).contains(&self.readers) {
            problems.push("readers: must be 1 to 64".to_owned());
        }
        for (key, wait) in [("read_wait", self.read_wait), ("write_wait", self.write_wait)] {
            if wait.is_zero() || wait > Duration::from_secs(60) {
                problems.push(format!("{key}: must be longer than 0s and at most 60s"));
            }
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(url: &str) -> Store {
        let wait = Duration::from_secs(1);
        Store { url: url.to_owned(), readers: 1, read_wait: wait, write_wait: wait }
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
            "postgres://localhost/a",
        ] {
            assert!(store(url).sqlite().is_none(), "{url}");
            assert_eq!(store(url).problems(&[]).len(), 1, "{url}");
        }
        assert!(store("memory").problems(&["memory"]).is_empty());
        assert!(store("x").problems(&["memory"])[0].starts_with("url: must be memory, or sqlite:PATH"));
    }

    #[test]
    fn bad_numbers_are_told_together() {
        let minute = Duration::from_secs(60);
        let bad = Store { readers: 0, read_wait: Duration::ZERO, write_wait: 2 * minute, ..store("") };
        let keys: Vec<String> =
            bad.problems(&[]).iter().map(|problem| problem.split(':').next().unwrap().to_owned()).collect();
        assert_eq!(keys, ["url", "readers", "read_wait", "write_wait"]);
        let most = Store { readers: 64, read_wait: minute, write_wait: minute, ..store("sqlite:a") };
        assert!(most.problems(&[]).is_empty());
    }
}
