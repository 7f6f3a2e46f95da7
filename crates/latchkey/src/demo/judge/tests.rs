use std::collections::BTreeMap;

use super::super::cpu::Cpu;
use super::super::row::{FirstUse, Killed, Looks, first_of_each};
use super::super::shares::Shares;
use super::*;

pub fn good(kind: Kind, replicas: u16) -> Row {
    let calls = if kind == Kind::Tokens { 0 } else { 1000 };
    let shares = SERVICES.map(|service| {
        let calls = (0..replicas).map(|replica| (format!("{service}-{replica}"), 100)).collect();
        (service, Shares { calls, judged: true })
    });
    let cpu = SERVICES.map(|service| {
        let of_each = |value| (0..replicas).map(|replica| (format!("{service}-{replica}"), value)).collect();
        let used = if service == "gateway" { 0.9 } else { 0.1 };
        (service, Cpu { used: of_each(used), throttled: of_each(0.5), microseconds_per_request: 60.0 })
    });
    Row {
        kind,
        replicas,
        callers: 16,
        requests: 1000,
        requests_per_second: 100.0 * f64::from(replicas),
        p50_ms: 1.0,
        p99_ms: 2.0,
        failed: 0,
        wrong_refusals: 0,
        first_use: FirstUse { failed: 0, wrong_refusals: 0 },
        credentials: 16,
        pairs_used: 16 * usize::from(replicas),
        calls: BTreeMap::from([("auth", 0), ("policy", 0), ("session", calls)]),
        calls_per_request: if kind == Kind::Tokens { 0.0 } else { 1.0 },
        store_reads_per_request: if kind == Kind::Tokens { 0.0 } else { 1.0 },
        store_writes_per_request: 0.0,
        shares: BTreeMap::from(shares),
        cpu: BTreeMap::from(cpu),
        looks: Looks { issue: 1, load: 1 },
        killed: Killed {
            processes: first_of_each(),
            requests: 10,
            failed: 3,
            requests_elsewhere: 5,
            failed_elsewhere: 1,
            wrong_refusals: 0,
            lost: 0,
        },
    }
}

pub fn report(cpu: Option<f64>, rows: Vec<Row>) -> Report {
    Report {
        passed: false,
        problems: vec![],
        skipped: vec![],
        seconds: 1,
        cores: 2,
        cpu,
        note: None,
        settings: BTreeMap::new(),
        rows,
    }
}

fn judged(cpu: Option<f64>, rows: Vec<Row>) -> Vec<String> {
    problems(&report(cpu, rows))
}

#[test]
fn good_rows_have_no_problem_and_no_rows_are_one() {
    let rows = vec![good(Kind::Tokens, 1), good(Kind::Tokens, 2), good(Kind::Redis, 1), good(Kind::Redis, 4)];
    assert_eq!(judged(Some(0.1), rows), Vec::<String>::new());
    assert_eq!(judged(None, vec![]), ["nothing was shown"]);
}

#[test]
fn each_thing_that_does_not_hold_is_named_with_its_row() {
    type Spoil = fn(&mut Row);
    let spoilt: [(Spoil, &str); 15] = [
        (|row| row.first_use.failed = 1, "1 requests failed at a credential's first use"),
        (|row| row.first_use.wrong_refusals = 2, "2 valid credentials were refused at their first use"),
        (
            |row| row.killed.processes.retain(|process| process != "session-0"),
            "0 of session were killed, and not one",
        ),
        (|row| row.killed.processes.push("gateway-1".into()), "2 of gateway were killed, and not one"),
        (|row| row.killed.requests = 0, "nothing was requested while replicas were killed"),
        (
            |row| row.killed.requests_elsewhere = 0,
            "nothing was requested of other gateways while one was killed",
        ),
        (|row| row.failed = 1, "1 requests failed with everything running"),
        (|row| row.wrong_refusals = 2, "2 valid credentials were refused with everything running"),
        (|row| row.killed.wrong_refusals = 3, "3 valid credentials were refused while replicas were killed"),
        (|row| row.killed.lost = 4, "4 credentials were lost when replicas were killed"),
        (|row| row.pairs_used = 31, "31 of 32 pairs of credential and gateway were used"),
        (
            |row| {
                row.calls.insert("policy", 2);
            },
            "2 calls to policy in 1000 requests, for tokens that are known",
        ),
        (|row| row.store_reads_per_request = 0.5, "0.5000 reads of the store a request"),
        (
            |row| {
                row.shares.get_mut("policy").unwrap().calls.insert("policy-1".into(), 50);
            },
            "policy-1 had 0.33 of the calls, less than 0.35",
        ),
        (
            |row| {
                row.shares.get_mut("auth").unwrap().calls.remove("auth-1");
            },
            "auth has 1 replicas that tell their metrics",
        ),
    ];
    for (spoil, said) in spoilt {
        let mut row = good(Kind::Tokens, 2);
        spoil(&mut row);
        assert_eq!(judged(None, vec![row]), [format!("Stateless tokens, 2 of everything: {said}")]);
    }
}

