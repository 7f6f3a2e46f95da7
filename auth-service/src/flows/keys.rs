//! The signing keys in use: opened once, rotated when due, published.
//!
//! Readers take a snapshot that is swapped whole, so that a key never signs before it stands in the published set and a
//! set never lacks the key that signs.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use chassis::{clock::SharedClock, entropy::SharedEntropy};
use time::OffsetDateTime;
use token::{KeyError, KeySet, KeySetError, SigningKey};
use tokio::sync::Mutex;

use super::paced::Paced;
use crate::{
    domain::{
        claims::LONGEST_TOKEN,
        sealing::SealingKey,
        signing_key::{KeyRecord, KeySchedule, KeyState, SealedKey, Step},
    },
    store::{NewEnding, Store, StoreError},
};

/// Steps follow from one another (create, then remove); more than a handful in one go means that something is wrong.
const MAX_ROUNDS: usize = 8;

/// How often the store is asked for keys that tokens name and nobody here knows.
const STRANGE_EVERY: Duration = Duration::from_millis(250);

/// How many looks at the store in a row may fail, or not be made in time, before nothing is signed, or believed, without one; and
/// for how long at least.
const LOOKS: u32 = 3;
const MINUTE: Duration = Duration::from_secs(60);

/// The signing keys and the way to them.
pub struct Keys {
    store: Arc<dyn Store>,
    clock: SharedClock,
    entropy: SharedEntropy,
    master: SealingKey,
    schedule: KeySchedule,
    /// For how long keys that were read are used.
    good_for: Duration,
    current: ArcSwapOption<Ring>,
    /// One look at the store at a time, so that an older one never replaces a newer.
    looking: Mutex<()>,
    /// One at a time of those who heard that a key was ended.
    following: Mutex<()>,
    /// Looks for keys that strangers name.
    strange: Paced,
    /// How many keys had been ended before the store was read last.
    ended: AtomicU64,
}

/// The keys of one moment.
pub struct Ring {
    active: SigningKey,
    set: KeySet,
    json: String,
    /// A boot time, which runs also while the machine is suspended.
    read_at: Duration,
}

