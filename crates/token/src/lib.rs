//! Tokens, pure: claims, key sets, signing, verification, sealing and opening.
//!
//! Everything that decides whether a token is believed is here, without I/O, a clock or a task: `now` and key sets
//! are arguments. What is accepted is deliberately narrow, the compact forms of JWS (ES256, EdDSA, RS256, PS256) and
//! of JWE (ECDH-ES on P-256 with A256GCM), because every option that a verifier has is an option of the attacker
//! (RFC 8725). `jsonwebtoken` computes signatures; what it leaves open (a missing `iss` or `aud`, `nbf`, `crit`,
//! `typ`, duplicate members) is decided here.

mod algorithm;
mod claims;
mod compact;
mod expect;
mod header;
mod json;
mod jwe;
mod jwk;
mod key_set;
mod refused;
mod signing;
mod verify;

pub use algorithm::{Algorithm, AlgorithmUnknown};
pub use claims::{AccessClaims, Epochs, Issued, PrincipalKind, ProofClaims, TYP_ACCESS, TYP_PROOF};
pub use compact::{MAX_TOKEN_BYTES, is_jwe};
pub use expect::{Expect, ExpectError, MAX_LEEWAY};
pub use jwe::{RecipientKey, RecipientPublicKey, open, seal};
pub use jwk::{Jwk, KeyError, KeyId};
pub use key_set::{KeySet, KeySetError, MAX_KEYS};
pub use refused::Refused;
pub use signing::{IssueError, SigningKey};
pub use verify::{LONGEST_LIFE, verify_access, verify_access_with_key, verify_issued, verify_proof};
