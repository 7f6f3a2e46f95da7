//! The trait, met by the methods that the files beside this one give the store.

use async_trait::async_trait;
use time::OffsetDateTime;

use super::SqliteStore;
use crate::{
    domain::{
        client::Client,
        id::{ClientId, FamilyId, UserId},
        page::{Page, PageRequest},
        phc::PasswordHash,
        refresh::{Family, Standing},
        secret::Digest,
        signing_key::SealedKey,
        throttle::{Attempt, ThrottleKey, ThrottlePolicy},
        user::{Account, Key, Status, User},
    },
    store::{FamilyEnd, Inserted, NewEnding, NewFamily, NewUser, Rotation, Store, StoreError, Useless},
};

#[async_trait]
impl Store for SqliteStore {
    async fn insert_user(&self, user: NewUser) -> Result<Inserted, StoreError> {
        self.0.run("insert_user", Self::insert_user(self, user)).await
    }

    async fn user(&self, key: &Key<UserId>) -> Result<Option<User>, StoreError> {
        self.0.run("user", Self::user(self, key)).await
    }

    async fn account(&self, username_key: &str) -> Result<Option<Account>, StoreError> {
        self.0.run("account", Self::account(self, username_key)).await
    }

    async fn users(&self, page: &PageRequest) -> Result<Page<User>, StoreError> {
        self.0.run("users", Self::users(self, page)).await
    }

    async fn set_user_status(
        &self,
        id: &UserId,
        status: Status,
        ending: NewEnding<'_>,
    ) -> Result<Option<User>, StoreError> {
        self.0.run("set_user_status", Self::set_user_status(self, id, status, ending)).await
    }

    async fn set_password(
        &self,
        id: &UserId,
        epoch: Option<u64>,
        hash: &PasswordHash,
        must_change: bool,
        ending: NewEnding<'_>,
    ) -> Result<Option<User>, StoreError> {
        self.0.run("set_password", Self::set_password(self, id, epoch, hash, must_change, ending)).await
    }

    async fn upgrade_hash(
        &self,
        id: &UserId,
        old: &PasswordHash,
        new: &PasswordHash,
    ) -> Result<bool, StoreError> {
        self.0.run("upgrade_hash", Self::upgrade_hash(self, id, old, new)).await
    }

    async fn revoke_user(&self, id: &UserId, ending: NewEnding<'_>) -> Result<bool, StoreError> {
        self.0.run("revoke_user", Self::revoke_user(self, id, ending)).await
    }

    async fn delete_user(&self, id: &UserId, ending: NewEnding<'_>) -> Result<bool, StoreError> {
        self.0.run("delete_user", Self::delete_user(self, id, ending)).await
    }

    async fn insert_client(&self, client: &Client) -> Result<Inserted, StoreError> {
        self.0.run("insert_client", Self::insert_client(self, client)).await
    }

    async fn client(&self, key: &Key<ClientId>) -> Result<Option<Client>, StoreError> {
        self.0.run("client", Self::client(self, key)).await
    }

    async fn clients(&self, page: &PageRequest) -> Result<Page<Client>, StoreError> {
        self.0.run("clients", Self::clients(self, page)).await
    }

    async fn set_client_secret(
        &self,
        id: &ClientId,
        secret: &Digest,
        ending: NewEnding<'_>,
    ) -> Result<Option<Client>, StoreError> {
        self.0.run("set_client_secret", Self::set_client_secret(self, id, secret, ending)).await
    }

    async fn set_client_status(
        &self,
        id: &ClientId,
        status: Status,
        ending: NewEnding<'_>,
    ) -> Result<Option<Client>, StoreError> {
        self.0.run("set_client_status", Self::set_client_status(self, id, status, ending)).await
    }

    async fn revoke_client(&self, id: &ClientId, ending: NewEnding<'_>) -> Result<bool, StoreError> {
        self.0.run("revoke_client", Self::revoke_client(self, id, ending)).await
    }

    async fn delete_client(&self, id: &ClientId, ending: NewEnding<'_>) -> Result<bool, StoreError> {
        self.0.run("delete_client", Self::delete_client(self, id, ending)).await
    }

    async fn begin_family(&self, new: &NewFamily) -> Result<bool, StoreError> {
        self.0.run("begin_family", Self::begin_family(self, new)).await
    }

    async fn standing(&self, token: &Digest) -> Result<Option<Standing>, StoreError> {
        self.0.run("standing", Self::standing(self, token)).await
    }

    /// There is one file, and nobody else's.
    async fn standing_for_certain(&self, token: &Digest) -> Result<Option<Standing>, StoreError> {
        self.0.run("standing", Self::standing(self, token)).await
    }

    async fn rotate(&self, rotation: &Rotation) -> Result<bool, StoreError> {
        self.0.run("rotate", Self::rotate(self, rotation)).await
    }

    async fn family(&self, id: &FamilyId) -> Result<Option<Family>, StoreError> {
        self.0.run("family", Self::family(self, id)).await
    }

    async fn end_family(
        &self,
        id: &FamilyId,
        subject: Option<&UserId>,
        why: FamilyEnd,
        ending: NewEnding<'_>,
    ) -> Result<bool, StoreError> {
        self.0.run("end_family", Self::end_family(self, id, subject, why, ending)).await
    }

    async fn reserve_attempt(
        &self,
        key: &ThrottleKey,
        policy: &ThrottlePolicy,
        now: OffsetDateTime,
    ) -> Result<Attempt, StoreError> {
        self.0.run("reserve_attempt", Self::reserve_attempt(self, key, policy, now)).await
    }

    async fn return_attempt(
        &self,
        key: &ThrottleKey,
        policy: &ThrottlePolicy,
        reserved_at: OffsetDateTime,
    ) -> Result<(), StoreError> {
        self.0.run("return_attempt", Self::return_attempt(self, key, policy, reserved_at)).await
    }

    async fn forget_attempts(&self, key: &ThrottleKey) -> Result<(), StoreError> {
        self.0.run("forget_attempts", Self::forget_attempts(self, key)).await
    }

    async fn signing_keys(&self) -> Result<Vec<SealedKey>, StoreError> {
        self.0.run("signing_keys", Self::signing_keys(self)).await
    }

    async fn insert_signing_key(&self, key: &SealedKey) -> Result<bool, StoreError> {
        self.0.run("insert_signing_key", Self::insert_signing_key(self, key)).await
    }

    async fn activate_signing_key(
        &self,
        kid: &str,
        retire: Option<&str>,
        until: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Result<bool, StoreError> {
        self.0.run("activate_signing_key", Self::activate_signing_key(self, kid, retire, until, now)).await
    }

    async fn remove_signing_key(&self, kid: &str, now: OffsetDateTime) -> Result<bool, StoreError> {
        self.0.run("remove_signing_key", Self::remove_signing_key(self, kid, now)).await
    }

    async fn revoke_signing_key(&self, kid: &str, ending: NewEnding<'_>) -> Result<bool, StoreError> {
        self.0.run("revoke_signing_key", Self::revoke_signing_key(self, kid, ending)).await
    }

    async fn sweep(&self, what: Useless, by: OffsetDateTime, limit: u32) -> Result<u64, StoreError> {
        self.0.run("sweep", Self::sweep(self, what, by, limit)).await
    }
}
