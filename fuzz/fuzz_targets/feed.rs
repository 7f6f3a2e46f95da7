//! Messages of the feed. What is taken says the same again, whichever side reads it.
#![no_main]

use feed::wire;
use libfuzzer_sys::fuzz_target;
use prost::Message;
use proto::feed::v1;

fuzz_target!(|bytes: &[u8]| {
    if let Some(message) = taken(bytes, wire::parse_from_watcher) {
        let again = v1::WatchRequest::decode(&*wire::from_watcher(&message).encode_to_vec()).unwrap();
        assert_eq!(wire::parse_from_watcher(again), Ok(message));
    }
    if let Some(message) = taken(bytes, wire::parse_to_watcher) {
        let again = v1::WatchResponse::decode(&*wire::to_watcher(&message).encode_to_vec()).unwrap();
        assert_eq!(wire::parse_to_watcher(again), Ok(message));
    }
    if let Some((member, position, tail)) = taken(bytes, wire::parse_confirm) {
        let again = wire::confirm(member, position, &tail).encode_to_vec();
        let again = v1::ConfirmRequest::decode(&*again).unwrap();
        assert_eq!(wire::parse_confirm(again), Ok((member, position, tail)));
    }
    if let Some(credential) = taken(bytes, wire::parse_ask) {
        let again = v1::AskRequest::decode(&*wire::ask(&credential).encode_to_vec()).unwrap();
        assert_eq!(wire::parse_ask(again), Ok(credential));
    }
    if let Some(verdict) = taken(bytes, wire::parse_verdict) {
        let again = v1::AskResponse::decode(&*wire::verdict(verdict).encode_to_vec()).unwrap();
        assert_eq!(wire::parse_verdict(again), Ok(verdict));
    }
});

fn taken<M: Message + Default, T>(
    bytes: &[u8],
    parse: impl FnOnce(M) -> Result<T, wire::Invalid>,
) -> Option<T> {
    parse(M::decode(bytes).ok()?).ok()
}
