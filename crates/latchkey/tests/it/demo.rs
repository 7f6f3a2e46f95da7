//! `latchkey demo`: a short run of it with real PostgreSQL and Redis, and what its report says; and runs where one is not
//! installed, or does not start, or each process has a part of a core. What its judge refuses is in `src/demo/judge/tests.rs`.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;

use crate::stack::{latchkey, program, text};

/// With `--cpu`.
const CALLERS_A_GATEWAY: u64 = 64;

#[test]
fn a_short_run_shows_both_ways_of_scaling_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("report");
    let arguments = ["demo", "--seconds", "1", "--replicas", "1,2", "--output"];
    let ran = latchkey(&[&arguments[..], &[output.to_str().unwrap()]].concat());
    let (stdout, stderr) = (text(&ran.stdout), text(&ran.stderr));
    assert!(ran.status.success(), "{}\n{stdout}\n{stderr}", ran.status);

    let report: Value = serde_json::from_slice(&fs::read(output.join("report.json")).unwrap()).unwrap();
    assert_eq!(report["passed"], true);
    assert_eq!(report["skipped"], serde_json::json!([]), "a server that the tests need is missing");
    assert!(report["note"].as_str().unwrap().contains("--cpu"));
    assert!(report["settings"]["gateway"].as_str().unwrap().contains("3s"));
    let rows = report["rows"].as_array().unwrap();
    let shown: Vec<_> =
        rows.iter().map(|row| (row["kind"].as_str().unwrap(), row["replicas"].as_u64().unwrap())).collect();
    let kinds = ["tokens", "sqlite", "postgres", "redis"];
    assert_eq!(shown, kinds.map(|kind| [(kind, 1), (kind, 2)]).concat());
    for row in rows {
        let replicas = row["replicas"].as_u64().unwrap();
        for count in ["failed", "wrong_refusals"] {
            assert_eq!(row[count], 0, "{count}: {row}");
        }
        assert_eq!(row["first_use"], serde_json::json!({ "failed": 0, "wrong_refusals": 0 }), "{row}");
        assert_eq!(row["killed"]["wrong_refusals"], 0, "{row}");
        assert_eq!(row["killed"]["lost"], 0, "{row}");
        assert_eq!(row["killed"]["processes"].as_array().unwrap().len(), 4);
        assert!(row["killed"]["requests"].as_u64().unwrap() > 0);
        assert_eq!(row["killed"]["requests_elsewhere"] == 0, replicas == 1, "{row}");
        assert_eq!(row["pairs_used"].as_u64(), row["credentials"].as_u64().map(|all| all * replicas));
        let is_tokens = row["kind"] == "tokens";
        assert_eq!((&row["calls"]["auth"], &row["calls"]["policy"]), (&0.into(), &0.into()), "{row}");
        assert_eq!(row["calls"]["session"] == 0, is_tokens, "{row}");
        assert_eq!(row["store_reads_per_request"] == 0.0, is_tokens, "{row}");
        for service in ["auth", "policy", "session", "gateway"] {
            let is_asked = !is_tokens || service != "session";
            assert_eq!(row["shares"][service]["judged"], is_asked, "{service}: {row}");
            if !is_asked {
                continue;
            }
            let calls = row["shares"][service]["calls"].as_object().unwrap();
            let total: u64 = calls.values().map(|calls| calls.as_u64().unwrap()).sum();
            assert_eq!(calls.len() as u64, replicas);
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

/// How much it grows is a matter of the machine: here it is that the verdict is told, and what it is from.
#[test]
fn each_process_is_given_its_part_of_a_core_or_the_command_says_why_not() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("report");
    let arguments =
        ["demo", "--cpu", "0.1", "--seconds", "1", "--replicas", "1,2", "--stores", "tokens", "--output"];
    let ran = latchkey(&[&arguments[..], &[output.to_str().unwrap()]].concat());
    let stderr = text(&ran.stderr);
    if !can_limit() {
        assert!(!ran.status.success());
        assert!(stderr.contains("--cpu: "), "{stderr}");
        assert!(!output.exists(), "nothing was shown");
        return;
    }

    let written = fs::read(output.join("report.json")).unwrap_or_else(|_| panic!("no report: {stderr}"));
    let report: Value = serde_json::from_slice(&written).unwrap();
    let problems = report["problems"].as_array().unwrap();
    assert_eq!(report["passed"], ran.status.success(), "{stderr}");
    assert_eq!(report["passed"], problems.is_empty(), "{report}");
    for problem in problems {
        assert!(stderr.contains(&format!("NOT HELD: {}", problem.as_str().unwrap())), "{stderr}");
    }
    assert_eq!((&report["cpu"], &report["note"]), (&0.1.into(), &Value::Null));
    let rows = report["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    for row in rows {
        let replicas = row["replicas"].as_u64().unwrap();
        assert_eq!(row["callers"], CALLERS_A_GATEWAY * replicas);
        for service in ["auth", "policy", "session", "gateway"] {
            let of_each = |what: &str| row["cpu"][service][what].as_object().unwrap().clone();
            let (used, throttled) = (of_each("used"), of_each("throttled"));
            assert_eq!((used.len() as u64, throttled.len() as u64), (replicas, replicas), "{row}");
            assert!(row["cpu"][service]["microseconds_per_request"].as_f64().unwrap() > 0.0, "{row}");
            for replica in 0..replicas {
                let of = |what: &serde_json::Map<_, Value>| {
                    what[&format!("{service}-{replica}")].as_f64().unwrap()
                };
                assert!(of(&used) > 0.0 && of(&throttled) >= 0.0, "{row}");
            }
        }
    }
    let page = fs::read_to_string(output.join("report.html")).unwrap();
    assert_eq!(page.matches(" throttled, ").count(), 8, "{page}");
}

/// Whether control groups can be made here, found out without the program.
fn can_limit() -> bool {
    let root = Path::new("/sys/fs/cgroup");
    let probe = |home: &Path| {
        let group = home.join(format!("latchkey-it-{}", std::process::id()));
        fs::create_dir(&group).and_then(|()| fs::remove_dir(group)).is_ok()
    };
    match fs::read_to_string(root.join("cgroup.subtree_control")) {
        Ok(controllers) => controllers.split_whitespace().any(|name| name == "cpu") && probe(root),
        Err(_) => probe(&root.join("cpu")) && probe(&root.join("cpuacct")),
    }
}

#[test]
fn what_is_not_installed_is_named_with_its_package() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("report");
    let shown = |stores: &[&str]| {
        let mut demo = program();
        demo.args(["demo", "--seconds", "1", "--replicas", "1", "--stores", &stores.join(","), "--output"]);
        // Nothing is installed there.
        let ran = demo.arg(&output).env("PATH", folder.path()).output().unwrap();
        let report: Value = serde_json::from_slice(&fs::read(output.join("report.json")).unwrap()).unwrap();
        assert_eq!(report["passed"], ran.status.success(), "{}", text(&ran.stderr));
        let page = fs::read_to_string(output.join("report.html")).unwrap();
        (report, text(&ran.stdout), text(&ran.stderr), page)
    };
    let said = "Sessions in Redis needs the Debian package redis-server, which is not installed";

    let (report, stdout, stderr, page) = shown(&["tokens", "redis"]);
    assert_eq!(report["passed"], true, "the rest is shown, and holds: {stderr}");
    assert_eq!(report["skipped"], serde_json::json!([said]));
    assert_eq!(report["rows"].as_array().unwrap().len(), 1);
    assert!(stdout.contains(&format!("not shown: {said}")), "{stdout}");
    assert!(page.contains(said), "{page}");

    let (report, _, stderr, page) = shown(&["redis"]);
    assert_eq!(report["problems"], serde_json::json!(["nothing was shown"]));
    assert!(stderr.contains("NOT HELD: nothing was shown"), "{stderr}");
    assert!(page.contains("Not held"), "{page}");
}

