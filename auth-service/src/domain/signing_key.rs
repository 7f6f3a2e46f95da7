//! The life of a signing key: announced → active → retiring → gone.
//!
//! A key stands in the key set for at least as long as the set may be cached before anything is signed with it, and
//! until the last token signed with it has expired (J22). Only the first key of an empty set signs at once: there is
//! nobody yet who could have cached a set without it.

use std::time::Duration;

use time::OffsetDateTime;
use token::Algorithm;

/// Where a key is in its life, with the moments that matter there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// In the key set; signs nothing yet.
    Announced { at: OffsetDateTime },
    /// Signs. At most one is.
    Active { since: OffsetDateTime },
    /// Signs no more; what it signed is still believed.
    Retiring { until: OffsetDateTime },
    /// Not in the key set; its private half is wiped.
    Gone { at: OffsetDateTime },
}

/// A key without its private half.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    pub kid: String,
    pub algorithm: Algorithm,
    pub state: KeyState,
}

/// A key with its private half sealed: what a store keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedKey {
    pub record: KeyRecord,
    pub sealed: Vec<u8>,
}

/// When keys change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySchedule {
    pub algorithm: Algorithm,
    /// How long one key signs.
    pub rotate_every: Duration,
    /// How long a key is announced before it signs: at least the time for which the key set may be cached, and that
    /// in which every replica learns of it.
    pub announce_for: Duration,
    /// How long the longest-lived thing that was signed stays valid, leeway included.
    pub outlives: Duration,
}

/// One transition that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Generate a key that is active at once: the set is empty, or nothing in it can sign.
    CreateActive,
    /// Generate a key and announce it.
    Announce,
    /// The announced key signs from now on; the active one, if any, retires until then.
    Activate { kid: String, retire: Option<String>, until: OffsetDateTime },
    /// Wipe the key.
    Remove { kid: String },
}

impl KeySchedule {
    /// What is due at `now`. Doing it and asking again ends with nothing due.
    pub fn next(&self, keys: &[KeyRecord], now: OffsetDateTime) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut active = None;
        let mut announced = None;
        for key in keys {
            match key.state {
                KeyState::Active { since } => active = Some((key, since)),
                KeyState::Announced { at } => announced = Some((key, at)),
                KeyState::Retiring { until } if now >= until => {
                    steps.push(Step::Remove { kid: key.kid.clone() })
                }
                KeyState::Retiring { .. } | KeyState::Gone { .. } => {}
            }
        }
        let until = now + self.outlives;
        match (active, announced) {
            (None, None) => steps.push(Step::CreateActive),
            // Nothing can sign: waiting any longer would help nobody.
            (None, Some((next, _))) => {
                steps.push(Step::Activate { kid: next.kid.clone(), retire: None, until })
            }
            (Some((current, since)), None) => {
                if now >= since + self.rotate_every.saturating_sub(self.announce_for)
                    || current.algorithm != self.algorithm
                {
                    steps.push(Step::Announce);
                }
            }
            // Whoever announced it, the schedule or an operator, announced it to take over.
            (Some((current, _)), Some((next, at))) => {
                if now >= self.signs_from(at) {
                    steps.push(Step::Activate {
                        kid: next.kid.clone(),
                        retire: Some(current.kid.clone()),
                        until,
                    });
                }
            }
        }
        steps
    }

    /// When a key that was announced at that moment signs, unless nothing else can before.
    pub fn signs_from(&self, announced_at: OffsetDateTime) -> OffsetDateTime {
        announced_at + self.announce_for
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);
    const HOUR: Duration = Duration::from_secs(3_600);
    const SCHEDULE: KeySchedule = KeySchedule {
        algorithm: Algorithm::Es256,
        rotate_every: DAY,
        announce_for: HOUR,
        outlives: Duration::from_secs(960),
    };
    const T0: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn key(kid: &str, state: KeyState) -> KeyRecord {
        KeyRecord { kid: kid.into(), algorithm: Algorithm::Es256, state }
    }

    #[test]
    fn next() {
        use KeyState::*;
        let activate = |kid: &str, retire: Option<&str>, now: OffsetDateTime| Step::Activate {
            kid: kid.into(),
            retire: retire.map(Into::into),
            until: now + SCHEDULE.outlives,
        };
        let a = |state| key("a", state);
        let b = |state| key("b", state);
        let ms = Duration::from_millis(1);
        for (name, keys, now, steps) in [
            ("empty", vec![], T0, vec![Step::CreateActive]),
            ("only gone", vec![a(Gone { at: T0 })], T0, vec![Step::CreateActive]),
            ("young", vec![a(Active { since: T0 })], T0 + DAY - HOUR - ms, vec![]),
            ("announce ahead", vec![a(Active { since: T0 })], T0 + DAY - HOUR, vec![Step::Announce]),
            (
                "announced, not seen by all yet",
                vec![a(Active { since: T0 }), b(Announced { at: T0 + DAY })],
                T0 + DAY + HOUR - ms,
                vec![],
            ),
            (
                "announced ahead of the schedule",
                vec![a(Active { since: T0 }), b(Announced { at: T0 })],
                T0 + HOUR,
                vec![activate("b", Some("a"), T0 + HOUR)],
            ),
            (
                "announced for long enough",
                vec![a(Active { since: T0 }), b(Announced { at: T0 + DAY - HOUR })],
                T0 + DAY,
                vec![activate("b", Some("a"), T0 + DAY)],
            ),
            ("none active", vec![b(Announced { at: T0 })], T0, vec![activate("b", None, T0)]),
            (
                "retiring",
                vec![a(Retiring { until: T0 + HOUR }), b(Active { since: T0 })],
                T0 + HOUR - ms,
                vec![],
            ),
            (
                "retired",
                vec![a(Retiring { until: T0 + HOUR }), b(Active { since: T0 })],
                T0 + HOUR,
                vec![Step::Remove { kid: "a".into() }],
            ),
        ] {
            assert_eq!(SCHEDULE.next(&keys, now), steps, "{name}");
        }
    }

    #[test]
    fn another_algorithm_is_announced_at_once() {
        let schedule = KeySchedule { algorithm: Algorithm::EdDsa, ..SCHEDULE };
        let old = key("a", KeyState::Active { since: T0 });
        assert_eq!(schedule.next(std::slice::from_ref(&old), T0), [Step::Announce]);
        let new = KeyRecord { algorithm: Algorithm::EdDsa, ..key("b", KeyState::Announced { at: T0 }) };
        assert_eq!(schedule.next(&[old.clone(), new.clone()], T0), []);
        assert!(matches!(schedule.next(&[old, new], T0 + HOUR)[..], [Step::Activate { .. }]));
    }
}
