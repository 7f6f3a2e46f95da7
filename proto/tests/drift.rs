//! The generated code is checked in, so that a build needs no code generator and a reviewer sees what changed.
//! This test regenerates it and compares; `LATCHKEY_GENERATE=1 cargo test -p latchkey-proto` writes it instead.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{collections::BTreeMap, fs, path::Path};

const PROTOS: [&str; 9] = [
    "latchkey/auth/v1/client.proto",
    "latchkey/auth/v1/common.proto",
    "latchkey/auth/v1/key.proto",
    "latchkey/auth/v1/login.proto",
    "latchkey/auth/v1/token.proto",
    "latchkey/auth/v1/user.proto",
    "latchkey/feed/v1/feed.proto",
    "latchkey/policy/v1/policy.proto",
    "latchkey/session/v1/session.proto",
];

fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect()
}

#[test]
fn every_contract_is_generated() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "proto") {
                found.push(path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    assert_eq!(found, PROTOS);
}

#[test]
#[allow(clippy::disallowed_methods, reason = "a test's own switch is not configuration")]
fn generated_code_is_what_the_contracts_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let descriptors = protox::compile(PROTOS, [root.join("proto")]).unwrap();
    let generated = tempfile::tempdir().unwrap();
    tonic_prost_build::configure()
        .out_dir(generated.path())
        .file_descriptor_set_path(generated.path().join("descriptors.bin"))
        .build_transport(false)
        .codec_path("crate::codec::Codec")
        .skip_debug(SECRETS)
        .compile_fds(descriptors.clone())
        .unwrap();
    fs::write(generated.path().join("descriptors.bin"), prost::Message::encode_to_vec(&descriptors)).unwrap();

    let checked_in = root.join("src/gen");
    if std::env::var("LATCHKEY_GENERATE").is_ok() {
        for (name, bytes) in files(generated.path()) {
            fs::write(checked_in.join(name), bytes).unwrap();
        }
    }
    let (new, old) = (files(generated.path()), files(&checked_in));
    assert_eq!(new.keys().collect::<Vec<_>>(), old.keys().collect::<Vec<_>>());
    for (name, bytes) in new {
        assert!(
            old.get(&name) == Some(&bytes),
            "src/gen/{name} is not what the contracts say: run LATCHKEY_GENERATE=1 cargo test -p latchkey-proto"
        );
    }
}

/// The guard's example for tonic has a contract of its own, and needs no code generator either.
#[test]
#[allow(clippy::disallowed_methods, reason = "a test's own switch is not configuration")]
fn the_example_of_the_guard_is_generated() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/guard/examples/greeter");
    let descriptors = protox::compile(["greeter.proto"], [&folder]).unwrap();
    let generated = tempfile::tempdir().unwrap();
    tonic_prost_build::configure()
        .out_dir(generated.path())
        .build_transport(false)
        .compile_fds(descriptors)
        .unwrap();
    let (new, old) = (generated.path().join("greeter.v1.rs"), folder.join("greeter.v1.rs"));
    if std::env::var("LATCHKEY_GENERATE").is_ok() {
        fs::copy(&new, &old).unwrap();
    }
    let same = fs::read(new).unwrap() == fs::read(old).unwrap_or_default();
    assert!(
        same,
        "greeter.v1.rs is not what the contract says: LATCHKEY_GENERATE=1 cargo test -p latchkey-proto"
    );
}

/// Messages that carry a password, a secret or a token. They get the `Debug` of `src/redacted.rs`, which shows none of it.
const SECRETS: [&str; 22] = [
    "latchkey.auth.v1.RegisterRequest",
    "latchkey.auth.v1.LoginRequest",
    "latchkey.auth.v1.LoginResponse",
    "latchkey.auth.v1.ChangePasswordRequest",
    "latchkey.auth.v1.ChangePasswordResponse",
    "latchkey.auth.v1.TokenSet",
    "latchkey.auth.v1.ClientAuthentication",
    "latchkey.auth.v1.RefreshRequest",
    "latchkey.auth.v1.RevokeRequest",
    "latchkey.auth.v1.IntrospectRequest",
    "latchkey.auth.v1.CreateUserRequest",
    "latchkey.auth.v1.SetPasswordRequest",
    "latchkey.auth.v1.CreateClientResponse",
    "latchkey.auth.v1.RotateClientSecretResponse",
    "latchkey.session.v1.CreateSessionRequest",
    "latchkey.session.v1.CreateSessionResponse",
    "latchkey.session.v1.ResolveSessionRequest",
    "latchkey.session.v1.ResolveSessionResponse",
    "latchkey.session.v1.RotateSessionRequest",
    "latchkey.session.v1.RotateSessionResponse",
    "latchkey.session.v1.EndSessionRequest",
    "latchkey.session.v1.EndOtherSessionsRequest",
];
