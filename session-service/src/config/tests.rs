use super::*;

fn loaded(env: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    let given = [
        ("LATCHKEY__TLS__MODE", "external"),
        ("LATCHKEY__PEERS__AUTH__ENDPOINTS", "http://127.0.0.1:7001"),
        ("LATCHKEY__ISSUER", "http://127.0.0.1:8080"),
    ];
    let given = given.iter().filter(|(name, _)| env.iter().all(|(own, _)| own != name));
    let env = given.chain(env).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    config::load(DEFAULTS, None, env)
        .map_err(|error: ConfigError| error.problems.into_iter().map(|problem| problem.key).collect())
}

#[test]
fn the_defaults_lack_only_what_must_be_given() {
    let error = config::load::<Config>(DEFAULTS, None, Vec::new()).unwrap_err();
    let mut keys: Vec<String> = error.problems.into_iter().map(|problem| problem.key).collect();
    keys.sort();
    assert_eq!(keys, ["issuer", "tls.authority", "tls.certificate", "tls.domain", "tls.key"]);
}

#[test]
fn the_defaults_are_the_documented_ones() {
    let config = loaded(&[]).unwrap();
    let lifetimes = config.sessions.lifetimes();
    assert_eq!(lifetimes.idle, Duration::from_secs(30 * 60));
    assert_eq!(lifetimes.absolute, Duration::from_secs(12 * 3600));
    assert_eq!(lifetimes.rotation_grace, Duration::from_secs(10));
    assert_eq!(lifetimes.activity_granularity(), Duration::from_secs(90));
    assert_eq!(config.sessions.limit(), Limit { most: 20, at_limit: AtLimit::EndOldest });
    assert_eq!(config.expect().unwrap().audience(), "session");
}

#[test]
fn what_is_wrong_is_told_together() {
    let mut keys = loaded(&[
        ("LATCHKEY__PEERS__AUTH__ENDPOINTS", "[]"),
        ("LATCHKEY__PROOF__ALGORITHMS", "[]"),
        ("LATCHKEY__PROOF__LEEWAY", "61s"),
        ("LATCHKEY__SESSIONS__IDLE_TIMEOUT", "13h"),
        ("LATCHKEY__SESSIONS__ROTATION_GRACE", "2m"),
        ("LATCHKEY__SESSIONS__LIMIT", "0"),
        ("LATCHKEY__STORE__URL", "postgres://localhost/session"),
        ("LATCHKEY__STORE__READERS", "0"),
        ("LATCHKEY__SWEEP__INTERVAL", "0s"),
    ])
    .unwrap_err();
    keys.sort();
    assert_eq!(
        keys,
        [
            "peers.auth.endpoints",
            "proof.algorithms",
            "proof.leeway",
            "sessions.absolute_timeout",
            "sessions.limit",
            "sessions.rotation_grace",
            "store.readers",
            "store.url",
            "sweep.interval",
        ]
    );
}

#[test]
fn an_unknown_policy_or_algorithm_is_refused() {
    for (name, value) in
        [("LATCHKEY__SESSIONS__AT_LIMIT", "ignore"), ("LATCHKEY__PROOF__ALGORITHMS", "[\"HS256\"]")]
    {
        assert_eq!(loaded(&[(name, value)]).unwrap_err().len(), 1, "{name}");
    }
}

#[test]
fn urls() {
    let backend = |url: &str| loaded(&[("LATCHKEY__STORE__URL", url)]).map(|config| config.backend());
    assert!(matches!(backend("memory"), Ok(Some(Backend::Memory))));
    let Ok(Some(Backend::Sqlite(settings))) = backend("sqlite:/var/lib/session.sqlite") else { panic!() };
    assert_eq!(settings.path, Path::new("/var/lib/session.sqlite"));
    assert_eq!(backend("memory:").unwrap_err().len(), 1);
    assert!(matches!(backend("redis://latchkey@localhost:6379/0"), Ok(Some(Backend::Redis(_)))));
    assert!(matches!(backend("rediss://cache.internal"), Ok(Some(Backend::Redis(_)))));
    for bad in ["redis://", "redis://:secret@localhost/0", "redis:localhost"] {
        assert_eq!(backend(bad).unwrap_err(), ["store.url"], "{bad}");
    }
    let two = [("LATCHKEY__STORE__URL", "redis://localhost/x"), ("LATCHKEY__STORE__TIMEOUT", "0s")];
    assert_eq!(loaded(&two).unwrap_err(), ["store.url", "store.timeout"]);
}
