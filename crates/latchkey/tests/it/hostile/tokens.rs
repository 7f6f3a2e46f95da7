//! Forged, altered, borrowed and malformed tokens, sent to a running gateway.

mod algorithm;
mod altered;
mod claims;
mod envelope;
mod header;
mod issued;
mod key_files;
