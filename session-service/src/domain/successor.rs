//! How parallel requests of one browser survive a rotation. The successor's secret is not stored in clear, yet whoever
//! still presents the former one must be given it: so it is kept sealed under a key that only the former secret yields,
//! and is deleted when the window closes. Who reads the store learns nothing from it.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf;
use thiserror::Error;
use zeroize::Zeroizing;

use super::{SessionId, SessionSecret};

/// Nonce, ciphertext and tag.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedSuccessor(Vec<u8>);

impl fmt::Debug for SealedSuccessor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealedSuccessor(..)")
    }
}

/// The library refused to seal. Nothing that a caller sends brings it about.
#[derive(Debug, Error)]
#[error("a successor could not be sealed")]
pub struct SealFailed;

impl SealedSuccessor {
    pub const NONCE_BYTES: usize = NONCE_LEN;
    const PURPOSE: &'static [u8] = b"latchkey session successor v1";

    /// `nonce` is random: rotations that race seal different successors under the same key, and one of them is kept.
    pub fn seal(
        successor: &SessionSecret,
        former: &SessionSecret,
        session: &SessionId,
        nonce: [u8; SealedSuccessor::NONCE_BYTES],
    ) -> Result<SealedSuccessor, SealFailed> {
        let key = Self::key(former).ok_or(SealFailed)?;
        let mut text = Zeroizing::new(successor.bytes().to_vec());
        let tag = key
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(session.as_str()),
                text.as_mut_slice(),
            )
            .map_err(|_| SealFailed)?;
        Ok(SealedSuccessor([&nonce, text.as_slice(), tag.as_ref()].concat()))
    }

    /// `None` unless it was sealed for this session under this very secret.
    pub fn open(&self, former: &SessionSecret, session: &SessionId) -> Option<SessionSecret> {
        let (nonce, sealed) = self.0.split_at_checked(Self::NONCE_BYTES)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut text = Zeroizing::new(sealed.to_vec());
        let opened =
            Self::key(former)?.open_in_place(nonce, Aad::from(session.as_str()), text.as_mut_slice()).ok()?;
        <[u8; SessionSecret::BYTES]>::try_from(&*opened).ok().map(SessionSecret::new)
    }

    /// As read back from a store.
    pub fn stored(bytes: Vec<u8>) -> SealedSuccessor {
        SealedSuccessor(bytes)
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn key(former: &SessionSecret) -> Option<LessSafeKey> {
        let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(former.bytes());
        let expanded = extracted.expand(&[Self::PURPOSE], &AES_256_GCM).ok()?;
        Some(LessSafeKey::new(UnboundKey::from(expanded)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(last: char) -> SessionId {
        SessionId::parse(&format!("ses_0123456789abcdefghjkmnpqr{last}")).unwrap()
    }

    proptest! {
        #[test]
        fn only_the_former_secret_opens_it(former: [u8; 32], successor: [u8; 32], other: [u8; 32], nonce: [u8; 12]) {
            prop_assume!(former != other);
            let (former, successor, other) = (SessionSecret::new(former), SessionSecret::new(successor), SessionSecret::new(other));
            let sealed = SealedSuccessor::seal(&successor, &former, &id('s'), nonce).unwrap();
            let read = SealedSuccessor::stored(sealed.as_bytes().to_vec());
            prop_assert_eq!(read.open(&former, &id('s')).unwrap().digest(), successor.digest());
            prop_assert!(read.open(&other, &id('s')).is_none());
            prop_assert!(read.open(&former, &id('t')).is_none());
        }

        #[test]
        fn an_altered_one_does_not_open(position in 0_usize..60, bit in 0_u8..8) {
            let former = SessionSecret::new([1; 32]);
            let sealed = SealedSuccessor::seal(&SessionSecret::new([2; 32]), &former, &id('s'), [3; 12]).unwrap();
            let mut bytes = sealed.as_bytes().to_vec();
            bytes[position] ^= 1 << bit;
            prop_assert!(SealedSuccessor::stored(bytes).open(&former, &id('s')).is_none());
        }
    }

    #[test]
    fn what_is_cut_short_does_not_open() {
        let former = SessionSecret::new([1; 32]);
        let sealed = SealedSuccessor::seal(&SessionSecret::new([2; 32]), &former, &id('s'), [3; 12]).unwrap();
        for length in 0..sealed.as_bytes().len() {
            let cut = SealedSuccessor::stored(sealed.as_bytes()[..length].to_vec());
            assert!(cut.open(&former, &id('s')).is_none(), "{length}");
        }
    }
}
