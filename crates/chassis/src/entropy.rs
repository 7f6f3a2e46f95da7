//! Randomness, as a value that is handed out: one source for every id, secret and salt (S02).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where a process reads randomness.
pub trait Entropy: Send + Sync + std::fmt::Debug {
    /// Fills all of `buffer`.
    fn fill(&self, buffer: &mut [u8]);
}

/// How a source is passed around.
pub type SharedEntropy = Arc<dyn Entropy>;

/// The operating system's generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl SystemEntropy {
    /// The operating system's generator, ready to be passed around.
    pub fn shared() -> SharedEntropy {
        Arc::new(SystemEntropy)
    }
}

impl Entropy for SystemEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        if aws_lc_rs::rand::fill(buffer).is_err() {
            // Nothing that this process could still do would be safe: an id or a secret of known bytes is worse
            // than no process.
            eprintln!("the operating system gave no randomness: stopping at once");
            std::process::abort();
        }
    }
}

/// A source whose bytes follow from its seed. Two sources of one seed give the same bytes; never for production.
#[derive(Debug)]
pub struct TestEntropy {
    state: AtomicU64,
}

impl TestEntropy {
    /// A source that starts from `seed`.
    pub fn new(seed: u64) -> TestEntropy {
        TestEntropy { state: AtomicU64::new(seed) }
    }
}

impl Entropy for TestEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        // splitmix64: enough to make every value differ, and short enough to read.
        const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
        for chunk in buffer.chunks_mut(8) {
            let mut z = self.state.fetch_add(GAMMA, Ordering::Relaxed).wrapping_add(GAMMA);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^= z >> 31;
            for (byte, random) in chunk.iter_mut().zip(z.to_le_bytes()) {
                *byte = random;
            }
        }
    }
}

/// A new public id: `prefix` (for instance `usr_`) and 128 random bits as 26 characters of lowercase Crockford base32.
pub fn id(entropy: &dyn Entropy, prefix: &str) -> String {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let mut random = [0_u8; 16];
    entropy.fill(&mut random);
    let bits = u128::from_be_bytes(random);
    let mut id = String::with_capacity(prefix.len() + 26);
    id.push_str(prefix);
    for place in (0..26).rev() {
        let five = usize::try_from((bits >> (place * 5)) & 31).unwrap_or(0);
        id.push(ALPHABET.get(five).copied().map_or('0', char::from));
    }
    id
}

/// A new secret: 256 random bits.
pub fn secret(entropy: &dyn Entropy) -> [u8; 32] {
    let mut random = [0_u8; 32];
    entropy.fill(&mut random);
    random
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn an_id_is_its_prefix_and_26_characters() {
        #[derive(Debug)]
        struct Ones;
        impl Entropy for Ones {
            fn fill(&self, buffer: &mut [u8]) {
                buffer.fill(0xff);
            }
        }
        assert_eq!(
            id(&Ones, "usr_"),
            format!("usr_7{}", "z".repeat(25)),
            "128 bits: the first character has 3"
        );
        assert_eq!(id(&TestEntropy::new(1), "ses_").len(), 30);
    }

    #[test]
    fn s02_values_differ_and_come_from_the_given_source() {
        let source = TestEntropy::new(7);
        let ids: HashSet<String> = (0..1_000).map(|_| id(&source, "")).collect();
        assert_eq!(ids.len(), 1_000);
        assert_eq!(secret(&TestEntropy::new(3)), secret(&TestEntropy::new(3)));
        assert_ne!(secret(&TestEntropy::new(3)), secret(&TestEntropy::new(4)));
        assert_ne!(secret(&SystemEntropy), secret(&SystemEntropy));
    }
}
