//! A password as a user typed it, and the rules for choosing one.
//!
//! One stated normalisation: NFC, applied once in [`Password::parse`], so that setting and checking cannot differ
//! (a person's keyboards may compose `é` differently). Nothing is trimmed, cut off or folded, every character counts,
//! and there is no rule about which characters to use and none about age (NIST SP 800-63B-4 §3.1.1.2).

use std::fmt;

use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

use super::blocklist::{self, Weakness};

/// The longest password accepted, in bytes of UTF-8 as sent. Longer ones are refused before anything is hashed.
pub const MAX_BYTES: usize = 4_096;

/// A password in NFC. Wiped when dropped, never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Zeroizing<String>);

/// More than [`MAX_BYTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a password has at most {MAX_BYTES} bytes")]
pub struct PasswordTooLong;

impl Password {
    pub fn parse(text: &str) -> Result<Self, PasswordTooLong> {
        if text.len() > MAX_BYTES {
            return Err(PasswordTooLong);
        }
        // Sized beforehand: a growing string would leave unwiped copies behind. No NFC is longer than three times its source.
        let mut normal = Zeroizing::new(String::with_capacity(3 * text.len()));
        normal.extend(text.nfc());
        Ok(Self(normal))
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// What a new password must be.
#[derive(Clone, Debug)]
pub struct PasswordRules {
    /// In code points.
    pub min_characters: usize,
    /// Names that attackers try first: the product's, the organisation's. The username is added to them.
    pub context_words: Vec<String>,
}

/// Why a password may not be chosen. The text is for the person who chose it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordRefused {
    #[error(
        "the password is too short: use at least {min_characters} characters, for instance four words that do not belong together"
    )]
    TooShort { min_characters: usize },
    #[error(transparent)]
    TooLong(#[from] PasswordTooLong),
    #[error(transparent)]
    Weak(#[from] Weakness),
    /// Where the present one was chosen by somebody else.
    #[error("the new password must differ from the present one")]
    Unchanged,
}

impl PasswordRules {
    /// Whether the password may be chosen by the user of that name.
    pub fn judge(&self, password: &Password, username: &str) -> Result<(), PasswordRefused> {
        if password.0.chars().nth(self.min_characters.saturating_sub(1)).is_none() {
            return Err(PasswordRefused::TooShort { min_characters: self.min_characters });
        }
        let mut context: Vec<&str> = self.context_words.iter().map(String::as_str).collect();
        context.push(username);
        match blocklist::weakness(&password.0, &context) {
            Some(weakness) => Err(weakness.into()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> PasswordRules {
        PasswordRules { min_characters: 15, context_words: vec!["latchkey".into()] }
    }

    fn judge(text: &str) -> Result<(), PasswordRefused> {
        rules().judge(&Password::parse(text).unwrap(), "alice")
    }

    /// Characters that repeat nothing, of any length.
    fn varied(length: usize) -> String {
        let mut state = 1_u32;
        (0..length)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                char::from(b'a' + u8::try_from((state >> 16) % 26).unwrap())
            })
            .collect()
    }

    #[test]
    fn p01_lengths_count_code_points() {
        assert_eq!(judge(&varied(14)), Err(PasswordRefused::TooShort { min_characters: 15 }));
        for length in [15, 64, 128, 1_000] {
            assert_eq!(judge(&varied(length)), Ok(()), "{length}");
        }
        assert!(judge("🦜🌋🪁🎻🧭🪵🦔🧊🛶🎈🔭🍋🪨🐙🎷").is_ok(), "15 code points, 60 bytes");
        assert!(Password::parse(&"é".repeat(2_048)).is_ok());
        assert_eq!(Password::parse(&"é".repeat(2_049)), Err(PasswordTooLong));
    }

    #[test]
    fn p02_any_characters_in_one_normal_form() {
        for text in [
            "all lower case without digits",
            "ОЧЕНЬ длинная фраза про снег",
            "       lots of spaces kept       ",
            "nul \0 and tab \t and bell \u{7}",
        ] {
            assert_eq!(judge(text), Ok(()), "{text:?}");
        }
        let composed = Password::parse("caf\u{e9} on the corner").unwrap();
        let decomposed = Password::parse("cafe\u{301} on the corner").unwrap();
        assert_eq!(composed.as_bytes(), decomposed.as_bytes());
        assert_ne!(Password::parse("padded ").unwrap(), Password::parse("padded").unwrap());
        assert_ne!(Password::parse("Case").unwrap(), Password::parse("case").unwrap());
    }
}
