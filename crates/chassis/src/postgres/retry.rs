//! What the server asks to be done again: it took everything back, so that nothing happens twice.

use std::error::Error;
use std::time::Duration;

use super::code;
use crate::entropy::{Entropy as _, SystemEntropy};

/// `serialization_failure`, `deadlock_detected`.
const AGAIN: [&str; 2] = ["40001", "40P01"];

/// Whether such an answer is what `error` comes from.
pub(super) fn is_asked_for(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let answer = error.downcast_ref::<sqlx::Error>().and_then(code);
        if answer.is_some_and(|code| AGAIN.contains(&code.as_ref())) {
            return true;
        }
        next = error.source();
    }
    false
}

/// Three times: after up to 5, 10 and 20 ms. Chance, so that those who met once do not meet again.
pub(super) fn pauses() -> impl Iterator<Item = Duration> {
    [5_u32, 10, 20].into_iter().map(|most| {
        let mut chance = [0_u8; 2];
        SystemEntropy.fill(&mut chance);
        Duration::from_millis(1) * most * u32::from(u16::from_le_bytes(chance)) / u32::from(u16::MAX)
    })
}
