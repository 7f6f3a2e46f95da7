//! Sessions, as the gateway knows them.

use std::net::IpAddr;

use async_trait::async_trait;
use time::OffsetDateTime;

use crate::peers::{Asker, Concealed, Failure, Page, PageRequest, Unavailable};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// `ses_…`: public.
    pub id: String,
    pub subject: String,
    pub username: String,
    pub epoch: u64,
    pub methods: Vec<String>,
    pub authenticated_at: OffsetDateTime,
    pub created_at: OffsetDateTime,
    pub last_active_at: OffsetDateTime,
    pub idle_expires_at: OffsetDateTime,
    pub absolute_expires_at: OffsetDateTime,
    pub user_agent: String,
    pub client_address: String,
}

impl Session {
    /// When it dies if nothing more is done with it.
    pub fn expires_at(&self) -> OffsetDateTime {
        self.idle_expires_at.min(self.absolute_expires_at)
    }
}

#[derive(Clone, Debug)]
pub enum SessionLookup {
    Found {
        session: Box<Session>,
        /// Set when the secret presented was rotated away moments ago: the cookie to set.
        current_secret: Option<Concealed>,
    },
    /// Unknown, expired or ended.
    NotFound,
}

#[derive(Clone, Debug)]
pub struct NewSession {
    pub login_proof: Concealed,
    pub user_agent: String,
    pub client_address: IpAddr,
    /// What the browser's cookie held before, if anything: that session dies.
    pub former_secret: Option<Concealed>,
}

/// session-service.
#[async_trait]
pub trait Sessions: Send + Sync {
    async fn create(&self, asker: Asker<'_>, new: NewSession) -> Result<(Session, Concealed), Failure>;
    /// Counts as activity. On the data path: short deadline.
    async fn resolve(&self, asker: Asker<'_>, secret: &str) -> Result<SessionLookup, Unavailable>;
    /// Ends the caller's own session (`id` None) or another of the same subject. False: nothing was left to end.
    async fn end(&self, asker: Asker<'_>, secret: &str, id: Option<&str>) -> Result<bool, Failure>;
    async fn end_others(&self, asker: Asker<'_>, secret: &str) -> Result<u32, Failure>;
    async fn get(&self, asker: Asker<'_>, id: &str) -> Result<Session, Failure>;
    /// `subject` None: everybody's.
    async fn list(
        &self,
        asker: Asker<'_>,
        subject: Option<&str>,
        page: PageRequest,
    ) -> Result<Page<Session>, Failure>;
    async fn end_by_id(&self, asker: Asker<'_>, id: &str) -> Result<bool, Failure>;
    async fn end_subject(&self, asker: Asker<'_>, subject: &str) -> Result<u32, Failure>;
}
