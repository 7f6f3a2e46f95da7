//! The one place where outcomes and failures become statuses. A store that cannot be asked is UNAVAILABLE and never "wrong
//! password" or "not found": that would log somebody out.

use std::time::Duration;

use chassis::status::{internal, invalid, refusal, unavailable, with_retry};
use tonic::{Code, Status};

use crate::{
    domain::password::PasswordRefused,
    flows::{
        Failure, change_password::ChangePasswordRefused, clients::ClientRefused,
        introspect::IntrospectRefused, issue_client_token::ClientTokenRefused, keys::KeysError,
        login::LoginRefused, refresh::RefreshRefused, register::RegisterRefused, revoke::RevokeRefused,
        signing_keys::KeyRefused, tokens::TokenRefused, users::UserRefused,
    },
    hashing::HashingError,
    store::StoreError,
};

/// When to repeat an ending that was not confirmed: the leases that kept it from that are over soon.
const NOT_CONFIRMED_RETRY: Duration = Duration::from_secs(1);

pub(super) fn of_failure(failure: &Failure) -> Status {
    match failure {
        Failure::Hashing(HashingError::Busy { retry_after }) => with_retry(
            Code::ResourceExhausted,
            "HASHING_BUSY",
            "too many passwords are being checked: try again in a moment",
            *retry_after,
        ),
        Failure::Store(error) | Failure::Keys(KeysError::Store(error)) => of_store(error),
        Failure::Policy(error) => unavailable("the roles cannot be asked for now", error),
        Failure::NotConfirmed(error) => {
            with_retry(Code::Unavailable, "NOT_CONFIRMED", error.to_string(), NOT_CONFIRMED_RETRY)
        }
        Failure::Feed(error) => unavailable("endings cannot be looked up now", error),
        Failure::Keys(error) => unavailable("there is no key to sign with now", error),
        Failure::Hashing(error @ HashingError::Failed) => {
            unavailable("passwords cannot be checked now", error)
        }
        Failure::Issue(error) => internal("a token cannot be made", error),
        Failure::Sealing(error) => internal("a successor cannot be sealed or opened", error),
    }
}

fn of_store(error: &StoreError) -> Status {
    if let StoreError::Corrupt(_) = error {
        // Asking again will not help; somebody has to look.
        tracing::error!(error = %chassis::status::chain(error), "the store is damaged");
    }
    unavailable("the account store cannot be asked now", error)
}

pub(super) fn of_login(refused: &LoginRefused) -> Status {
    match refused {
        LoginRefused::InvalidCredentials => {
            refusal(Code::Unauthenticated, "INVALID_CREDENTIALS", refused.to_string())
        }
        LoginRefused::TooManyAttempts { until, now } => {
            let wait = Duration::try_from(*until - *now).unwrap_or_default().max(Duration::from_secs(1));
            with_retry(Code::ResourceExhausted, "TOO_MANY_ATTEMPTS", refused.to_string(), wait)
        }
        LoginRefused::PasswordChangeRequired => {
            refusal(Code::FailedPrecondition, "PASSWORD_CHANGE_REQUIRED", refused.to_string())
        }
        LoginRefused::PasswordTooLong(error) => invalid("password", "PASSWORD_TOO_LONG", error.to_string()),
        LoginRefused::Failed(failure) => of_failure(failure),
    }
}

pub(super) fn of_change_password(refused: &ChangePasswordRefused) -> Status {
    match refused {
        ChangePasswordRefused::Password(refused) => of_password("new_password", refused),
        ChangePasswordRefused::Login(refused) => of_login(refused),
        // The reason by which a caller knows that it is done, and that repeating it does the rest.
        ChangePasswordRefused::NotLoggedIn(_) => {
            tracing::warn!(error = %chassis::status::chain(refused), "a password was changed without the login with it");
            with_retry(Code::Unavailable, "NOT_CONFIRMED", refused.to_string(), NOT_CONFIRMED_RETRY)
        }
    }
}

/// With the reason, for the person who chose it.
fn of_password(field: &str, refused: &PasswordRefused) -> Status {
    invalid(field, "PASSWORD_REFUSED", refused.to_string())
}

