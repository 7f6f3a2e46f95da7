//! `/v1/admin/sessions`: everybody's, by public id.

use axum::Json as Answer;
use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;

use super::access::{Admin, Area, Sessions};
use super::subject::resolve;
use crate::own::Own;
use crate::own::endpoint::{Endpoint, Needs};
use crate::own::json::NoBody;
use crate::own::view::{KindView, Path, Query, SessionView, SessionsView, SubjectView, page};
use crate::problem::{Problem, catalogue};

pub(super) fn endpoints() -> Vec<Endpoint> {
    let needs = Needs::Permission(Sessions::PERMISSION);
    vec![
        Endpoint::get("/v1/admin/sessions", "List live sessions", list)
            .needs(needs)
            .query(&["subject", "page_size", "page_token"])
            .answers::<SessionsView>(200),
        Endpoint::get("/v1/admin/sessions/{id}", "Show a session", show)
            .needs(needs)
            .answers::<SessionView>(200),
        Endpoint::delete("/v1/admin/sessions/{id}", "End a session", end).needs(needs).acknowledges(),
    ]
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Filter {
    /// A user, by id or name; absent: everybody's.
    #[serde(default)]
    subject: Option<String>,
    #[serde(default)]
    page_size: u32,
    #[serde(default)]
    page_token: String,
}

async fn list(
    State(own): State<Own>,
    admin: Admin<Sessions>,
    Query(filter): Query<Filter>,
) -> Result<Answer<SessionsView>, Problem> {
    let asker = admin.asker();
    let user = match filter.subject {
        None => None,
        Some(id) => Some(resolve(&own, asker, SubjectView { kind: KindView::User, id }).await?.id),
    };
    let wanted = page(filter.page_size, filter.page_token)?;
    let page = own.peers.sessions.list(asker, user.as_deref(), wanted).await?;
    let sessions = page.items.into_iter().map(|session| SessionView::new(session, None)).collect();
    Ok(Answer(SessionsView { sessions, next_page_token: page.next }))
}

async fn show(
    State(own): State<Own>,
    admin: Admin<Sessions>,
    Path(id): Path<String>,
) -> Result<Answer<SessionView>, Problem> {
    Ok(Answer(SessionView::new(own.peers.sessions.get(admin.asker(), &id).await?, None)))
}

async fn end(
    State(own): State<Own>,
    admin: Admin<Sessions>,
    Path(id): Path<String>,
    _: NoBody,
) -> Result<StatusCode, Problem> {
    if own.peers.sessions.end_by_id(admin.asker(), &id).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(catalogue::SESSION_NOT_FOUND.into())
    }
}
