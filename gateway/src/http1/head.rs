//! One request head, line by line: what it must not contain, and what follows it.

use memchr::memchr;

use super::{HEAD_BYTES, HEAD_FIELDS, Refused};

/// What stands behind a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    None,
    Length(u64),
    Chunked,
    /// None, and the answer may turn the connection into a tunnel.
    Upgrade,
}

/// How far a head has been read.
#[derive(Debug)]
pub(super) enum Progress {
    /// The head is not complete yet.
    More,
    /// It ends before this offset.
    Complete {
        end: usize,
        body: Body,
    },
    Refused(Refused),
}

/// A head that is being read. Offsets count from its first byte.
#[derive(Debug, Default)]
pub(super) struct Head {
    /// Where the line begins that has no end yet.
    line: usize,
    /// What of that line was searched for its end.
    searched: usize,
    lines: usize,
    /// Lines that had an end, empty ones too.
    ended: usize,
    fields: usize,
    old: bool,
    hosts: usize,
    length: Option<u64>,
    chunked: bool,
    upgrade: bool,
}

impl Head {
    /// Reads on. `bytes` begins with the first byte of the head, also when a part of it was given before.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Progress {
        match self.lines_of(bytes) {
            Ok(Some(end)) => match self.finish(bytes.get(..end).unwrap_or(bytes)) {
                Ok(body) => Progress::Complete { end, body },
                Err(refused) => Progress::Refused(refused),
            },
            Ok(None) if bytes.len() > HEAD_BYTES => Progress::Refused(Refused::TooLarge),
            Ok(None) => Progress::More,
            Err(refused) => Progress::Refused(refused),
        }
    }

    /// The end of the head, if it is there.
    fn lines_of(&mut self, bytes: &[u8]) -> Result<Option<usize>, Refused> {
        loop {
            let unsearched = bytes.get(self.searched..).unwrap_or_default();
            let Some(found) = memchr(b'\n', unsearched) else {
                self.searched = bytes.len();
                return Ok(None);
            };
            let feed = self.searched + found;
            let line = bytes.get(self.line..feed).unwrap_or_default();
            let Some(line) = line.strip_suffix(b"\r") else { return Err(Refused::BareLineFeed) };
            let start = self.line;
            self.line = feed + 1;
            self.searched = self.line;
            self.ended += 1;
            if self.line > HEAD_BYTES {
                return Err(Refused::TooLarge);
            }
            if line.is_empty() && self.lines > 0 {
                return Ok(Some(self.line));
            }
            if self.lines == 0 {
                // RFC 9112 §2.2: one empty line before a request is forgiven; clients once sent it after a body.
                if line.is_empty() && start == 0 {
                    continue;
                }
                self.request_line(line)?;
            } else {
                self.field(line)?;
            }
            self.lines += 1;
        }
    }

    /// RFC 9112 §3, with single spaces only.
    fn request_line(&mut self, line: &[u8]) -> Result<(), Refused> {
        let mut words = line.split(|byte| *byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(Refused::RequestLine);
        };
        if method.is_empty() || !method.iter().copied().all(is_token) {
            return Err(Refused::RequestLine);
        }
        // A tunnel to anywhere is not ours to give; PRI is half of the HTTP/2 preface.
        if method.len() > 32 || method == b"CONNECT" || method == b"PRI" {
            return Err(Refused::Method);
        }
        match version {
            b"HTTP/1.1" => {}
            b"HTTP/1.0" => self.old = true,
            _ if version.starts_with(b"HTTP/") => return Err(Refused::Version),
            _ => return Err(Refused::RequestLine),
        }
        target_is_plain(method, target)
    }

    fn field(&mut self, line: &[u8]) -> Result<(), Refused> {
        if matches!(line.first(), Some(b' ' | b'\t')) {
            return Err(Refused::Folded);
        }
        self.fields += 1;
        if self.fields > HEAD_FIELDS {
            return Err(Refused::TooMany);
        }
        let colon = memchr(b':', line).ok_or(Refused::FieldName)?;
        let (name, rest) = line.split_at_checked(colon).ok_or(Refused::FieldName)?;
        // White space before the colon is no token character either.
        if name.is_empty() || !name.iter().copied().all(is_token) {
            return Err(Refused::FieldName);
        }
        let value = rest.get(1..).unwrap_or_default();
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.host(trim(value)),
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                self.upgrade = true;
                Ok(())
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => self.content_length(trim(value)),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.coding(trim(value)),
            _ => Ok(()),
        }
    }

    fn host(&mut self, value: &[u8]) -> Result<(), Refused> {
        self.hosts += 1;
        if self.hosts > 1 {
            return Err(Refused::TwoHosts);
        }
        let host = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(byte);
        if value.is_empty() || !value.iter().all(host) {
            return Err(Refused::Host);
        }
        Ok(())
    }

    fn content_length(&mut self, value: &[u8]) -> Result<(), Refused> {
        if self.length.is_some() {
            return Err(Refused::TwoLengths);
        }
        // 18 digits cannot overflow, and no list, sign or space is a digit.
        if value.is_empty() || value.len() > 18 {
            return Err(Refused::Length);
        }
        let mut length = 0_u64;
        for byte in value {
            if !byte.is_ascii_digit() {
                return Err(Refused::Length);
            }
            length = length * 10 + u64::from(byte - b'0');
        }
        self.length = Some(length);
        Ok(())
    }

    fn coding(&mut self, value: &[u8]) -> Result<(), Refused> {
        if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
            return Err(Refused::Coding);
        }
        self.chunked = true;
        Ok(())
    }

    fn finish(&self, head: &[u8]) -> Result<Body, Refused> {
        if self.hosts == 0 && !self.old {
            return Err(Refused::NoHost);
        }
        if self.chunked && self.old {
            return Err(Refused::OldCoding);
        }
        if self.chunked && self.length.is_some() {
            return Err(Refused::LengthAndCoding);
        }
        // Every line ended in CR LF. So if there are no other controls, there are as many as line ends.
        if controls(head) != 2 * self.ended {
            return Err(odd_control(head));
        }
        Ok(match (self.chunked, self.length) {
            (true, _) => Body::Chunked,
            (false, Some(length)) if length > 0 => Body::Length(length),
            (false, _) if self.upgrade && !self.old => Body::Upgrade,
            (false, _) => Body::None,
        })
    }
}

