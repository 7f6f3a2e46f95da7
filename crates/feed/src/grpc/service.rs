//! `latchkey.feed.v1`, as a service replica answers it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chassis::{
    grpc::{ADMITTED, AccessTable, caller},
    lifecycle::Lifecycle,
    status,
};
use futures_util::{StreamExt as _, future, stream, stream::BoxStream};
use proto::feed::v1::{
    AskRequest, AskResponse, ConfirmRequest, ConfirmResponse, WatchRequest, WatchResponse,
    confirm_service_server::ConfirmService, feed_read_service_server::FeedReadService,
    feed_service_server::FeedService,
};
use tokio::sync::oneshot;
use tonic::{Code, Request, Response, Status, Streaming};

use crate::{
    FromWatcher, StreamId,
    driver::serving::{Serving, Stream},
    replica::{Answer, Misconduct},
    wire::{Invalid, parse_ask, parse_confirm, parse_from_watcher, to_watcher, verdict},
};

/// Streams that the processes of one name may have open at a replica.
const MAX_STREAMS: usize = 2048;

/// Who may watch the feed of `service`, and who may ask its replicas to confirm.
pub fn access(service: &str) -> AccessTable {
    match service {
        "auth" => &[
            ("/latchkey.feed.v1.FeedService/Watch", &["gateway", ADMITTED]),
            ("/latchkey.feed.v1.FeedReadService/Ask", &["gateway", ADMITTED]),
            ("/latchkey.feed.v1.ConfirmService/Confirm", &["auth"]),
        ],
        "session" => &[
            ("/latchkey.feed.v1.FeedService/Watch", &["gateway"]),
            ("/latchkey.feed.v1.FeedReadService/Ask", &["gateway"]),
            ("/latchkey.feed.v1.ConfirmService/Confirm", &["session"]),
        ],
        "policy" => &[
            ("/latchkey.feed.v1.FeedService/Watch", &["gateway"]),
            ("/latchkey.feed.v1.FeedReadService/Ask", &["gateway"]),
            ("/latchkey.feed.v1.ConfirmService/Confirm", &["policy"]),
        ],
        _ => &[],
    }
}

pub(super) struct Watches {
    pub(super) serving: Serving,
    pub(super) places: Places,
    pub(super) lifecycle: Lifecycle,
    /// A watcher that has not introduced itself by then is not waited for.
    pub(super) hello_within: Duration,
}

pub(super) struct Reads(pub(super) Serving);

pub(super) struct Confirms(pub(super) Serving);

type Responses = BoxStream<'static, Result<WatchResponse, Status>>;

#[tonic::async_trait]
impl FeedService for Watches {
    type WatchStream = Responses;

    async fn watch(&self, request: Request<Streaming<WatchRequest>>) -> Result<Response<Responses>, Status> {
        let caller = caller(&request);
        let place = self.places.take(caller).inspect_err(|_| self.serving.note(None, Misconduct::TooMany))?;
        let Stream { id, messages, closed } = self.serving.open(caller);
        let (faults, fault) = oneshot::channel();
        let (serving, hello_within) = (self.serving.clone(), self.hello_within);
        self.lifecycle.spawn_work("watcher", async move {
            let ended = tokio::select! {
                ended = hear(&serving, id, request.into_inner(), hello_within) => ended,
                _ = closed => Ok(()),
            };
            if ended.is_err() {
                serving.note(Some(id), Misconduct::NotTheProtocol);
            }
            serving.closed(id);
            if let Err(status) = ended {
                let _ = faults.send(status);
            }
        });
        // The place is taken until the last message is gone: what waits to be read takes memory.
        let messages = stream::unfold((messages, place), |(mut messages, place)| async move {
            messages.recv().await.map(|message| (message, (messages, place)))
        });
        let fault = stream::once(fault).filter_map(|fault| future::ready(fault.ok().map(Err)));
        Ok(Response::new(Box::pin(messages.map(|message| Ok(to_watcher(&message))).chain(fault))))
    }
}

