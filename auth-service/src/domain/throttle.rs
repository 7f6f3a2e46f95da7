//! How fast passwords may be tried for one account from one address: never a hard lock, never free guessing.
//!
//! An attempt is counted before its password is hashed and taken back when it turns out right, so that a burst of
//! parallel attempts gets no more tries than one after another. The key is the account as typed, known or not, and the
//! address: somebody else's failures do not delay the owner elsewhere.

use std::{net::IpAddr, time::Duration};

use aws_lc_rs::digest::{SHA256, digest};
use time::OffsetDateTime;

use super::username::fold;

/// The settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThrottlePolicy {
    /// Failures without any delay.
    pub free: u32,
    /// The delay after the last free failure; it doubles with each further one.
    pub first_delay: Duration,
    pub max_delay: Duration,
    /// A counter is forgotten so long after its delay has passed.
    pub forget_after: Duration,
}

impl ThrottlePolicy {
    /// How long to wait after so many failures.
    pub fn delay(&self, failures: u32) -> Duration {
        match failures.checked_sub(self.free) {
            None => Duration::ZERO,
            Some(beyond) => self
                .first_delay
                .saturating_mul(1_u32.checked_shl(beyond).unwrap_or(u32::MAX))
                .min(self.max_delay),
        }
    }
}

/// Whose failures are counted together. Only a digest of the account is kept: people type passwords into that field.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ThrottleKey {
    pub account: [u8; 32],
    pub address: String,
}

impl ThrottleKey {
    /// `identifier` and `address` as they were sent, whatever they are.
    pub fn new(identifier: &str, address: &str) -> Self {
        let mut account = [0; 32];
        account.copy_from_slice(digest(&SHA256, fold(identifier).as_bytes()).as_ref());
        Self { account, address: network(address) }
    }
}

/// One IPv4 address, or the /64 that one IPv6 subscriber has to himself. What is no address counts as one.
fn network(address: &str) -> String {
    match address.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(IpAddr::V4(address)) => address.to_string(),
        Ok(IpAddr::V6(address)) => {
            let bits = u128::from(address) & (u128::MAX << 64);
            format!("{}/64", std::net::Ipv6Addr::from(bits))
        }
        Err(_) => "unknown".to_owned(),
    }
}

/// The answer to the wish to try a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// Counted as a failure until it is taken back.
    Reserved,
    /// Not before then.
    TooMany { until: OffsetDateTime },
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: ThrottlePolicy = ThrottlePolicy {
        free: 5,
        first_delay: Duration::from_secs(1),
        max_delay: Duration::from_secs(900),
        forget_after: Duration::from_secs(3_600),
    };

    #[test]
    fn delays_double_up_to_the_longest() {
        for (failures, seconds) in [
            (0, 0),
            (4, 0),
            (5, 1),
            (6, 2),
            (7, 4),
            (14, 512),
            (15, 900),
            (36, 900),
            (100, 900),
            (u32::MAX, 900),
        ] {
            assert_eq!(POLICY.delay(failures), Duration::from_secs(seconds), "{failures}");
        }
    }

    #[test]
    fn keys() {
        let key = ThrottleKey::new("Alice", "192.0.2.1");
        assert_eq!(key, ThrottleKey::new("aLICE", "::ffff:192.0.2.1"));
        assert_ne!(key, ThrottleKey::new("bob", "192.0.2.1"));
        assert_ne!(key, ThrottleKey::new("alice", "192.0.2.2"));
        assert_eq!(ThrottleKey::new("a", "2001:db8::1"), ThrottleKey::new("a", "2001:db8::ffff:1"));
        assert_ne!(ThrottleKey::new("a", "2001:db8::1"), ThrottleKey::new("a", "2001:db8:0:1::1"));
        assert_eq!(ThrottleKey::new("a", ""), ThrottleKey::new("a", "nonsense"));
    }
}
