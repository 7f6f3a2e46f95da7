//! What answers look like: the JSON shapes that several endpoints share.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::Own;
use crate::peers::{self, PageRequest, Standing, SubjectKind};
use crate::problem::{Problem, catalogue};

/// A user, to itself.
#[derive(Serialize, ToSchema)]
pub(super) struct UserView {
    pub id: String,
    pub username: String,
}

impl From<&peers::User> for UserView {
    fn from(user: &peers::User) -> Self {
        Self { id: user.id.clone(), username: user.username.clone() }
    }
}

#[derive(Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum StatusView {
    Active,
    Disabled,
}

impl From<Standing> for StatusView {
    fn from(status: Standing) -> Self {
        match status {
            Standing::Active => Self::Active,
            Standing::Disabled => Self::Disabled,
        }
    }
}

impl From<StatusView> for Standing {
    fn from(status: StatusView) -> Self {
        match status {
            StatusView::Active => Self::Active,
            StatusView::Disabled => Self::Disabled,
        }
    }
}

/// A session, in lists.
#[derive(Serialize, ToSchema)]
pub(super) struct SessionView {
    pub id: String,
    /// The user's id.
    pub subject: String,
    pub username: String,
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String)]
    pub created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String)]
    pub authenticated_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String)]
    pub last_active_at: OffsetDateTime,
    /// When it ends if nothing more is done with it.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String)]
    pub expires_at: OffsetDateTime,
    /// When it ends whatever is done with it.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String)]
    pub absolute_expires_at: OffsetDateTime,
    pub methods: Vec<String>,
    pub user_agent: String,
    pub client_address: String,
    /// Whether it is the one that asks.
    pub current: bool,
}

impl SessionView {
    pub(super) fn new(session: peers::Session, current: Option<&str>) -> Self {
        Self {
            current: current == Some(session.id.as_str()),
            expires_at: session.expires_at(),
            subject: session.subject,
            username: session.username,
            id: session.id,
            created_at: session.created_at,
            authenticated_at: session.authenticated_at,
            last_active_at: session.last_active_at,
            absolute_expires_at: session.absolute_expires_at,
            methods: session.methods,
            user_agent: session.user_agent,
            client_address: session.client_address,
        }
    }
}

#[derive(Serialize, ToSchema)]
pub(super) struct SessionsView {
    #[schema(inline)]
    pub sessions: Vec<SessionView>,
    /// Empty on the last page.
    pub next_page_token: String,
}

/// How many were ended.
#[derive(Serialize, ToSchema)]
pub(super) struct EndedView {
    pub ended: u32,
}

#[derive(Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum KindView {
    User,
    Client,
    Group,
}

impl From<SubjectKind> for KindView {
    fn from(kind: SubjectKind) -> Self {
        match kind {
            SubjectKind::User => Self::User,
            SubjectKind::Client => Self::Client,
            SubjectKind::Group => Self::Group,
        }
    }
}

/// A user's or client's id, or a group's name.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SubjectView {
    #[schema(inline)]
    pub kind: KindView,
    pub id: String,
}

#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ResourceView {
    pub kind: String,
    pub id: String,
}

impl From<peers::Resource> for ResourceView {
    fn from(resource: peers::Resource) -> Self {
        Self { kind: resource.kind, id: resource.id }
    }
}

impl From<ResourceView> for peers::Resource {
    fn from(resource: ResourceView) -> Self {
        Self { kind: resource.kind, id: resource.id }
    }
}

impl From<KindView> for SubjectKind {
    fn from(kind: KindView) -> Self {
        match kind {
            KindView::User => Self::User,
            KindView::Client => Self::Client,
            KindView::Group => Self::Group,
        }
    }
}

impl From<peers::Subject> for SubjectView {
    fn from(subject: peers::Subject) -> Self {
        Self { kind: subject.kind.into(), id: subject.id }
    }
}

/// A role held, everywhere or within a resource.
#[derive(Serialize, ToSchema)]
pub(super) struct GrantView {
    pub id: String,
    #[schema(inline)]
    pub subject: SubjectView,
    pub role: String,
    /// Absent: everywhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(inline)]
    pub within: Option<ResourceView>,
}

impl From<peers::Grant> for GrantView {
    fn from(grant: peers::Grant) -> Self {
        Self {
            id: grant.id,
            subject: grant.subject.into(),
            role: grant.role,
            within: grant.within.map(ResourceView::from),
        }
    }
}

/// `?page_size=…&page_token=…` of every list.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Paging {
    #[serde(default)]
    page_size: u32,
    #[serde(default)]
    page_token: String,
}

pub(super) const PAGING: &[&str] = &["page_size", "page_token"];

impl Paging {
    pub(super) fn request(self) -> Result<PageRequest, Problem> {
        page(self.page_size, self.page_token)
    }
}

pub(super) fn page(size: u32, token: String) -> Result<PageRequest, Problem> {
    if size > 1000 {
        return Err(Problem::new(catalogue::REQUEST_INVALID).detail("`page_size` is at most 1000"));
    }
    Ok(PageRequest { size, token })
}

/// Query parameters, with a problem instead of axum's text where they are wrong.
pub(super) struct Query<T>(pub T);

impl<T: serde::de::DeserializeOwned> axum::extract::FromRequestParts<Own> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut http::request::Parts, own: &Own) -> Result<Self, Problem> {
        match axum::extract::Query::<T>::from_request_parts(parts, own).await {
            Ok(axum::extract::Query(query)) => Ok(Self(query)),
            Err(_) => Err(Problem::new(catalogue::REQUEST_INVALID)
                .detail("a query parameter is unknown or has a value that it cannot have")),
        }
    }
}

/// A path parameter, percent-decoded; same.
pub(super) struct Path<T>(pub T);

impl<T: serde::de::DeserializeOwned + Send> axum::extract::FromRequestParts<Own> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut http::request::Parts, own: &Own) -> Result<Self, Problem> {
        match axum::extract::Path::<T>::from_request_parts(parts, own).await {
            Ok(axum::extract::Path(path)) => Ok(Self(path)),
            Err(_) => Err(Problem::new(catalogue::REQUEST_INVALID).detail("the path is not valid UTF-8")),
        }
    }
}
