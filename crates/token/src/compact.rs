//! The compact serialization (RFC 7515 §7.1, RFC 7516 §7.1): size, alphabet and parts, before anything is decoded.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::Refused;

/// Longer tokens are refused before any work. Ours have one or two KiB.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// Whether a token has the five parts of a JWE. Says nothing about their content.
pub fn is_jwe(token: &str) -> bool {
    token.bytes().filter(|byte| *byte == b'.').count() == 4
}

/// A JWS in three parts that are not empty and have no character outside base64url.
#[derive(Clone, Copy)]
pub(crate) struct Jws<'a> {
    pub(crate) header: &'a str,
    pub(crate) payload: &'a str,
    pub(crate) signature: &'a str,
    /// Header, dot and payload.
    pub(crate) signed: &'a str,
}

impl<'a> Jws<'a> {
    pub(crate) fn parse(token: &'a str) -> Result<Self, Refused> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Refused::TooLarge);
        }
        // Padding, white space and the JSON serializations have such characters (J11).
        if !token.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')) {
            return Err(Refused::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Refused::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(Refused::Malformed)?;
        if payload.contains('.') || [header, payload, signature].iter().any(|part| part.is_empty()) {
            return Err(Refused::Malformed);
        }
        Ok(Self { header, payload, signature, signed })
    }
}

/// Strict: no padding, and trailing bits must be zero, so that every octet string has exactly one spelling.
pub(crate) fn decode(part: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).ok()
}

/// As [`decode`], for exactly `N` octets.
pub(crate) fn decode_exactly<const N: usize>(part: &str) -> Option<[u8; N]> {
    decode(part)?.try_into().ok()
}

pub(crate) fn encode(octets: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(octets)
}
