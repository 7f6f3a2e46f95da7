use std::{sync::Arc, time::Duration};

use proptest::prelude::*;
use proto::feed::v1;

use super::*;
use crate::{
    Change, Credential, Entry, FromWatcher, Life, MemberId, Position, Tag, Tail, Target, ToWatcher, Verdict,
    Wall, WatcherId, What, credential::Stamp,
};

fn positions() -> impl Strategy<Value = Position> {
    prop_oneof![
        Just(Position::START),
        (1..=u64::MAX, any::<u64>()).prop_map(|(number, tag)| Position { number, tag: Tag(tag) }),
    ]
}

fn all_entries() -> impl Strategy<Value = Arc<[Entry]>> {
    let entry = (
        (1..=u64::MAX, any::<u64>()),
        prop::sample::select(&What::EVERY[..]),
        "[a-z_0-9é]{1,128}",
        any::<Option<u64>>(),
        prop::option::of("[a-z_0-9]{1,256}"),
        any::<u64>(),
    )
        .prop_map(|((number, tag), what, key, min, except, until)| Entry {
            position: Position { number, tag: Tag(tag) },
            change: Change {
                target: Target::new(what, if what == What::All { String::new() } else { key }),
                min,
                except: except.map(Arc::from),
                until: Wall::from_unix_millis(until),
            },
        });
    prop::collection::vec(entry, 0..4).prop_map(Arc::from)
}

fn from_watchers() -> impl Strategy<Value = FromWatcher> {
    prop_oneof![
        (any::<u128>(), prop::option::of(positions()))
            .prop_map(|(id, position)| FromWatcher::Hello { watcher: WatcherId(id), position }),
        (any::<u64>(), positions()).prop_map(|(sequence, acked)| FromWatcher::Renew { sequence, acked }),
        Just(FromWatcher::Release),
    ]
}

fn to_watchers() -> impl Strategy<Value = ToWatcher> {
    prop_oneof![
        Just(ToWatcher::Reset),
        all_entries().prop_map(ToWatcher::Live),
        positions().prop_map(ToWatcher::CaughtUp),
        (positions(), all_entries(), positions()).prop_map(|(previous, entries, last)| ToWatcher::Changes {
            previous,
            entries,
            last
        }),
        (any::<u64>(), 1..=u64::MAX, any::<u64>()).prop_map(|(sequence, lease, time)| ToWatcher::Grant {
            sequence,
            lease: Duration::from_millis(lease),
            log_time: Wall::from_unix_millis(time),
        }),
        Just(ToWatcher::Leave),
    ]
}

proptest! {
    #[test]
    fn what_a_guard_says_arrives(message in from_watchers()) {
        prop_assert_eq!(parse_from_watcher(from_watcher(&message)), Ok(message));
    }

    #[test]
    fn what_a_replica_says_arrives(message in to_watchers()) {
        prop_assert_eq!(parse_to_watcher(to_watcher(&message)), Ok(message));
    }

    #[test]
    fn what_a_peer_asks_arrives(
        life in any::<u128>(),
        registration in any::<u32>(),
        at in positions(),
        (after, entries) in (positions(), all_entries()),
    ) {
        let member = MemberId { life: Life(life), registration };
        let tail = Tail { after, entries };
        prop_assert_eq!(parse_confirm(confirm(member, at, &tail)), Ok((member, at, tail)));
    }
}

fn credentials() -> impl Strategy<Value = Credential> {
    let id = || prop::option::of("[a-z_0-9é]{1,128}".prop_map(Arc::<str>::from));
    let stamp = || {
        prop::option::of(
            ("[a-z_0-9]{1,256}", any::<u64>())
                .prop_map(|(id, generation)| Stamp { id: id.into(), generation }),
        )
    };
    (id(), id(), id(), id(), stamp(), stamp(), prop::option::of(any::<u64>())).prop_map(
        |(token, family, session, key, subject, client, expired)| Credential {
            token,
            family,
            session,
            key,
            subject,
            client,
            roles: None,
            expired_from: expired.map(Wall::from_unix_millis),
        },
    )
}

proptest! {
    #[test]
    fn what_a_guard_asks_arrives(credential in credentials()) {
        prop_assert_eq!(parse_ask(ask(&credential)), Ok(credential));
    }
}

