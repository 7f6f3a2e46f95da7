//! `POST /v1/admin/check`: may this subject do this.

use axum::Json as Answer;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::access::{Admin, Area, Check};
use super::subject::resolve;
use crate::own::Own;
use crate::own::endpoint::{Endpoint, Needs};
use crate::own::json::{Json, object, object_if_any};
use crate::own::view::{ResourceView, SubjectView};
use crate::peers::Question;
use crate::problem::Problem;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::post("/v1/admin/check", "May a subject do this; a deny is an answer", check)
            .needs(Needs::Permission(Check::PERMISSION))
            .takes::<CheckQuestion>()
            .answers::<CheckAnswer>(200),
    ]
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CheckQuestion {
    /// A user or client, by id or name.
    #[schema(inline)]
    #[serde(deserialize_with = "object")]
    subject: SubjectView,
    permission: String,
    /// Absent: everywhere.
    #[serde(default, deserialize_with = "object_if_any")]
    #[schema(inline)]
    resource: Option<ResourceView>,
}

#[derive(Serialize, ToSchema)]
struct CheckAnswer {
    allowed: bool,
    /// The revision that decided.
    revision: u64,
    /// Ids of the grants that allowed it.
    grants: Vec<String>,
}

async fn check(
    State(own): State<Own>,
    admin: Admin<Check>,
    Json(asked): Json<CheckQuestion>,
) -> Result<Answer<CheckAnswer>, Problem> {
    let asker = admin.asker();
    let subject = resolve(&own, asker, asked.subject).await?;
    let question =
        Question { subject, permission: asked.permission, resource: asked.resource.map(Into::into) };
    let decided = own.peers.policy.check(asker, question).await?;
    Ok(Answer(CheckAnswer { allowed: decided.allowed, revision: decided.revision, grants: decided.grants }))
}
