//! Who a request acts for, once believed.

use std::sync::Arc;

use time::OffsetDateTime;
pub use token::PrincipalKind;
use token::{AccessClaims, Epochs};

/// The same for every credential; a session makes one too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    pub kind: PrincipalKind,
    /// `usr_…` or `cli_…`.
    pub id: String,
    /// For display: the username, or the client's name.
    pub name: String,
    /// The client through which the principal acts; its own id if the principal is a client.
    pub client_id: String,
    /// `None`: the credential does not say, and who needs them must ask.
    pub roles: Option<Arc<[String]>>,
    /// The public id of the session.
    pub session: Option<String>,
    /// The refresh family.
    pub family: Option<String>,
    /// OAuth scope, space separated.
    pub scope: String,
    pub epochs: Epochs,
    /// The revision at which `roles` were read.
    pub permission_version: u64,
    /// As the credential says; leeway comes on top.
    pub expires_at: OffsetDateTime,
    /// Authentication methods (RFC 8176), for example `pwd`.
    pub authenticated_by: Arc<[String]>,
}

impl From<AccessClaims> for Principal {
    fn from(claims: AccessClaims) -> Self {
        let AccessClaims {
            iss: _,
            aud: _,
            sub,
            client_id,
            iat: _,
            exp,
            jti: _,
            kind,
            name,
            fam,
            sid,
            scope,
            roles,
            epo,
            pv,
            amr,
        } = claims;
        Self {
            kind,
            id: sub,
            name,
            client_id,
            roles: roles.map(Arc::from),
            session: sid,
            family: fam,
            scope,
            epochs: epo,
            permission_version: pv,
            expires_at: exp,
            authenticated_by: Arc::from(amr),
        }
    }
}
