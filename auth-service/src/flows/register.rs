//! Making a user: by somebody who registers, where that is open, or by an administrator.

use super::{
    Auth, Failure, Origin,
    audit::{Ending, Ends, Line},
};
use crate::{
    domain::{
        id::UserId,
        password::{Password, PasswordRefused},
        user::{Key, Status, User},
        username::{Username, UsernameRefused},
    },
    store::{Inserted, NewUser, StoreError},
};

/// A user to be, as it was sent.
pub struct NewAccount<'a> {
    pub username: &'a str,
    pub password: &'a str,
    pub must_change_password: bool,
}

/// Why there is no new user.
#[derive(Debug, thiserror::Error)]
pub enum RegisterRefused {
    #[error("registration is closed: an administrator creates accounts here")]
    Closed,
    #[error("the username is taken")]
    Taken,
    #[error(transparent)]
    Username(#[from] UsernameRefused),
    #[error(transparent)]
    Password(#[from] PasswordRefused),
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl Ends for RegisterRefused {
    fn ending(&self) -> Ending {
        match self {
            Self::Closed => Ending::Refused("REGISTRATION_CLOSED"),
            Self::Taken => Ending::Refused("USERNAME_TAKEN"),
            Self::Username(_) => Ending::Refused("USERNAME_INVALID"),
            Self::Password(_) => Ending::Refused("PASSWORD_REFUSED"),
            Self::Failed(failure) => failure.ending(),
        }
    }
}

/// By oneself.
pub async fn register(
    auth: &Auth,
    origin: &Origin,
    request: NewAccount<'_>,
    address: &str,
) -> Result<User, RegisterRefused> {
    let mut line = Line::begin(origin, "user.register");
    line.address(address);
    let open = auth.settings.registration_open;
    let outcome = if open { make(auth, &request).await } else { Err(RegisterRefused::Closed) };
    about(&mut line, &outcome);
    line.end(&outcome);
    outcome
}

/// By an administrator.
pub async fn create_user(
    auth: &Auth,
    origin: &Origin,
    request: NewAccount<'_>,
) -> Result<User, RegisterRefused> {
    let mut line = Line::begin(origin, "user.create");
    let outcome = make(auth, &request).await;
    about(&mut line, &outcome);
    line.end(&outcome);
    outcome
}

fn about(line: &mut Line, outcome: &Result<User, RegisterRefused>) {
    if let Ok(user) = outcome {
        line.subject(&user.id);
    }
}

async fn make(auth: &Auth, request: &NewAccount<'_>) -> Result<User, RegisterRefused> {
    let username = Username::parse(request.username)?;
    let password = Password::parse(request.password).map_err(PasswordRefused::from)?;
    let place = auth.hashing.admit().await.map_err(Failure::from)?;
    let now = auth.now();
    auth.settings.passwords.judge(&password, username.as_str())?;
    // Spares a hash where the answer is known; the insertion decides.
    let key = Key::Name(username.key().to_owned());
    if auth.store.user(&key).await.map_err(Failure::from)?.is_some() {
        return Err(RegisterRefused::Taken);
    }
    let password_hash = auth.hashing.hash(&place, &password, auth.random()).await.map_err(Failure::from)?;
    let id = UserId::parse(&auth.id(UserId::PREFIX))
        .ok_or(StoreError::Corrupt("new user id"))
        .map_err(Failure::from)?;
    let must_change_password = request.must_change_password;
    let new = NewUser {
        id: id.clone(),
        username: username.clone(),
        password_hash,
        must_change_password,
        created_at: now,
    };
    match auth.store.insert_user(new).await.map_err(Failure::from)? {
        Inserted::Done => {
            Ok(User { id, username, status: Status::Active, must_change_password, epoch: 0, created_at: now })
        }
        Inserted::Taken => Err(RegisterRefused::Taken),
    }
}
