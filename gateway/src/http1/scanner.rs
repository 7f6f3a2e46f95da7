//! Follows a connection through heads and bodies, so that each head is seen whole before hyper sees any of it.

use super::Refused;
use super::chunked::{Chunked, Found};
use super::head::{Body, Head, Progress};

/// Where a connection is.
#[derive(Debug)]
pub struct Scanner {
    at: At,
    heads: u64,
}

#[derive(Debug)]
enum At {
    Head(Head),
    Length(u64),
    Chunked(Chunked),
    /// Behind a request that asks for an upgrade: what follows depends on the answer.
    Crossing,
    Tunnel,
    /// Nothing that follows means anything any more.
    Ended,
}

/// What may be done with the bytes given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scanned {
    /// So many may go on to hyper.
    pub clear: usize,
    pub then: Then,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// The rest, if any, is the beginning of a head: give it again with what follows.
    More,
    /// The rest waits for an answer to an upgrade: say [`Scanner::crossed`], then give it again.
    Crossing,
    /// The rest is a head that nobody may see.
    Refused(Refused),
    /// The rest is not the body that was announced.
    Broken,
}

impl Default for Scanner {
    fn default() -> Self {
        Self { at: At::Head(Head::default()), heads: 0 }
    }
}

impl Scanner {
    /// Reads on. What was neither cleared nor refused the last time must be given again, first.
    pub fn scan(&mut self, bytes: &[u8]) -> Scanned {
        let mut clear = 0;
        loop {
            let rest = bytes.get(clear..).unwrap_or_default();
            if rest.is_empty() {
                return Scanned { clear, then: Then::More };
            }
            match &mut self.at {
                At::Head(head) => match head.read(rest) {
                    Progress::More => return Scanned { clear, then: Then::More },
                    Progress::Complete { end, body } => {
                        clear += end;
                        self.heads += 1;
                        self.at = match body {
                            Body::None => At::Head(Head::default()),
                            Body::Length(length) => At::Length(length),
                            Body::Chunked => At::Chunked(Chunked::new()),
                            Body::Upgrade => At::Crossing,
                        };
                    }
                    Progress::Refused(refused) => {
                        self.at = At::Ended;
                        return Scanned { clear, then: Then::Refused(refused) };
                    }
                },
                At::Length(left) => {
                    let here = rest.len() as u64;
                    if *left > here {
                        *left -= here;
                        return Scanned { clear: bytes.len(), then: Then::More };
                    }
                    // At most `here`, so it fits.
                    clear += usize::try_from(*left).unwrap_or(0);
                    self.at = At::Head(Head::default());
                }
                At::Chunked(chunked) => match chunked.read(rest) {
                    Found::More => return Scanned { clear: bytes.len(), then: Then::More },
                    Found::End(end) => {
                        clear += end;
                        self.at = At::Head(Head::default());
                    }
                    Found::Broken(at) => {
                        self.at = At::Ended;
                        return Scanned { clear: clear + at, then: Then::Broken };
                    }
                },
                At::Crossing => return Scanned { clear, then: Then::Crossing },
                At::Tunnel => return Scanned { clear: bytes.len(), then: Then::More },
                At::Ended => return Scanned { clear, then: Then::Broken },
            }
        }
    }

    /// Whether the answer to an upgrade decides what comes next.
    pub fn is_crossing(&self) -> bool {
        matches!(self.at, At::Crossing)
    }

    /// The answer is known.
    pub fn crossed(&mut self, tunnel: bool) {
        if self.is_crossing() {
            self.at = if tunnel { At::Tunnel } else { At::Head(Head::default()) };
        }
    }

    /// Whether the next byte begins a head, or belongs to one that is being read.
    pub fn is_between(&self) -> bool {
        matches!(self.at, At::Head(_))
    }

    /// Whether the client may be in the middle of sending something that nobody will read.
    pub fn is_within(&self) -> bool {
        matches!(self.at, At::Length(_) | At::Chunked(_) | At::Ended)
    }

    /// Heads that went on to hyper.
    pub fn heads(&self) -> u64 {
        self.heads
    }
}

#[cfg(test)]
mod tests;
