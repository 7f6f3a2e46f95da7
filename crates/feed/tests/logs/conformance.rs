//! What every log promises, and how it is seen.

use std::{sync::Arc, time::Duration};

use latchkey_feed::{
    Change, Life, Member, MemberId, Position, Tag, Target, Wall, What,
    log::{Appended, Beat, Log, MAX_APPEND, Placed, Read, Snapshot},
};
use tokio::task::JoinSet;

use crate::{Subject, WALL};

/// What is to be trimmed, whoever may stand there.
const EVERYTHING: u64 = i64::MAX as u64;
const LATER: Wall = Wall::from_unix_millis(1_900_000_000_000);

pub(crate) fn one(tag: u64) -> [Appended; 1] {
    [appended(tag, LATER)]
}

fn appended(tag: u64, until: Wall) -> Appended {
    let target = Target::new(What::Token, format!("token{tag}"));
    Appended { tag: Tag(tag), change: Change { target, min: None, except: None, until } }
}

pub(crate) fn numbered(read: &Read) -> Vec<(u64, u64)> {
    let Read::Current { head, entries } = read else { panic!("{read:?}") };
    let numbers: Vec<_> = entries.iter().map(|entry| (entry.position.number, entry.position.tag.0)).collect();
    if let Some((number, tag)) = numbers.last() {
        assert_eq!(*head, Position { number: *number, tag: Tag(*tag) });
    }
    numbers
}

pub(crate) fn member(life: u128) -> Member {
    Member {
        id: MemberId { life: Life(life), registration: 3 },
        address: format!("10.0.0.{life}:7443"),
        lease: Duration::from_millis(1500),
        fenced: false,
    }
}

pub(crate) async fn everything_comes_back_as_it_was(subject: &dyn Subject) {
    let log = subject.open().await;
    let empty = log.snapshot().await.unwrap();
    assert_eq!(empty, Snapshot { position: Position::START, entries: Vec::new() });
    let changes: Vec<Appended> = What::EVERY
        .into_iter()
        .enumerate()
        .map(|(at, what)| Appended {
            // Both ends of 64 bits.
            tag: Tag(u64::MAX - at as u64 * (u64::MAX / 7)),
            change: Change {
                target: Target::new(what, if what == What::All { "" } else { "id with ' and é" }),
                min: (at % 2 == 0).then_some(at as u64 * 1_000_000_007),
                except: (at % 3 == 0).then(|| "spared".into()),
                until: LATER + Duration::from_millis(at as u64),
            },
        })
        .collect();
    let placed = log.append(&changes).await.unwrap();
    assert_eq!(placed.after, Some(Position::START));
    let position = placed.last;
    let Snapshot { position: head, entries } = subject.open().await.snapshot().await.unwrap();
    assert_eq!((position, head.number), (head, changes.len() as u64));
    assert!(entries.iter().map(|entry| entry.position.number).eq(1..=8));
    let back: Vec<Appended> =
        entries.into_iter().map(|entry| Appended { tag: entry.position.tag, change: entry.change }).collect();
    assert_eq!(back, changes);
}

