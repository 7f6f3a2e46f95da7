//! Whether a client is who it says (RFC 6749 §2.3). Unknown, disabled and wrong are one answer.

use super::{Auth, Failure};
use crate::domain::{
    client::Client,
    id::ClientId,
    secret::{Secret, SecretKind},
    user::{Key, Status},
};

/// What a client presents.
#[derive(Clone, Copy)]
pub struct ClientCredentials<'a> {
    pub id: &'a str,
    /// Empty: a public client.
    pub secret: &'a str,
}

impl Auth {
    /// `None`: not believed.
    pub(super) async fn authenticate_client(
        &self,
        presented: ClientCredentials<'_>,
    ) -> Result<Option<Client>, Failure> {
        let Some(id) = ClientId::parse(presented.id) else { return Ok(None) };
        let secret = match presented.secret {
            "" => None,
            text => match Secret::parse(SecretKind::Client, text) {
                Some(secret) => Some(secret),
                None => return Ok(None),
            },
        };
        let client = self.store.client(&Key::Id(id)).await?;
        Ok(client.filter(|client| client.status == Status::Active && client.is_proven_by(secret.as_ref())))
    }
}
