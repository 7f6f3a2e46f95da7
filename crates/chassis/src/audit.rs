//! One line for each thing that somebody may ask about later: who did what to whom, and how it ended.
//!
//! Audit lines have the target `audit` and are written whatever the log level says. Their fields are a contract with
//! whoever collects them. Nothing secret goes in: ids and public names only, never an e-mail address.

use std::fmt;

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Done.
    Success,
    /// Not allowed, or not believed.
    Refused,
    /// Could not be done although it was allowed.
    Failed,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Outcome::Success => "success",
            Outcome::Refused => "refused",
            Outcome::Failed => "failed",
        }
    }
}

/// An audit line being put together. Nothing is written before [`Record::emit`].
#[derive(Debug, Clone)]
#[must_use = "an audit record is written by `emit`"]
pub struct Record {
    event: &'static str,
    outcome: Outcome,
    reason: Option<String>,
    subject: Option<String>,
    actor: Option<String>,
    client: Option<String>,
    session: Option<String>,
    address: Option<String>,
    request_id: Option<String>,
    route: Option<String>,
    detail: Option<String>,
}

impl Record {
    /// A record of `event`, for instance `login` or `user.disable`.
    pub fn new(event: &'static str, outcome: Outcome) -> Record {
        Record {
            event,
            outcome,
            reason: None,
            subject: None,
            actor: None,
            client: None,
            session: None,
            address: None,
            request_id: None,
            route: None,
            detail: None,
        }
    }

    pub fn success(event: &'static str) -> Record {
        Record::new(event, Outcome::Success)
    }

    pub fn refused(event: &'static str, reason: impl fmt::Display) -> Record {
        Record::new(event, Outcome::Refused).reason(reason)
    }

    pub fn failed(event: &'static str, reason: impl fmt::Display) -> Record {
        Record::new(event, Outcome::Failed).reason(reason)
    }

    /// The stable word for why it was refused or failed.
    pub fn reason(mut self, reason: impl fmt::Display) -> Record {
        self.reason = Some(reason.to_string());
        self
    }

    /// The principal (or role, group, grant) that it happened to.
    pub fn subject(mut self, id: impl fmt::Display) -> Record {
        self.subject = Some(id.to_string());
        self
    }

    /// The principal that acted, when it is not the subject itself.
    pub fn actor(mut self, id: impl fmt::Display) -> Record {
        self.actor = Some(id.to_string());
        self
    }

    /// The client through which it was done.
    pub fn client(mut self, id: impl fmt::Display) -> Record {
        self.client = Some(id.to_string());
        self
    }

    /// The session's public id.
    pub fn session(mut self, id: impl fmt::Display) -> Record {
        self.session = Some(id.to_string());
        self
    }

    /// The client's network address.
    pub fn address(mut self, address: impl fmt::Display) -> Record {
        self.address = Some(address.to_string());
        self
    }

    pub fn request_id(mut self, id: impl fmt::Display) -> Record {
        self.request_id = Some(id.to_string());
        self
    }

    /// The gateway's route, by its path pattern.
    pub fn route(mut self, route: impl fmt::Display) -> Record {
        self.route = Some(route.to_string());
        self
    }

    /// Public facts that have no field of their own, for instance the role and resource of a grant.
    pub fn detail(mut self, detail: impl fmt::Display) -> Record {
        self.detail = Some(detail.to_string());
        self
    }

    /// Writes the line.
    pub fn emit(self) {
        let Record {
            event,
            outcome,
            reason,
            subject,
            actor,
            client,
            session,
            address,
            request_id,
            route,
            detail,
        } = self;
        tracing::info!(
            target: "audit",
            event,
            outcome = outcome.as_str(),
            reason,
            subject,
            actor,
            client,
            session,
            address,
            request_id,
            route,
            detail,
        );
    }
}
