use super::*;
use crate::routing::{OwnPaths, parse};

fn read(text: &str) -> UpstreamRule {
    parse(text, OwnPaths::new("")).unwrap().upstreams()[0].clone()
}

fn refused(keys: &str) -> String {
    let Err(complaints) = parse(&format!("[upstream.a]\n{keys}\n"), OwnPaths::new("")) else {
        panic!("accepted: {keys}")
    };
    let lines: Vec<String> =
        complaints.iter().map(|complaint| format!("{}: {}", complaint.line, complaint.message)).collect();
    lines.join("\n")
}

#[test]
fn everything_that_can_be_said() {
    let rule = read(
        r#"[upstream.a]
endpoints = ["http://one:8080", "http://127.0.0.1"]
protocol = "h2"
timeout = "2s"
connect_timeout = "100ms"
concurrency = 10
queue = 0
health = { path = "/healthz?full=1", interval = "10s", timeout = "500ms" }
"#,
    );
    let expected = UpstreamRule {
        name: "a".to_owned(),
        addresses: Addresses::Listed(vec!["one:8080".to_owned(), "127.0.0.1:80".to_owned()]),
        protocol: Protocol::Http2,
        timeout: Duration::from_secs(2),
        connect_timeout: Duration::from_millis(100),
        concurrency: 10,
        queue: 0,
        health: Some(Health {
            path: "/healthz?full=1".to_owned(),
            interval: Duration::from_secs(10),
            timeout: Duration::from_millis(500),
        }),
    };
    assert_eq!(rule, expected);
}

#[test]
fn what_is_not_said() {
    let rule = read("[upstream.a]\ndns = \"echo.apps.svc:8080\"\n[upstream.a.health]\npath = \"/\"\n");
    assert_eq!(rule.addresses, Addresses::Dns("echo.apps.svc:8080".to_owned()));
    assert_eq!(rule.protocol, Protocol::Http1);
    assert_eq!((rule.timeout, rule.connect_timeout), (TIMEOUT, CONNECT_TIMEOUT));
    assert_eq!((rule.concurrency, rule.queue), (CONCURRENCY, QUEUE));
    let health = rule.health.unwrap();
    assert_eq!((health.interval, health.timeout), (PROBE_INTERVAL, PROBE_TIMEOUT));
}

#[test]
fn what_is_wrong_is_said() {
    let good = "endpoints = [\"http://a\"]";
    for (keys, expected) in [
        ("", "1: upstream a: endpoints is missing (or dns)"),
        (
            "dns = \"a:1\"\nendpoints = [\"http://a\"]",
            "2: upstream a: name either endpoints or dns, not both",
        ),
        ("endpoints = []", "2: upstream a: endpoints must name at least one"),
        (
            "endpoints = [\"http://a\", \"http://a:80\"]",
            "2: upstream a: endpoint \"http://a:80\" is there twice",
        ),
        ("dns = \"a\"", "2: upstream a: dns \"a\" must be a name and a port"),
        ("dns = \"a:0\"", "dns \"a:0\" must be"),
        ("dns = \":80\"", "dns \":80\" must be"),
        ("dns = \"http://a:80\"", "dns \"http://a:80\" must be"),
        ("dns = 1", "2: upstream a: dns must be a string"),
        (&format!("{good}\ntimeout = \"0s\""), "3: upstream a: timeout must be a time"),
        (&format!("{good}\ntimeout = \"2h\""), "at most 3600s"),
        (&format!("{good}\nconnect_timeout = \"0s\""), "3: upstream a: connect_timeout must be a time"),
        (&format!("{good}\nconnect_timeout = \"61s\""), "at most 60s"),
        (&format!("{good}\nconcurrency = 0"), "3: upstream a: concurrency must be a whole number from 1"),
        (&format!("{good}\nconcurrency = 1.5"), "concurrency must be a whole number"),
        (&format!("{good}\nconcurrency = \"many\""), "concurrency must be a whole number"),
        (&format!("{good}\nqueue = -1"), "queue must be a whole number from 0"),
        (&format!("{good}\nhealth = \"/\""), "3: upstream a: health must be a table"),
        (&format!("{good}\nhealth = {{ }}"), "3: upstream a: health: path is missing"),
        (&format!("{good}\nhealth = {{ path = \"x\" }}"), "health: path \"x\" must be one such as /healthz"),
        (
            &format!("{good}\nhealth = {{ path = \"/\", interval = \"0s\" }}"),
            "health: interval must be a time",
        ),
        (&format!("{good}\nhealth = {{ path = \"/\", timeout = \"6m\" }}"), "health: timeout must be a time"),
        (&format!("{good}\nhealth = {{ path = \"/\", port = 1 }}"), "health: unknown key \"port\""),
        (
            &format!("{good}\nprotocol = \"h2c\""),
            "3: upstream a: protocol \"h2c\" is not \"http/1.1\" or \"h2\"",
        ),
        (&format!("{good}\nretries = 3"), "3: upstream a: unknown key \"retries\""),
    ] {
        let said = refused(keys);
        assert!(said.contains(expected), "{keys:?}: {expected:?} is not in\n{said}");
    }
}
