//! What was read and verified before, so that introspection takes neither the store nor a signature each time.
//!
//! Nothing here is believed by itself. A client is taken for one that was read at the epoch of its row: whatever changes its
//! secret or its status raises that, and the feed says so. A token is judged as ever, while the key is here that signed it.
//! Without the right to answer from memory (rule R8) the client is read again.

use std::{sync::Arc, time::Duration};

use feed::{Credential, Verdict, credential::Stamp};
use moka::sync::Cache;
use time::OffsetDateTime;
use token::AccessClaims;

use super::{Auth, Failure, authenticate_client::ClientCredentials, endings::wall};
use crate::domain::{client::Client, id::ClientId, secret::Digest, user::Key};

/// Bounds, at which goes what was not asked for lately.
const CLIENTS: u64 = 1_000;
const TOKENS: u64 = 10_000;
/// How long a client is remembered: the endings that void it stay for longer ([`feed::issuer::Bounds`]).
const CLIENT_FOR: Duration = Duration::from_secs(60);

pub struct Remembered {
    clients: Cache<ClientId, Arc<KnownClient>>,
    /// By digest: the token itself is not kept.
    tokens: Cache<Digest, Arc<KnownToken>>,
}

struct KnownClient {
    client: Arc<Client>,
    credential: Credential,
    good_until: OffsetDateTime,
}

/// A token whose signature was verified.
pub struct KnownToken {
    pub claims: AccessClaims,
    /// The `kid` of what signed it.
    pub key: Box<str>,
    pub credential: Credential,
}

impl Default for Remembered {
    fn default() -> Self {
        Self { clients: Cache::new(CLIENTS), tokens: Cache::new(TOKENS) }
    }
}

impl Remembered {
    /// `None`: not verified yet, or expired.
    pub(super) fn token(&self, text: &str, now: OffsetDateTime) -> Option<Arc<KnownToken>> {
        self.tokens.get(&Digest::of(text)).filter(|known| now < known.claims.exp)
    }

    pub(super) fn insert_token(&self, text: &str, known: Arc<KnownToken>) {
        self.tokens.insert(Digest::of(text), known);
    }
}

impl Auth {
    /// As [`Auth::authenticate_client`], from memory where that is allowed: for what issues nothing to the client.
    pub(super) async fn recognise_client(
        &self,
        presented: ClientCredentials<'_>,
    ) -> Result<Option<Arc<Client>>, Failure> {
        let Some(presented) = presented.parse() else { return Ok(None) };
        // Before the row is read: what is remembered is no younger than that.
        let now = self.now();
        let known = self.remembered.clients.get(&presented.id).filter(|known| {
            now < known.good_until && self.feed.judge_from_memory(&known.credential) == Some(Verdict::Live)
        });
        if let Some(known) = known {
            return Ok(presented.prove(&known.client).then(|| Arc::clone(&known.client)));
        }
        let client = self.store.client(&Key::Id(presented.id.clone())).await?;
        let stamp =
            client.as_ref().map(|client| Stamp { id: client.id.as_str().into(), generation: client.epoch });
        // What was just read is judged by its epoch alone: where the log's clock was set back, also what expires in a minute expires
        // before what the feed has forgotten.
        let read = Credential { client: stamp, ..Credential::default() };
        self.believe_store(&read).await?;
        let Some(client) = client.filter(|client| presented.prove(client)).map(Arc::new) else {
            return Ok(None);
        };
        let good_until = now + CLIENT_FOR;
        let credential = Credential { expired_from: Some(wall(good_until)), ..read };
        let known = KnownClient { client: Arc::clone(&client), credential, good_until };
        self.remembered.clients.insert(presented.id, Arc::new(known));
        Ok(Some(client))
    }
}