#[test]
fn a_session_is_read_from_its_store() {
    for kind in [Kind::Sqlite, Kind::Postgres, Kind::Redis] {
        for reads in [0.0, f64::NAN] {
            let mut row = good(kind, 2);
            row.store_reads_per_request = reads;
            let said = format!("{}, 2 of everything: no session was read from its store", kind.title());
            assert_eq!(judged(None, vec![row]), [said]);
        }
    }
}

#[test]
fn too_few_calls_are_no_proof_where_a_service_is_asked() {
    let few = |kind, service| {
        let mut row = good(kind, 2);
        row.shares.get_mut(service).unwrap().judged = false;
        judged(None, vec![row])
    };
    for service in SERVICES {
        let said =
            format!("2 of everything: {service} had only 200 calls: too few to see how they are shared");
        assert_eq!(few(Kind::Sqlite, service), [format!("Sessions in SQLite, {said}")]);
        let in_tokens = if service == "session" { vec![] } else { vec![format!("Stateless tokens, {said}")] };
        assert_eq!(few(Kind::Tokens, service), in_tokens);
    }
}

#[test]
fn throughput_must_grow_when_each_process_has_its_own_part_of_a_core() {
    let mut two = good(Kind::Redis, 2);
    two.requests_per_second = 160.0;
    let rows = vec![good(Kind::Redis, 1), two];
    assert_eq!(judged(None, rows.clone()), Vec::<String>::new());
    assert_eq!(
        judged(Some(0.1), rows),
        ["Sessions in Redis: 2 of everything answered 1.60 times what one did, less than 1.7"]
    );
}

#[test]
fn growth_shows_nothing_where_nobody_used_up_its_part() {
    let rows = |used: f64| {
        let mut two = good(Kind::Redis, 2);
        // The other used 0.9: they are judged together.
        two.cpu.get_mut("gateway").unwrap().used.insert("gateway-1".into(), used);
        vec![good(Kind::Redis, 1), two]
    };
    assert_eq!(judged(Some(0.1), rows(0.7)), Vec::<String>::new());
    let said = |what| {
        format!(
            "Sessions in Redis, 2 of everything: was not loaded to its limit: the busiest, {what} of its part of a core, \
             less than 0.8: growth shows nothing"
        )
    };
    assert_eq!(judged(Some(0.1), rows(0.6)), [said("gateway, used 0.75")]);
    assert_eq!(judged(Some(0.1), rows(f64::NAN)), [said("gateway, used NaN")]);
    assert_eq!(judged(None, rows(0.6)), Vec::<String>::new());
    let mut uncounted = rows(0.7);
    uncounted[1].cpu.clear();
    assert_eq!(judged(Some(0.1), uncounted), [said("nobody, used 0.00")]);
}

#[test]
fn growth_that_cannot_be_judged_is_told() {
    let rows = |replicas: &[u16]| replicas.iter().map(|replicas| good(Kind::Redis, *replicas)).collect();
    let said = "growth is judged from 1 of everything to 2 or 4: --replicas must have 1, and 2 or 4";
    for shown in [&[2, 4][..], &[1], &[1, 3], &[4]] {
        assert_eq!(judged(Some(0.1), rows(shown)), [format!("Sessions in Redis: {said}")], "{shown:?}");
        assert_eq!(judged(None, rows(shown)), Vec::<String>::new(), "{shown:?}");
    }
    for shown in [&[1, 2][..], &[1, 4], &[1, 2, 3, 4]] {
        assert_eq!(judged(Some(0.1), rows(shown)), Vec::<String>::new(), "{shown:?}");
    }
}
