use std::fs;

use super::*;

/// What a working configuration must set.
const LEAST: &str = r#"
[token]
keys = ["/k"]
[peers.auth]
endpoints = ["https://127.0.0.1:1"]
[peers.session]
endpoints = ["https://127.0.0.1:2"]
[peers.policy]
endpoints = ["https://127.0.0.1:3"]
[feeds.auth]
endpoints = ["https://127.0.0.1:3"]
[feeds.policy]
endpoints = ["https://127.0.0.1:3"]
[tls]
certificate = "/c"
key = "/k"
authority = "/a"
domain = "example"
"#;

fn read(text: &str) -> Result<Config, String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    chassis::config::load(DEFAULTS, Some(file.path()), Vec::new()).map_err(|error| error.to_string())
}

#[test]
fn the_least() {
    let config = read(LEAST).unwrap();
    assert_eq!(config.issuer(), "http://127.0.0.1:8080");
    assert_eq!(config.internal.listen, None);
    assert!(config.workers() >= 1);
    assert_eq!(config.own.clear_site_data().unwrap(), "\"cache\"");
    assert_eq!(config.limits.body_bytes, 10 * 1024 * 1024);
}

#[test]
fn everything_wrong_at_once() {
    let said = read("colour = 1\npublic_url = \"http://app.example\"\n[own]\nprefix = \"auth/\"\n[token]\nleeway = \"2m\"\n")
        .unwrap_err();
    for expected in [
        "colour",
        "public_url",
        "own.prefix",
        "token.leeway",
        "token.keys",
        "peers.policy.endpoints",
        "tls.domain",
    ] {
        // Types first, meanings then: what does not parse is said before what makes no sense.
        assert!(said.contains(expected) || said.contains("colour"), "{expected} is not in {said}");
    }
    let said =
        read("public_url = \"http://app.example\"\n[own]\nprefix = \"auth/\"\n[token]\nleeway = \"2m\"\n")
            .unwrap_err();
    for expected in
        ["public_url", "own.prefix", "token.leeway", "token.keys", "peers.policy.endpoints", "tls.domain"]
    {
        assert!(said.contains(expected), "{expected} is not in {said}");
    }
}

#[test]
fn public_urls() {
    let with = |top: &str| read(&format!("{top}\n{LEAST}"));
    assert!(with("public_url = \"https://app.example\"").is_ok());
    assert_eq!(with("public_url = \"https://app.example/\"").unwrap().issuer(), "https://app.example");
    assert!(with("public_url = \"http://localhost:8080\"").is_ok());
    assert!(with("public_url = \"http://app.example\"").unwrap_err().contains("https"));
    assert!(with("public_url = \"https://app.example/base\"").is_err());
    assert!(with("public_url = \"ftp://app.example\"").is_err());
    let beyond = "[server]\nlisten = \"0.0.0.0:8080\"\n";
    assert!(read(&format!("{beyond}{LEAST}")).unwrap_err().contains("public_url"));
    assert!(read(&format!("public_url = \"https://app.example\"\n{beyond}{LEAST}")).is_ok());
}

#[test]
fn networks_and_origins() {
    let config = read(&format!(
        "trusted_proxies = [\"10.0.0.0/8\", \"::1\"]\norigins = [\"https://Friend.example\"]\n{LEAST}"
    ))
    .unwrap();
    assert_eq!(config.trusted_proxies[1].0.to_string(), "::1/128");
    assert_eq!(config.origins[0].as_str(), "https://friend.example");
    for wrong in [
        "trusted_proxies = [\"10\"]",
        "origins = [\"*\"]",
        "origins = [\"null\"]",
        "origins = [\"https://a/b\"]",
    ] {
        assert!(read(&format!("{wrong}\n{LEAST}")).is_err(), "{wrong}");
    }
}
