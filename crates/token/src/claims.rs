//! What our tokens say. The names are those on the wire: RFC 9068 §2.2 and ours beside them.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// `typ` of an access token (RFC 9068 §2.1).
pub const TYP_ACCESS: &str = "at+jwt";
/// `typ` of a login proof: what auth-service hands to session-service, and nobody else accepts.
pub const TYP_PROOF: &str = "login-proof+jwt";

/// Who a principal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PrincipalKind {
    User,
    Client,
}

/// The epochs under which something was issued, read from the rows that authorised it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Epochs {
    pub subject: u64,
    pub client: u64,
}

/// Claims of an access token. Times have whole seconds on the wire; fractions are cut off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessClaims {
    pub iss: String,
    /// A string or an array on the wire (RFC 7519 §4.1.3).
    #[serde(with = "audience")]
    pub aud: Vec<String>,
    pub sub: String,
    pub client_id: String,
    #[serde(with = "time::serde::timestamp")]
    pub iat: OffsetDateTime,
    #[serde(with = "time::serde::timestamp")]
    pub exp: OffsetDateTime,
    pub jti: String,
    pub kind: PrincipalKind,
    /// For display: the username, or the client's name.
    pub name: String,
    /// The refresh family that the token descends from; none for client credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fam: Option<String>,
    /// The public id of the session that the token belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
    /// Space separated (RFC 8693 §4.2); empty is left out.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub scope: String,
    /// `None`: the token does not say, which is not the same as having none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<String>>,
    pub epo: Epochs,
    /// The revision at which `roles` were read.
    pub pv: u64,
    /// How the subject was authenticated (RFC 8176).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub amr: Vec<String>,
}

/// As what an access token was once issued, and to whom: for ending it, or its login. No request can be judged by it: the
/// token may have expired long ago, and what it allowed is not here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// Its identifier, claim `jti`.
    pub token: String,
    pub subject: String,
    pub client: String,
    /// As [`AccessClaims::fam`].
    pub family: Option<String>,
    pub expires_at: OffsetDateTime,
}

/// Claims of a login proof: audience `session`, short-lived, single use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofClaims {
    pub iss: String,
    #[serde(with = "audience")]
    pub aud: Vec<String>,
    pub sub: String,
    pub name: String,
    #[serde(with = "time::serde::timestamp")]
    pub iat: OffsetDateTime,
    #[serde(with = "time::serde::timestamp")]
    pub exp: OffsetDateTime,
    pub jti: String,
    pub epo: Epochs,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub amr: Vec<String>,
    /// When the subject presented its credential.
    #[serde(with = "time::serde::timestamp")]
    pub auth_time: OffsetDateTime,
}

mod audience {
    use serde::{Deserialize, Deserializer, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Wire {
        One(String),
        Many(Vec<String>),
    }

    pub(super) fn serialize<S: Serializer>(audience: &[String], serializer: S) -> Result<S::Ok, S::Error> {
        match audience {
            [one] => serializer.serialize_str(one),
            many => serializer.collect_seq(many),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
        Ok(match Wire::deserialize(deserializer)? {
            Wire::One(one) => vec![one],
            Wire::Many(many) => many,
        })
    }
}
