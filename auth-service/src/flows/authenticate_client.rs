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

/// Credentials that have the shape of some.
pub(super) struct WellFormed {
    pub(super) id: ClientId,
    secret: Option<Secret>,
}

impl ClientCredentials<'_> {
    /// `None`: nobody's.
    pub(super) fn parse(self) -> Option<WellFormed> {
        let secret = match self.secret {
            "" => None,
            text => Some(Secret::parse(SecretKind::Client, text)?),
        };
        Some(WellFormed { id: ClientId::parse(self.id)?, secret })
    }
}

impl WellFormed {
    pub(super) fn prove(&self, client: &Client) -> bool {
        client.status == Status::Active && client.is_proven_by(self.secret.as_ref())
    }
}

impl Auth {
    /// `None`: not believed. Read from the store: what is issued to a client carries what its row says now.
    pub(super) async fn authenticate_client(
        &self,
        presented: ClientCredentials<'_>,
    ) -> Result<Option<Client>, Failure> {
        let Some(presented) = presented.parse() else { return Ok(None) };
        let client = self.store.client(&Key::Id(presented.id.clone())).await?;
        Ok(client.filter(|client| presented.prove(client)))
    }
}
