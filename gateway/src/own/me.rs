//! `GET /v1/me`: who the caller is to the gateway, and what it may do.

use axum::extract::State;
use axum::response::Response;
use axum::{Extension, Json as Answer};
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::Own;
use super::credential::{By, Who};
use super::endpoint::{Endpoint, Needs};
use super::view::{GrantView, UserView};
use crate::layers::caller::Caller;
use crate::peers::{Asker, SubjectKind};
use crate::problem::Problem;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get("/v1/me", "Who am I, and what may I do", me)
            .needs(Needs::Login)
            .answers::<MeAnswer>(200),
    ]
}

#[derive(Serialize, ToSchema)]
struct MeAnswer {
    /// `user` or `client`; the member of that name says which.
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(inline)]
    user: Option<UserView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(inline)]
    client: Option<ClientName>,
    /// Held everywhere, by own grants and by groups.
    roles: Vec<String>,
    /// What those roles permit.
    permissions: Vec<String>,
    /// Roles held within a resource only.
    #[schema(inline)]
    within: Vec<GrantView>,
    #[schema(inline)]
    authenticated: Authenticated,
}

#[derive(Serialize, ToSchema)]
struct ClientName {
    id: String,
    name: String,
}

#[derive(Serialize, ToSchema)]
struct Authenticated {
    /// `token` or `session`.
    by: &'static str,
    /// RFC 8176 names.
    methods: Vec<String>,
    /// The public id.
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String)]
    expires_at: OffsetDateTime,
}

async fn me(
    State(own): State<Own>,
    Extension(caller): Extension<Caller>,
    who: Who,
) -> Result<Response, Problem> {
    // Asked afresh, not read from the token: this is where somebody looks after a role was granted.
    let asker = Asker::new(caller.request_id.as_str());
    let held = own.peers.policy.subject_roles(asker, who.subject.clone()).await?;
    let id = who.subject.id.clone();
    let name = who.name.clone();
    let (user, client) = match who.subject.kind {
        SubjectKind::Client => (None, Some(ClientName { id, name })),
        SubjectKind::User | SubjectKind::Group => (Some(UserView { id, username: name }), None),
    };
    let (by, methods, session) = match &who.by {
        By::Token { principal, .. } => (
            "token",
            principal.authenticated_by.iter().map(ToString::to_string).collect(),
            principal.session.as_ref().map(ToString::to_string),
        ),
        By::Session { session, .. } => ("session", session.methods.clone(), Some(session.id.clone())),
    };
    let body = MeAnswer {
        kind: who.subject.kind.name(),
        user,
        client,
        roles: held.roles,
        permissions: held.permissions,
        within: held.within.into_iter().map(GrantView::from).collect(),
        authenticated: Authenticated { by, methods, session, expires_at: who.expires_at() },
    };
    Ok(who.answer(&own, Answer(body)))
}