#[test]
fn answers_arrive_and_what_is_none_is_refused() {
    let ended = What::EVERY.map(Verdict::Ended);
    for said in [Verdict::Live, Verdict::Forgotten].into_iter().chain(ended) {
        assert_eq!(parse_verdict(verdict(said)), Ok(said));
    }
    assert_eq!(parse_verdict(v1::AskResponse::default()), Err(Invalid::Field("verdict")));
    let of_nothing = v1::AskResponse { verdict: v1::Verdict::Ended.into(), ended: 0 };
    assert_eq!(parse_verdict(of_nothing), Err(Invalid::Field("ended")));
    assert_eq!(parse_ask(v1::AskRequest::default()), Err(Invalid::Missing("credential")));
    let credential = Some(v1::Credential { token: Some(String::new()), ..v1::Credential::default() });
    assert_eq!(parse_ask(v1::AskRequest { credential }), Err(Invalid::Field("token")));
    let client = Some(v1::Stamp { id: "k".repeat(MAX_KEY + 1), epoch: 0 });
    let credential = Some(v1::Credential { client, ..v1::Credential::default() });
    assert_eq!(parse_ask(v1::AskRequest { credential }), Err(Invalid::Field("client")));
}

fn entry() -> v1::Entry {
    let position = Some(v1::Position { number: 7, tag: 1 });
    v1::Entry {
        position,
        what: v1::What::Family.into(),
        key: "fam_1".into(),
        min: None,
        except: None,
        until_unix_ms: 1,
    }
}

fn parsed(entry: v1::Entry) -> Result<ToWatcher, Invalid> {
    let message = v1::watch_response::Message::Live(v1::Live { entries: vec![entry] });
    parse_to_watcher(v1::WatchResponse { message: Some(message) })
}

#[test]
fn an_entry_that_cannot_be_understood_is_refused_not_skipped() {
    assert!(parsed(entry()).is_ok());
    let all = v1::What::All.into();
    for (field, entry) in [
        ("what", v1::Entry { what: 0, ..entry() }),
        ("what", v1::Entry { what: 99, ..entry() }),
        ("key", v1::Entry { key: String::new(), ..entry() }),
        ("key", v1::Entry { key: "k".repeat(MAX_KEY + 1), ..entry() }),
        ("key", v1::Entry { what: all, ..entry() }),
        ("except", v1::Entry { except: Some(String::new()), ..entry() }),
        ("except", v1::Entry { except: Some("k".repeat(MAX_KEY + 1)), ..entry() }),
        ("position", v1::Entry { position: Some(v1::Position { number: 0, tag: 0 }), ..entry() }),
        ("position", v1::Entry { position: Some(v1::Position { number: 0, tag: 5 }), ..entry() }),
    ] {
        assert_eq!(parsed(entry), Err(Invalid::Field(field)));
    }
    assert_eq!(parsed(v1::Entry { position: None, ..entry() }), Err(Invalid::Missing("position")));
}

#[test]
fn messages_that_are_not_of_the_protocol_are_refused() {
    assert_eq!(parse_from_watcher(v1::WatchRequest { message: None }), Err(Invalid::Empty));
    assert_eq!(parse_to_watcher(v1::WatchResponse { message: None }), Err(Invalid::Empty));
    for length in [0, 15, 17] {
        let hello = v1::Hello { watcher: vec![0; length], position: None };
        let message = Some(v1::watch_request::Message::Hello(hello));
        assert_eq!(parse_from_watcher(v1::WatchRequest { message }), Err(Invalid::Field("watcher")));
    }
    let message = Some(v1::watch_request::Message::Renew(v1::Renew { sequence: 1, acked: None }));
    assert_eq!(parse_from_watcher(v1::WatchRequest { message }), Err(Invalid::Missing("acked")));
    let grant = v1::Grant { sequence: 1, lease_ms: 0, log_time_unix_ms: 1 };
    let message = Some(v1::watch_response::Message::Grant(grant));
    assert_eq!(parse_to_watcher(v1::WatchResponse { message }), Err(Invalid::Field("lease_ms")));
    let position = Some(v1::Position { number: 1, tag: 1 });
    let request =
        v1::ConfirmRequest { member: "somebody".into(), position, after: position, entries: Vec::new() };
    assert_eq!(parse_confirm(request), Err(Invalid::Field("member")));
}
