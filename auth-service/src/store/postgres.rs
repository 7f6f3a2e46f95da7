//! The store in one PostgreSQL schema, for any number of replicas; how it is reached is [`chassis::postgres`]'s.

use async_trait::async_trait;
use chassis::{lifecycle::Readiness, postgres::Database};
use sqlx::migrate::Migrator;
use time::OffsetDateTime;

use super::{FamilyEnd, Inserted, NewEnding, NewFamily, NewUser, Rotation, Store, StoreError, Useless};
use crate::domain::{
    client::Client,
    id::{ClientId, FamilyId, UserId},
    page::{Page, PageRequest},
    phc::PasswordHash,
    refresh::{Family, Standing},
    secret::Digest,
    signing_key::SealedKey,
    throttle::{Attempt, ThrottleKey, ThrottlePolicy},
    user::{Account, Key, Status, User},
};

mod clients;
mod families;
mod signing_keys;
mod sweep;
mod throttle;
mod users;

pub use chassis::postgres::{Applied, OpenError, Settings as PostgresSettings};

/// Forward only: a migration that was published is never changed.
static MIGRATIONS: Migrator = sqlx::migrate!("./migrations/postgres");

/// A pool of connections to the schema.
#[derive(Clone, Debug)]
pub struct PostgresStore(Database);

impl PostgresStore {
    /// Waits for the database and its schema, and says on `readiness` what for.
    pub async fn open(settings: &PostgresSettings, readiness: &Readiness) -> Result<Self, OpenError> {
        Database::open(settings, &MIGRATIONS, readiness).await.map(Self)
    }

    /// Brings the schema up to this version.
    pub async fn migrate(settings: &PostgresSettings) -> Result<Applied, OpenError> {
        Database::migrate(settings, &MIGRATIONS).await
    }

    /// Finishes what is under way and lets the connections go.
    pub async fn close(&self) {
        self.0.close().await;
    }
}

/// Whether a text can be in a column at all: PostgreSQL's have no NUL, and it takes a question for one as an error. What
/// cannot be there is not found.
fn is_storable(text: &str) -> bool {
    !text.contains('\0')
}

/// What an id that comes after this one in order comes after, too, and that can be asked for: no id has a NUL.
fn storable_part(after: &str) -> &str {
    after.split('\0').next().unwrap_or_default()
}

// Whatever a method of the trait does is a function of one attempt in the files beside this one.
#[async_trait]
impl Store for PostgresStore {
    async fn insert_user(&self, user: NewUser) -> Result<Inserted, StoreError> {
        let user = &user;
        self.0.run("insert_user", |attempt| users::insert(attempt, user)).await
    }

    async fn user(&self, key: &Key<UserId>) -> Result<Option<User>, StoreError> {
        self.0.run("user", |attempt| users::by_key(attempt, key)).await
    }

    async fn account(&self, username_key: &str) -> Result<Option<Account>, StoreError> {
        self.0.run("account", |attempt| users::account(attempt, username_key)).await
    }

    async fn users(&self, page: &PageRequest) -> Result<Page<User>, StoreError> {
        self.0.run("users", |attempt| users::page(attempt, page)).await
    }

    async fn set_user_status(
        &self,
        id: &UserId,
        status: Status,
        ending: NewEnding<'_>,
    ) -> Result<Option<User>, StoreError> {
        self.0.run("set_user_status", |attempt| users::set_status(attempt, id, status, ending)).await
    }

    async fn set_password(
        &self,
        id: &UserId,
        epoch: Option<u64>,
        hash: &PasswordHash,
        must_change: bool,
        ending: NewEnding<'_>,
    ) -> Result<Option<User>, StoreError> {
        self.0
            .run("set_password", |attempt| users::set_password(attempt, id, epoch, hash, must_change, ending))
            .await
    }

    async fn upgrade_hash(
        &self,
        id: &UserId,
        old: &PasswordHash,
        new: &PasswordHash,
    ) -> Result<bool, StoreError> {
        self.0.run("upgrade_hash", |attempt| users::upgrade_hash(attempt, id, old, new)).await
    }

    async fn revoke_user(&self, id: &UserId, ending: NewEnding<'_>) -> Result<bool, StoreError> {
        self.0.run("revoke_user", |attempt| users::revoke(attempt, id, ending)).await
    }

    async fn delete_user(&self, id: &UserId, ending: NewEnding<'_>) -> Result<bool, StoreError> {
        self.0.run("delete_user", |attempt| users::delete(attempt, id, ending)).await
    }

    async fn insert_client(&self, client: &Client) -> Result<Inserted, StoreError> {
        self.0.run("insert_client", |attempt| clients::insert(attempt, client)).await
    }

    async fn client(&self, key: &Key<ClientId>) -> Result<Option<Client>, StoreError> {
        self.0.run("client", |attempt| clients::by_key(attempt, key)).await
    }