pub(super) fn of_register(refused: &RegisterRefused) -> Status {
    match refused {
        RegisterRefused::Closed => {
            refusal(Code::PermissionDenied, "REGISTRATION_CLOSED", refused.to_string())
        }
        RegisterRefused::Taken => refusal(Code::AlreadyExists, "USERNAME_TAKEN", refused.to_string()),
        RegisterRefused::Username(error) => invalid("username", "USERNAME_INVALID", error.to_string()),
        RegisterRefused::Password(refused) => of_password("password", refused),
        RegisterRefused::Failed(failure) => of_failure(failure),
    }
}

pub(super) fn of_user(refused: &UserRefused) -> Status {
    match refused {
        UserRefused::NotFound => user_not_found(),
        UserRefused::Password(refused) => of_password("password", refused),
        UserRefused::Failed(failure) => of_failure(failure),
    }
}

pub(super) fn user_not_found() -> Status {
    refusal(Code::NotFound, "USER_NOT_FOUND", "there is no such user")
}

pub(super) fn of_client(refused: &ClientRefused) -> Status {
    match refused {
        ClientRefused::NotFound => client_not_found(),
        ClientRefused::Taken => refusal(Code::AlreadyExists, "CLIENT_NAME_TAKEN", refused.to_string()),
        ClientRefused::BuiltIn => refusal(Code::InvalidArgument, "CLIENT_INVALID", refused.to_string()),
        ClientRefused::Invalid(error) => refusal(Code::InvalidArgument, "CLIENT_INVALID", error.to_string()),
        ClientRefused::Failed(failure) => of_failure(failure),
    }
}

pub(super) fn client_not_found() -> Status {
    refusal(Code::NotFound, "CLIENT_NOT_FOUND", "there is no such client")
}

pub(super) fn of_key(refused: &KeyRefused) -> Status {
    match refused {
        KeyRefused::NotFound => refusal(Code::NotFound, "KEY_NOT_FOUND", refused.to_string()),
        KeyRefused::Failed(failure) => of_failure(failure),
    }
}

pub(super) fn of_token(refused: &TokenRefused) -> Status {
    match refused {
        TokenRefused::JtiInvalid => invalid("jti", "JTI_INVALID", refused.to_string()),
        TokenRefused::FamilyInvalid => invalid("family", "FAMILY_INVALID", refused.to_string()),
        TokenRefused::FamilyNotFound => refusal(Code::NotFound, "FAMILY_NOT_FOUND", refused.to_string()),
        TokenRefused::Failed(failure) => of_failure(failure),
    }
}

fn invalid_client() -> Status {
    refusal(Code::Unauthenticated, "INVALID_CLIENT", "the client is not known, or its secret is wrong")
}

pub(super) fn of_client_token(refused: &ClientTokenRefused) -> Status {
    match refused {
        ClientTokenRefused::InvalidClient => invalid_client(),
        ClientTokenRefused::InvalidScope => invalid("scope", "INVALID_SCOPE", refused.to_string()),
        ClientTokenRefused::InvalidTarget => invalid("audience", "INVALID_TARGET", refused.to_string()),
        ClientTokenRefused::Failed(failure) => of_failure(failure),
    }
}

pub(super) fn of_refresh(refused: &RefreshRefused) -> Status {
    match refused {
        RefreshRefused::InvalidClient => invalid_client(),
        RefreshRefused::InvalidGrant(_) => invalid("refresh_token", "INVALID_GRANT", refused.to_string()),
        RefreshRefused::InvalidScope => invalid("scope", "INVALID_SCOPE", refused.to_string()),
        RefreshRefused::Failed(failure) => of_failure(failure),
    }
}

pub(super) fn of_revoke(refused: &RevokeRefused) -> Status {
    match refused {
        RevokeRefused::InvalidClient => invalid_client(),
        RevokeRefused::UnsupportedTokenType => {
            invalid("token", "UNSUPPORTED_TOKEN_TYPE", refused.to_string())
        }
        RevokeRefused::Failed(failure) => of_failure(failure),
    }
}

pub(super) fn of_introspect(refused: &IntrospectRefused) -> Status {
    match refused {
        IntrospectRefused::InvalidClient => invalid_client(),
        IntrospectRefused::Failed(failure) => of_failure(failure),
    }
}
