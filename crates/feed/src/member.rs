//! Who serves: one durable row for each life of each replica process.

use std::{fmt, str::FromStr, time::Duration};

use crate::change::Tag;

/// 128 random bits, drawn once when a process starts. Everything that must differ between two lives derives from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Life(pub u128);

impl Life {
    /// The `index`-th tag of this life: as good as random, and another one in every life (SplitMix64).
    pub(crate) fn tag(self, index: u64) -> Tag {
        let folded = (self.0 >> 64) as u64 ^ self.0 as u64;
        let mut bits = folded.wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Tag(bits ^ (bits >> 31))
    }
}

/// A membership: never used by two processes, nor again by the same one once it was fenced, nor for a second attempt to register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId {
    pub life: Life,
    pub registration: u32,
}

impl fmt::Display for MemberId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}.{}", self.life.0, self.registration)
    }
}

/// It is not what [`MemberId`]'s `Display` writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the id of a member")]
pub struct InvalidMemberId;

impl FromStr for MemberId {
    type Err = InvalidMemberId;

    fn from_str(text: &str) -> Result<Self, InvalidMemberId> {
        let (life, registration) = text.split_once('.').ok_or(InvalidMemberId)?;
        let life = u128::from_str_radix(life, 16).map_err(|_| InvalidMemberId)?;
        let registration = registration.parse().map_err(|_| InvalidMemberId)?;
        let id = Self { life: Life(life), registration };
        // One spelling for one id: it is a primary key.
        if id.to_string() == text { Ok(id) } else { Err(InvalidMemberId) }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub id: MemberId,
    /// Where its peers reach it.
    pub address: String,
    /// How long the leases are that it grants. Members may differ.
    pub lease: Duration,
    /// A fenced member's beats fail, for ever.
    pub fenced: bool,
}
