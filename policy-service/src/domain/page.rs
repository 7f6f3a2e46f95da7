//! Lists are read a page at a time, by the last key seen and not by an offset, so that what is written between two pages
//! neither repeats nor hides an entry.

/// How many entries a page holds when the caller does not say.
const DEFAULT: u32 = 100;
/// The largest page.
const MAX: u32 = 1_000;

/// A page larger than 1,000.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be at most 1,000; 0 means 100")]
pub struct PageSizeInvalid;

/// 1 to 1,000 entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageSize(u32);

/// Which page: entries after a key, in the order of keys.
#[derive(Debug, Clone)]
pub struct Page<K> {
    /// `None`: from the beginning.
    pub after: Option<K>,
    pub size: PageSize,
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice<T> {
    pub entries: Vec<T>,
    /// Whether entries follow the last one here.
    pub more: bool,
}

impl PageSize {
    /// Parses the size that a caller asked for; 0 means 100.
    pub fn parse(asked: u32) -> Result<Self, PageSizeInvalid> {
        match asked {
            0 => Ok(Self(DEFAULT)),
            1..=MAX => Ok(Self(asked)),
            _ => Err(PageSizeInvalid),
        }
    }

    /// Entries.
    pub fn get(self) -> u32 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(PageSize::parse(0).unwrap().get(), 100);
        assert_eq!(PageSize::parse(1).unwrap().get(), 1);
        assert_eq!(PageSize::parse(1_000).unwrap().get(), 1_000);
        assert_eq!(PageSize::parse(1_001), Err(PageSizeInvalid));
    }
}
