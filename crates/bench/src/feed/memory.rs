//! Looks at many endings, and what they weigh.

use std::{collections::HashMap, hint::black_box, time::Instant};

use aws_lc_rs::digest;
use feed::{Change, Credential, Endings, Entry, Position, Tag, Target, Wall, What};
use serde::Serialize;

use crate::process;

/// Looks, of each kind.
const LOOKS: usize = 1_000_000;
/// Bytes of an access token.
const TOKEN: usize = 600;

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
    for number in 0..live {
        let target = Target::new(What::Token, id(number));
        let change = Change { target, min: None, except: None, until: Wall::from_unix_millis(number as u64) };
        let position = Position { number: number as u64 + 1, tag: Tag(number as u64) };
        endings.remember(&Entry { position, change });
    }
    let bytes_each = process::resident(own)?.saturating_sub(before) as f64 / live as f64;

    // In another order than they were remembered in, so that no cache helps.
    let order = |number: usize| (number * 7_919) % live;
    let credential = |id: String| Credential {
        token: Some(id.into()),
        family: Some("fam_0123456789abcdefghjkmnpqrs".into()),
        ..Credential::default()
    };
    let looked_at = |of: &dyn Fn(usize) -> String| -> Vec<Credential> {
        (0..live.min(100_000)).map(|number| credential(of(order(number)))).collect()
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
