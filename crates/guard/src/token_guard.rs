//! Whether an access token is believed: from memory if it was before, else verified once.

use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use feed::{
    Credential, Verdict, Wall,
    credential::{Roles, Stamp},
};
use time::OffsetDateTime;
use token::{AccessClaims, Expect, Issued, KeyId, MAX_TOKEN_BYTES, PrincipalKind, RecipientKey, Refused};
use tokio::sync::Semaphore;

use crate::{
    Endings, KeySource, Principal, Refusal, Settings, SourceUnavailable, Unavailable, Verified,
    digest::Digest,
    flights::Flights,
    keys::{Keys, Newer, Snapshot},
    remembered::Remembered,
};

/// A token whose key is withdrawn while it is verified is verified again, this often at most.
const ROUNDS: usize = 3;

type Outcome<T> = Result<Arc<Verified<T>>, Refusal>;

/// Shared by all threads of a process. [`TokenGuard::refresh_keys_loop`] must run beside it, once.
pub struct TokenGuard<T> {
    expect: Expect,
    recipient_keys: Vec<RecipientKey>,
    keys: Keys,
    endings: Arc<dyn Endings>,
    prepare: fn(&Principal) -> T,
    remembered: Remembered<T>,
    flights: Flights<Outcome<T>>,
    turns: Semaphore,
    /// Those at work and those waiting for a turn.
    places: Semaphore,
    counters: Counters,
}

#[derive(Default)]
struct Counters {
    verified: AtomicU64,
    invalid: AtomicU64,
    unavailable: AtomicU64,
    not_remembered: AtomicU64,
}

/// What a guard has done since it was made. Hits are not counted here: a counter that all threads write is what a
/// hit must not touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Signatures checked and found good.
    pub verified: u64,
    /// Callers told that their token is invalid.
    pub invalid: u64,
    /// Callers told that nobody can tell.
    pub unavailable: u64,
    /// Good tokens for which there was no room.
    pub not_remembered: u64,
    /// Tokens held now, some of which may have expired.
    pub remembered: usize,
    pub key_fetches: u64,
    pub key_fetch_failures: u64,
}

