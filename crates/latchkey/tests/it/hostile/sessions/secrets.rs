//! What a session secret is made of, and what of it is kept.

use std::collections::HashSet;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use session_service::domain::{Shard, Subject};

use super::timeouts::Timed;
use crate::stack::{PASSWORD, Stack};

#[tokio::test]
async fn s02_a_secret_is_random_means_nothing_and_is_stored_as_a_hash() {
    let mut stack = Stack::start().await;
    stack.register("alice").await;
    let mut secrets = HashSet::new();
    let mut ids = Vec::new();
    for _ in 0..8 {
        let browser = stack.session("alice", PASSWORD).await;
        let value = browser.cookie.split_once('=').unwrap().1.to_owned();
        let octets = URL_SAFE_NO_PAD.decode(&value).unwrap();
        assert_eq!(octets.len(), 32, "256 bits");
        assert!(secrets.insert((value, octets)), "a secret twice");
        ids.push(browser.session_id);
    }
    // One bit in two is set; 2,048 coins fall within 200 of the middle, or not in anybody's lifetime.
    let ones: u32 = secrets.iter().flat_map(|(_, octets)| octets).map(|octet| octet.count_ones()).sum();
    assert!((824..1_224).contains(&ones), "{ones} of 2,048 bits");

    assert!(stack.stop().await.success());
    let mut stored = Vec::new();
    for entry in std::fs::read_dir(stack.state_dir().join("data")).unwrap() {
        stored.extend(std::fs::read(entry.unwrap().path()).unwrap());
    }
    let holds = |octets: &[u8]| stored.windows(octets.len()).any(|window| window == octets);
    for id in &ids {
        assert!(holds(id.as_bytes()), "the session is where it is looked for");
    }
    for (value, octets) in &secrets {
        assert!(!holds(value.as_bytes()) && !holds(octets), "a secret in clear");
        assert!(holds(digest(&SHA256, octets).as_ref()), "its hash");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s02_every_secret_comes_from_the_one_source() {
    let mut seen = Vec::new();
    for seed in [1, 1, 2] {
        let timed = Timed::start(seed).await;
        let user = somebody_in_the_first_shard(&timed.stack).await;
        seen.push(timed.stack.session(&user, PASSWORD).await.cookie);
    }
    assert_eq!(seen[0], seen[1], "the same source, the same secret: nothing else goes in");
    assert_ne!(seen[1], seen[2]);
}

/// Which shard a secret is drawn for is its user's, and ids of users come from another service's source.
async fn somebody_in_the_first_shard(stack: &Stack) -> String {
    for number in 0.. {
        let name = format!("user{number}");
        let body = json!({ "username": name, "password": PASSWORD });
        let answer = stack.post("/v1/users", &body).send().await.unwrap();
        let user: Value = answer.error_for_status().unwrap().json().await.unwrap();
        let id = Subject::parse(user["id"].as_str().unwrap()).unwrap();
        if Shard::all().next() == Some(Shard::of(&id)) {
            return name;
        }
    }
    unreachable!()
}
