//! A user's own sessions: list them, end one, end the others, end all. By session or by token; "the others" of a
//! token are all sessions.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json as Answer};
use http::StatusCode;
use http::header::SET_COOKIE;

use super::Own;
use super::credential::{By, Who};
use super::endpoint::{Endpoint, Needs};
use super::json::NoBody;
use super::view::{EndedView, PAGING, Paging, Path, Query, SessionView, SessionsView};
use crate::layers::caller::Caller;
use crate::peers::{Asker, Failure, Reason};
use crate::problem::{Problem, catalogue};

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get("/v1/sessions", "List one's sessions", list)
            .needs(Needs::Login)
            .query(PAGING)
            .answers::<SessionsView>(200),
        Endpoint::delete("/v1/sessions/{id}", "End one of one's sessions", end)
            .needs(Needs::Login)
            .acknowledges(),
        Endpoint::post("/v1/sessions/end-others", "End all of one's sessions but this one", end_others)
            .needs(Needs::Login)
            .answers::<EndedView>(200),
        Endpoint::post("/v1/sessions/end-all", "End all of one's sessions", end_all)
            .needs(Needs::Login)
            .answers::<EndedView>(200),
    ]
}

async fn list(
    State(own): State<Own>,
    Extension(caller): Extension<Caller>,
    who: Who,
    Query(paging): Query<Paging>,
) -> Result<Response, Problem> {
    let user = who.user()?;
    let asker = Asker::new(caller.request_id.as_str());
    let page = own.peers.sessions.list(asker, Some(user), paging.request()?).await?;
    let current = match &who.by {
        By::Session { session, .. } => Some(session.id.as_str()),
        By::Token { .. } => None,
    };
    let sessions = page.items.into_iter().map(|session| SessionView::new(session, current)).collect();
    Ok(who.answer(&own, Answer(SessionsView { sessions, next_page_token: page.next })))
}

async fn end(
    State(own): State<Own>,
    Extension(caller): Extension<Caller>,
    who: Who,
    Path(id): Path<String>,
    _: NoBody,
) -> Result<Response, Problem> {
    let user = who.user()?;
    let sessions = &own.peers.sessions;
    let request_id = caller.request_id.as_str();
    let ended = match &who.by {
        By::Session { secret, .. } => {
            sessions.end(Asker::new(request_id), secret.reveal(), Some(&id)).await.map_err(own_session)?
        }
        By::Token { .. } => {
            let session = sessions.get(Asker::new(request_id), &id).await?;
            // Somebody else's is answered like one that does not exist.
            session.subject == user && sessions.end_by_id(Asker::acting(request_id, user), &id).await?
        }
    };
    if !ended {
        return Err(catalogue::SESSION_NOT_FOUND.into());
    }
    match &who.by {
        By::Session { session, .. } if session.id == id => Ok(without_session(&own, StatusCode::NO_CONTENT)),
        _ => Ok(who.answer(&own, StatusCode::NO_CONTENT)),
    }
}

async fn end_others(
    State(own): State<Own>,
    Extension(caller): Extension<Caller>,
    who: Who,
    _: NoBody,
) -> Result<Response, Problem> {
    let user = who.user()?;
    let sessions = &own.peers.sessions;
    let request_id = caller.request_id.as_str();
    let ended = match &who.by {
        By::Session { secret, .. } => {
            sessions.end_others(Asker::new(request_id), secret.reveal()).await.map_err(own_session)?
        }
        By::Token { .. } => sessions.end_subject(Asker::acting(request_id, user), user).await?,
    };
    Ok(who.answer(&own, Answer(EndedView { ended })))
}

async fn end_all(
    State(own): State<Own>,
    Extension(caller): Extension<Caller>,
    who: Who,
    _: NoBody,
) -> Result<Response, Problem> {
    let user = who.user()?;
    let asker = Asker::acting(caller.request_id.as_str(), user);
    let ended = own.peers.sessions.end_subject(asker, user).await?;
    Ok(without_session(&own, Answer(EndedView { ended })))
}

/// The caller's own session may end between being believed and being used: then nobody is logged in.
fn own_session(failure: Failure) -> Problem {
    match failure {
        Failure::Refused(refused) if refused.reason == Reason::SessionNotFound => {
            catalogue::SESSION_INVALID.into()
        }
        failure => failure.into(),
    }
}

fn without_session(own: &Own, answer: impl IntoResponse) -> Response {
    let mut response = answer.into_response();
    if let Some(cookie) = own.cookies.expire_session() {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}
