//! One thing that an application protects, written `document/42`. Latchkey stores no resources: it only compares them.

use std::fmt;

use super::permission::is_word;

/// A resource that is not spelled as one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResourceInvalid {
    /// The kind is not `[a-z][a-z0-9_-]{0,62}`.
    #[error("the kind must be 1 to 63 characters of a-z, 0-9, '_' and '-', beginning with a letter")]
    Kind,
    /// The id is empty, longer than 256 bytes, or holds a control character, which no log line could show.
    #[error("the id must be 1 to 256 bytes without control characters")]
    Id,
}

/// A kind and an id; the id's spelling is the application's own and is compared byte for byte.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource {
    kind: Box<str>,
    id: Box<str>,
}

impl Resource {
    /// Parses both parts; nothing is trimmed, folded or normalised.
    pub fn parse(kind: &str, id: &str) -> Result<Self, ResourceInvalid> {
        if !is_word(kind) {
            return Err(ResourceInvalid::Kind);
        }
        if id.is_empty() || id.len() > 256 || id.chars().any(char::is_control) {
            return Err(ResourceInvalid::Id);
        }
        Ok(Self { kind: kind.into(), id: id.into() })
    }

    /// Such as `document`.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Such as `42`.
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings() {
        let longest = "é".repeat(128);
        for (kind, id) in [("document", "42"), ("d", "a/b c"), ("a-b_2", "Ünïcode ✓"), ("document", &longest)]
        {
            let resource = Resource::parse(kind, id).unwrap();
            assert_eq!((resource.kind(), resource.id()), (kind, id));
        }
        let too_long = format!("{longest}x");
        for (kind, id, wrong) in [
            ("", "42", ResourceInvalid::Kind),
            ("Document", "42", ResourceInvalid::Kind),
            ("document/x", "42", ResourceInvalid::Kind),
            ("2d", "42", ResourceInvalid::Kind),
            ("document", "", ResourceInvalid::Id),
            ("document", "a\0b", ResourceInvalid::Id),
            ("document", "a\nb", ResourceInvalid::Id),
            ("document", &too_long, ResourceInvalid::Id),
        ] {
            assert_eq!(Resource::parse(kind, id), Err(wrong), "{kind:?} {id:?}");
        }
    }
}