impl<T: Send + Sync + 'static> TokenGuard<T> {
    /// `prepare` makes, once for a token, what every request with it needs, for example header values.
    pub fn new(
        settings: Settings,
        source: Arc<dyn KeySource>,
        endings: Arc<dyn Endings>,
        prepare: fn(&Principal) -> T,
    ) -> Self {
        let keys = Keys::new(source, &settings);
        let Settings { expect, recipient_keys, capacity, max_concurrent, max_waiting, .. } = settings;
        let turns = max_concurrent.clamp(1, Semaphore::MAX_PERMITS);
        let places = turns.saturating_add(max_waiting).min(Semaphore::MAX_PERMITS);
        Self {
            expect,
            recipient_keys,
            keys,
            endings,
            prepare,
            remembered: Remembered::new(capacity),
            flights: Flights::new(),
            turns: Semaphore::new(turns),
            places: Semaphore::new(places),
            counters: Counters::default(),
        }
    }

    /// The fast path: no waiting, no allocation. `None` says only that [`TokenGuard::verify`] must be asked.
    pub fn remembered(&self, token: &str, now: OffsetDateTime) -> Option<Arc<Verified<T>>> {
        if token.len() > MAX_TOKEN_BYTES {
            return None;
        }
        let verified = self.remembered.get(&Digest::of(token), self.judging_time(now))?;
        self.is_live(&verified).then_some(verified)
    }

    /// Whether a token that was remembered a while ago still would be.
    pub fn still_holds(&self, verified: &Verified<T>, now: OffsetDateTime) -> bool {
        verified.is_good(self.judging_time(now)) && self.is_live(verified)
    }

    /// Whether it has been taken back, as of this moment: for whoever has waited since it was verified.
    pub async fn verify_again(&self, verified: &Verified<T>) -> Result<(), Refusal> {
        self.counted(self.not_taken_back(verified).await)
    }

    /// Whether it certainly has not been taken back, by what is known here.
    pub fn is_live(&self, verified: &Verified<T>) -> bool {
        self.endings.judge(&verified.credential) == Some(Verdict::Live)
    }

    /// From memory or by verification, plain or encrypted, and not taken back. Takes as long as a fetch of keys, and a
    /// question to the issuer where there is no lease, at most.
    pub async fn verify(&self, token: &str, now: OffsetDateTime) -> Result<Arc<Verified<T>>, Refusal> {
        let outcome = async {
            let verified = self.look_or_verify(token, now).await?;
            self.not_taken_back(&verified).await?;
            Ok(verified)
        };
        self.counted(outcome.await)
    }

    /// As [`TokenGuard::verify`], for who prefers an old answer to none, where nobody can be asked: by what was known when the
    /// last lease ended, at most `stale_for` ago.
    pub async fn verify_stale(
        &self,
        token: &str,
        now: OffsetDateTime,
        stale_for: Duration,
    ) -> Result<Arc<Verified<T>>, Refusal> {
        let outcome = async {
            let verified = self.look_or_verify(token, now).await?;
            let verdict = self.endings.judge_stale(&verified.credential, stale_for);
            live(verdict.ok_or(Unavailable::NoLease)?).map(|()| verified)
        };
        self.counted(outcome.await)
    }

    /// To whom a token was issued, expired or not: for ending the login that it came from, and for nothing else, so
    /// it is no [`Verified`] and is neither remembered nor taken from memory.
    pub async fn issued(&self, token: &str) -> Result<Issued, Refusal> {
        if token.len() > MAX_TOKEN_BYTES {
            return self.counted(Err(Refused::TooLarge.into()));
        }
        let judge = |snapshot: &Snapshot| {
            Ok(token::verify_issued(&self.opened(token)?, &snapshot.set, &self.expect)?)
        };
        self.counted(self.by_keys(judge).await)
    }

    /// What is inside a token that is encrypted to this recipient, not verified: for whoever has another judge of it
    /// (introspection). Takes its turn among verifications, so that it cannot be used to starve them.
    pub async fn open(&self, jwe: &str) -> Result<String, Refusal> {
        self.turn(|| token::open(jwe, &self.recipient_keys).map_err(Refusal::from)).await
    }

    /// Keeps the keys fresh; never returns. Run it as a task of the process, from the start. Without it no key is
    /// ever known and every token is `Unavailable`.
    pub async fn refresh_keys_loop(&self) {
        self.keys.refresh_loop(|kid| self.has_ended(kid)).await;
    }

    /// Asks the issuer for its keys now, outside the pace of requests: for an operator, or a key known to be new.
    pub async fn refresh_keys(&self) -> Result<(), SourceUnavailable> {
        self.keys.fetch().await.map(drop)
    }

    /// Whether tokens can be verified: some key is known.
    pub fn has_keys(&self) -> bool {
        self.keys.has_keys()
    }

    /// Returns when [`Self::has_keys`] is true.
    pub async fn until_there_are_keys(&self) {
        self.keys.until_there_are_keys().await;
    }

    pub fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            verified: read(&self.counters.verified),
            invalid: read(&self.counters.invalid),
            unavailable: read(&self.counters.unavailable),
            not_remembered: read(&self.counters.not_remembered),
            remembered: self.remembered.len(),
            key_fetches: self.keys.fetches(),
            key_fetch_failures: self.keys.failures(),
        }
    }

    fn has_lease(&self) -> bool {
        self.endings.judge(&Credential::default()).is_some()
    }

    fn judging_time(&self, now: OffsetDateTime) -> OffsetDateTime {
        let ahead = self.endings.ahead(wall(now));
        // As a rule: and adding nothing to a date costs as much as adding something.
        if ahead.is_zero() {
            return now;
        }
        now.saturating_add(ahead.try_into().unwrap_or(time::Duration::ZERO))
    }

    async fn not_taken_back(&self, verified: &Verified<T>) -> Result<(), Refusal> {
        live(match self.endings.judge(&verified.credential) {
            Some(verdict) => verdict,
            None => self.endings.ask(&verified.credential).await.map_err(|_| Unavailable::NoLease)?,
        })
    }

    /// By a clock that is wrong for certain nothing has expired, and by one that may be far behind nothing is good for too long:
    /// nobody here can tell.
    async fn look_or_verify(&self, token: &str, now: OffsetDateTime) -> Outcome<T> {
        match self.found_or_verified(token, now).await {
            Err(Refusal::Invalid(Refused::Expired)) if self.endings.is_astray(wall(now)) => {
                Err(Unavailable::NoLease.into())
            }
            Err(Refusal::Invalid(Refused::TooLong)) if !self.has_lease() => Err(Unavailable::NoLease.into()),
            outcome => outcome,
        }
    }

    async fn found_or_verified(&self, token: &str, now: OffsetDateTime) -> Outcome<T> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Refused::TooLarge.into());
        }
        let (digest, now) = (Digest::of(token), self.judging_time(now));
        for _ in 0..ROUNDS {
            if let Some(verified) = self.remembered.get(&digest, now) {
                return Ok(verified);
            }
            let verified = self.flights.join(digest, || self.work(digest, token, now)).await?;
            // The flight may have been another's, with an earlier `now`, and may have landed a while ago.
            if verified.is_good(now) {
                return Ok(verified);
            }
            if !verified.key.is_withdrawn() {
                return Err(Refused::Expired.into());
            }
        }
        Err(Unavailable::IssuerUnreachable.into())
    }

    /// What one flight does.
    async fn work(&self, digest: Digest, token: &str, now: OffsetDateTime) -> Outcome<T> {
        let judge = |snapshot: &Snapshot| self.verify_now(snapshot, token, now);
        let verified = Arc::new(self.by_keys(judge).await?);
        if !self.remembered.insert(digest, Arc::clone(&verified), now) {
            count(&self.counters.not_remembered);
        }
        Ok(verified)
    }

    /// Judges by the keys that are known, and by newer ones should the token's not be among them.
    async fn by_keys<R>(&self, judge: impl Fn(&Snapshot) -> Result<R, Refusal>) -> Result<R, Refusal> {
        let fetches_before = self.keys.fetches();
        let mut known = self.keys.current();
        for _ in 0..ROUNDS {
            if let Some(snapshot) = known.as_ref().filter(|snapshot| !snapshot.set.is_empty()) {
                match self.turn(|| judge(snapshot)).await {
                    Ok(judged) => {
                        count(&self.counters.verified);
                        return Ok(judged);
                    }
                    Err(Refusal::Invalid(Refused::KeyUnknown)) => {}
                    Err(refusal) => return Err(refusal),
                }
            }
            let is_outdated = known.as_ref().is_some_and(|snapshot| self.holds_an_ended_key(snapshot));
            known = match self.keys.newer_than(known.as_ref(), is_outdated).await? {
                Newer::Set(newer) => Some(newer),
                // An issuer that has no key yet cannot be the judge of one (its first key may sign at once).
                Newer::None if !self.has_keys() => return Err(Unavailable::NoKeys.into()),
                Newer::None => {
                    // Without a lease a key may have been ended unheard, and its successor sign: a set that was asked for since then
                    // has it. One that was on its way need not.
                    let is_of_now = known.is_some_and(|known| known.fetch > fetches_before);
                    return Err(match is_of_now || self.has_lease() {
                        true => Refused::KeyUnknown.into(),
                        false => Unavailable::IssuerUnreachable.into(),
                    });
                }
            };
        }
        Err(Unavailable::IssuerUnreachable.into())
    }

    /// A key that was ended without notice has a successor that signs at once, which such a set does not have.
    fn holds_an_ended_key(&self, snapshot: &Snapshot) -> bool {
        snapshot.set.iter().any(|key| {
            snapshot.life(key.kid()).is_some_and(|life| life.has_ended()) || self.has_ended(key.kid())
        })
    }

    fn has_ended(&self, key: &KeyId) -> bool {
        let signed = Credential { key: Some(key.as_str().into()), ..Credential::default() };
        matches!(self.endings.judge(&signed), Some(Verdict::Ended(_)))
    }

    /// Public-key work, of which only so much is done at once and only so much may wait.
    async fn turn<R>(&self, work: impl FnOnce() -> Result<R, Refusal>) -> Result<R, Refusal> {
        let _place = self.places.try_acquire().map_err(|_| Unavailable::Overloaded)?;
        // INVARIANT: the semaphore is never closed.
        let _turn = self.turns.acquire().await.map_err(|_| Unavailable::Overloaded)?;
        work()
    }

    fn verify_now(
        &self,
        snapshot: &Snapshot,
        token: &str,
        now: OffsetDateTime,
    ) -> Result<Verified<T>, Refusal> {
        let jws = self.opened(token)?;
        let (mut claims, kid) = token::verify_access_with_key(&jws, &snapshot.set, &self.expect, now)?;
        let key = snapshot.life(&kid).ok_or(Refused::KeyUnknown)?;
        if key.has_ended() {
            return Err(Refusal::Ended);
        }
        let token_id = std::mem::take(&mut claims.jti);
        let leeway = time::Duration::try_from(self.expect.leeway()).unwrap_or(time::Duration::ZERO);
        let good_until = claims.exp.checked_add(leeway).unwrap_or(claims.exp);
        let credential = credential(&claims, &token_id, kid.as_str(), good_until);
        let principal = Principal::from(claims);
        let prepared = (self.prepare)(&principal);
        Ok(Verified { principal, prepared, token_id, credential, good_until, key })
    }

    fn opened<'a>(&self, token: &'a str) -> Result<Cow<'a, str>, Refused> {
        if token::is_jwe(token) {
            token::open(token, &self.recipient_keys).map(Cow::Owned)
        } else {
            Ok(Cow::Borrowed(token))
        }
    }

    fn counted<R>(&self, outcome: Result<R, Refusal>) -> Result<R, Refusal> {
        match &outcome {
            Ok(_) => {}
            Err(Refusal::Invalid(_) | Refusal::Ended) => count(&self.counters.invalid),
            Err(Refusal::Unavailable(_)) => count(&self.counters.unavailable),
        }
        outcome
    }
}