/// Whoever reads on from where it was must never find later what it should have found before.
pub(crate) async fn overlapping_writers_leave_no_gap(subject: &dyn Subject) {
    const WRITERS: u64 = 6;
    const EACH: u64 = 20;
    let mut writers = JoinSet::new();
    for writer in 1..=WRITERS {
        let log = subject.open().await;
        writers.spawn(async move {
            for count in 0..EACH {
                let tag = writer * 1000 + count * 2;
                let two = [appended(tag, LATER), appended(tag + 1, LATER)];
                let Placed { after, last: position } = log.append(&two).await.unwrap();
                assert_eq!(position.tag, Tag(tag + 1));
                if let Some(after) = after {
                    assert_eq!(after.number + 2, position.number);
                    // It is not diverged, so that is its tag, and these two follow it.
                    let following = log.read(after).await.unwrap();
                    assert_eq!(
                        numbered(&following)[..2],
                        [(position.number - 1, tag), (position.number, tag + 1)]
                    );
                }
                // What was answered is there for whoever asks afterwards.
                let read = log.read(Position { number: position.number, tag: position.tag }).await.unwrap();
                assert!(matches!(read, Read::Current { head, .. } if head.number >= position.number));
            }
        });
    }
    let log = subject.open().await;
    let (mut at, mut seen) = (Position::START, Vec::new());
    while seen.len() < (WRITERS * EACH * 2) as usize {
        let read = log.read(at).await.unwrap();
        for (number, tag) in numbered(&read) {
            assert_eq!(number, at.number + 1);
            at = Position { number, tag: Tag(tag) };
            seen.push(tag);
        }
        tokio::task::yield_now().await;
    }
    while let Some(writer) = writers.join_next().await {
        writer.unwrap();
    }
    // Entries of one append are neighbours, and a writer's appends are in its order.
    assert!(seen.chunks(2).all(|pair| pair[0] % 2 == 0 && pair[1] == pair[0] + 1));
    for writer in 1..=WRITERS {
        let own = seen.iter().filter(|tag| **tag / 1000 == writer);
        assert!(own.is_sorted());
    }
}

pub(crate) async fn a_beat_sees_what_was_answered_before(subject: &dyn Subject) {
    let (log, other) = (subject.open().await, subject.open().await);
    let id = member(1).id;
    other.register(&member(1)).await.unwrap();
    let mut at = Position::START;
    for tag in 1..=40 {
        let placed = log.append(&one(tag)).await.unwrap();
        assert_eq!(placed.after, Some(at), "nobody else appends");
        let position = placed.last;
        let Beat::Current { head, entries, time } = other.beat(id, at).await.unwrap() else { panic!() };
        assert_eq!((head, entries.len()), (position, 1));
        // Milliseconds of this century, by whatever clock the log has.
        assert!((1_700_000_000_000..4_000_000_000_000).contains(&time.unix_millis()));
        at = head;
    }
}

pub(crate) async fn a_fence_is_for_ever(subject: &dyn Subject) {
    let (log, other) = (subject.open().await, subject.open().await);
    let (id, unknown) = (member(1).id, member(2).id);
    log.register(&member(1)).await.unwrap();
    assert!(matches!(log.beat(id, Position::START).await.unwrap(), Beat::Current { .. }));
    assert_eq!(log.beat(unknown, Position::START).await.unwrap(), Beat::Fenced);
    other.fence(id).await.unwrap();
    assert_eq!(log.beat(id, Position::START).await.unwrap(), Beat::Fenced);
    log.register(&member(1)).await.unwrap();
    assert_eq!(log.beat(id, Position::START).await.unwrap(), Beat::Fenced);
    log.remove(id).await.unwrap();
    assert_eq!(log.beat(id, Position::START).await.unwrap(), Beat::Fenced);
}

pub(crate) async fn a_position_is_its_number_and_its_tag(subject: &dyn Subject) {
    let log = subject.open().await;
    let id = member(1).id;
    log.register(&member(1)).await.unwrap();
    let mut before = vec![Position::START];
    for tag in 1..=4 {
        before.push(log.append(&one(tag)).await.unwrap().last);
    }
    subject.lose_tail(2).await;
    let lost_head = before[4];
    assert_eq!(log.read(lost_head).await.unwrap(), Read::Diverged);
    // Filled again, further than it was: every number is there.
    for tag in 11..=13 {
        log.append(&one(tag)).await.unwrap();
    }
    for lost in &before[3..] {
        assert_eq!(log.read(*lost).await.unwrap(), Read::Diverged);
        assert_eq!(log.beat(id, *lost).await.unwrap(), Beat::Diverged);
    }
    assert_eq!(numbered(&log.read(before[2]).await.unwrap()), [(3, 11), (4, 12), (5, 13)]);
    for nowhere in [Position { number: 99, tag: Tag(1) }, Position { number: u64::MAX, tag: Tag(1) }] {
        assert_eq!(log.read(nowhere).await.unwrap(), Read::Diverged);
    }
}

