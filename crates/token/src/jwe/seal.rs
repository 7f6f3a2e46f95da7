//! Encrypting a signed token to its recipient.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    agreement::{self, ECDH_P256, PrivateKey, UnparsedPublicKey},
    rand,
};
use serde::Serialize;
use zeroize::Zeroizing;

use super::{ALG, ENC, RecipientPublicKey, concat_kdf};
use crate::{IssueError, compact, jwk::coordinates};

#[derive(Serialize)]
struct Header<'a> {
    alg: &'static str,
    enc: &'static str,
    kid: &'a str,
    cty: &'static str,
    epk: Ephemeral,
}

#[derive(Serialize)]
struct Ephemeral {
    kty: &'static str,
    crv: &'static str,
    x: String,
    y: String,
}

/// `jws` as a compact JWE that only the recipient can read. Every call has a key of its own.
pub fn seal(jws: &str, recipient: &RecipientPublicKey) -> Result<String, IssueError> {
    let crypto = |_| IssueError::Crypto;
    let ephemeral = PrivateKey::generate(&ECDH_P256).map_err(crypto)?;
    let public = ephemeral.compute_public_key().map_err(crypto)?;
    let point: &[u8; 65] = public.as_ref().try_into().map_err(|_| IssueError::Crypto)?;
    let (x, y) = coordinates(point);
    let header = Header {
        alg: ALG,
        enc: ENC,
        kid: recipient.kid().as_str(),
        cty: "JWT",
        epk: Ephemeral { kty: "EC", crv: "P-256", x: compact::encode(x), y: compact::encode(y) },
    };
    let header = compact::encode(serde_json::to_vec(&header).map_err(IssueError::Claims)?);

    let peer = UnparsedPublicKey::new(&ECDH_P256, recipient.point());
    let key = agreement::agree(&ephemeral, peer, IssueError::Crypto, |z| {
        let z: Zeroizing<[u8; 32]> = Zeroizing::new(z.try_into().map_err(|_| IssueError::Crypto)?);
        Ok(concat_kdf::derive(&z, ENC, &[], &[], 256))
    })?;
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_ref()).map_err(crypto)?);
    let mut iv = [0; 12];
    rand::fill(&mut iv).map_err(crypto)?;
    let mut content = jws.as_bytes().to_vec();
    let tag = key
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(iv),
            Aad::from(header.as_bytes()),
            &mut content,
        )
        .map_err(crypto)?;
    // The second part is the encrypted key, which direct agreement has none of.
    Ok(format!("{header}..{}.{}.{}", compact::encode(iv), compact::encode(content), compact::encode(tag)))
}
