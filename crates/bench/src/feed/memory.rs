//! Looks at many endings, and what they weigh.

use std::{collections::HashMap, hint::black_box, sync::Arc, time::Instant};

use aws_lc_rs::digest;
use feed::{
    Change, Credential, Endings, Entry, Position, Tag, Target, Wall, What,
    credential::{Roles, Stamp},
};
use serde::Serialize;

use crate::process;

/// Looks, of each kind.
const LOOKS: usize = 1_000_000;
/// Bytes of an access token.
const TOKEN: usize = 600;
/// Of each other kind so many have ended, so that no look finds nothing to look into.
const OTHERS: usize = 1_000;
/// How many tokens a look is one of, at most.
const SHOWN: usize = 100_000;

#[derive(Serialize)]
pub(super) struct Looks {
    pub(super) bytes_each: f64,
    pub(super) live_ns: f64,
    pub(super) ended_ns: f64,
    /// SHA-256 of a token, and a hit in a map of as many digests.
    pub(super) floor_ns: f64,
}

impl Looks {
    pub(super) fn ratio(&self) -> f64 {
        self.live_ns.max(self.ended_ns) / self.floor_ns
    }
}

pub(super) fn measure(live: usize) -> anyhow::Result<Looks> {
    let own = std::process::id();
    let before = process::resident(own)?;
    let mut endings = Endings::default();
    let mut remember = |number: usize, target: Target, min: Option<u64>| {
        let change = Change { target, min, except: None, until: Wall::from_unix_millis(number as u64) };
        let position = Position { number: number as u64 + 1, tag: Tag(number as u64) };
        endings.remember(&Entry { position, change });
    };
    for number in 0..live {
        remember(number, Target::new(What::Token, id(number)), None);
    }
    let bytes_each = process::resident(own)?.saturating_sub(before) as f64 / live as f64;
    for number in live..live + OTHERS {
        remember(number, Target::new(What::Family, format!("fam_{}", id(number))), None);
        remember(number, Target::new(What::Subject, format!("usr_{}", id(number))), Some(2));
        remember(number, Target::new(What::Client, format!("cli_{}", id(number))), Some(2));
        remember(number, Target::new(What::Key, format!("key-{number}")), None);
        remember(number, Target::new(What::Principal, format!("usr_{}", id(number))), None);
    }

    // In another order than they were remembered in, so that no cache helps.
    let order = |number: usize| (number * 7_919) % live;
    // All the names that a guard judges a user's token by; nobody's have ended but some tokens.
    let credential = |token: String, number: usize| {
        let user: Arc<str> = format!("usr_{}", id(number)).into();
        Credential {
            token: Some(token.into()),
            family: Some(format!("fam_{}", id(number)).into()),
            session: None,
            key: Some("key-of-everybody".into()),
            subject: Some(Stamp { id: Arc::clone(&user), generation: 1 }),
            client: Some(Stamp { id: "first-party".into(), generation: 1 }),
            roles: Some(Roles { principals: vec![user], version: live as u64 }),
            expired_from: Some(Wall::from_unix_millis(live as u64)),
        }
    };
    let looked_at = |of: &dyn Fn(usize) -> String| -> Vec<Credential> {
        (0..live.min(SHOWN)).map(|number| credential(of(order(number)), order(number))).collect()
    };
    let time = |credentials: &[Credential]| {
        let began = Instant::now();
        for number in 0..LOOKS {
            if let Some(credential) = credentials.get(number % credentials.len()) {
                black_box(endings.judge(black_box(credential)));
            }
        }
        began.elapsed().as_nanos() as f64 / LOOKS as f64
    };
    let live_ns = time(&looked_at(&|number| id(live + number)));
    let ended_ns = time(&looked_at(&id));
    Ok(Looks { bytes_each, live_ns, ended_ns, floor_ns: floor(live) })
}

fn floor(live: usize) -> f64 {
    let mut token = [b'a'; TOKEN];
    let digest_of = |token: &mut [u8; TOKEN], number: usize| {
        token[..8].copy_from_slice(&number.to_le_bytes());
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest::digest(&digest::SHA256, token).as_ref());
        bytes
    };
    let map: HashMap<[u8; 32], usize> =
        (0..live).map(|number| (digest_of(&mut token, number), number)).collect();
    let began = Instant::now();
    for number in 0..LOOKS {
        black_box(map.get(&digest_of(&mut token, (number * 7_919) % live)));
    }
    began.elapsed().as_nanos() as f64 / LOOKS as f64
}

/// As the ids of tokens are written.
fn id(number: usize) -> String {
    format!("{number:026}")
}
