use proptest::prelude::*;

use super::*;

fn grant(number: u32, role: &str, within: Option<&str>) -> Grant {
    Grant {
        id: GrantId::parse(&format!("grt_{number:026}")).unwrap(),
        subject: Principal::user("usr_00000000000000000000000000").unwrap().into(),
        role: RoleName::parse(role).unwrap(),
        within: within.map(resource),
    }
}

fn resource(text: &str) -> Resource {
    let (kind, id) = text.split_once('/').unwrap();
    Resource::parse(kind, id).unwrap()
}

fn holdings(grants: Vec<Grant>, roles: &[(&str, &[&str])]) -> Holdings {
    let permissions = roles
        .iter()
        .map(|(role, patterns)| {
            let patterns = patterns.iter().map(|text| PermissionPattern::parse(text).unwrap()).collect();
            (RoleName::parse(role).unwrap(), patterns)
        })
        .collect();
    Holdings { grants, permissions }
}

#[test]
fn what_allows_and_what_does_not() {
    let roles: &[(&str, &[&str])] = &[
        ("reader", &["document:read"]),
        ("editor", &["document:read", "document:write"]),
        ("owner", &["document:*"]),
        ("empty", &[]),
    ];
    // (grants as (number, role, within), permission, resource, ids of the grants that allow it)
    type Row = (
        &'static [(u32, &'static str, Option<&'static str>)],
        &'static str,
        Option<&'static str>,
        &'static [u32],
    );
    let table: &[Row] = &[
        (&[], "document:read", None, &[]),
        (&[(1, "empty", None)], "document:read", None, &[]),
        (&[(1, "reader", None)], "document:read", None, &[1]),
        (&[(1, "reader", None)], "document:read", Some("document/42"), &[1]),
        (&[(1, "reader", None)], "document:write", None, &[]),
        (&[(1, "reader", None)], "folder:read", None, &[]),
        (&[(1, "owner", None)], "document:delete", Some("document/42"), &[1]),
        (&[(1, "reader", Some("document/42"))], "document:read", Some("document/42"), &[1]),
        (&[(1, "reader", Some("document/42"))], "document:read", Some("document/43"), &[]),
        (&[(1, "reader", Some("document/42"))], "document:read", None, &[]),
        (
            &[(2, "owner", None), (1, "reader", Some("document/42"))],
            "document:read",
            Some("document/42"),
            &[1, 2],
        ),
        (
            &[(2, "owner", None), (1, "reader", Some("document/42"))],
            "document:write",
            Some("document/42"),
            &[2],
        ),
        (&[(1, "reader", None), (1, "reader", None)], "document:read", None, &[1]),
        // A grant whose role is not known allows nothing.
        (&[(1, "gone", None)], "document:read", None, &[]),
    ];
    for (grants, permission, at, allowing) in table {
        let held = holdings(grants.iter().map(|(n, role, within)| grant(*n, role, *within)).collect(), roles);
        let at = at.map(resource);
        let decision = decide(&held, &Permission::parse(permission).unwrap(), at.as_ref());
        let expected = if allowing.is_empty() {
            Decision::Deny
        } else {
            Decision::Allow { grants: allowing.iter().map(|n| grant(*n, "reader", None).id).collect() }
        };
        assert_eq!(decision, expected, "{grants:?} {permission} {at:?}");
    }
}

const ROLES: [&str; 3] = ["a", "b", "c"];
const KINDS: [&str; 2] = ["document", "folder"];
const ACTIONS: [&str; 2] = ["read", "write"];
const RESOURCES: [&str; 3] = ["document/1", "document/2", "folder/1"];

proptest! {
    /// Against a model that spells every rule out by comparing strings, one role and one grant at a time.
    #[test]
    fn decides_as_the_naive_model(
        patterns in proptest::collection::vec((0..3_usize, 0..2_usize, 0..3_usize), 0..8),
        grants in proptest::collection::vec((0..3_usize, 0..4_usize), 0..8),
        kind in 0..2_usize,
        action in 0..2_usize,
        at in 0..4_usize,
    ) {
        let place = |n: usize| RESOURCES.get(n).copied();
        let pattern = |kind: usize, action: usize| match ACTIONS.get(action) {
            Some(action) => format!("{}:{action}", KINDS[kind]),
            None => format!("{}:*", KINDS[kind]),
        };
        let mut permissions: BTreeMap<RoleName, BTreeSet<PermissionPattern>> = BTreeMap::new();
        for (role, kind, action) in &patterns {
            permissions
                .entry(RoleName::parse(ROLES[*role]).unwrap())
                .or_default()
                .insert(PermissionPattern::parse(&pattern(*kind, *action)).unwrap());
        }
        let held = Holdings {
            grants: (0..).zip(&grants).map(|(n, (role, within))| grant(n, ROLES[*role], place(*within))).collect(),
            permissions,
        };

        let mut allowing = Vec::new();
        for (n, (role, within)) in (0..).zip(&grants) {
            let in_place = place(*within).is_none() || place(*within) == place(at);
            let permitted = patterns.iter().any(|(r, k, a)| r == role && *k == kind && (*a == action || *a == 2));
            if in_place && permitted {
                allowing.push(grant(n, "a", None).id);
            }
        }

        let permission = Permission::parse(&pattern(kind, action)).unwrap();
        let decision = decide(&held, &permission, place(at).map(resource).as_ref());
        match decision {
            Decision::Allow { grants } => prop_assert_eq!(grants, allowing),
            Decision::Deny => prop_assert!(allowing.is_empty()),
        }
    }

    /// Holding more never takes anything away: there is no grant that denies.
    #[test]
    fn another_grant_never_denies(
        first in proptest::collection::vec((0..3_usize, 0..4_usize), 0..5),
        more in (0..3_usize, 0..4_usize),
        at in 0..4_usize,
    ) {
        let place = |n: usize| RESOURCES.get(n).copied();
        let roles: &[(&str, &[&str])] = &[("a", &["document:read"]), ("b", &["document:*"]), ("c", &["folder:read"])];
        let build = |list: &[(usize, usize)]| {
            holdings((0..).zip(list).map(|(n, (role, within))| grant(n, ROLES[*role], place(*within))).collect(), roles)
        };
        let permission = Permission::parse("document:read").unwrap();
        let at = place(at).map(resource);
        let mut all = first.clone();
        all.push(more);
        if decide(&build(&first), &permission, at.as_ref()) != Decision::Deny {
            prop_assert_ne!(decide(&build(&all), &permission, at.as_ref()), Decision::Deny);
        }
    }
}
