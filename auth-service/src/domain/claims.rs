//! What a token says, put together from the rows that authorised it.

use std::time::Duration;

use time::OffsetDateTime;
use token::{AccessClaims, Epochs, PrincipalKind, ProofClaims};

use super::{client::Client, refresh::Family, scope::Scope, user::User};

/// The audience of login proofs. No client may have it.
pub const PROOF_AUDIENCE: &str = "session";

/// The method of a login with a password (RFC 8176).
pub const AMR_PASSWORD: &str = "pwd";

/// A compact token that would be longer is issued without roles, and who reads it asks for them: as a cookie of 4,096
/// bytes and in a header it must still fit.
pub const MAX_TOKEN_BYTES: usize = 4_000;

/// The longest that an access token may be set to be good (`token.access_lifetime`).
pub const LONGEST_TOKEN: Duration = token::LONGEST_LIFE;

/// What every token of one issuing has in common.
#[derive(Clone, Copy, Debug)]
pub struct Issue<'a> {
    pub issuer: &'a str,
    /// 128 random bits, unique.
    pub jti: &'a str,
    /// Read before the first row that authorises.
    pub now: OffsetDateTime,
    pub lifetime: Duration,
}

/// The roles of a subject, and the revision at which policy-service read them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectRoles {
    pub roles: Vec<String>,
    pub revision: u64,
}

/// Of a user's login and of its refreshes. Everything stands in the family, but for the name.
pub fn of_family(
    issue: Issue<'_>,
    family: &Family,
    user: &User,
    scope: &Scope,
    roles: &SubjectRoles,
) -> AccessClaims {
    AccessClaims {
        iss: issue.issuer.to_owned(),
        aud: vec![family.audience.clone()],
        sub: family.subject.to_string(),
        client_id: family.client.to_string(),
        iat: issue.now,
        exp: issue.now + issue.lifetime,
        jti: issue.jti.to_owned(),
        kind: PrincipalKind::User,
        name: user.username.as_str().to_owned(),
        fam: Some(family.id.to_string()),
        sid: None,
        scope: scope.to_string(),
        roles: Some(roles.roles.clone()),
        epo: family.epochs,
        pv: roles.revision,
        amr: family.amr.clone(),
    }
}

/// Of a client that acts for itself (RFC 6749 §4.4).
pub fn of_client(
    issue: Issue<'_>,
    client: &Client,
    audience: &str,
    scope: &Scope,
    roles: &SubjectRoles,
) -> AccessClaims {
    AccessClaims {
        iss: issue.issuer.to_owned(),
        aud: vec![audience.to_owned()],
        sub: client.id.to_string(),
        client_id: client.id.to_string(),
        iat: issue.now,
        exp: issue.now + issue.lifetime,
        jti: issue.jti.to_owned(),
        kind: PrincipalKind::Client,
        name: client.name.as_str().to_owned(),
        fam: None,
        sid: None,
        scope: scope.to_string(),
        roles: Some(roles.roles.clone()),
        epo: Epochs { subject: client.epoch, client: client.epoch },
        pv: roles.revision,
        amr: Vec::new(),
    }
}

/// Of a login that session-service is to make a session from.
pub fn proof(issue: Issue<'_>, user: &User, epochs: Epochs) -> ProofClaims {
    ProofClaims {
        iss: issue.issuer.to_owned(),
        aud: vec![PROOF_AUDIENCE.to_owned()],
        sub: user.id.to_string(),
        name: user.username.as_str().to_owned(),
        iat: issue.now,
        exp: issue.now + issue.lifetime,
        jti: issue.jti.to_owned(),
        epo: epochs,
        amr: vec![AMR_PASSWORD.to_owned()],
        auth_time: issue.now,
    }
}