pub(crate) async fn trimming_keeps_the_newest_entry_and_the_horizon(subject: &dyn Subject) {
    let log = subject.open().await;
    let soon = WALL + Duration::from_secs(1);
    let mut at = vec![Position::START];
    for (tag, until) in [(1, soon), (2, LATER), (3, soon), (4, LATER), (5, soon)] {
        at.push(log.append(&[appended(tag, until)]).await.unwrap().last);
    }
    log.trim(WALL, EVERYTHING).await.unwrap();
    assert_eq!(numbered(&log.read(Position::START).await.unwrap()).len(), 5);
    // Who stands at 3 has not missed 1.
    log.trim(soon, at[3].number).await.unwrap();
    assert_eq!(log.read(at[1]).await.unwrap(), Read::Diverged);
    assert_eq!(numbered(&log.read(at[3]).await.unwrap()), [(4, 4), (5, 5)]);
    log.trim(soon, EVERYTHING).await.unwrap();
    // 1 and 3 are gone. 5 has come of age too, but numbers and positions go on from it.
    let kept: Vec<u64> =
        log.snapshot().await.unwrap().entries.iter().map(|entry| entry.position.number).collect();
    assert_eq!(kept, [2, 4, 5]);
    for passed in &at[..4] {
        assert_eq!(log.read(*passed).await.unwrap(), Read::Diverged, "{passed:?}");
    }
    assert_eq!(numbered(&log.read(at[4]).await.unwrap()), [(5, 5)]);
    let next = log.append(&one(6)).await.unwrap().last;
    assert_eq!(next.number, 6);
    log.trim(soon, EVERYTHING).await.unwrap();
    assert_eq!(log.read(at[4]).await.unwrap(), Read::Diverged);
    assert_eq!(numbered(&log.read(next).await.unwrap()), []);
}

/// More than a statement takes: it is removed in steps, and read in whole.
pub(crate) async fn a_large_log_is_trimmed_and_read_whole(subject: &dyn Subject) {
    const LOG: u64 = 10_000;
    let log = subject.open().await;
    let soon = WALL + Duration::from_secs(1);
    let until = |tag: u64| if tag.is_multiple_of(2) { LATER } else { soon };
    let changes: Vec<Appended> = (1..=LOG).map(|tag| appended(tag, until(tag))).collect();
    for some in changes.chunks(MAX_APPEND) {
        log.append(some).await.unwrap();
    }
    let numbers = |snapshot: Snapshot| -> Vec<u64> {
        snapshot.entries.iter().map(|entry| entry.position.number).collect()
    };
    let all = log.snapshot().await.unwrap();
    assert_eq!(all.position, Position { number: LOG, tag: Tag(LOG) });
    assert_eq!(numbers(all), (1..=LOG).collect::<Vec<_>>());
    while log.trim(soon, EVERYTHING).await.unwrap() {
        assert!(log.snapshot().await.unwrap().entries.len() as u64 > LOG / 2, "nothing more was to go");
    }
    let kept: Vec<u64> = (1..=LOG).filter(|tag| tag.is_multiple_of(2)).collect();
    assert_eq!(numbers(log.snapshot().await.unwrap()), kept);
    let odd = Position { number: LOG - 1, tag: Tag(LOG - 1) };
    assert_eq!(log.read(odd).await.unwrap(), Read::Diverged);
}

pub(crate) async fn members_come_and_go(subject: &dyn Subject) {
    let (log, other): (Arc<dyn Log>, _) = (subject.open().await, subject.open().await);
    assert_eq!(log.members().await.unwrap(), []);
    for life in [1, 2] {
        log.register(&member(life)).await.unwrap();
    }
    assert_eq!(other.members().await.unwrap(), [member(1), member(2)]);
    other.fence(member(1).id).await.unwrap();
    assert_eq!(log.members().await.unwrap(), [Member { fenced: true, ..member(1) }, member(2)]);
    log.remove(member(1).id).await.unwrap();
    log.remove(member(1).id).await.unwrap();
    assert_eq!(other.members().await.unwrap(), [member(2)]);
}
