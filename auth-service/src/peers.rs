//! Neighbours of auth-service behind traits: what is asked of them, and what can become of asking.

use std::time::Duration;

use async_trait::async_trait;

use crate::domain::{
    claims::SubjectRoles,
    id::{ClientId, UserId},
};

pub mod policy;

/// Whose roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject<'a> {
    User(&'a UserId),
    Client(&'a ClientId),
}

/// What travels with a call to a neighbour.
#[derive(Clone, Debug)]
pub struct PeerCall {
    pub request_id: String,
    /// What is left of the caller's own deadline.
    pub timeout: Duration,
    /// The W3C trace context.
    pub traceparent: Option<String>,
}

/// The neighbour could not be asked, or what it said cannot be understood. Never "has no roles".
#[derive(Debug, thiserror::Error)]
#[error("policy-service cannot be asked")]
pub struct PolicyUnavailable(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// policy-service, as far as issuing tokens needs it.
#[async_trait]
pub trait Policy: Send + Sync + 'static {
    /// The roles held everywhere, by own grants and by groups, and the revision at which they were read.
    async fn roles_of(
        &self,
        subject: Subject<'_>,
        call: &PeerCall,
    ) -> Result<SubjectRoles, PolicyUnavailable>;
}
