//! Removing what has expired, and wiping what only the grace window needed.

use feed::issuer::Bounds;
use time::OffsetDateTime;

use super::{Auth, Failure};
use crate::domain::claims::LONGEST_TOKEN;
use crate::store::Swept;

/// More rounds than this wait for the next time.
const MAX_ROUNDS: usize = 100;

/// Sweeps what is over at `now`, in batches of `batch` rows until nothing is left. Answers what was removed.
pub async fn sweep(auth: &Auth, now: OffsetDateTime, batch: u32) -> Result<Swept, Failure> {
    let mut total = Swept::default();
    for _ in 0..MAX_ROUNDS {
        // A family is what its access tokens are ended by: it stays until nobody believes the last of them any more, whatever
        // `token.access_lifetime` was when that was issued.
        let Bounds { leeway, clocks_apart } = Bounds::DEFAULT;
        let useless = now - LONGEST_TOKEN - leeway - clocks_apart;
        let swept = auth.store.sweep(useless, now - auth.settings.refresh.grace, batch).await?;
        total.families += swept.families;
        total.successors += swept.successors;
        total.throttles += swept.throttles;
        if swept == Swept::default() {
            break;
        }
    }
    Ok(total)
}