/// Bytes that no head may have inside a line. Written so that the compiler makes vector instructions of it: the
/// values are long (tokens, cookies), and each byte of each is looked at.
fn controls(bytes: &[u8]) -> usize {
    bytes
        .chunks(128)
        .map(|chunk| {
            let count = chunk
                .iter()
                .fold(0_u8, |sum, byte| sum + u8::from((*byte < 0x20 && *byte != b'\t') || *byte == 0x7f));
            usize::from(count)
        })
        .sum()
}

fn odd_control(head: &[u8]) -> Refused {
    let bare = |pair: &[u8]| matches!(pair, [b'\r', next] if *next != b'\n');
    if head.windows(2).any(bare) { Refused::BareCarriageReturn } else { Refused::Control }
}

fn target_is_plain(method: &[u8], target: &[u8]) -> Result<(), Refused> {
    let form = target.starts_with(b"/")
        || (target == b"*" && method == b"OPTIONS")
        || starts_with_ignore_case(target, b"http://")
        || starts_with_ignore_case(target, b"https://");
    if !form {
        return Err(Refused::Target);
    }
    for byte in target {
        match byte {
            // RFC 3986 has none of these in a path or query, and `#` begins what is never sent.
            b'#' | b'"' | b'<' | b'>' | b'`' | 0..=0x20 | 0x7f => return Err(Refused::Target),
            0x80.. => return Err(Refused::NotAscii),
            _ => {}
        }
    }
    Ok(())
}

fn starts_with_ignore_case(text: &[u8], start: &[u8]) -> bool {
    text.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start))
}

fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// RFC 9110 §5.6.2.
pub(super) fn is_token(byte: u8) -> bool {
    static TOKEN: [bool; 256] = {
        let mut table = [false; 256];
        let mut byte = 0_usize;
        while byte < 256 {
            let b = byte as u8;
            let symbol = matches!(
                b,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            );
            #[allow(clippy::indexing_slicing, reason = "evaluated by the compiler")]
            {
                table[byte] = b.is_ascii_alphanumeric() || symbol;
            }
            byte += 1;
        }
        table
    };
    TOKEN.get(usize::from(byte)).copied().unwrap_or(false)
}
