//! What an application may keep on a session: few bytes, replaced as a whole by compare-and-set.

use std::collections::BTreeMap;
use std::fmt;

use thiserror::Error;

/// Names and values together.
pub const MOST_ATTRIBUTE_BYTES: usize = 4_096;

/// Named bytes within their bound.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Attributes(BTreeMap<String, Vec<u8>>);

/// Why attributes are not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AttributesRefused {
    #[error("attributes may have at most {MOST_ATTRIBUTE_BYTES} bytes, names and values together")]
    TooLarge,
    #[error("an attribute needs a name")]
    NameEmpty,
}

impl Attributes {
    pub fn new(entries: BTreeMap<String, Vec<u8>>) -> Result<Attributes, AttributesRefused> {
        let bytes: usize = entries.iter().map(|(name, value)| name.len().saturating_add(value.len())).sum();
        if bytes > MOST_ATTRIBUTE_BYTES {
            return Err(AttributesRefused::TooLarge);
        }
        if entries.contains_key("") {
            return Err(AttributesRefused::NameEmpty);
        }
        Ok(Attributes(entries))
    }

    pub fn entries(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.0
    }

    pub fn into_entries(self) -> BTreeMap<String, Vec<u8>> {
        self.0
    }
}

/// An application's data is its own: only how much there is gets printed.
impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Attributes({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(entries: &[(&str, usize)]) -> Result<Attributes, AttributesRefused> {
        Attributes::new(entries.iter().map(|(name, length)| ((*name).to_owned(), vec![0; *length])).collect())
    }

    #[test]
    fn names_and_values_count_together() {
        assert!(of(&[]).is_ok());
        assert!(of(&[("ab", 4_094)]).is_ok());
        assert!(of(&[("ab", 2_046), ("cd", 2_046)]).is_ok());
        assert_eq!(of(&[("ab", 4_095)]).unwrap_err(), AttributesRefused::TooLarge);
        assert_eq!(of(&[("ab", 2_047), ("cd", 2_046)]).unwrap_err(), AttributesRefused::TooLarge);
        assert_eq!(of(&[("", 1)]).unwrap_err(), AttributesRefused::NameEmpty);
    }

    #[test]
    fn values_are_not_printed() {
        assert_eq!(format!("{:?}", of(&[("cart", 3)]).unwrap()), "Attributes(1)");
    }
}
