//! Encrypted tokens: a signed JWT as a compact JWE (RFC 7516) to one recipient, with ECDH-ES in direct key agreement
//! on P-256 and A256GCM. Nothing else is spoken: no key wrapping, no compression, no password-based encryption.
//!
//! Anyone can encrypt to a public key, so opening a token proves nothing about who made it: the signature inside does.

mod concat_kdf;
mod header;
mod open;
mod primitives;
mod recipient;
mod seal;

pub use open::open;
pub use recipient::{RecipientKey, RecipientPublicKey};
pub use seal::seal;

/// Direct key agreement (RFC 7518 §4.6): the agreed key encrypts the content.
const ALG: &str = "ECDH-ES";
const ENC: &str = "A256GCM";
