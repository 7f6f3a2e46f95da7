//! Which key holds what, and how long it is left lying around; see [`super`] for the layout.

use aws_lc_rs::digest;
use time::OffsetDateTime;

use super::error::Failure;
use crate::domain::{SecretDigest, SessionId, Subject};
use crate::store::row::milliseconds;

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// Of how many slots a Cluster can make use. Never changed: it decides where a subject's sessions are.
const BUCKETS: u8 = 16;

/// Where all of a subject's sessions are, and everything that changes together with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Bucket(u8);

impl Bucket {
    pub(super) fn of(subject: &Subject) -> Bucket {
        let hashed = digest::digest(&digest::SHA256, subject.as_str().as_bytes());
        Bucket(hashed.as_ref().first().map_or(0, |byte| byte % BUCKETS))
    }

    pub(super) fn all() -> impl Iterator<Item = Bucket> {
        (0..BUCKETS).map(Bucket)
    }

    /// What its keys begin with. The braces are the hash tag.
    pub(super) fn key(self) -> String {
        format!("latchkey:{{session-{}}}", self.0)
    }

    /// As the scripts make it.
    pub(super) fn session_key(self, id: &SessionId) -> String {
        format!("{}:session:{id}", self.key())
    }

    /// What a pointer to it holds.
    pub(super) fn text(self) -> String {
        self.0.to_string()
    }

    pub(super) fn parse(text: &[u8]) -> Result<Bucket, Failure> {
        let number = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
        number
            .filter(|number| *number < BUCKETS)
            .map(Bucket)
            .ok_or_else(|| Failure::impossible("a pointer that leads to no bucket"))
    }
}

/// The pointer from a session's id to its bucket.
pub(super) fn id_key(id: &SessionId) -> String {
    format!("latchkey:session:id:{id}")
}

/// The pointer from a secret to its session.
pub(super) fn secret_key(secret: &SecretDigest) -> String {
    const PREFIX: &str = "latchkey:session:secret:";
    let digit = |value: u8| char::from_digit(u32::from(value), 16);
    let bytes = secret.as_bytes();
    let mut key = String::with_capacity(PREFIX.len() + 2 * bytes.len());
    key.push_str(PREFIX);
    key.extend(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).flatten());
    key
}

/// What a secret's pointer holds.
pub(super) fn target_text(bucket: Bucket, id: &SessionId) -> String {
    format!("{} {id}", bucket.text())
}

pub(super) fn parse_target(text: &[u8]) -> Result<(Bucket, SessionId), Failure> {
    let impossible = || Failure::impossible("a pointer that leads to no session");
    let space = text.iter().position(|byte| *byte == b' ').ok_or_else(impossible)?;
    let (bucket, id) = text.split_at(space);
    let id = std::str::from_utf8(id).ok().and_then(|id| SessionId::parse(id.trim_start()));
    Ok((Bucket::parse(bucket)?, id.ok_or_else(impossible)?))
}

/// Milliseconds that something which nothing depends on after `over` may still be there: a day longer, for a clock that is
/// set back. Relative, so that Redis's own clock decides nothing.
pub(super) fn ttl(over: OffsetDateTime, now: OffsetDateTime) -> i64 {
    (milliseconds(over) - milliseconds(now)).max(0) + DAY_MS
}

/// A pointer's: longer than that of what it points to, so that a session that is there can be ended by its id.
pub(super) fn pointer_ttl(over: OffsetDateTime, now: OffsetDateTime) -> i64 {
    ttl(over, now) + DAY_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_read_back_and_nothing_else_does() {
        let (bucket, id) = (Bucket(15), SessionId::new([7; 16]));
        assert_eq!(parse_target(target_text(bucket, &id).as_bytes()).unwrap(), (bucket, id.clone()));
        assert_eq!(Bucket::parse(bucket.text().as_bytes()).unwrap(), bucket);
        for bad in ["", "15", "16 ses_0123456789abcdefghjkmnpqrs", "x", "1 ses_", "1 1 1", "-1"] {
            assert!(parse_target(bad.as_bytes()).is_err(), "{bad}");
        }
        for bad in ["", "16", "256", "x"] {
            assert!(Bucket::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    /// A subject that moved to another bucket would have lost its sessions.
    #[test]
    fn a_subject_stays_where_it_is() {
        let of = |name: &str| Bucket::of(&Subject::parse(name).unwrap()).0;
        assert_eq!([of("usr_1"), of("usr_2"), of("usr_3")], [12, 4, 8]);
        let mut used: Vec<u8> = (0..500).map(|number| of(&format!("usr_{number}"))).collect();
        used.sort_unstable();
        used.dedup();
        assert_eq!(used.len(), usize::from(BUCKETS));
    }
}