#[test]
#[allow(clippy::disallowed_methods, reason = "what the program would inherit anyway")]
fn what_is_installed_and_does_not_start_fails_the_command_after_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("report");
    let server = folder.path().join("redis-server");
    fs::write(&server, "#!/bin/sh\necho 'the moon is wrong'\nexit 1\n").unwrap();
    // As root the server is somebody else's process.
    for path in [folder.path(), &server] {
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    }
    let shown = |path: String| {
        let mut demo = program();
        demo.args(["demo", "--seconds", "1", "--replicas", "1", "--stores", "tokens,redis", "--output"]);
        let ran = demo.arg(&output).env("PATH", path).output().unwrap();
        assert!(!ran.status.success());
        let report: Value = serde_json::from_slice(&fs::read(output.join("report.json")).unwrap()).unwrap();
        assert_eq!(report["passed"], false);
        assert_eq!(report["rows"].as_array().unwrap().len(), 1, "the rest is shown: {report}");
        let problems = report["problems"].as_array().unwrap();
        assert_eq!(problems.len(), 1, "told once: {report}");
        let problem = problems[0].as_str().unwrap().to_owned();
        assert!(text(&ran.stderr).contains(&format!("NOT HELD: {problem}")), "{}", text(&ran.stderr));
        problem
    };
    let needs = "Sessions in Redis needs redis-server, which is installed and does not start here: ";
    let here = folder.path().display();
    let everything_else = std::env::var("PATH").unwrap();
    let said = shown(format!("{here}:{everything_else}"));
    assert_eq!(said, format!("{needs}the moon is wrong"));
    // Nor can it without what starts it.
    assert_eq!(shown(here.to_string()), format!("{needs}setpriv: No such file or directory (os error 2)"));
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let in_a_file = file.join("below");
    let cases: [(&[&str], &str); 9] = [
        (&["--replicas", "0"], "0 is not in 1..=16"),
        (&["--replicas", "17"], "17 is not in 1..=16"),
        (&["--seconds", "0"], "0 is not in 1..=600"),
        (&["--stores", "memory"], "possible values: tokens, sqlite, postgres, redis"),
        (&["--cpu", "0"], "must be a number of cores from 0.05 to 64"),
        (&["--cpu", "NaN"], "must be a number of cores from 0.05 to 64"),
        (&["--cpu", "0.1", "--replicas", "2,4"], "--replicas must have 1, and 2 or 4"),
        (&["--cpu", "0.1", "--replicas", "1,3"], "--replicas must have 1, and 2 or 4"),
        (&["--output", in_a_file.to_str().unwrap()], "cannot be made"),
    ];
    for (arguments, said) in cases {
        let ran = latchkey(&[&["demo"], arguments].concat());
        assert!(!ran.status.success(), "{arguments:?}");
        assert!(text(&ran.stderr).contains(said), "{arguments:?}: {}", text(&ran.stderr));
        assert_eq!(text(&ran.stdout), "", "{arguments:?}");
    }
}
