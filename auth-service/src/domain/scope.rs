//! OAuth scopes (RFC 6749 §3.3): a set of case-sensitive words.

use std::{collections::BTreeSet, fmt};

/// Most words that one set may have, and the longest word: what a client asks for ends up in a token.
const MAX_WORDS: usize = 64;
const MAX_WORD: usize = 64;

/// A set of scopes. Written with one space between two words, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope(BTreeSet<String>);

/// The text is no list of scopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a scope is up to 64 words of visible ASCII characters without \" and \\, one space between two")]
pub struct ScopeInvalid;

impl Scope {
    /// Space separated; the empty text is the empty set.
    pub fn parse(text: &str) -> Result<Self, ScopeInvalid> {
        if text.is_empty() { Ok(Self::default()) } else { Self::of(text.split(' ')) }
    }

    /// From single words.
    pub fn of<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, ScopeInvalid> {
        let mut set = BTreeSet::new();
        for word in words {
            if !is_word(word) || set.len() == MAX_WORDS {
                return Err(ScopeInvalid);
            }
            set.insert(word.to_owned());
        }
        Ok(Self(set))
    }

    pub fn is_within(&self, granted: &Self) -> bool {
        self.0.is_subset(&granted.0)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, word) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(" ")?;
            }
            f.write_str(word)?;
        }
        Ok(())
    }
}

/// `scope-token = 1*( %x21 / %x23-5B / %x5D-7E )`
fn is_word(word: &str) -> bool {
    (1..=MAX_WORD).contains(&word.len())
        && word.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets() {
        let granted = Scope::parse("write read").unwrap();
        assert_eq!(granted.to_string(), "read write");
        assert!(Scope::parse("read").unwrap().is_within(&granted));
        assert!(Scope::parse("").unwrap().is_within(&granted));
        assert!(!Scope::parse("read admin").unwrap().is_within(&granted));
        assert!(!Scope::parse("READ").unwrap().is_within(&granted), "case matters");
    }

    #[test]
    fn invalid() {
        for text in [" ", "a  b", " a", "a ", "a\tb", "a\"b", "a\\b", "é", &"x".repeat(65)] {
            assert_eq!(Scope::parse(text), Err(ScopeInvalid), "{text:?}");
        }
    }
}
