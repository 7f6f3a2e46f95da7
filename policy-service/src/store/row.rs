//! Rows as the databases give them, and the one place where they become domain values: a row that this service cannot
//! have written is corruption and never half an answer.

use chassis::{postgres, sqlite};
use feed::log::LogUnavailable;

use crate::domain::{
    Grant, GrantId, GroupName, PermissionPattern, Principal, Resource, Revision, RoleName, Subject,
};
use crate::store::StoreError;

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        if sqlite::is_corruption(&error) || postgres::is_corruption(&error) {
            Self::Corrupt(error.into())
        } else {
            Self::Unavailable(error.into())
        }
    }
}

impl From<LogUnavailable> for StoreError {
    fn from(LogUnavailable(source): LogUnavailable) -> Self {
        match source.downcast::<sqlx::Error>() {
            Ok(error) => (*error).into(),
            Err(other) => Self::Unavailable(other),
        }
    }
}

/// A column that does not parse.
#[derive(Debug, thiserror::Error)]
#[error("impossible {column} in a row: {reason}")]
struct Impossible {
    column: &'static str,
    reason: String,
}

/// A row of `grants`.
#[derive(sqlx::FromRow)]
pub(super) struct GrantRow {
    pub(super) id: String,
    pub(super) subject_kind: String,
    pub(super) subject_id: String,
    pub(super) role: String,
    pub(super) within_kind: String,
    pub(super) within_id: String,
}

impl TryFrom<GrantRow> for Grant {
    type Error = StoreError;

    fn try_from(row: GrantRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: GrantId::parse(&row.id).map_err(impossible("grants.id"))?,
            subject: subject(&row.subject_kind, &row.subject_id)?,
            role: role_name(&row.role)?,
            within: within(&row.within_kind, &row.within_id)?,
        })
    }
}

pub(super) fn role_name(text: &str) -> Result<RoleName, StoreError> {
    RoleName::parse(text).map_err(impossible("role"))
}

pub(super) fn group_name(text: &str) -> Result<GroupName, StoreError> {
    GroupName::parse(text).map_err(impossible("group"))
}

pub(super) fn pattern(text: &str) -> Result<PermissionPattern, StoreError> {
    PermissionPattern::parse(text).map_err(impossible("role_permissions.pattern"))
}

pub(super) fn revision(number: i64) -> Result<Revision, StoreError> {
    u64::try_from(number).map(Revision).map_err(impossible("revision.number"))
}

pub(super) fn subject(kind: &str, id: &str) -> Result<Subject, StoreError> {
    match kind {
        "user" => Principal::user(id).map(Subject::from).map_err(impossible("user")),
        "client" => Principal::client(id).map(Subject::from).map_err(impossible("client")),
        "group" => group_name(id).map(Subject::from),
        other => Err(impossible("subject_kind")(format!("{other:?}"))),
    }
}

/// How a subject's kind is spelled in a column.
pub(super) fn kind(subject: &Subject) -> &'static str {
    match subject {
        Subject::Principal(principal) => principal_kind(principal),
        Subject::Group(_) => "group",
    }
}

pub(super) fn principal_kind(principal: &Principal) -> &'static str {
    match principal {
        Principal::User(_) => "user",
        Principal::Client(_) => "client",
    }
}

/// Both columns of a place; both empty for everywhere.
pub(super) fn place(within: Option<&Resource>) -> (&str, &str) {
    within.map_or(("", ""), |resource| (resource.kind(), resource.id()))
}

fn within(kind: &str, id: &str) -> Result<Option<Resource>, StoreError> {
    if kind.is_empty() && id.is_empty() {
        return Ok(None);
    }
    Resource::parse(kind, id).map(Some).map_err(impossible("grants.within"))
}

pub(super) fn impossible<E: ToString>(column: &'static str) -> impl Fn(E) -> StoreError {
    move |reason| StoreError::Corrupt(Box::new(Impossible { column, reason: reason.to_string() }))
}
