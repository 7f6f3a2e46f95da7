//! What travels with a call besides its message.

use std::time::Duration;

use tonic::Request;
use tonic::metadata::MetadataMap;

use super::context;

/// How long to wait where nobody has said so.
pub(super) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// The circumstances of a call to a neighbour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The id of the request that all this belongs to.
    pub request_id: String,
    /// The principal that acts, in administration.
    pub actor: Option<String>,
    /// How long to wait for the answer.
    pub timeout: Duration,
    /// The W3C trace context.
    pub traceparent: Option<String>,
}

impl Call {
    pub fn new(request_id: impl Into<String>, timeout: Duration) -> Call {
        Call { request_id: request_id.into(), actor: None, timeout, traceparent: None }
    }

    /// A call made in order to answer `request`: same id, same trace, and what is left of its deadline. Not the same
    /// actor: who acts is said anew to whoever has to know.
    pub fn continuing<T>(request: &Request<T>) -> Call {
        Call {
            request_id: context::request_id(request).to_owned(),
            actor: None,
            timeout: context::remaining(request).unwrap_or(DEFAULT_TIMEOUT),
            traceparent: context::traceparent(request).map(str::to_owned),
        }
    }

    /// On behalf of this principal.
    pub fn actor(mut self, id: impl Into<String>) -> Call {
        self.actor = Some(id.into());
        self
    }

    /// Waits for `limit` at most.
    pub fn at_most(mut self, limit: Duration) -> Call {
        self.timeout = self.timeout.min(limit);
        self
    }

    /// `message` as a request that carries all this.
    pub fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.timeout);
        let metadata = request.metadata_mut();
        put(metadata, context::REQUEST_ID, Some(&self.request_id));
        put(metadata, context::ACTOR, self.actor.as_ref());
        put(metadata, context::TRACEPARENT, self.traceparent.as_ref());
        request
    }
}

/// What cannot be metadata (a line end, say) is left out: the other side then makes its own id, or knows no actor.
fn put(metadata: &mut MetadataMap, key: &'static str, value: Option<&String>) {
    if let Some(Ok(value)) = value.map(|value| value.parse()) {
        metadata.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_continued_call_has_what_is_left_of_the_deadline() {
        let mut incoming = Request::new(());
        incoming.extensions_mut().insert(context::Known {
            caller: "gateway".into(),
            request_id: "req_1".into(),
            deadline: tokio::time::Instant::now() + Duration::from_secs(3),
        });
        incoming.metadata_mut().insert(context::TRACEPARENT, "00-1-2-01".parse().unwrap());
        incoming.metadata_mut().insert(context::ACTOR, "usr_1".parse().unwrap());
        tokio::time::advance(Duration::from_secs(1)).await;

        let call = Call::continuing(&incoming);
        assert_eq!(call.timeout, Duration::from_secs(2));
        assert_eq!(call.request_id, "req_1");
        assert_eq!(call.actor, None);
        assert_eq!(call.clone().at_most(Duration::from_secs(1)).timeout, Duration::from_secs(1));

        let outgoing = call.actor("usr_2").request(());
        let text = |key| outgoing.metadata().get(key).unwrap().to_str().unwrap().to_owned();
        assert_eq!(context::parse_timeout(&text("grpc-timeout")), Some(Duration::from_secs(2)));
        assert_eq!((text("x-request-id"), text("latchkey-actor")), ("req_1".into(), "usr_2".into()));
        assert_eq!(text("traceparent"), "00-1-2-01");
    }

    #[test]
    fn what_cannot_be_metadata_is_left_out() {
        let request = Call::new("a\nb", Duration::from_secs(1)).request(());
        assert!(request.metadata().get("x-request-id").is_none());
    }
}
