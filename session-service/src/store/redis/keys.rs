//! Which key holds what, and how long it is left lying around; see [`super`] for the layout.

use time::OffsetDateTime;

use crate::domain::{SecretDigest, Shard};
use crate::store::row::milliseconds;

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// Of the layout. Another number when what is kept cannot be read as before: a version does not find what another one left, and so
/// takes none of it for damage.
const LAYOUT: u32 = 2;

/// What all keys of a shard begin with. The braces are the hash tag.
pub(super) fn shard_key(shard: Shard) -> String {
    format!("latchkey:{LAYOUT}:{{sessions-{}}}", shard.number())
}

/// As the scripts make it.
pub(super) fn secret_key(secret: &SecretDigest) -> Vec<u8> {
    let mut key = shard_key(secret.shard()).into_bytes();
    key.extend_from_slice(b":secret:");
    key.extend_from_slice(secret.as_bytes());
    key
}

/// Milliseconds that something which nothing depends on after `over` may still be there: a day longer, for a clock that is
/// set back. Relative, so that Redis's own clock decides nothing.
pub(super) fn ttl(over: OffsetDateTime, now: OffsetDateTime) -> i64 {
    (milliseconds(over) - milliseconds(now)).max(0) + DAY_MS
}
