//! Pages of a list: by position after the last session seen, so that nothing is skipped or repeated when others come and go.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use time::OffsetDateTime;

use super::SessionId;

/// How many sessions a page may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageSize(u32);

impl PageSize {
    pub const MOST: u32 = 1_000;
    const DEFAULT: u32 = 100;

    /// 0 is the default of 100; `None` above 1,000.
    pub fn parse(size: u32) -> Option<PageSize> {
        match size {
            0 => Some(PageSize(Self::DEFAULT)),
            1..=Self::MOST => Some(PageSize(size)),
            _ => None,
        }
    }

    pub fn get(self) -> u32 {
        self.0
    }
}

/// The last session of a page. Lists run from the youngest session to the oldest, and by id where two are equally old.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub created_at: OffsetDateTime,
    pub id: SessionId,
}

impl Cursor {
    /// An opaque token. It is no credential: who may list may list from anywhere.
    pub fn to_token(&self) -> String {
        let milliseconds = self.created_at.unix_timestamp_nanos() / 1_000_000;
        URL_SAFE_NO_PAD.encode(format!("{milliseconds}.{}", self.id))
    }

    /// `None` for what [`Cursor::to_token`] did not make.
    pub fn parse(token: &str) -> Option<Cursor> {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
        let (milliseconds, id) = text.split_once('.')?;
        let milliseconds: i64 = milliseconds.parse().ok()?;
        let created_at =
            OffsetDateTime::from_unix_timestamp_nanos(i128::from(milliseconds) * 1_000_000).ok()?;
        Some(Cursor { created_at, id: SessionId::parse(id)? })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(PageSize::parse(0).unwrap().get(), 100);
        assert_eq!(PageSize::parse(1).unwrap().get(), 1);
        assert_eq!(PageSize::parse(1_000).unwrap().get(), 1_000);
        assert!(PageSize::parse(1_001).is_none());
    }

    proptest! {
        #[test]
        fn a_cursor_reads_back(milliseconds in 0_i64..253_402_300_799_000) {
            let cursor = Cursor {
                created_at: OffsetDateTime::from_unix_timestamp_nanos(i128::from(milliseconds) * 1_000_000).unwrap(),
                id: SessionId::parse("ses_0123456789abcdefghjkmnpqrs").unwrap(),
            };
            prop_assert_eq!(Cursor::parse(&cursor.to_token()), Some(cursor));
        }

        #[test]
        fn nothing_that_a_caller_writes_breaks_it(token: String) {
            let _ = Cursor::parse(&token);
        }
    }
}
