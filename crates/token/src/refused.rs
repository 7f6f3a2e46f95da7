//! Why a token was not believed. Outcomes, not failures: verification cannot be unavailable.

/// The reason carries nothing of the token, so that it can be logged and shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    #[error("the token is too large")]
    TooLarge,
    #[error("the token is malformed")]
    Malformed,
    #[error("the token cannot be decrypted")]
    Undecryptable,
    #[error("the token's algorithm is not accepted, or not that of its key")]
    Algorithm,
    #[error("the token's header brings a key or a critical extension of its own")]
    Critical,
    #[error("the token's type is not the one expected here")]
    Type,
    #[error("the token's key is not known")]
    KeyUnknown,
    #[error("the token's signature is wrong")]
    Signature,
    #[error("the token is from another issuer")]
    Issuer,
    #[error("the token is for another audience")]
    Audience,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    NotYetValid,
    #[error("the token is good for longer than any that is issued")]
    TooLong,
}

impl Refused {
    /// Stable, for metrics, logs and error bodies.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::Malformed => "malformed",
            Self::Undecryptable => "undecryptable",
            Self::Algorithm => "algorithm",
            Self::Critical => "critical",
            Self::Type => "type",
            Self::KeyUnknown => "key_unknown",
            Self::Signature => "signature",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::TooLong => "too_long",
        }
    }
}
