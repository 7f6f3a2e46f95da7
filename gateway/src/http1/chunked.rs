//! Where a chunked body ends (RFC 9112 §7.1), stricter than hyper about how it gets there.

use super::head::is_token;
use super::{HEAD_BYTES, HEAD_FIELDS};

/// A place in a chunked body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunked {
    at: At,
    /// Bytes of extensions and trailers so far: they buy an attacker nothing.
    extra: usize,
    trailers: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Size { value: u64, digits: u8 },
    Extension { value: u64 },
    SizeLineFeed { value: u64 },
    Data { left: u64 },
    DataReturn,
    DataLineFeed,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLineFeed,
    EndLineFeed,
}

/// What was found in the bytes given.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// All of them belong to the body, and it goes on.
    More,
    /// The body ends before this offset.
    End(usize),
    /// From this offset on it is not a chunked body.
    Broken(usize),
}

impl Chunked {
    pub(super) fn new() -> Self {
        Self { at: At::Size { value: 0, digits: 0 }, extra: 0, trailers: 0 }
    }

    pub(super) fn read(&mut self, bytes: &[u8]) -> Found {
        let mut offset = 0;
        while let Some(byte) = bytes.get(offset) {
            if let At::Data { left } = self.at {
                let here = (bytes.len() - offset) as u64;
                if left > here {
                    self.at = At::Data { left: left - here };
                    return Found::More;
                }
                // At most `here`, so it fits.
                offset += usize::try_from(left).unwrap_or(0);
                self.at = At::DataReturn;
                continue;
            }
            if self.at == At::EndLineFeed && *byte == b'\n' {
                return Found::End(offset + 1);
            }
            match self.step(*byte) {
                Some(at) => self.at = at,
                None => return Found::Broken(offset),
            }
            offset += 1;
        }
        Found::More
    }

    fn step(&mut self, byte: u8) -> Option<At> {
        let at = match (self.at, byte) {
            (At::Size { value, digits }, _) if byte.is_ascii_hexdigit() && digits < 15 => {
                let digit = char::from(byte).to_digit(16).unwrap_or(0);
                At::Size { value: value * 16 + u64::from(digit), digits: digits + 1 }
            }
            (At::Size { value, digits: 1.. }, b'\r') => At::SizeLineFeed { value },
            // Nobody uses extensions; they are skipped and not passed on.
            (At::Size { value, digits: 1.. }, b';') => At::Extension { value },
            (At::Extension { value }, b'\r') => At::SizeLineFeed { value },
            (At::Extension { value }, b'\t' | b' '..=b'~') => {
                self.count()?;
                At::Extension { value }
            }
            (At::SizeLineFeed { value: 0 }, b'\n') => At::TrailerStart,
            (At::SizeLineFeed { value }, b'\n') => At::Data { left: value },
            (At::DataReturn, b'\r') => At::DataLineFeed,
            (At::DataLineFeed, b'\n') => At::Size { value: 0, digits: 0 },
            (At::TrailerStart, b'\r') => At::EndLineFeed,
            (At::TrailerStart, _) if is_token(byte) => {
                self.trailers += 1;
                self.count()?;
                At::TrailerName
            }
            (At::TrailerName, b':') => At::TrailerValue,
            (At::TrailerName, _) if is_token(byte) => {
                self.count()?;
                At::TrailerName
            }
            (At::TrailerValue, b'\r') => At::TrailerLineFeed,
            (At::TrailerValue, b'\t' | b' '..=b'~' | 0x80..) => {
                self.count()?;
                At::TrailerValue
            }
            (At::TrailerLineFeed, b'\n') => At::TrailerStart,
            _ => return None,
        };
        Some(at)
    }

    fn count(&mut self) -> Option<()> {
        self.extra += 1;
        (self.extra <= HEAD_BYTES / 2 && self.trailers <= HEAD_FIELDS).then_some(())
    }
}
