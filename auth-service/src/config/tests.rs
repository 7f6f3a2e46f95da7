use std::time::Duration;

use super::*;

fn load(env: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    config::load::<Config>(DEFAULTS, None, env)
        .map_err(|error| error.problems.into_iter().map(|problem| problem.key).collect())
}

const GIVEN: [(&str, &str); 5] = [
    ("LATCHKEY__TLS__MODE", "external"),
    ("LATCHKEY__PEERS__POLICY__ENDPOINTS", "http://127.0.0.1:7003"),
    ("LATCHKEY__ISSUER", "http://127.0.0.1:8080"),
    ("LATCHKEY__FIRST_PARTY__ENCRYPT_TO", "gateway.jwk.json"),
    ("LATCHKEY__SIGNING__MASTER_KEY", "master.key"),
];

#[test]
fn the_defaults_lack_only_what_must_be_given() {
    assert_eq!(
        load(&[]).unwrap_err(),
        [
            "issuer",
            "tls.certificate",
            "tls.key",
            "tls.authority",
            "tls.domain",
            "first_party.encrypt_to",
            "signing.master_key"
        ]
    );
    let config = load(&GIVEN).unwrap();
    // What the documents promise.
    assert_eq!(config.token.access_lifetime, Duration::from_secs(300));
    assert_eq!(config.refresh_policy().idle, Duration::from_secs(14 * 86_400));
    assert_eq!(config.refresh_policy().absolute, Duration::from_secs(90 * 86_400));
    assert_eq!(config.refresh_policy().grace, Duration::from_secs(10));
    assert_eq!(config.signing.jwks_max_age, Duration::from_secs(300));
    assert_eq!(config.key_schedule().rotate_every, Duration::from_secs(30 * 86_400));
    assert!(!config.registration.open);
    assert_eq!(config.password_rules().min_characters, 15);
    assert_eq!(config.throttle_policy().delay(4), Duration::ZERO);
    assert_eq!(config.throttle_policy().delay(5), Duration::from_secs(1));
    assert_eq!(config.throttle_policy().delay(50), Duration::from_secs(900));
    assert_eq!(config.hashing.queue, 64);
}

/// Until it looks, a replica signs with the key that retires; what it signs last must be good until it expires.
#[test]
fn j22_a_retiring_key_outlives_what_the_slowest_replica_signs_with_it() {
    let mut env = GIVEN.to_vec();
    env.push(("LATCHKEY__SIGNING__LOOK_EVERY", "1h"));
    env.push(("LATCHKEY__SIGNING__ANNOUNCE_FOR", "2h"));
    let config = load(&env).unwrap();
    assert!(config.key_schedule().outlives >= config.signing.look_every + config.token.access_lifetime);
}

/// A replica that is set to less ends what one that is set to more has issued.
#[test]
fn endings_are_remembered_for_whatever_another_replica_may_be_set_to() {
    let set = |more: &[(&str, &str)]| load(&[&GIVEN, more].concat()).unwrap();
    let day = Duration::from_secs(86_400);
    let least =
        set(&[("LATCHKEY__TOKEN__ACCESS_LIFETIME", "1s"), ("LATCHKEY__ENDINGS__LONGEST_SESSION", "1s")]);
    let most = set(&[("LATCHKEY__TOKEN__ACCESS_LIFETIME", "1day")]);
    assert_eq!((least.longest_life(), most.longest_life()), (day, day));
    assert!(set(&[("LATCHKEY__ENDINGS__LONGEST_SESSION", "2days")]).longest_life() >= 2 * day);
}

#[test]
fn bad_values_are_told_together() {
    let mut env = GIVEN.to_vec();
    env.extend([
        ("LATCHKEY__STORE__URL", "memory"),
        ("LATCHKEY__FIRST_PARTY__AUDIENCE", "session"),
        ("LATCHKEY__TOKEN__PROOF_LIFETIME", "1h"),
        ("LATCHKEY__REFRESH__ABSOLUTE", "1h"),
        ("LATCHKEY__REFRESH__GRACE", "11s"),
        ("LATCHKEY__SIGNING__ANNOUNCE_FOR", "1s"),
        ("LATCHKEY__PASSWORD__MIN_CHARACTERS", "14"),
        ("LATCHKEY__THROTTLE__FREE_FAILURES", "0"),
    ]);
    assert_eq!(
        load(&env).unwrap_err(),
        [
            "store.url",
            "first_party.audience",
            "token.proof_lifetime",
            "refresh.absolute",
            "refresh.grace",
            "signing.announce_for",
            "password.min_characters",
            "throttle.free_failures"
        ]
    );
}

#[test]
fn audiences_are_tables_of_free_names() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(
        file.path(),
        "issuer = \"http://127.0.0.1:8080\"\ntls.mode = \"external\"\npeers.policy.endpoints = \"http://127.0.0.1:7003\"\nsigning.master_key = \"m\"\nfirst_party.encrypt_to = \"g\"\n\
         [audience.\"https://reports.example.com\"]\nencrypt_to = \"r\"\n",
    )
    .unwrap();
    let config = config::load::<Config>(DEFAULTS, Some(file.path()), Vec::new()).unwrap();
    let recipient = &config.audience["https://reports.example.com"];
    assert_eq!(recipient.encrypt_to.as_deref(), Some(Path::new("r")));
}

#[test]
fn keys_outlive_what_they_signed() {
    let schedule = load(&GIVEN).unwrap().key_schedule();
    assert!(schedule.outlives >= Duration::from_secs(300 + 60));
}
