//! First-party login with a password.

use time::OffsetDateTime;

use super::{
    Auth, Failure, Origin,
    audit::{Ending, Ends, Line},
    grant::{Granted, LoggedIn, LoginMode},
    verify_password::{Claimed, Verified},
};
use crate::domain::{
    id::FIRST_PARTY,
    password::{Password, PasswordTooLong},
    user::User,
};

/// What was sent.
pub struct Login<'a> {
    pub identifier: &'a str,
    pub password: &'a str,
    pub mode: LoginMode,
    pub address: &'a str,
}

/// Why there is no login.
#[derive(Debug, thiserror::Error)]
pub enum LoginRefused {
    /// Unknown, disabled or wrong: not told apart.
    #[error("the username or the password is wrong")]
    InvalidCredentials,
    #[error("too many failed attempts")]
    TooManyAttempts { until: OffsetDateTime, now: OffsetDateTime },
    /// Right, but an administrator chose the password.
    #[error("the password must be changed before the first login")]
    PasswordChangeRequired,
    #[error(transparent)]
    PasswordTooLong(#[from] PasswordTooLong),
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl Ends for LoginRefused {
    fn ending(&self) -> Ending {
        match self {
            Self::InvalidCredentials => Ending::Refused("INVALID_CREDENTIALS"),
            Self::TooManyAttempts { .. } => Ending::Refused("TOO_MANY_ATTEMPTS"),
            Self::PasswordChangeRequired => Ending::Refused("PASSWORD_CHANGE_REQUIRED"),
            Self::PasswordTooLong(_) => Ending::Refused("PASSWORD_TOO_LONG"),
            Self::Failed(failure) => failure.ending(),
        }
    }
}

/// Verifies a password and turns it into tokens or a login proof.
pub async fn login(auth: &Auth, origin: &Origin, request: Login<'_>) -> Result<LoggedIn, LoginRefused> {
    let mut line = Line::begin(origin, "login");
    line.client(FIRST_PARTY);
    line.address(request.address);
    line.detail(match request.mode {
        LoginMode::Token => "mode=token",
        LoginMode::Session => "mode=session",
    });
    let outcome = attempt(auth, origin, &request, &mut line).await;
    auth.metrics.logins.count(&outcome);
    line.end(&outcome);
    outcome
}

async fn attempt(
    auth: &Auth,
    origin: &Origin,
    request: &Login<'_>,
    line: &mut Line,
) -> Result<LoggedIn, LoginRefused> {
    let password = Password::parse(request.password)?;
    let place = auth.hashing.admit().await.map_err(Failure::from)?;
    let now = auth.now();
    let claimed = Claimed { identifier: request.identifier, password: &password, address: request.address };
    let user = believed(auth.verify_password(&place, claimed, now).await?, now, line)?;
    drop(place);
    if user.must_change_password {
        return Err(LoginRefused::PasswordChangeRequired);
    }
    let prepared = auth.prepare_grant(origin, &user.id, request.mode).await?;
    let granted = auth.grant(prepared, &user, now).await?.ok_or(LoginRefused::InvalidCredentials)?;
    // By which the login can be ended.
    if let Granted::Tokens { family, .. } = &granted {
        line.detail(format!("mode=token family={family}"));
    }
    Ok(LoggedIn { user, granted })
}

/// The user, once the password was right. The audit line learns whom it is about; never the identifier as it was typed.
pub(super) fn believed(
    verified: Verified,
    now: OffsetDateTime,
    line: &mut Line,
) -> Result<User, LoginRefused> {
    match verified {
        Verified::Right(account) => {
            line.subject(&account.user.id);
            Ok(account.user)
        }
        Verified::Wrong(account) => {
            if let Some(account) = account {
                line.subject(&account.user.id);
            }
            Err(LoginRefused::InvalidCredentials)
        }
        Verified::TooManyAttempts { until } => Err(LoginRefused::TooManyAttempts { until, now }),
    }
}
