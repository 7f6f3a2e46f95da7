//! Why a token was not let through: because it is bad, or because nobody can tell. The two must never be mixed up.

use token::Refused;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The caller's fault: 401.
    #[error(transparent)]
    Invalid(#[from] Refused),
    /// It was good, and was taken back: 401.
    #[error("the token was taken back")]
    Ended,
    /// Ours: 503, and the same token may be good in a moment.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Why it cannot be told whether a token is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unavailable {
    #[error("no signing key of the issuer is known yet")]
    NoKeys,
    #[error("the token's key is not known, and the issuer cannot be asked")]
    IssuerUnreachable,
    #[error("too many tokens wait to be verified")]
    Overloaded,
    #[error("it is not known whether the token was taken back: there is no lease, and nobody can be asked")]
    NoLease,
}

impl Refusal {
    /// Stable, for metrics, logs and error bodies.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Invalid(refused) => refused.reason(),
            Self::Ended => "ended",
            Self::Unavailable(unavailable) => unavailable.reason(),
        }
    }
}

impl Unavailable {
    pub const fn reason(self) -> &'static str {
        match self {
            Self::NoKeys => "no_keys",
            Self::IssuerUnreachable => "issuer_unreachable",
            Self::Overloaded => "overloaded",
            Self::NoLease => "no_lease",
        }
    }
}
