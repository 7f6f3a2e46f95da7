//! The secret half of a session. It exists in clear only on its way to a cookie and back; what is kept is its SHA-256,
//! which finds a session without being able to open one.

use std::fmt;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::Shard;

/// 256 random bits, of which the digest tells the four of a shard. Neither printable nor comparable: it is found by its digest.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SessionSecret([u8; SessionSecret::BYTES]);

impl SessionSecret {
    pub const BYTES: usize = 32;
    const CHARACTERS: usize = 43;

    /// Of random bytes, and of nothing that a client sent.
    pub fn new(random: [u8; SessionSecret::BYTES]) -> SessionSecret {
        SessionSecret(random)
    }

    /// The first of `random` whose digest tells this shard: of sixteen secrets, one is taken.
    pub fn draw(shard: Shard, mut random: impl FnMut() -> [u8; SessionSecret::BYTES]) -> SessionSecret {
        loop {
            let secret = SessionSecret::new(random());
            if secret.digest().shard() == shard {
                return secret;
            }
        }
    }

    /// Reads what a cookie carries. `None` for anything but the one base64url spelling of 32 bytes.
    pub fn parse(text: &str) -> Option<SessionSecret> {
        if text.len() != Self::CHARACTERS {
            return None;
        }
        let decoded = Zeroizing::new(URL_SAFE_NO_PAD.decode(text).ok()?);
        <[u8; Self::BYTES]>::try_from(decoded.as_slice()).ok().map(SessionSecret)
    }

    /// The cookie's value.
    pub fn expose(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    pub fn digest(&self) -> SecretDigest {
        let mut bytes = [0; SecretDigest::BYTES];
        bytes.copy_from_slice(digest::digest(&digest::SHA256, &self.0).as_ref());
        SecretDigest(bytes)
    }

    pub(super) fn bytes(&self) -> &[u8; SessionSecret::BYTES] {
        &self.0
    }
}

impl fmt::Debug for SessionSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionSecret(..)")
    }
}

/// SHA-256 of a secret: what stores keep and look up. A plain hash is enough, since 252 bits of the secret are known to nobody.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SecretDigest([u8; SecretDigest::BYTES]);

impl SecretDigest {
    pub const BYTES: usize = 32;

    /// As read back from a store.
    pub fn stored(bytes: [u8; SecretDigest::BYTES]) -> SecretDigest {
        SecretDigest(bytes)
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Where the session is, if there is one.
    pub fn shard(&self) -> Shard {
        let [.., last] = self.0;
        Shard::of_bits(last)
    }
}

impl fmt::Debug for SecretDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretDigest(..)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_secret_reads_back_from_its_cookie(bytes: [u8; 32]) {
            let secret = SessionSecret::new(bytes);
            let read = SessionSecret::parse(&secret.expose()).unwrap();
            prop_assert_eq!(read.digest(), secret.digest());
        }

        #[test]
        fn a_secret_has_one_spelling(bytes: [u8; 32], position in 0_usize..43, other in "[A-Za-z0-9_=+/ -]") {
            let text = SessionSecret::new(bytes).expose();
            let mut altered = text.clone();
            altered.replace_range(position..=position, &other);
            if altered != text {
                let same = SessionSecret::parse(&altered).is_some_and(|read| read.digest() == SessionSecret::new(bytes).digest());
                prop_assert!(!same);
            }
        }
    }

    #[test]
    fn a_secret_is_drawn_for_its_shard() {
        let mut drawn = 0_u16;
        for shard in Shard::all() {
            let secret = SessionSecret::draw(shard, || {
                drawn += 1;
                std::array::from_fn(|position| drawn.to_be_bytes()[position % 2])
            });
            assert_eq!(secret.digest().shard(), shard);
        }
        assert!(usize::from(drawn) > Shard::all().count());
    }

    #[test]
    fn what_is_no_secret_is_not_read() {
        let longer = format!("{}A", SessionSecret::new([7; 32]).expose());
        for bad in ["", "admin", "ses_0123456789abcdefghjkmnpqrs", &"=".repeat(43), &longer, &"é".repeat(22)]
        {
            assert!(SessionSecret::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn nothing_prints_a_secret() {
        let secret = SessionSecret::new([7; 32]);
        let printed = format!("{secret:?} {:?}", secret.digest());
        assert_eq!(printed, "SessionSecret(..) SecretDigest(..)");
    }
}
