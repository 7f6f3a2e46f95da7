//! The public names of a session and of whom it acts for. Neither is a credential: a session is reached by its secret
//! ([`super::SessionSecret`]), and no conversion exists between the two.

use std::fmt;

use super::Shard;

/// `ses_` and 26 lowercase Crockford base32 characters, as text. Public: lists, URLs, claim `sid`, logs.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId([u8; SessionId::LENGTH]);

impl SessionId {
    pub const RANDOM_BYTES: usize = 16;
    const PREFIX: &'static str = "ses_";
    const CHARACTERS: usize = 26;
    /// All of them.
    pub const LENGTH: usize = Self::PREFIX.len() + Self::CHARACTERS;
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

    /// Of random bytes, so that ids tell neither age nor number. The lowest bits are those of the shard.
    pub fn new(shard: Shard, random: [u8; SessionId::RANDOM_BYTES]) -> SessionId {
        let bits = u128::from_be_bytes(random);
        let bits = bits - bits % u128::from(Shard::COUNT) + u128::from(shard.number());
        let digit = |place: usize| Self::ALPHABET.get((bits >> (place * 5)) as usize & 31);
        let digits = (0..Self::CHARACTERS).rev().filter_map(digit);
        let mut text = [0; Self::LENGTH];
        for (to, from) in text.iter_mut().zip(Self::PREFIX.as_bytes().iter().chain(digits)) {
            *to = *from;
        }
        SessionId(text)
    }

    /// `None` for anything that no session can be called.
    pub fn parse(text: &str) -> Option<SessionId> {
        let rest = text.strip_prefix(Self::PREFIX)?;
        let well_formed = rest.len() == Self::CHARACTERS
            && rest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'h' | b'j' | b'k' | b'm' | b'n' | b'p'..=b't' | b'v'..=b'z'));
        well_formed.then_some(SessionId(text.as_bytes().try_into().ok()?))
    }

    /// Where the session is, if there is one.
    pub fn shard(&self) -> Shard {
        let value = Self::ALPHABET.iter().position(|digit| Some(digit) == self.0.last());
        Shard::of_bits(value.and_then(|value| u8::try_from(value).ok()).unwrap_or(0))
    }

    pub fn as_str(&self) -> &str {
        // It is ASCII.
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whom a session acts for: auth-service's id of a user, taken as it stands in the login proof.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subject(String);

impl Subject {
    const MOST_BYTES: usize = 128;

    /// `None` when empty, too long, or not printable ASCII.
    pub fn parse(text: &str) -> Option<Subject> {
        let well_formed = !text.is_empty()
            && text.len() <= Self::MOST_BYTES
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        well_formed.then(|| Subject(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_id_is_one() {
        let [first, .., last] = Vec::from_iter(Shard::all())[..] else { panic!() };
        assert_eq!(SessionId::new(last, [0xff; 16]).as_str(), "ses_7zzzzzzzzzzzzzzzzzzzzzzzzz");
        assert_eq!(SessionId::new(first, [0; 16]).as_str(), "ses_00000000000000000000000000");
        for shard in Shard::all() {
            let id = SessionId::new(shard, std::array::from_fn(|position| position as u8 * 17));
            assert_eq!(id.shard(), shard);
            assert_eq!(id.as_str().len(), SessionId::LENGTH);
            assert_eq!(SessionId::parse(id.as_str()), Some(id));
        }
    }

    #[test]
    fn an_id_is_its_prefix_and_26_characters() {
        assert!(SessionId::parse("ses_0123456789abcdefghjkmnpqrs").is_some());
        for bad in [
            "",
            "ses_",
            "ses_0123456789abcdefghjkmnpqr",
            "ses_0123456789abcdefghjkmnpqrst",
            "fam_0123456789abcdefghjkmnpqrs",
            "ses_0123456789ABCDEFGHJKMNPQRS",
            "ses_0123456789abcdefghilmnpqrs",
            "ses_0123456789abcdefghjkmnpqr/",
            "ses_0123456789abcdefghjkmnpqé",
        ] {
            assert!(SessionId::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_subject_is_short_printable_text() {
        assert!(Subject::parse("usr_1").is_some());
        assert!(Subject::parse(&"u".repeat(128)).is_some());
        for bad in ["", "a b", "a\n", "é", &"u".repeat(129)] {
            assert!(Subject::parse(bad).is_none(), "{bad:?}");
        }
    }
}
