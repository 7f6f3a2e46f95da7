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
