//! The two opaque secrets that auth-service hands out, and the digest that is all it keeps of them.
//!
//! Plain and stored forms are different types: a [`Digest`] cannot be presented, a [`Secret`] cannot be stored. A digest
//! without salt or stretching is enough, because each secret has 256 random bits.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// What a secret is for, known by its first characters: also to scanners that look for leaked ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretKind {
    Client,
    Refresh,
}

impl SecretKind {
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Client => "lks_",
            Self::Refresh => "lkr_",
        }
    }
}

/// A secret as its owner holds it: the prefix and 43 characters of base64url.
pub struct Secret(Zeroizing<String>);

/// SHA-256 of the text of a secret or a token.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Secret {
    pub fn new(kind: SecretKind, random: &[u8; 32]) -> Self {
        let mut text = Zeroizing::new(String::with_capacity(47));
        text.push_str(kind.prefix());
        BASE64_URL_SAFE_NO_PAD.encode_string(random, &mut text);
        Self(text)
    }

    /// `None` unless it has the shape of one of this kind.
    pub fn parse(kind: SecretKind, text: &str) -> Option<Self> {
        let body = text.strip_prefix(kind.prefix())?;
        let well_formed =
            body.len() == 43 && body.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        well_formed.then(|| Self(Zeroizing::new(text.to_owned())))
    }

    pub fn digest(&self) -> Digest {
        Digest::of(&self.0)
    }

    /// For the answer that hands it out, and for nothing else.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl Digest {
    pub fn of(text: &str) -> Self {
        let mut out = [0; 32];
        out.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
        Self(out)
    }

    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Compared in constant time.
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shape_and_digest() {
        let secret = Secret::new(SecretKind::Refresh, &[7; 32]);
        assert_eq!(secret.reveal().len(), 47);
        let again = Secret::parse(SecretKind::Refresh, secret.reveal()).unwrap();
        assert!(again.digest().matches(&secret.digest()));
        assert!(!Secret::new(SecretKind::Refresh, &[8; 32]).digest().matches(&secret.digest()));
        assert!(Secret::parse(SecretKind::Client, secret.reveal()).is_none());
        for text in ["", "lkr_", "lkr_short", &format!("{}=", secret.reveal())] {
            assert!(Secret::parse(SecretKind::Refresh, text).is_none());
        }
        assert_eq!(format!("{secret:?} {:?}", secret.digest()), "Secret(..) Digest(..)");
    }
}
