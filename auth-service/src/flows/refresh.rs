//! Refresh with rotation (RFC 6749 §6, RFC 9700 §4.14).
//!
//! A crash between commit and answer, a retry, or fifty tabs at once cost nobody a login: within the grace window each
//! gets the one successor that exists. After it, a spent token is a stolen one.

use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::{
    Auth, Failure, Origin,
    audit::{Ending, Ends, Line},
    authenticate_client::ClientCredentials,
    issue::TokenSet,
};
use crate::{
    domain::{
        claims::{self, SubjectRoles},
        client::Client,
        id::ClientId,
        refresh::{Death, Standing, Use, Verdict},
        scope::Scope,
        sealing::SealingKey,
        secret::{Secret, SecretKind},
        user::User,
    },
    peers::Subject,
    store::{FamilyEnd, Rotation},
};

/// Between two of its reads a token changes at most twice: spent, then its family ended.
const MAX_READS: usize = 4;

/// What was sent.
pub struct Refresh<'a> {
    pub client: ClientCredentials<'a>,
    pub token: &'a str,
    /// Space separated; empty: as granted.
    pub scope: &'a str,
}

/// Why there are no new tokens.
#[derive(Debug, thiserror::Error)]
pub enum RefreshRefused {
    #[error("the client is not known, or its secret is wrong")]
    InvalidClient,
    /// Why is for the audit line alone.
    #[error("the refresh token is not valid")]
    InvalidGrant(Invalid),
    #[error("the scope is wider than was granted")]
    InvalidScope,
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// What is wrong with a refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalid {
    Unknown,
    Dead(Death),
    /// Spent before, and presented again after the grace window: the family was ended.
    Theft,
}

impl Ends for RefreshRefused {
    fn ending(&self) -> Ending {
        match self {
            Self::InvalidClient => Ending::Refused("INVALID_CLIENT"),
            Self::InvalidGrant(Invalid::Theft) => Ending::Refused("THEFT"),
            Self::InvalidGrant(_) => Ending::Refused("INVALID_GRANT"),
            Self::InvalidScope => Ending::Refused("INVALID_SCOPE"),
            Self::Failed(failure) => failure.ending(),
        }
    }
}

/// How the tokens came about.
enum Way {
    Rotated,
    Repeated,
}

/// Replaces a refresh token and issues an access token of the same family.
pub async fn refresh(auth: &Auth, origin: &Origin, request: Refresh<'_>) -> Result<TokenSet, RefreshRefused> {
    let mut line = Line::begin(origin, "refresh");
    if let Some(client) = ClientId::parse(request.client.id) {
        line.client(client);
    }
    let mut about = None;
    let outcome = attempt(auth, origin, &request, &mut about).await;
    if let Some(standing) = &about {
        line.subject(&standing.family.subject);
        let family = &standing.family.id;
        line.detail(match &outcome {
            Ok((_, Way::Rotated)) => format!("family={family} rotated"),
            Ok((_, Way::Repeated)) => format!("family={family} repeated within the grace window"),
            Err(RefreshRefused::InvalidGrant(Invalid::Dead(death))) => {
                format!("family={family} {}", death.as_str())
            }
            Err(RefreshRefused::InvalidGrant(Invalid::Theft)) => format!("family={family} ended"),
            Err(_) => format!("family={family}"),
        });
    }
    auth.metrics.refreshes.count(&outcome);
    line.end(&outcome);
    // A spent token ends its family, and the answer says that it has. Also the second time: the first may have been told that it is
    // not known to hold yet.
    let was_spent = about.as_ref().is_some_and(|standing| matches!(standing.link.use_, Use::Spent { .. }));
    let has_ended = match outcome {
        Err(RefreshRefused::InvalidGrant(Invalid::Theft)) => true,
        Err(RefreshRefused::InvalidGrant(Invalid::Dead(Death::Ended))) => was_spent,
        _ => false,
    };
    if has_ended {
        auth.hold_everywhere().await?;
    }
    outcome.map(|(tokens, _)| tokens)
}

