//! One audit line for each event, whatever became of it. A line is begun before anything is looked at and writes itself: a
//! call that is dropped half-way (the caller left, the deadline passed) may have changed something, and says so.

use std::net::IpAddr;

use chassis::audit::Record;

use super::{Failure, Origin};
use crate::hashing::HashingError;

/// A line being put together. Only ids and parsed values go in: what was typed could be anything, a password too.
pub(super) struct Line {
    event: &'static str,
    request_id: String,
    actor: Option<String>,
    subject: Option<String>,
    client: Option<String>,
    address: Option<IpAddr>,
    detail: Option<String>,
    /// `None` writes nothing.
    ending: Option<Ending>,
}

/// How an event ended. Reasons are the stable words of the contract where the caller is told one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Success,
    Refused(&'static str),
    Failed(&'static str),
}

/// What a flow refuses with knows how the line ends.
pub(super) trait Ends {
    fn ending(&self) -> Ending;
}

impl Line {
    pub(super) fn begin(origin: &Origin, event: &'static str) -> Self {
        Self {
            event,
            request_id: origin.request_id.clone(),
            actor: origin.actor.clone(),
            subject: None,
            client: None,
            address: None,
            detail: None,
            ending: Some(Ending::Failed("CANCELLED")),
        }
    }

    pub(super) fn subject(&mut self, id: impl ToString) {
        self.subject = Some(id.to_string());
    }

    pub(super) fn client(&mut self, id: impl ToString) {
        self.client = Some(id.to_string());
    }

    /// As the gateway believes it, if it is one at all.
    pub(super) fn address(&mut self, address: &str) {
        self.address = address.parse().ok();
    }

    pub(super) fn detail(&mut self, detail: impl Into<String>) {
        self.detail = Some(detail.into());
    }

    /// Writes the line for how the flow ended.
    pub(super) fn end<T, E: Ends>(self, outcome: &Result<T, E>) {
        self.close(outcome.as_ref().err().map_or(Ending::Success, Ends::ending));
    }

    pub(super) fn close(mut self, ending: Ending) {
        self.ending = Some(ending);
    }

    /// Nothing happened that anybody could ask about.
    pub(super) fn withdraw(mut self) {
        self.ending = None;
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let mut record = match self.ending {
            None => return,
            Some(Ending::Success) => Record::success(self.event),
            Some(Ending::Refused(reason)) => Record::refused(self.event, reason),
            Some(Ending::Failed(reason)) => Record::failed(self.event, reason),
        };
        record = record.request_id(&self.request_id);
        if let Some(actor) = &self.actor {
            record = record.actor(actor);
        }
        if let Some(subject) = &self.subject {
            record = record.subject(subject);
        }
        if let Some(client) = &self.client {
            record = record.client(client);
        }
        if let Some(address) = &self.address {
            record = record.address(address);
        }
        if let Some(detail) = &self.detail {
            record = record.detail(detail);
        }
        record.emit();
    }
}

impl Ends for Failure {
    fn ending(&self) -> Ending {
        match self {
            Self::Hashing(HashingError::Busy { .. }) => Ending::Refused("HASHING_BUSY"),
            Self::Store(_) => Ending::Failed("STORE_UNAVAILABLE"),
            Self::Policy(_) => Ending::Failed("POLICY_UNAVAILABLE"),
            Self::Keys(_) => Ending::Failed("KEYS_UNAVAILABLE"),
            Self::NotConfirmed(_) => Ending::Failed("NOT_CONFIRMED"),
            Self::Feed(_) => Ending::Failed("FEED_UNAVAILABLE"),
            Self::Hashing(HashingError::Failed) | Self::Issue(_) | Self::Sealing(_) => {
                Ending::Failed("INTERNAL")
            }
        }
    }
}
