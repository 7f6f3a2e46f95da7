//! `/v1/admin/clients`: applications that authenticate as themselves.

use axum::Json as Answer;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::access::{Admin, Area, Clients};
use super::last_administrator::{Without, leave_an_administrator};
use super::subject;
use super::users::{SetStatus, created, not_removed, removed};
use crate::own::Own;
use crate::own::endpoint::{Endpoint, Needs};
use crate::own::json::{Json, NoBody};
use crate::own::view::{PAGING, Paging, Path, Query, StatusView};
use crate::peers::{Client, Concealed, Standing, Subject, done};
use crate::problem::Problem;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let needs = Needs::Permission(Clients::PERMISSION);
    vec![
        Endpoint::post("/v1/admin/clients", "Add a client; its secret is told once", add)
            .needs(needs)
            .takes::<AddClient>()
            .answers::<ClientWithSecret>(201),
        Endpoint::get("/v1/admin/clients", "List clients", list)
            .needs(needs)
            .query(PAGING)
            .answers::<ClientList>(200),
        Endpoint::get("/v1/admin/clients/{client}", "Show a client", show)
            .needs(needs)
            .answers::<ClientRecord>(200),
        Endpoint::patch("/v1/admin/clients/{client}", "Enable or disable a client", set_status)
            .needs(needs)
            .takes::<SetStatus>()
            .answers::<ClientRecord>(200),
        Endpoint::post("/v1/admin/clients/{client}/secret", "Replace a client's secret", rotate)
            .needs(needs)
            .answers::<ClientWithSecret>(200),
        Endpoint::delete("/v1/admin/clients/{client}/tokens", "End all tokens of a client", end_tokens)
            .needs(needs)
            .acknowledges(),
        Endpoint::delete("/v1/admin/clients/{client}", "Remove a client, with its grants", remove)
            .needs(needs)
            .acknowledges(),
    ]
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AddClient {
    name: String,
    /// Audiences it may ask tokens for.
    #[serde(default)]
    audiences: Vec<String>,
    /// OAuth scopes it may ask for.
    #[serde(default)]
    scopes: Vec<String>,
}

#[derive(Serialize, ToSchema)]
struct ClientRecord {
    id: String,
    name: String,
    #[schema(inline)]
    status: StatusView,
    audiences: Vec<String>,
    scopes: Vec<String>,
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String)]
    created_at: OffsetDateTime,
}

#[derive(Serialize, ToSchema)]
struct ClientWithSecret {
    #[serde(flatten)]
    #[schema(inline)]
    client: ClientRecord,
    client_secret: String,
}

impl ClientWithSecret {
    fn new(client: Client, secret: &Concealed) -> Self {
        Self { client: client.into(), client_secret: secret.reveal().to_owned() }
    }
}

impl From<Client> for ClientRecord {
    fn from(client: Client) -> Self {
        let Client { id, name, status, audiences, scopes, created_at } = client;
        Self { id, name, status: status.into(), audiences, scopes, created_at }
    }
}

#[derive(Serialize, ToSchema)]
struct ClientList {
    #[schema(inline)]
    clients: Vec<ClientRecord>,
    next_page_token: String,
}

async fn add(
    State(own): State<Own>,
    admin: Admin<Clients>,
    Json(new): Json<AddClient>,
) -> Result<Response, Problem> {
    let AddClient { name, audiences, scopes } = new;
    let (client, secret) = own.peers.auth.create_client(admin.asker(), name, audiences, scopes).await?;
    Ok(created("clients", &client.id.clone(), Answer(ClientWithSecret::new(client, &secret))))
}

async fn list(
    State(own): State<Own>,
    admin: Admin<Clients>,
    Query(paging): Query<Paging>,
) -> Result<Answer<ClientList>, Problem> {
    let page = own.peers.auth.clients(admin.asker(), paging.request()?).await?;
    let clients = page.items.into_iter().map(ClientRecord::from).collect();
    Ok(Answer(ClientList { clients, next_page_token: page.next }))
}

async fn show(
    State(own): State<Own>,
    admin: Admin<Clients>,
    Path(named): Path<String>,
) -> Result<Answer<ClientRecord>, Problem> {
    Ok(Answer(subject::client(&own, admin.asker(), named).await?.into()))
}

async fn set_status(
    State(own): State<Own>,
    admin: Admin<Clients>,
    Path(named): Path<String>,
    Json(SetStatus { status }): Json<SetStatus>,
) -> Result<Answer<ClientRecord>, Problem> {
    let asker = admin.asker();
    let id = subject::client(&own, asker, named).await?.id;
    if Standing::from(status) == Standing::Disabled {
        leave_an_administrator(&own, asker, &Without::Subject(&Subject::client(id.clone()))).await?;
    }
    Ok(Answer(own.peers.auth.set_client_status(asker, &id, status.into()).await?.into()))
}

async fn rotate(
    State(own): State<Own>,
    admin: Admin<Clients>,
    Path(named): Path<String>,
    _: NoBody,
) -> Result<Answer<ClientWithSecret>, Problem> {
    let asker = admin.asker();
    let id = subject::client(&own, asker, named).await?.id;
    let (client, secret) = own.peers.auth.rotate_client_secret(asker, &id).await?;
    Ok(Answer(ClientWithSecret::new(client, &secret)))
}

async fn end_tokens(
    State(own): State<Own>,
    admin: Admin<Clients>,
    Path(named): Path<String>,
    _: NoBody,
) -> Result<StatusCode, Problem> {
    let asker = admin.asker();
    let id = subject::client(&own, asker, named).await?.id;
    own.peers.auth.revoke_client_tokens(asker, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// In the order of a user's removal, and for the same reason.
async fn remove(
    State(own): State<Own>,
    admin: Admin<Clients>,
    Path(named): Path<String>,
    _: NoBody,
) -> Result<StatusCode, Problem> {
    let asker = admin.asker();
    let id = subject::client(&own, asker, named).await?.id;
    leave_an_administrator(&own, asker, &Without::Subject(&Subject::client(id.clone()))).await?;
    let disabled = done(own.peers.auth.set_client_status(asker, &id, Standing::Disabled).await)?;
    own.peers.policy.forget_subject(asker, Subject::client(id.clone())).await.map_err(not_removed)?;
    disabled.map_err(not_removed)?;
    done(own.peers.auth.delete_client(asker, &id).await)?.map_err(removed)?;
    Ok(StatusCode::NO_CONTENT)
}
