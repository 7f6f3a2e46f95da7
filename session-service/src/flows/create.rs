//! A login proof becomes a session. Nothing else does: whatever a browser had before is at most ended (S03).

use thiserror::Error;

use super::Sessions;
use crate::domain::{Origin, Session, SessionSecret, Shard};
use crate::peers::KeysUnavailable;
use crate::store::{Created, Ended, NewSession, StoreError};

/// What the caller brings.
pub struct Login<'a> {
    pub proof: &'a str,
    pub user_agent: &'a str,
    pub client_address: &'a str,
    /// What the browser had before, if it could be a secret at all.
    pub former: Option<SessionSecret>,
}

pub enum Creation {
    /// `ended`: what had to make room or was replaced.
    Created {
        session: Box<Session>,
        secret: SessionSecret,
        ended: Vec<Ended>,
    },
    /// With the stable word for why.
    ProofInvalid(&'static str),
    LimitReached,
}

#[derive(Debug, Error)]
pub enum CreateError {
    #[error(transparent)]
    Keys(#[from] KeysUnavailable),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Sessions {
    pub async fn create(&self, login: Login<'_>) -> Result<Creation, CreateError> {
        let now = self.now();
        let proof = match self.proofs.verify(login.proof, now).await? {
            Ok(proof) => proof,
            Err(reason) => {
                self.figures.proofs_refused.add(1);
                return Ok(Creation::ProofInvalid(reason));
            }
        };
        let spent = self.proofs.spent(&proof);
        let origin = Origin {
            subject: proof.subject,
            username: proof.username,
            epoch: proof.epoch,
            methods: proof.methods,
            authenticated_at: proof.authenticated_at,
            user_agent: Origin::cut(login.user_agent, Origin::MOST_USER_AGENT_BYTES),
            client_address: Origin::cut(login.client_address, Origin::MOST_ADDRESS_BYTES),
        };
        let shard = Shard::of(&origin.subject);
        let session = Session::begin(self.new_id(shard), origin, now, &self.lifetimes);
        let secret = self.new_secret(shard);
        let activity = self.activity.unwritten_of(&session.origin.subject);
        let created = self
            .store
            .create(NewSession {
                session: session.clone(),
                secret: secret.digest(),
                proof: spent,
                former: login.former.map(|former| former.digest()),
                limit: self.limit,
                idle_since: self.lifetimes.idle_since(now),
                activity: activity.clone(),
                now,
            })
            .await?;
        match created {
            Created::Stored { ended } => {
                self.activity.written(&activity);
                self.figures.created.add(1);
                Ok(Creation::Created {
                    session: Box::new(session),
                    secret,
                    ended: self.really_ended(ended, now),
                })
            }
            Created::ProofSpent => {
                self.figures.proofs_refused.add(1);
                Ok(Creation::ProofInvalid("spent"))
            }
            Created::LimitReached => {
                self.figures.limit_refused.add(1);
                Ok(Creation::LimitReached)
            }
        }
    }
}
