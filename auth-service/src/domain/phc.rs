//! Password hashes as they are stored: PHC strings of argon2id.
//!
//! The parameters are OWASP's (19 MiB, two passes, one lane). They stand in each string, so that raising them later
//! invalidates nothing: a hash with weaker ones is replaced at the next login.

use std::fmt;

use argon2::{
    ARGON2ID_IDENT, Params,
    password_hash::phc::{self, Output, ParamsString, Salt},
};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Bytes of salt, from the injected source.
pub const SALT_BYTES: usize = 16;
/// Bytes of the derived hash.
pub const OUTPUT_BYTES: usize = 32;
/// Version 1.3 of Argon2.
const VERSION: u32 = 19;

/// The cost of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    pub memory_kib: u32,
    pub passes: u32,
    pub lanes: u32,
}

/// What new hashes cost.
pub const CURRENT: Cost = Cost { memory_kib: 19_456, passes: 2, lanes: 1 };

/// The most that a stored string may ask for: a row must not be able to take the machine down.
const CEILING: Cost = Cost { memory_kib: 1_048_576, passes: 64, lanes: 16 };

/// A well-formed argon2id PHC string.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    cost: Cost,
    salt: Vec<u8>,
    output: Zeroizing<Vec<u8>>,
}

/// The text is no PHC string of argon2id with bearable parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a PHC string of argon2id")]
pub struct NotAHash;

impl PasswordHash {
    /// From the output of one run at [`CURRENT`] cost.
    pub fn new(salt: [u8; SALT_BYTES], output: &[u8; OUTPUT_BYTES]) -> Self {
        Self { cost: CURRENT, salt: salt.to_vec(), output: Zeroizing::new(output.to_vec()) }
    }

    pub fn parse(text: &str) -> Result<Self, NotAHash> {
        let parsed = phc::PasswordHash::new(text).map_err(|_| NotAHash)?;
        if parsed.algorithm != ARGON2ID_IDENT || parsed.version != Some(VERSION) {
            return Err(NotAHash);
        }
        let params = Params::try_from(&parsed.params).map_err(|_| NotAHash)?;
        let cost = Cost { memory_kib: params.m_cost(), passes: params.t_cost(), lanes: params.p_cost() };
        let (salt, output) = parsed.salt.zip(parsed.hash).ok_or(NotAHash)?;
        if cost.memory_kib > CEILING.memory_kib || cost.passes > CEILING.passes || cost.lanes > CEILING.lanes
        {
            return Err(NotAHash);
        }
        Ok(Self { cost, salt: salt.as_ref().to_vec(), output: Zeroizing::new(output.as_bytes().to_vec()) })
    }

    /// The PHC string, for the store alone.
    pub fn to_phc(&self) -> Result<String, NotAHash> {
        let params = self.cost.params().ok_or(NotAHash)?;
        let hash = phc::PasswordHash {
            algorithm: ARGON2ID_IDENT,
            version: Some(VERSION),
            params: ParamsString::try_from(&params).map_err(|_| NotAHash)?,
            salt: Some(Salt::new(&self.salt).map_err(|_| NotAHash)?),
            hash: Some(Output::new(&self.output).map_err(|_| NotAHash)?),
        };
        Ok(hash.to_string())
    }

    pub fn cost(&self) -> Cost {
        self.cost
    }

    pub fn salt(&self) -> &[u8] {
        &self.salt
    }

    pub fn output_len(&self) -> usize {
        self.output.len()
    }

    /// Compared in constant time.
    pub fn matches(&self, output: &[u8]) -> bool {
        self.output.as_slice().ct_eq(output).into()
    }

    /// Whether it should be replaced now that the password is known.
    pub fn is_weaker_than_current(&self) -> bool {
        self.cost.memory_kib < CURRENT.memory_kib
            || self.cost.passes < CURRENT.passes
            || self.salt.len() < SALT_BYTES
            || self.output.len() < OUTPUT_BYTES
    }
}

impl Cost {
    /// For the argon2 crate; `None` where it cannot run them.
    pub fn params(self) -> Option<Params> {
        Params::new(self.memory_kib, self.passes, self.lanes, None).ok()
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordHash").field("cost", &self.cost).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEAK: &str =
        "$argon2id$v=19$m=4096,t=1,p=1$AAECAwQFBgcICQoLDA0ODw$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

    #[test]
    fn p04_new_hashes_have_the_stated_parameters() {
        let hash = PasswordHash::new([7; 16], &[9; 32]);
        let text = hash.to_phc().unwrap();
        assert!(text.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{text}");
        assert_eq!(PasswordHash::parse(&text).unwrap(), hash);
        assert!(!hash.is_weaker_than_current());
        assert!(hash.matches(&[9; 32]) && !hash.matches(&[8; 32]) && !hash.matches(&[9; 31]));
        assert!(!format!("{hash:?}").contains('9') || !format!("{hash:?}").contains("CQkJ"));
    }

    #[test]
    fn p04_weaker_ones_are_known() {
        assert!(PasswordHash::parse(WEAK).unwrap().is_weaker_than_current());
        assert_eq!(PasswordHash::parse(WEAK).unwrap().to_phc().unwrap(), WEAK);
    }

    #[test]
    fn others_are_not_hashes() {
        for text in [
            "",
            "plain",
            "$2b$12$abcdefghijklmnopqrstuv",
            "$argon2i$v=19$m=19456,t=2,p=1$AAECAwQFBgcICQoLDA0ODw$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
            "$argon2id$v=16$m=19456,t=2,p=1$AAECAwQFBgcICQoLDA0ODw$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
            "$argon2id$v=19$m=4000000000,t=2,p=1$AAECAwQFBgcICQoLDA0ODw$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
            "$argon2id$v=19$m=19456,t=2,p=1$AAECAwQFBgcICQoLDA0ODw",
        ] {
            assert_eq!(PasswordHash::parse(text), Err(NotAHash), "{text}");
        }
    }
}
