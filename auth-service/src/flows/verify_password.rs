//! Whether a password is right: throttled, and as dear for an unknown user as for a known one.

use time::OffsetDateTime;

use super::{Auth, Failure};
use crate::{
    domain::{
        password::Password,
        throttle::{Attempt, ThrottleKey},
        user::{Account, Status},
        username::Username,
    },
    hashing::Place,
};

/// Who claims to be whom, from where.
pub struct Claimed<'a> {
    pub identifier: &'a str,
    pub password: &'a Password,
    /// As the gateway believes it.
    pub address: &'a str,
}

/// Whether to believe it.
#[derive(Debug)]
pub enum Verified {
    Right(Box<Account>),
    /// Unknown, disabled or wrong. The account is for the audit line, and for nobody else.
    Wrong(Option<Box<Account>>),
    TooManyAttempts {
        until: OffsetDateTime,
    },
}

impl Auth {
    /// One attempt is counted before anything is hashed, and taken back if it turns out right or could not be made.
    pub(super) async fn verify_password(
        &self,
        place: &Place,
        claimed: Claimed<'_>,
        now: OffsetDateTime,
    ) -> Result<Verified, Failure> {
        let key = ThrottleKey::new(claimed.identifier, claimed.address);
        let tries = self.tries.under(&key);
        let _making = loop {
            // Asked for before looking, so that an end in between is not missed.
            let one_has_ended = tries.key.ended.notified();
            let turn = tries.key.turn.lock().await;
            match self.store.reserve_attempt(&key, &self.settings.throttle, now).await? {
                Attempt::Reserved => break tries.key.making(),
                Attempt::TooMany { until } if !tries.key.are_being_made() => {
                    return Ok(Verified::TooManyAttempts { until });
                }
                Attempt::TooMany { .. } => {
                    drop(turn);
                    one_has_ended.await;
                }
            }
        };
        let verified = self.verify_reserved(place, &claimed).await;
        match &verified {
            Ok(Verified::Right(_)) => self.store.forget_attempts(&key).await?,
            Ok(_) => {}
            Err(_) => {
                // The failure is what the caller learns. Should this one fail too, an attempt counts that was not made.
                if let Err(error) = self.store.return_attempt(&key, &self.settings.throttle, now).await {
                    tracing::warn!(error = %chassis::status::chain(&error), "an attempt could not be taken back");
                }
            }
        }
        verified
    }

    async fn verify_reserved(&self, place: &Place, claimed: &Claimed<'_>) -> Result<Verified, Failure> {
        // What cannot be a username is looked up all the same, under a key that no row has: both ways do the same.
        let name = Username::parse(claimed.identifier);
        let account = self.store.account(name.as_ref().map_or("", Username::key)).await?;
        let hash = account.as_ref().map_or(&self.nobody, |account| &account.password_hash);
        let matches = self.hashing.verify(place, claimed.password, hash).await?;
        Ok(match account {
            Some(account) if matches && account.user.status == Status::Active => {
                self.upgrade(place, &account, claimed.password).await;
                Verified::Right(Box::new(account))
            }
            other => Verified::Wrong(other.map(Box::new)),
        })
    }

    /// Replaces a hash of weaker parameters now that the password is known. No reason to refuse a login if it fails: the
    /// next one tries again.
    async fn upgrade(&self, place: &Place, account: &Account, password: &Password) {
        if !account.password_hash.is_weaker_than_current() {
            return;
        }
        match self.hashing.hash(place, password, self.random()).await {
            Ok(new) => {
                if let Err(error) =
                    self.store.upgrade_hash(&account.user.id, &account.password_hash, &new).await
                {
                    tracing::warn!(error = %chassis::status::chain(&error), "a password hash could not be upgraded");
                }
            }
            Err(error) => tracing::warn!(%error, "a password hash could not be upgraded"),
        }
    }
}
