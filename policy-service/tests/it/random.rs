//! The store and the decision together against a naive model, over random policies.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use policy_service::domain::{Decision, Principal, Revision, Subject, decide};
use policy_service::store::postgres::PostgresSettings;
use policy_service::store::{GrantCreated, MemberAdded, Store};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use servers::{Postgres, Sync};

use crate::conformance::{migrated, schema_on, sqlite};
use crate::names::{client, grant, grant_id, group, group_subject, question, role, user};

const ROLES: [&str; 3] = ["a", "b", "c"];
const GROUPS: [&str; 4] = ["g0", "g1", "g2", "g3"];
const PATTERNS: [&str; 4] = ["document:read", "document:write", "document:*", "folder:read"];
const ASKED: [&str; 3] = ["document:read", "document:write", "folder:read"];
const PLACES: [Option<&str>; 4] = [None, Some("document/1"), Some("document/2"), Some("folder/1")];

#[derive(Debug, Clone)]
enum Write {
    Put { role: usize, patterns: Vec<usize> },
    DeleteRole { role: usize },
    Grant { subject: usize, role: usize, place: usize },
    Ungrant { grant: usize },
    Join { group: usize, subject: usize },
    Leave { group: usize, subject: usize },
    DeleteGroup { group: usize },
    Forget { principal: usize },
}

/// 0 to 2 are principals, 3 to 6 groups.
fn subject(number: usize) -> Subject {
    match number {
        0..3 => principal(number).into(),
        _ => group_subject(GROUPS[number - 3]),
    }
}

fn principal(number: usize) -> Principal {
    [user(1), user(2), client(1)][number].clone()
}

fn writes() -> impl Strategy<Value = Vec<Write>> {
    let one = prop_oneof![
        4 => (0..3_usize, proptest::collection::vec(0..4_usize, 0..3))
            .prop_map(|(role, patterns)| Write::Put { role, patterns }),
        1 => (0..3_usize).prop_map(|role| Write::DeleteRole { role }),
        8 => (0..7_usize, 0..3_usize, 0..4_usize)
            .prop_map(|(subject, role, place)| Write::Grant { subject, role, place }),
        2 => (0..20_usize).prop_map(|grant| Write::Ungrant { grant }),
        8 => (0..4_usize, 0..7_usize).prop_map(|(group, subject)| Write::Join { group, subject }),
        2 => (0..4_usize, 0..7_usize).prop_map(|(group, subject)| Write::Leave { group, subject }),
        1 => (0..4_usize).prop_map(|group| Write::DeleteGroup { group }),
        1 => (0..3_usize).prop_map(|principal| Write::Forget { principal }),
    ];
    proptest::collection::vec(one, 1..30)
}

/// Everything in plain sets, and every question answered by going through all of them.
#[derive(Default)]
struct Model {
    roles: BTreeMap<usize, BTreeSet<usize>>,
    groups: BTreeSet<usize>,
    members: BTreeSet<(usize, usize)>,
    grants: BTreeMap<u32, (usize, usize, usize)>,
    writes: u64,
}

impl Model {
    /// The subject and every group around it: add groups until nothing changes.
    fn around(&self, subject: usize) -> BTreeSet<usize> {
        let mut around = BTreeSet::from([subject]);
        loop {
            let more: Vec<usize> = self
                .members
                .iter()
                .filter(|(_, member)| around.contains(member))
                .map(|(group, _)| group + 3)
                .collect();
            let before = around.len();
            around.extend(more);
            if around.len() == before {
                return around;
            }
        }
    }

    fn allowing(&self, principal: usize, asked: &str, place: usize) -> Vec<u32> {
        let around = self.around(principal);
        let permitted = |role: &usize| {
            self.roles.get(role).is_some_and(|patterns| {
                patterns.iter().any(|pattern| {
                    let pattern = PATTERNS[*pattern];
                    pattern == asked || (pattern == "document:*" && asked.starts_with("document:"))
                })
            })
        };
        self.grants
            .iter()
            .filter(|(_, (holder, role, within))| {
                around.contains(holder) && permitted(role) && (*within == 0 || *within == place)
            })
            .map(|(number, _)| *number)
            .collect()
    }

    fn forget(&mut self, subject: usize) -> bool {
        let before = self.members.len() + self.grants.len();
        self.members.retain(|(_, member)| *member != subject);
        self.grants.retain(|_, (holder, _, _)| *holder != subject);
        before != self.members.len() + self.grants.len()
    }
}

