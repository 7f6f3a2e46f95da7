//! What a believed login is turned into: tokens of a new family, or a proof from which session-service makes a session.

use std::sync::Arc;

use time::OffsetDateTime;
use token::{Epochs, TYP_PROOF};
use zeroize::Zeroizing;

use super::{Auth, Failure, Origin, issue::TokenSet, keys::Ring};
use crate::{
    domain::{
        claims::{self, AMR_PASSWORD, SubjectRoles},
        id::{ClientId, FamilyId, UserId},
        refresh::Family,
        scope::Scope,
        secret::SecretKind,
        user::{Key, Status, User},
    },
    peers::Subject,
    store::{NewFamily, StoreError},
};

/// What the caller wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginMode {
    Token,
    Session,
}

/// What came of it.
pub struct LoggedIn {
    pub user: User,
    pub granted: Granted,
}

/// Secrets, which are not logged; but for the id of the family.
pub enum Granted {
    Tokens { tokens: TokenSet, family: FamilyId },
    Proof(String),
}

/// What a login takes of others. It is asked for before anything is written, so that nothing half-done stays behind where somebody
/// is away.
pub(super) struct Prepared {
    client_epoch: u64,
    ring: Arc<Ring>,
    /// Of a login by token. A session has none of its own.
    roles: Option<SubjectRoles>,
}

impl Auth {
    pub(super) async fn prepare_grant(
        &self,
        origin: &Origin,
        user: &UserId,
        mode: LoginMode,
    ) -> Result<Prepared, Failure> {
        let built_in = self.store.client(&Key::Id(ClientId::first_party())).await?;
        let built_in =
            built_in.ok_or(StoreError::Corrupt("clients table: the built-in client is missing"))?;
        let roles = match mode {
            LoginMode::Token => Some(self.policy.roles_of(Subject::User(user), &origin.peer_call()).await?),
            LoginMode::Session => None,
        };
        Ok(Prepared { client_epoch: built_in.epoch, ring: self.recent_ring().await?, roles })
    }

    /// `None`: the user was changed since the password was verified, so the login is void.
    pub(super) async fn grant(
        &self,
        prepared: Prepared,
        user: &User,
        now: OffsetDateTime,
    ) -> Result<Option<Granted>, Failure> {
        let Prepared { client_epoch, ring, roles } = prepared;
        let epochs = Epochs { subject: user.epoch, client: client_epoch };
        match roles {
            Some(roles) => self.grant_tokens(&ring, user, epochs, &roles, now).await,
            None => self.grant_proof(&ring, user, epochs, now).await,
        }
    }

    async fn grant_tokens(
        &self,
        ring: &Ring,
        user: &User,
        epochs: Epochs,
        roles: &SubjectRoles,
        now: OffsetDateTime,
    ) -> Result<Option<Granted>, Failure> {
        let expires_at = now + self.settings.refresh.absolute;
        let family = Family {
            id: FamilyId::parse(&self.id(FamilyId::PREFIX)).ok_or(StoreError::Corrupt("new family id"))?,
            subject: user.id.clone(),
            client: ClientId::first_party(),
            epochs,
            scope: Scope::default(),
            audience: self.settings.first_party.as_str().to_owned(),
            amr: vec![AMR_PASSWORD.to_owned()],
            created_at: now,
            expires_at,
            ended: false,
        };
        let jti = self.jti();
        let claims = claims::of_family(self.issue(&jti, now), &family, user, &family.scope, roles);
        let access_token = self.access_token_by(ring, claims)?;
        let refresh_token = self.secret(SecretKind::Refresh);
        let idle_until = self.settings.refresh.idle_until(expires_at, now);
        let (id, scope) = (family.id.clone(), family.scope.to_string());
        let new = NewFamily { family, token: refresh_token.digest(), idle_until };
        if !self.store.begin_family(&new).await? {
            return Ok(None);
        }
        let tokens = TokenSet {
            access_token,
            expires_in: self.expires_in(),
            refresh_token: Zeroizing::new(refresh_token.reveal().to_owned()),
            scope,
        };
        Ok(Some(Granted::Tokens { tokens, family: id }))
    }

    async fn grant_proof(
        &self,
        ring: &Ring,
        user: &User,
        epochs: Epochs,
        now: OffsetDateTime,
    ) -> Result<Option<Granted>, Failure> {
        // Nothing is inserted whose condition could repeat it, so the row is read again: hashing took a while.
        let present = self.store.user(&Key::Id(user.id.clone())).await?;
        if !present.is_some_and(|present| present.epoch == user.epoch && present.status == Status::Active) {
            return Ok(None);
        }
        let jti = self.jti();
        let issue = claims::Issue { lifetime: self.settings.proof_lifetime, ..self.issue(&jti, now) };
        let proof = ring.active().sign(TYP_PROOF, &claims::proof(issue, user, epochs))?;
        Ok(Some(Granted::Proof(proof)))
    }
}