/// Why there are no keys to sign with.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(
        "the signing key {kid} does not open: this is not the master key that it was sealed with (signing.master_key), or its row was altered"
    )]
    DoesNotOpen { kid: String },
    #[error("the signing key {kid} cannot be used")]
    Unusable {
        kid: String,
        #[source]
        source: KeyError,
    },
    #[error("no signing key can be made")]
    Generate(#[source] KeyError),
    #[error("the signing keys do not make a key set")]
    Set(#[from] KeySetError),
    #[error("a new signing key cannot be sealed")]
    Seal,
    #[error("no signing key is active")]
    NoneActive,
    #[error("others change the signing keys all the time")]
    Contended,
}

impl Keys {
    /// [`Keys::advance`] is expected as often as `look_every`.
    pub fn new(
        store: Arc<dyn Store>,
        clock: SharedClock,
        entropy: SharedEntropy,
        master: SealingKey,
        schedule: KeySchedule,
        look_every: Duration,
    ) -> Self {
        Self {
            store,
            clock,
            entropy,
            master,
            schedule,
            // Longer than the right to answer from memory lasts, less than what ended a key is remembered for.
            good_for: look_every.saturating_mul(LOOKS).clamp(MINUTE, LONGEST_TOKEN),
            current: ArcSwapOption::empty(),
            looking: Mutex::default(),
            following: Mutex::default(),
            strange: Paced::new(STRANGE_EVERY),
            ended: AtomicU64::new(0),
        }
    }

    /// The keys that were found last.
    pub fn ring(&self) -> Result<Arc<Ring>, KeysError> {
        self.current.load_full().ok_or(KeysError::NoneActive)
    }

    /// As [`Keys::ring`], read again if more than that have been ended since the last time.
    pub async fn ring_after(&self, ended: u64, now: OffsetDateTime) -> Result<Arc<Ring>, KeysError> {
        let is_behind = || self.ended.load(Ordering::Acquire) < ended;
        if is_behind() {
            // Once for all who hear of it together.
            let _alone = self.following.lock().await;
            if is_behind() {
                self.catch_up(now).await?;
                self.ended.fetch_max(ended, Ordering::AcqRel);
            }
        }
        self.ring()
    }

    /// As [`Keys::ring_after`], read again also if the last time was long ago: this machine may have been suspended, for as long as
    /// others remember what was ended meanwhile, or longer.
    pub async fn recent_ring(&self, ended: u64, now: OffsetDateTime) -> Result<Arc<Ring>, KeysError> {
        let ring = self.ring_after(ended, now).await?;
        if self.clock.boottime().saturating_sub(ring.read_at) <= self.good_for {
            return Ok(ring);
        }
        // Once for all who wake up together.
        self.look_for_strange(now).await?;
        self.ring()
    }

    /// For a token of a key that is not here: another replica may sign with it since a moment ago. Anybody can name keys that
    /// there are not, so the store is not asked for each.
    pub async fn look_for_strange(&self, now: OffsetDateTime) -> Result<(), KeysError> {
        self.strange.run(self.catch_up(now)).await
    }

    /// Does what is due at `now` and takes up the outcome, whoever brought it about.
    pub async fn advance(&self, now: OffsetDateTime) -> Result<(), KeysError> {
        self.take_up(now, |_| true).await
    }

    /// Takes up what there is, and sees to it that some key signs. Nothing else is advanced: the time by which that goes is the
    /// database's, of which this machine's clock knows nothing.
    pub async fn catch_up(&self, now: OffsetDateTime) -> Result<(), KeysError> {
        let makes_one_sign =
            |step: &Step| matches!(step, Step::CreateActive | Step::Activate { retire: None, .. });
        self.take_up(now, makes_one_sign).await
    }

    async fn take_up(&self, now: OffsetDateTime, may: impl Fn(&Step) -> bool) -> Result<(), KeysError> {
        let _alone = self.looking.lock().await;
        let read_at = self.clock.boottime();
        let mut keys = self.store.signing_keys().await?;
        for _ in 0..MAX_ROUNDS {
            let records: Vec<KeyRecord> = keys.iter().map(|key| key.record.clone()).collect();
            let mut steps = self.schedule.next(&records, now);
            steps.retain(&may);
            if steps.is_empty() {
                break;
            }
            for step in steps {
                self.take(step, now).await?;
            }
            keys = self.store.signing_keys().await?;
        }
        let ring = self.open(&keys, read_at)?;
        self.current.store(Some(Arc::new(ring)));
        Ok(())
    }

    /// A step that somebody else took in between is as good: the keys are read again after it.
    async fn take(&self, step: Step, now: OffsetDateTime) -> Result<(), KeysError> {
        let (done, what, kid) = match step {
            Step::CreateActive => self.create(KeyState::Active { since: now }, "active").await?,
            Step::Announce => self.create(KeyState::Announced { at: now }, "announced").await?,
            Step::Activate { kid, retire, until } => {
                let done = self.store.activate_signing_key(&kid, retire.as_deref(), until, now).await?;
                (done, "active", kid)
            }
            Step::Remove { kid } => (self.store.remove_signing_key(&kid, now).await?, "gone", kid),
        };
        if done {
            tracing::info!(kid, state = what, "signing key");
        }
        Ok(())
    }

    async fn create(
        &self,
        state: KeyState,
        what: &'static str,
    ) -> Result<(bool, &'static str, String), KeysError> {
        let key = SigningKey::generate(self.schedule.algorithm).map_err(KeysError::Generate)?;
        let kid = key.kid().to_owned();
        let mut nonce = [0; 12];
        self.entropy.fill(&mut nonce);
        // The kid as additional data: a sealed key copied to another row does not open.
        let sealed = self.master.seal(nonce, kid.as_bytes(), &key.to_pkcs8()).map_err(|_| KeysError::Seal)?;
        let record = KeyRecord { kid: kid.clone(), algorithm: key.algorithm(), state };
        let done = self.store.insert_signing_key(&SealedKey { record, sealed }).await?;
        Ok((done, what, kid))
    }

    /// Every key that there is or was, in the order of their moments.
    pub async fn records(&self) -> Result<Vec<KeyRecord>, StoreError> {
        Ok(self.store.signing_keys().await?.into_iter().map(|key| key.record).collect())
    }

    /// Announces a key ahead of the schedule. One that is announced already is as good: which key it is, and from when
    /// it signs, is the answer.
    pub async fn rotate(&self, now: OffsetDateTime) -> Result<(KeyRecord, OffsetDateTime), KeysError> {
        for _ in 0..MAX_ROUNDS {
            for record in self.records().await? {
                if let KeyState::Announced { at } = record.state {
                    // Published here before this is answered.
                    self.catch_up(now).await?;
                    return Ok((record, self.schedule.signs_from(at)));
                }
            }
            self.take(Step::Announce, now).await?;
        }
        Err(KeysError::Contended)
    }

    /// Whether this call ended the key. `None`: there never was one of that name.
    pub async fn revoke(&self, kid: &str, ending: NewEnding<'_>) -> Result<Option<bool>, KeysError> {
        let revoked = self.store.revoke_signing_key(kid, ending).await?;
        let known = revoked || self.records().await?.iter().any(|record| record.kid == kid);
        if !known {
            return Ok(None);
        }
        if revoked {
            tracing::warn!(kid, state = "gone", "signing key revoked");
        }
        // Also the second time: the first may have been cut off before anything else could sign.
        self.catch_up(ending.at).await?;
        Ok(Some(revoked))
    }

    fn open(&self, keys: &[SealedKey], read_at: Duration) -> Result<Ring, KeysError> {
        let mut active = None;
        let mut public = Vec::new();
        for SealedKey { record, sealed } in keys {
            if matches!(record.state, KeyState::Gone { .. }) {
                continue;
            }
            let kid = &record.kid;
            let pkcs8 = self
                .master
                .open(kid.as_bytes(), sealed)
                .map_err(|_| KeysError::DoesNotOpen { kid: kid.clone() })?;
            let key = SigningKey::from_pkcs8(kid, record.algorithm, &pkcs8)
                .map_err(|source| KeysError::Unusable { kid: kid.clone(), source })?;
            public.push(key.public_jwk());
            if matches!(record.state, KeyState::Active { .. }) {
                active = Some(key);
            }
        }
        let set = KeySet::new(public)?;
        let json = set.to_json();
        Ok(Ring { active: active.ok_or(KeysError::NoneActive)?, set, json, read_at })
    }
}

impl Ring {
    pub fn active(&self) -> &SigningKey {
        &self.active
    }

    /// Every key that is announced, active or retiring.
    pub fn set(&self) -> &KeySet {
        &self.set
    }

    /// Whether what that key signed is believed.
    pub fn has(&self, kid: &str) -> bool {
        self.set.find(kid).is_some()
    }

    /// The set as published: public members only.
    pub fn json(&self) -> &str {
        &self.json
    }
}
