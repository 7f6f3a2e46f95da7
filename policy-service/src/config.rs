//! What can be configured: `config/default.toml` says it in full, and this gives it types.

use std::path::Path;

use chassis::config::{
    self, Access, ConfigError, Log, Operations, Resolved, Server, Shutdown, Store, Tls, Validate, prefixed,
};
use feed::grpc::Feed;
use serde::Deserialize;

/// The commented defaults; the reference manual is generated from them.
pub const DEFAULTS: &str = include_str!("../config/default.toml");

/// All of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub server: Server,
    pub tls: Tls,
    pub access: Access,
    pub operations: Operations,
    pub feed: Feed,
    pub log: Log,
    pub shutdown: Shutdown,
    pub store: Store,
}

/// The defaults, then `file`, then the environment.
pub fn config_from(file: Option<&Path>) -> Result<Resolved<Config>, ConfigError> {
    config::resolve(DEFAULTS, file, config::environment())
}

impl Validate for Config {
    fn problems(&self) -> Vec<String> {
        let Self { server, tls, access, operations, feed, log, shutdown, store } = self;
        [
            prefixed("server", server.problems()),
            prefixed("tls", tls.problems()),
            prefixed("access", access.problems()),
            prefixed("operations", operations.problems()),
            prefixed("feed", feed.problems(tls.mode)),
            prefixed("log", log.problems()),
            prefixed("shutdown", shutdown.problems()),
            prefixed("store", store.problems(&[])),
        ]
        .concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(env: &[(&str, &str)]) -> Vec<String> {
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        match config::load::<Config>(DEFAULTS, None, env) {
            Ok(_) => Vec::new(),
            Err(error) => error.problems.into_iter().map(|problem| problem.key).collect(),
        }
    }

    #[test]
    fn the_defaults_lack_only_what_must_be_given() {
        assert_eq!(problems(&[]), ["tls.certificate", "tls.key", "tls.authority", "tls.domain"]);
        assert!(problems(&[("LATCHKEY__TLS__MODE", "external")]).is_empty());
    }

    #[test]
    fn who_is_admitted_is_somebody_new_with_a_name_that_a_certificate_can_hold() {
        let with = |services: &str| {
            problems(&[("LATCHKEY__TLS__MODE", "external"), ("LATCHKEY__ACCESS__SERVICES", services)])
        };
        assert!(with(r#"["reports", "billing-2"]"#).is_empty());
        for bad in ["gateway", "operator", "mesh", "(admitted)", "Reports", ""] {
            assert_eq!(with(&format!("[{bad:?}]")), ["access.services"], "{bad:?}");
        }
    }

    #[test]
    fn bad_store_settings_are_told_together() {
        let found = problems(&[
            ("LATCHKEY__TLS__MODE", "external"),
            ("LATCHKEY__STORE__URL", "postgres://localhost/policy"),
            ("LATCHKEY__STORE__READERS", "0"),
            ("LATCHKEY__STORE__READ_WAIT", "0s"),
            ("LATCHKEY__STORE__WRITE_WAIT", "61s"),
        ]);
        assert_eq!(found, ["store.url", "store.readers", "store.read_wait", "store.write_wait"]);
    }
}
