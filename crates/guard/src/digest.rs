//! A token's SHA-256, by which it is remembered: the token itself is not kept.

use std::hash::{BuildHasher, Hash, Hasher};

use aws_lc_rs::digest::{SHA256, digest};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Digest([u8; 32]);

impl Digest {
    pub(crate) fn of(token: &str) -> Self {
        let mut octets = [0; 32];
        for (to, from) in octets.iter_mut().zip(digest(&SHA256, token.as_bytes()).as_ref()) {
            *to = *from;
        }
        Self(octets)
    }

    fn head(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }
}

impl Hash for Digest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.head());
    }
}

/// A digest is evenly spread already; its first bits serve as its hash. Only tokens that verified are in a map, so
/// nobody can choose what is.
#[derive(Clone, Copy, Default)]
pub(crate) struct ByHead(u64);

impl BuildHasher for ByHead {
    type Hasher = Self;

    fn build_hasher(&self) -> Self {
        Self(0)
    }
}

impl Hasher for ByHead {
    fn write_u64(&mut self, head: u64) {
        self.0 = head;
    }

    fn write(&mut self, octets: &[u8]) {
        for octet in octets {
            self.0 = self.0.rotate_left(8) ^ u64::from(*octet);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
