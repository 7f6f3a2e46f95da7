//! Removing what has expired, and wiping what only the grace window needed.

use feed::issuer::Bounds;
use time::OffsetDateTime;

use super::{Auth, Failure};
use crate::domain::claims::LONGEST_TOKEN;
use crate::store::{StoreError, Useless};

/// More rounds of one kind than this wait for the next time.
const MAX_ROUNDS: usize = 100;

/// Sweeps what is over at `now`, in batches of `batch` rows until nothing is left. Answers how many rows went or were wiped. One
/// kind that fails keeps none of the others: the first failure is for the end.
pub async fn sweep(auth: &Auth, now: OffsetDateTime, batch: u32) -> Result<u64, Failure> {
    // A family is what its access tokens are ended by: it stays until nobody believes the last of them any more, whatever
    // `token.access_lifetime` was when that was issued.
    let Bounds { leeway, clocks_apart } = Bounds::DEFAULT;
    let useless = now - LONGEST_TOKEN - leeway - clocks_apart;
    let window_closed = now - auth.settings.refresh.grace;
    let (mut rows, mut failed) = (0, None);
    for (what, by) in [
        (Useless::Successors, window_closed),
        (Useless::Families, useless),
        (Useless::Tokens, useless),
        (Useless::Throttles, useless),
    ] {
        match in_batches(auth, what, by, batch).await {
            Ok(some) => rows += some,
            Err(error) => _ = failed.get_or_insert(error),
        }
    }
    failed.map_or(Ok(rows), |error| Err(error.into()))
}

async fn in_batches(auth: &Auth, what: Useless, by: OffsetDateTime, batch: u32) -> Result<u64, StoreError> {
    let mut rows = 0;
    for _ in 0..MAX_ROUNDS {
        match auth.store.sweep(what, by, batch).await? {
            0 => break,
            some => rows += some,
        }
    }
    Ok(rows)
}