/// Passes on what a watcher says, until it goes. An error is its fault.
async fn hear(
    serving: &Serving,
    stream: StreamId,
    mut says: Streaming<WatchRequest>,
    hello_within: Duration,
) -> Result<(), Status> {
    let first = match tokio::time::timeout(hello_within, says.message()).await {
        Ok(Ok(Some(first))) => parse_from_watcher(first).map_err(refusal)?,
        // Broken is as good as closed.
        Ok(_) => return Ok(()),
        Err(_elapsed) => return Err(no_hello()),
    };
    if !matches!(first, FromWatcher::Hello { .. }) {
        return Err(no_hello());
    }
    serving.received(stream, first).await;
    while let Ok(Some(message)) = says.message().await {
        serving.received(stream, parse_from_watcher(message).map_err(refusal)?).await;
    }
    Ok(())
}

#[tonic::async_trait]
impl FeedReadService for Reads {
    async fn ask(&self, request: Request<AskRequest>) -> Result<Response<AskResponse>, Status> {
        let credential = parse_ask(request.into_inner()).map_err(refusal)?;
        match self.0.judge(&credential).await {
            Answer::Verdict(said) => Ok(Response::new(verdict(said))),
            Answer::Unavailable => {
                Err(status::refusal(Code::Unavailable, "NO_RIGHT", "the log of endings cannot be asked now"))
            }
        }
    }
}

#[tonic::async_trait]
impl ConfirmService for Confirms {
    async fn confirm(&self, request: Request<ConfirmRequest>) -> Result<Response<ConfirmResponse>, Status> {
        let (member, position, tail) = parse_confirm(request.into_inner()).map_err(refusal)?;
        match self.0.confirm(member, position, tail).await {
            true => Ok(Response::new(ConfirmResponse {})),
            false => Err(status::refusal(Code::Unavailable, "NOT_CONFIRMED", "not every lease is there yet")),
        }
    }
}

fn no_hello() -> Status {
    tracing::warn!("a stream of changes without a Hello at its beginning");
    status::refusal(Code::InvalidArgument, "NOT_THE_PROTOCOL", "a stream begins with Hello, within a lease")
}

fn refusal(invalid: Invalid) -> Status {
    tracing::warn!(%invalid, "a message that is not of the feed's protocol");
    status::refusal(Code::InvalidArgument, "NOT_THE_PROTOCOL", invalid.to_string())
}

/// The streams that the processes of each name have open.
#[derive(Clone, Default)]
pub(super) struct Places(Arc<Mutex<HashMap<String, Open>>>);

#[derive(Default)]
struct Open {
    streams: usize,
    /// That the places are all taken is said once, until one is free again: who is refused may come again and again.
    is_told: bool,
}

impl Places {
    fn take(&self, caller: &str) -> Result<Place, Status> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let open = open.entry(caller.to_owned()).or_default();
        if open.streams >= MAX_STREAMS {
            if !std::mem::replace(&mut open.is_told, true) {
                let what = Misconduct::TooMany.name();
                tracing::warn!(caller, what, "refused: it has {MAX_STREAMS} streams of changes open");
            }
            let message = format!("{caller} has {MAX_STREAMS} streams open");
            return Err(status::refusal(Code::ResourceExhausted, "TOO_MANY_WATCHERS", message));
        }
        open.streams += 1;
        Ok(Place { places: self.clone(), caller: caller.to_owned() })
    }
}

/// One of them, until it is dropped.
struct Place {
    places: Places,
    caller: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = open.get_mut(&self.caller) {
            open.streams = open.streams.saturating_sub(1);
            open.is_told = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rpc_has_a_row_at_every_service_and_only_replicas_confirm() {
        for service in ["auth", "session", "policy"] {
            let ours = |name: &String| name.starts_with("/latchkey.feed.");
            let missing: Vec<String> = chassis::grpc::unlisted(proto::DESCRIPTORS, access(service))
                .into_iter()
                .filter(ours)
                .collect();
            assert_eq!(missing, Vec::<String>::new(), "{service}");
            let confirm = access(service).iter().find(|(name, _)| name.ends_with("/Confirm")).unwrap();
            assert_eq!(confirm.1, [service]);
        }
        assert!(access("gateway").is_empty());
    }

    #[test]
    fn one_name_has_so_many_places_and_others_have_theirs() {
        let places = Places::default();
        let mut taken: Vec<Place> = (0..MAX_STREAMS).map(|_| places.take("gateway").unwrap()).collect();
        let refused = places.take("gateway").map(drop).unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        places.take("reports").unwrap();
        taken.pop();
        places.take("gateway").unwrap();
    }
}
