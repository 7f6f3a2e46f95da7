//! J14: keys that must not be used are found when they are loaded, and named.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};
use toml::Table;

use super::super::forge::{encode, with};
use crate::stack::{Stack, has_panicked, latchkey, text};

/// What a service says about its configuration when this file is its key.
struct Loaded<'a> {
    stack: &'a Stack,
    service: &'static str,
    /// Section and member that name the key file.
    setting: (&'static str, &'static str),
}

impl Loaded<'_> {
    fn with_key(&self, key: &str) -> (bool, String) {
        let folder = self.stack.folder();
        let (file, config) = (folder.join("key.jwk.json"), folder.join("config.toml"));
        fs::write(&file, key).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&config, self.config(&file).to_string()).unwrap();
        let arguments = ["serve", self.service, "--check-config", "--config", config.to_str().unwrap()];
        let output = latchkey(&arguments);
        (output.status.success(), format!("{}{}", text(&output.stdout), text(&output.stderr)))
    }

    fn config(&self, file: &Path) -> Table {
        let written = self.stack.state_dir().join(format!("config/{}-0.toml", self.service));
        let mut config: Table = fs::read_to_string(written).unwrap().parse().unwrap();
        let (section, member) = self.setting;
        let path: toml::Value = file.to_str().unwrap().into();
        let path = if member == "keys" { toml::Value::Array(vec![path]) } else { path };
        let section = config.entry(section).or_insert_with(|| Table::new().into());
        section.as_table_mut().unwrap().insert(member.into(), path);
        config
    }

    fn assert_refused(&self, key: &Value, what: &str, named: &str) {
        let (good, said) = self.with_key(&key.to_string());
        assert!(!good, "{}: {what} was taken", self.service);
        assert!(said.contains("key.jwk.json"), "{}: {what}: the file is not named: {said}", self.service);
        assert!(said.contains(named), "{}: {what}: {named:?} is not in: {said}", self.service);
        assert!(!has_panicked(&said), "{said}");
        if let Some(secret) = key["d"].as_str() {
            assert!(!said.contains(secret), "{}: {what}: the key is shown", self.service);
        }
    }
}

#[tokio::test]
async fn j14_keys_that_cannot_be_loaded() {
    let stack = Stack::start().await;
    let secrets = stack.state_dir().join("secrets");
    let read = |name: &str| -> Value {
        serde_json::from_str(&fs::read_to_string(secrets.join(name)).unwrap()).unwrap()
    };
    let private = read("gateway-token-key.jwk.json");
    let public = read("gateway-token-key.public.jwk.json");
    let gateway = Loaded { stack: &stack, service: "gateway", setting: ("token", "keys") };
    let auth = Loaded { stack: &stack, service: "auth", setting: ("first_party", "encrypt_to") };
    for (loaded, key) in [(&gateway, &private), (&auth, &public)] {
        let (good, said) = loaded.with_key(&key.to_string());
        assert!(good, "{}: the stack's own key: {said}", loaded.service);
    }

    let n = |octets: usize| encode(vec![0xc1; octets]);
    let rsa =
        |octets: usize, e: &str| json!({ "kty": "RSA", "kid": "k", "alg": "RS256", "n": n(octets), "e": e });
    let oct =
        |octets: usize| json!({ "kty": "oct", "kid": "k", "alg": "HS256", "k": encode(vec![7; octets]) });
    for (loaded, good) in [(&gateway, &private), (&auth, &public)] {
        let changed = |members: Value| with(good.clone(), members);
        for (what, key, named) in [
            ("RSA of 1024 bits", rsa(128, "AQAB"), "kty"),
            ("RSA with e = 1", rsa(256, "AQ"), "kty"),
            ("a short HMAC key", oct(16), "oct"),
            ("an HMAC key", oct(32), "oct"),
            ("the curve P-384", changed(json!({ "crv": "P-384" })), "crv"),
            ("an OKP key", changed(json!({ "kty": "OKP", "crv": "X25519" })), "kty"),
            ("an alg for signing", changed(json!({ "alg": "ES256" })), "alg"),
            ("use for signing", changed(json!({ "use": "sig" })), "use"),
            ("x of another width", changed(json!({ "x": encode([1; 31]) })), "`x`"),
            ("no y", changed(json!({ "y": null })), "`y`"),
            ("off the curve", changed(json!({ "x": encode([1; 32]) })), "curve"),
            ("a kid that is a path", changed(json!({ "kid": "../x" })), "kid"),
            ("a list", json!([good]), "object"),
            ("a key set", json!({ "keys": [good] }), "kty"),
        ] {
            loaded.assert_refused(&key, what, named);
        }
    }
    gateway.assert_refused(&with(private.clone(), json!({ "d": null })), "a public key to open with", "`d`");
    gateway.assert_refused(
        &with(private.clone(), json!({ "d": encode([1; 32]) })),
        "two halves of two keys",
        "belong together",
    );
    gateway.assert_refused(
        &with(private.clone(), json!({ "d": encode([0; 32]) })),
        "a private key of zero",
        "private key",
    );
    auth.assert_refused(&private, "a private key to encrypt to", "`d` is a private member");
    let twice = private.to_string().replacen('{', "{\"kty\":\"EC\",", 1);
    let (good, said) = gateway.with_key(&twice);
    assert!(!good && said.contains("unique member names"), "{said}");
}
