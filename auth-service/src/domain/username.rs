//! How a user is called. What the user typed is kept; uniqueness and look-up go by a folded key.
//!
//! The key is NFC of the case-folded NFC form, so that `Ǆ`, `José` in either composition and `STRASSE` / `straße` are one
//! name each. Folding is lower-casing, upper-casing and lower-casing again, character by character: without a table of
//! its own it joins what full case folding joins (`ẞ`, `ß` and `ss`, the three sigmas) and does not depend on a locale.
//! Lower-casing comes first because `ẞ` is its own upper case.

use unicode_normalization::UnicodeNormalization;

use super::id;

/// The longest username, in characters.
pub const MAX_CHARACTERS: usize = 64;

/// A username as shown (NFC), with the key by which it is unique.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Username {
    shown: String,
    key: String,
}

/// Why a text is no username.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsernameRefused {
    #[error("a username has 1 to 64 characters")]
    Length,
    #[error("a username has no control, formatting or invisible characters")]
    Control,
    #[error("a username neither begins nor ends with white space")]
    Padding,
    #[error("a username does not have the form of an id")]
    Id,
}

impl Username {
    pub fn parse(text: &str) -> Result<Self, UsernameRefused> {
        // Before normalising, so that the work is bounded whatever was sent: no character has a longer NFC form than 4.
        if text.chars().nth(4 * MAX_CHARACTERS).is_some() {
            return Err(UsernameRefused::Length);
        }
        let shown: String = text.nfc().collect();
        if shown.is_empty() || shown.chars().count() > MAX_CHARACTERS {
            return Err(UsernameRefused::Length);
        }
        if shown.chars().any(is_invisible) {
            return Err(UsernameRefused::Control);
        }
        if shown.trim().len() != shown.len() {
            return Err(UsernameRefused::Padding);
        }
        if id::looks_like_an_id(&shown) {
            return Err(UsernameRefused::Id);
        }
        let key = fold(&shown);
        Ok(Self { shown, key })
    }

    /// As the user wrote it, in NFC.
    pub fn as_str(&self) -> &str {
        &self.shown
    }

    /// What is unique.
    pub fn key(&self) -> &str {
        &self.key
    }
}

/// Without regard to case and composition.
pub fn fold(text: &str) -> String {
    text.nfc()
        .flat_map(char::to_lowercase)
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .nfc()
        .collect()
}

/// Controls, and the formatting characters with which one name could be made to look like another.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_name_in_all_its_spellings() {
        for (a, b) in [
            ("alice", "ALICE"),
            ("José", "JOSE\u{301}"),
            ("straße", "STRASSE"),
            ("straße", "STRA\u{1e9e}E"),
            ("ΣΊΣΥΦΟΣ", "σίσυφος"),
            ("ŉ", "ŉ"),
        ] {
            let (a, b) = (Username::parse(a).unwrap(), Username::parse(b).unwrap());
            assert_eq!(a.key(), b.key(), "{a:?} {b:?}");
        }
        assert_ne!(Username::parse("alice").unwrap().key(), Username::parse("alicé").unwrap().key());
    }

    #[test]
    fn refused() {
        use UsernameRefused::*;
        let long = "x".repeat(65);
        let very_long = "x".repeat(1_000_000);
        for (text, why) in [
            ("", Length),
            (long.as_str(), Length),
            (very_long.as_str(), Length),
            ("a\nb", Control),
            ("a\u{0}b", Control),
            ("a\u{200b}b", Control),
            ("\u{202e}admin", Control),
            (" alice", Padding),
            ("alice\u{3000}", Padding),
            ("usr_0123456789abcdefghjkmnpqrs", Id),
            ("first-party", Id),
        ] {
            assert_eq!(Username::parse(text).unwrap_err(), why, "{text:.20}");
        }
        assert!(Username::parse(&"é".repeat(64)).is_ok());
        assert!(Username::parse(&"e\u{301}".repeat(64)).is_ok(), "counted after composition");
    }

    #[test]
    fn no_character_differs_from_itself_in_another_case() {
        // Planes 0 and 1 have every character that has a case.
        for c in '\0'..='\u{1ffff}' {
            let key = fold(&c.to_string());
            for other in [key.clone(), c.to_lowercase().collect(), c.to_uppercase().collect()] {
                assert_eq!(fold(&other), key, "U+{:04X} and {other:?}", u32::from(c));
            }
        }
    }

    proptest! {
        #[test]
        fn folding_twice_is_folding_once(text in "\\PC{0,40}") {
            let once = fold(&text);
            prop_assert_eq!(fold(&once), once.clone());
        }

        #[test]
        fn parsing_what_is_shown_changes_nothing(text in "\\PC{1,40}") {
            if let Ok(name) = Username::parse(&text) {
                prop_assert_eq!(Username::parse(name.as_str()).unwrap(), name);
            }
        }
    }
}