async fn attempt(
    auth: &Auth,
    origin: &Origin,
    request: &Refresh<'_>,
    about: &mut Option<Standing>,
) -> Result<(TokenSet, Way), RefreshRefused> {
    let now = auth.now();
    let client = auth.authenticate_client(request.client).await?.ok_or(RefreshRefused::InvalidClient)?;
    let unknown = || RefreshRefused::InvalidGrant(Invalid::Unknown);
    let presented = Secret::parse(SecretKind::Refresh, request.token).ok_or_else(unknown)?;
    let asked = Scope::parse(request.scope).map_err(|_| RefreshRefused::InvalidScope)?;
    let mut roles: Option<SubjectRoles> = None;
    for _ in 0..MAX_READS {
        let standing =
            auth.store.standing(&presented.digest()).await.map_err(Failure::from)?.ok_or_else(unknown)?;
        let standing = about.insert(standing);
        let verdict = standing.judge(&client.id, &auth.settings.refresh, now);
        match verdict {
            Verdict::Dead(death) => return Err(RefreshRefused::InvalidGrant(Invalid::Dead(death))),
            Verdict::Theft => {
                let family = &standing.family.id;
                let ending = auth.ending();
                auth.store.end_family(family, None, FamilyEnd::Theft, ending).await.map_err(Failure::from)?;
                return Err(RefreshRefused::InvalidGrant(Invalid::Theft));
            }
            Verdict::Rotate | Verdict::Repeat { .. } => {}
        }
        let scope = narrowed(standing, &asked)?;
        // Asked once, and before anything is spent: a refusal to answer leaves the token as it was.
        let roles = match &mut roles {
            Some(roles) => roles,
            none => none.insert(
                auth.policy
                    .roles_of(Subject::User(&standing.family.subject), &origin.peer_call())
                    .await
                    .map_err(Failure::from)?,
            ),
        };
        let Some(user) = &standing.user else {
            return Err(RefreshRefused::InvalidGrant(Invalid::Dead(Death::Subject)));
        };
        let access_token = access_token(auth, standing, user, &scope, roles, now).await?;
        let (successor, way) = match verdict {
            Verdict::Repeat { successor } => (reopened(&presented, &successor)?, Way::Repeated),
            _ => match rotated(auth, standing, &client, &presented, now).await? {
                Some(successor) => (successor, Way::Rotated),
                // Somebody else was first, or something ended meanwhile: judge again what is there now.
                None => continue,
            },
        };
        let tokens = TokenSet {
            access_token,
            expires_in: auth.expires_in(),
            refresh_token: successor,
            scope: scope.to_string(),
        };
        return Ok((tokens, way));
    }
    Err(unknown())
}

/// The scope of the access token. That of the family stays as granted.
fn narrowed(standing: &Standing, asked: &Scope) -> Result<Scope, RefreshRefused> {
    let granted = &standing.family.scope;
    if asked.is_empty() {
        Ok(granted.clone())
    } else if asked.is_within(granted) {
        Ok(asked.clone())
    } else {
        Err(RefreshRefused::InvalidScope)
    }
}

async fn access_token(
    auth: &Auth,
    standing: &Standing,
    user: &User,
    scope: &Scope,
    roles: &SubjectRoles,
    now: OffsetDateTime,
) -> Result<String, Failure> {
    let jti = auth.jti();
    auth.access_token(claims::of_family(auth.issue(&jti, now), &standing.family, user, scope, roles)).await
}

/// Spends the presented token. `None`: the conditional statement found it otherwise.
async fn rotated(
    auth: &Auth,
    standing: &Standing,
    client: &Client,
    presented: &Secret,
    now: OffsetDateTime,
) -> Result<Option<Zeroizing<String>>, Failure> {
    let policy = &auth.settings.refresh;
    let successor = auth.secret(SecretKind::Refresh);
    let sealed = if policy.grace.is_zero() {
        None
    } else {
        let key = SealingKey::from_spent(presented).ok_or(crate::domain::sealing::DoesNotOpen)?;
        Some(key.seal(auth.random(), presented.digest().as_bytes(), successor.reveal().as_bytes())?)
    };
    let rotation = Rotation {
        spent: presented.digest(),
        client: client.id.clone(),
        successor: successor.digest(),
        sealed,
        idle_until: policy.idle_until(standing.family.expires_at, now),
        now,
    };
    let won = auth.store.rotate(&rotation).await?;
    Ok(won.then(|| Zeroizing::new(successor.reveal().to_owned())))
}

/// The successor that the first refresh of this token was answered with.
fn reopened(presented: &Secret, sealed: &[u8]) -> Result<Zeroizing<String>, Failure> {
    let key = SealingKey::from_spent(presented).ok_or(crate::domain::sealing::DoesNotOpen)?;
    let plain = key.open(presented.digest().as_bytes(), sealed)?;
    let text = std::str::from_utf8(&plain).map_err(|_| crate::domain::sealing::DoesNotOpen)?;
    Ok(Zeroizing::new(text.to_owned()))
}