    async fn clients(&self, page: &PageRequest) -> Result<Page<Client>, StoreError> {
        self.0.run("clients", |attempt| clients::page(attempt, page)).await
    }

    async fn set_client_secret(
        &self,
        id: &ClientId,
        secret: &Digest,
        ending: NewEnding<'_>,
    ) -> Result<Option<Client>, StoreError> {
        self.0.run("set_client_secret", |attempt| clients::set_secret(attempt, id, secret, ending)).await
    }

    async fn set_client_status(
        &self,
        id: &ClientId,
        status: Status,
        ending: NewEnding<'_>,
    ) -> Result<Option<Client>, StoreError> {
        self.0.run("set_client_status", |attempt| clients::set_status(attempt, id, status, ending)).await
    }

    async fn revoke_client(&self, id: &ClientId, ending: NewEnding<'_>) -> Result<bool, StoreError> {
        self.0.run("revoke_client", |attempt| clients::revoke(attempt, id, ending)).await
    }

    async fn delete_client(&self, id: &ClientId, ending: NewEnding<'_>) -> Result<bool, StoreError> {
        self.0.run("delete_client", |attempt| clients::delete(attempt, id, ending)).await
    }

    async fn begin_family(&self, new: &NewFamily) -> Result<bool, StoreError> {
        self.0.run("begin_family", |attempt| families::begin(attempt, new)).await
    }

    async fn standing(&self, token: &Digest) -> Result<Option<Standing>, StoreError> {
        self.0.run("standing", |attempt| families::standing(attempt, token)).await
    }

    async fn standing_for_certain(&self, token: &Digest) -> Result<Option<Standing>, StoreError> {
        self.0.run("standing", |attempt| families::standing_for_certain(attempt, token)).await
    }

    async fn rotate(&self, rotation: &Rotation) -> Result<bool, StoreError> {
        self.0.run("rotate", |attempt| families::rotate(attempt, rotation)).await
    }

    async fn family(&self, id: &FamilyId) -> Result<Option<Family>, StoreError> {
        self.0.run("family", |attempt| families::one(attempt, id)).await
    }

    async fn end_family(
        &self,
        id: &FamilyId,
        subject: Option<&UserId>,
        why: FamilyEnd,
        ending: NewEnding<'_>,
    ) -> Result<bool, StoreError> {
        self.0.run("end_family", |attempt| families::end(attempt, id, subject, why, ending)).await
    }

    async fn reserve_attempt(
        &self,
        key: &ThrottleKey,
        policy: &ThrottlePolicy,
        now: OffsetDateTime,
    ) -> Result<Attempt, StoreError> {
        self.0.run("reserve_attempt", |attempt| throttle::reserve(attempt, key, policy, now)).await
    }

    async fn return_attempt(
        &self,
        key: &ThrottleKey,
        policy: &ThrottlePolicy,
        reserved_at: OffsetDateTime,
    ) -> Result<(), StoreError> {
        self.0.run("return_attempt", |attempt| throttle::give_back(attempt, key, policy, reserved_at)).await
    }

    async fn forget_attempts(&self, key: &ThrottleKey) -> Result<(), StoreError> {
        self.0.run("forget_attempts", |attempt| throttle::forget(attempt, key)).await
    }

    async fn signing_keys(&self) -> Result<Vec<SealedKey>, StoreError> {
        self.0.run("signing_keys", signing_keys::all).await
    }

    async fn insert_signing_key(&self, key: &SealedKey) -> Result<bool, StoreError> {
        self.0.run("insert_signing_key", |attempt| signing_keys::insert(attempt, key)).await
    }

    async fn activate_signing_key(
        &self,
        kid: &str,
        retire: Option<&str>,
        until: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Result<bool, StoreError> {
        self.0
            .run("activate_signing_key", |attempt| signing_keys::activate(attempt, kid, retire, until, now))
            .await
    }

    async fn remove_signing_key(&self, kid: &str, now: OffsetDateTime) -> Result<bool, StoreError> {
        self.0.run("remove_signing_key", |attempt| signing_keys::remove(attempt, kid, now)).await
    }

    async fn revoke_signing_key(&self, kid: &str, ending: NewEnding<'_>) -> Result<bool, StoreError> {
        self.0.run("revoke_signing_key", |attempt| signing_keys::revoke(attempt, kid, ending)).await
    }

    async fn sweep(&self, what: Useless, by: OffsetDateTime, limit: u32) -> Result<u64, StoreError> {
        self.0
            .run("sweep", async |attempt| match what {
                Useless::Successors => sweep::successors(attempt, by, limit).await,
                Useless::Families => sweep::families(attempt, by, limit).await,
                Useless::Tokens => sweep::tokens(attempt, by, limit).await,
                Useless::Throttles => sweep::throttles(attempt, by, limit).await,
            })
            .await
    }
}
