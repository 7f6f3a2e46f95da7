//! A new secret for a session: at step-up, after a role change, on demand.
//!
//! Rotations that race from one secret must leave one live successor and tell it to everybody, or a page's parallel
//! requests would log each other out. So the first one wins, and whoever presents the former secret within its window is
//! given the winner's: rotating again from there would hand out secrets that nobody uses.

use super::Sessions;
use crate::domain::{SealedSuccessor, Session, SessionSecret, Shard};
use crate::store::{Rotated, Rotation, StoreError};

pub struct RotatedSession {
    pub session: Session,
    pub secret: SessionSecret,
}

impl Sessions {
    /// Counts as activity. `None`: unknown, expired or ended.
    pub async fn rotate(&self, secret: &SessionSecret) -> Result<Option<RotatedSession>, StoreError> {
        let now = self.now();
        // Who loses a race finds its secret a former one, or its session ended, in the second round.
        for _ in 0..2 {
            let Some(presented) = self.by_secret(secret, now).await? else {
                self.figures.not_found.add(1);
                return Ok(None);
            };
            let session = presented.session.active_at(now);
            if presented.former {
                self.activity.note(&session.id, &session.origin.subject, now);
                return Ok(Some(RotatedSession { session, secret: presented.current }));
            }
            let successor = self.new_secret(Shard::of(&session.origin.subject));
            let mut nonce = [0; SealedSuccessor::NONCE_BYTES];
            self.entropy.fill(&mut nonce);
            let sealed = SealedSuccessor::seal(&successor, secret, &session.id, nonce)
                .map_err(|error| StoreError::Unavailable(Box::new(error)))?;
            let rotation = Rotation {
                id: session.id.clone(),
                from: secret.digest(),
                to: successor.digest(),
                sealed,
                accepted_until: now + self.lifetimes.rotation_grace,
                now,
            };
            match self.store.rotate(rotation).await? {
                Rotated::Done => {
                    self.figures.rotated.add(1);
                    return Ok(Some(RotatedSession { session, secret: successor }));
                }
                Rotated::NotCurrent => {}
            }
        }
        Err(StoreError::Corrupt("a secret is current and yet is not".into()))
    }
}
