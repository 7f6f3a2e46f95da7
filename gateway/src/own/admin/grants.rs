//! `/v1/admin/grants`: who holds which role, everywhere or within a resource.

use axum::Json as Answer;
use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::access::{Admin, Area, Roles};
use super::last_administrator::{Without, leave_an_administrator};
use super::roles::Written;
use super::subject::resolve;
use super::users::created;
use crate::own::Own;
use crate::own::endpoint::{Endpoint, Needs};
use crate::own::json::{Json, NoBody, object, object_if_any};
use crate::own::view::{GrantView, KindView, Path, Query, ResourceView, SubjectView, page};
use crate::problem::{Problem, catalogue};

pub(super) fn endpoints() -> Vec<Endpoint> {
    let needs = Needs::Permission(Roles::PERMISSION);
    vec![
        Endpoint::post("/v1/admin/grants", "Give a role; giving it twice is giving it once", add)
            .needs(needs)
            .takes::<AddGrant>()
            .answers::<GrantRecord>(201),
        Endpoint::get("/v1/admin/grants", "List grants", list)
            .needs(needs)
            .query(&["subject_kind", "subject_id", "role", "page_size", "page_token"])
            .answers::<GrantList>(200),
        Endpoint::delete("/v1/admin/grants/{id}", "Take a role back", remove)
            .needs(needs)
            .answers::<Written>(200),
    ]
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AddGrant {
    /// Users and clients by id or name.
    #[schema(inline)]
    #[serde(deserialize_with = "object")]
    subject: SubjectView,
    role: String,
    /// Absent: everywhere.
    #[serde(default, deserialize_with = "object_if_any")]
    #[schema(inline)]
    within: Option<ResourceView>,
}

#[derive(Serialize, ToSchema)]
struct GrantRecord {
    #[serde(flatten)]
    #[schema(inline)]
    grant: GrantView,
    /// The revision at which it holds.
    revision: u64,
}

#[derive(Serialize, ToSchema)]
struct GrantList {
    #[schema(inline)]
    grants: Vec<GrantView>,
    next_page_token: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Filter {
    #[serde(default)]
    subject_kind: Option<KindView>,
    #[serde(default)]
    subject_id: Option<String>,
    #[serde(default)]
    role: Option<String>,
    #[serde(default)]
    page_size: u32,
    #[serde(default)]
    page_token: String,
}

async fn add(
    State(own): State<Own>,
    admin: Admin<Roles>,
    Json(new): Json<AddGrant>,
) -> Result<Response, Problem> {
    let asker = admin.asker();
    let subject = resolve(&own, asker, new.subject).await?;
    let within = new.within.map(Into::into);
    let (grant, revision) = own.peers.policy.create_grant(asker, subject, new.role, within).await?;
    let id = grant.id.clone();
    Ok(created("grants", &id, Answer(GrantRecord { grant: grant.into(), revision })))
}

async fn list(
    State(own): State<Own>,
    admin: Admin<Roles>,
    Query(filter): Query<Filter>,
) -> Result<Answer<GrantList>, Problem> {
    let asker = admin.asker();
    let subject = match (filter.subject_kind, filter.subject_id) {
        (None, None) => None,
        (Some(kind), Some(id)) => Some(resolve(&own, asker, SubjectView { kind, id }).await?),
        _ => {
            return Err(Problem::new(catalogue::REQUEST_INVALID)
                .detail("`subject_kind` and `subject_id` go together"));
        }
    };
    let wanted = page(filter.page_size, filter.page_token)?;
    let page = own.peers.policy.grants(asker, subject, filter.role.as_deref(), wanted).await?;
    let grants = page.items.into_iter().map(GrantView::from).collect();
    Ok(Answer(GrantList { grants, next_page_token: page.next }))
}

async fn remove(
    State(own): State<Own>,
    admin: Admin<Roles>,
    Path(id): Path<String>,
    _: NoBody,
) -> Result<Answer<Written>, Problem> {
    let asker = admin.asker();
    leave_an_administrator(&own, asker, &Without::Grant(&id)).await?;
    let revision = own.peers.policy.delete_grant(asker, &id).await?;
    Ok(Answer(Written { revision }))
}
