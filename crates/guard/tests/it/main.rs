//! The guard against an issuer that counts, fails, hangs and changes its mind.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod endings;
mod issuer;
mod keys;
mod layer;
mod memory;
mod verdicts;
