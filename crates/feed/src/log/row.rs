//! Rows, and what no version of this program writes into them.

use std::time::Duration;

use crate::{
    change::{Change, Entry, Position, Tag, Target, What},
    log::LogUnavailable,
    member::Member,
    time::Wall,
};

#[derive(Debug, thiserror::Error)]
#[error("the log holds an impossible {0}")]
pub(super) struct Corrupt(&'static str);

#[derive(sqlx::FromRow)]
pub(super) struct EntryRow {
    pub(super) n: i64,
    pub(super) tag: i64,
    pub(super) what: String,
    pub(super) key: String,
    pub(super) min: Option<i64>,
    pub(super) spared: Option<String>,
    pub(super) until: i64,
}

impl TryFrom<EntryRow> for Entry {
    type Error = Corrupt;

    fn try_from(row: EntryRow) -> Result<Self, Corrupt> {
        let EntryRow { n, tag, what, key, min, spared, until } = row;
        let number = n.try_into().map_err(|_| Corrupt("number"))?;
        let what = What::named(&what).ok_or(Corrupt("kind of change"))?;
        let min = min.map(u64::try_from).transpose().map_err(|_| Corrupt("generation"))?;
        let until = until.try_into().map_err(|_| Corrupt("age"))?;
        Ok(Self {
            position: Position { number, tag: Tag::from(tag) },
            change: Change {
                target: Target::new(what, key),
                min,
                except: spared.map(Into::into),
                until: Wall::from_unix_millis(until),
            },
        })
    }
}

/// Of a number and a tag.
pub(super) fn position((number, tag): (i64, i64)) -> Result<Position, LogUnavailable> {
    let number = number.try_into().map_err(|_| LogUnavailable::new(Corrupt("number")))?;
    Ok(Position { number, tag: Tag(tag.cast_unsigned()) })
}

#[derive(sqlx::FromRow)]
pub(super) struct MemberRow {
    id: String,
    address: String,
    lease_ms: i64,
    fenced: bool,
}

impl TryFrom<MemberRow> for Member {
    type Error = Corrupt;

    fn try_from(row: MemberRow) -> Result<Self, Corrupt> {
        let MemberRow { id, address, lease_ms, fenced } = row;
        let lease = lease_ms.try_into().map_err(|_| Corrupt("lease"))?;
        let id = id.parse().map_err(|_| Corrupt("member"))?;
        Ok(Self { id, address, lease: Duration::from_millis(lease), fenced })
    }
}

impl From<i64> for Tag {
    fn from(bits: i64) -> Self {
        Self(bits.cast_unsigned())
    }
}

/// A database's integers are signed.
pub(super) fn signed(number: impl TryInto<i64>) -> Result<i64, LogUnavailable> {
    number.try_into().map_err(|_| LogUnavailable::new("a number that the database cannot hold"))
}
