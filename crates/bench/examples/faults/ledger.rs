//! What every client did and what it was told, written down before its next step: the only thing that figures are made of.
//! One without a clear answer may have happened or not; it counts on neither side.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::Context as _;
use serde::Serialize;
use tokio::time::Instant;

/// What a client wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// A request with a session's cookie, good when it was sent.
    Session,
    /// A request with an access token, good when it was sent.
    Bearer,
    /// A login by session.
    Create,
    /// A login by token.
    Login,
    Refresh,
    /// The end of a session or of a token's family.
    End,
    /// What must never be let in.
    Hostile,
    /// As hostile: something that was ended, with the object's name.
    Ended,
    /// A login with a wrong password.
    Wrong,
    /// An ending or a login that was under way on purpose when its gateway was killed, and was not answered: no error.
    CutOff,
    /// After the fault: is the object there?
    Audit,
}

impl Op {
    /// Done by somebody who may.
    pub fn is_valid(self) -> bool {
        matches!(self, Op::Session | Op::Bearer | Op::Create | Op::Login | Op::Refresh | Op::End)
    }
}

/// An answer that is right for nobody in any row: no success, no refusal, and not said to be for now (429, 503). Nothing that is
/// asked here may be missing, moved or of another method, and no row hurts the application.
pub fn is_wrong(status: u16) -> bool {
    !matches!(status, 200..=299 | 400..=403 | 429 | 503)
}

/// Whoever was told this knows whether what was asked for is there.
pub fn is_clear(status: u16) -> bool {
    status < 500 && status != 429
}

/// One step of one client. Times are microseconds since the ledger was opened.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    pub op: Op,
    /// The session's public id, the family's number, or empty.
    pub object: String,
    pub t_send: u64,
    /// `None`: never answered.
    pub t_ack: Option<u64>,
    pub status: Option<u16>,
    /// Who was asked last.
    pub replica: String,
    /// The gateway that this client turns to first, by number.
    pub client: usize,
    /// Not answered although its deadline and a second more had passed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub hung: bool,
    /// The application was told of somebody else.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub wrong_user: bool,
    /// One refresh token had two successors that both live.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub double: bool,
    /// A 503 without Retry-After, or one that took a cookie away.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub rude: bool,
    /// Of one user two replicas listed different sessions.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub half_done: bool,
}

impl Entry {
    pub fn is_success(&self) -> bool {
        self.status.is_some_and(|status| (200..300).contains(&status))
    }

    /// For what was shown: right for whoever has nothing good to show, wrong for everybody else.
    pub fn is_refused(&self) -> bool {
        matches!(self.status, Some(400..=403))
    }

    /// Neither let in nor refused: 5xx, 429, no answer, and what nobody who may should ever be told, such as 404 and 303.
    pub fn is_unserved(&self) -> bool {
        !self.is_success() && !self.is_refused()
    }

    /// Of an audit: the answer is clear, and what was asked for is not there.
    pub fn says_absent(&self) -> bool {
        self.status.is_some_and(is_clear) && !self.is_success()
    }

    /// Of an ending: it holds everywhere. 202 says that this is not known.
    pub fn is_acknowledged(&self) -> bool {
        self.is_success() && self.status != Some(202)
    }
}

pub struct Ledger {
    began: Instant,
    written: Mutex<(Vec<Entry>, File)>,
}

impl Ledger {
    pub fn open(path: &Path) -> anyhow::Result<Ledger> {
        let file = File::create(path).with_context(|| path.display().to_string())?;
        Ok(Ledger { began: Instant::now(), written: Mutex::new((Vec::new(), file)) })
    }

    pub fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Is written when this returns.
    pub fn append(&self, entry: Entry) {
        let line = serde_json::to_vec(&entry).unwrap_or_default();
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.1.write_all(&[line.as_slice(), b"\n"].concat()).expect("the ledger's disk is full");
        written.0.push(entry);
    }

    pub fn entries(&self) -> Vec<Entry> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }
}
