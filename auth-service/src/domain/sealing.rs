//! What must be readable again is sealed at rest: private signing keys under the master key, and for the grace window a
//! refresh token's successor under a key that only the holder of the spent token can derive.
//!
//! AES-256-GCM with a 96-bit random nonce. The additional data names what is sealed (the `kid`, the spent token's
//! digest), so that a sealed value copied to another row does not open.

use std::fmt;

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use zeroize::Zeroizing;

use super::secret::Secret;

/// The first byte of a sealed value: which way it was sealed.
const VERSION: u8 = 1;
/// Separates keys derived from refresh tokens from everything else ever derived from one.
const SUCCESSOR: &[u8] = b"latchkey refresh successor v1";

/// Bytes of a nonce, from the injected source: never twice for one key.
pub type SealingNonce = [u8; NONCE_LEN];

/// A key that seals and opens. Never shown.
pub struct SealingKey(LessSafeKey);

/// The value was not sealed with this key for this purpose, or is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sealed value does not open with this key")]
pub struct DoesNotOpen;

/// A master key's file holds something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a master key is 32 random bytes in base64, for instance from `openssl rand -base64 32`")]
pub struct NotAMasterKey;

impl SealingKey {
    /// The master key, from the text of its file.
    pub fn master(text: &str) -> Result<Self, NotAMasterKey> {
        let bytes = Zeroizing::new(BASE64_STANDARD.decode(text.trim()).map_err(|_| NotAMasterKey)?);
        if bytes.len() != 32 {
            return Err(NotAMasterKey);
        }
        Self::of(&bytes).ok_or(NotAMasterKey)
    }

    /// The key that the holder of a spent refresh token can derive, and nobody from its digest.
    pub fn from_spent(token: &Secret) -> Option<Self> {
        let mut key = Zeroizing::new([0; 32]);
        hkdf::Salt::new(hkdf::HKDF_SHA256, &[])
            .extract(token.reveal().as_bytes())
            .expand(&[SUCCESSOR], hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(key.as_mut_slice()))
            .ok()?;
        Self::of(key.as_slice())
    }

    fn of(bytes: &[u8]) -> Option<Self> {
        UnboundKey::new(&AES_256_GCM, bytes).ok().map(|key| Self(LessSafeKey::new(key)))
    }

    /// Seals `plain` as what `purpose` names.
    pub fn seal(&self, nonce: SealingNonce, purpose: &[u8], plain: &[u8]) -> Result<Vec<u8>, DoesNotOpen> {
        let mut body = plain.to_vec();
        self.0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(purpose), &mut body)
            .map_err(|_| DoesNotOpen)?;
        Ok([&[VERSION], nonce.as_slice(), &body].concat())
    }

    /// Opens what was sealed for the same purpose.
    pub fn open(&self, purpose: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, DoesNotOpen> {
        let (nonce, body) = sealed
            .strip_prefix(&[VERSION])
            .and_then(|rest| rest.split_first_chunk::<NONCE_LEN>())
            .ok_or(DoesNotOpen)?;
        let mut body = Zeroizing::new(body.to_vec());
        let length = self
            .0
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(purpose), &mut body)
            .map_err(|_| DoesNotOpen)?
            .len();
        body.truncate(length);
        Ok(body)
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::{super::secret::SecretKind, *};

    fn master(byte: u8) -> SealingKey {
        SealingKey::master(&BASE64_STANDARD.encode([byte; 32])).unwrap()
    }

    #[test]
    fn opens_only_with_key_and_purpose_unaltered() {
        let sealed = master(1).seal([3; 12], b"kid-1", b"private").unwrap();
        assert_eq!(master(1).open(b"kid-1", &sealed).unwrap().as_slice(), b"private");
        assert_eq!(master(2).open(b"kid-1", &sealed), Err(DoesNotOpen));
        assert_eq!(master(1).open(b"kid-2", &sealed), Err(DoesNotOpen));
        for i in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[i] ^= 1;
            assert_eq!(master(1).open(b"kid-1", &altered), Err(DoesNotOpen), "byte {i}");
            assert_eq!(master(1).open(b"kid-1", &sealed[..i]), Err(DoesNotOpen), "cut at {i}");
        }
    }

    #[test]
    fn a_successor_opens_with_the_spent_token_alone() {
        let spent = Secret::new(SecretKind::Refresh, &[1; 32]);
        let other = Secret::new(SecretKind::Refresh, &[2; 32]);
        let sealed = SealingKey::from_spent(&spent).unwrap().seal([0; 12], b"d", b"next").unwrap();
        assert!(SealingKey::from_spent(&spent).unwrap().open(b"d", &sealed).is_ok());
        assert_eq!(SealingKey::from_spent(&other).unwrap().open(b"d", &sealed), Err(DoesNotOpen));
    }

    #[test]
    fn master_keys() {
        assert!(SealingKey::master(&format!("{}\n", BASE64_STANDARD.encode([1; 32]))).is_ok());
        for text in ["", "changeme", &BASE64_STANDARD.encode([1; 31]), &BASE64_STANDARD.encode([1; 33])] {
            assert_eq!(SealingKey::master(text).unwrap_err(), NotAMasterKey);
        }
    }
}
