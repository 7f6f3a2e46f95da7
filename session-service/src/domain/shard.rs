//! Sessions are kept in parts, all of one subject's together. An id and a secret tell theirs, so that a store which is made
//! of parts needs no directory.

use aws_lc_rs::digest;

use super::Subject;

/// One of [`Shard::COUNT`] parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shard(u8);

impl Shard {
    /// Never changed: it decides where everything is. It takes four of the random bits of an id and of a secret.
    pub const COUNT: u8 = 16;

    /// Where a subject's sessions are.
    pub fn of(subject: &Subject) -> Shard {
        let hashed = digest::digest(&digest::SHA256, subject.as_str().as_bytes());
        hashed.as_ref().first().map_or(Shard(0), |byte| Shard::of_bits(*byte))
    }

    pub fn all() -> impl Iterator<Item = Shard> {
        (0..Self::COUNT).map(Shard)
    }

    /// Below [`Shard::COUNT`].
    pub fn number(self) -> u8 {
        self.0
    }

    /// From the lowest bits.
    pub(super) fn of_bits(byte: u8) -> Shard {
        Shard(byte % Self::COUNT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A subject that moved to another shard would have lost its sessions.
    #[test]
    fn a_subject_stays_where_it_is() {
        let of = |name: &str| Shard::of(&Subject::parse(name).unwrap()).number();
        assert_eq!([of("usr_1"), of("usr_2"), of("usr_3")], [12, 4, 8]);
        let mut used: Vec<u8> = (0..500).map(|number| of(&format!("usr_{number}"))).collect();
        used.sort_unstable();
        used.dedup();
        assert_eq!(used.len(), Shard::all().count());
    }
}
