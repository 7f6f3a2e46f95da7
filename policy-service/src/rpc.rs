//! The door: messages are parsed into domain values, a flow is called, and its outcome is put into a reply or a status.

use std::sync::Arc;

use chassis::entropy::SharedEntropy;
use feed::driver::serving::Serving;
use feed::replica::{Mode, Outcome};
use tonic::Status;

use crate::domain::Revision;
use crate::store::Store;

pub mod access;
mod admin;
mod audit;
mod check;
mod message;
mod metrics;
mod page;
mod read;
mod status;

pub use admin::Admin;
pub use check::Checks;
pub use metrics::CheckCounts;
pub use read::Reads;

/// What every service here answers from.
#[derive(Clone)]
pub struct Behind {
    pub store: Arc<dyn Store>,
    pub entropy: SharedEntropy,
    pub counts: Arc<CheckCounts>,
    /// The log of changes, and who has applied it.
    pub feed: Serving,
}

impl Behind {
    /// Of what revision an answer must be at least, asked before it is read: also of what was heard of. Whoever confirms a change
    /// that another replica wrote does not give out what it was before, from a database that was deposed and has not heard. Who has
    /// no right may not have heard of what was acknowledged, and may be given the right by the time that it has read.
    fn at_least(&self, asked: u64) -> Result<Revision, Status> {
        self.must_have_right()?;
        Ok(Revision(asked.max(self.feed.view().roles_version)))
    }

    /// For an answer that has been read: a database that was deposed answers too, with what it last knew.
    fn must_have_right(&self) -> Result<(), Status> {
        if self.feed.has_right() { Ok(()) } else { Err(status::no_right()) }
    }

    /// When this is answered, every guard has heard of what was changed before it was called, by whomever.
    async fn hold_everywhere(&self) -> Result<(), Status> {
        match self.feed.end(Vec::new(), Mode::Everywhere).await {
            Outcome::Done { everywhere: true, .. } => Ok(()),
            _ => Err(status::not_confirmed()),
        }
    }
}
