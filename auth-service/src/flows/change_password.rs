//! Replacing a password by its owner, who must know the present one. Everything issued before is void afterwards.

use super::{
    Auth, Failure, Origin,
    audit::{Ending, Ends, Line},
    grant::{Granted, LoggedIn, LoginMode},
    login::{LoginRefused, believed},
    verify_password::Claimed,
};
use crate::domain::password::{Password, PasswordRefused};

/// What was sent.
pub struct ChangePassword<'a> {
    pub identifier: &'a str,
    pub current: &'a str,
    pub new: &'a str,
    /// The caller is logged in anew.
    pub mode: LoginMode,
    pub address: &'a str,
}

/// Why it was not changed, or not all was done that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ChangePasswordRefused {
    #[error(transparent)]
    Password(#[from] PasswordRefused),
    #[error(transparent)]
    Login(#[from] LoginRefused),
    /// It was. What failed is the login with it; nothing did where somebody else has changed the user again meanwhile.
    #[error(
        "the password is changed, and the login with it was not made: repeat it with the new one as the present one"
    )]
    NotLoggedIn(#[source] Option<Failure>),
}

impl From<Failure> for ChangePasswordRefused {
    fn from(failure: Failure) -> Self {
        Self::Login(failure.into())
    }
}

impl Ends for ChangePasswordRefused {
    fn ending(&self) -> Ending {
        match self {
            Self::Password(_) => Ending::Refused("PASSWORD_REFUSED"),
            Self::Login(refused) => refused.ending(),
            Self::NotLoggedIn(_) => Ending::Success,
        }
    }
}

/// Changes the password and logs in with it.
pub async fn change_password(
    auth: &Auth,
    origin: &Origin,
    request: ChangePassword<'_>,
) -> Result<LoggedIn, ChangePasswordRefused> {
    let mut line = Line::begin(origin, "password.change");
    line.address(request.address);
    let outcome = change(auth, origin, &request, &mut line).await;
    line.end(&outcome);
    // Audited first: changed it is, whatever comes of this.
    if matches!(outcome, Ok(_) | Err(ChangePasswordRefused::NotLoggedIn(_))) {
        auth.hold_everywhere().await?;
    }
    outcome
}

async fn change(
    auth: &Auth,
    origin: &Origin,
    request: &ChangePassword<'_>,
    line: &mut Line,
) -> Result<LoggedIn, ChangePasswordRefused> {
    let current = Password::parse(request.current).map_err(LoginRefused::from)?;
    let new = Password::parse(request.new).map_err(PasswordRefused::from)?;
    let place = auth.hashing.admit().await.map_err(Failure::from)?;
    let now = auth.now();
    // Judged first: what may not be chosen costs neither an attempt nor a hash, and tells nobody anything.
    auth.settings.passwords.judge(&new, request.identifier)?;
    let claimed = Claimed { identifier: request.identifier, password: &current, address: request.address };
    let user = believed(auth.verify_password(&place, claimed, now).await?, now, line)?;
    // Once more the same ends what was issued since, which is how a change that stopped halfway is repeated. Only a
    // password that somebody else chose must become another.
    if user.must_change_password && new == current {
        return Err(PasswordRefused::Unchanged.into());
    }
    let hash = auth.hashing.hash(&place, &new, auth.random()).await.map_err(Failure::from)?;
    drop(place);
    let prepared = auth.prepare_grant(origin, &user.id, request.mode).await?;
    let changed = auth
        .store
        .set_password(&user.id, Some(user.epoch), &hash, false, auth.ending())
        .await
        .map_err(Failure::from)?;
    // Changed, disabled or deleted by somebody else since it was verified: what was verified is void.
    let user = changed.ok_or(LoginRefused::InvalidCredentials)?;
    let granted = match auth.grant(prepared, &user, now).await {
        Ok(granted) => granted.ok_or(ChangePasswordRefused::NotLoggedIn(None))?,
        Err(failure) => return Err(ChangePasswordRefused::NotLoggedIn(Some(failure))),
    };
    if let Granted::Tokens { family, .. } = &granted {
        line.detail(format!("family={family}"));
    }
    Ok(LoggedIn { user, granted })
}
