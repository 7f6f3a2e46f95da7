//! One audit line for each administration call, whatever became of it. It is begun before anything is parsed and writes
//! itself: a call that is dropped half way (the caller left, the deadline passed) may have changed something, and says so.

use chassis::audit::{Outcome, Record};
use chassis::grpc;
use tonic::{Code, Request, Response, Status};

/// A line being put together.
pub(super) struct Line {
    event: &'static str,
    actor: String,
    request_id: String,
    subject: Option<String>,
    detail: Option<String>,
    ending: Option<(Outcome, Option<String>)>,
}

impl Line {
    /// Takes the acting principal from the call's metadata; without one it is the calling process itself.
    pub(super) fn begin<T>(event: &'static str, request: &Request<T>) -> Self {
        Self {
            event,
            actor: grpc::actor(request).unwrap_or_else(|| grpc::caller(request)).to_owned(),
            request_id: grpc::request_id(request).to_owned(),
            subject: None,
            detail: None,
            ending: None,
        }
    }

    /// What it happens to. Only parsed values, so that a line is as short and as clean as they are.
    pub(super) fn subject(&mut self, subject: impl ToString) {
        self.subject = Some(subject.to_string());
    }

    pub(super) fn detail(&mut self, detail: impl Into<String>) {
        self.detail = Some(detail.into());
    }

    /// Writes the line for how the call ended, and passes that on.
    pub(super) fn end<T>(mut self, result: Result<T, Status>) -> Result<Response<T>, Status> {
        self.ending = Some(match &result {
            Ok(_) => (Outcome::Success, None),
            Err(status) => {
                let outcome = match status.code() {
                    Code::Unavailable | Code::Internal => Outcome::Failed,
                    _ => Outcome::Refused,
                };
                (outcome, chassis::status::reason(status))
            }
        });
        result.map(Response::new)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let (outcome, reason) = self.ending.take().unwrap_or((Outcome::Failed, Some("CANCELLED".to_owned())));
        let mut record = Record::new(self.event, outcome).actor(&self.actor).request_id(&self.request_id);
        if let Some(reason) = reason {
            record = record.reason(reason);
        }
        if let Some(subject) = &self.subject {
            record = record.subject(subject);
        }
        if let Some(detail) = &self.detail {
            record = record.detail(detail);
        }
        record.emit();
    }
}
