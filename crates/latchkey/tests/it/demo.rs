//! `latchkey demo`: a short run of it with real PostgreSQL and Redis, and what its report says. What its judge refuses is in
//! `src/demo/judge/tests.rs`.

use std::fs;

use serde_json::Value;

use crate::stack::{latchkey, text};

#[test]
fn a_short_run_shows_both_ways_of_scaling_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("report");
    let arguments =
        ["demo", "--seconds", "1", "--replicas", "1,2", "--stores", "tokens,postgres,redis", "--output"];
    let ran = latchkey(&[&arguments[..], &[output.to_str().unwrap()]].concat());
    let (stdout, stderr) = (text(&ran.stdout), text(&ran.stderr));
    assert!(ran.status.success(), "{}\n{stdout}\n{stderr}", ran.status);

    let report: Value = serde_json::from_slice(&fs::read(output.join("report.json")).unwrap()).unwrap();
    assert_eq!(report["passed"], true);
    assert_eq!(report["skipped"], serde_json::json!([]), "a server that the tests need is missing");
    assert!(report["note"].as_str().unwrap().contains("--cpu"));
    let rows = report["rows"].as_array().unwrap();
    let shown: Vec<_> =
        rows.iter().map(|row| (row["kind"].as_str().unwrap(), row["replicas"].as_u64().unwrap())).collect();
    let kinds = ["tokens", "postgres", "redis"];
    assert_eq!(shown, kinds.map(|kind| [(kind, 1), (kind, 2)]).concat());
    for row in rows {
        let replicas = row["replicas"].as_u64().unwrap();
        for count in ["failed", "wrong_refusals"] {
            assert_eq!(row[count], 0, "{count}: {row}");
        }
        assert_eq!(row["killed"]["wrong_refusals"], 0, "{row}");
        assert_eq!(row["killed"]["lost"], 0, "{row}");
        assert_eq!(row["killed"]["processes"].as_array().unwrap().len(), 4);
        assert!(row["killed"]["requests"].as_u64().unwrap() > 0);
        assert_eq!(row["pairs_used"].as_u64(), row["credentials"].as_u64().map(|all| all * replicas));
        let is_tokens = row["kind"] == "tokens";
        assert_eq!(row["calls_per_request"] == 0.0, is_tokens, "{row}");
        assert_eq!(row["store_reads_per_request"] == 0.0, is_tokens, "{row}");
        let asked: &[&str] = if is_tokens { &["auth", "policy", "gateway"] } else { &["session", "gateway"] };
        for service in asked {
            let calls = row["shares"][service]["calls"].as_object().unwrap();
            let total: u64 = calls.values().map(|calls| calls.as_u64().unwrap()).sum();
            assert_eq!(calls.len() as u64, replicas);
            assert!(total > 0);
            for calls in calls.values() {
                // A fair share is total / replicas; each had 0.7 of that, or more.
                assert!(10 * calls.as_u64().unwrap() * replicas >= 7 * total, "{service}: {row}");
            }
        }
    }

    let page = fs::read_to_string(output.join("report.html")).unwrap();
    assert_eq!(page.matches("<svg").count(), 4);
    for outside in ["http://", "https://", "src=", "<script"] {
        assert!(!page.contains(outside), "the report needs nothing else: {outside}");
    }
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let in_a_file = file.join("below");
    let cases: [(&[&str], &str); 7] = [
        (&["--replicas", "0"], "0 is not in 1..=16"),
        (&["--replicas", "17"], "17 is not in 1..=16"),
        (&["--seconds", "0"], "0 is not in 1..=600"),
        (&["--stores", "memory"], "possible values: tokens, sqlite, postgres, redis"),
        (&["--cpu", "0"], "must be a number of cores from 0.05 to 64"),
        (&["--cpu", "NaN"], "must be a number of cores from 0.05 to 64"),
        (&["--output", in_a_file.to_str().unwrap()], "cannot be made"),
    ];
    for (arguments, said) in cases {
        let ran = latchkey(&[&["demo"], arguments].concat());
        assert!(!ran.status.success(), "{arguments:?}");
        assert!(text(&ran.stderr).contains(said), "{arguments:?}: {}", text(&ran.stderr));
        assert_eq!(text(&ran.stdout), "", "{arguments:?}");
    }
}
