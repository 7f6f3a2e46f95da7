//! Argon2id, version 1.3.

use argon2::{Algorithm, Argon2, Block, Version};

use super::{HashingError, Kdf};
use crate::domain::phc::Cost;

/// Memory for one run, kept while others wait for theirs: taking 19 MiB from the system anew costs as much as a tenth of the
/// run. Dropped when nobody waits, or a process that hashed once would be that much larger for good.
#[derive(Default)]
pub struct Memory(Vec<Block>);

impl Memory {
    /// Whether there is some of an earlier run.
    pub fn is_kept(&self) -> bool {
        !self.0.is_empty()
    }
}

/// Room for one run is taken this large at least, in blocks of 1 KiB, of which only what is used is ever touched: what is
/// larger than 32 MiB glibc takes from the system by itself and gives back when it is dropped. Of less it makes a heap in
/// which small things soon lie in the way of the next run, and a process came to hold eight runs' memory for each thread.
const LARGE: usize = 33 * 1024;

/// The real function.
#[derive(Clone, Copy, Debug, Default)]
pub struct Argon2id;

impl Kdf for Argon2id {
    fn run(
        &self,
        memory: &mut Memory,
        cost: Cost,
        password: &[u8],
        salt: &[u8],
        out: &mut [u8],
    ) -> Result<(), HashingError> {
        let params = cost.params().ok_or(HashingError::Failed)?;
        if memory.0.is_empty() {
            memory.0.reserve_exact(params.block_count().max(LARGE));
        }
        memory.0.resize(params.block_count(), Block::new());
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into_with_memory(password, salt, out, &mut memory.0)
            .map_err(|_| HashingError::Failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::phc::CURRENT;

    /// Memory of this process that no file is behind.
    fn resident_kib() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    #[test]
    fn what_one_run_took_the_system_has_back_before_the_next() {
        let before = resident_kib();
        let mut others = Vec::new();
        for length in 1..=8 {
            let (mut memory, mut out) = (Memory::default(), vec![0; 32]);
            Argon2id.run(&mut memory, CURRENT, b"one", b"0123456789abcdef", &mut out).unwrap();
            drop(memory);
            // Small things that stay would otherwise be put where it was, and the next run would find no room there.
            others.push(vec![1_u8; length * 1_000]);
        }
        let grown = resident_kib().saturating_sub(before);
        assert!(grown < u64::from(CURRENT.memory_kib), "{grown} KiB are held for {} others", others.len());
    }

    #[test]
    fn kept_memory_changes_nothing() {
        let run = |memory: &mut Memory, cost, password: &[u8]| {
            let mut out = [0; 32];
            Argon2id.run(memory, cost, password, b"0123456789abcdef", &mut out).unwrap();
            out
        };
        let mut kept = Memory::default();
        let first = run(&mut kept, CURRENT, b"one");
        run(&mut kept, Cost { memory_kib: 64, passes: 1, lanes: 1 }, b"two");
        assert_eq!(run(&mut kept, CURRENT, b"one"), first);
        assert_eq!(run(&mut Memory::default(), CURRENT, b"one"), first);
        let mut expected = [0; 32];
        Argon2::default().hash_password_into(b"one", b"0123456789abcdef", &mut expected).unwrap();
        assert_eq!(first, expected, "the crate's own defaults are the stated parameters");
    }
}