/// An ending outweighs everything; roles are somebody else's affair.
fn live(verdict: Verdict) -> Result<(), Refusal> {
    match verdict {
        Verdict::Live | Verdict::RolesOutdated { .. } => Ok(()),
        Verdict::Ended(_) => Err(Refusal::Ended),
        Verdict::Forgotten => Err(Refused::Expired.into()),
    }
}

fn credential(claims: &AccessClaims, token_id: &str, key: &str, good_until: OffsetDateTime) -> Credential {
    let stamp = |id: &str, generation| Stamp { id: id.into(), generation };
    Credential {
        token: Some(token_id.into()),
        family: claims.fam.as_deref().map(Into::into),
        session: claims.sid.as_deref().map(Into::into),
        key: Some(key.into()),
        // A client that acts for itself has one epoch, its own.
        subject: (claims.kind == PrincipalKind::User).then(|| stamp(&claims.sub, claims.epo.subject)),
        client: Some(stamp(&claims.client_id, claims.epo.client)),
        roles: Some(Roles { principals: vec![claims.sub.as_str().into()], version: claims.pv }),
        expired_from: Some(wall(good_until)),
    }
}

fn wall(at: OffsetDateTime) -> Wall {
    let seconds = u64::try_from(at.unix_timestamp()).unwrap_or(0);
    Wall::from_unix_millis(seconds.saturating_mul(1_000) + u64::from(at.millisecond()))
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests;
