use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::change::Tag;

const DAY: Wall = Wall::from_unix_millis(86_400_000);

fn entry(number: u64, what: What, key: &str, min: Option<u64>, except: Option<&str>) -> Entry {
    let position = Position { number, tag: Tag(number) };
    Entry {
        position,
        change: Change { target: Target::new(what, key), min, except: except.map(Arc::from), until: DAY },
    }
}

fn subject(generation: u64, session: &str) -> Credential {
    Credential {
        subject: Some(Stamp { id: "alice".into(), generation }),
        session: Some(session.into()),
        ..Credential::default()
    }
}

#[test]
fn each_name_ends_what_carries_it_and_nothing_else() {
    let carrying = |what, id: &str| {
        let mut credential = Credential::default();
        let id = Some(Arc::from(id));
        match what {
            What::Token => credential.token = id,
            What::Family => credential.family = id,
            What::Session => credential.session = id,
            _ => credential.key = id,
        }
        credential
    };
    for what in [What::Token, What::Family, What::Session, What::Key] {
        let mut endings = Endings::default();
        endings.remember(&entry(1, what, "it", None, None));
        for other in [What::Token, What::Family, What::Session, What::Key] {
            let expected = if other == what { Verdict::Ended(what) } else { Verdict::Live };
            assert_eq!(endings.judge(&carrying(other, "it")), expected);
            assert_eq!(endings.judge(&carrying(other, "another")), Verdict::Live);
        }
    }
}

#[test]
fn a_raised_generation_ends_the_lower_ones_only() {
    let mut endings = Endings::default();
    endings.remember(&entry(1, What::Subject, "alice", Some(5), None));
    endings.remember(&entry(2, What::Subject, "alice", Some(3), None));
    assert_eq!(endings.judge(&subject(4, "s")), Verdict::Ended(What::Subject));
    assert_eq!(endings.judge(&subject(5, "s")), Verdict::Live);
}

#[test]
fn what_a_later_raise_spares_stays_ended_by_an_earlier_one() {
    let mut endings = Endings::default();
    endings.remember(&entry(1, What::Subject, "alice", Some(5), Some("first")));
    endings.remember(&entry(2, What::Subject, "alice", Some(6), Some("second")));
    assert_eq!(endings.judge(&subject(4, "first")), Verdict::Ended(What::Subject));
    assert_eq!(endings.judge(&subject(4, "second")), Verdict::Ended(What::Subject));
    assert_eq!(endings.judge(&subject(5, "second")), Verdict::Live);
}

#[test]
fn roles_read_before_the_change_are_asked_again() {
    let mut endings = Endings::default();
    endings.remember(&entry(7, What::Principal, "editors", None, None));
    let with = |principal: &str, version| Credential {
        roles: Some(Roles { principals: vec!["alice".into(), principal.into()], version }),
        ..Credential::default()
    };
    assert_eq!(endings.judge(&with("editors", 6)), Verdict::RolesOutdated { at_least: 7 });
    assert_eq!(endings.judge(&with("editors", 7)), Verdict::Live);
    assert_eq!(endings.judge(&with("readers", 6)), Verdict::Live);
    endings.remember(&entry(9, What::All, "", None, None));
    assert_eq!(endings.judge(&with("readers", 8)), Verdict::RolesOutdated { at_least: 9 });
}

/// Part by part.
fn live(endings: &Endings) -> Vec<Entry> {
    let (mut all, mut next) = (Vec::new(), Some(Place::default()));
    while let Some(from) = next {
        let (part, rest) = endings.part(from, 2);
        assert!(part.len() >= 2 || rest.is_none(), "a part that is too small");
        all.extend(part);
        next = rest;
    }
    all
}

#[test]
fn an_entry_leaves_at_its_age_and_the_longer_one_stays() {
    let mut endings = Endings::default();
    let mut longer = entry(2, What::Token, "it", None, None);
    longer.change.until = DAY + Duration::from_secs(1);
    endings.remember(&longer);
    endings.remember(&entry(1, What::Token, "it", None, None));
    endings.remember(&entry(3, What::Token, "other", None, None));
    endings.expire(Wall::from_unix_millis(DAY.unix_millis() - 1));
    assert_eq!(endings.len(), 2);
    endings.expire(DAY);
    assert_eq!(live(&endings), [longer.clone()]);
    endings.expire(longer.change.until);
    assert!(endings.is_empty());
}

/// What was forgotten leaves places that cost a look each: there are not too many of them in one part.
#[test]
fn a_part_ends_also_where_almost_everything_was_forgotten() {
    let mut endings = Endings::default();
    for number in 1..=100 {
        let mut entry = entry(number, What::Token, &format!("{number:026}"), None, None);
        if number == 100 {
            entry.change.until = DAY + Duration::from_secs(1);
        }
        endings.remember(&entry);
    }
    endings.expire(DAY);
    let (mut parts, mut next) = (Vec::new(), Some(Place::default()));
    while let Some(from) = next {
        let (part, rest) = endings.part(from, 2);
        parts.push(part.len());
        next = rest;
    }
    assert_eq!(parts, [0, 0, 0, 1]);
}

