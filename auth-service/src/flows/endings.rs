//! Taking things back: what an ending leaves in the feed, and that it is answered only when it holds everywhere.

use std::time::Duration;

use feed::{
    Change, Credential, Tag, Target, Verdict, Wall, What,
    credential::Stamp,
    issuer::Bounds,
    replica::{Answer, Mode, Outcome},
};
use time::OffsetDateTime;
use token::{AccessClaims, Issued, PrincipalKind};

use super::{Auth, Failure};
use crate::{
    domain::{id::TokenId, refresh::Family},
    store::NewEnding,
};

/// It is ended, and perhaps not yet everywhere. Repeating is right.
#[derive(Debug, thiserror::Error)]
#[error("it is ended, and not yet known to hold everywhere: repeat it")]
pub struct NotConfirmed;

/// The feed's log could not be asked.
#[derive(Debug, thiserror::Error)]
#[error("the log of endings cannot be asked")]
pub struct FeedUnavailable;

impl Auth {
    /// What goes into the log with the rows that change. It is remembered from now on, so it is made when everything else is done, of
    /// which hashing a password takes longest.
    pub(super) fn ending(&self) -> NewEnding<'_> {
        let mut tag = [0; 8];
        self.entropy.fill(&mut tag);
        // Before the time is read: whatever is between them is waiting, too.
        let reckoned = self.clock.boottime();
        let at = self.now();
        let until = Bounds::DEFAULT.until(wall(at), self.settings.longest_life);
        NewEnding { at, until, tag: Tag(u64::from_be_bytes(tag)), clock: self.clock.as_ref(), reckoned }
    }

    /// When this is answered, no replica accepts what was ended before it was called, by whomever.
    pub(super) async fn hold_everywhere(&self) -> Result<(), Failure> {
        self.end(Vec::new()).await
    }

    /// Whether what was just read from the store may be believed, if it says so of this credential: a database that was deposed
    /// answers too (rule R8).
    pub(super) async fn believe_store(&self, credential: &Credential) -> Result<(), FeedUnavailable> {
        match self.feed.judge(credential).await {
            Answer::Verdict(Verdict::Live) => Ok(()),
            Answer::Verdict(_) | Answer::Unavailable => Err(FeedUnavailable),
        }
    }

    /// Ends one access token. It need not be known here: that it verifies is enough. One that no guard with a lease believes
    /// any more leaves nothing in the log.
    pub(super) async fn end_token(&self, issued: &Issued, now: OffsetDateTime) -> Result<(), Failure> {
        let until = Bounds::DEFAULT.until(wall(issued.expires_at), Duration::ZERO);
        if until + Bounds::DEFAULT.clocks_apart < wall(now) {
            return self.hold_everywhere().await;
        }
        // Who has a key of ours can write any time into a token.
        self.end_token_until(&issued.token, until.min(self.ending().until)).await
    }

    /// As [`Auth::end_token`], of which the id alone is known: kept as long as the longest life that it could have.
    pub(super) async fn end_token_by_id(&self, token: &TokenId) -> Result<(), Failure> {
        let ending = self.ending();
        self.end_token_until(token.as_str(), ending.until).await?;
        // Repeated it is appended anew.
        if ending.is_late() { Err(NotConfirmed.into()) } else { Ok(()) }
    }

    async fn end_token_until(&self, jti: &str, until: Wall) -> Result<(), Failure> {
        let target = Target::new(What::Token, jti);
        self.end(vec![Change { target, min: None, except: None, until }]).await
    }

    async fn end(&self, changes: Vec<Change>) -> Result<(), Failure> {
        match self.feed.end(changes, Mode::Everywhere).await {
            Outcome::Done { everywhere: true, .. } => Ok(()),
            Outcome::Done { everywhere: false, .. } | Outcome::NotConfirmed | Outcome::Refused => {
                Err(NotConfirmed.into())
            }
        }
    }

    /// Whether what is valid by itself, a token that verifies or a login in the store, is void all the same.
    pub(super) async fn is_void(&self, credential: &Credential) -> Result<bool, Failure> {
        match self.feed.judge(credential).await {
            Answer::Verdict(Verdict::Live | Verdict::RolesOutdated { .. }) => Ok(false),
            Answer::Verdict(Verdict::Ended(_) | Verdict::Forgotten) => Ok(true),
            Answer::Unavailable => Err(FeedUnavailable.into()),
        }
    }
}

/// What the feed knows an access token by, which this key signed.
pub(super) fn credential(claims: &AccessClaims, key: &str) -> Credential {
    let client = Stamp { id: claims.client_id.as_str().into(), generation: claims.epo.client };
    // A client that acts for itself has one epoch, its own.
    let subject = (claims.kind == PrincipalKind::User)
        .then(|| Stamp { id: claims.sub.as_str().into(), generation: claims.epo.subject });
    Credential {
        token: Some(claims.jti.as_str().into()),
        family: claims.fam.as_deref().map(Into::into),
        session: claims.sid.as_deref().map(Into::into),
        key: Some(key.into()),
        subject,
        client: Some(client),
        roles: None,
        expired_from: Some(wall(claims.exp)),
    }
}

/// What the feed knows a login by.
pub(super) fn of_family(family: &Family) -> Credential {
    let stamp = |id: &str, generation| Some(Stamp { id: id.into(), generation });
    Credential {
        family: Some(family.id.as_str().into()),
        subject: stamp(family.subject.as_str(), family.epochs.subject),
        client: stamp(family.client.as_str(), family.epochs.client),
        ..Credential::default()
    }
}

pub(super) fn wall(at: OffsetDateTime) -> Wall {
    let millis = at.unix_timestamp_nanos().div_euclid(1_000_000);
    Wall::from_unix_millis(u64::try_from(millis).unwrap_or(0))
}

/// `None`: of a year that no date has.
pub(super) fn moment(at: Wall) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.unix_millis()) * 1_000_000).ok()
}
