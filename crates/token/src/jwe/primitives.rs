//! The dear operations of opening a token, behind a trait so that a test can count them (J17).

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    agreement::{self, ECDH_P256, ParsedPublicKey, UnparsedPublicKey},
};
use zeroize::Zeroizing;

use super::{ENC, RecipientKey, concat_kdf};

pub(super) type Secret = Zeroizing<[u8; 32]>;

/// What opening a token costs. Every method is called once for every token, good or bad.
pub(super) trait Primitives {
    /// The point, if it lies on P-256 (J13).
    fn point(&self, octets: &[u8; 65]) -> Option<ParsedPublicKey>;
    fn agree(&self, key: &RecipientKey, with: ParsedPublicKey) -> Option<Secret>;
    fn derive(&self, z: &Secret, apu: &[u8], apv: &[u8]) -> Secret;
    fn decrypt(
        &self,
        key: &Secret,
        iv: &[u8; 12],
        aad: &[u8],
        ciphertext: &[u8],
        tag: &[u8; 16],
    ) -> Option<Vec<u8>>;
}

pub(super) struct AwsLc;

impl Primitives for AwsLc {
    fn point(&self, octets: &[u8; 65]) -> Option<ParsedPublicKey> {
        ParsedPublicKey::try_from(UnparsedPublicKey::new(&ECDH_P256, octets)).ok()
    }

    fn agree(&self, key: &RecipientKey, with: ParsedPublicKey) -> Option<Secret> {
        agreement::agree(key.private(), with, (), |z| z.try_into().map(Zeroizing::new).map_err(|_| ())).ok()
    }

    fn derive(&self, z: &Secret, apu: &[u8], apv: &[u8]) -> Secret {
        concat_kdf::derive(z, ENC, apu, apv, 256)
    }

    fn decrypt(
        &self,
        key: &Secret,
        iv: &[u8; 12],
        aad: &[u8],
        ciphertext: &[u8],
        tag: &[u8; 16],
    ) -> Option<Vec<u8>> {
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_ref()).ok()?);
        let mut plaintext = vec![0; ciphertext.len()];
        let nonce = Nonce::assume_unique_for_key(*iv);
        key.open_separate_gather(nonce, Aad::from(aad), ciphertext, tag, &mut plaintext).ok()?;
        Some(plaintext)
    }
}
