//! What happened to whose session, for the audit. One line an ending: `logout` when its own subject ended it, and
//! `session.end` with the reason when somebody or something else did.

use chassis::audit::Record;

use crate::domain::EndReason;
use crate::store::Ended;

/// From whom and through which call an ending came.
#[derive(Clone, Copy)]
pub(super) struct Origin<'a> {
    pub request_id: &'a str,
    /// In administration: the acting principal, or the calling process where none was named.
    pub actor: Option<&'a str>,
}

impl<'a> Origin<'a> {
    pub(super) fn of<T>(request: &'a tonic::Request<T>) -> Origin<'a> {
        Origin { request_id: chassis::grpc::request_id(request), actor: None }
    }

    pub(super) fn administration<T>(request: &'a tonic::Request<T>) -> Origin<'a> {
        let actor = chassis::grpc::actor(request).unwrap_or_else(|| chassis::grpc::caller(request));
        Origin { actor: Some(actor), ..Origin::of(request) }
    }

    pub(super) fn record(&self, record: Record) -> Record {
        let record = record.request_id(self.request_id);
        match self.actor {
            Some(actor) => record.actor(actor),
            None => record,
        }
    }
}

pub(super) fn ended(ended: &Ended, origin: Origin<'_>) {
    let record = match ended.reason {
        EndReason::Logout => Record::success("logout"),
        reason => Record::success("session.end").reason(reason.as_str()),
    };
    origin.record(record.subject(&ended.subject).session(&ended.id)).emit();
}

pub(super) fn login_refused(reason: &str, detail: &str, address: &str, origin: Origin<'_>) {
    origin.record(Record::refused("session.create", reason).detail(detail).address(address)).emit();
}
