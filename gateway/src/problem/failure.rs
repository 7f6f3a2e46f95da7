//! A neighbour's refusal or absence, as a problem. Each reason has exactly one code.

use super::catalogue::*;
use super::{Code, Problem};
use crate::peers::{Failure, Reason, Refused, Unavailable};

impl From<Unavailable> for Problem {
    fn from(unavailable: Unavailable) -> Self {
        // The edge: what was behind it is told to the log once, here, and to nobody else.
        tracing::warn!(peer = unavailable.peer, because = %unavailable.because, "a neighbour could not be asked");
        let problem = Problem::new(UNAVAILABLE);
        match unavailable.retry_after {
            Some(delay) => problem.retry_after(delay),
            None => problem,
        }
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(refused) => refused.into(),
            Failure::Unavailable(unavailable) => unavailable.into(),
            Failure::NotEverywhere { retry_after } => {
                let problem = Problem { audited: true, ..Problem::new(NOT_EVERYWHERE) };
                problem.retry_after(retry_after.unwrap_or(super::DEFAULT_RETRY))
            }
        }
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        if refused.reason == Reason::ProofInvalid {
            // Nobody but an operator can do anything about it, and nothing else here says so.
            tracing::error!(
                because = refused.message,
                "session-service does not believe auth-service's login proof: compare their issuer, keys and clocks"
            );
        }
        let code = code(refused.reason);
        let problem = Problem { audited: true, ..Problem::new(code) };
        let problem = match refused.retry_after {
            Some(delay) => problem.retry_after(delay),
            None => problem,
        };
        // Only what the caller can correct is quoted: a neighbour's other sentences are for operators.
        let correctable = code.status() == http::StatusCode::BAD_REQUEST;
        if correctable && !refused.message.is_empty() { problem.detail(refused.message) } else { problem }
    }
}

fn code(reason: Reason) -> Code {
    match reason {
        Reason::RegistrationClosed => REGISTRATION_CLOSED,
        Reason::UsernameTaken => USERNAME_TAKEN,
        Reason::UsernameInvalid => USERNAME_INVALID,
        Reason::PasswordRefused => PASSWORD_REFUSED,
        Reason::HashingBusy => HASHING_BUSY,
        Reason::TooManyAttempts => TOO_MANY_ATTEMPTS,
        Reason::InvalidCredentials => INVALID_CREDENTIALS,
        Reason::PasswordChangeRequired => PASSWORD_CHANGE_REQUIRED,
        Reason::UserNotFound => USER_NOT_FOUND,
        Reason::ClientNotFound => CLIENT_NOT_FOUND,
        Reason::ClientNameTaken => CLIENT_NAME_TAKEN,
        Reason::ClientInvalid => CLIENT_INVALID,
        Reason::KeyNotFound => KEY_NOT_FOUND,
        Reason::FamilyNotFound => FAMILY_NOT_FOUND,
        Reason::InvalidGrant => REFRESH_TOKEN_INVALID,
        // What the gateway itself sent, and the caller cannot have got wrong outside the OAuth endpoints.
        Reason::InvalidClient | Reason::UnsupportedTokenType => INTERNAL,
        Reason::InvalidScope | Reason::InvalidTarget | Reason::InvalidArgument => REQUEST_INVALID,
        // The proof is auth-service's and a moment old: that it is not believed (clocks, keys) is an outage
        // between the two services, not a wrong password.
        Reason::ProofInvalid => UNAVAILABLE,
        Reason::SessionLimit => SESSION_LIMIT,
        Reason::SessionNotFound => SESSION_NOT_FOUND,
        Reason::PermissionInvalid => PERMISSION_INVALID,
        Reason::SubjectInvalid => SUBJECT_INVALID,
        Reason::ResourceInvalid => RESOURCE_INVALID,
        Reason::RoleInvalid => ROLE_INVALID,
        Reason::RoleBuiltIn => ROLE_BUILT_IN,
        Reason::RoleNotFound => ROLE_NOT_FOUND,
        Reason::GrantNotFound => GRANT_NOT_FOUND,
        Reason::GroupNotFound => GROUP_NOT_FOUND,
        Reason::GroupTaken => GROUP_TAKEN,
        Reason::GroupInvalid => GROUP_INVALID,
        Reason::GroupCycle => GROUP_CYCLE,
        Reason::MemberNotFound => MEMBER_NOT_FOUND,
    }
}

impl From<guard::Refusal> for Problem {
    /// One code for every bad token but an expired one: which part of it is wrong is nobody's business (J17).
    fn from(refusal: guard::Refusal) -> Self {
        match refusal {
            guard::Refusal::Invalid(token::Refused::Expired) => TOKEN_EXPIRED.into(),
            guard::Refusal::Invalid(_) | guard::Refusal::Ended => TOKEN_INVALID.into(),
            guard::Refusal::Unavailable(guard::Unavailable::Overloaded) => OVERLOADED.into(),
            guard::Refusal::Unavailable(unavailable) => {
                tracing::warn!(because = unavailable.reason(), "a token could not be judged");
                UNAVAILABLE.into()
            }
        }
    }
}
