//! The Concat KDF of NIST SP 800-56A with SHA-256, as RFC 7518 §4.6.2 uses it, for keys of up to 256 bits: one round.

use aws_lc_rs::digest;
use zeroize::Zeroizing;

/// The first 256 bits derived from the shared secret `z` for `algorithm`, of which `key_bits` are asked for.
pub(super) fn derive(
    z: &[u8; 32],
    algorithm: &str,
    apu: &[u8],
    apv: &[u8],
    key_bits: u32,
) -> Zeroizing<[u8; 32]> {
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(&1_u32.to_be_bytes());
    hash.update(z);
    for field in [algorithm.as_bytes(), apu, apv] {
        // INVARIANT: fields come out of a token of bounded size, far below 4 GiB.
        hash.update(&u32::try_from(field.len()).unwrap_or(u32::MAX).to_be_bytes());
        hash.update(field);
    }
    hash.update(&key_bits.to_be_bytes());
    let digest = hash.finish();
    let mut key = Zeroizing::new([0; 32]);
    for (to, from) in key.iter_mut().zip(digest.as_ref()) {
        *to = *from;
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compact;

    fn octets(text: &str) -> [u8; 32] {
        compact::decode_exactly(text).unwrap()
    }

    fn agree(d: &str, x: &str, y: &str) -> [u8; 32] {
        use aws_lc_rs::agreement::{ECDH_P256, PrivateKey, UnparsedPublicKey, agree};

        let private = PrivateKey::from_private_key(&ECDH_P256, &octets(d)).unwrap();
        let point = [&[4], octets(x).as_slice(), octets(y).as_slice()].concat();
        agree(&private, UnparsedPublicKey::new(&ECDH_P256, point), (), |z| z.try_into().map_err(|_| ()))
            .unwrap()
    }

    #[test]
    fn rfc_7518_appendix_c() {
        let z = agree(
            "0_NxaRPUMQoAJt50Gz8YiTr8gRTwyEaCumd-MToTmIo",
            "weNJy2HscCSM6AEDTDg04biOvhFhyyWvOHQfeF_PxMQ",
            "e8lnCO-AlStT-NJVX-crhB7QRYhiix03illJOVAOyck",
        );
        assert_eq!(
            z,
            [
                158, 86, 217, 29, 129, 113, 53, 211, 114, 131, 66, 131, 191, 132, 38, 156, 251, 49, 110, 163,
                218, 128, 106, 72, 246, 218, 167, 121, 140, 254, 144, 196
            ]
        );
        let same = agree(
            "VEmDZpDXXK8p8N0Cndsxs924q6nS1RXFASRl6BfUqdw",
            "gI0GAILBdu7T53akrFmMyGcsF3n5dO7MmwNBHKW5SV0",
            "SLW_xSffzlPWrHEVI30DHM_4egVwt3NQqeUD7nMFpps",
        );
        assert_eq!(z, same);
        let key = derive(&z, "A128GCM", b"Alice", b"Bob", 128);
        assert_eq!(compact::encode(&key[..16]), "VqqN6vgjbSBcIijNcacQGg");
    }

    #[test]
    fn rfc_7520_section_5_5() {
        let z = agree(
            "r_kHyZ-a06rmxM3yESK84r1otSg-aQcVStkRhA-iCM8",
            "mPUKT_bAWGHIhg0TpjjqVsP1rXWQu_vwVOHHtNkdYoA",
            "8BQAsImGeAS46fyWw5MhYfGTT0IjBpFw2SS34Dv4Irs",
        );
        let key = derive(&z, "A128CBC-HS256", b"", b"", 256);
        assert_eq!(compact::encode(key.as_ref()), "hzHdlfQIAEehb8Hrd_mFRhKsKLEzPfshfXs9l6areCc");
    }

    #[test]
    fn every_field_counts() {
        let z = [7; 32];
        let reference = derive(&z, "A256GCM", b"ab", b"c", 256);
        for other in [
            derive(&[8; 32], "A256GCM", b"ab", b"c", 256),
            derive(&z, "A128GCM", b"ab", b"c", 256),
            derive(&z, "A256GCM", b"a", b"bc", 256),
            derive(&z, "A256GCM", b"ab", b"", 256),
            derive(&z, "A256GCM", b"ab", b"c", 128),
        ] {
            assert_ne!(*reference, *other);
        }
    }
}
