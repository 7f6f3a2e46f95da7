//! What can be wrong with well-formed values, all of it said at once.

use std::time::Duration;

use chassis::config::{Validate, prefixed};

use super::{
    Config, Endings, FirstParty, Hashing, Password, Refresh, Signing, Sweep, Throttle, Token, is_audience,
};
use crate::domain::claims::LONGEST_TOKEN;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// NIST SP 800-63B-4 §3.1.1.2, for a password that is the only factor.
const LEAST_CHARACTERS: usize = 15;
/// The longest window that O10 allows.
const LONGEST_GRACE: Duration = Duration::from_secs(10);

impl Validate for Config {
    fn problems(&self) -> Vec<String> {
        let Self {
            issuer,
            server,
            tls,
            access,
            operations,
            feed,
            log,
            shutdown,
            peers,
            store,
            first_party,
            audience: _,
            token,
            refresh,
            signing,
            registration: _,
            password,
            hashing,
            throttle,
            endings,
            sweep,
        } = self;
        let mut problems = Vec::new();
        if issuer.is_empty() {
            problems.push("issuer: must be set to the gateway's public URL".to_owned());
        }
        problems.extend(prefixed("server", server.problems()));
        problems.extend(prefixed("tls", tls.problems()));
        problems.extend(prefixed("access", access.problems()));
        problems.extend(prefixed("operations", operations.problems()));
        problems.extend(prefixed("feed", feed.problems(tls.mode)));
        problems.extend(prefixed("log", log.problems()));
        problems.extend(prefixed("shutdown", shutdown.problems()));
        problems.extend(prefixed("peers.policy", peers.policy.problems(tls.mode)));
        problems.extend(prefixed("store", store.problems(&[])));
        problems.extend(prefixed("first_party", first_party.problems()));
        problems.extend(audience_problems(self));
        problems.extend(prefixed("token", token.problems()));
        problems.extend(prefixed("refresh", refresh.problems()));
        problems.extend(prefixed("signing", signing.problems()));
        problems.extend(prefixed("password", password.problems()));
        problems.extend(prefixed("hashing", hashing.problems()));
        problems.extend(prefixed("throttle", throttle.problems()));
        problems.extend(prefixed("endings", endings.problems()));
        problems.extend(prefixed("sweep", sweep.problems()));
        problems
    }

    fn open_tables() -> &'static [&'static str] {
        &["audience"]
    }
}

fn audience_problems(config: &Config) -> Vec<String> {
    let mut problems = Vec::new();
    for name in config.audience.keys() {
        if *name == config.first_party.audience {
            problems.push(format!(
                "audience.{name}: is the first-party audience; its key is first_party.encrypt_to"
            ));
        } else if !is_audience(name) {
            problems.push(format!("audience.{name}: is not a name that tokens can be issued for"));
        }
    }
    problems
}

impl Validate for Endings {
    fn problems(&self) -> Vec<String> {
        if self.longest_session > 400 * DAY {
            return vec!["longest_session: must be at most 400days".to_owned()];
        }
        Vec::new()
    }
}

impl Validate for FirstParty {
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if !is_audience(&self.audience) {
            problems.push("audience: is not a name that tokens can be issued for".to_owned());
        }
        if self.encrypt_to.as_os_str().is_empty() {
            problems.push("encrypt_to: must be set to the file with the gateway's public key".to_owned());
        }
        problems
    }
}

impl Validate for Token {
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.access_lifetime < Duration::from_secs(1) || self.access_lifetime > LONGEST_TOKEN {
            problems.push("access_lifetime: must be 1s to 1day".to_owned());
        }
        if self.proof_lifetime < Duration::from_secs(1) || self.proof_lifetime > Duration::from_secs(60) {
            problems.push("proof_lifetime: must be 1s to 1m".to_owned());
        }
        problems
    }
}

impl Validate for Refresh {
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.idle < Duration::from_secs(1) {
            problems.push("idle: must be at least 1s".to_owned());
        }
        if self.absolute < self.idle {
            problems.push("absolute: must not be shorter than refresh.idle".to_owned());
        }
        if self.absolute > 3_660 * DAY {
            problems.push("absolute: must be at most 10 years".to_owned());
        }
        if self.grace > LONGEST_GRACE {
            problems.push("grace: must be at most 10s".to_owned());
        }
        problems
    }
}

impl Validate for Signing {
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.master_key.as_os_str().is_empty() {
            problems.push("master_key: must be set to the file with the master key".to_owned());
        }
        if self.jwks_max_age > DAY {
            problems.push("jwks_max_age: must be at most 1day".to_owned());
        }
        if self.look_every < Duration::from_millis(100) || self.look_every > DAY {
            problems.push("look_every: must be 100ms to 1day".to_owned());
        }
        if self.announce_for < self.jwks_max_age.saturating_add(self.look_every) {
            problems.push(
                "announce_for: must not be shorter than signing.jwks_max_age and signing.look_every together"
                    .to_owned(),
            );
        }
        if self.rotate_every < self.announce_for || self.rotate_every < Duration::from_secs(1) {
            problems
                .push("rotate_every: must not be shorter than signing.announce_for, nor than 1s".to_owned());
        }
        if self.rotate_every > 3_660 * DAY {
            problems.push("rotate_every: must be at most 10 years".to_owned());
        }
        problems
    }
}

impl Validate for Password {
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if !(LEAST_CHARACTERS..=64).contains(&self.min_characters) {
            problems.push("min_characters: must be 15 to 64".to_owned());
        }
        problems
    }
}

impl Validate for Hashing {
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.threads > 256 {
            problems.push("threads: must be at most 256".to_owned());
        }
        if !(1..=10_000).contains(&self.queue) {
            problems.push("queue: must be 1 to 10000".to_owned());
        }
        problems
    }
}

impl Validate for Throttle {
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if !(1..=100).contains(&self.free_failures) {
            problems.push("free_failures: must be 1 to 100".to_owned());
        }
        if self.first_delay < Duration::from_millis(100) {
            problems.push("first_delay: must be at least 100ms".to_owned());
        }
        if self.max_delay < self.first_delay || self.max_delay > DAY {
            problems.push("max_delay: must be throttle.first_delay to 1day".to_owned());
        }
        if self.forget_after < Duration::from_secs(60) || self.forget_after > 30 * DAY {
            problems.push("forget_after: must be 1m to 30days".to_owned());
        }
        problems
    }
}

impl Validate for Sweep {
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.interval < Duration::from_millis(100) || self.interval > Duration::from_secs(3600) {
            problems.push("interval: must be 100ms to 1h".to_owned());
        }
        if !(1..=100_000).contains(&self.batch) {
            problems.push("batch: must be 1 to 100000".to_owned());
        }
        problems
    }
}