/// Does the write to both, and holds that they agree about whether it changed something.
async fn write(store: &dyn Store, model: &mut Model, number: u32, write: &Write) {
    let changed = match write {
        Write::Put { role: name, patterns } => {
            let texts: Vec<&str> = patterns.iter().map(|pattern| PATTERNS[*pattern]).collect();
            store.put_role(&role(ROLES[*name], &texts)).await.unwrap();
            let patterns: BTreeSet<usize> = patterns.iter().copied().collect();
            model.roles.insert(*name, patterns.clone()) != Some(patterns)
        }
        Write::DeleteRole { role: name } => {
            store.delete_role(&role(ROLES[*name], &[]).name).await.unwrap();
            model.grants.retain(|_, (_, role, _)| role != name);
            model.roles.remove(name).is_some()
        }
        Write::Grant { subject: holder, role: name, place } => {
            let wanted = grant(number, subject(*holder), ROLES[*name], PLACES[*place]);
            let created = store.create_grant(&wanted).await.unwrap();
            if !model.roles.contains_key(name) {
                assert_eq!(created, GrantCreated::RoleNotFound);
                false
            } else if *holder >= 3 && !model.groups.contains(&(holder - 3)) {
                assert_eq!(created, GrantCreated::GroupNotFound);
                false
            } else {
                let GrantCreated::Held(held) = created else { panic!("{created:?}") };
                let as_wanted = (*holder, *name, *place);
                let there =
                    model.grants.iter().find(|(_, grant)| **grant == as_wanted).map(|(number, _)| *number);
                assert_eq!(held.value.id, grant_id(there.unwrap_or(number)));
                if there.is_none() {
                    model.grants.insert(number, as_wanted);
                }
                there.is_none()
            }
        }
        Write::Ungrant { grant } => {
            let number = *grant as u32;
            let deleted = store.delete_grant(&grant_id(number)).await.unwrap();
            let there = model.grants.remove(&number).is_some();
            assert_eq!(deleted.is_some(), there);
            there
        }
        Write::Join { group: outer, subject: member } => {
            // A group is made when it is first joined.
            if model.groups.insert(*outer) {
                store.create_group(&group(GROUPS[*outer])).await.unwrap();
                model.writes += 1;
            }
            let added = store.add_group_member(&group(GROUPS[*outer]), &subject(*member)).await.unwrap();
            if *member >= 3 && !model.groups.contains(&(member - 3)) {
                assert!(matches!(added, MemberAdded::GroupNotFound(_)));
                false
            } else if model.around(outer + 3).contains(member) {
                assert_eq!(added, MemberAdded::Cycle);
                false
            } else {
                assert!(matches!(added, MemberAdded::Member(_)));
                model.members.insert((*outer, *member))
            }
        }
        Write::Leave { group: outer, subject: member } => {
            store.remove_group_member(&group(GROUPS[*outer]), &subject(*member)).await.unwrap();
            model.members.remove(&(*outer, *member))
        }
        Write::DeleteGroup { group: name } => {
            store.delete_group(&group(GROUPS[*name])).await.unwrap();
            model.members.retain(|(group, _)| group != name);
            model.forget(name + 3);
            model.groups.remove(name)
        }
        Write::Forget { principal: who } => {
            store.forget(&principal(*who)).await.unwrap();
            model.forget(*who)
        }
    };
    model.writes += u64::from(changed);
}

async fn agree(store: &dyn Store, writes: &[Write]) {
    let mut model = Model::default();
    for (number, one) in (0..).zip(writes) {
        write(store, &mut model, number, one).await;
    }

    let mut questions = Vec::new();
    let mut expected = Vec::new();
    for who in 0..3 {
        for asked in ASKED {
            for (place, text) in PLACES.iter().enumerate() {
                questions.push(question(principal(who), asked, *text));
                expected.push(model.allowing(who, asked, place));
            }
        }
    }
    let held = store.holdings_for(&questions).await.unwrap();
    assert_eq!(held.revision.0, 1 + model.writes);
    for ((question, held), expected) in questions.iter().zip(&held.value).zip(expected) {
        let decision = decide(held, &question.permission, question.resource.as_ref());
        let allowing = match decision.clone() {
            Decision::Allow { grants } => grants,
            Decision::Deny => Vec::new(),
        };
        assert_eq!(allowing, expected.into_iter().map(grant_id).collect::<Vec<_>>(), "{question:?}");

        // Alone it is answered as in the batch.
        let alone = store.holdings_for(std::slice::from_ref(question)).await.unwrap();
        assert_eq!(alone.revision, Revision(1 + model.writes));
        assert_eq!(
            decide(&alone.value[0], &question.permission, question.resource.as_ref()),
            decision,
            "{question:?}"
        );

        // Whether a check prefilters or reads all that is held, the decision is the same.
        let all = store.holdings_of(&question.principal).await.unwrap().value;
        assert_eq!(decide(&all, &question.permission, question.resource.as_ref()), decision, "{question:?}");
    }
}

fn on_a_runtime(work: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
        .block_on(work);
}

fn cases(cases: u32) -> TestRunner {
    TestRunner::new(ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() })
}

/// Shows what failed with the values that it failed for.
fn held<E: std::fmt::Display>(outcome: Result<(), E>) {
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn any_policy_is_decided_as_by_the_naive_model_in_sqlite() {
    held(cases(48).run(&writes(), |writes| {
        on_a_runtime(async {
            let fresh = sqlite().await;
            agree(&*fresh.store, &writes).await;
        });
        Ok(())
    }));
}

/// One server for all: each policy has a schema of its own.
#[test]
fn any_policy_is_decided_as_by_the_naive_model_in_postgres() {
    let server = Postgres::start(Sync::Off);
    let number = Cell::new(0);
    held(cases(24).run(&writes(), |writes| {
        number.set(number.get() + 1);
        let settings = PostgresSettings { schema: format!("policy_{}", number.get()), ..schema_on(&server) };
        on_a_runtime(async {
            let store = migrated(&settings).await;
            agree(&store, &writes).await;
            store.close().await;
        });
        Ok(())
    }));
}
