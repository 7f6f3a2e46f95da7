//! `/v1/admin/users`.
//!
//! What voids an account concerns several services. Each step can be repeated, and the answer is given when all
//! are done; if one could not be asked it is 503, and the same request finishes the work. A step that is done and not yet
//! everywhere holds up none of the others.

use axum::Json as Answer;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::LOCATION;
use http::{HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::access::{Admin, Area, Sessions, Users};
use super::last_administrator::{Without, leave_an_administrator};
use super::subject;
use crate::own::Own;
use crate::own::endpoint::{Endpoint, Needs};
use crate::own::json::{Json, NoBody};
use crate::own::view::{EndedView, PAGING, Paging, Path, Query, StatusView};
use crate::peers::{Concealed, Failure, NewUser, Standing, Subject, User, done};
use crate::problem::Problem;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let needs = Needs::Permission(Users::PERMISSION);
    vec![
        Endpoint::post("/v1/admin/users", "Add a user", add)
            .needs(needs)
            .takes::<AddUser>()
            .answers::<UserRecord>(201),
        Endpoint::get("/v1/admin/users", "List users", list)
            .needs(needs)
            .query(PAGING)
            .answers::<UserList>(200),
        Endpoint::get("/v1/admin/users/{user}", "Show a user", show).needs(needs).answers::<UserRecord>(200),
        Endpoint::patch("/v1/admin/users/{user}", "Enable or disable a user", set_status)
            .needs(needs)
            .takes::<SetStatus>()
            .answers::<UserRecord>(200),
        Endpoint::put("/v1/admin/users/{user}/password", "Set a user's password", set_password)
            .needs(needs)
            .takes::<SetPassword>()
            .answers::<UserRecord>(200),
        Endpoint::delete("/v1/admin/users/{user}", "Remove a user, with grants and sessions", remove)
            .needs(needs)
            .acknowledges(),
        Endpoint::delete("/v1/admin/users/{user}/tokens", "End all tokens and sessions of a user", end_all)
            .needs(needs)
            .acknowledges(),
        Endpoint::delete("/v1/admin/users/{user}/sessions", "End all sessions of a user", end_sessions)
            .needs(Needs::Permission(Sessions::PERMISSION))
            .answers::<EndedView>(200),
    ]
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AddUser {
    username: String,
    password: String,
    #[serde(default)]
    must_change_password: bool,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SetStatus {
    #[schema(inline)]
    pub(super) status: StatusView,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SetPassword {
    password: String,
    #[serde(default)]
    must_change_password: bool,
}

/// A user, to an administrator.
#[derive(Serialize, ToSchema)]
struct UserRecord {
    id: String,
    username: String,
    #[schema(inline)]
    status: StatusView,
    must_change_password: bool,
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String)]
    created_at: OffsetDateTime,
}

impl From<User> for UserRecord {
    fn from(user: User) -> Self {
        let User { id, username, status, must_change_password, created_at } = user;
        Self { id, username, status: status.into(), must_change_password, created_at }
    }
}

#[derive(Serialize, ToSchema)]
struct UserList {
    #[schema(inline)]
    users: Vec<UserRecord>,
    next_page_token: String,
}

async fn add(
    State(own): State<Own>,
    admin: Admin<Users>,
    Json(new): Json<AddUser>,
) -> Result<Response, Problem> {
    let user = NewUser { username: new.username, password: Concealed::new(new.password) };
    let user = own.peers.auth.create_user(admin.asker(), user, new.must_change_password).await?;
    Ok(created("users", &user.id.clone(), Answer(UserRecord::from(user))))
}

async fn list(
    State(own): State<Own>,
    admin: Admin<Users>,
    Query(paging): Query<Paging>,
) -> Result<Answer<UserList>, Problem> {
    let page = own.peers.auth.users(admin.asker(), paging.request()?).await?;
    let users = page.items.into_iter().map(UserRecord::from).collect();
    Ok(Answer(UserList { users, next_page_token: page.next }))
}

async fn show(
    State(own): State<Own>,
    admin: Admin<Users>,
    Path(named): Path<String>,
) -> Result<Answer<UserRecord>, Problem> {
    Ok(Answer(subject::user(&own, admin.asker(), named).await?.into()))
}

async fn set_status(
    State(own): State<Own>,
    admin: Admin<Users>,
    Path(named): Path<String>,
    Json(SetStatus { status }): Json<SetStatus>,
) -> Result<Answer<UserRecord>, Problem> {
    let asker = admin.asker();
    let id = subject::user(&own, asker, named).await?.id;
    if Standing::from(status) == Standing::Disabled {
        leave_an_administrator(&own, asker, &Without::Subject(&Subject::user(id.clone()))).await?;
    }
    let user = done(own.peers.auth.set_user_status(asker, &id, status.into()).await)?;
    if Standing::from(status) == Standing::Disabled {
        own.peers.sessions.end_subject(asker, &id).await?;
    }
    Ok(Answer(user?.into()))
}

async fn set_password(
    State(own): State<Own>,
    admin: Admin<Users>,
    Path(named): Path<String>,
    Json(new): Json<SetPassword>,
) -> Result<Answer<UserRecord>, Problem> {
    let asker = admin.asker();
    let id = subject::user(&own, asker, named).await?.id;
    let password = Concealed::new(new.password);
    let user = done(own.peers.auth.set_password(asker, &id, password, new.must_change_password).await)?;
    own.peers.sessions.end_subject(asker, &id).await?;
    Ok(Answer(user?.into()))
}

/// Disabled first and removed last, when all that was taken holds everywhere: whatever fails before, the account lets nobody in, can
/// still be named, and the same request goes on from there. Removing then takes what was begun
/// in between, if somebody enabled it.
async fn remove(
    State(own): State<Own>,
    admin: Admin<Users>,
    Path(named): Path<String>,
    _: NoBody,
) -> Result<StatusCode, Problem> {
    let asker = admin.asker();
    let id = subject::user(&own, asker, named).await?.id;
    leave_an_administrator(&own, asker, &Without::Subject(&Subject::user(id.clone()))).await?;
    let disabled = done(own.peers.auth.set_user_status(asker, &id, Standing::Disabled).await)?;
    own.peers.sessions.end_subject(asker, &id).await?;
    own.peers.policy.forget_subject(asker, Subject::user(id.clone())).await.map_err(not_removed)?;
    disabled.map_err(not_removed)?;
    done(own.peers.auth.delete_user(asker, &id).await)?.map_err(removed)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sessions too: who is to log in anew is not let in by a cookie.
async fn end_all(
    State(own): State<Own>,
    admin: Admin<Users>,
    Path(named): Path<String>,
    _: NoBody,
) -> Result<StatusCode, Problem> {
    let asker = admin.asker();
    let id = subject::user(&own, asker, named).await?.id;
    let revoked = done(own.peers.auth.revoke_user_tokens(asker, &id).await)?;
    own.peers.sessions.end_subject(asker, &id).await?;
    revoked?;
    Ok(StatusCode::NO_CONTENT)
}

async fn end_sessions(
    State(own): State<Own>,
    admin: Admin<Sessions>,
    Path(named): Path<String>,
    _: NoBody,
) -> Result<Answer<EndedView>, Problem> {
    let asker = admin.asker();
    let id = subject::user(&own, asker, named).await?.id;
    let ended = own.peers.sessions.end_subject(asker, &id).await?;
    Ok(Answer(EndedView { ended }))
}

/// What is said of a removal that could not go on.
pub(super) fn not_removed(failure: Failure) -> Problem {
    Problem::from(failure).detail("it is disabled and not removed yet; the same request goes on from there")
}

pub(super) fn removed(failure: Failure) -> Problem {
    Problem::from(failure).detail(
        "it is removed, which need not be repeated; what it had may be accepted for as long as a lease",
    )
}

/// 201 with where the new thing is.
pub(super) fn created(area: &str, id: &str, answer: impl IntoResponse) -> Response {
    let mut response = (StatusCode::CREATED, answer).into_response();
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/admin/{area}/{id}")) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}
