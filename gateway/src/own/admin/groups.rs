//! `/v1/admin/groups` and their members.

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
use crate::own::json::{Json, NoBody};
use crate::own::view::{KindView, PAGING, Paging, Path, Query, SubjectView};
use crate::peers::{Group, Subject};
use crate::problem::Problem;

const MEMBER: &str = "/v1/admin/groups/{group}/members/{kind}/{id}";

pub(super) fn endpoints() -> Vec<Endpoint> {
    let needs = Needs::Permission(Roles::PERMISSION);
    vec![
        Endpoint::post("/v1/admin/groups", "Add a group", add)
            .needs(needs)
            .takes::<AddGroup>()
            .answers::<GroupRecord>(201),
        Endpoint::get("/v1/admin/groups", "List groups with their members", list)
            .needs(needs)
            .query(PAGING)
            .answers::<GroupList>(200),
        Endpoint::delete("/v1/admin/groups/{group}", "Remove a group, with its grants", remove)
            .needs(needs)
            .answers::<Written>(200),
        Endpoint::put(MEMBER, "Add a user, client or group to a group", add_member)
            .needs(needs)
            .answers::<Written>(200),
        Endpoint::delete(MEMBER, "Take a member out of a group", remove_member)
            .needs(needs)
            .answers::<Written>(200),
    ]
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AddGroup {
    name: String,
}

#[derive(Serialize, ToSchema)]
struct GroupRecord {
    name: String,
    #[schema(inline)]
    members: Vec<SubjectView>,
    /// After a write: the revision at which it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<u64>,
}

impl GroupRecord {
    fn new(group: Group, revision: Option<u64>) -> Self {
        let members = group.members.into_iter().map(SubjectView::from).collect();
        Self { name: group.name, members, revision }
    }
}

#[derive(Serialize, ToSchema)]
struct GroupList {
    #[schema(inline)]
    groups: Vec<GroupRecord>,
    next_page_token: String,
}

async fn add(
    State(own): State<Own>,
    admin: Admin<Roles>,
    Json(AddGroup { name }): Json<AddGroup>,
) -> Result<Response, Problem> {
    let (group, revision) = own.peers.policy.create_group(admin.asker(), name).await?;
    let name = group.name.clone();
    Ok(created("groups", &name, Answer(GroupRecord::new(group, Some(revision)))))
}

async fn list(
    State(own): State<Own>,
    admin: Admin<Roles>,
    Query(paging): Query<Paging>,
) -> Result<Answer<GroupList>, Problem> {
    let page = own.peers.policy.groups(admin.asker(), paging.request()?).await?;
    let groups = page.items.into_iter().map(|group| GroupRecord::new(group, None)).collect();
    Ok(Answer(GroupList { groups, next_page_token: page.next }))
}

async fn remove(
    State(own): State<Own>,
    admin: Admin<Roles>,
    Path(name): Path<String>,
    _: NoBody,
) -> Result<Answer<Written>, Problem> {
    let asker = admin.asker();
    leave_an_administrator(&own, asker, &Without::Subject(&Subject::group(name.clone()))).await?;
    let revision = own.peers.policy.delete_group(asker, &name).await?;
    Ok(Answer(Written { revision }))
}

async fn add_member(
    State(own): State<Own>,
    admin: Admin<Roles>,
    Path((group, kind, id)): Path<(String, KindView, String)>,
    _: NoBody,
) -> Result<Answer<Written>, Problem> {
    let asker = admin.asker();
    let member = resolve(&own, asker, SubjectView { kind, id }).await?;
    let revision = own.peers.policy.add_member(asker, &group, member).await?;
    Ok(Answer(Written { revision }))
}

async fn remove_member(
    State(own): State<Own>,
    admin: Admin<Roles>,
    Path((group, kind, id)): Path<(String, KindView, String)>,
    _: NoBody,
) -> Result<Answer<Written>, Problem> {
    let asker = admin.asker();
    let member = resolve(&own, asker, SubjectView { kind, id }).await?;
    leave_an_administrator(&own, asker, &Without::Member { group: &group, member: &member }).await?;
    let revision = own.peers.policy.remove_member(asker, &group, member).await?;
    Ok(Answer(Written { revision }))
}