/// Between a look at the clock and the look into the memory a thread may sleep for longer than the ending is remembered.
#[test]
fn what_expired_before_the_memory_forgot_is_not_judged_live() {
    let mut endings = Endings::default();
    endings.remember(&entry(1, What::Token, "it", None, None));
    let expiring =
        |from| Credential { token: Some("it".into()), expired_from: Some(from), ..Credential::default() };
    assert_eq!(endings.judge(&expiring(DAY)), Verdict::Ended(What::Token));
    endings.expire(DAY);
    assert_eq!(endings.judge(&expiring(DAY)), Verdict::Forgotten);
    assert_eq!(endings.judge(&expiring(DAY + Duration::from_millis(1))), Verdict::Live);
}

fn any_token() -> impl Strategy<Value = Entry> {
    // As we write them, and as somebody else might.
    let key = prop_oneof!["0{24}[0-2]{2}", "8{24}[0-2]{2}", "jti[0-2]"];
    (1_u64..40, key, 1_u64..4).prop_map(|(number, key, day)| {
        let mut entry = entry(number, What::Token, &key, None, None);
        entry.change.until = Wall::from_unix_millis(day * DAY.unix_millis());
        entry
    })
}

proptest! {
    /// However an id is written, it is remembered as long as anything says, is told to others, and means nothing else.
    #[test]
    fn ids_of_our_own_are_remembered_like_others(
        entries in proptest::collection::vec(any_token(), 0..12),
        asked in proptest::collection::vec(any_token(), 1..12),
        day in 0_u64..4,
    ) {
        let mut endings = Endings::default();
        entries.iter().chain(&entries).for_each(|entry| endings.remember(entry));
        let mut copied = Endings::default();
        live(&endings).iter().for_each(|entry| copied.remember(entry));
        let wall = Wall::from_unix_millis(day * DAY.unix_millis());
        let mut alive = std::collections::BTreeSet::new();
        for Entry { change, .. } in &entries {
            if change.until > wall {
                alive.insert(Arc::clone(&change.target.key));
            }
        }
        for endings in [&mut endings, &mut copied] {
            endings.expire(wall);
            prop_assert_eq!(endings.len(), alive.len());
            for Entry { change: Change { target, .. }, .. } in asked.iter().chain(&entries) {
                let credential = Credential { token: Some(Arc::clone(&target.key)), ..Credential::default() };
                let has_ended = alive.contains(&target.key);
                let expected = if has_ended { Verdict::Ended(What::Token) } else { Verdict::Live };
                prop_assert_eq!(endings.judge(&credential), expected);
                prop_assert_eq!(endings.has_ended(target), has_ended);
            }
        }
    }
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let subject =
        (1_u64..6, proptest::option::of("[ab]")).prop_map(|(min, except)| (What::Subject, Some(min), except));
    let token = Just((What::Token, None, None));
    (1_u64..40, prop_oneof![subject, token], 1_u64..4).prop_map(|(number, (what, min, except), day)| {
        let mut entry = entry(number, what, "alice", min, except.as_deref());
        entry.change.until = Wall::from_unix_millis(day * DAY.unix_millis());
        entry
    })
}

proptest! {
    /// Order, repetition and a detour over somebody else's memory change no verdict, now or after any expiry.
    #[test]
    fn memory_is_a_join(mut entries in proptest::collection::vec(any_entry(), 0..12), seed in any::<u64>(), day in 0_u64..4) {
        let mut straight = Endings::default();
        entries.iter().for_each(|entry| straight.remember(entry));
        fastrand::Rng::with_seed(seed).shuffle(&mut entries);
        let mut detour = Endings::default();
        entries.iter().chain(&entries).for_each(|entry| detour.remember(entry));
        let mut copied = Endings::default();
        live(&detour).iter().for_each(|entry| copied.remember(entry));
        for endings in [&mut straight, &mut detour, &mut copied] {
            endings.expire(Wall::from_unix_millis(day * DAY.unix_millis()));
        }
        for generation in 0..7 {
            for session in ["a", "b", "c"] {
                let credential = subject(generation, session);
                // What the entries themselves say, one by one.
                let ended = entries.iter().any(|Entry { change, .. }| {
                    change.target.what == What::Subject
                        && change.until.unix_millis() > day * DAY.unix_millis()
                        && change.min.unwrap() > generation
                        && change.except.as_deref() != Some(session)
                });
                let expected = if ended { Verdict::Ended(What::Subject) } else { Verdict::Live };
                prop_assert_eq!(straight.judge(&credential), expected);
                prop_assert_eq!(detour.judge(&credential), expected);
                prop_assert_eq!(copied.judge(&credential), expected);
            }
        }
    }
}
