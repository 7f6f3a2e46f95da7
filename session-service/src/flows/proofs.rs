//! Whether a login proof is believed, with auth-service's keys as they were published a short while ago.
//!
//! Keys are fetched when there are none, when they are older than their maximal age, and when a proof names one that is
//! not among them: the last at most once in a while, since anybody can write a `kid` into a forged proof. When they
//! cannot be fetched, the answer is that, and not that the proof is bad: the login would look refused, and be repeated by
//! a person instead of by a machine.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use chassis::clock::SharedClock;
use time::OffsetDateTime;
use token::{Expect, KeySet, Refused};
use tokio::sync::Mutex;

use crate::domain::Proof;
use crate::peers::{KeySets, KeysUnavailable};
use crate::store::SpentProof;

/// Between two fetches that a proof with an unknown key may cause.
const UNKNOWN_KEY_INTERVAL: Duration = Duration::from_secs(5);

/// Between two fetches while there are no keys to believe.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// How long a spent proof is remembered after it has expired: a clock that is set back that far makes none good again.
const REMEMBERED: Duration = Duration::from_secs(3600);

pub struct Proofs {
    source: Arc<dyn KeySets>,
    expect: Expect,
    clock: SharedClock,
    known: ArcSwapOption<Known>,
    /// When the source was asked last. Held while it is asked, so that callers who wait share the answer.
    asked_at: Mutex<Option<Duration>>,
}

/// Keys, and when they were had, by boot time.
struct Known {
    keys: KeySet,
    fetched_at: Duration,
    fresh_until: Duration,
}

/// Why keys are fetched.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    /// There are none that may be believed.
    Any,
    /// There are, and the proof's is not among them.
    Newer,
}

impl Proofs {
    pub fn new(source: Arc<dyn KeySets>, expect: Expect, clock: SharedClock) -> Proofs {
        Proofs { source, expect, clock, known: ArcSwapOption::empty(), asked_at: Mutex::new(None) }
    }

    /// What the proof says, or the stable word for why it is not believed.
    pub(super) async fn verify(
        &self,
        proof: &str,
        now: OffsetDateTime,
    ) -> Result<Result<Proof, &'static str>, KeysUnavailable> {
        let fresh = self.known.load_full().filter(|known| self.clock.boottime() < known.fresh_until);
        let known = match fresh {
            Some(known) => known,
            None => self.fetch(None, Need::Any).await?,
        };
        let mut verified = token::verify_proof(proof, &known.keys, &self.expect, now);
        let old_enough = self.clock.boottime().saturating_sub(known.fetched_at) >= UNKNOWN_KEY_INTERVAL;
        if verified == Err(Refused::KeyUnknown) && old_enough {
            let newer = self.fetch(Some(known.fetched_at), Need::Newer).await?;
            verified = token::verify_proof(proof, &newer.keys, &self.expect, now);
        }
        Ok(verified
            .and_then(|claims| Proof::from_claims(claims).ok_or(Refused::Malformed))
            .map_err(Refused::reason))
    }

    /// What must be remembered so that this proof makes one session only.
    pub(super) fn spent(&self, proof: &Proof) -> SpentProof {
        SpentProof {
            jti: proof.jti.clone(),
            keep_until: proof.expires_at + self.expect.leeway() + REMEMBERED,
        }
    }

    /// Keys newer than `seen`: those that somebody else fetched meanwhile, or freshly fetched ones.
    async fn fetch(&self, seen: Option<Duration>, need: Need) -> Result<Arc<Known>, KeysUnavailable> {
        let mut asked_at = self.asked_at.lock().await;
        let now = self.clock.boottime();
        let known = self.known.load_full();
        if let Some(known) = known.filter(|known| Some(known.fetched_at) > seen && now < known.fresh_until) {
            return Ok(known);
        }
        let interval = match need {
            Need::Any => RETRY_INTERVAL,
            Need::Newer => UNKNOWN_KEY_INTERVAL,
        };
        if asked_at.is_some_and(|at| now.saturating_sub(at) < interval) {
            return Err(KeysUnavailable::new("they were asked for a moment ago, without an answer"));
        }
        *asked_at = Some(now);
        let published = self.source.fetch().await?;
        let keys = KeySet::from_json(&published.jwks).map_err(KeysUnavailable::new)?;
        let known = Arc::new(Known {
            keys,
            fetched_at: now,
            fresh_until: now + published.max_age.max(UNKNOWN_KEY_INTERVAL),
        });
        self.known.store(Some(Arc::clone(&known)));
        Ok(known)
    }
}

#[cfg(test)]
mod tests;
