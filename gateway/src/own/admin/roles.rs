//! `/v1/admin/roles`.

use axum::Json as Answer;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::access::{Admin, Area, Roles};
use crate::own::Own;
use crate::own::endpoint::{Endpoint, Needs};
use crate::own::json::{Json, NoBody};
use crate::own::view::{PAGING, Paging, Path, Query};
use crate::peers::Role;
use crate::problem::Problem;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let needs = Needs::Permission(Roles::PERMISSION);
    vec![
        Endpoint::put("/v1/admin/roles/{role}", "Make a role, or replace its permissions", put)
            .needs(needs)
            .takes::<PutRole>()
            .answers::<RoleRecord>(200),
        Endpoint::get("/v1/admin/roles", "List roles", list)
            .needs(needs)
            .query(PAGING)
            .answers::<RoleList>(200),
        Endpoint::get("/v1/admin/roles/{role}", "Show a role", show).needs(needs).answers::<RoleRecord>(200),
        Endpoint::delete("/v1/admin/roles/{role}", "Remove a role, with its grants", remove)
            .needs(needs)
            .answers::<Written>(200),
    ]
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PutRole {
    /// `kind:action`, `kind:*`.
    permissions: Vec<String>,
}

#[derive(Serialize, ToSchema)]
struct RoleRecord {
    name: String,
    permissions: Vec<String>,
    built_in: bool,
    /// After a write: the revision at which it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<u64>,
}

impl RoleRecord {
    fn new(role: Role, revision: Option<u64>) -> Self {
        let Role { name, permissions, built_in } = role;
        Self { name, permissions, built_in, revision }
    }
}

#[derive(Serialize, ToSchema)]
struct RoleList {
    #[schema(inline)]
    roles: Vec<RoleRecord>,
    next_page_token: String,
}

/// The revision at which a write holds.
#[derive(Serialize, ToSchema)]
pub(super) struct Written {
    pub(super) revision: u64,
}

async fn put(
    State(own): State<Own>,
    admin: Admin<Roles>,
    Path(name): Path<String>,
    Json(PutRole { permissions }): Json<PutRole>,
) -> Result<Answer<RoleRecord>, Problem> {
    let (role, revision) = own.peers.policy.put_role(admin.asker(), name, permissions).await?;
    Ok(Answer(RoleRecord::new(role, Some(revision))))
}

async fn list(
    State(own): State<Own>,
    admin: Admin<Roles>,
    Query(paging): Query<Paging>,
) -> Result<Answer<RoleList>, Problem> {
    let page = own.peers.policy.roles(admin.asker(), paging.request()?).await?;
    let roles = page.items.into_iter().map(|role| RoleRecord::new(role, None)).collect();
    Ok(Answer(RoleList { roles, next_page_token: page.next }))
}

async fn show(
    State(own): State<Own>,
    admin: Admin<Roles>,
    Path(name): Path<String>,
) -> Result<Answer<RoleRecord>, Problem> {
    Ok(Answer(RoleRecord::new(own.peers.policy.role(admin.asker(), &name).await?, None)))
}

async fn remove(
    State(own): State<Own>,
    admin: Admin<Roles>,
    Path(name): Path<String>,
    _: NoBody,
) -> Result<Answer<Written>, Problem> {
    let revision = own.peers.policy.delete_role(admin.asker(), &name).await?;
    Ok(Answer(Written { revision }))
}
