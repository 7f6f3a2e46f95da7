//! Paths that can be read in one way only, and queries without tokens (Z02, O21).
//!
//! An application may decode a path before it looks at it, merge slashes, resolve dots or cut parameters off. A path
//! that any of that would change is refused, so that nobody behind the gateway sees another path than the gateway
//! decided on. Of encoded bytes those remain that had to be encoded; a parameter is then what its decoded form is.

use std::borrow::Cow;

/// A path that can be read in two ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ambiguous(pub &'static str);

/// What remains to be judged by a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plain {
    /// There is a `%2F` in it, which only some routes take.
    pub encoded_slash: bool,
}

/// Bytes whose encoded spelling is refused: those that need none, and those that a route spells out.
#[derive(Clone)]
pub struct Spellings([bool; 256]);

impl Default for Spellings {
    fn default() -> Self {
        let mut refused = [false; 256];
        for (byte, entry) in (0..=255_u8).zip(refused.iter_mut()) {
            *entry = is_unreserved(byte);
        }
        Self(refused)
    }
}

impl Spellings {
    pub fn refuse(&mut self, byte: u8) {
        if let Some(entry) = self.0.get_mut(usize::from(byte)) {
            *entry = true;
        }
    }

    fn refuses(&self, byte: u8) -> bool {
        self.0.get(usize::from(byte)).copied().unwrap_or(true)
    }
}

/// RFC 3986 §2.3.
pub(super) fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Judges a path, which begins with `/`.
pub fn check(path: &str, spellings: &Spellings) -> Result<Plain, Ambiguous> {
    let bytes = path.as_bytes();
    let Some(rest) = bytes.strip_prefix(b"/") else {
        return Err(Ambiguous("It does not begin with a slash."));
    };
    let mut encoded = false;
    // The length of the segment so far, and whether it holds nothing but dots.
    let (mut length, mut dots) = (0_usize, true);
    for byte in rest {
        match byte {
            b'/' => {
                if length == 0 {
                    return Err(Ambiguous("It has an empty segment."));
                }
                if dots && length <= 2 {
                    return Err(Ambiguous("It has a dot segment."));
                }
                (length, dots) = (0, true);
                continue;
            }
            b'.' => {}
            b'%' => {
                encoded = true;
                dots = false;
            }
            b'\\' => return Err(Ambiguous("It has a backslash.")),
            b';' => return Err(Ambiguous("It has a semicolon.")),
            b'"' | b'<' | b'>' | 0..=0x20 | 0x7f.. => {
                return Err(Ambiguous("It has a character that must be encoded."));
            }
            _ => dots = false,
        }
        length += 1;
    }
    if dots && (length == 1 || length == 2) {
        return Err(Ambiguous("It has a dot segment."));
    }
    if encoded { check_encoded(bytes, spellings) } else { Ok(Plain { encoded_slash: false }) }
}

fn check_encoded(bytes: &[u8], spellings: &Spellings) -> Result<Plain, Ambiguous> {
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut plain = Plain { encoded_slash: false };
    let mut rest = bytes;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'%' {
            decoded.push(*byte);
            continue;
        }
        let Some((value, after)) = escape(rest) else {
            return Err(Ambiguous("It has a percent sign that encodes nothing."));
        };
        rest = after;
        match value {
            b'/' => plain.encoded_slash = true,
            b'\\' | b';' => return Err(Ambiguous("It has an encoded separator.")),
            0..=0x1f | 0x7f => return Err(Ambiguous("It has an encoded control character.")),
            b'%' if escape(rest).is_some() => return Err(Ambiguous("It is encoded twice.")),
            _ if spellings.refuses(value) => {
                return Err(Ambiguous("It encodes a character that needs no encoding."));
            }
            _ => {}
        }
        decoded.push(value);
    }
    // Overlong forms are not UTF-8.
    if std::str::from_utf8(&decoded).is_err() {
        return Err(Ambiguous("It encodes bytes that are not UTF-8."));
    }
    Ok(plain)
}

fn escape(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let [high, low, rest @ ..] = bytes else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some((digit(*high)? * 16 + digit(*low)?, rest))
}

/// The decoded form of a segment of a path that was checked.
pub fn decode(segment: &str) -> Cow<'_, str> {
    if !segment.contains('%') {
        return Cow::Borrowed(segment);
    }
    String::from_utf8_lossy(&decode_bytes(segment.as_bytes())).into_owned().into()
}

fn decode_bytes(bytes: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match escape(rest) {
            Some((value, after)) if *byte == b'%' => {
                decoded.push(value);
                rest = after;
            }
            _ => decoded.push(*byte),
        }
    }
    decoded
}

/// Segment number `index` of a path.
pub fn segment(path: &str, index: usize) -> Option<&str> {
    path.strip_prefix('/')?.split('/').nth(index)
}

/// Whether a query names an access token, in any spelling of the name (O21).
pub fn has_token(query: &str) -> bool {
    query.split(['&', ';']).any(|pair| {
        let name = pair.split('=').next().unwrap_or(pair).as_bytes();
        if name.contains(&b'%') {
            decode_bytes(name).eq_ignore_ascii_case(b"access_token")
        } else {
            name.eq_ignore_ascii_case(b"access_token")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn z02_one_reading_only() {
        let mut spellings = Spellings::default();
        spellings.refuse(b'@');
        let ambiguous = |path: &str| check(path, &spellings).is_err();
        for path in [
            "/",
            "/a",
            "/a/",
            "/a/b.c",
            "/a/...",
            "/a/.b",
            "/a/..b",
            "/a%20b",
            "/caf%C3%A9",
            "/a%3Ab",
            "/100%25",
            "/a,b=c",
            "/%7B%7D",
        ] {
            assert!(!ambiguous(path), "{path}");
        }
        for path in [
            "//",
            "/a//b",
            "/a//",
            "/./a",
            "/a/.",
            "/a/./b",
            "/..",
            "/a/../b",
            "/a/..",
            "/%2e/a",
            "/%2E%2e/a",
            "/.%2e/a",
            "/a\\b",
            "/a%5Cb",
            "/a;x",
            "/a;x/b",
            "/a%3bx",
            "/a%00",
            "/a%0a",
            "/a%7f",
            "/a%",
            "/a%2",
            "/a%zz",
            "/a%c0%af",
            "/a%c0%ae",
            "/a%e0%80%af",
            "/%ff",
            "/%61dmin",
            "/a%2Db",
            "/a%5f",
            "/a%7e",
            "/a%40b",
            "/a%252e",
            "/a%2541",
            "",
            "a",
            "/a\"",
            "/a b",
        ] {
            assert!(ambiguous(path), "{path}");
        }
        assert_eq!(check("/a%2Fb", &spellings), Ok(Plain { encoded_slash: true }));
        assert_eq!(check("/a%2fb", &spellings), Ok(Plain { encoded_slash: true }));
    }

    #[test]
    fn o21_tokens_in_queries() {
        for query in [
            "access_token=x",
            "a=b&access_token=x",
            "access_token",
            "Access_Token=x",
            "access%5Ftoken=x",
            "a;access_token=1",
        ] {
            assert!(has_token(query), "{query}");
        }
        for query in ["", "a=access_token", "access_tokens=x", "x_access_token=1", "token=1"] {
            assert!(!has_token(query), "{query}");
        }
    }

    #[test]
    fn decoding() {
        assert_eq!(decode("a%40b%2Fc"), "a@b/c");
        assert_eq!(segment("/app/documents/42", 2), Some("42"));
    }
}
