//! Reading and administering users.

use super::{
    Auth, Failure, Origin,
    audit::{Ending, Ends, Line},
};
use crate::{
    domain::{
        id::UserId,
        page::{Page, PageRequest},
        password::{Password, PasswordRefused},
        user::{Key, Status, User},
        username::fold,
    },
    store::StoreError,
};

/// Why nothing was done to a user.
#[derive(Debug, thiserror::Error)]
pub enum UserRefused {
    #[error("there is no such user")]
    NotFound,
    #[error(transparent)]
    Password(#[from] PasswordRefused),
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl Ends for UserRefused {
    fn ending(&self) -> Ending {
        match self {
            Self::NotFound => Ending::Refused("USER_NOT_FOUND"),
            Self::Password(_) => Ending::Refused("PASSWORD_REFUSED"),
            Self::Failed(failure) => failure.ending(),
        }
    }
}

impl From<StoreError> for UserRefused {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

/// By id, or by name in any spelling of it.
pub async fn get_user(auth: &Auth, key: Key<UserId>) -> Result<User, UserRefused> {
    let key = match key {
        Key::Name(name) => Key::Name(fold(&name)),
        id => id,
    };
    auth.store.user(&key).await?.ok_or(UserRefused::NotFound)
}

pub async fn list_users(auth: &Auth, page: &PageRequest) -> Result<Page<User>, Failure> {
    Ok(auth.store.users(page).await?)
}

/// Disabling voids everything that was issued for the user.
pub async fn set_user_status(
    auth: &Auth,
    origin: &Origin,
    id: &str,
    status: Status,
) -> Result<User, UserRefused> {
    let event = match status {
        Status::Active => "user.enable",
        Status::Disabled => "user.disable",
    };
    let (line, id) = begin(origin, event, id);
    let outcome = async {
        let id = id.ok_or(UserRefused::NotFound)?;
        auth.store.set_user_status(&id, status, auth.ending()).await?.ok_or(UserRefused::NotFound)
    };
    let outcome = outcome.await;
    line.end(&outcome);
    held(auth, outcome).await
}

/// Without the present password; voids everything that was issued for the user.
pub async fn set_password(
    auth: &Auth,
    origin: &Origin,
    id: &str,
    password: &str,
    must_change: bool,
) -> Result<User, UserRefused> {
    let (line, id) = begin(origin, "user.set_password", id);
    let outcome = set(auth, id, password, must_change).await;
    line.end(&outcome);
    held(auth, outcome).await
}

async fn set(
    auth: &Auth,
    id: Option<UserId>,
    password: &str,
    must_change: bool,
) -> Result<User, UserRefused> {
    let id = id.ok_or(UserRefused::NotFound)?;
    let password = Password::parse(password).map_err(PasswordRefused::from)?;
    let user = auth.store.user(&Key::Id(id.clone())).await?.ok_or(UserRefused::NotFound)?;
    let place = auth.hashing.admit().await.map_err(Failure::from)?;
    auth.settings.passwords.judge(&password, user.username.as_str())?;
    let hash = auth.hashing.hash(&place, &password, auth.random()).await.map_err(Failure::from)?;
    let ending = auth.ending();
    auth.store.set_password(&id, None, &hash, must_change, ending).await?.ok_or(UserRefused::NotFound)
}

/// Voids everything that was issued for the user, who may log in anew.
pub async fn revoke_user_tokens(auth: &Auth, origin: &Origin, id: &str) -> Result<(), UserRefused> {
    let (line, id) = begin(origin, "user.revoke_tokens", id);
    let outcome = async {
        let id = id.ok_or(UserRefused::NotFound)?;
        let ending = auth.ending();
        auth.store.revoke_user(&id, ending).await?.then_some(()).ok_or(UserRefused::NotFound)
    };
    let outcome = outcome.await;
    line.end(&outcome);
    held(auth, outcome).await
}

/// Voids everything that was issued for the user. The id is never used again; the name is free.
pub async fn delete_user(auth: &Auth, origin: &Origin, id: &str) -> Result<(), UserRefused> {
    let (line, id) = begin(origin, "user.delete", id);
    let outcome = async {
        let id = id.ok_or(UserRefused::NotFound)?;
        let ending = auth.ending();
        auth.store.delete_user(&id, ending).await?.then_some(()).ok_or(UserRefused::NotFound)
    };
    let outcome = outcome.await;
    line.end(&outcome);
    held(auth, outcome).await
}

/// What was done is audited as done before it holds everywhere. Also who is not there may have been deleted a moment ago,
/// by a call that nobody waited for.
async fn held<T>(auth: &Auth, outcome: Result<T, UserRefused>) -> Result<T, UserRefused> {
    if matches!(outcome, Ok(_) | Err(UserRefused::NotFound)) {
        auth.hold_everywhere().await?;
    }
    outcome
}

/// What is no id is nobody's, and does not go into the line.
fn begin(origin: &Origin, event: &'static str, id: &str) -> (Line, Option<UserId>) {
    let mut line = Line::begin(origin, event);
    let id = UserId::parse(id);
    if let Some(id) = &id {
        line.subject(id);
    }
    (line, id)
}
