//! Reading and administering clients.

use super::{
    Auth, Failure, Origin,
    audit::{Ending, Ends, Line},
};
use crate::{
    domain::{
        client::{self, Client, ClientInvalid, ClientKind, ClientName},
        id::{ClientId, looks_like_an_id},
        page::{Page, PageRequest},
        scope::Scope,
        secret::{Secret, SecretKind},
        user::{Key, Status},
    },
    store::{Inserted, StoreError},
};

/// A client to be, as it was sent.
pub struct NewClient<'a> {
    pub name: &'a str,
    pub audiences: Vec<&'a str>,
    pub scopes: Vec<&'a str>,
}

/// Why nothing was done to a client.
#[derive(Debug, thiserror::Error)]
pub enum ClientRefused {
    #[error("there is no such client")]
    NotFound,
    #[error("the client's name is taken")]
    Taken,
    #[error("the client is built in and is not changed")]
    BuiltIn,
    #[error(transparent)]
    Invalid(#[from] ClientInvalid),
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl Ends for ClientRefused {
    fn ending(&self) -> Ending {
        match self {
            Self::NotFound => Ending::Refused("CLIENT_NOT_FOUND"),
            Self::Taken => Ending::Refused("CLIENT_NAME_TAKEN"),
            Self::BuiltIn => Ending::Refused("CLIENT_INVALID"),
            Self::Invalid(_) => Ending::Refused("CLIENT_INVALID"),
            Self::Failed(failure) => failure.ending(),
        }
    }
}

impl From<StoreError> for ClientRefused {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

pub async fn get_client(auth: &Auth, key: &Key<ClientId>) -> Result<Client, ClientRefused> {
    auth.store.client(key).await?.ok_or(ClientRefused::NotFound)
}

pub async fn list_clients(auth: &Auth, page: &PageRequest) -> Result<Page<Client>, Failure> {
    Ok(auth.store.clients(page).await?)
}

/// The secret is in the answer and nowhere else.
pub async fn create_client(
    auth: &Auth,
    origin: &Origin,
    request: NewClient<'_>,
) -> Result<(Client, Secret), ClientRefused> {
    let mut line = Line::begin(origin, "client.create");
    let outcome = create(auth, &request).await;
    if let Ok((client, _)) = &outcome {
        line.subject(&client.id);
    }
    line.end(&outcome);
    outcome
}

async fn create(auth: &Auth, request: &NewClient<'_>) -> Result<(Client, Secret), ClientRefused> {
    let name = ClientName::parse(request.name)?;
    // A name that reads like an id would be one client's name and another's id on a command line.
    if looks_like_an_id(request.name) && ClientId::parse(request.name).is_none_or(|id| !id.is_built_in()) {
        return Err(ClientInvalid::Name.into());
    }
    let audiences = client::audiences(request.audiences.iter().copied(), &auth.settings.first_party)?;
    let scopes = Scope::of(request.scopes.iter().copied()).map_err(ClientInvalid::from)?;
    let secret = auth.secret(SecretKind::Client);
    let client = Client {
        id: ClientId::parse(&auth.id(ClientId::PREFIX)).ok_or(StoreError::Corrupt("new client id"))?,
        name,
        status: Status::Active,
        audiences,
        scopes,
        kind: ClientKind::Confidential { secret: secret.digest() },
        epoch: 0,
        created_at: auth.now(),
    };
    match auth.store.insert_client(&client).await? {
        Inserted::Done => Ok((client, secret)),
        Inserted::Taken => Err(ClientRefused::Taken),
    }
}

/// The former secret is dead when this is answered, and what was issued to its holder is void: a secret is replaced
/// because somebody else may have it.
pub async fn rotate_client_secret(
    auth: &Auth,
    origin: &Origin,
    id: &str,
) -> Result<(Client, Secret), ClientRefused> {
    let (line, id) = begin(origin, "client.rotate_secret", id);
    let outcome = async {
        let secret = auth.secret(SecretKind::Client);
        let ending = auth.ending();
        let client = auth.store.set_client_secret(&id?, &secret.digest(), ending).await?;
        Ok((client.ok_or(ClientRefused::NotFound)?, secret))
    };
    let outcome = outcome.await;
    line.end(&outcome);
    held(auth, outcome).await
}

/// Disabling voids everything that was issued to the client.
pub async fn set_client_status(
    auth: &Auth,
    origin: &Origin,
    id: &str,
    status: Status,
) -> Result<Client, ClientRefused> {
    let event = match status {
        Status::Active => "client.enable",
        Status::Disabled => "client.disable",
    };
    let (line, id) = begin(origin, event, id);
    let outcome = async {
        let ending = auth.ending();
        auth.store.set_client_status(&id?, status, ending).await?.ok_or(ClientRefused::NotFound)
    };
    let outcome = outcome.await;
    line.end(&outcome);
    held(auth, outcome).await
}

/// Voids everything that was issued to the client, which may ask for more.
pub async fn revoke_client_tokens(auth: &Auth, origin: &Origin, id: &str) -> Result<(), ClientRefused> {
    let (line, id) = begin(origin, "client.revoke_tokens", id);
    let outcome = async {
        let ending = auth.ending();
        auth.store.revoke_client(&id?, ending).await?.then_some(()).ok_or(ClientRefused::NotFound)
    };
    let outcome = outcome.await;
    line.end(&outcome);
    held(auth, outcome).await
}

/// Voids everything that was issued to the client.
pub async fn delete_client(auth: &Auth, origin: &Origin, id: &str) -> Result<(), ClientRefused> {
    let (line, id) = begin(origin, "client.delete", id);
    let outcome = async {
        let ending = auth.ending();
        auth.store.delete_client(&id?, ending).await?.then_some(()).ok_or(ClientRefused::NotFound)
    };
    let outcome = outcome.await;
    line.end(&outcome);
    held(auth, outcome).await
}

/// As for users: audited first, and also for what is not there any more.
async fn held<T>(auth: &Auth, outcome: Result<T, ClientRefused>) -> Result<T, ClientRefused> {
    if matches!(outcome, Ok(_) | Err(ClientRefused::NotFound)) {
        auth.hold_everywhere().await?;
    }
    outcome
}

/// What is no id is nobody's, and does not go into the line.
fn begin(origin: &Origin, event: &'static str, id: &str) -> (Line, Result<ClientId, ClientRefused>) {
    let mut line = Line::begin(origin, event);
    let id = match ClientId::parse(id) {
        None => Err(ClientRefused::NotFound),
        Some(id) => {
            line.subject(&id);
            if id.is_built_in() { Err(ClientRefused::BuiltIn) } else { Ok(id) }
        }
    };
    (line, id)
}
