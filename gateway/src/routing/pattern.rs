//! Path patterns: literal segments, `{name}` for exactly one segment, `*` at the end for whatever follows.

use std::fmt;

/// A pattern as written in the route file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    segments: Vec<Segment>,
    /// Ends in `*`: one more segment at least, which may be empty.
    open: bool,
    /// Bytes of `text` before the first `{` or `*`.
    prefix: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(String),
    Parameter(String),
}

/// Reserved characters that a literal may hold; their encoded spelling is then refused in requests.
const RESERVED: &[u8] = b"!$&'()+,=:@";

impl Pattern {
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix('/') else { return Err("must begin with `/`".to_owned()) };
        let mut segments = Vec::new();
        let mut open = false;
        let mut parts = rest.split('/').peekable();
        while let Some(part) = parts.next() {
            let last = parts.peek().is_none();
            if part == "*" {
                if !last {
                    return Err("may hold `*` only as its last segment".to_owned());
                }
                open = true;
            } else if let Some(name) = part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
                segments.push(Segment::Parameter(parameter(name, &segments)?));
            } else {
                segments.push(Segment::Literal(literal(part, last)?));
            }
        }
        let prefix = text.find(['{', '*']).unwrap_or(text.len());
        Ok(Self { text: text.to_owned(), segments, open, prefix })
    }

    /// What must stand literally at the front of a path.
    pub fn prefix(&self) -> &str {
        self.text.get(..self.prefix).unwrap_or(&self.text)
    }

    /// Whether it is one path and no other.
    pub fn is_literal(&self) -> bool {
        self.prefix == self.text.len()
    }

    /// For a path that begins with [`Self::prefix`].
    pub fn matches(&self, path: &str) -> bool {
        if self.is_literal() {
            return path.len() == self.prefix;
        }
        let Some(rest) = path.get(self.prefix..) else { return false };
        let literal_segments = self.text.get(1..self.prefix).unwrap_or_default().matches('/').count();
        let mut wanted = self.segments.iter().skip(literal_segments);
        let mut given = rest.split('/');
        loop {
            match (wanted.next(), given.next()) {
                (None, None) => return !self.open,
                (None, Some(_)) => return self.open,
                (Some(_), None) => return false,
                (Some(Segment::Literal(literal)), Some(part)) if literal == part => {}
                (Some(Segment::Literal(_)), Some(_)) => return false,
                (Some(Segment::Parameter(_)), Some(part)) if !part.is_empty() => {}
                (Some(Segment::Parameter(_)), Some(_)) => return false,
            }
        }
    }

    /// The number of the segment that a parameter names.
    pub fn parameter(&self, name: &str) -> Option<usize> {
        self.segments.iter().position(|segment| matches!(segment, Segment::Parameter(own) if own == name))
    }

    /// Whether some path matches both.
    pub fn overlaps(&self, other: &Pattern) -> bool {
        let mut mine = self.segments.iter();
        let mut theirs = other.segments.iter();
        loop {
            match (mine.next(), theirs.next()) {
                (None, None) => return self.open == other.open,
                (None, Some(_)) => return self.open,
                (Some(_), None) => return other.open,
                (Some(Segment::Literal(one)), Some(Segment::Literal(two))) if one != two => return false,
                (Some(Segment::Literal(text)), Some(Segment::Parameter(_)))
                | (Some(Segment::Parameter(_)), Some(Segment::Literal(text)))
                    if text.is_empty() =>
                {
                    return false;
                }
                _ => {}
            }
        }
    }

    /// Reserved characters in literal segments.
    pub fn reserved(&self) -> impl Iterator<Item = u8> {
        self.segments
            .iter()
            .filter_map(|segment| match segment {
                Segment::Literal(text) => Some(text.as_bytes()),
                Segment::Parameter(_) => None,
            })
            .flatten()
            .copied()
            .filter(|byte| RESERVED.contains(byte))
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn parameter(name: &str, before: &[Segment]) -> Result<String, String> {
    let good = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if name.is_empty() || !good {
        return Err(format!("has {{{name}}}: parameter names are lowercase letters, digits and `_`"));
    }
    let again = before.iter().any(|segment| matches!(segment, Segment::Parameter(other) if other == name));
    if again {
        return Err(format!("has {{{name}}} twice"));
    }
    Ok(name.to_owned())
}

fn literal(part: &str, last: bool) -> Result<String, String> {
    if part.is_empty() && !last {
        return Err("has an empty segment; such paths are refused as ambiguous".to_owned());
    }
    if part == "." || part == ".." {
        return Err("has a dot segment; such paths are refused as ambiguous".to_owned());
    }
    if part.contains(['{', '}', '*']) {
        return Err(format!("has {part:?}: `{{name}}` and `*` are whole segments"));
    }
    let good = |byte: u8| super::path::is_unreserved(byte) || RESERVED.contains(&byte);
    if let Some(odd) = part.chars().find(|c| !u8::try_from(*c).is_ok_and(good)) {
        return Err(format!("has {odd:?} in a literal segment; write letters, digits, -._~ or !$&'()+,=:@"));
    }
    Ok(part.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).unwrap()
    }

    #[test]
    fn matching() {
        for (text, yes, no) in [
            ("/a", &["/a"][..], &["/a/", "/ab", "/"][..]),
            ("/a/", &["/a/"], &["/a", "/a/b"]),
            ("/a/*", &["/a/", "/a/b", "/a/b/c/"], &["/a", "/ab"]),
            ("/*", &["/", "/x", "/x/y"], &[]),
            ("/a/{id}", &["/a/1", "/a/%40"], &["/a/", "/a/1/", "/a/1/2"]),
            ("/a/{id}/b", &["/a/1/b"], &["/a/1", "/a//b", "/a/1/c", "/a/1/b/"]),
            ("/a/{x}/{y}/*", &["/a/1/2/", "/a/1/2/3"], &["/a/1/2"]),
        ] {
            let pattern = pattern(text);
            let matches = |path: &str| path.starts_with(pattern.prefix()) && pattern.matches(path);
            for path in yes {
                assert!(matches(path), "{text} {path}");
            }
            for path in no {
                assert!(!matches(path), "{text} {path}");
            }
        }
    }

    #[test]
    fn overlap_is_symmetric_and_true() {
        for (one, two, expected) in [
            ("/a/{x}", "/a/{y}", true),
            ("/a/{x}", "/a/*", true),
            ("/a/{x}/b", "/a/{x}/c", false),
            ("/a/{x}/b", "/a/*", true),
            ("/a/{x}", "/a/{x}/b", false),
            ("/a/", "/a/*", true),
            ("/a/", "/a/{x}", false),
            ("/a", "/a/*", false),
            ("/a", "/a", true),
            ("/*", "/a/{x}", true),
        ] {
            assert_eq!(pattern(one).overlaps(&pattern(two)), expected, "{one} {two}");
            assert_eq!(pattern(two).overlaps(&pattern(one)), expected, "{two} {one}");
        }
    }

    #[test]
    fn refused() {
        for text in [
            "", "a", "/a//b", "/a/./b", "/a/..", "/a/*/b", "/a*", "/{}", "/{A}", "/{a}/{a}", "/x{a}",
            "/a%20b", "/a;b", "/ä", "/a b",
        ] {
            assert!(Pattern::parse(text).is_err(), "{text}");
        }
    }
}
