//! Opening an encrypted token. Whoever sends altered tokens and listens learns nothing from how long or by which way
//! they fail: every token costs the same operations in the same order and fails with the same reason (J17, RFC 8725
//! §3.3). Only a header that names an algorithm of somebody else's is turned away before (J15), with that reason too.

use std::sync::LazyLock;

use aws_lc_rs::agreement::ParsedPublicKey;
use zeroize::Zeroizing;

use super::{
    RecipientKey,
    header::{Header, Read},
    primitives::{AwsLc, Primitives},
};
use crate::{MAX_TOKEN_BYTES, Refused, compact};

/// What an unusable key is worked with instead: the base point of P-256. That its shared secret is no secret does
/// not matter, because nothing that was worked out with a stand-in is ever returned.
const STAND_IN: [u8; 65] = [
    0x04, 0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5, 0x63, 0xa4, 0x40, 0xf2,
    0x77, 0x03, 0x7d, 0x81, 0x2d, 0xeb, 0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2, 0x96, 0x4f,
    0xe3, 0x42, 0xe2, 0xfe, 0x1a, 0x7f, 0x9b, 0x8e, 0xe7, 0xeb, 0x4a, 0x7c, 0x0f, 0x9e, 0x16, 0x2b, 0xce,
    0x33, 0x57, 0x6b, 0x31, 0x5e, 0xce, 0xcb, 0xb6, 0x40, 0x68, 0x37, 0xbf, 0x51, 0xf5,
];

static STAND_IN_POINT: LazyLock<Option<ParsedPublicKey>> = LazyLock::new(|| AwsLc.point(&STAND_IN));

/// The signed token inside `jwe`, not yet verified. `keys` are the recipient's, newest first.
pub fn open(jwe: &str, keys: &[RecipientKey]) -> Result<String, Refused> {
    open_with(&AwsLc, jwe, keys)
}

pub(super) fn open_with(
    primitives: &impl Primitives,
    jwe: &str,
    keys: &[RecipientKey],
) -> Result<String, Refused> {
    if jwe.len() > MAX_TOKEN_BYTES {
        return Err(Refused::TooLarge);
    }
    let mut parts = jwe.split('.');
    let (Some(header), Some(encrypted_key), Some(iv), Some(ciphertext), Some(tag), None) =
        (parts.next(), parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Refused::Malformed);
    };
    let any = keys.first().ok_or(Refused::Undecryptable)?;

    // From here on a flaw is noted and a stand-in takes its place; the verdict comes at the end.
    // INVARIANT: a part that was replaced by a stand-in clears this.
    let mut sound = encrypted_key.is_empty();

    let aad = header.as_bytes();
    let header = match Header::read(header) {
        Read::Unlisted => return Err(Refused::Undecryptable),
        Read::Usable(header) => Some(header),
        Read::Unusable => None,
    };
    let (ephemeral, apu, apv) = match &header {
        Some(header) => (&header.ephemeral, header.apu.as_slice(), header.apv.as_slice()),
        None => (&STAND_IN, [].as_slice(), [].as_slice()),
    };
    let named = header.as_ref().and_then(|header| keys.iter().find(|key| *key.kid() == header.kid));
    let iv = compact::decode_exactly::<12>(iv);
    let tag = compact::decode_exactly::<16>(tag);
    let octets = compact::decode(ciphertext);
    sound &= header.is_some() && named.is_some() && iv.is_some() && tag.is_some() && octets.is_some();

    let point = primitives.point(ephemeral);
    sound &= point.is_some();
    let agreed = match point.or_else(|| STAND_IN_POINT.clone()) {
        Some(point) => primitives.agree(named.unwrap_or(any), point),
        None => None,
    };
    sound &= agreed.is_some();
    let key = primitives.derive(&agreed.unwrap_or_default(), apu, apv);
    let octets = octets.unwrap_or_else(|| vec![0; ciphertext.len() / 4 * 3]);
    let plaintext = primitives.decrypt(&key, &iv.unwrap_or_default(), aad, &octets, &tag.unwrap_or_default());
    match plaintext.map(Zeroizing::new) {
        Some(mut plaintext) if sound => {
            String::from_utf8(std::mem::take(&mut *plaintext)).map_err(|_| Refused::Malformed)
        }
        _ => Err(Refused::Undecryptable),
    }
}

#[cfg(test)]
mod tests;
